//! The drill in small: that it runs, and that it finds what it is there to find.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redplane_chaos::cluster::Coordinator;
use redplane_chaos::drill::{self, Options, Scenario};

fn options(broken: bool) -> Options {
    Options {
        scenario: Scenario::Turn,
        coordinator: Coordinator::Static,
        seconds: 4,
        keys: 500,
        window: 16,
        rate: 2_000,
        seed: 1,
        durable: false,
        shards: 1,
        // A machine that compiles meanwhile is not to look like a dead node.
        detection: Duration::from_millis(1_000),
        broken,
        store: PathBuf::from(env!("CARGO_BIN_EXE_chaos-store")),
    }
}

fn run(options: &Options) -> redplane_chaos::report::Report {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut lines = Vec::new();
    let path: &Path = folder.path();
    runtime.block_on(drill::run(options, path, &mut |line| lines.push(line.to_owned()))).expect("it runs")
}

#[test]
fn a_killed_head_loses_nothing() {
    let report = run(&options(false));
    assert!(report.verdict.is_content(), "{}", report.summary());
    assert!(!report.strikes.is_empty() && report.writes > 0);
}

#[test]
fn a_store_that_forgets_is_found_out() {
    let report = run(&options(true));
    let verdict = &report.verdict;
    assert!(verdict.lost > 0 && verdict.not_linearizable > 0, "{}", report.summary());
}
