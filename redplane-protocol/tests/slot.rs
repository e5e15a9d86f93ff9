//! One slot table, message by message.

use std::time::Duration;

use redplane_protocol::wire::PORT_RECIRCULATE;
use redplane_protocol::*;

const SCHEMA: Schema = Schema { app: 1, fingerprint: 2, key_len: 2, value_len: 4 };
const IDENTITY: SwitchIdentity = SwitchIdentity { switch: 5, incarnation: 1 };
const KEY: u16 = 9;

type Table = SlotTable<u16, u32>;

/// One slot, so that all keys share it; a lease of 96 ticks.
fn table() -> Table {
    let lease = Lease::new(Duration::from_micros(97 * 1024), 0).unwrap();
    assert_eq!(lease.ticks(), 96);
    SlotTable::new(IDENTITY, SCHEMA, 1, lease)
}

fn request(table: &mut Table, key: u16, now: Ticks) -> Header {
    let Lookup::NotHeld(slot) = table.lookup(&key, now) else { panic!("held already") };
    table.lease_request(slot, true, 3, now)
}

fn answer(request: Header, kind: Kind, generation: u32, sequence: u32) -> Header {
    let (generation, sequence) = (Serial(generation), Serial(sequence));
    Header { kind, create: false, generation, sequence, ..request }
}

fn grant(table: &mut Table, key: u16, generation: u32, now: Ticks) {
    let header = answer(request(table, key, now), Kind::Grant, generation, 10);
    let reaction = table.handle_message(&header, &key, &100, now);
    assert_eq!(reaction, Reaction::Reprocess { absent: false, port: 3 });
}

fn held(table: &Table, key: u16, now: Ticks) -> Slot {
    match table.lookup(&key, now) {
        Lookup::Held(slot) => slot,
        Lookup::NotHeld(_) => panic!("not held"),
    }
}

fn is_held(table: &Table, key: u16, now: Ticks) -> bool {
    matches!(table.lookup(&key, now), Lookup::Held(_))
}

fn hold(settled: Settled) -> Header {
    match settled {
        Settled::Hold(header) => header,
        Settled::Release { .. } => panic!("released"),
    }
}

#[test]
fn a_grant_installs_once() {
    let mut table = table();
    let now = Ticks(1000);
    let first = answer(request(&mut table, KEY, now), Kind::Grant, 4, 10);
    let other = answer(request(&mut table, KEY + 1, now), Kind::Grant, 5, 0);
    assert_eq!((first.ticket, first.generation), (Serial(0), Serial(4)));
    table.handle_message(&first, &KEY, &100, now);
    assert_eq!(table.value(held(&table, KEY, now)), 100);
    // The other key's grant was asked for before this one was installed: its packet comes back, nothing else.
    let reaction = table.handle_message(&other, &(KEY + 1), &7, now);
    assert_eq!(reaction, Reaction::Reprocess { absent: false, port: 3 });
    assert!(is_held(&table, KEY, now) && !is_held(&table, KEY + 1, now));
    assert_eq!(request(&mut table, KEY + 1, now).ticket, Serial(1));
    assert_eq!((table.statistics().installed, table.statistics().outdated), (1, 1));
}

#[test]
fn a_lease_ends_by_the_time_of_the_request() {
    let mut table = table();
    let sent = Ticks(1000);
    let header = answer(request(&mut table, KEY, sent), Kind::Grant, 4, 0);
    table.handle_message(&header, &KEY, &1, sent.plus(90));
    assert!(is_held(&table, KEY, sent.plus(95)));
    assert!(!is_held(&table, KEY, sent.plus(96)));
    // An ACK moves the end, but never back.
    let ack = |sent_at| Header { sent_at, ..answer(header, Kind::Ack, 4, 0) };
    table.handle_message(&ack(sent.plus(50)), &KEY, &0, sent.plus(95));
    table.handle_message(&ack(sent), &KEY, &0, sent.plus(95));
    assert!(is_held(&table, KEY, sent.plus(145)));
    assert!(!is_held(&table, KEY, sent.plus(146)));
}

