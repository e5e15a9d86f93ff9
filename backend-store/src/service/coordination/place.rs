//! Until when a node may serve.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redplane_protocol::Time;

use crate::service::clock::Clock;
use crate::service::config::Config;

/// Until when this node may serve, by its own clock: the second fence behind the epochs.
///
/// The coordination extends it; every worker asks before it takes or sends anything. It begins in the past.
#[derive(Debug)]
pub struct Place {
    clock: Clock,
    serve_until: AtomicU64,
    ended: AtomicBool,
}

impl Place {
    /// A place that nobody has given yet. `clock` is the one that the workers look at.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self { clock, serve_until: AtomicU64::new(0), ended: AtomicBool::new(false) }
    }

    /// The clock by which it is counted.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Whether the node may serve at `now`, by [`clock`](Self::clock). What it drops then is dropped for that reason.
    #[must_use]
    pub fn serves_at(&self, now: Time) -> bool {
        now < self.serve_until()
    }

    /// The moment from which on the node must not serve.
    #[must_use]
    pub fn serve_until(&self) -> Time {
        if self.ended.load(Ordering::Acquire) {
            return Time::ZERO;
        }
        Time(self.serve_until.load(Ordering::Acquire))
    }

    /// The node may serve until `until`, or until a later moment that was said before.
    pub fn extend(&self, until: Time) {
        self.serve_until.fetch_max(until.0, Ordering::AcqRel);
    }

    /// The node stops serving at once, until it is extended again.
    pub fn withdraw(&self) {
        self.serve_until.store(0, Ordering::Release);
    }

    /// The node stops serving at once, whatever is said later.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// How much of the time after which others take it for dead a node counts on: all but the drift margin.
pub(crate) fn counted_on(config: &Config, dead_after: Duration) -> Duration {
    let margin = config.lease.drift_margin_per_mille().min(1000);
    dead_after * u32::from(1000 - margin) / 1000
}
