//! Time, in steps so coarse that only their order is left.
//!
//! The rules lean on one fact about clocks: a switch's lease ends before the store's, because the switch counts from the
//! sending of the request, the store from its arrival, and the switch leaves the drift margin out. So a lease is some
//! steps of the store's clock and one fewer of a switch's, and the clocks go in rounds: in a round every switch takes its
//! step, in any order, and then the store. Over any stretch of time the two counts then differ by one at most, either
//! way, which is exactly what the margin covers: with one step more of drift there are two holders (a test shows it).
//!
//! Two steps are the fewest; with three there is a moment at which a switch's lease lives and is to be renewed.
//!
//! The nodes of a chain share a clock. Only the head looks at it, and deadlines are never sent.

use std::time::Duration;

use redplane_protocol::{Lease, Ticks, Time};

const LEASE: Duration = Duration::from_millis(99);
const DRIFT_PER_MILLE: u16 = 10;
/// Switch clocks wrap in the course of the first step.
const SWITCH_EPOCH: Ticks = Ticks(u32::MAX - 7);

/// The lease of every scope.
pub(crate) fn lease() -> Lease {
    match Lease::new(LEASE, DRIFT_PER_MILLE) {
        Ok(lease) => lease,
        Err(error) => unreachable!("the model's lease is legal: {error}"),
    }
}

/// The clocks of a scope.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pace {
    /// Steps of a lease at the store.
    pub(crate) lease_steps: u8,
}

impl Pace {
    /// A switch's clock after so many steps.
    pub(crate) fn switch_time(self, steps: u8) -> Ticks {
        let step = lease().ticks().div_ceil(u32::from(self.lease_steps) - 1);
        SWITCH_EPOCH.plus(u32::from(steps) * step)
    }

    /// The store's clock after so many steps.
    pub(crate) fn store_time(self, steps: u8) -> Time {
        Time(1_000_000).plus(self.store_steps(steps))
    }

    /// So many steps of the store's clock.
    pub(crate) fn store_steps(self, steps: u8) -> Duration {
        let step_us = lease().duration().as_micros() as u64 / u64::from(self.lease_steps);
        Duration::from_micros(u64::from(steps) * step_us.next_multiple_of(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_many_steps_as_it_says() {
        for lease_steps in 2..5 {
            let pace = Pace { lease_steps };
            let expiry = pace.switch_time(1).plus(lease().ticks());
            assert!(pace.switch_time(lease_steps - 1).is_before(expiry));
            assert!(!pace.switch_time(lease_steps).is_before(expiry));
            let deadline = pace.store_time(1).plus(lease().duration());
            assert!(pace.store_time(lease_steps) < deadline);
            assert!(pace.store_time(1 + lease_steps) >= deadline);
        }
    }

    #[test]
    fn of_three_steps_one_is_for_renewal() {
        let pace = Pace { lease_steps: 3 };
        let renew_at = pace.switch_time(1).plus(lease().renew_ticks());
        assert!(pace.switch_time(1).is_before(renew_at) && !pace.switch_time(2).is_before(renew_at));
    }
}
