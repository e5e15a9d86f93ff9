//! Whether every defect is found: after how many seeds, and by which check.

use redplane_protocol::mutant::{Mutant, Seat};

use crate::finding::Check;
use crate::run::{AppName, Setting, run_many};

/// Most seeds that a defect may take to be found.
pub const SEEDS_MAX: u64 = 3000;

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
    // One thread: the first seed in order is the one that counts.
    let summary = run_many(&setting, from, seeds, 1, true);
    match summary.failures.first() {
        Some((seed, finding)) => {
            Verdict::Found { check: finding.check, app: setting.app_of(*seed), seeds: seed - from + 1 }
        }
        None => Verdict::Survived(summary.seeds),
    }
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
