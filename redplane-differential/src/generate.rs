//! Frames from the parse graph, with values that a handler asks for.

use std::collections::BTreeMap;

use redplane_codegen::interpret::branches;
use redplane_codegen::ir::{App, BinaryOp, Enum, Expr, ExprKind, Stmt, StmtKind, Type};
use redplane_codegen::packet::{HEADERS, Header, header};
use redplane_sdk::checksum::checksum;
use redplane_sdk::net::Random;

use crate::compare::travels;
use crate::graph::choices;
use crate::reach::comes_next;
use crate::values;

/// Ports of TCP and UDP that flows use, few enough to meet again.
const PORTS: [u16; 5] = [1111, 2222, 40_000, 53, 443];

/// Locals that are followed one after the other to where a value comes from.
const LOCALS_MAX: usize = 4;

/// How often a frame with own headers ends within them.
const CUT_PROBABILITY: f64 = 0.05;

/// How often what an app has behind UDP or an own header follows, where it may.
const OWN_PROBABILITY: f64 = 0.7;

/// Longest payload of a usual packet, in bytes.
const PAYLOAD_MAX: u64 = 80;

/// What fields are filled from.
#[derive(Clone, Debug)]
pub struct Pool {
    /// IPv4 addresses that the operator's tables are about.
    likely: Vec<u32>,
    /// IPv4 addresses at the ends of prefixes, beside them, and elsewhere.
    addresses: Vec<u32>,
    /// Constants that the handler compares a header's field with, and their neighbours.
    constants: BTreeMap<(usize, usize), Vec<u128>>,
    /// All of the handler's constants, by width.
    by_width: BTreeMap<u16, Vec<u128>>,
    /// Values of each enum.
    enums: Vec<Vec<u128>>,
    /// The packet's headers: the standard ones, then the app's.
    headers: &'static [Header],
    /// An IPv4 packet of this many bytes is the largest that the store takes in a message.
    pub brink: usize,
}

impl Pool {
    /// The pool of an app: these addresses, the likely ones more often, and what its handler compares with.
    pub fn new(app: &App, likely: Vec<u32>, addresses: Vec<u32>, brink: usize) -> Self {
        let values = |all: &Enum| all.variants.iter().map(|variant| variant.value.into()).collect();
        let enums = app.enums.iter().map(values).collect();
        let (constants, by_width) = (BTreeMap::new(), BTreeMap::new());
        let headers = app.headers;
        let mut pool = Pool { likely, addresses, constants, by_width, enums, headers, brink };
        // What a local was set from: a comparison with it is one with the field.
        let mut sources: BTreeMap<usize, Vec<Expr>> = BTreeMap::new();
        let handler = &app.handler;
        let blocks = handler.points.iter().flat_map(|point| [&point.rest, &point.absent]);
        for block in blocks.chain([&handler.before]) {
            collect_sources(block, &mut sources);
        }
        for stmt in branches(app) {
            if let StmtKind::If { condition, .. } = &stmt.kind {
                pool.learn(condition, &sources, 0);
            }
        }
        pool
    }

    /// Through [`LOCALS_MAX`] locals at most.
    fn learn(&mut self, condition: &Expr, sources: &BTreeMap<usize, Vec<Expr>>, depth: usize) {
        match &condition.kind {
            ExprKind::Not(inner) | ExprKind::Cast(inner) => self.learn(inner, sources, depth),
            ExprKind::Local(local) if depth < LOCALS_MAX => {
                for source in sources.get(local).into_iter().flatten() {
                    self.learn(source, sources, depth + 1);
                }
            }
            ExprKind::Binary(op, left, right) => {
                let compares = !matches!(op, BinaryOp::AndAlso | BinaryOp::OrElse);
                for (side, other) in [(left, right), (right, left)] {
                    if let (true, ExprKind::Const(value)) = (compares, &side.kind) {
                        let max = u128::MAX >> (128 - side.ty.bits());
                        let near = [*value, value.saturating_sub(1), (value + 1).min(max)];
                        self.by_width.entry(side.ty.bits()).or_default().extend(near);
                        let mut fields = Vec::new();
                        collect_fields(other, sources, &mut fields, 0);
                        for field in fields {
                            self.constants.entry(field).or_default().extend(near);
                        }
                    }
                    self.learn(side, sources, depth);
                }
            }
            _ => {}
        }
    }

