//! One node that is a chain by itself, request by request; and what a node refuses from its peers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use redplane_protocol::chain::Content;
use redplane_protocol::create::{Created, Records};
use redplane_protocol::node::TOMBSTONE_HOLD;
use redplane_protocol::waiting::WAITING_PER_KEY_MAX;
use redplane_protocol::*;

pub(crate) const SCHEMA: Schema = Schema { app: 1, fingerprint: 2, key_len: 2, value_len: 4 };
pub(crate) const LEASE: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(2);
/// A value after which a record is kept for less long.
const LAST_WORD: u32 = u32::MAX;
const IDLE_AFTER_IT: Duration = Duration::from_millis(500);
const KEY: u16 = 9;

pub(crate) fn node(id: u16, shards: u16) -> Node {
    let idle = |_: &u16, value: &u32| if *value == LAST_WORD { IDLE_AFTER_IT } else { IDLE };
    let creator = TypedCreator::new(SCHEMA, idle, |key: &u16, records: &mut Creation<'_, u16, u32>| {
        if *key < 100 {
            records.companion(key + 100, u32::from(*key));
        }
        Ok(u32::from(*key) + 1)
    });
    let lease = Lease::new(LEASE, 10).unwrap();
    Node::new(NodeId(id), Shard { index: 0, count: shards }, lease, vec![Box::new(creator)])
}

fn alone() -> Node {
    let mut node = node(0, 1);
    node.reconfigure(configuration(1, &[0]), Time(0));
    node
}

pub(crate) fn configuration(epoch: u64, members: &[u16]) -> Configuration {
    Configuration { epoch, members: members.iter().copied().map(NodeId).collect(), joining: None }
}

pub(crate) fn address(switch: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, switch as u8), 21072)
}

pub(crate) fn header(switch: u16, kind: Kind) -> Header {
    Header {
        kind,
        create: kind == Kind::Lease,
        reason: None,
        app: SCHEMA.app,
        fingerprint: SCHEMA.fingerprint,
        identity: SwitchIdentity { switch, incarnation: 1 },
        generation: Serial(0),
        sequence: Serial(0),
        ticket: Serial(0),
        sent_at: Ticks(77),
        port: 5,
    }
}

pub(crate) fn bytes(header: Header, key: u16, value: u32) -> Vec<u8> {
    Message { header, key: &key.to_be_bytes(), value: &value.to_be_bytes(), frame: &[1, 2, 3] }.to_vec()
}

fn answers(node: &mut Node) -> Vec<(Header, u32)> {
    std::iter::from_fn(|| node.poll_transmit())
        .map(|transmit| {
            let message = Message::parse(&transmit.bytes, &SCHEMA).unwrap();
            assert_eq!(transmit.to, Destination::Switch(address(message.header.identity.switch)));
            (message.header, u32::decode(message.value))
        })
        .collect()
}

fn ask(node: &mut Node, header: Header, value: u32, now: Time) -> Vec<(Header, u32)> {
    node.handle_request(address(header.identity.switch), &bytes(header, KEY, value), now);
    answers(node)
}

fn kinds(answers: &[(Header, u32)]) -> Vec<Kind> {
    answers.iter().map(|(header, _)| header.kind).collect()
}

fn lease(node: &mut Node, switch: u16, ticket: u32, now: Time) -> Header {
    let answers = ask(node, Header { ticket: Serial(ticket), ..header(switch, Kind::Lease) }, 0, now);
    assert_eq!(kinds(&answers), [Kind::Grant]);
    answers[0].0
}

fn write(grant: Header, sequence: u32) -> Header {
    Header { kind: Kind::Write, generation: grant.generation, sequence: Serial(sequence), ..grant }
}

#[test]
fn a_lease_makes_the_record_only_if_asked_to() {
    let mut node = alone();
    let find = Header { create: false, ..header(1, Kind::Lease) };
    let absent = ask(&mut node, find, 0, Time(0));
    assert_eq!(absent[0].0.reason, Some(NackReason::Absent));
    let grant = lease(&mut node, 1, 4, Time(0));
    assert_eq!((grant.ticket, grant.sent_at, grant.port), (Serial(4), Ticks(77), 5));
    assert_eq!(node.record(1, &KEY.to_be_bytes()).unwrap().value[..], [0, 0, 0, 10]);
    assert_eq!(node.record(1, &(KEY + 100).to_be_bytes()).unwrap().value[..], [0, 0, 0, 9]);
}

