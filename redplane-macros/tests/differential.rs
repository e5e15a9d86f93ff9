//! The native handler and the typed program, packet by packet: the same verdict and the same headers.

use std::path::Path;
use std::time::Duration;

use redplane_codegen::interpret::{Machine, Outcome};
use redplane_codegen::packet::{HEADERS, header};
use redplane_sdk::app::{Pass, schema};
use redplane_sdk::packet::Packet;
use redplane_sdk::protocol::{Lease, SlotTable, SwitchIdentity, Ticks};
use redplane_sdk::{App, StateHandle, Verdict};

use crate::arithmetic_app::arithmetic::App as Native;

/// xorshift64*: reproducible packets.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// A frame with random addresses, ports and flags: UDP, ICMP or some other protocol.
fn frame(random: &mut Random) -> Vec<u8> {
    let protocol = [17, 1, 99][(random.next() % 3) as usize];
    let mut frame = vec![0u8; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 28]);
    frame.extend((random.next() as u16).to_be_bytes());
    frame.extend([(random.next() as u8 & 1) << 6, 0, random.next() as u8, protocol, 0, 0]);
    frame.extend((random.next()).to_be_bytes());
    let sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    let (mut source, destination) = (random.next() as u16, random.next() as u16);
    if protocol == 1 {
        source = 0x0800; // an echo request: an error would quote another packet
    }
    frame.extend(source.to_be_bytes());
    frame.extend(destination.to_be_bytes());
    frame.extend([0, 8, 0, 0]);
    frame
}

/// The headers that the program reads or writes, as the interpreter has them.
fn headers(packet: &Packet) -> Vec<Option<Vec<u128>>> {
    let mut all: Vec<Option<Vec<u128>>> = HEADERS.iter().map(|_| None).collect();
    let place = |name: &str| header(name).expect("a standard header");
    all[place("ipv4")] = packet.ipv4.map(|ip| {
        vec![
            ip.version.value().into(),
            ip.ihl.value().into(),
            ip.dscp.value().into(),
            ip.ecn.value().into(),
            ip.total_len.into(),
            ip.identification.into(),
            ip.reserved_flag.into(),
            ip.dont_fragment.into(),
            ip.more_fragments.into(),
            ip.fragment_offset.value().into(),
            ip.ttl.into(),
            ip.protocol.into(),
            ip.checksum.into(),
            u32::from(ip.src).into(),
            u32::from(ip.dst).into(),
        ]
    });
    all[place("ports")] = packet.ports.map(|ports| vec![ports.src.into(), ports.dst.into()]);
    all[place("icmp")] = packet.icmp.map(|_| vec![0; HEADERS[place("icmp")].fields.len()]);
    all
}

#[test]
fn native_code_and_program_compute_the_same() {
    const PACKETS: u64 = 20_000;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pass/arithmetic.rs");
    let app = redplane_codegen::build::read(&source).expect("the program has no mistake").remove(0);
    let lease = Lease::new(Duration::from_secs(1), 0).expect("a legal lease");
    let identity = SwitchIdentity { switch: 1, incarnation: 1 };
    let slots = SlotTable::new(identity, schema::<Native>(), 16, lease);
    let mut outcomes = std::collections::BTreeMap::new();
    for seed in 1..=PACKETS {
        let mut random = Random(seed);
        let frame = frame(&mut random);
        let port = random.next() as u16;
        let mut packet = Packet::parse(&frame).expect("a whole packet");
        let mut machine = Machine::new(&app, headers(&packet), port);
        let expected = machine.before(&|_, _| 0);

        let decode = <<Native as App>::State as redplane_sdk::protocol::Fixed>::decode;
        let mut pass = Pass { reached: None, value: decode(&[0; 4]), written: false };
        let state = StateHandle::new(&slots, None, Ticks(0), &mut pass);
        let tables = <Native as App>::Tables::default();
        let verdict = Native::handle(&mut packet, state, &tables, port).expect("no state is asked for");
        let found = match verdict {
            Verdict::Forward => Outcome::Forward,
            Verdict::To(port) => Outcome::To(port),
            Verdict::Reply => Outcome::Reply,
            Verdict::Recirculate => Outcome::Recirculate,
            Verdict::Drop(reason) => Outcome::Drop(reason.to_owned()),
        };
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(headers(&packet), machine.headers, "seed {seed}");
        *outcomes.entry(format!("{:?}", std::mem::discriminant(&found))).or_insert(0u64) += 1;
    }
    assert_eq!(outcomes.len(), 4, "every verdict of the program is met: {outcomes:?}");
}
