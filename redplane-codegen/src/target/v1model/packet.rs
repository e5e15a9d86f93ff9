//! Headers and the parse graph.

use std::collections::{BTreeMap, BTreeSet};

use super::{expr, names};
use crate::ir::{HeaderId, Type};
use crate::packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, HEADERS, Header, header};

/// Longest head of a `select` that stays on one line.
const WIDTH: usize = 100;

/// A P4 header type.
pub(super) struct HeaderType {
    pub(super) source: String,
    pub(super) name: String,
    pub(super) fields: Vec<String>,
}

/// A parser state.
pub(super) struct State {
    pub(super) name: String,
    pub(super) lines: Vec<String>,
}

/// Fields whose values have names, and the names.
const NAMED_VALUES: &[(&str, &[(u64, &str)])] = &[
    (
        "ether_type",
        &[
            (ETHERTYPE_IPV4, "ETHERTYPE_IPV4"),
            (ETHERTYPE_VLAN, "ETHERTYPE_VLAN"),
            (ETHERTYPE_IPV6, "ETHERTYPE_IPV6"),
        ],
    ),
    ("protocol", &[(1, "PROTOCOL_ICMP"), (6, "PROTOCOL_TCP"), (17, "PROTOCOL_UDP")]),
    ("next_header", &[(6, "PROTOCOL_TCP"), (17, "PROTOCOL_UDP")]),
    ("kind", &[(3, "ICMP_UNREACHABLE"), (11, "ICMP_TIME_EXCEEDED"), (12, "ICMP_PARAMETER_PROBLEM")]),
];

/// The name of a header's P4 type.
fn type_name(headers: &[Header], header: HeaderId) -> String {
    let ty = headers[header].ty;
    format!("{}_h", if header < HEADERS.len() { names::snake(ty) } else { names::own_type(ty) })
}

/// The header types, in wire order of their first use.
pub(super) fn types(headers: &[Header]) -> Vec<HeaderType> {
    let mut types: Vec<HeaderType> = Vec::new();
    for (id, header) in headers.iter().enumerate() {
        let name = type_name(headers, id);
        if types.iter().any(|known| known.name == name) {
            continue;
        }
        let row = |(name, ty): &(&str, Type)| (expr::bits_type(*ty), format!("{};", names::safe(name)));
        let fields = aligned(header.fields.iter().map(row).collect());
        types.push(HeaderType { source: header.source.to_owned(), name, fields });
    }
    types
}

/// Rows of two columns, the first padded.
pub(super) fn aligned(rows: Vec<(String, String)>) -> Vec<String> {
    let width = rows.iter().map(|(first, _)| first.len()).max().unwrap_or(0);
    rows.into_iter().map(|(first, second)| format!("{first:width$} {second}")).collect()
}

/// One row of a `select`: the values, and the headers that follow then, in wire order.
type Row = (Vec<u64>, Vec<HeaderId>);

/// The states that take the packet apart. What may be a message goes on in `parse_rp_candidate`, which the template has.
pub(super) fn states(headers: &[Header]) -> Vec<State> {
    let ethernet = header("ethernet").expect("a standard header");
    let mut states = Vec::new();
    let mut queue = vec![vec![ethernet]];
    let mut done = BTreeSet::new();
    while let Some(chain) = queue.first().cloned() {
        queue.remove(0);
        let Some(last) = chain.last().copied().filter(|_| done.insert(chain.clone())) else { continue };
        let (fields, rows) = successors(headers, last);
        let mut lines: Vec<String> =
            chain.iter().map(|id| format!("packet.extract({});", names::header(headers, *id))).collect();
        lines.extend(transition(headers, last, &fields, &rows));
        states.push(State { name: state_name(headers, &chain), lines });
        let next = rows.into_iter().map(|(_, chain)| chain);
        queue.extend(next.filter(|next| !is_candidate(headers, last, next)));
    }
    states
}

