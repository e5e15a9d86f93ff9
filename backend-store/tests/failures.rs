//! Kill the head, the middle, the tail; let nodes join; nothing acknowledged is lost.

use std::time::Duration;

use backend_store::{Delivery, EmbeddedStore, JoinError, NodeClock, Role, SettingsError, StoreSettings};
use redplane_protocol::*;

use crate::switch::{LEASE, SCHEMA, World, settings};

const KEY: u16 = 7;
const SETTLE: Duration = Duration::from_millis(200);

/// A lease by switch 1, and `writes` acknowledged writes under it.
fn write_some(world: &mut World, key: u16, writes: u32) -> Version {
    let grant = world.lease(1, key, 0).expect("a grant");
    assert_eq!(grant.header.kind, Kind::Grant);
    assert_eq!(grant.frame, [1, 2]);
    let generation = grant.header.generation;
    let mut sequence = grant.header.sequence;
    for value in 1..=writes {
        sequence = sequence.next();
        let ack = world.write(1, key, Version { generation, sequence }, value).expect("an ack");
        assert_eq!((ack.header.kind, ack.header.sequence), (Kind::Ack, sequence));
    }
    Version { generation, sequence }
}

fn value_at(world: &World, node: NodeId, key: u16) -> Option<u32> {
    let record = world.store.record(node, SCHEMA.app, &key.to_be_bytes())?;
    Some(u32::decode(&record.value))
}

fn assert_everywhere(world: &World, key: u16, value: u32) {
    for node in world.store.members(0) {
        assert_eq!(value_at(world, *node, key), Some(value), "{node}");
    }
}

fn survives_death_of(at: usize) {
    let mut world = World::new(settings(3, 1));
    let version = write_some(&mut world, KEY, 5);
    assert_everywhere(&world, KEY, 5);
    let victim = world.store.members(0)[at];
    assert!(world.store.kill(victim, world.now));
    assert!(!world.store.kill(victim, world.now), "dead already");
    let next = Version { sequence: version.sequence.next(), ..version };
    assert!(world.write(1, KEY, next, 6).is_none(), "nobody answers before the death is noticed");
    world.advance(Duration::from_millis(40));
    assert_eq!(world.store.members(0).len(), 2);
    let ack = world.write(1, KEY, next, 6).expect("the switch sends it again");
    assert_eq!((ack.header.kind, ack.header.sequence), (Kind::Ack, next.sequence));
    assert_everywhere(&world, KEY, 6);
    let statistics = world.store.statistics();
    assert_eq!(statistics.promotions, u64::from(at == 0));
    assert_eq!((statistics.nodes_alive, statistics.protocol.records), (2, 2));
}

#[test]
fn survives_the_death_of_the_head() {
    survives_death_of(0);
}

#[test]
fn survives_the_death_of_the_middle() {
    survives_death_of(1);
}

#[test]
fn survives_the_death_of_the_tail() {
    survives_death_of(2);
}

#[test]
fn a_new_head_honours_the_old_leases() {
    let mut world = World::new(settings(3, 1));
    let version = write_some(&mut world, KEY, 1);
    let head = world.store.head(0).unwrap();
    world.store.kill(head, world.now);
    world.advance(Duration::from_millis(31));
    assert!(world.lease(2, KEY, 0).is_none_or(|answer| answer.header.kind == Kind::Recall));
    world.advance(LEASE - Duration::from_millis(10));
    assert!(world.answers.iter().all(|answer| answer.header.kind == Kind::Recall), "{:?}", world.answers);
    world.advance(Duration::from_millis(10));
    let grant = world.answers.pop().unwrap();
    assert_eq!((grant.header.kind, grant.value), (Kind::Grant, 1));
    assert!(grant.header.generation.is_after(version.generation));
    assert_eq!(grant.header.identity.switch, 2);
    world.answers.clear();
    let stale = world.write(1, KEY, version, 9).unwrap();
    assert_eq!(stale.header.reason, Some(NackReason::Stale));
    assert_everywhere(&world, KEY, 1);
}

