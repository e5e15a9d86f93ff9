//! Time, in steps so coarse that only their order is left.
//!
//! The rules lean on one fact about clocks: a switch's lease ends before the store's, because the switch counts from the
//! sending of the request, the store from its arrival, and the switch leaves the drift margin out. So a lease is
//! [`STORE_STEPS`] steps of the store's clock and one fewer of a switch's, and the clocks go in rounds: in a round every
//! switch takes its step, in any order, and then the store. Over any stretch of time the two counts then differ by one at
//! most, either way, which is exactly what the margin covers: one step more of drift, and the model finds two holders.
//!
//! The nodes of a chain share a clock. Only the head looks at it, and deadlines are never sent.

use std::time::Duration;

use redplane_protocol::{Lease, Ticks, Time};

/// Steps of a lease at the store.
pub const STORE_STEPS: u32 = 3;

/// Steps of a lease at a switch. Two, so that there is a moment at which a lease lives and is to be renewed.
pub const SWITCH_STEPS: u32 = STORE_STEPS - 1;

const LEASE: Duration = Duration::from_millis(99);
const DRIFT_PER_MILLE: u16 = 10;
const STORE_STEP_US: u64 = LEASE.as_micros() as u64 / STORE_STEPS as u64;
/// Switch clocks wrap in the course of the first step.
const SWITCH_EPOCH: Ticks = Ticks(u32::MAX - 7);

/// The lease of every scope.
pub(crate) fn lease() -> Lease {
    match Lease::new(LEASE, DRIFT_PER_MILLE) {
        Ok(lease) => lease,
        Err(error) => unreachable!("the model's lease is legal: {error}"),
    }
}

/// A switch's clock after so many steps.
pub(crate) fn switch_time(steps: u8) -> Ticks {
    SWITCH_EPOCH.plus(u32::from(steps) * lease().ticks().div_ceil(SWITCH_STEPS))
}

/// The store's clock after so many steps.
pub(crate) fn store_time(steps: u8) -> Time {
    Time(1_000_000 + u64::from(steps) * STORE_STEP_US)
}

/// So many steps of the store's clock.
pub(crate) fn store_steps(steps: u8) -> Duration {
    Duration::from_micros(u64::from(steps) * STORE_STEP_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_as_many_steps_as_it_says() {
        let expiry = switch_time(1).plus(lease().ticks());
        assert!(switch_time(SWITCH_STEPS as u8).is_before(expiry));
        assert!(!switch_time(1 + SWITCH_STEPS as u8).is_before(expiry));
        let renew_at = switch_time(1).plus(lease().renew_ticks());
        assert!(switch_time(1).is_before(renew_at) && !switch_time(2).is_before(renew_at));
        let deadline = store_time(1).plus(lease().duration());
        assert!(store_time(STORE_STEPS as u8) < deadline);
        assert!(store_time(1 + STORE_STEPS as u8) >= deadline);
    }
}
