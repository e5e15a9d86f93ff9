//! The native code, which rustc made of an app's text, and the IR, of which every target is made, do the same to every
//! packet: same lease point and key, same headers, same state, same verdict.

mod arithmetic_app;
#[path = "../../../redplane-codegen/tests/fixtures/cache/input.rs"]
#[expect(unreachable_pub, reason = "an app is written as a library would write it")]
pub(crate) mod cache_app;
mod puzzle_app;

use std::net::Ipv4Addr;

use apps::{firewall, load_balancer, nat};
use arithmetic_app::arithmetic;
use cache_app::cache;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use puzzle_app::puzzle;

use redplane_codegen::interpret::{Lookup, Machine, Outcome};
use redplane_codegen::ir::{self, Mode, Record};
use redplane_codegen::packet::HEADERS;
use redplane_sdk::app::Pass;
use redplane_sdk::packet::Packet;
use redplane_sdk::protocol::{
    Fixed, Header, Kind, Lease, Reaction, Schema, Serial, SlotTable, SwitchIdentity, Ticks,
};
use redplane_sdk::table::Columns;
use redplane_sdk::{App, Handled, StateHandle, Verdict};

const NOW: Ticks = Ticks(1000);
const PORT: u16 = 5;

/// The app of this name in a source text, as a build script would compile it.
pub(crate) fn compile(source: &str, name: &str) -> ir::App {
    let file = syn::parse_file(source).expect("the source compiled already");
    let module = file.items.iter().find_map(|item| match item {
        syn::Item::Mod(module) if module.ident == name => Some(module),
        _ => None,
    });
    let module = module.expect("the app is there");
    let arguments = module.attrs.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.segments.last().is_some_and(|last| last.ident == "app") => {
            Some(list.tokens.clone())
        }
        _ => None,
    });
    redplane_codegen::parse_app(arguments.expect("with its attribute"), module).expect("without mistakes")
}

/// Both forms are of the same program.
fn same_program<A: App>(ir: &ir::App) {
    assert_eq!((A::NAME, A::ID, A::SLOTS), (ir.name.as_str(), ir.id, ir.state.slots));
    assert_eq!((A::IR_HASH, A::FINGERPRINT), (redplane_codegen::hash(ir), redplane_codegen::fingerprint(ir)));
    assert_eq!((A::IDLE.as_millis(), A::REASONS.len()), (u128::from(ir.state.idle_ms), ir.reasons.len()));
    assert_eq!(A::REASONS, ir.reasons);
}

/// The bits of `bytes` from `at`, as one number.
fn bits(bytes: &[u8], at: usize, width: usize) -> u128 {
    (at..at + width).fold(0, |value, bit| value << 1 | u128::from(bytes[bit / 8] >> (7 - bit % 8) & 1))
}

/// A packet's headers as the interpreter has them: the standard ones, then those of the app.
fn values(ir: &ir::App, packet: &Packet) -> Vec<Option<Vec<u128>>> {
    let mut values = standard_values(packet);
    let mut at = 0;
    for header in &ir.headers[HEADERS.len()..] {
        let edge = header.after[0];
        let before = if edge.header == "udp" { "ports" } else { edge.header };
        let place = ir.headers.iter().position(|known| known.name == before).expect("it stands after one");
        let is = |(name, wanted): &(&str, &[u64])| {
            let field = ir.headers[place].fields.iter().position(|(known, _)| known == name);
            let value = values[place].as_ref().map(|values| values[field.expect("a field of it")]);
            value.is_some_and(|value| wanted.iter().any(|wanted| u128::from(*wanted) == value))
        };
        let is_there = edge.when.iter().all(is) && (edge.header != "udp" || packet.udp.is_some());
        let mut take = |width: usize| {
            at += width;
            bits(packet.own(), at - width, width)
        };
        let widths = header.fields.iter().map(|(_, ty)| usize::from(ty.bits()));
        values.push(is_there.then(|| widths.map(&mut take).collect()));
    }
    values
}

