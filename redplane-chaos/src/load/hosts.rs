//! Hosts behind the switches: what they send, and when they give up.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use redplane_sdk::net::Random;
use redplane_simulation::frame::PacketId;
use redplane_simulation::history::Micros;

use super::{LoadPlan, Progress, shard_of_key};
use crate::gaps::Gaps;
use crate::log::Log;

/// After how long a packet is given up, and another one is sent in its place. Longer than an answer takes on a machine
/// that is busy, and shorter than any outage.
const GIVE_UP_AFTER: Micros = 100_000;

/// How long the last reads may take in all: a lease of a key whose switch does not answer ends long before.
const READS_WITHIN: Micros = 60_000_000;

/// Every so many packets go to one of a few keys, so that packets of one key meet.
const TO_HOT_KEY_EVERY: u64 = 16;
/// How many keys these are.
const HOT_KEYS: u64 = 32;
/// Every so many packets the flow moves to another switch.
const MOVE_EVERY: u64 = 32;
/// Every so many packets only ask.
const READ_EVERY: u64 = 5;

/// A shard that has not acknowledged a write for so long is asked every [`PROBE_EVERY`], window or not: an outage is to be
/// measured, not how long hosts are patient.
const PROBE_AFTER: Micros = 10_000;
const PROBE_EVERY: Micros = 4_000;

/// The first key of a flood; none of the others comes so far.
const FLOOD_FROM: u32 = u32::from_be_bytes([100, 64, 0, 0]);

/// A packet to be sent: by which switch, to which key, whether it counts.
pub(super) type Next = (usize, u32, bool);

/// All hosts.
pub(super) struct Hosts {
    log: Log,
    random: Random,
    shards: u16,
    switches: usize,
    window: usize,
    /// Microseconds from one packet to the next; zero: no rate.
    interval: Micros,
    next_at: Micros,
    under_way: usize,
    /// When packets are given up, in order.
    deadlines: VecDeque<(Micros, PacketId)>,
    /// The switch of each flow.
    switch_of: Vec<u8>,
    /// All keys, each once.
    order: Vec<u32>,
    next: usize,
    probed: Vec<Micros>,
    /// The last reads: keys still to be asked for, and which were answered.
    to_read: VecDeque<u32>,
    unread: usize,
    read: Vec<bool>,
    reads_from: Option<Micros>,
    /// Of the flood: microseconds from one packet to the next, when the next one comes, and its key.
    flood_interval: Micros,
    flood_at: Micros,
    flood_key: u32,
}

impl Hosts {
    pub(super) fn new(plan: &LoadPlan, switches: usize, shards: u16) -> Self {
        let mut random = Random::new(plan.seed);
        let mut order: Vec<u32> = (0..plan.keys).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        let switch_of = (0..plan.keys).map(|_| random.below(switches as u64) as u8).collect();
        Self {
            log: Log::default(),
            random,
            shards,
            switches,
            window: plan.window,
            interval: 1_000_000u64.checked_div(plan.rate).unwrap_or(0),
            next_at: 0,
            under_way: 0,
            deadlines: VecDeque::new(),
            switch_of,
            order,
            next: 0,
            probed: vec![0; usize::from(shards)],
            to_read: VecDeque::new(),
            unread: 0,
            read: vec![false; plan.keys as usize],
            reads_from: None,
            flood_interval: 1_000_000u64.checked_div(plan.flood).unwrap_or(Micros::MAX),
            flood_at: 0,
            flood_key: FLOOD_FROM,
        }
    }

    /// The next packet, if there is room in the window and it is time.
    pub(super) fn next_packet(&mut self, now: Micros) -> Option<Next> {
        if self.under_way >= self.window || now < self.next_at {
            return None;
        }
        // What could not be sent in time is not made up for beyond the window.
        self.next_at = (self.next_at + self.interval).max(now.saturating_sub(1_000));
        let key = self.next_key();
        let writes = self.random.below(READ_EVERY) != 0;
        if self.random.below(MOVE_EVERY) == 0 {
            self.switch_of[key as usize] = self.random.below(self.switches as u64) as u8;
        }
        Some((usize::from(self.switch_of[key as usize]), key, writes))
    }