    /// A value for a field of a type, of the kind that keys and states have.
    pub fn value(&self, ty: Type, random: &mut Random) -> u128 {
        let noise = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
        let mask = u128::MAX >> (128 - ty.bits());
        match ty {
            Type::Ipv4 if random.chance(0.9) => self.address(random).into(),
            Type::Enum(index) => pick(random, &self.enums[index]),
            Type::Uint(16) if random.chance(0.8) => pick(random, &PORTS).into(),
            _ if random.chance(0.3) => u128::from(random.below(4)) & mask,
            _ => match self.by_width.get(&ty.bits()) {
                Some(values) if random.chance(0.5) => pick(random, values),
                _ => noise & mask,
            },
        }
    }

    fn address(&self, random: &mut Random) -> u32 {
        match random.below(100) {
            0..3 => random.next_u64() as u32,
            3..65 if !self.likely.is_empty() => pick(random, &self.likely),
            _ => pick(random, &self.addresses),
        }
    }

    /// A value for a field of a header, if nothing else decides it.
    fn field(&self, index: usize, field: usize, random: &mut Random) -> u128 {
        let (name, ty) = self.headers[index].fields[field];
        let mask = u128::MAX >> (128 - ty.bits());
        if let Some(constants) = self.constants.get(&(index, field))
            && random.chance(0.5)
        {
            return pick(random, constants) & mask;
        }
        if index >= HEADERS.len() {
            return self.value(ty, random);
        }
        match name {
            "ttl" | "hop_limit" if random.chance(0.85) => 64,
            "ttl" | "hop_limit" => pick(random, &[0, 1, 2, 255]),
            "more_fragments" => u128::from(random.chance(0.03)),
            "fragment_offset" => {
                if random.chance(0.02) {
                    noise(random) & mask
                } else {
                    0
                }
            }
            "version" => 4,
            "ihl" => 5,
            "src" | "dst" if ty == Type::Ipv4 => self.address(random).into(),
            "src" | "dst" | "identifier" if ty == Type::Uint(16) && random.chance(0.92) => {
                pick(random, &PORTS).into()
            }
            _ => match random.below(8) {
                0 => 0,
                1 => mask,
                _ => noise(random) & mask,
            },
        }
    }

    /// A frame.
    pub fn frame(&self, random: &mut Random) -> Vec<u8> {
        let mut shape: Vec<Option<BTreeMap<usize, u128>>> = Vec::new();
        let mut starts = Vec::new();
        let mut frame = Vec::new();
        for (index, header) in self.headers.iter().enumerate() {
            if !header.always && !comes_next(self.headers, index, &shape) {
                shape.push(None);
                starts.push(None);
                continue;
            }
            let fields = self.fields(index, random);
            starts.push(Some(frame.len()));
            frame.extend(values::pack(header, &fields));
            shape.push(Some(fields.into_iter().enumerate().collect()));
        }
        let headers_end = frame.len();
        let payload = match random.below(60) {
            0 => self.brink.saturating_sub(frame.len()) as u64 + random.below(40),
            _ => random.below(PAYLOAD_MAX),
        };
        frame.extend((0..payload).map(|_| random.next_u64() as u8));
        let own = starts[HEADERS.len()..].iter().flatten().next();
        if let Some(own) = own
            && random.chance(CUT_PROBABILITY)
        {
            frame.truncate(own + random.below((headers_end - own) as u64) as usize);
        }
        self.mend(&mut frame, &starts, random);
        if random.chance(0.03) {
            frame.truncate(14 + random.below(frame.len() as u64 - 13) as usize);
        }
        while !travels(&frame) {
            frame.push(0);
        }
        frame
    }

