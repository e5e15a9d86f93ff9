//! What an automaton explains must be what the slow search explains.

use std::collections::BTreeSet;

use redplane_sdk::net::Random;
use redplane_simulation::automaton::{Automaton, Passages};
use redplane_simulation::frame::PacketId;
use redplane_simulation::search::{Operation, is_linearizable};

/// A door: who has the key locks and unlocks it, and anybody passes it while it is not locked.
mod door {
    pub(super) const OPEN: u8 = 0;
    pub(super) const LOCKED: u8 = 1;
    pub(super) const PASS: u8 = 0;
    pub(super) const LOCK: u8 = 1;
    pub(super) const UNLOCK: u8 = 2;
}

fn a_door() -> Automaton {
    Automaton::new(2, 3, |state, kind| match kind {
        door::PASS => (state == door::OPEN).then_some(state),
        door::LOCK => Some(door::LOCKED),
        _ => Some(door::OPEN),
    })
}

/// One packet: its kind, when it came, and when it left.
type Line = (u8, u64, Option<u64>);

fn passages(lines: &[Line]) -> Passages {
    let mut passages = Passages::default();
    for (number, (kind, entered, left)) in lines.iter().enumerate() {
        let packet = PacketId(number as u32);
        passages.enter(packet, *kind, *entered);
        if let Some(left) = left {
            passages.leave(packet, *left);
        }
    }
    passages
}

#[test]
fn who_passes_a_locked_door_is_found() {
    let explain = |lines: &[Line]| passages(lines).explain(&a_door(), door::OPEN);
    let locked = (door::LOCK, 0, Some(10));
    assert_eq!(explain(&[locked]), Ok(BTreeSet::from([door::LOCKED])));
    let violation = explain(&[locked, (door::PASS, 20, Some(30))]).expect_err("it is locked");
    assert_eq!((violation.at, violation.packet, violation.states), (30, PacketId(1), [door::LOCKED].into()));
    assert!(explain(&[locked, (door::PASS, 5, Some(30))]).is_ok(), "before it was locked");
    let lost = (door::UNLOCK, 20, None);
    assert!(
        explain(&[locked, lost, (door::PASS, 40, Some(50))]).is_ok(),
        "it was unlocked by whom nobody saw again"
    );
    let late = (door::UNLOCK, 60, None);
    assert!(explain(&[locked, late, (door::PASS, 40, Some(50))]).is_err(), "who came too late for that");
    let again = (door::LOCK, 60, Some(70));
    assert!(explain(&[locked, lost, (door::PASS, 40, Some(50)), again, (door::PASS, 80, Some(90))]).is_err());
}

#[test]
fn a_packet_acts_once_for_each_time_it_came() {
    let lines = [
        (door::LOCK, 0, Some(10)),
        (door::UNLOCK, 20, Some(30)),
        (door::LOCK, 40, Some(50)),
        (door::PASS, 60, Some(70)),
    ];
    let mut passages = passages(&lines);
    assert!(passages.explain(&a_door(), door::OPEN).is_err());
    passages.repeat(PacketId(1));
    assert_eq!(passages.explain(&a_door(), door::OPEN), Ok([door::OPEN].into()));
}

#[test]
fn it_agrees_with_the_search() {
    let (mut yes, mut no) = (0, 0);
    for seed in 0..30_000 {
        let random = &mut Random::new(seed);
        let mut table = [[None; 4]; 4];
        for next in table.as_flattened_mut() {
            *next = random.chance(0.6).then(|| random.below(4) as u8);
        }
        let step = |state: u8, kind: u8| table[usize::from(state)][usize::from(kind)];
        let packets = 1 + random.below(8);
        let lines: Vec<Line> = (0..packets)
            .map(|_| {
                let entered = random.below(40);
                let left = random.chance(0.7).then(|| entered + random.below(30));
                (random.below(4) as u8, entered, left)
            })
            .collect();
        let found = passages(&lines).explain(&Automaton::new(4, 4, step), 0);
        let operation = |&(what, entered, left): &Line| Operation { entered, left, what };
        let operations: Vec<_> = lines.iter().map(operation).collect();
        let searched = is_linearizable(&operations, 0, |state, kind| step(*state, *kind));
        assert_eq!(found.is_ok(), searched, "seed {seed}: {found:?} for {lines:?} of {table:?}");
        if searched { yes += 1 } else { no += 1 }
    }
    assert!(yes > 3000 && no > 3000, "{yes} explained, {no} not");
}