#[test]
fn generations_follow_tickets_and_incarnations() {
    let mut node = alone();
    let first = lease(&mut node, 1, 4, Time(0)).generation;
    assert_eq!(lease(&mut node, 1, 4, Time(1)).generation, first, "same slot, same state");
    let second = lease(&mut node, 1, 5, Time(2)).generation;
    assert!(second.is_after(first));
    assert_eq!(lease(&mut node, 1, 4, Time(3)).generation, second, "an overtaken request changes nothing");
    assert_eq!(node.record(1, &KEY.to_be_bytes()).unwrap().ticket, Serial(5));
    let rebooted =
        Header { identity: SwitchIdentity { switch: 1, incarnation: 2 }, ..header(1, Kind::Lease) };
    let recall = ask(&mut node, rebooted, 0, Time(4))[0].0;
    assert_eq!((recall.kind, recall.identity), (Kind::Recall, header(1, Kind::Lease).identity));
    let release = Header { kind: Kind::Release, ..recall };
    let third = ask(&mut node, release, 0, Time(5))[0].0;
    assert_eq!((third.kind, third.identity), (Kind::Grant, rebooted.identity));
    assert!(third.generation.is_after(second));
}

/// Found by the model: the request took the lease over, the present life gave it back as a former life's, and installed
/// its own grant, which was still under way, after another switch had been granted the key.
#[test]
fn a_late_request_of_a_former_life_does_not_take_the_lease() {
    let mut node = alone();
    let present = Header { identity: SwitchIdentity { switch: 1, incarnation: 2 }, ..header(1, Kind::Lease) };
    let grant = ask(&mut node, present, 0, Time(0))[0].0;
    let answers = ask(&mut node, header(1, Kind::Lease), 0, Time(1));
    assert_eq!(kinds(&answers), [Kind::Recall]);
    assert_eq!((answers[0].0.identity, answers[0].0.generation), (present.identity, grant.generation));
    let acks = ask(&mut node, write(grant, 1), 50, Time(2));
    assert_eq!(kinds(&acks), [Kind::Ack], "the present life is still the owner");
}

/// Found by the model: a head that was taken out without hearing of it granted a generation by itself, came back as the
/// last of the chain with that grant, and a later crash made it head again.
#[test]
fn a_node_that_joins_forgets_what_it_did_alone() {
    let mut stale = node(0, 1);
    stale.reconfigure(configuration(1, &[0, 1]), Time(0));
    stale.handle_request(address(1), &bytes(header(1, Kind::Lease), KEY, 0), Time(1));
    assert!(stale.record(1, &KEY.to_be_bytes()).is_some());
    let back = Configuration { joining: Some(NodeId(0)), ..configuration(3, &[1, 0]) };
    stale.reconfigure(back, Time(2));
    assert_eq!(stale.records().count(), 0);
}

#[test]
fn only_the_owner_in_its_generation_writes() {
    let mut node = alone();
    let grant = lease(&mut node, 1, 0, Time(0));
    let ack = ask(&mut node, write(grant, 1), 50, Time(1));
    assert_eq!((ack[0].0.kind, ack[0].0.sequence), (Kind::Ack, Serial(1)));
    let value = |node: &Node| u32::decode(&node.record(1, &KEY.to_be_bytes()).unwrap().value);
    assert_eq!(value(&node), 50);
    for forged in [
        Header { generation: grant.generation.next(), ..write(grant, 2) },
        Header { generation: Serial(0), ..write(grant, 2) },
        Header { identity: SwitchIdentity { switch: 2, incarnation: 1 }, ..write(grant, 2) },
        Header { identity: SwitchIdentity { switch: 1, incarnation: 2 }, ..write(grant, 2) },
    ] {
        let refused = ask(&mut node, forged, 66, Time(2));
        assert_eq!(refused[0].0.reason, Some(NackReason::Stale));
    }
    node.handle_request(address(9), &bytes(write(grant, 2), KEY, 66), Time(2));
    while node.poll_transmit().is_some() {}
    assert_eq!(value(&node), 50, "nor from another address");
    ask(&mut node, write(grant, 3), 53, Time(3));
    let late = ask(&mut node, write(grant, 2), 52, Time(4));
    assert_eq!((late[0].0.sequence, value(&node)), (Serial(3), 53), "a late write is covered by the newer");
}

