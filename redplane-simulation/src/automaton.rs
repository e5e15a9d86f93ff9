//! Whether packets that passed can be explained by a small automaton of which nobody saw the state, exactly.
//!
//! A firewall's packets do not show the phase of their flow; that they passed says that it was one of some phases. So all
//! that the flow may have been is followed, from one packet out to the next (just-in-time linearization, Lowe 2017):
//! before a packet leaves, it has acted, and others may have acted before it that came in by then. Those that were never
//! seen again may have acted at any time, or not at all.
//!
//! Packets of one kind are interchangeable, so of those that came in the one acts first that leaves first. A packet that
//! can change nothing any more acts as soon as it may.
//!
//! Shares no code with the switch and the store, nor anything they believe: only what went in and what came out.

use std::collections::{BTreeMap, BTreeSet};

use crate::frame::PacketId;
use crate::history::Micros;

/// Most states of an automaton, and kinds of packets.
pub const STATES_MAX: usize = 8;
/// See [`STATES_MAX`].
pub const KINDS_MAX: usize = 12;

/// Most situations that are looked at for one packet. Beyond it the history counts as explained, so that no seed takes
/// minutes. Of 4,000 seeds of the firewall 13 came to a tenth of it.
const POINTS_MAX: usize = 50_000;

/// What a packet of each kind does in each state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Automaton {
    next: [[Option<u8>; KINDS_MAX]; STATES_MAX],
    /// By state: the kinds that change nothing in it, nor in whatever may come after it.
    inert: [[bool; KINDS_MAX]; STATES_MAX],
}

impl Automaton {
    /// `step` gives the next state, or `None` if the packet does not pass.
    #[must_use]
    pub fn new(states: u8, kinds: u8, step: impl Fn(u8, u8) -> Option<u8>) -> Automaton {
        let mut next = [[None; KINDS_MAX]; STATES_MAX];
        for (state, row) in next.iter_mut().enumerate().take(states.into()) {
            for (kind, to) in row.iter_mut().enumerate().take(kinds.into()) {
                *to = step(state as u8, kind as u8);
            }
        }
        let mut automaton = Automaton { next, inert: [[false; KINDS_MAX]; STATES_MAX] };
        for state in 0..states {
            let after = automaton.reachable(BTreeSet::from([state]), |_| true);
            for kind in 0..kinds {
                let changes = |from: &u8| automaton.next(*from, kind).is_some_and(|to| to != *from);
                automaton.inert[usize::from(state)][usize::from(kind)] = !after.iter().any(changes);
            }
        }
        automaton
    }

    /// The next state, or `None` if the packet does not pass.
    #[must_use]
    pub fn next(&self, state: u8, kind: u8) -> Option<u8> {
        self.next[usize::from(state)][usize::from(kind)]
    }

    /// All states after these, by any number of packets of some kinds.
    #[must_use]
    pub fn reachable(&self, from: BTreeSet<u8>, kinds: impl Fn(u8) -> bool) -> BTreeSet<u8> {
        let mut found = from.clone();
        let mut open: Vec<u8> = from.into_iter().collect();
        while let Some(state) = open.pop() {
            let kinds = (0..KINDS_MAX as u8).filter(|kind| kinds(*kind));
            open.extend(kinds.filter_map(|kind| self.next(state, kind)).filter(|next| found.insert(*next)));
        }
        found
    }

    fn is_inert(&self, state: u8, kind: u8) -> bool {
        self.inert[usize::from(state)][usize::from(kind)]
    }
}

/// A packet: what it is, when it came, when it was first seen to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Passage {
    kind: u8,
    entered: Micros,
    /// How many of it there are.
    copies: u32,
    left: Option<Micros>,
}

/// Everything about one automaton: what came in, and what passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passages(BTreeMap<PacketId, Passage>);

impl Passages {
    /// When a packet came to a switch.
    pub fn enter(&mut self, packet: PacketId, kind: u8, at: Micros) {
        let passage = self.0.entry(packet).or_insert(Passage { kind, entered: at, copies: 0, left: None });
        passage.copies += 1;
    }

    /// When a link repeated a message that carries an input packet.
    pub fn repeat(&mut self, packet: PacketId) {
        if let Some(passage) = self.0.get_mut(&packet) {
            passage.copies += 1;
        }
    }

    /// When a packet left a switch. That it leaves once more says nothing new: it may be the same output.
    pub fn leave(&mut self, packet: PacketId, at: Micros) {
        if let Some(passage) = self.0.get_mut(&packet) {
            passage.left.get_or_insert(at);
        }
    }

    /// When a packet first came.
    #[must_use]
    pub fn entered(&self, packet: PacketId) -> Option<Micros> {
        self.0.get(&packet).map(|passage| passage.entered)
    }

