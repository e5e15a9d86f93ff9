//! For how long nothing was acknowledged.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use redplane_simulation::history::Micros;

/// Shorter times without an acknowledged write are not kept: they are no outage.
const KEPT_FROM: Micros = 5_000;

/// Times without an acknowledged write, by shard. One thread adds, others ask.
#[derive(Debug)]
pub struct Gaps {
    last: Vec<AtomicU64>,
    kept: Mutex<Vec<(usize, Micros, Micros)>>,
}

impl Gaps {
    /// Of so many shards, none of which acknowledged anything yet.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self { last: (0..shards).map(|_| AtomicU64::new(0)).collect(), kept: Mutex::default() }
    }

    /// A write of this shard was acknowledged.
    pub fn acknowledged(&self, shard: usize, now: Micros) {
        let before = self.last[shard].swap(now, Ordering::Relaxed);
        if now.saturating_sub(before) >= KEPT_FROM {
            self.kept().push((shard, before, now));
        }
    }

    /// When a write of this shard was acknowledged last.
    #[must_use]
    pub fn last(&self, shard: usize) -> Micros {
        self.last[shard].load(Ordering::Relaxed)
    }

    /// The longest time within these moments in which this shard acknowledged no write.
    #[must_use]
    pub fn longest(&self, shard: usize, from: Micros, until: Micros) -> Micros {
        let kept = self.kept();
        let all = kept.iter().filter(|(of, ..)| *of == shard).map(|(_, start, end)| (*start, *end));
        all.chain([(self.last(shard), until)])
            .map(|(start, end)| end.min(until).saturating_sub(start.max(from)))
            .max()
            .unwrap_or(0)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Micros, Micros)>> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_as_far_as_it_lies_within() {
        let gaps = Gaps::new(2);
        for at in [1_000, 2_000, 50_000, 51_000] {
            gaps.acknowledged(0, at);
        }
        assert_eq!(gaps.longest(0, 0, 51_000), 48_000);
        assert_eq!(gaps.longest(0, 30_000, 51_000), 20_000);
        assert_eq!(gaps.longest(0, 30_000, 91_000), 40_000, "the one that is not over");
        assert_eq!(gaps.longest(1, 30_000, 51_000), 21_000, "a shard that never did");
    }
}