#[test]
fn a_read_waits_for_its_write() {
    let mut node = alone();
    let grant = lease(&mut node, 1, 0, Time(0));
    let read = |sequence| Header { kind: Kind::Read, ..write(grant, sequence) };
    assert!(ask(&mut node, read(2), 0, Time(1)).is_empty());
    assert!(ask(&mut node, read(3), 0, Time(1)).is_empty());
    assert_eq!(kinds(&ask(&mut node, write(grant, 2), 7, Time(2))), [Kind::Ack, Kind::Ack]);
    assert_eq!(node.statistics().queued, 1);
    node.handle_timeout(Time(1).plus(LEASE));
    assert_eq!(node.statistics().queued, 0);
    assert_eq!(node.statistics().dropped[&StoreDrop::ReadUnanswered], 1);
    ask(&mut node, read(9), 0, Time(3));
    let released = Header { kind: Kind::Release, ..write(grant, 2) };
    assert!(ask(&mut node, released, 0, Time(4)).is_empty());
    let next = ask(&mut node, header(2, Kind::Lease), 0, Time(5));
    assert_eq!(kinds(&next), [Kind::Nack, Kind::Grant], "the old generation's read will never be answered");
}

#[test]
fn a_live_lease_is_recalled_and_waited_for() {
    let mut node = alone();
    let grant = lease(&mut node, 1, 0, Time(0));
    let recall = ask(&mut node, header(2, Kind::Lease), 0, Time(1));
    assert_eq!((kinds(&recall), recall[0].0.identity.switch), (vec![Kind::Recall], 1));
    assert!(ask(&mut node, header(2, Kind::Lease), 0, Time(2)).is_empty(), "recalled already");
    let again = node.poll_timeout().unwrap();
    assert!(again > Time(2) && again < Time(0).plus(LEASE), "in case it is lost");
    node.handle_timeout(again);
    assert_eq!(kinds(&answers(&mut node)), [Kind::Recall]);
    // RELEASE names a write that has not come yet. The write does not extend what was given back.
    let release = Header { kind: Kind::Release, ..write(grant, 1) };
    assert!(ask(&mut node, release, 0, Time(20_000)).is_empty());
    let granted = ask(&mut node, write(grant, 1), 33, Time(30_000));
    assert_eq!(kinds(&granted), [Kind::Ack, Kind::Grant, Kind::Grant]);
    assert_eq!((granted[1].1, granted[1].0.sequence), (33, Serial(1)));
    assert_eq!(granted[1].0.generation, granted[2].0.generation);
}

/// Found by the simulation: a head that was taken out recalled a generation that it had granted by itself. The new head
/// had given the same one to the same switch, with another ticket; the switch, which could not get the old grant any
/// more, gave "it" back, and then installed the new head's.
#[test]
fn a_recall_of_what_only_the_head_knows_does_not_get_out() {
    let mut head = node(0, 1);
    head.reconfigure(configuration(1, &[0, 1]), Time(0));
    for switch in [1, 2] {
        head.handle_request(address(switch), &bytes(header(switch, Kind::Lease), KEY, 0), Time(1));
    }
    assert_eq!(head.statistics().recalls, 1);
    let sent: Vec<_> = std::iter::from_fn(|| head.poll_transmit()).collect();
    assert!(sent.iter().all(|transmit| transmit.to == Destination::Node(NodeId(1))), "{sent:?}");
    // Node 1 of the same configuration lets it out; had it heard that node 0 is out, it would not.
    let kinds_from = |epoch, members: &[u16]| {
        let mut tail = node(1, 1);
        tail.reconfigure(configuration(epoch, members), Time(0));
        sent.iter().for_each(|transmit| tail.handle_chain(NodeId(0), &transmit.bytes, Time(2)));
        kinds(&answers(&mut tail))
    };
    assert_eq!(kinds_from(1, &[0, 1]), [Kind::Grant, Kind::Recall]);
    assert_eq!(kinds_from(2, &[1]), []);
}