#[test]
fn a_lease_given_back_is_granted_at_once() {
    let mut world = World::new(settings(3, 1));
    let version = write_some(&mut world, KEY, 1);
    let recall = world.lease(2, KEY, 0).unwrap();
    assert_eq!((recall.header.kind, recall.header.identity.switch), (Kind::Recall, 1));
    let release = |header: &mut Header| {
        header.generation = version.generation;
        header.sequence = version.sequence.next();
    };
    world.request(1, Kind::Release, KEY, release, 0);
    assert!(world.answer().is_none(), "a write before the RELEASE is still under way");
    let last = Version { sequence: version.sequence.next(), ..version };
    world.write_without_check(1, KEY, last, 2);
    let kinds: Vec<_> = world.answers.iter().map(|answer| (answer.header.kind, answer.value)).collect();
    assert_eq!(kinds, [(Kind::Ack, 0), (Kind::Grant, 2)]);
}

#[test]
fn a_node_that_joins_gets_everything_and_then_counts() {
    let mut world = World::new(settings(3, 1));
    for key in 0..100 {
        write_some(&mut world, key, 1);
    }
    world.store.kill(NodeId(1), world.now);
    assert_eq!(world.store.join(NodeId(0), world.now), Err(JoinError::Alive { node: NodeId(0) }));
    world.advance(SETTLE);
    world.store.join(NodeId(1), world.now).unwrap();
    assert_eq!(world.store.role(0, NodeId(1)), Some(Role::Joining));
    write_some(&mut world, 1000, 2);
    world.advance(SETTLE);
    assert!(world.store.is_settled());
    assert_eq!(world.store.role(0, NodeId(1)), Some(Role::Tail));
    world.store.kill(NodeId(0), world.now);
    world.store.kill(NodeId(2), world.now);
    world.advance(SETTLE);
    assert_eq!(world.store.role(0, NodeId(1)), Some(Role::Alone));
    for key in 0..100 {
        let companion = world.lease(1, key, 1).map(|grant| grant.value);
        assert_eq!(companion, Some(1), "key {key}");
    }
    assert_everywhere(&world, 1000, 2);
    assert_eq!(world.store.statistics().protocol.records, 202);
}

#[test]
fn a_node_may_be_back_before_its_death_was_noticed() {
    let mut world = World::new(settings(3, 4));
    for key in 0..20 {
        world.lease(1, key, 0).unwrap();
    }
    world.store.kill(NodeId(0), world.now);
    world.advance(Duration::from_millis(5));
    world.store.join(NodeId(0), world.now).unwrap();
    world.advance(SETTLE);
    assert!(world.store.is_settled());
    for shard in 0..4 {
        assert_eq!(world.store.members(shard).len(), 3);
        assert_eq!(world.store.role(shard, NodeId(0)), Some(Role::Tail));
    }
    let statistics = world.store.statistics();
    assert_eq!((statistics.copies_completed, statistics.shards_lost), (4, 0));
}

#[test]
fn lost_chain_messages_are_made_good() {
    let caller = StoreSettings { delivery: Delivery::Caller, ..settings(3, 1) };
    let mut world = World::new(caller);
    world.lose = |number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 3 == 0; // A quarter, without a pattern.
    let mut grant = None;
    for _ in 0..10 {
        grant = grant.or_else(|| world.lease(1, KEY, 0));
    }
    let generation = grant.expect("one of ten requests goes through").header.generation;
    let version = Version { generation, sequence: Serial(1) };
    let acks = (0..10).filter_map(|_| world.write(1, KEY, version, 42)).count();
    assert!(acks > 0);
    assert_everywhere(&world, KEY, 42);
    // The copy for a joining node and deletions are repeated until they arrive.
    world.store.kill(NodeId(2), world.now);
    world.advance(SETTLE);
    world.store.join(NodeId(3), world.now).unwrap();
    world.advance(SETTLE * 5);
    assert!(world.store.is_settled());
    assert_everywhere(&world, KEY, 42);
    world.advance(Duration::from_secs(10));
    for node in world.store.members(0) {
        assert_eq!(value_at(&world, *node, KEY), None, "{node} has heard of the deletion");
    }
    assert_eq!(world.store.statistics().protocol.tombstones, 2);
    world.advance(Duration::from_secs(130));
    assert_eq!(world.store.statistics().protocol.tombstones, 0, "forgotten in the end");
}

