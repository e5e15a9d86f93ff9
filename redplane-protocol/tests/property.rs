//! Garbage in: nothing panics, and nobody but the owner changes a record. Twin of the fuzz targets in `fuzz/`.

use proptest::prelude::*;
use redplane_protocol::*;

use crate::node::{LEASE, SCHEMA, address, bytes, configuration, header, node};

fn any_header() -> impl Strategy<Value = Header> {
    let identity =
        (0..4_u16, 0..3_u16).prop_map(|(switch, incarnation)| SwitchIdentity { switch, incarnation });
    let numbers = (0..6_u32, 0..6_u32, 0..4_u32, any::<u32>());
    (prop::sample::select(&Kind::ALL[..]), any::<bool>(), identity, numbers, any::<u16>(), 0..4_usize)
        .prop_map(|(kind, create, identity, (generation, sequence, ticket, sent_at), port, reason)| Header {
            kind,
            create: create && kind == Kind::Lease,
            reason: (kind == Kind::Nack).then_some(NackReason::ALL[reason]),
            app: SCHEMA.app,
            fingerprint: SCHEMA.fingerprint,
            identity,
            generation: Serial(generation),
            sequence: Serial(sequence),
            ticket: Serial(ticket),
            sent_at: Ticks(sent_at),
            port,
        })
}

/// A message as it may be, with some bytes changed or cut off.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (any_header(), 0..4_u16, any::<u32>(), damage, any::<prop::sample::Index>(), 0..10_u8).prop_map(
        |(header, key, value, damage, cut, whether)| {
            let mut message = bytes(header, key, value);
            for (at, byte) in damage {
                let at = at.index(message.len());
                message[at] = byte;
            }
            if whether == 0 {
                message.truncate(cut.index(message.len() + 1));
            }
            message
        },
    )
}

fn chain() -> Vec<Node> {
    (0..3)
        .map(|id| {
            let mut node = node(id, 1);
            node.reconfigure(configuration(1, &[0, 1, 2]), Time(0));
            node
        })
        .collect()
}

fn drain(node: &mut Node) -> Vec<Transmit> {
    std::iter::from_fn(|| node.poll_transmit()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_survive_the_wire(header in any_header(), frame in prop::collection::vec(any::<u8>(), 0..80)) {
        let message = Message { header, key: &[1, 2], value: &[3, 4, 5, 6], frame: &frame };
        let mut emitted = vec![0xa5; message.buffer_len()];
        message.emit(&mut emitted);
        prop_assert_eq!(Message::parse(&emitted, &SCHEMA), Ok(message));
        prop_assert_eq!(Header::parse(&emitted), Ok(header));
    }

    #[test]
    fn no_bytes_make_a_codec_panic(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Header::parse(&garbage);
        let _ = Message::parse(&garbage, &SCHEMA);
        if let Ok(message) = ChainMessage::parse(&garbage) {
            prop_assert_eq!(message.to_vec(), garbage);
        }
    }

    /// Requests of all sorts go to a chain; what the head sends down arrives damaged, in part.
    #[test]
    fn no_message_makes_a_node_panic(
        messages in prop::collection::vec((0..3_usize, mutated(), 0..60_000_u64), 1..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut nodes = chain();
        let mut now = Time(0);
        for (number, (to, message, gap)) in messages.iter().enumerate() {
            now = Time(now.0 + gap);
            nodes[*to].handle_request(address(number as u16 % 3), message, now);
            nodes[*to].handle_chain(NodeId(number as u16 % 3), message, now);
            for transmit in drain(&mut nodes[*to]) {
                let Destination::Node(next) = transmit.to else { continue };
                let mut damaged = transmit.bytes.clone();
                let (at, byte) = &damage[number % damage.len()];
                let at = at.index(damaged.len());
                damaged[at] = *byte;
                let next = &mut nodes[usize::from(next.0)];
                next.handle_chain(NodeId(*to as u16), &damaged, now);
                next.handle_chain(NodeId(*to as u16), &transmit.bytes, now);
                let _ = drain(next);
            }
        }
        for node in &mut nodes {
            while let Some(at) = node.poll_timeout().filter(|at| *at < Time(4_000_000)) {
                node.handle_timeout(at);
                let _ = drain(node);
                prop_assert!(node.poll_timeout() != Some(at), "time goes on");
            }
        }
    }

    /// Whatever anybody else sends: the record stays as its owner left it, as long as the lease lives.
    #[test]
    fn nobody_but_the_owner_changes_a_record(messages in prop::collection::vec(mutated(), 1..40)) {
        let mut node = node(0, 1);
        node.reconfigure(configuration(1, &[0]), Time(0));
        let owner = 9;
        node.handle_request(address(owner), &bytes(header(owner, Kind::Lease), 2, 0), Time(0));
        let before = node.record(1, &[0, 2]).cloned();
        prop_assert!(before.is_some());
        for (number, message) in messages.iter().enumerate() {
            let is_owners = Header::parse(message).is_ok_and(|header| header.identity.switch == owner);
            prop_assume!(!is_owners);
            node.handle_request(address(number as u16 % 4), message, Time(number as u64));
        }
        prop_assert!(Time(messages.len() as u64) < Time(0).plus(LEASE));
        prop_assert_eq!(node.record(1, &[0, 2]), before.as_ref());
    }

    #[test]
    fn no_message_makes_a_switch_panic(messages in prop::collection::vec((mutated(), any::<u32>()), 1..60)) {
        let identity = SwitchIdentity { switch: 1, incarnation: 1 };
        let mut table = SlotTable::<u16, u32>::new(identity, SCHEMA, 2, Lease::default());
        for (bytes, now) in &messages {
            let now = Ticks(*now);
            if let Ok(message) = Message::parse(bytes, &SCHEMA) {
                let (key, value) = (u16::decode(message.key), u32::decode(message.value));
                let _ = table.handle_message(&message.header, &key, &value, now);
                if let Lookup::Held(slot) = table.lookup(&key, now) {
                    let _ = table.settle(slot, (value & 1 == 0).then_some(value), 1, now);
                }
            }
            table.sweep(1, now);
            let copies = std::iter::from_fn(|| table.poll_retransmit(now)).take(100).count();
            prop_assert!(copies <= 2, "at most one for each slot");
            let is_held = |index| table.registers(index).is_some_and(|slot| slot.generation != Serial::ZERO);
            prop_assert_eq!(table.occupied(), [0, 1].into_iter().filter(|index| is_held(*index)).count());
        }
    }
}
