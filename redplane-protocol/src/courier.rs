//! The few things that must arrive though messages get lost: deletions, and the copy for a joining node.
//!
//! Everything else needs no retransmission of its own: a switch asks again, and each answer carries the full records
//! down the chain. But nobody asks again for what was deleted, or for what a new node never heard of. So these go in
//! numbered portions, one at a time, repeated until confirmed.

use std::time::Duration;

use crate::record::RecordKey;
use crate::time::Time;

/// When an unconfirmed portion is sent again: far above a round trip within a data centre, far below a lease.
pub const PORTION_RESEND: Duration = Duration::from_millis(20);

/// One stream of portions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Courier {
    last_number: u64,
    in_flight: Option<Portion>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Portion {
    number: u64,
    keys: Vec<RecordKey>,
    resend_at: Time,
}

impl Courier {
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    pub(crate) fn resend_at(&self) -> Option<Time> {
        self.in_flight.as_ref().map(|portion| portion.resend_at)
    }

    /// Takes a portion on its way; its number.
    pub(crate) fn send(&mut self, keys: Vec<RecordKey>, now: Time) -> u64 {
        debug_assert!(self.is_idle());
        self.last_number += 1;
        let resend_at = now.plus(PORTION_RESEND);
        self.in_flight = Some(Portion { number: self.last_number, keys, resend_at });
        self.last_number
    }

    /// When the portion in flight is overdue: what to send again.
    pub(crate) fn resend(&mut self, now: Time) -> Option<(u64, Vec<RecordKey>)> {
        let portion = self.in_flight.as_mut().filter(|portion| portion.resend_at <= now)?;
        portion.resend_at = now.plus(PORTION_RESEND);
        Some((portion.number, portion.keys.clone()))
    }

    /// When a confirmation came: the keys of the portion, if it was the one in flight.
    pub(crate) fn confirm(&mut self, number: u64) -> Option<Vec<RecordKey>> {
        self.in_flight.take_if(|portion| portion.number == number).map(|portion| portion.keys)
    }

    /// Gives up what is in flight. Numbers go on, so a late confirmation is not mistaken.
    pub(crate) fn abandon(&mut self) {
        self.in_flight = None;
    }
}