#[test]
fn companions_live_and_die_together() {
    let mut world = World::new(settings(3, 1));
    let companion = world.lease(1, KEY, 0).unwrap().value as u16;
    for _ in 0..4 {
        // Only the way back is used: it keeps the way out alive.
        world.advance(Duration::from_secs(3));
        world.lease(2, companion, 0).unwrap();
        assert_eq!(world.store.statistics().protocol.records, 2);
    }
    let generation = world.lease(2, companion, 0).unwrap().header.generation;
    world.advance(Duration::from_secs(6));
    assert_eq!(world.store.statistics().protocol.records, 0);
    let absent = |header: &mut Header| header.create = false;
    world.request(2, Kind::Lease, companion, absent, 0);
    assert_eq!(world.answer().unwrap().header.reason, Some(NackReason::Absent));
    let again = world.lease(2, KEY, 0).unwrap();
    assert!(again.header.generation.is_after(generation), "generations go on after a deletion");
    let late = Version { generation, sequence: Serial(9) };
    assert_eq!(world.write(2, companion, late, 1).unwrap().header.reason, Some(NackReason::Stale));
}

#[test]
fn too_many_failures_are_said_and_not_hidden() {
    let mut world = World::new(settings(2, 1));
    write_some(&mut world, KEY, 1);
    world.store.kill(NodeId(0), world.now);
    world.store.kill(NodeId(1), world.now);
    world.advance(SETTLE);
    world.store.join(NodeId(5), world.now).unwrap();
    world.advance(SETTLE);
    assert_eq!((world.store.head(0), world.store.statistics().shards_lost), (None, 1));
    assert!(world.lease(1, KEY, 0).is_none());
}

#[test]
fn refusals_and_garbage_are_counted() {
    let mut world = World::new(settings(3, 2));
    assert_eq!(world.lease(1, 666, 0).unwrap().header.reason, Some(NackReason::Refused));
    let from = "10.0.0.9:1".parse().unwrap();
    world.store.handle_request(from, &[], world.now);
    world.store.handle_request(from, &[1; 200], world.now);
    world.store.handle_chain(NodeId(1), NodeId(2), &[0xff; 50], world.now);
    world.store.handle_chain(NodeId(9), NodeId(2), &[], world.now);
    let statistics = world.store.statistics();
    assert_eq!(statistics.protocol.refusals[&"unlucky"], 1);
    assert_eq!(statistics.protocol.dropped[&StoreDrop::Malformed], 1);
    assert_eq!(statistics.protocol.dropped[&StoreDrop::UnknownApp], 1);
    assert_eq!(statistics.protocol.dropped[&StoreDrop::ChainMalformed], 1);
    assert_eq!((statistics.undeliverable, statistics.protocol.records), (1, 0));
}

#[test]
fn settings_are_checked() {
    let refused = |settings| EmbeddedStore::new(settings, Vec::new(), Time::ZERO).err();
    assert_eq!(refused(settings(0, 1)), Some(SettingsError::Nodes { nodes: 0 }));
    assert_eq!(refused(settings(1, 0)), Some(SettingsError::Shards { shards: 0 }));
}