#[test]
fn a_dead_owner_is_waited_for_no_longer_than_its_lease() {
    let mut node = alone();
    let grant = lease(&mut node, 1, 0, Time(0));
    let renew = Header { kind: Kind::Renew, ..write(grant, 0) };
    assert_eq!(kinds(&ask(&mut node, renew, 0, Time(50_000))), [Kind::Ack]);
    ask(&mut node, header(2, Kind::Lease), 0, Time(60_000));
    node.handle_timeout(Time(149_999));
    assert!(answers(&mut node).iter().all(|(header, _)| header.kind == Kind::Recall));
    node.handle_timeout(Time(150_000));
    assert_eq!(kinds(&answers(&mut node)), [Kind::Grant]);
    assert_eq!(ask(&mut node, renew, 0, Time(150_001))[0].0.reason, Some(NackReason::Stale));
}

#[test]
fn queues_are_bounded_and_forget_former_lives() {
    let mut node = alone();
    lease(&mut node, 1, 0, Time(0));
    for _ in 0..WAITING_PER_KEY_MAX {
        ask(&mut node, header(2, Kind::Lease), 0, Time(1));
    }
    let busy = ask(&mut node, header(3, Kind::Lease), 0, Time(2));
    assert_eq!(busy[0].0.reason, Some(NackReason::Busy));
    assert_eq!(node.statistics().queued, WAITING_PER_KEY_MAX);
    node.handle_timeout(Time(0).plus(LEASE));
    assert_eq!(
        answers(&mut node).iter().filter(|(header, _)| header.kind == Kind::Grant).count(),
        WAITING_PER_KEY_MAX
    );
    ask(&mut node, header(1, Kind::Lease), 0, Time(100_001));
    let reborn = Header { identity: SwitchIdentity { switch: 1, incarnation: 9 }, ..header(1, Kind::Lease) };
    ask(&mut node, reborn, 0, Time(100_002));
    assert_eq!(node.statistics().queued, 1);
}

#[test]
fn a_deleted_record_leaves_a_later_generation() {
    let mut node = alone();
    let grant = lease(&mut node, 1, 0, Time(0));
    node.handle_timeout(Time(0).plus(IDLE));
    let statistics = node.statistics();
    assert_eq!((statistics.records, statistics.tombstones, statistics.deleted), (0, 2, 2));
    assert_eq!(ask(&mut node, write(grant, 1), 1, Time(3_000_000))[0].0.reason, Some(NackReason::Stale));
    let again = lease(&mut node, 1, 0, Time(3_000_001));
    assert!(again.generation.is_after(grant.generation.next()));
    node.handle_timeout(Time(10_000_000));
    node.handle_timeout(Time(10_000_000).plus(TOMBSTONE_HOLD));
    assert_eq!(node.statistics().tombstones, 0);
    assert!(
        lease(&mut node, 1, 0, Time(80_000_000)).generation.is_after(again.generation),
        "even if forgotten"
    );
}

#[test]
fn a_value_says_for_how_long_its_record_is_kept() {
    let mut node = alone();
    const ALONE: u16 = 200; // A key without a companion.
    let ask = |node: &mut Node, header, value, now| {
        node.handle_request(address(1), &bytes(header, ALONE, value), now);
        answers(node)[0].0
    };
    let grant = ask(&mut node, header(1, Kind::Lease), 0, Time(0));
    let last_word = write(grant, 1);
    ask(&mut node, last_word, LAST_WORD, Time(1_000));
    node.handle_timeout(Time(1_000).plus(IDLE_AFTER_IT / 2));
    assert_eq!(node.statistics().records, 1);
    node.handle_timeout(Time(1_000).plus(IDLE_AFTER_IT));
    assert_eq!((node.statistics().records, node.statistics().deleted), (0, 1));
    let grant = ask(&mut node, header(1, Kind::Lease), 0, Time(2_000_000));
    ask(&mut node, write(grant, 1), LAST_WORD, Time(2_000_000));
    ask(&mut node, write(grant, 2), 1, Time(2_000_001));
    node.handle_timeout(Time(2_000_000).plus(IDLE_AFTER_IT * 2));
    assert_eq!(node.statistics().records, 1, "and may take it back");
}

#[test]
fn companions_are_idle_together_or_not_at_all() {
    let mut node = alone();
    lease(&mut node, 1, 0, Time(0));
    let late = Time(0).plus(IDLE * 3 / 4);
    node.handle_request(address(2), &bytes(header(2, Kind::Lease), KEY + 100, 0), late);
    node.handle_timeout(Time(0).plus(IDLE));
    assert_eq!(node.statistics().records, 2, "traffic of one keeps both");
    node.handle_timeout(late.plus(IDLE));
    assert_eq!((node.statistics().records, node.statistics().tombstones), (0, 2));
}