    /// The fields of one header: what decides what follows is one of the ways that the graph has, or near one.
    fn fields(&self, index: usize, random: &mut Random) -> Vec<u128> {
        let count = self.headers[index].fields.len();
        let mut fields: Vec<u128> = (0..count).map(|field| self.field(index, field, random)).collect();
        let ways: Vec<_> = choices(self.headers, index).into_iter().filter(|way| !way.is_empty()).collect();
        let own = self.headers[index].name == "ports" || index >= HEADERS.len();
        if ways.is_empty() || own && !random.chance(OWN_PROBABILITY) {
            return fields;
        }
        // IPv4 is what all apps are about.
        let likely: Vec<_> = ways.iter().filter(|way| way.values().any(|value| *value == 0x0800)).collect();
        let way = if !likely.is_empty() && random.chance(0.8) {
            pick(random, &likely).clone()
        } else {
            pick(random, &ways)
        };
        let keep_own =
            self.constants.keys().any(|(header, field)| *header == index && way.contains_key(field));
        if !(keep_own && random.chance(0.4)) {
            for (field, value) in &way {
                fields[*field] = *value;
            }
        }
        if random.chance(0.06) {
            let changed: Vec<_> = way.keys().copied().collect();
            let field = pick(random, &changed);
            let mask = u128::MAX >> (128 - self.headers[index].fields[field].1.bits());
            fields[field] = match random.below(3) {
                0 => fields[field].wrapping_add(1) & mask,
                _ => noise(random) & mask,
            };
        }
        fields
    }

    /// Makes lengths and checksums right, and now and then wrong.
    fn mend(&self, frame: &mut Vec<u8>, starts: &[Option<usize>], random: &mut Random) {
        let at = |name: &str| header(name).and_then(|index| starts[index]);
        if random.chance(0.2) {
            frame.extend(vec![0; random.below(12) as usize]); // an Ethernet trailer, or more payload
        }
        let end = frame.len();
        if let Some(inner) = at("inner_ipv4") {
            finish_ipv4(frame, inner, end - inner, random.chance(0.95));
        }
        let Some(ip) = at("ipv4") else { return };
        let total = match random.below(30) {
            0 => random.below((end - ip) as u64 + 40) as usize,
            1 => end - ip - random.below((end - ip) as u64 / 4 + 1) as usize,
            _ => end - ip,
        };
        if let Some(ports) = at("ports") {
            let pseudo = pseudo_sum(frame, ip, end - ip - 20);
            let sum_at = if at("tcp").is_some() { ports + 16 } else { ports + 6 };
            if at("udp").is_some() {
                frame[ports + 4..ports + 6].copy_from_slice(&((end - ports) as u16).to_be_bytes());
            }
            let zero = at("udp").is_some() && random.chance(0.2);
            set_checksum(frame, ports, sum_at, pseudo, random.chance(0.95));
            if zero {
                frame[sum_at..sum_at + 2].fill(0);
            }
        } else if let Some(icmp) = at("icmp") {
            set_checksum(frame, icmp, icmp + 2, 0, random.chance(0.95));
        }
        finish_ipv4(frame, ip, total, random.chance(0.98));
    }
}

/// One of these.
pub fn pick<T: Clone>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize].clone()
}

fn noise(random: &mut Random) -> u128 {
    u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
}

/// Sets total length and header checksum.
pub fn finish_ipv4(frame: &mut [u8], at: usize, total: usize, right: bool) {
    frame[at + 2..at + 4].copy_from_slice(&(total as u16).to_be_bytes());
    frame[at + 10..at + 12].fill(0);
    let sum = checksum(&frame[at..at + 20]);
    let sum = if right { sum } else { sum ^ 0x0100 };
    frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
}

/// The pseudo-header's words, added up.
fn pseudo_sum(frame: &[u8], ip: usize, len: usize) -> u32 {
    let words = frame[ip + 12..ip + 20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    words.sum::<u32>() + u32::from(frame[ip + 9]) + len as u32
}

fn set_checksum(frame: &mut [u8], from: usize, at: usize, pseudo: u32, right: bool) {
    if at + 2 > frame.len() {
        return;
    }
    frame[at..at + 2].fill(0);
    let words = frame[from..].chunks(2);
    let sum = words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u32::from(*byte)));
    let mut sum = u64::from(pseudo) + sum.map(u64::from).sum::<u64>();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !(sum as u16) ^ if right { 0 } else { 0x0100 };
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn collect_sources(block: &[Stmt], sources: &mut BTreeMap<usize, Vec<Expr>>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::Assign { place: redplane_codegen::ir::Place::Local(local), value } => {
                sources.entry(*local).or_default().push(value.clone());
            }
            StmtKind::If { then, otherwise, .. } => {
                collect_sources(then, sources);
                collect_sources(otherwise, sources);
            }
            _ => {}
        }
    }
}

