//! The clock of one node, as seen by whoever drives all of them.

use redplane_protocol::Time;

/// A node's own clock: what it shows at a moment of the caller's. By default it shows the same.
///
/// Nodes of a chain share no clock, and nothing in the protocol needs them to. With clocks that differ, an
/// [`EmbeddedStore`](crate::EmbeddedStore) shows that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeClock {
    /// What it shows when the caller's clock shows zero, in microseconds.
    pub offset: u64,
    /// By how many thousandths it is too fast; negative: too slow. Above -1000.
    pub drift_per_mille: i16,
}

impl NodeClock {
    /// What it shows at a moment of the caller's clock.
    #[must_use]
    pub fn read(&self, now: Time) -> Time {
        Time(scale(now.0, self.speed(), NORMAL, 0).saturating_add(self.offset))
    }

    /// The first moment of the caller's clock at which it shows `due` or later; zero if it always does.
    #[must_use]
    pub fn when(&self, due: Time) -> Time {
        let to_go = due.0.saturating_sub(self.offset);
        Time(scale(to_go, NORMAL, self.speed(), self.speed() - 1))
    }

    fn speed(&self) -> u64 {
        u64::try_from(i64::from(self.drift_per_mille) + NORMAL as i64).unwrap_or(0).max(1)
    }
}

/// Thousandths that a right clock goes on in a thousandth.
const NORMAL: u64 = 1000;

/// `micros * to / from`, rounded down after `round` was added.
fn scale(micros: u64, to: u64, from: u64, round: u64) -> u64 {
    if to == from {
        return micros;
    }
    // Five centuries fit. What does not is a deadline that never comes.
    micros
        .checked_mul(to)
        .and_then(|scaled| scaled.checked_add(round))
        .map_or(u64::MAX, |scaled| scaled / from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_neither_early_nor_late() {
        for drift_per_mille in [-999, -20, 0, 7, 200] {
            for offset in [0, 5, 1 << 40] {
                let clock = NodeClock { offset, drift_per_mille };
                for due in (offset + 1..offset + 3000).step_by(7) {
                    let at = clock.when(Time(due));
                    assert!(clock.read(at).0 >= due, "{clock:?} {due}");
                    assert!(clock.read(Time(at.0 - 1)).0 < due, "{clock:?} {due}");
                }
                assert_eq!(clock.when(Time(offset)), Time::ZERO);
            }
        }
    }

    #[test]
    fn never_stays_never_and_a_right_clock_shows_the_time() {
        let fast = NodeClock { offset: 9, drift_per_mille: 3 };
        assert!(fast.when(Time(u64::MAX)) >= Time(u64::MAX / NORMAL));
        assert_eq!(fast.read(Time(u64::MAX)), Time(u64::MAX));
        let right = NodeClock::default();
        assert_eq!((right.read(Time(77)), right.when(Time(77))), (Time(77), Time(77)));
    }
}
