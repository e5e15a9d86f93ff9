//! The two clocks: a switch counts ticks that wrap, the store counts microseconds; and the lease that spans both.

use std::fmt;
use std::time::Duration;

/// Microseconds in a tick: the switch's microsecond clock shifted right by [`TICK_SHIFT`].
pub const TICK_US: u64 = 1 << TICK_SHIFT;

/// How far v1model's `ingress_global_timestamp` (µs) is shifted to give ticks. Coarse on purpose: 32 bits of
/// 1.024 ms wrap after 50.9 days, and the prototype's 65 µs grains wrapped every three days.
pub const TICK_SHIFT: u32 = 10;

/// A moment by a switch's clock, in ticks of 1.024 ms, wrapping.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ticks(pub u32);

impl Ticks {
    /// The tick in which a moment of a microsecond clock falls.
    #[inline]
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self((micros >> TICK_SHIFT) as u32)
    }

    /// This many ticks later.
    #[inline]
    #[must_use]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Whether this moment is strictly before `other`: wrap-aware, so only right within half a wrap (25 days).
    #[inline]
    #[must_use]
    pub const fn is_before(self, other: Self) -> bool {
        let distance = other.0.wrapping_sub(self.0);
        distance != 0 && distance < 1 << 31
    }

    /// The later of two moments.
    #[inline]
    #[must_use]
    pub const fn latest(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of two moments.
    #[inline]
    #[must_use]
    pub const fn earliest(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }
}

impl fmt::Debug for Ticks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}t", self.0)
    }
}

/// A moment by a store node's own clock, in microseconds since any epoch, never going back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The epoch.
    pub const ZERO: Self = Self(0);

    /// This much later; saturates at the end of time.
    #[inline]
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}µs", self.0)
    }
}

/// For how long a switch may act on a key, and by how much a clock may run wrong.
///
/// A switch counts from the moment at which it *sent* the request, the store from the moment at which it *got* it,
/// and the switch shortens by the drift margin: so the switch always stops first, without synchronised clocks. The
/// paper's evaluation uses one second (section 7.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lease {
    duration: Duration,
    drift_margin_per_mille: u16,
    ticks: u32,
}

/// Shortest lease in ticks that is left to a switch. Below it a quarter of a lease, after which RENEW is repeated,
/// would be less than two ticks and every packet would renew.
pub const LEASE_TICKS_MIN: u32 = 8;

/// Longest lease: an hour. Far inside half a wrap of [`Ticks`], so an expiry is never mistaken for the past; and
/// nobody waits longer for a dead switch's keys.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);

const _: () =
    assert!(LEASE_MAX.as_micros() / (TICK_US as u128) < 1 << 29, "a lease is well inside half a wrap");

/// Why a lease cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Nothing useful is left of it at the switch.
    #[error("a lease of {duration:?} leaves a switch {ticks} ticks, fewer than {LEASE_TICKS_MIN}")]
    TooShort {
        /// What was asked for.
        duration: Duration,
        /// What a switch would have of it.
        ticks: u32,
    },
    /// Longer than [`LEASE_MAX`].
    #[error("a lease of {duration:?} is longer than {LEASE_MAX:?}")]
    TooLong {
        /// What was asked for.
        duration: Duration,
    },
    /// The margin is the whole lease or more.
    #[error("a drift margin of {per_mille} per mille leaves nothing of the lease")]
    Margin {
        /// What was asked for.
        per_mille: u16,
    },
}

impl Lease {
    /// A lease of `duration` by the store's clock, of which a switch believes all but `drift_margin_per_mille`.
    ///
    /// # Errors
    /// If it is too short or too long to be counted, or the margin leaves nothing.
    pub fn new(duration: Duration, drift_margin_per_mille: u16) -> Result<Self, LeaseError> {
        if drift_margin_per_mille >= 1000 {
            return Err(LeaseError::Margin { per_mille: drift_margin_per_mille });
        }
        if duration > LEASE_MAX {
            return Err(LeaseError::TooLong { duration });
        }
        let believed = duration.as_micros() * u128::from(1000 - drift_margin_per_mille) / 1000;
        // Both `sent_at` and "now" are cut down to whole ticks, so one tick more might have passed than is seen.
        let whole_ticks = u32::try_from(believed / u128::from(TICK_US)).unwrap_or(u32::MAX);
        let ticks = whole_ticks.saturating_sub(1);
        if ticks < LEASE_TICKS_MIN {
            return Err(LeaseError::TooShort { duration, ticks });
        }
        Ok(Self { duration, drift_margin_per_mille, ticks })
    }

    /// The lease by the store's clock.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// By how much the two clocks may differ in speed, in thousandths.
    #[must_use]
    pub const fn drift_margin_per_mille(&self) -> u16 {
        self.drift_margin_per_mille
    }

    /// The lease by a switch's clock, counted from `sent_at`.
    #[inline]
    #[must_use]
    pub const fn ticks(&self) -> u32 {
        self.ticks
    }

    /// After how many ticks from `sent_at` a switch that is still reading sends RENEW: half the lease (section 5.3).
    #[inline]
    #[must_use]
    pub const fn renew_ticks(&self) -> u32 {
        self.ticks / 2
    }

    /// After how many ticks it sends RENEW again if no answer came: a quarter of the lease.
    #[inline]
    #[must_use]
    pub const fn renew_again_ticks(&self) -> u32 {
        self.ticks / 4
    }
}

impl Default for Lease {
    /// One second, as in the paper's evaluation (section 7.3), with one percent of drift: a hundred times what a
    /// crystal clock is allowed.
    fn default() -> Self {
        match Self::new(Duration::from_secs(1), 10) {
            Ok(lease) => lease,
            Err(error) => unreachable!("the default lease is legal: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_compare_across_the_wrap() {
        let late = Ticks(u32::MAX - 2);
        assert!(late.is_before(late.plus(10)));
        assert!(!late.plus(10).is_before(late));
        assert!(!late.is_before(late));
        assert_eq!(late.latest(late.plus(5)), late.plus(5));
        assert_eq!(late.earliest(late.plus(5)), late);
        assert_eq!(Ticks::from_micros(u64::from(u32::MAX) << 10 | 1 << 42), Ticks(u32::MAX));
    }

    #[test]
    fn a_switch_believes_less_than_the_store_grants() {
        let lease = Lease::default();
        assert_eq!(lease.ticks(), 990_000 / 1024 - 1);
        // Worst case: the request left at the end of a tick, "now" is at the end of the last live one.
        let longest_micros = u64::from(lease.ticks() + 1) * TICK_US;
        assert!(longest_micros * 1010 / 1000 <= 1_000_000);
        assert!(lease.renew_again_ticks() >= 2);
    }

    #[test]
    fn leases_that_cannot_be_are_refused() {
        assert!(matches!(
            Lease::new(Duration::from_millis(9), 0),
            Err(LeaseError::TooShort { ticks: 7, .. })
        ));
        assert!(matches!(Lease::new(Duration::MAX, 0), Err(LeaseError::TooLong { .. })));
        assert!(matches!(Lease::new(Duration::from_secs(1), 1000), Err(LeaseError::Margin { .. })));
        assert!(Lease::new(Duration::from_millis(100), 10).is_ok());
    }
}
