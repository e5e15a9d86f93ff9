//! Clocks of devices, none of which is right.

use redplane_protocol::{Ticks, Time};

/// A device's own clock: it began at another moment than the network's, and runs at another speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// What it shows when the network's clock shows zero, in microseconds.
    pub offset: u64,
    /// By how many thousandths it is too fast; negative: too slow. Above -1000.
    pub drift_per_mille: i16,
}

impl Clock {
    /// What it shows, in microseconds.
    pub fn read(&self, now: Time) -> u64 {
        let elapsed = u128::from(now.0) * self.speed() / 1000;
        self.offset.wrapping_add(elapsed as u64)
    }

    /// What it shows, in ticks.
    pub fn ticks(&self, now: Time) -> Ticks {
        Ticks::from_micros(self.read(now))
    }

    /// When it will show this tick, which is at most half a wrap from `now`; `now` if it is past.
    pub fn when(&self, due: Ticks, now: Time) -> Time {
        let shown = self.read(now);
        let current = Ticks::from_micros(shown);
        if !current.is_before(due) {
            return now;
        }
        let ticks = u64::from(due.0.wrapping_sub(current.0));
        let start_of_tick = (shown >> redplane_protocol::time::TICK_SHIFT).wrapping_add(ticks)
            << redplane_protocol::time::TICK_SHIFT;
        let to_go = u128::from(start_of_tick.wrapping_sub(shown));
        // Rounded up, and one more for what `read` rounds down: never early.
        let micros = (to_go * 1000).div_ceil(self.speed()) + 1;
        Time(now.0.saturating_add(micros as u64))
    }

    fn speed(&self) -> u128 {
        u128::from((1000 + i32::from(self.drift_per_mille)).max(1).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_hardly_late() {
        for drift_per_mille in [-20, 0, 7] {
            for offset in [0, 5_000_000, (u64::from(u32::MAX) << 10) - 3000] {
                let clock = Clock { offset, drift_per_mille };
                for now in [0, 1, 999, 123_456] {
                    let now = Time(now);
                    let due = clock.ticks(now).plus(5);
                    let at = clock.when(due, now);
                    assert!(!clock.ticks(at).is_before(due), "{clock:?} {now:?}");
                    assert!(clock.ticks(Time(at.0 - 3)).is_before(due), "{clock:?} {now:?}");
                }
            }
        }
    }
}