#[test]
fn an_answer_to_another_generation_or_key_changes_nothing() {
    let mut table = table();
    let now = Ticks(1000);
    grant(&mut table, KEY, 4, now);
    let write = hold(table.settle(held(&table, KEY, now), Some(101), 8, now));
    let late = |generation| Header { sent_at: now.plus(90), ..answer(write, Kind::Ack, generation, 11) };
    for (generation, key) in [(3, KEY), (5, KEY), (4, KEY + 1)] {
        assert_eq!(table.handle_message(&late(generation), &key, &0, now), Reaction::Release { port: 8 });
        assert!(!is_held(&table, KEY, now.plus(96)));
        assert_eq!(hold(table.settle(held(&table, KEY, now), None, 8, now)).kind, Kind::Read);
    }
    table.handle_message(&late(4), &KEY, &0, now);
    assert!(is_held(&table, KEY, now.plus(96)));
}

#[test]
fn writes_are_held_and_reads_behind_them() {
    let mut table = table();
    let now = Ticks(1000);
    grant(&mut table, KEY, 4, now);
    let slot = held(&table, KEY, now);
    assert_eq!(table.settle(slot, None, 8, now), Settled::Release { renew: None });
    let write = hold(table.settle(slot, Some(101), 8, now));
    assert_eq!(
        (write.kind, write.generation, write.sequence, write.port),
        (Kind::Write, Serial(4), Serial(11), 8)
    );
    let read = hold(table.settle(slot, None, PORT_RECIRCULATE, now));
    assert_eq!((read.kind, read.sequence, read.port), (Kind::Read, Serial(11), PORT_RECIRCULATE));
    let ack = answer(write, Kind::Ack, 4, 11);
    assert_eq!(table.handle_message(&ack, &KEY, &0, now), Reaction::Release { port: 8 });
    assert_eq!(table.settle(slot, None, 8, now), Settled::Release { renew: None });
    assert_eq!(table.value(slot), 101);
}

#[test]
fn a_reader_renews_at_half_and_then_each_quarter() {
    let mut table = table();
    let sent = Ticks(u32::MAX - 20);
    grant(&mut table, KEY, 4, sent);
    let slot = held(&table, KEY, sent);
    let mut renewals = Vec::new();
    for tick in 0..96 {
        if let Settled::Release { renew: Some(header) } = table.settle(slot, None, 8, sent.plus(tick)) {
            assert_eq!((header.kind, header.sent_at), (Kind::Renew, sent.plus(tick)));
            renewals.push(tick);
        }
    }
    assert_eq!(renewals, [48, 72]);
}

#[test]
fn an_expired_slot_never_comes_back_when_the_clock_wraps() {
    let start = Ticks(5);
    let mut swept = table();
    let mut unswept = table();
    grant(&mut swept, KEY, 4, start);
    grant(&mut unswept, KEY, 4, start);
    let mut now = start;
    for _ in 0..16 {
        // A sixteenth of the circle at a time: about three days.
        now = now.plus(1 << 28);
        swept.sweep(1, now);
        assert!(!is_held(&swept, KEY, now), "{now:?}");
    }
    assert!(is_held(&unswept, KEY, start.plus(1)), "which is why the sweep is needed");
    assert!(!is_held(&swept, KEY, start.plus(1)));
    assert_eq!((swept.occupied(), unswept.occupied()), (0, 1));
}

#[test]
fn a_recall_clears_and_a_late_ack_finds_nothing() {
    let mut table = table();
    let now = Ticks(1000);
    grant(&mut table, KEY, 4, now);
    let write = hold(table.settle(held(&table, KEY, now), Some(1), 8, now));
    let recall = Header { ticket: Serial(0), ..answer(write, Kind::Recall, 4, 10) };
    let Reaction::Reply(release) = table.handle_message(&recall, &KEY, &0, now) else { panic!() };
    assert_eq!((release.kind, release.generation, release.sequence), (Kind::Release, Serial(4), Serial(11)));
    let ack = Header { sent_at: now.plus(5), ..answer(write, Kind::Ack, 4, 11) };
    assert_eq!(table.handle_message(&ack, &KEY, &0, now), Reaction::Release { port: 8 });
    assert!(!is_held(&table, KEY, now));
    assert_eq!(table.statistics().recalled, 1);
}