fn standard_values(packet: &Packet) -> Vec<Option<Vec<u128>>> {
    let p = packet;
    let emitted = [
        Some(p.ethernet.emit().to_vec()),
        p.vlan.map(|header| header.emit().to_vec()),
        p.ipv4.map(|header| header.emit().to_vec()),
        p.ipv6.map(|header| header.emit().to_vec()),
        p.ports.map(|header| header.emit().to_vec()),
        p.tcp.map(|header| header.emit().to_vec()),
        p.udp.map(|header| header.emit().to_vec()),
        p.icmp.map(|header| header.emit().to_vec()),
        p.inner_ipv4.map(|header| header.emit().to_vec()),
        p.inner_ports.map(|header| header.emit().to_vec()),
        p.inner_udp.map(|header| header.emit().to_vec()),
        p.inner_icmp.map(|header| header.emit().to_vec()),
    ];
    let fields = |bytes: Vec<u8>, header: &redplane_codegen::packet::Header| {
        let mut at = 0;
        let widths = header.fields.iter().map(|(_, ty)| usize::from(ty.bits()));
        widths
            .map(|width| {
                at += width;
                bits(&bytes, at - width, width)
            })
            .collect()
    };
    emitted.into_iter().zip(HEADERS).map(|(bytes, header)| Some(fields(bytes?, header))).collect()
}

/// A record's fields, out of its wire form.
fn fields(record: &Record, value: &impl Fixed) -> Vec<u128> {
    let mut bytes = vec![0; 64];
    let len = record.fields.iter().map(|field| usize::from(field.ty.wire_bytes())).sum::<usize>();
    value.encode(&mut bytes[..len]);
    let mut at = 0;
    let take = |field: &ir::Field| {
        let width = usize::from(field.ty.wire_bytes()) * 8;
        at += width;
        bits(&bytes, at - width, width) & (u128::MAX >> (128 - field.ty.bits()))
    };
    record.fields.iter().map(take).collect()
}

fn outcome(handled: Handled) -> Option<Outcome> {
    Some(match handled.ok()? {
        Verdict::Forward => Outcome::Forward,
        Verdict::Via(addr) => Outcome::Via(addr.to_bits()),
        Verdict::To(port) => Outcome::To(port),
        Verdict::Reply => Outcome::Reply,
        Verdict::Recirculate => Outcome::Recirculate,
        Verdict::Drop(reason) => Outcome::Drop(reason.to_owned()),
    })
}

/// One app, in its two forms.
struct Twin<'a, A: App> {
    ir: &'a ir::App,
    tables: &'a A::Tables,
    lookup: Lookup<'a>,
}

impl<A: App> Twin<'_, A> {
    fn slots() -> SlotTable<A::Key, A::State> {
        let identity = SwitchIdentity { switch: 1, incarnation: 1 };
        let schema = Schema {
            app: A::ID,
            fingerprint: A::FINGERPRINT,
            key_len: A::Key::LEN as u16,
            value_len: A::State::LEN as u16,
        };
        SlotTable::new(identity, schema, A::SLOTS, Lease::default())
    }

    fn native(
        &self,
        slots: &SlotTable<A::Key, A::State>,
        absent: Option<&A::Key>,
        packet: &Packet,
    ) -> (Handled, Packet, Pass<A::Key, A::State>) {
        let mut after = packet.clone();
        let mut pass =
            Pass { reached: None, value: A::State::decode(&vec![0; A::State::LEN]), written: false };
        let state = StateHandle::new(slots, absent, NOW, &mut pass);
        let handled = A::handle(&mut after, state, self.tables, PORT);
        (handled, after, pass)
    }

    /// Runs one packet both ways: up to the lease point, without a record, and with this one.
    fn agree(&self, packet: &Packet, value: A::State) -> Outcome {
        let mut slots = Self::slots();
        let (handled, after, pass) = self.native(&slots, None, packet);
        let mut machine = Machine::new(self.ir, values(self.ir, packet), PORT);
        let interpreted = machine.before(self.lookup);
        assert_eq!(values(self.ir, &after), machine.headers);
        let Outcome::Reached { point, key } = &interpreted else {
            assert_eq!(outcome(handled).as_ref(), Some(&interpreted));
            return interpreted;
        };
        assert!(handled.is_err() && after == *packet, "a suspended packet is untouched");
        let reached = pass.reached.expect("it waits for its state");
        assert_eq!(fields(&self.ir.key, &reached.key), *key);
        let mode = self.ir.handler.points[*point].mode;
        assert_eq!(reached.create, mode == Mode::Lease);

        if mode == Mode::Find {
            let (handled, after, pass) = self.native(&slots, Some(&reached.key), packet);
            let mut absent = machine.clone();
            assert_eq!(Some(absent.absent(*point, self.lookup)), outcome(handled));
            assert_eq!(values(self.ir, &after), absent.headers);
            assert!(!pass.written);
        }

        let request = slots.lease_request(reached.slot, true, PORT, NOW);
        let grant = Header { kind: Kind::Grant, create: false, generation: Serial(7), ..request };
        let reaction = slots.handle_message(&grant, &reached.key, &value, NOW);
        assert!(matches!(reaction, Reaction::Reprocess { .. }), "{reaction:?}");
        let (handled, after, pass) = self.native(&slots, None, packet);
        let held = machine.rest(*point, fields(&self.ir.state.record, &value), self.lookup);
        assert_eq!(Some(held), outcome(handled));
        assert_eq!(values(self.ir, &after), machine.headers);
        assert_eq!(fields(&self.ir.state.record, &pass.value), machine.state);
        assert_eq!(pass.written, machine.written);
        interpreted
    }
}

