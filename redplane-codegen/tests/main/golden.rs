//! Everything that is emitted for the fixtures, byte by byte, and what p4c says about it.
//!
//! `tests/fixtures/<case>/input.rs` is the app; beside it lies what comes out. `UPDATE_GOLDEN=1` rewrites that. Some are
//! apps of `apps`, and what comes out lies in `p4-out`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use redplane_codegen::{dissector, entries, ir, schema, target};

use crate::common;

/// Every fixture.
pub(crate) const CASES: &[&str] = &["cache", "gate", "meter", "firewall", "load_balancer", "nat"];

/// Those that are apps of `apps`.
const APPS: [&str; 3] = ["firewall", "load_balancer", "nat"];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate stands in the workspace")
}

/// The source of a fixture, from the workspace on.
fn source(case: &str) -> String {
    if APPS.contains(&case) {
        return format!("apps/src/{case}.rs");
    }
    format!("redplane-codegen/tests/fixtures/{case}/input.rs")
}

/// Where a file that comes out is committed.
fn committed(case: &str, name: &str) -> PathBuf {
    if !APPS.contains(&case) {
        return workspace().join("redplane-codegen/tests/fixtures").join(case).join(name);
    }
    let folder = workspace().join("p4-out").join(case);
    let target = folder.join("v1model").join(name);
    if target.exists() { target } else { folder.join(name) }
}

/// The app of a fixture, and the path that its output names.
pub(crate) fn app(case: &str) -> (ir::App, String) {
    let source = source(case);
    let text = fs::read_to_string(workspace().join(&source)).expect("the fixture is there");
    let app = common::compile(&text)
        .unwrap_or_else(|errors| panic!("{case} compiles: {}", errors.to_compile_errors()));
    (app, source)
}

/// What is emitted, by file name.
pub(crate) fn emitted(case: &str) -> Vec<(String, String)> {
    let (app, source) = app(case);
    vec![
        (format!("{}.p4", app.name), target::v1model::render(&app, &source)),
        ("entries.json".to_owned(), entries::render(&app)),
        ("schema.json".to_owned(), schema::render(&app, &source)),
        (format!("redplane_{}.lua", app.name), dissector::render(&app, &source)),
    ]
}

#[test]
fn output_is_as_committed() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut stale = Vec::new();
    for case in CASES {
        for (name, text) in emitted(case) {
            let path = committed(case, &name);
            if fs::read_to_string(&path).is_ok_and(|committed| committed == text) {
                continue;
            }
            stale.push(format!("{case}/{name}"));
            if update {
                fs::write(path, text).expect("the fixture can be written");
            }
        }
    }
    assert!(update || stale.is_empty(), "stale: {stale:?}; look at them after UPDATE_GOLDEN=1 cargo test");
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    for case in CASES {
        assert_eq!(emitted(case), emitted(case));
    }
}

/// Runs p4c on a program; `None` without p4c.
pub(crate) fn p4c(name: &str, program: &str) -> Option<(bool, String)> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = scratch.join(format!("{name}.p4"));
    fs::write(&source, program).expect("the scratch directory can be written");
    let output =
        Command::new("p4c-bm2-ss").arg(&source).arg("-o").arg(scratch.join(format!("{name}.json"))).output();
    let Ok(output) = output else {
        common::skipped("p4c-bm2-ss not found");
        return None;
    };
    Some((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn p4c_takes_it_without_a_warning() {
    for case in CASES {
        for (name, text) in emitted(case).into_iter().filter(|(name, _)| name.ends_with(".p4")) {
            let Some((success, said)) = p4c(&format!("golden_{case}"), &text) else { return };
            assert!(success, "{name}:\n{said}");
            assert_eq!(said.trim(), "", "{name}");
        }
    }
}

/// What the front end would never let through: p4c has to be the one who notices.
fn with_type_error(case: &str) -> (ir::App, usize, String) {
    let (mut app, source) = app(case);
    let wrong = app.handler.points.iter_mut().flat_map(|point| &mut point.rest).find_map(|statement| {
        let line = statement.span.start().line;
        match &mut statement.kind {
            ir::StmtKind::Assign { place: ir::Place::Header(_), value } => Some((value, line)),
            _ => None,
        }
    });
    let (value, line) = wrong.expect("the fixture rewrites a header");
    value.kind = ir::ExprKind::Valid(0);
    (app, line, source)
}

#[test]
fn what_p4c_says_about_the_authors_code_names_the_authors_line() {
    let (app, line, source) = with_type_error("load_balancer");
    let Some((success, said)) = p4c("wrong_type", &target::v1model::render(&app, &source)) else { return };
    assert!(!success, "a bool is no address");
    assert!(said.contains(&format!("{source}({line})")), "not {source}({line}):\n{said}");
}

#[test]
fn what_p4c_says_about_the_machinery_names_the_emitted_line() {
    let (app, source) = app("nat");
    let text = target::v1model::render(&app, &source);
    let wrong = "meta.slot.granted = true;";
    let line = 1 + text.lines().position(|line| line.trim() == wrong).expect("a GRANT is installed");
    let Some((success, said)) = p4c("wrong_machinery", &text.replace(wrong, "meta.slot.granted = 1;")) else {
        return;
    };
    assert!(!success, "one is no bool");
    assert!(said.contains(&format!("nat.p4({line})")), "not nat.p4({line}):\n{said}");
}

/// An app may look at packets only, and never ask for its state.
#[test]
fn an_app_without_a_lease_point_is_a_program_too() {
    let source = r#"
        #[redplane_sdk::app(id = 3)]
        mod plain {
            use redplane_sdk::prelude::*;
            #[key]
            struct Host { addr: Ipv4Addr }
            #[state(key = Host)]
            struct Seen { packets: u32 }
            #[handler]
            fn pass(pkt: &mut Packet, cx: &mut Context) -> Handled {
                if pkt.ipv4.is_some() { cx.forward() } else { cx.drop("not_ipv4") }
            }
        }
    "#;
    let app = common::compile(source).unwrap_or_else(|errors| panic!("{}", errors.to_compile_errors()));
    let text = target::v1model::render(&app, "plain.rs");
    assert!(!text.contains("rp_reach"), "nothing is reached");
    if let Some((success, said)) = p4c("plain", &text) {
        assert!(success && said.trim().is_empty(), "{said}");
    }
}