    /// In which states it may all have ended, having begun in `start`.
    ///
    /// # Errors
    /// The first packet that cannot have passed.
    pub fn explain(&self, automaton: &Automaton, start: u8) -> Result<BTreeSet<u8>, Violation> {
        let mut entries: Vec<_> = self.0.iter().map(|(packet, passage)| (passage.entered, *packet)).collect();
        entries.sort_unstable();
        let mut entries = entries.into_iter().peekable();
        let left = |(packet, passage): (&PacketId, &Passage)| Some((passage.left?, *packet));
        let mut exits: Vec<_> = self.0.iter().filter_map(left).collect();
        exits.sort_unstable();
        let mut search = Search { automaton, waiting: Default::default(), spare: [0; KINDS_MAX] };
        let mut points = vec![Point { state: start, done: Vec::new(), used: [0; KINDS_MAX] }];
        for (at, packet) in exits {
            while let Some((_, entered)) = entries.next_if(|(entered, _)| *entered <= at) {
                search.enter(entered, &self.0[&entered]);
            }
            let Some(after) = search.leave(&points, packet, self.0[&packet].kind) else {
                return Ok((0..STATES_MAX as u8).collect());
            };
            if after.is_empty() {
                let states = points.iter().map(|point| point.state).collect();
                return Err(Violation { at, packet, states });
            }
            search.waiting[usize::from(self.0[&packet].kind)].remove(&(at, packet));
            points = after;
        }
        for (_, entered) in entries {
            search.enter(entered, &self.0[&entered]);
        }
        let states = points.iter().map(|point| point.state).collect();
        Ok(automaton.reachable(states, |kind| search.spare[usize::from(kind)] > 0))
    }
}

/// A packet passed that cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it did.
    pub at: Micros,
    /// Which.
    pub packet: PacketId,
    /// What the state may have been when the packet before it had left.
    pub states: BTreeSet<u8>,
}

/// What may be, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    state: u8,
    /// Packets that have acted and will leave, in order.
    done: Vec<PacketId>,
    /// By kind, how many have acted that never left.
    used: [u32; KINDS_MAX],
}

impl Point {
    fn do_one(&mut self, packet: PacketId) {
        if let Err(at) = self.done.binary_search(&packet) {
            self.done.insert(at, packet);
        }
    }
}

/// Points of which none follows from another: by state and by what has acted, how many have acted that never left.
#[derive(Default)]
struct Points {
    by_done: BTreeMap<(u8, Vec<PacketId>), Vec<[u32; KINDS_MAX]>>,
    len: usize,
}

impl Points {
    /// Adds one, unless all that can follow from it follows from one that is there, of which fewer have acted.
    fn add(&mut self, Point { state, done, used }: Point) -> bool {
        let covers = |one: &[u32; KINDS_MAX], other: &[u32; KINDS_MAX]| {
            one.iter().zip(other).all(|(one, other)| one <= other)
        };
        let known = self.by_done.entry((state, done)).or_default();
        if known.iter().any(|known| covers(known, &used)) {
            return false;
        }
        let before = known.len();
        known.retain(|known| !covers(&used, known));
        known.push(used);
        self.len = self.len + known.len() - before;
        true
    }

    fn into_vec(self) -> Vec<Point> {
        let all = self.by_done.into_iter().flat_map(|((state, done), used)| {
            used.into_iter().map(move |used| Point { state, done: done.clone(), used })
        });
        all.collect()
    }
}

struct Search<'a> {
    automaton: &'a Automaton,
    /// By kind, the packets that came and will leave, and when.
    waiting: [BTreeSet<(Micros, PacketId)>; KINDS_MAX],
    /// By kind, how many came that never leave.
    spare: [u32; KINDS_MAX],
}

impl Search<'_> {
    fn enter(&mut self, packet: PacketId, passage: &Passage) {
        let kind = usize::from(passage.kind);
        self.spare[kind] += passage.copies - u32::from(passage.left.is_some());
        self.waiting[kind].extend(passage.left.map(|left| (left, packet)));
    }

    /// All that may be when this packet leaves; `None` if that is too much to look at.
    fn leave(&self, points: &[Point], packet: PacketId, kind: u8) -> Option<Vec<Point>> {
        let (mut after, mut seen) = (Points::default(), Points::default());
        let mut open = Vec::new();
        for mut point in points.iter().map(|point| self.settled(point.clone())) {
            if let Ok(at) = point.done.binary_search(&packet) {
                point.done.remove(at);
                after.add(point);
            } else if seen.add(point.clone()) {
                open.push(point);
            }
        }
        while let Some(point) = open.pop() {
            if seen.len + after.len > POINTS_MAX {
                return None;
            }
            if let Some(state) = self.automaton.next(point.state, kind) {
                let mut next = self.settled(Point { state, ..point.clone() });
                next.done.retain(|done| *done != packet);
                after.add(next);
            }
            for other in (0..KINDS_MAX as u8).filter(|other| *other != kind) {
                if let Some(next) = self.act(&point, other).filter(|next| seen.add(next.clone())) {
                    open.push(next);
                }
            }
        }
        Some(after.into_vec())
    }

    /// What can change nothing any more acts now; and how many of it did does not matter any more.
    fn settled(&self, mut point: Point) -> Point {
        let state = point.state;
        for kind in (0..KINDS_MAX as u8).filter(|kind| self.automaton.is_inert(state, *kind)) {
            point.used[usize::from(kind)] = 0;
            if self.automaton.next(state, kind).is_some() {
                self.waiting[usize::from(kind)].iter().for_each(|(_, packet)| point.do_one(*packet));
            }
        }
        point
    }

    /// A packet of this kind acts: of those that did not, the one that leaves first.
    fn act(&self, point: &Point, kind: u8) -> Option<Point> {
        let state = self.automaton.next(point.state, kind)?;
        if self.automaton.is_inert(point.state, kind) {
            return None;
        }
        let mut next = Point { state, ..point.clone() };
        let mut waiting = self.waiting[usize::from(kind)].iter().map(|(_, packet)| *packet);
        if let Some(packet) = waiting.find(|packet| point.done.binary_search(packet).is_err()) {
            next.do_one(packet);
            return Some(self.settled(next));
        }
        let used = &mut next.used[usize::from(kind)];
        *used += 1;
        (*used <= self.spare[usize::from(kind)] && state != point.state).then(|| self.settled(next))
    }
}