/// The header fields in an expression; through [`LOCALS_MAX`] locals at most.
fn collect_fields(
    expr: &Expr,
    sources: &BTreeMap<usize, Vec<Expr>>,
    fields: &mut Vec<(usize, usize)>,
    depth: usize,
) {
    match &expr.kind {
        ExprKind::Header(at) => fields.push((at.header, at.field)),
        ExprKind::Local(local) if depth < LOCALS_MAX => {
            for source in sources.get(local).into_iter().flatten() {
                collect_fields(source, sources, fields, depth + 1);
            }
        }
        ExprKind::Not(inner) | ExprKind::Cast(inner) => collect_fields(inner, sources, fields, depth),
        ExprKind::Binary(_, left, right) => {
            collect_fields(left, sources, fields, depth);
            collect_fields(right, sources, fields, depth);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use redplane_sdk::App;
    use redplane_sdk::packet::{Packet, ParseError};

    use super::*;
    use crate::cases::CASES;
    use crate::samples::{cache, labels};
    use crate::setting::Setting;

    const FRAMES: usize = 5_000;

    /// What frames of an app are like, as far as own headers go.
    fn kinds<A: App>(name: &str) -> BTreeSet<String> {
        let (case, _) = CASES.iter().find(|(case, _)| case.name == name).expect("it is a case");
        let setting = Setting::<A>::new(case).expect("its tables can be read");
        let headers = setting.app.headers;
        let (mut random, mut kinds) = (Random::new(1), BTreeSet::new());
        for _ in 0..FRAMES {
            let frame = setting.pool.frame(&mut random);
            match Packet::parse_with(&frame, A::own_headers) {
                Err(ParseError::Truncated { header: "own", offset, found }) => {
                    kinds.insert(format!("cut after {}", found - offset));
                }
                Err(_) => {}
                Ok(packet) => {
                    let there = values::headers(headers, &packet);
                    let own = headers.iter().zip(&there).skip(HEADERS.len()).filter(|(_, it)| it.is_some());
                    let own: Vec<&str> = own.map(|(header, _)| header.name).collect();
                    let tag = if packet.vlan.is_some() { "tagged " } else { "" };
                    let Some(udp) = packet.udp.filter(|_| packet.ipv4.is_some()) else {
                        kinds.insert(format!("{tag}{}", own.join(" ")));
                        continue;
                    };
                    let (ip, ports) = (packet.header_len() - 28, packet.header_len() - 8);
                    let mut right = frame.clone();
                    let pseudo = pseudo_sum(&right, ip, right.len() - ip - 20);
                    set_checksum(&mut right, ports, ports + 6, pseudo, true);
                    let sum = if udp.checksum == 0 {
                        "no"
                    } else if right == frame {
                        "right"
                    } else {
                        "wrong"
                    };
                    kinds.insert(format!("{tag}{} with {sum} checksum", own.join(" ")));
                }
            }
        }
        kinds
    }

    #[track_caller]
    fn expect(kinds: &BTreeSet<String>, wanted: &[&str]) {
        for wanted in wanted {
            assert!(kinds.contains(*wanted), "no `{wanted}`: {kinds:?}");
        }
    }

    #[test]
    fn own_headers_come_in_every_way() {
        let kinds = kinds::<cache::App>("cache");
        for own in ["request", "request content"] {
            for sum in ["no", "right", "wrong"] {
                expect(&kinds, &[&format!("{own} with {sum} checksum")]);
            }
            expect(&kinds, &[&format!("tagged {own} with right checksum")]);
        }
        expect(&kinds, &["", " with right checksum", "request", "request content"]);
        for len in 0..12 {
            // From eight on within the content, of which the request speaks.
            expect(&kinds, &[&format!("cut after {len}")]);
        }
    }

    #[test]
    fn every_place_is_taken() {
        let kinds = kinds::<labels::App>("labels");
        let stamped = "ipv4_rest after_udp with right checksum";
        let trailed = "ipv4_rest after_udp trail with right checksum";
        let behind_ipv4 = ["table", "table inner", "tagged table", "tagged rp_key"];
        expect(&kinds, &["shim", "shim second", "ipv4_rest with right checksum", stamped, trailed]);
        expect(&kinds, &behind_ipv4);
    }
}
