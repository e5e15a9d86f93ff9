//! Seeds.

use redplane_simulation::Assumptions;
use redplane_simulation::run::{AppName, Setting, run_many, run_one};

fn setting(assumptions: Assumptions) -> Setting {
    Setting { assumptions, ..Setting::default() }
}

#[test]
fn every_history_is_linearizable_and_everything_comes_back() {
    let summary = run_many(&setting(Assumptions::Kept), 0, 300, 2, false);
    assert_eq!(summary.failures, [], "replay with `cargo xtask simulate --seeds 1 --trace --from SEED`");
    let never: Vec<_> = summary.sometimes.all().into_iter().filter(|(_, count)| *count == 0).collect();
    assert!(never.is_empty(), "these never happened: {never:?}");
}

#[test]
fn clocks_beyond_the_bound_cost_a_read_and_no_write() {
    let summary = run_many(&setting(Assumptions::ClocksBroken), 0, 150, 2, false);
    assert_eq!(summary.failures, []);
    assert!(summary.stale_reads > 0, "no stale read was found, so the check has no teeth");
}

#[test]
fn flipped_bits_make_nothing_panic() {
    let summary = run_many(&setting(Assumptions::BitsFlipped), 0, 80, 2, false);
    assert_eq!(summary.failures, []);
}

#[test]
fn one_seed_is_one_run() {
    for app in AppName::ALL {
        let setting = Setting { app: Some(app), ..Setting::default() };
        let runs: Vec<_> = (0..8).map(|seed| run_one(&setting, seed, None)).collect();
        let again: Vec<_> = (0..8).map(|seed| run_one(&setting, seed, None)).collect();
        assert_eq!(runs, again);
        let watched = run_one(&setting, 5, Some(Box::new(|_, _| {})));
        assert_eq!(watched.hash, runs[5].hash, "looking changes nothing");
        let mut hashes: Vec<_> = runs.iter().map(|run| run.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 8, "another seed is another run");
    }
}

#[test]
fn the_number_of_jobs_changes_nothing() {
    let setting = setting(Assumptions::Kept);
    assert_eq!(run_many(&setting, 40, 12, 1, false), run_many(&setting, 40, 12, 3, false));
}
