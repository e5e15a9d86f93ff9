//! The demo from beginning to end, with fewer connections than its user would take.

use serde_json::Value;

use super::run::{program, text};

fn report(directory: &str, arguments: &[&str]) -> Value {
    let (_, output) = program(directory, &[&["--json", "--connections", "24"], arguments].concat());
    assert!(output.status.success(), "{}{}", text(&output), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_connection_survives_the_failures() {
    let report = report("whole", &[]);
    let connections = &report["connections"];
    assert_eq!(connections["opened"], 24);
    assert_eq!(connections["completed"], 24);
    assert_eq!(connections["reset"], 0);
    assert!(report["bytes"]["sent"].as_u64() > Some(24 * 512 * 1024));
    assert_eq!(report["bytes"]["sent"], report["bytes"]["verified"]);
    assert!(report["packets"]["held"].as_u64() > Some(48), "each end of each mapping was leased");
    assert!(report["outage_ms"]["max"].as_u64() > Some(30), "a switch that carried traffic failed");
    assert_eq!(report["events"].as_array().map(Vec::len), Some(4));
}

#[test]
fn the_firewall_keeps_out_who_was_not_asked_for() {
    let report = report("firewall", &["firewall"]);
    assert_eq!(report["connections"]["completed"], 24);
    assert_eq!(report["bytes"]["sent"], report["bytes"]["verified"]);
    assert!(report["unsolicited"]["sent"].as_u64() > Some(5_000));
    assert_eq!(report["unsolicited"]["let_in"], 0);
}

#[test]
fn the_load_balancer_moves_no_connection() {
    let report = report("balancer", &["load-balancer"]);
    assert_eq!(report["connections"]["completed"], 24);
    assert_eq!(report["moved"], 0);
    assert_eq!(report["events"].as_array().map(Vec::len), Some(5), "a backend is drained, too");
}

#[test]
fn without_replication_connections_break() {
    for app in ["firewall", "load-balancer"] {
        let report = report("broken", &[app, "--no-replication"]);
        assert!(
            report["connections"]["reset"].as_u64().max(report["connections"]["unfinished"].as_u64())
                > Some(0)
        );
    }
    let report = report("broken", &["--no-replication"]);
    assert!(report["connections"]["reset"].as_u64() > Some(0));
    assert!(report["connections"]["completed"].as_u64() > Some(0), "the other switch's connections go on");
    assert_eq!(report["packets"]["held"], 0);
}

#[test]
fn lossy_links_only_slow_it_down() {
    let report = report("lossy", &["--loss", "0.01", "--seed", "3"]);
    assert_eq!(report["connections"]["completed"], 24);
    assert_eq!(report["bytes"]["sent"], report["bytes"]["verified"]);
}

#[test]
fn a_longer_lease_changes_nothing_but_the_wait() {
    let report = report("lease", &["--lease-ms", "500"]);
    assert_eq!(report["connections"]["completed"], 24);
}

#[test]
fn the_seed_decides_everything() {
    let run = |directory: &str, seed: &str| {
        let arguments = ["--connections", "12", "--seed", seed, "--svg", "run.svg", "--capture", "run.pcap"];
        let (path, output) = program(directory, &arguments);
        assert!(output.status.success());
        let file = |name: &str| std::fs::read(path.join(name)).unwrap();
        (text(&output), file("run.svg"), file("run.pcap"))
    };
    let first = run("seed", "5");
    assert!(first == run("seed-again", "5"), "the same seed gave another output, picture or capture");
    assert!(first.0 != run("seed-other", "6").0);
}