/// Whether a message of the store can look like this: UDP over IPv4.
fn is_candidate(headers: &[Header], before: HeaderId, chain: &[HeaderId]) -> bool {
    headers[before].name == "ipv4" && chain.iter().map(|id| headers[*id].name).eq(["ports", "udp"])
}

fn state_name(headers: &[Header], chain: &[HeaderId]) -> String {
    format!("parse_{}", chain.last().map_or(String::new(), |id| names::safe(headers[*id].name)))
}

/// What follows a header: the fields that decide, and for each combination of their values what comes then.
fn successors(headers: &[Header], before: HeaderId) -> (Vec<&'static str>, Vec<Row>) {
    let mut fields: Vec<&'static str> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for (next, header) in headers.iter().enumerate() {
        for edge in header.after.iter().filter(|edge| edge.header == headers[before].name) {
            fields = edge.when.iter().map(|(field, _)| *field).collect();
            for values in combinations(edge.when) {
                match rows.iter_mut().find(|(known, _)| *known == values) {
                    Some((_, chain)) => chain.push(next),
                    None => rows.push((values, vec![next])),
                }
            }
        }
    }
    (fields, rows)
}

fn combinations(when: &[(&str, &[u64])]) -> Vec<Vec<u64>> {
    when.iter().fold(vec![Vec::new()], |partial, (_, values)| {
        let extended = |head: &Vec<u64>| -> Vec<Vec<u64>> {
            values.iter().map(|value| head.iter().copied().chain([*value]).collect()).collect()
        };
        partial.iter().flat_map(extended).collect()
    })
}

fn transition(headers: &[Header], before: HeaderId, fields: &[&str], rows: &[Row]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["transition accept;".to_owned()];
    }
    // The ports of UDP are a header of their own.
    let owner = if headers[before].name == "udp" { "ports" } else { headers[before].name };
    let path = |field: &&str| format!("hdr.{}.{}", names::safe(owner), names::safe(field));
    let paths: Vec<String> = fields.iter().map(path).collect();
    let is_standard = before < HEADERS.len();
    let mut cases: Vec<(String, String)> = rows
        .iter()
        .map(|(values, chain)| {
            let values: Vec<String> = fields
                .iter()
                .zip(values)
                .map(|(field, value)| value_name(is_standard, field, *value))
                .collect();
            let values =
                if values.len() == 1 { values[0].clone() } else { format!("({})", values.join(", ")) };
            let target = if is_candidate(headers, before, chain) {
                "parse_rp_candidate".to_owned()
            } else {
                state_name(headers, chain)
            };
            (format!("{values}:"), format!("{target};"))
        })
        .collect();
    if headers[before].name == "ethernet" {
        cases.push(("RP_ETHERTYPE_SWEEP:".to_owned(), "parse_rp_sweep_candidate;".to_owned()));
    }
    cases.push(("default:".to_owned(), "accept;".to_owned()));
    let mut lines = vec![format!("transition select({}) {{", paths.join(", "))];
    if lines[0].len() > WIDTH {
        lines = vec!["transition select(".to_owned()];
        lines.extend(paths.iter().enumerate().map(|(index, path)| {
            format!("    {path}{}", if index + 1 == paths.len() { ") {" } else { "," })
        }));
    }
    lines.extend(aligned(cases).into_iter().map(|case| format!("    {case}")));
    lines.push("}".to_owned());
    lines
}

/// A field of an own header may be called like a standard one, and be of another width.
fn value_name(is_standard: bool, field: &str, value: u64) -> String {
    let known = NAMED_VALUES.iter().filter(|(name, _)| is_standard && *name == field);
    let named = known.flat_map(|(_, values)| *values);
    named
        .filter(|(known, _)| *known == value)
        .map(|(_, name)| (*name).to_owned())
        .next()
        .unwrap_or_else(|| value.to_string())
}