#[test]
fn strangers_are_dropped_with_a_reason() {
    let mut other_shard = node(0, 2);
    other_shard.reconfigure(configuration(1, &[0]), Time(0));
    let foreign = (0..).find(|key: &u16| fixed::shard_of(fixed::key_hash(key), 2) == 1).unwrap();
    other_shard.handle_request(address(1), &bytes(header(1, Kind::Lease), foreign, 0), Time(0));
    assert_eq!(other_shard.statistics().dropped[&StoreDrop::WrongShard], 1);
    let mut node = alone();
    let lease = header(1, Kind::Lease);
    let cut = bytes(lease, KEY, 0)[..33].to_vec();
    for (message, reason) in [
        (bytes(Header { app: 8, ..lease }, KEY, 0), StoreDrop::UnknownApp),
        (bytes(Header { fingerprint: 8, ..lease }, KEY, 0), StoreDrop::UnknownSchema),
        (bytes(Header { kind: Kind::Grant, create: false, ..lease }, KEY, 0), StoreDrop::Malformed),
        (cut, StoreDrop::Malformed),
        (vec![1; wire::DATAGRAM_LEN_MAX + 1], StoreDrop::TooLong),
        (bytes(header(1, Kind::Snapshot), KEY, 0), StoreDrop::Unsupported),
        (bytes(header(1, Kind::Release), KEY, 0), StoreDrop::StaleRelease),
    ] {
        let before = node.statistics().dropped.get(&reason).copied().unwrap_or(0);
        node.handle_request(address(1), &message, Time(0));
        assert_eq!(node.statistics().dropped[&reason], before + 1, "{reason:?}");
        assert!(node.poll_transmit().is_none());
    }
    assert_eq!(node.records().count(), 0);
}

#[test]
fn a_replica_listens_only_to_its_predecessor_in_its_epoch() {
    let mut middle = node(1, 1);
    middle.reconfigure(configuration(4, &[0, 1, 2]), Time(0));
    let record = Record {
        version: Version { generation: Serial(3), sequence: Serial(1) },
        owner: None,
        ticket: Serial(0),
        value: [0, 0, 0, 9][..].into(),
        deleted: false,
        idle: IDLE,
        companions: Vec::new(),
    };
    let message = |epoch, record: &Record| ChainMessage {
        shard: 0,
        epoch,
        generation: Serial(3),
        content: Content::Update {
            confirm: 0,
            records: vec![(RecordKey::new(1, &KEY.to_be_bytes()).unwrap(), record.clone())],
            reply: None,
        },
    };
    let long = Record { value: [1; 5][..].into(), ..record.clone() };
    for (from, bytes, reason) in [
        (0, message(3, &record).to_vec(), StoreDrop::ChainEpoch),
        (0, message(5, &record).to_vec(), StoreDrop::ChainEpoch),
        (2, message(4, &record).to_vec(), StoreDrop::ChainStranger),
        (0, message(4, &long).to_vec(), StoreDrop::ChainMalformed),
        (0, vec![0; 9], StoreDrop::ChainMalformed),
    ] {
        middle.handle_chain(NodeId(from), &bytes, Time(0));
        assert_eq!(middle.records().count(), 0);
        assert!(middle.statistics().dropped[&reason] > 0, "{reason:?}");
    }
    middle.handle_chain(NodeId(0), &message(4, &record).to_vec(), Time(0));
    assert_eq!(middle.records().count(), 1);
    let older = Record { version: Version::default(), value: [0; 4][..].into(), ..record.clone() };
    middle.handle_chain(NodeId(0), &message(4, &older).to_vec(), Time(0));
    assert_eq!(middle.record(1, &KEY.to_be_bytes()), Some(&record), "an overtaken update");
    middle.reconfigure(configuration(4, &[1]), Time(0));
    assert!(!middle.is_head(), "the same epoch again");
    middle.reconfigure(configuration(5, &[2, 3]), Time(0));
    assert_eq!(middle.records().count(), 0, "who is out of the chain forgets");
    middle.handle_request(address(1), &bytes(header(1, Kind::Lease), KEY, 0), Time(0));
    assert_eq!(middle.statistics().dropped[&StoreDrop::NotHead], 1, "and can tell nobody");
}