#[test]
fn a_recall_of_what_cannot_be_held_any_more_is_answered() {
    let mut table = table();
    let now = Ticks(1000);
    let asked = request(&mut table, KEY, now);
    let recall = answer(asked, Kind::Recall, 4, 10);
    let early = table.handle_message(&recall, &KEY, &0, now);
    assert_eq!(early, Reaction::Drop(DropReason::NoLease), "the grant may be under way");
    grant(&mut table, KEY + 1, 6, now);
    let Reaction::Reply(release) = table.handle_message(&recall, &KEY, &0, now) else { panic!() };
    assert_eq!((release.kind, release.generation, release.sequence), (Kind::Release, Serial(4), Serial(10)));
    assert!(is_held(&table, KEY + 1, now), "the other key's lease is not touched");
    let former = SwitchIdentity { incarnation: 0, ..IDENTITY };
    let recall = Header { identity: former, ..recall };
    let Reaction::Reply(release) = table.handle_message(&recall, &KEY, &0, now) else { panic!() };
    assert_eq!(release.identity, former);
    // Had this switch an older generation of the key, it would give up that one too.
    let recall = Header { generation: Serial(7), ticket: Serial(0), identity: IDENTITY, ..recall };
    assert!(matches!(table.handle_message(&recall, &(KEY + 1), &0, now), Reaction::Reply(_)));
    assert!(!is_held(&table, KEY + 1, now));
    // But a late RECALL of an older one takes nothing away.
    grant(&mut table, KEY, 8, now);
    assert_eq!(table.handle_message(&recall, &KEY, &0, now), Reaction::Drop(DropReason::NoLease));
    assert!(is_held(&table, KEY, now));
}

#[test]
fn refusals_have_their_reasons() {
    let mut table = table();
    let now = Ticks(1000);
    let asked = request(&mut table, KEY, now);
    let mut nack = |reason| {
        let header = Header { reason: Some(reason), ..answer(asked, Kind::Nack, 0, 0) };
        table.handle_message(&header, &KEY, &0, now)
    };
    assert_eq!(nack(NackReason::Absent), Reaction::Reprocess { absent: true, port: 3 });
    assert_eq!(nack(NackReason::Refused), Reaction::Drop(DropReason::LeaseRefused));
    assert_eq!(nack(NackReason::Busy), Reaction::Drop(DropReason::StoreBusy));
    assert_eq!(nack(NackReason::Stale), Reaction::Drop(DropReason::LeaseStale));
    grant(&mut table, KEY, 4, now);
    let stale =
        |generation| Header { reason: Some(NackReason::Stale), ..answer(asked, Kind::Nack, generation, 0) };
    table.handle_message(&stale(3), &KEY, &0, now);
    assert!(is_held(&table, KEY, now), "another generation's");
    table.handle_message(&stale(4), &KEY, &0, now);
    assert!(!is_held(&table, KEY, now));
    for stranger in [
        Header { app: 9, ..asked },
        Header { fingerprint: 9, ..asked },
        Header { identity: SwitchIdentity { incarnation: 0, ..IDENTITY }, kind: Kind::Grant, ..asked },
        Header { identity: SwitchIdentity { switch: 6, ..IDENTITY }, kind: Kind::Recall, ..asked },
    ] {
        assert_eq!(table.handle_message(&stranger, &KEY, &0, now), Reaction::Drop(DropReason::Stranger));
    }
    assert_eq!(table.handle_message(&asked, &KEY, &0, now), Reaction::Drop(DropReason::Malformed));
}