const HOSTS: [Ipv4Addr; 5] = [
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 1, 2, 3),
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(198, 51, 100, 7),
    Ipv4Addr::new(192, 0, 2, 9),
];

fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop::sample::select(HOSTS.to_vec())
}

/// A frame that parses: the fields that decide what follows come from few values, all others are random.
fn packet() -> impl Strategy<Value = Packet> {
    let headers = (
        prop::sample::select(vec![0x0800u16, 0x0800, 0x0800, 0x0800, 0x0800, 0x0800, 0x0800, 0x86dd, 0x0806]),
        prop::sample::select(vec![6u8, 17, 1, 1, 47]),
        prop::sample::select(vec![0u8, 8, 3, 11, 13]),
        prop::sample::select(vec![6u8, 17, 1, 47]),
        prop::sample::select(vec![0u16, 0, 0, 0, 0, 0, 0, 0x2000, 0x0005]),
    );
    let ends = (address(), address(), address(), address());
    (headers, ends, any::<[u8; 20]>(), any::<[u8; 20]>(), any::<[u8; 40]>()).prop_map(
        |(
            (ether_type, protocol, kind, quoted, fragment),
            (src, dst, inner_src, inner_dst),
            outer,
            inner,
            rest,
        )| {
            let mut frame = vec![2; 12];
            frame.extend(ether_type.to_be_bytes());
            let mut ip =
                |noise: [u8; 20], protocol: u8, src: Ipv4Addr, dst: Ipv4Addr, len: u16, fragment: u16| {
                    let mut header = noise;
                    header[0] = 0x45;
                    header[2..4].copy_from_slice(&len.to_be_bytes());
                    header[6..8].copy_from_slice(&fragment.to_be_bytes());
                    header[9] = protocol;
                    header[10..12].fill(0);
                    header[12..16].copy_from_slice(&src.octets());
                    header[16..20].copy_from_slice(&dst.octets());
                    let checksum = redplane_sdk::checksum::checksum(&header);
                    header[10..12].copy_from_slice(&checksum.to_be_bytes());
                    frame.extend(header);
                };
            ip(outer, protocol, src, dst, 88, fragment);
            if protocol == 1 && matches!(kind, 3 | 11) {
                frame.extend([kind, 1, 2, 3, 4, 5, 6, 7]);
                let mut quote = inner;
                quote[0] = 0x45;
                quote[6..8].fill(0);
                quote[9] = quoted;
                quote[12..16].copy_from_slice(&inner_src.octets());
                quote[16..20].copy_from_slice(&inner_dst.octets());
                frame.extend(quote);
                frame.extend(rest);
            } else {
                frame.extend(if protocol == 1 { vec![kind] } else { vec![rest[0]] });
                frame.extend([7; 27]);
                let at = frame.len() - 27;
                frame[at..at + 27].copy_from_slice(&rest[1..28]);
                frame.extend(rest);
            }
            Packet::parse(&frame).expect("well-formed by construction")
        },
    )
}

