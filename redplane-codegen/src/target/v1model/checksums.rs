//! Which checksums follow from what the handler and forward() may write, and the words that change them (RFC 1624).

use std::collections::BTreeSet;

use crate::ir::{App, HeaderField, Verdict};
use crate::packet::{HEADERS, Header, header};
use crate::target::verdicts;

/// Longest line of a sum.
const WIDTH: usize = 110;

/// Rewritten words of one header that the same checksums cover.
pub(super) struct Group {
    /// Member of `rp_sums_t`.
    pub(super) name: String,
    header: &'static str,
    /// 16-bit expressions.
    words: Vec<String>,
    /// A header of the app's own that UDP carries.
    in_udp: bool,
}

/// Statements for packets that have a header.
pub(super) struct Block {
    pub(super) header: String,
    pub(super) lines: Vec<String>,
}

/// An instance of a control that adjusts a checksum.
pub(super) struct Instance {
    pub(super) declaration: &'static str,
}

/// Everything that the checksum templates print.
pub(super) struct ChecksumsView {
    pub(super) groups: Vec<Group>,
    pub(super) before: Vec<Block>,
    pub(super) after: Vec<Block>,
    pub(super) adjusts: Vec<Instance>,
    pub(super) has_udp: bool,
}

/// Part of a header: which of its fields, and how they appear in the sums.
struct Part {
    name: &'static str,
    header: &'static str,
    fields: &'static [&'static str],
    appears: Appears,
}

enum Appears {
    /// As the header's own words.
    Words,
    /// Alone, in a word of the pseudo header.
    Alone,
    /// In the pseudo header and in the header.
    Twice,
}

const ADDRESSES: &[&str] = &["src", "dst"];
const IPV4_REST: &[&str] = &[
    "version",
    "ihl",
    "dscp",
    "ecn",
    "total_len",
    "identification",
    "reserved_flag",
    "dont_fragment",
    "more_fragments",
    "fragment_offset",
    "ttl",
    "protocol",
];
const TCP: &[&str] = &[
    "sequence",
    "acknowledgement",
    "data_offset",
    "reserved",
    "cwr",
    "ece",
    "urg",
    "ack",
    "psh",
    "rst",
    "syn",
    "fin",
    "window",
    "urgent_pointer",
];
const ICMP: &[&str] = &["kind", "code", "identifier", "sequence"];

const fn part(
    name: &'static str,
    header: &'static str,
    fields: &'static [&'static str],
    appears: Appears,
) -> Part {
    Part { name, header, fields, appears }
}

/// All parts, in wire order.
const PARTS: &[Part] = &[
    part("ipv4_addresses", "ipv4", ADDRESSES, Appears::Words),
    part("ipv4_rest", "ipv4", IPV4_REST, Appears::Words),
    part("ipv4_protocol", "ipv4", &["protocol"], Appears::Alone),
    part("ipv4_length", "ipv4", &["total_len"], Appears::Alone),
    part("ipv6_addresses", "ipv6", ADDRESSES, Appears::Words),
    part("ipv6_next_header", "ipv6", &["next_header"], Appears::Alone),
    part("ipv6_length", "ipv6", &["payload_len"], Appears::Alone),
    part("ports", "ports", ADDRESSES, Appears::Words),
    part("tcp", "tcp", TCP, Appears::Words),
    part("udp", "udp", &["length"], Appears::Twice),
    part("icmp", "icmp", ICMP, Appears::Words),
    part("inner_addresses", "inner_ipv4", ADDRESSES, Appears::Words),
    part("inner_ipv4_rest", "inner_ipv4", IPV4_REST, Appears::Words),
    part("inner_protocol", "inner_ipv4", &["protocol"], Appears::Alone),
    part("inner_ports", "inner_ports", ADDRESSES, Appears::Words),
    part("inner_udp", "inner_udp", &["length"], Appears::Twice),
    part("inner_udp_length", "inner_udp", &["length"], Appears::Words),
    part("inner_icmp", "inner_icmp", ICMP, Appears::Words),
];

/// A checksum, and the parts that it covers.
struct Checksum {
    header: &'static str,
    parts: &'static [&'static str],
}

/// The checksums of the quoted packet: first, since the ICMP error's covers them.
const INNER: &[Checksum] = &[
    Checksum { header: "inner_ipv4", parts: &["inner_addresses", "inner_ipv4_rest"] },
    Checksum {
        header: "inner_udp",
        parts: &["inner_addresses", "inner_protocol", "inner_ports", "inner_udp"],
    },
    Checksum { header: "inner_icmp", parts: &["inner_icmp"] },
];

