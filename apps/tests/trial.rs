//! The trials, small: `cargo xtask apps` runs them as they are meant.

use apps::trial::{self, Size, Subject as _, churn, failover, scan};

#[test]
fn nothing_that_was_not_asked_for_gets_in() {
    let scan = scan::run(30_000).unwrap();
    assert_eq!((scan.packets, scan.passed, scan.records_made, scan.harmed), (30_000, 0, 0, 0));
    assert_eq!((scan.failures, scan.looks), (3, 600));
}

#[test]
fn the_scan_would_find_a_firewall_that_lets_anybody_in() {
    let mut open = trial::Firewall::place().unwrap();
    for switch in 0..2 {
        open.switch_mut(switch).tables_mut().published.add(&[("protocol", "17")], true).unwrap();
    }
    let scan = scan::over(open, 5_000).unwrap();
    assert!(scan.passed > 0 && scan.records_made > 0, "{scan:?}");
}

#[test]
fn no_connection_changes_its_backend() {
    let churn = churn::run(400, 20, 5).unwrap();
    assert_eq!((churn.connections, churn.changes, churn.failovers, churn.moved), (400, 20, 5, 0));
    assert!(churn.looks > 1000 && churn.backends > 6, "{churn:?}");
}

#[test]
fn no_connection_is_lost_with_a_switch() {
    let runs = [
        failover::run::<trial::Nat>(20).unwrap(),
        failover::run::<trial::Firewall>(20).unwrap(),
        failover::run::<trial::LoadBalancer>(20).unwrap(),
    ];
    for run in runs {
        assert_eq!((run.failovers, run.opened, run.looks, run.lost), (20, 100, 300, 0));
    }
    assert_eq!(Size::FULL.failovers, 1_000);
}