#[test]
fn a_request_that_comes_to_the_wrong_node_goes_to_the_head_once() {
    let (mut head, mut tail) = (node(0, 1), node(1, 1));
    head.reconfigure(configuration(1, &[0, 1]), Time(0));
    tail.reconfigure(configuration(1, &[0, 1]), Time(0));
    let request = bytes(header(1, Kind::Lease), KEY, 0);
    tail.handle_request(address(1), &request, Time(0));
    let forwarded = tail.poll_transmit().unwrap();
    assert_eq!((forwarded.to, tail.statistics().forwarded), (Destination::Node(NodeId(0)), 1));
    head.handle_chain(NodeId(7), &forwarded.bytes, Time(0));
    assert_eq!(head.statistics().dropped[&StoreDrop::ChainStranger], 1, "only a member may pass on");
    head.handle_chain(NodeId(1), &forwarded.bytes, Time(0));
    let update = head.poll_transmit().unwrap();
    tail.handle_chain(NodeId(0), &update.bytes, Time(0));
    let answer = tail.poll_transmit().unwrap();
    assert_eq!(answer.to, Destination::Switch(address(1)), "to the switch, not to who passed it on");
    // Both take the other for the head: it goes no further than that.
    head.reconfigure(configuration(2, &[1, 0]), Time(0));
    tail.reconfigure(configuration(2, &[0, 1]), Time(0));
    tail.handle_request(address(1), &request, Time(0));
    head.handle_chain(NodeId(1), &tail.poll_transmit().unwrap().bytes, Time(0));
    assert!(head.poll_transmit().is_none());
}

/// Old and new switches share a record while a network is being upgraded.
#[test]
fn an_added_field_is_left_alone_by_who_does_not_know_it() {
    struct Grown;
    impl Creator for Grown {
        fn create(&mut self, _: &[u8], _: &dyn Records) -> Result<Created, Refusal> {
            Ok(Created { value: vec![1, 2, 3, 4, 5, 6], companions: Vec::new() })
        }
        fn schema(&self) -> Schema {
            Schema { fingerprint: 99, value_len: 6, ..SCHEMA }
        }
        fn accepted(&self) -> Vec<Schema> {
            vec![SCHEMA, self.schema()]
        }
        fn idle(&self, _: &[u8], _: &[u8]) -> Duration {
            IDLE
        }
    }
    let lease = Lease::new(LEASE, 10).unwrap();
    let mut node = Node::new(NodeId(0), Shard { index: 0, count: 1 }, lease, vec![Box::new(Grown)]);
    node.reconfigure(configuration(1, &[0]), Time(0));
    let mut ask = |schema: Schema, header: Header, value: &[u8]| {
        let header = Header { fingerprint: schema.fingerprint, ..header };
        let request = Message { header, key: &KEY.to_be_bytes(), value, frame: b"frame" }.to_vec();
        node.handle_request(address(1), &request, Time(0));
        let bytes = node.poll_transmit().unwrap().bytes;
        let answer = Message::parse(&bytes, &schema).unwrap();
        assert_eq!(answer.frame, b"frame");
        (answer.header, answer.value.to_vec())
    };
    let new = Schema { fingerprint: 99, value_len: 6, ..SCHEMA };
    let (old_grant, value) = ask(SCHEMA, header(1, Kind::Lease), &[0; 4]);
    assert_eq!(value, [1, 2, 3, 4]);
    let (new_grant, value) = ask(new, header(1, Kind::Lease), &[0; 6]);
    assert_eq!(value, [1, 2, 3, 4, 0, 0], "what nobody wrote reads as zero");
    let (ack, _) = ask(new, Header { kind: Kind::Write, sequence: Serial(1), ..new_grant }, &[7; 6]);
    assert_eq!((ack.kind, ack.sequence), (Kind::Ack, Serial(1)));
    ask(SCHEMA, Header { kind: Kind::Write, sequence: Serial(2), ..old_grant }, &[8; 4]);
    let (_, value) = ask(new, header(1, Kind::Lease), &[0; 6]);
    assert_eq!(value, [8, 8, 8, 8, 7, 7]);

    // Who knows only the new schema still takes over records of the old one.
    struct Newest(Grown);
    impl Creator for Newest {
        fn create(&mut self, key: &[u8], records: &dyn Records) -> Result<Created, Refusal> {
            self.0.create(key, records)
        }
        fn schema(&self) -> Schema {
            self.0.schema()
        }
        fn idle(&self, _: &[u8], _: &[u8]) -> Duration {
            IDLE
        }
    }
    let mut node = Node::new(NodeId(0), Shard { index: 0, count: 1 }, lease, vec![Box::new(Newest(Grown))]);
    let old = Record { value: [5; 4][..].into(), deleted: false, idle: IDLE, ..Record::tombstone(Serial(1)) };
    let old = (RecordKey::new(SCHEMA.app, &KEY.to_be_bytes()).unwrap(), old);
    assert_eq!(node.restore(Serial(1), [old], Time(0)), 0);
    node.reconfigure(configuration(1, &[0]), Time(0));
    let request = Header { fingerprint: 99, ..header(1, Kind::Lease) };
    let request = Message { header: request, key: &KEY.to_be_bytes(), value: &[0; 6], frame: &[] }.to_vec();
    node.handle_request(address(1), &request, Time(200_000));
    let granted = node.poll_transmit().unwrap().bytes;
    assert_eq!(Message::parse(&granted, &new).unwrap().value, [5, 5, 5, 5, 0, 0]);
}