fn ipv4(bits: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(bits).expect("an IPv4 key"))
}

fn run<S: Strategy>(strategy: &S, agree: impl Fn(S::Value)) {
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(strategy, |value| {
        agree(value);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_nat_does_natively_what_its_ir_says() {
    let ir = compile(include_str!("../../src/nat.rs"), "nat");
    same_program::<nat::App>(&ir);
    let mut tables = <nat::App as App>::Tables::default();
    tables.inside.insert(Ipv4Addr::new(10, 0, 0, 0), 8, true).unwrap();
    tables.public.insert(Ipv4Addr::new(203, 0, 113, 0), 24, true).unwrap();
    let lookup = |table: usize, key: &[u128]| {
        vec![u128::from(match ir.tables[table].handle.as_str() {
            "inside" => tables.inside.lookup(ipv4(key[0])),
            _ => tables.public.lookup(ipv4(key[0])),
        })]
    };
    let twin = Twin::<nat::App> { ir: &ir, tables: &tables, lookup: &lookup };
    run(&(packet(), address(), any::<u16>()), |(packet, addr, port)| {
        twin.agree(&packet, nat::Binding { addr, port });
    });
}

/// Packets come in by port 5: it leads inside, or it does not.
#[test]
fn the_firewall_does_natively_what_its_ir_says() {
    use firewall::Phase::{Closed, InsideAsked, InsideDone, New, Open, OutsideAsked, OutsideDone, Reset};
    let ir = compile(include_str!("../../src/firewall.rs"), "firewall");
    same_program::<firewall::App>(&ir);
    for outward in [false, true] {
        let mut tables = <firewall::App as App>::Tables::default();
        tables.inside.insert(PORT, outward).unwrap();
        tables.blocked.add(&[("dst", "198.51.100.7"), ("protocol", "17")], true).unwrap();
        tables.published.add(&[("dst", "10.0.0.0/8"), ("src_port", "0x0/0x1")], true).unwrap();
        tables.published.add(&[("dst_port", "0x8000/0xc000")], true).unwrap();
        let lookup = |table: usize, key: &[u128]| {
            let tuple = || firewall::FiveTuple::from_words(key.try_into().expect("a 5-tuple"));
            vec![u128::from(match ir.tables[table].handle.as_str() {
                "inside" => tables.inside.lookup(key[0] as u16),
                "blocked" => tables.blocked.lookup(tuple()),
                _ => tables.published.lookup(tuple()),
            })]
        };
        let twin = Twin::<firewall::App> { ir: &ir, tables: &tables, lookup: &lookup };
        let phases = vec![New, InsideAsked, OutsideAsked, Open, InsideDone, OutsideDone, Closed, Reset];
        run(&(packet(), prop::sample::select(phases)), |(packet, phase)| {
            twin.agree(&packet, firewall::Track { phase });
        });
    }
}

#[test]
fn the_load_balancer_does_natively_what_its_ir_says() {
    use load_balancer::{Endpoint, Serving};
    let ir = compile(include_str!("../../src/load_balancer.rs"), "load_balancer");
    same_program::<load_balancer::App>(&ir);
    let mut tables = <load_balancer::App as App>::Tables::default();
    let end = |addr, port, protocol| Endpoint { addr, port, protocol };
    for protocol in [6, 17] {
        for port in [0, 0x3550, 0x4000] {
            tables.services.insert(end(HOSTS[2], port, protocol), true).unwrap();
            tables.fronts.insert(end(HOSTS[1], port, protocol), end(HOSTS[2], 80, protocol)).unwrap();
        }
    }
    let lookup = |table: usize, key: &[u128]| {
        let key = Endpoint::from_words(key.try_into().expect("an end"));
        match ir.tables[table].handle.as_str() {
            "services" => vec![u128::from(tables.services.lookup(key))],
            _ => tables.fronts.lookup(key).words().to_vec(),
        }
    };
    let twin = Twin::<load_balancer::App> { ir: &ir, tables: &tables, lookup: &lookup };
    let ports = prop::sample::select(vec![0, 0x3550, 0x4000, 99]);
    run(&(packet(), (ports.clone(), ports), address(), any::<u16>(), any::<bool>()), |arguments| {
        let (mut packet, (src, dst), addr, port, direct) = arguments;
        if let Some(ports) = &mut packet.ports {
            (ports.src, ports.dst) = (src, dst);
        }
        twin.agree(&packet, Serving { addr, port, direct });
    });
}

#[test]
fn a_bit_of_everything_does_natively_what_its_ir_says() {
    use puzzle::{Mood, Trait};
    use redplane_sdk::prelude::u3;
    let ir = compile(include_str!("puzzle_app.rs"), "puzzle");
    same_program::<puzzle::App>(&ir);
    let mut tables = <puzzle::App as App>::Tables::default();
    for (host, class) in HOSTS.into_iter().zip([1, 4, 3, 9, 0]) {
        tables.class.insert(host, 32, class).unwrap();
    }
    tables.next.add(&[("mood", "Wary"), ("part", "0x1/0x1")], Trait { mood: Mood::Angry, part: 3 }).unwrap();
    tables.next.add(&[("mood", "Calm")], Trait { mood: Mood::Wary, part: 200 }).unwrap();
    tables.next.add(&[("part", "0x80/0x80")], Trait { mood: Mood::Calm, part: 5 }).unwrap();
    let lookup = |table: usize, key: &[u128]| match ir.tables[table].handle.as_str() {
        "class" => vec![u128::from(tables.class.lookup(ipv4(key[0])))],
        _ => tables.next.lookup(Trait::from_words(key.try_into().expect("a trait"))).words().to_vec(),
    };
    let twin = Twin::<puzzle::App> { ir: &ir, tables: &tables, lookup: &lookup };
    let moods = prop::sample::select(vec![Mood::Calm, Mood::Wary, Mood::Angry]);
    let state = (any::<u32>(), any::<u16>(), 0u8..8, any::<bool>(), address(), moods);
    run(&(packet(), state), |(packet, (count, mix, phase, open, peer, mood))| {
        twin.agree(&packet, puzzle::Known { count, mix, phase: u3::new(phase), open, peer, mood });
    });
}

#[test]
fn own_headers_do_natively_what_the_ir_says() {
    use redplane_sdk::prelude::u12;
    let ir = compile(include_str!("../../../redplane-codegen/tests/fixtures/cache/input.rs"), "cache");
    same_program::<cache::App>(&ir);
    let tables = <cache::App as App>::Tables::default();
    let twin = Twin::<cache::App> { ir: &ir, tables: &tables, lookup: &|_, _| vec![] };
    let message = (0u8..4, prop::sample::select(vec![0u8, 1, 1, 1, 2]), any::<[u8; 12]>());
    let port = prop::sample::select(vec![4800u16, 4800, 4801]);
    run(&(message, port, any::<u32>(), 0u16..4096), |((kind, flags, mut bytes), port, value, version)| {
        bytes[0] = kind;
        bytes[1] = flags << 4 | bytes[1] & 0x0f;
        let mut frame = super::frames::udp((HOSTS[0], 99), (HOSTS[1], port));
        frame[42..].copy_from_slice(&bytes);
        let packet =
            Packet::parse_with(&frame, cache::App::own_headers).expect("well-formed by construction");
        let expected = match (port, flags) {
            (4800, 1) => 12,
            (4800, _) => 8,
            _ => 0,
        };
        assert_eq!(packet.own().len(), expected);
        twin.agree(&packet, cache::Known { value, version: u12::new(version) });
    });
}

#[test]
fn arithmetic_does_natively_what_its_ir_says() {
    let ir = compile(include_str!("arithmetic_app.rs"), "arithmetic");
    same_program::<arithmetic::App>(&ir);
    let tables = <arithmetic::App as App>::Tables::default();
    let twin = Twin::<arithmetic::App> { ir: &ir, tables: &tables, lookup: &|_, _| vec![0] };
    run(&packet(), |packet| {
        twin.agree(&packet, arithmetic::Count { packets: 0 });
    });
}