const OUTER: &[Checksum] = &[
    Checksum { header: "ipv4", parts: &["ipv4_addresses", "ipv4_rest"] },
    Checksum {
        header: "tcp",
        parts: &[
            "ipv4_addresses",
            "ipv4_protocol",
            "ipv4_length",
            "ipv6_addresses",
            "ipv6_next_header",
            "ipv6_length",
            "ports",
            "tcp",
        ],
    },
    Checksum {
        header: "udp",
        parts: &["ipv4_addresses", "ipv4_protocol", "ipv6_addresses", "ipv6_next_header", "ports", "udp"],
    },
    Checksum {
        header: "icmp",
        parts: &[
            "icmp",
            "inner_addresses",
            "inner_ipv4_rest",
            "inner_ports",
            "inner_udp_length",
            "inner_icmp",
            "inner_ipv4_checksum",
            "inner_udp_checksum",
            "inner_icmp_checksum",
        ],
    },
];

/// The checksums of an app.
pub(super) fn checksums(app: &App) -> ChecksumsView {
    let written = written(app);
    let mut groups: Vec<Group> = PARTS.iter().filter_map(|part| group(part, &written)).collect();
    groups.extend(own_groups(app.headers, &written));
    let inner: Vec<(&Checksum, String)> =
        INNER.iter().filter_map(|sum| Some((sum, change(sum, &groups)?))).collect();
    let covered: Vec<Group> = inner.iter().map(|(sum, _)| checksum_word(sum)).collect();
    let mut after = blocks(&groups, true);
    after.extend(inner.iter().map(|(sum, change)| adjust(sum, change)));
    after.extend(blocks(&covered, true));
    groups.extend(covered);
    let outer: Vec<(&Checksum, String)> =
        OUTER.iter().filter_map(|sum| Some((sum, change(sum, &groups)?))).collect();
    after.extend(outer.iter().map(|(sum, change)| adjust(sum, change)));
    let before = blocks(&groups, false);
    let adjusted: Vec<&str> = inner.iter().chain(&outer).map(|(sum, _)| sum.header).collect();
    let has_udp = adjusted.iter().any(|name| is_udp(name));
    let mut adjusts = Vec::new();
    if adjusted.iter().any(|name| !is_udp(name)) {
        adjusts.push(Instance { declaration: "RpAdjust() adjust;" });
    }
    if has_udp {
        adjusts.push(Instance { declaration: "RpAdjustUdp() adjust_udp;" });
    }
    ChecksumsView { groups, before, after, adjusts, has_udp }
}

fn is_udp(header: &str) -> bool {
    header.ends_with("udp")
}

/// Fields that may change on the way: the handler's, and the TTL if a path ends in forward().
fn written(app: &App) -> BTreeSet<HeaderField> {
    let mut written: BTreeSet<HeaderField> = app.handler.writes.iter().copied().collect();
    if verdicts(app).iter().any(|(verdict, _)| matches!(verdict, Verdict::Forward)) {
        written.extend(field("ipv4", "ttl"));
    }
    written
}

fn field(header_name: &str, name: &str) -> Option<HeaderField> {
    let header = header(header_name)?;
    let field = HEADERS[header].fields.iter().position(|(known, _)| *known == name)?;
    Some(HeaderField { header, field })
}

fn group(part: &Part, written: &BTreeSet<HeaderField>) -> Option<Group> {
    let fields: Vec<HeaderField> = part.fields.iter().filter_map(|name| field(part.header, name)).collect();
    let changed: Vec<HeaderField> = fields.into_iter().filter(|field| written.contains(field)).collect();
    let mut words = BTreeSet::new();
    for field in &changed {
        words.extend(word_numbers(HEADERS, *field));
    }
    let id = header(part.header)?;
    let words: Vec<String> = match part.appears {
        Appears::Words => words.into_iter().map(|number| word(HEADERS, id, number)).collect(),
        Appears::Alone => changed.iter().map(|field| alone(*field)).collect(),
        Appears::Twice => words
            .into_iter()
            .flat_map(|number| [word(HEADERS, id, number), word(HEADERS, id, number)])
            .collect(),
    };
    (!words.is_empty()).then(|| Group {
        name: part.name.to_owned(),
        header: part.header,
        words,
        in_udp: false,
    })
}

/// Rewritten words of the app's own headers that UDP's checksum covers.
fn own_groups(headers: &[Header], written: &BTreeSet<HeaderField>) -> Vec<Group> {
    let mut in_udp = vec!["udp"];
    let mut groups = Vec::new();
    for (id, header) in headers.iter().enumerate().skip(HEADERS.len()) {
        if !header.after.iter().any(|edge| in_udp.contains(&edge.header)) {
            continue;
        }
        in_udp.push(header.name);
        let changed = written.iter().filter(|field| field.header == id);
        let words: BTreeSet<usize> = changed.flat_map(|field| word_numbers(headers, *field)).collect();
        let words: Vec<String> = words.into_iter().map(|number| word(headers, id, number)).collect();
        if !words.is_empty() {
            groups.push(Group {
                name: format!("own_{}", header.name),
                header: header.name,
                words,
                in_udp: true,
            });
        }
    }
    groups
}