#[test]
fn creations_are_metered_and_what_exists_is_not() {
    let rates = AdmissionRates { per_switch: 5, per_prefix: None };
    let limits = NodeLimits { admission: [(1, rates)].into(), records_max: 17, ..NodeLimits::default() };
    let mut node = node(0, 1).with_limits(limits);
    node.reconfigure(configuration(1, &[0]), Time(0));
    let lease = |node: &mut Node, key: u16, now: u64| {
        node.handle_request(address(1), &bytes(header(1, Kind::Lease), key, 0), Time(now));
        let bytes = node.poll_transmit().unwrap().bytes;
        let header = Header::parse(&bytes).unwrap();
        (header.kind, header.reason)
    };
    let busy = (Kind::Nack, Some(NackReason::Busy));
    let granted: Vec<_> = (0..10).filter(|key| lease(&mut node, *key, 0) != busy).collect();
    assert_eq!((granted, node.statistics().creations_metered), (vec![0, 1, 2, 3, 4], 5));
    assert_eq!(lease(&mut node, 0, 0), (Kind::Grant, None), "what exists is not metered");
    assert_eq!(lease(&mut node, 7, 1_500_000), (Kind::Grant, None), "later there is room");
    // Each key comes with a companion: fourteen records are there, seventeen at most, and one creation makes five at most.
    assert_eq!(lease(&mut node, 8, 1_500_000), (Kind::Grant, None));
    assert_eq!(lease(&mut node, 6, 1_500_000), busy);
    assert_eq!(node.statistics().creations_full, 1);
    assert_eq!(lease(&mut node, 3, 1_500_000), (Kind::Grant, None));
}

/// What a journal was told, and nothing else, is what a node goes on from.
#[test]
fn a_node_goes_on_from_what_it_told_its_journal() {
    let mut kept: BTreeMap<RecordKey, Record> = BTreeMap::new();
    let mut note = |node: &mut Node| {
        node.take_changes(|change| match change {
            RecordChange::Cleared => kept.clear(),
            RecordChange::Removed(key) => drop(kept.remove(key)),
            RecordChange::Present(key, record) => drop(kept.insert(*key, record.clone())),
        });
    };
    let mut node = alone();
    node.want_changes();
    let grant = lease(&mut node, 1, 0, Time(0));
    note(&mut node);
    assert!(!node.has_changes());
    ask(&mut node, write(grant, 1), 77, Time(1));
    assert!(node.has_changes());
    note(&mut node);
    let generation = node.generation();

    let mut again = self::node(0, 1);
    assert_eq!(again.restore(generation, kept.clone(), Time(0)), 0);
    again.reconfigure(configuration(9, &[0]), Time(0));
    assert_eq!(u32::decode(&again.record(1, &KEY.to_be_bytes()).unwrap().value), 77);
    assert_eq!(again.statistics().records, node.statistics().records);
    let answers = ask(&mut again, write(grant, 2), 78, Time(1));
    assert_eq!(kinds(&answers), [Kind::Ack], "the owner goes on");
    let mut stranger = kept.clone();
    stranger.insert(RecordKey::new(9, &[1, 2]).unwrap(), Record::tombstone(Serial(1)));
    assert_eq!(self::node(0, 1).restore(generation, stranger, Time(0)), 1, "of no app that is served");
}

