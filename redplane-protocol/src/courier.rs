//! The few things that must arrive though messages get lost: deletions, and the copy for a joining node.
//!
//! Everything else needs no retransmission of its own: a switch asks again, and each answer carries the full records
//! down the chain. But nobody asks again for what was deleted, or for what a new node never heard of. So these go in
//! numbered portions, a few at a time, repeated until confirmed.

use std::collections::VecDeque;
use std::time::Duration;

use crate::record::RecordKey;
use crate::time::Time;

/// When an unconfirmed portion is sent again: far above a round trip within a data centre, far below a lease.
pub const PORTION_RESEND: Duration = Duration::from_millis(20);

/// One stream of portions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Courier {
    last_number: u64,
    /// In the order in which they are to be sent again.
    in_flight: VecDeque<Portion>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Portion {
    number: u64,
    keys: Vec<RecordKey>,
    resend_at: Time,
}

impl Courier {
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the empty portion, the last of a stream, is under way.
    pub(crate) fn is_ending(&self) -> bool {
        self.in_flight.back().is_some_and(|portion| portion.keys.is_empty())
    }

    pub(crate) fn resend_at(&self) -> Option<Time> {
        self.in_flight.front().map(|portion| portion.resend_at)
    }

    /// Takes a portion on its way; its number. How many may be under way is for the caller to say.
    pub(crate) fn send(&mut self, keys: Vec<RecordKey>, now: Time) -> u64 {
        self.last_number += 1;
        let resend_at = now.plus(PORTION_RESEND);
        self.in_flight.push_back(Portion { number: self.last_number, keys, resend_at });
        self.last_number
    }

    /// When a portion in flight is overdue: what to send again. Call it until nothing is.
    pub(crate) fn resend(&mut self, now: Time) -> Option<(u64, Vec<RecordKey>)> {
        self.resend_at().filter(|at| *at <= now)?;
        let mut portion = self.in_flight.pop_front()?;
        portion.resend_at = now.plus(PORTION_RESEND);
        let again = (portion.number, portion.keys.clone());
        self.in_flight.push_back(portion);
        Some(again)
    }

    /// When a confirmation came: the keys of the portion, if it was in flight.
    pub(crate) fn confirm(&mut self, number: u64) -> Option<Vec<RecordKey>> {
        let at = self.in_flight.iter().position(|portion| portion.number == number)?;
        self.in_flight.remove(at).map(|portion| portion.keys)
    }

    /// Gives up what is in flight. Numbers go on, so a late confirmation is not mistaken.
    pub(crate) fn abandon(&mut self) {
        self.in_flight.clear();
    }
}
