//! Whether every defect is found: after how many seeds, and by which check.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use redplane_protocol::mutant::{Mutant, Seat};

use crate::finding::Check;
use crate::run::{AppName, Setting, run_many, run_one};

/// Most seeds that a defect may take to be found: half a minute of one core.
pub const SEEDS_MAX: u64 = 10_000;

/// Most seeds that it may take in the middle: what takes longer is hardly looked for.
pub const MEDIAN_MAX: u64 = 1000;

/// How a defect fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was found.
    Found {
        /// By this check.
        check: Check,
        /// In runs of this app.
        app: AppName,
        /// After so many seeds, this one with it.
        seeds: u64,
    },
    /// It survived so many seeds.
    Survived(u64),
    /// There is nothing that it could break, for this reason.
    NotApplicable(&'static str),
}

/// Runs seeds with the defect until it is found, from `from` on, at most `seeds`.
#[must_use]
pub fn hunt(mutant: Mutant, from: u64, seeds: u64) -> Verdict {
    if let Seat::Nowhere(reason) = mutant.seat() {
        return Verdict::NotApplicable(reason);
    }
    let setting = Setting { mutant: Some(mutant), ..Setting::default() };
    let mut next = from;
    while next < from + seeds {
        // One thread: the first seed in order is the one that counts.
        let summary = run_many(&setting, next, from + seeds - next, 1, true);
        let Some((seed, finding)) = summary.failures.first() else { break };
        // What is found without the defect too does not speak of it.
        if run_one(&Setting::default(), *seed, None).finding.is_none() {
            let app = setting.app_of(*seed);
            return Verdict::Found { check: finding.check, app, seeds: seed - from + 1 };
        }
        next = seed + 1;
    }
    Verdict::Survived(seeds)
}

/// Hunts each of them, in `jobs` threads: each hunt is one thread's, so that the first seed in order is what counts.
#[must_use]
pub fn hunt_all(mutants: &[Mutant], from: u64, seeds: u64, jobs: usize) -> Vec<(Mutant, Verdict)> {
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let verdict = hunt(*mutant, from, seeds);
            verdicts.lock().unwrap_or_else(PoisonError::into_inner).insert(*mutant, verdict);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    verdicts.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
}

/// The middle of how many seeds it took; `None` if nothing was found.
#[must_use]
pub fn median(verdicts: &[(Mutant, Verdict)]) -> Option<u64> {
    let mut seeds: Vec<u64> = verdicts
        .iter()
        .filter_map(|(_, verdict)| match verdict {
            Verdict::Found { seeds, .. } => Some(*seeds),
            _ => None,
        })
        .collect();
    seeds.sort_unstable();
    seeds.get(seeds.len() / 2).copied()
}