#[test]
fn an_unacknowledged_write_is_sent_again_ever_more_rarely() {
    let mut table = table();
    let start = Ticks(u32::MAX - 30);
    grant(&mut table, KEY, 4, start);
    let slot = held(&table, KEY, start);
    let write = hold(table.settle(slot, Some(1), 8, start));
    let _ = hold(table.settle(slot, Some(2), 8, start));
    let mut sent = Vec::new();
    for tick in 0..200 {
        while let Some((header, key, value)) = table.poll_retransmit(start.plus(tick)) {
            assert_eq!((header.kind, header.sequence, key, value), (Kind::Write, Serial(12), KEY, 2));
            assert_eq!(header.sent_at, start.plus(tick));
            sent.push(tick);
        }
    }
    assert_eq!(sent, [4, 12, 28, 60, 124, 188]);
    let ack = Header { sequence: Serial(12), ..answer(write, Kind::Ack, 4, 12) };
    table.handle_message(&ack, &KEY, &0, start.plus(200));
    assert!(table.poll_retransmit(start.plus(300)).is_none());
    assert_eq!(table.poll_timeout(), None);
}

#[test]
fn a_copy_dies_with_its_slot() {
    let mut table = table();
    let now = Ticks(1000);
    grant(&mut table, KEY, 4, now);
    let _ = hold(table.settle(held(&table, KEY, now), Some(1), 8, now));
    grant(&mut table, KEY + 1, 5, now);
    let _ = hold(table.settle(held(&table, KEY + 1, now), Some(2), 8, now));
    assert_eq!(table.poll_timeout(), Some(now.plus(4)));
    let (_, key, _) = table.poll_retransmit(now.plus(4)).unwrap();
    assert_eq!(key, KEY + 1);
    assert!(table.poll_retransmit(now.plus(4)).is_none());
}

#[test]
fn copies_are_bounded() {
    use redplane_protocol::retransmit::COPIES_MAX;
    let slots = (COPIES_MAX as u32) * 2;
    let schema = Schema { key_len: 4, ..SCHEMA };
    let mut table = SlotTable::<u32, u32>::new(IDENTITY, schema, slots, Lease::default());
    let now = Ticks(0);
    let mut written = 0_u64;
    for key in 0..slots {
        let Lookup::NotHeld(slot) = table.lookup(&key, now) else { continue };
        let header = answer(table.lease_request(slot, true, 0, now), Kind::Grant, 1, 0);
        table.handle_message(&header, &key, &0, now);
        let _ = table.settle(slot, Some(1), 0, now);
        written += 1;
    }
    let statistics = *table.statistics();
    assert_eq!(statistics.copies_not_kept, written - COPIES_MAX as u64);
    assert!(statistics.copies_not_kept > 0);
}

#[test]
fn everything_is_given_back_before_maintenance() {
    let mut table = table();
    let now = Ticks(1000);
    grant(&mut table, KEY, 4, now);
    let released: Vec<_> = table.release_all(now).collect();
    assert_eq!(released.len(), 1);
    let (header, key) = released[0];
    assert_eq!(
        (header.kind, header.generation, header.sequence, key),
        (Kind::Release, Serial(4), Serial(10), KEY)
    );
    assert!(!is_held(&table, KEY, now));
    assert_eq!(table.release_all(now).count(), 0);
}

#[test]
fn sequences_wrap() {
    let mut table = table();
    let now = Ticks(1000);
    let header =
        Header { sequence: Serial(u32::MAX), ..answer(request(&mut table, KEY, now), Kind::Grant, 4, 0) };
    table.handle_message(&header, &KEY, &1, now);
    let slot = held(&table, KEY, now);
    let write = hold(table.settle(slot, Some(2), 8, now));
    assert_eq!(write.sequence, Serial(0));
    assert_eq!(hold(table.settle(slot, None, 8, now)).kind, Kind::Read);
    table.handle_message(&answer(write, Kind::Ack, 4, 0), &KEY, &0, now);
    assert_eq!(table.settle(slot, None, 8, now), Settled::Release { renew: None });
}