    /// The flood's next key, if it is time.
    pub(super) fn next_flood(&mut self, now: Micros) -> Option<u32> {
        if now < self.flood_at {
            return None;
        }
        // A flood that was held up comes all the faster, within a tenth of a second.
        self.flood_at = self.flood_at.max(now.saturating_sub(100_000)).saturating_add(self.flood_interval);
        self.flood_key += 1;
        Some(self.flood_key)
    }

    /// A write to a shard that acknowledges none.
    pub(super) fn probe(&mut self, now: Micros, gaps: &Gaps) -> Option<Next> {
        let is_due = |shard: &usize| {
            now.saturating_sub(gaps.last(*shard)) > PROBE_AFTER
                && now.saturating_sub(self.probed[*shard]) > PROBE_EVERY
        };
        let shard = (0..usize::from(self.shards)).find(is_due)?;
        self.probed[shard] = now;
        // About as many tries as there are shards.
        for _ in 0..64 {
            let key = self.next_key();
            if usize::from(shard_of_key(key, self.shards)) == shard {
                return Some((usize::from(self.switch_of[key as usize]), key, true));
            }
        }
        None
    }

    fn next_key(&mut self) -> u32 {
        if self.random.below(TO_HOT_KEY_EVERY) == 0 {
            return self.order[self.random.below(HOT_KEYS.min(self.order.len() as u64)) as usize];
        }
        let key = self.order[self.next];
        self.next = (self.next + 1) % self.order.len();
        key
    }

    pub(super) fn enter(&mut self, key: u32, writes: bool, now: Micros) -> PacketId {
        let packet = self.log.enter(key, writes, now);
        self.under_way += 1;
        self.deadlines.push_back((now + GIVE_UP_AFTER, packet));
        packet
    }

    /// When a packet left a switch.
    pub(super) fn leave(&mut self, packet: PacketId, value: u32, now: Micros, progress: &Progress) {
        // Late answers have been taken off already.
        let is_given_up = self.deadlines.front().is_none_or(|(_, first)| *first > packet);
        let is_first = self.log.passage(packet).is_some_and(|passage| passage.left().is_none());
        let Some(passage) = self.log.leave(packet, now, value) else { return };
        if is_first && !is_given_up {
            self.under_way -= 1;
        }
        if passage.writes {
            progress.writes.fetch_add(1, Ordering::Relaxed);
            progress.gaps.acknowledged(usize::from(shard_of_key(passage.key, self.shards)), now);
        } else {
            progress.reads.fetch_add(1, Ordering::Relaxed);
        }
        let is_last_read = self.reads_from.is_some_and(|from| passage.entered >= from) && !passage.writes;
        if is_last_read && !self.read[passage.key as usize] {
            self.read[passage.key as usize] = true;
            self.unread -= 1;
        }
    }

    /// Takes off what was under way for too long.
    pub(super) fn give_up(&mut self, now: Micros, progress: &Progress) {
        while let Some((_, packet)) = self.deadlines.front().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.pop_front();
            let Some(passage) = self.log.passage(packet).filter(|passage| passage.left().is_none()) else {
                continue;
            };
            self.under_way -= 1;
            progress.unanswered.fetch_add(1, Ordering::Relaxed);
            if self.reads_from.is_some() && !self.read[passage.key as usize] {
                self.to_read.push_back(passage.key);
            }
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.deadlines.is_empty()
    }

    /// From now on every key is read once, through another switch.
    pub(super) fn start_reads(&mut self, now: Micros) {
        self.reads_from = Some(now);
        self.unread = self.order.len();
        self.to_read = self.order.iter().copied().collect();
        self.next_at = now;
    }

    pub(super) fn next_read(&mut self, now: Micros) -> Option<Next> {
        if self.under_way >= self.window || now < self.next_at {
            return None;
        }
        self.next_at = (self.next_at + self.interval).max(now.saturating_sub(1_000));
        let key = self.to_read.pop_front()?;
        let other = (usize::from(self.switch_of[key as usize]) + 1) % self.switches;
        Some((other, key, false))
    }

    pub(super) fn reads_are_over(&self, now: Micros) -> bool {
        self.unread == 0 || self.reads_from.is_some_and(|from| now >= from + READS_WITHIN)
    }

    pub(super) fn into_log(self) -> Log {
        self.log
    }
}
