//! The emitted P4 in BMv2, as `tests/bmv2/` has it: a scripted store on one port, hosts on the others.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::golden::{app, emitted};

/// Debian's Python: the one that its scapy belongs to.
const PYTHON: &str = "/usr/bin/python3";

/// Programs that the scenarios start, each with an argument that makes it do nothing.
const PROGRAMS: &[(&str, &str)] = &[
    ("p4c-bm2-ss", "--version"),
    ("simple_switch", "--version"),
    ("simple_switch_CLI", "--help"),
    ("ip", "-V"),
    ("unshare", "--version"),
    ("setpriv", "--version"),
    (PYTHON, "--version"),
];

/// Whether a program starts and says that all is well.
fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// What keeps the scenarios from running here.
fn missing() -> Option<String> {
    for (program, argument) in PROGRAMS {
        if !succeeds(program, &[argument]) {
            return Some(format!("{program} not found"));
        }
    }
    if !succeeds(PYTHON, &["-c", "import scapy"]) {
        return Some("scapy not found".to_owned());
    }
    let id = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    (!id).then(|| "not root".to_owned())
}

/// The rows of an app's own file of tables, if its scenarios go by that.
fn tables(case: &str) -> Option<String> {
    if !["firewall", "load_balancer"].contains(&case) {
        return None;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../apps/tables").join(case).with_extension("toml");
    let text = fs::read_to_string(path).expect("the app has its file");
    let tables: serde_json::Value = toml::from_str(&text).expect("it is TOML");
    let rows = redplane_codegen::operator::rows(&app(case).0, &tables).expect("its rows fit");
    Some(serde_json::to_string(&rows).expect("rows are JSON"))
}

/// Runs the scenarios of a fixture with what is emitted for it now.
fn run(case: &str) {
    if let Some(missing) = missing() {
        crate::common::skipped(&missing);
        return;
    }
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bmv2_{case}"));
    fs::create_dir_all(&scratch).expect("the scratch directory can be made");
    for (name, text) in emitted(case) {
        fs::write(scratch.join(name), text).expect("the scratch directory can be written");
    }
    let name = app(case).0.name;
    let mut python = Command::new(PYTHON);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bmv2/run.py")).arg(&name);
    python.arg("--program").arg(scratch.join(format!("{name}.p4")));
    python.arg("--entries").arg(scratch.join("entries.json"));
    python.arg("--schema").arg(scratch.join("schema.json"));
    python.arg("--scratch").arg(&scratch);
    if let Some(rows) = tables(case) {
        let path = scratch.join("tables.json");
        fs::write(&path, rows).expect("the scratch directory can be written");
        python.arg("--tables").arg(path);
    }
    let output = python.output().expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}:\n{said}{complained}");
    print!("{said}");
}

#[test]
fn cache() {
    run("cache");
}

#[test]
fn firewall() {
    run("firewall");
}

#[test]
fn load_balancer() {
    run("load_balancer");
}

#[test]
fn gate() {
    run("gate");
}

#[test]
fn meter() {
    run("meter");
}

#[test]
fn nat() {
    run("nat");
}