/// A checksum of the quoted packet, as a word that the ICMP error's checksum covers.
fn checksum_word(sum: &Checksum) -> Group {
    let words = vec![format!("hdr.{}.checksum", sum.header)];
    Group { name: format!("{}_checksum", sum.header), header: sum.header, words, in_udp: false }
}

/// Where a field lies in its header: first and last bit.
fn bits(headers: &[Header], field: HeaderField) -> (usize, usize) {
    let fields = headers[field.header].fields;
    let start: usize = fields[..field.field].iter().map(|(_, ty)| usize::from(ty.bits())).sum();
    (start, start + usize::from(fields[field.field].1.bits()) - 1)
}

fn word_numbers(headers: &[Header], field: HeaderField) -> impl Iterator<Item = usize> + use<> {
    let (first, last) = bits(headers, field);
    first / 16..=last / 16
}

/// The 16-bit word of a header as an expression: a field, a slice of one, or several joined.
fn word(headers: &[Header], id: usize, number: usize) -> String {
    let (first, last) = (number * 16, number * 16 + 15);
    let fields = (0..headers[id].fields.len()).map(|field| HeaderField { header: id, field });
    let pieces: Vec<String> = fields
        .filter_map(|field| {
            let (start, end) = bits(headers, field);
            let (from, to) = (start.max(first), end.min(last));
            let path = super::names::field(headers, field);
            match from <= to {
                false => None,
                true if (from, to) == (start, end) => Some(path),
                true => Some(format!("{path}[{}:{}]", end - from, end - to)),
            }
        })
        .collect();
    if pieces.len() == 1 { pieces.concat() } else { format!("({})", pieces.join(" ++ ")) }
}

/// A field of at most 16 bits as a word of its own.
fn alone(field: HeaderField) -> String {
    let (_, ty) = HEADERS[field.header].fields[field.field];
    let path = super::names::field(HEADERS, field);
    if ty.bits() == 16 { path } else { format!("({}w0 ++ {path})", 16 - ty.bits()) }
}

/// What of a checksum's parts may change.
fn change(sum: &Checksum, groups: &[Group]) -> Option<String> {
    let covered = groups
        .iter()
        .filter(|group| sum.parts.contains(&group.name.as_str()) || (group.in_udp && sum.header == "udp"));
    let names: Vec<String> = covered.map(|group| format!("sums.{}", group.name)).collect();
    (!names.is_empty()).then(|| wrapped(&names, 40, 16))
}

fn adjust(sum: &Checksum, change: &str) -> Block {
    let instance = if is_udp(sum.header) { "adjust_udp" } else { "adjust" };
    let line = format!("{instance}.apply(hdr.{}.checksum, {change});", sum.header);
    Block { header: sum.header.to_owned(), lines: vec![line] }
}

/// The statements that take words out of the sums, or put them back in, by header.
fn blocks(groups: &[Group], after: bool) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for group in groups {
        let sign = if after { "" } else { "~" };
        let mut words: Vec<String> =
            group.words.iter().map(|word| format!("(bit<32>){sign}{word}")).collect();
        if after {
            words.insert(0, format!("sums.{}", group.name));
        }
        let indent = 12 + "sums.".len() + group.name.len() + 1;
        let line = format!("sums.{} = {};", group.name, wrapped(&words, indent + 2, indent));
        let header = super::names::safe(group.header);
        match blocks.last_mut().filter(|block| block.header == header) {
            Some(block) => block.lines.push(line),
            None => blocks.push(Block { header, lines: vec![line] }),
        }
    }
    blocks
}

/// The sum of the terms, in lines of at most [`WIDTH`]: the first one begins after `start` columns, the others with a
/// `+` after `indent`.
fn wrapped(terms: &[String], start: usize, indent: usize) -> String {
    let mut text = String::new();
    let mut column = start;
    for term in terms {
        if text.is_empty() {
            column += term.len();
        } else if column + 3 + term.len() > WIDTH {
            text.push_str(&format!("\n{:indent$}+ ", ""));
            column = indent + 2 + term.len();
        } else {
            text.push_str(" + ");
            column += 3 + term.len();
        }
        text.push_str(term);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_small_and_of_wide_fields() {
        let ipv4 = header("ipv4").expect("a standard header");
        assert_eq!(word(HEADERS, ipv4, 4), "(hdr.ipv4.ttl ++ hdr.ipv4.protocol)");
        assert_eq!(word(HEADERS, ipv4, 6), "hdr.ipv4.src[31:16]");
        assert_eq!(word(HEADERS, ipv4, 7), "hdr.ipv4.src[15:0]");
        assert_eq!(word(HEADERS, ipv4, 5), "hdr.ipv4.checksum");
    }

    #[test]
    fn every_part_names_fields_that_exist() {
        for part in PARTS {
            for name in part.fields {
                assert!(field(part.header, name).is_some(), "{}.{name}", part.header);
            }
        }
    }
}