#[test]
fn sequences_wrap_at_the_store() {
    let mut node = alone();
    let grant = lease(&mut node, 1, 0, Time(0));
    for (sequence, value) in [(1 << 30, 1), (1 << 31, 2), (3 << 30, 3), (u32::MAX, 4), (0, 5), (1, 6)] {
        ask(&mut node, write(grant, sequence), value, Time(1));
        assert_eq!(u32::decode(&node.record(1, &KEY.to_be_bytes()).unwrap().value), value);
    }
}

/// A companion that is made behind the copy's back is copied with its maker, for a node must not have half of a group.
#[test]
fn a_joining_node_gets_whole_groups() {
    let lease = |node: &mut Node, key: u16| {
        node.handle_request(address(1), &bytes(header(1, Kind::Lease), key, 0), Time(0));
    };
    let mut head = alone();
    (50..60).for_each(|key| lease(&mut head, key));
    while head.poll_transmit().is_some() {}

    let mut joiner = node(1, 1);
    let joining = Configuration { joining: Some(NodeId(1)), ..configuration(2, &[0, 1]) };
    joiner.reconfigure(joining.clone(), Time(0));
    head.reconfigure(joining, Time(0));
    let mut made = false;
    while let Some(Transmit { bytes, .. }) = head.poll_transmit() {
        if !matches!(ChainMessage::parse(&bytes).unwrap().content, Content::Copy { .. }) {
            continue; // The live update is lost.
        }
        joiner.handle_chain(NodeId(0), &bytes, Time(0));
        if !std::mem::replace(&mut made, true) {
            lease(&mut head, 1); // It stands before the copy's place, its companion after it.
        }
        while let Some(Transmit { bytes, .. }) = joiner.poll_transmit() {
            head.handle_chain(NodeId(1), &bytes, Time(0));
        }
    }
    assert!(!head.is_copying(), "the copy is complete");
    let has = |key: u16| joiner.record(SCHEMA.app, &key.to_be_bytes()).is_some();
    assert!(has(50) && has(159), "what was there before");
    assert_eq!((has(1), has(101)), (true, true));
}

/// Once a node was as busy as it gets, requests for what exists allocate nothing: neither at the head nor down the chain.
#[test]
fn a_request_for_what_exists_allocates_nothing() {
    let (mut head, mut tail) = (node(0, 1), node(1, 1));
    head.reconfigure(configuration(1, &[0, 1]), Time(0));
    tail.reconfigure(configuration(1, &[0, 1]), Time(0));
    let mut datagram = Vec::with_capacity(2048);
    let mut ask = |request: &[u8], now: Time| {
        head.anticipate_requests([request].into_iter());
        head.handle_request(address(1), request, now);
        let mut answers = 0;
        while let Some((to, bytes)) = head.next_transmit() {
            assert_eq!(to, Destination::Node(NodeId(1)));
            datagram.clear();
            datagram.extend_from_slice(bytes);
        }
        tail.anticipate_chain([&datagram[..]].into_iter());
        tail.handle_chain(NodeId(0), &datagram, now);
        while let Some((_, bytes)) = tail.next_transmit() {
            answers += usize::from(Header::parse(bytes).is_ok());
        }
        answers
    };
    let granted: Vec<Header> = (0..100)
        .map(|key| {
            assert_eq!(ask(&bytes(header(1, Kind::Lease), key, 0), Time(0)), 1);
            Header { generation: Serial(u32::from(key) * 2 + 2), ..header(1, Kind::Lease) }
        })
        .collect();
    let requests: Vec<Vec<u8>> = (1..=20)
        .flat_map(|sequence| (0..100).map(move |key| (sequence, key)))
        .map(|(sequence, key)| bytes(write(granted[usize::from(key)], sequence), key, sequence))
        .collect();
    let (first, rest) = requests.split_at(100);
    assert_eq!(first.iter().map(|request| ask(request, Time(1))).sum::<usize>(), 100);
    let mut answers = 0;
    let measured = allocation_counter::measure(|| {
        answers = rest.iter().map(|request| ask(request, Time(2))).sum();
    });
    assert_eq!((answers, measured.count_total), (1900, 0));
    assert_eq!(tail.statistics().records, 200);
    let applied = tail.record(1, &7_u16.to_be_bytes()).unwrap();
    assert_eq!((u32::decode(&applied.value), applied.version.sequence), (20, Serial(20)), "they were writes");
}
