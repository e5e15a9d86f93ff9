//! Truncated copies of unacknowledged writes, waiting to be sent again.
//!
//! The paper lets a copy of each WRITE, without its packet, circle in the switch's egress until it is acknowledged
//! (section 5.2). Here one copy per slot stands for all its writes, since a later value contains the earlier.

use std::collections::VecDeque;

use crate::serial::Serial;
use crate::time::Ticks;

/// Ticks after which an unacknowledged write is sent again the first time: about 4 ms, far above a round trip
/// within a data centre (7 µs to 142 µs in the paper) and far below a lease.
pub const RETRANSMIT_TICKS: u32 = 4;

/// How often the waiting time doubles: up to 64 ticks, still several tries within a short lease of 100 ms. The
/// prototype never backed off.
const BACK_OFF_LEVELS: usize = 5;

/// Most copies that circle at once. Beyond it a write is sent only once, and its slot stays unacknowledged until the
/// next write or the lease's end; so many slots with writes in flight mean a store that is overrun already.
pub const COPIES_MAX: usize = 65_536;

/// A copy whose time has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Due {
    pub(crate) slot: u32,
    pub(crate) generation: Serial,
    /// The write that it was last sent for.
    pub(crate) sequence: Serial,
    level: usize,
}

/// All copies, in one queue per waiting time: each queue is ordered by itself, so nothing is ever searched.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Copies {
    levels: [VecDeque<(Ticks, Due)>; BACK_OFF_LEVELS],
    count: usize,
}

impl Copies {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Starts a copy; false if there are too many.
    #[inline]
    pub(crate) fn start(&mut self, slot: u32, generation: Serial, sequence: Serial, now: Ticks) -> bool {
        if self.count >= COPIES_MAX {
            return false;
        }
        self.wait(Due { slot, generation, sequence, level: 0 }, now);
        true
    }

    /// Takes out a copy whose time has come.
    pub(crate) fn due(&mut self, now: Ticks) -> Option<Due> {
        let level =
            self.levels.iter_mut().find(|queue| queue.front().is_some_and(|(at, _)| !now.is_before(*at)))?;
        let (_, copy) = level.pop_front()?;
        self.count -= 1;
        Some(copy)
    }

    /// Puts a copy back that waits for a new write.
    pub(crate) fn restart(&mut self, copy: Due, now: Ticks) {
        self.wait(Due { level: 0, ..copy }, now);
    }

    /// Puts a copy back that was sent again: it waits twice as long.
    pub(crate) fn back_off(&mut self, copy: Due, now: Ticks) {
        self.wait(Due { level: (copy.level + 1).min(BACK_OFF_LEVELS - 1), ..copy }, now);
    }

    pub(crate) fn next_due(&self) -> Option<Ticks> {
        self.levels.iter().filter_map(|queue| queue.front()).map(|(at, _)| *at).reduce(Ticks::earliest)
    }

    #[inline]
    fn wait(&mut self, copy: Due, now: Ticks) {
        self.levels[copy.level].push_back((now.plus(RETRANSMIT_TICKS << copy.level), copy));
        self.count += 1;
    }
}