/// The constants that the parser names, and those that the machinery needs in any case.
pub(super) fn constants(headers: &[Header]) -> Vec<String> {
    let mut used: BTreeMap<&str, (u16, u64)> = BTreeMap::new();
    used.insert("ETHERTYPE_IPV4", (16, ETHERTYPE_IPV4));
    used.insert("PROTOCOL_UDP", (8, 17));
    for before in 0..HEADERS.len() {
        let (fields, rows) = successors(headers, before);
        for (field, value) in rows.iter().flat_map(|(values, _)| fields.iter().zip(values)) {
            let bits = if *field == "ether_type" { 16 } else { 8 };
            let values =
                NAMED_VALUES.iter().filter(|(name, _)| name == field).flat_map(|(_, values)| *values);
            used.extend(values.filter(|(known, _)| known == value).map(|(_, name)| (*name, (bits, *value))));
        }
    }
    let width = used.keys().map(|name| name.len()).max().unwrap_or(0);
    used.iter()
        .map(|(name, (bits, value))| {
            let value = if *bits == 16 { format!("0x{value:04x}") } else { value.to_string() };
            format!("const {:7} {name:width$} = {value};", format!("bit<{bits}>"))
        })
        .collect()
}

/// What follows UDP over IPv4 that is no message: the state's name, and the state, if there is any.
pub(super) fn after_udp(headers: &[Header]) -> (&'static str, Option<State>) {
    let udp = header("udp").expect("a standard header");
    let (fields, rows) = successors(headers, udp);
    if rows.is_empty() {
        return ("accept", None);
    }
    let lines = transition(headers, udp, &fields, &rows);
    ("parse_rp_after_udp", Some(State { name: "parse_rp_after_udp".to_owned(), lines }))
}

/// Where the parser goes on behind a message's header, by app and fingerprint.
pub(super) fn messages(app: &str) -> Vec<String> {
    let own = (format!("({app}_APP, {app}_FINGERPRINT):"), "parse_rp_record;".to_owned());
    aligned(vec![own, ("default:".to_owned(), "accept;".to_owned())])
}

/// The members of `headers_t`: the message's headers, then the frame's.
pub(super) fn instances(headers: &[Header], key: &str, value: &str) -> Vec<String> {
    let own = [
        ("ethernet_h", "rp_ethernet"),
        ("ipv4_h", "rp_ipv4"),
        ("rp_udp_h", "rp_udp"),
        ("rp_h", "rp"),
        (key, "rp_key"),
        (value, "rp_value"),
    ];
    let own = own.into_iter().map(|(ty, name)| (ty.to_owned(), format!("{name};")));
    let member = |(id, header): (HeaderId, &Header)| {
        (type_name(headers, id), format!("{};", names::safe(header.name)))
    };
    let frame = headers.iter().enumerate().map(member);
    let mut rows: Vec<(String, String)> = own.chain(frame).collect();
    let after_ethernet =
        rows.iter().position(|(_, name)| name == "ethernet;").map_or(rows.len(), |at| at + 1);
    rows.insert(after_ethernet, ("rp_sweep_h".to_owned(), "rp_sweep;".to_owned()));
    aligned(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_headers_that_share_a_condition_are_one_state() {
        let states = states(HEADERS);
        let tcp = states.iter().find(|state| state.name == "parse_tcp").expect("there is a state for TCP");
        assert_eq!(
            tcp.lines,
            ["packet.extract(hdr.ports);", "packet.extract(hdr.tcp);", "transition accept;"],
            "the ports come before the rest"
        );
        let names: BTreeSet<_> = states.iter().map(|state| state.name.clone()).collect();
        assert_eq!(names.len(), states.len(), "each state has a name of its own");
    }

    #[test]
    fn only_values_of_standard_fields_have_names() {
        assert_eq!(value_name(true, "kind", 3), "ICMP_UNREACHABLE");
        assert_eq!(value_name(false, "kind", 3), "3", "it may have sixteen bits");
    }
}