#[test]
fn a_node_that_is_back_before_its_death_was_noticed_does_not_serve_from_nothing() {
    let mut world = World::new(settings(3, 1));
    write_some(&mut world, KEY, 5);
    world.store.kill(NodeId(2), world.now);
    world.advance(Duration::from_millis(10));
    world.store.kill(NodeId(0), world.now);
    world.store.join(NodeId(0), world.now).expect("it was dead");
    world.advance(Duration::from_millis(25));
    assert_eq!(world.store.head(0), Some(NodeId(0)), "only the death of node 2 was noticed");
    assert!(world.lease(2, KEY, 0).is_none(), "node 0 has nothing, and knows nothing of a configuration");
    world.advance(SETTLE);
    assert!(world.store.is_settled());
    assert_eq!(world.store.members(0), [NodeId(1), NodeId(0)]);
    assert_everywhere(&world, KEY, 5);
}

#[test]
fn a_copy_is_not_complete_because_its_sender_has_nothing() {
    let mut world = World::new(settings(3, 1));
    let version = write_some(&mut world, KEY, 5);
    world.store.kill(NodeId(2), world.now);
    world.advance(Duration::from_millis(20));
    world.store.kill(NodeId(1), world.now);
    world.store.join(NodeId(1), world.now).expect("it was dead");
    world.advance(Duration::from_millis(15));
    world.store.join(NodeId(2), world.now).expect("it was dead");
    assert_eq!(world.store.members(0), [NodeId(0), NodeId(1), NodeId(2)]);
    let next = Version { sequence: version.sequence.next(), ..version };
    assert!(world.write(1, KEY, next, 6).is_none(), "node 1 is in the chain's way");
    assert_eq!(world.store.role(0, NodeId(2)), Some(Role::Joining));
    world.advance(SETTLE);
    assert!(world.store.is_settled());
    assert_everywhere(&world, KEY, 6);
}

#[test]
fn a_node_that_is_taken_for_dead_changes_nothing_and_comes_back_empty() {
    for suspect in [0, 1, 2].map(NodeId) {
        let mut world = World::new(settings(3, 1));
        let version = write_some(&mut world, KEY, 2);
        assert!(world.store.suspect(suspect, world.now));
        assert!(!world.store.suspect(suspect, world.now), "suspected already");
        assert!(!world.store.members(0).contains(&suspect) && world.store.is_alive(suspect));
        let next = Version { sequence: version.sequence.next(), ..version };
        assert!(world.write(1, KEY, next, 3).is_some(), "the others go on at once");
        assert_eq!(value_at(&world, suspect, KEY), Some(2), "it has not heard of it");
        world.store.reinstate(suspect, world.now);
        world.advance(SETTLE);
        assert!(world.store.is_settled());
        assert_eq!(world.store.members(0).last(), Some(&suspect));
        assert_everywhere(&world, KEY, 3);
    }
}

/// The head's own clock ends a lease, whatever the caller's or another node's clock shows.
#[test]
fn a_lease_ends_by_the_clock_of_the_head() {
    let ends_after = |drift_per_mille: [i16; 2], step: u64| {
        let mut world = World::new(settings(2, 1));
        for (node, drift_per_mille) in drift_per_mille.into_iter().enumerate() {
            let clock = NodeClock { offset: 7_000_000 * (1 + node as u64), drift_per_mille };
            world.store.set_clock(NodeId(node as u16), clock, world.now);
        }
        write_some(&mut world, KEY, 0);
        let begin = world.now;
        world.lease(2, KEY, 0);
        let clock = world.store.clock(NodeId(0));
        let stepped = NodeClock { offset: clock.offset + step, ..clock };
        world.store.set_clock(NodeId(0), stepped, world.now);
        while world.answers.iter().all(|answer| answer.header.kind != Kind::Grant) {
            world.advance(Duration::from_millis(1));
        }
        world.now.since(begin).as_millis()
    };
    assert!((98..=101).contains(&ends_after([0, 0], 0)));
    assert!((98..=101).contains(&ends_after([0, 500], 0)), "the tail's clock does not matter");
    assert!((78..=82).contains(&ends_after([250, 0], 0)), "a fast one ends it early");
    assert!((123..=127).contains(&ends_after([-200, 0], 0)));
    assert!((48..=52).contains(&ends_after([0, 0], 50_000)), "and so does a step forward");
}
