//! What each command prints, and how it fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command in a folder, as cargo would start it.
pub(crate) fn redplane(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-redplane"));
    command.arg("redplane").args(arguments).current_dir(folder);
    command.output().unwrap()
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// What a command that succeeds prints.
#[track_caller]
pub(crate) fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = redplane(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that fails says.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = redplane(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_code_is_explained_in_any_case() {
    let page = printed(&root(), &["explain", "rp0051"]);
    assert!(page.starts_with("RP0051: the packet is written before a lease point\n"), "{page}");
    assert!(page.contains("not:\n\n    ip.ttl = 1;\n") && page.contains("but:\n\n    let a"), "{page}");
}

#[test]
fn an_unknown_code_lists_those_that_are_known() {
    let said = refused(&root(), &["explain", "RP9999"]);
    assert!(said.starts_with("error: there is no code `RP9999`; the codes are:\n\nRP0001  "), "{said}");
    assert!(printed(&root(), &["explain"]).contains("RP0073  "));
}

#[test]
fn a_handler_stands_beside_its_p4() {
    let shown = printed(&root(), &["expand", "apps/src/nat.rs"]);
    for part in ["// apps/src/nat.rs:", "\npub fn translate(", "\n// nat.p4\n", "\ncontrol TranslateHeld1("] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    assert!(!shown.contains("#line") && !shown.contains("RpIntake") && !shown.contains("fn bind"));
}

#[test]
fn an_app_is_checked_without_a_build() {
    assert_eq!(printed(&root(), &["check", "apps/src/firewall.rs"]), "firewall: no mistakes\n");
    let said = refused(&root(), &["check", "redplane-macros/tests/ui/rp0051_early_write.rs"]);
    assert!(said.contains("rp0051_early_write.rs:25:9: RP0051: `ipv4` is written before"), "{said}");
    assert!(said.contains("help: keep the value in a local"), "{said}");
    let said = refused(&root(), &["check", "apps/src/lib.rs"]);
    assert!(said.contains("apps/src/lib.rs: no `#[redplane_sdk::app(..)]` module"), "{said}");
    assert!(refused(&root(), &["check", "apps/src/none.rs"]).starts_with("error: apps/src/none.rs: "));
}

#[test]
fn what_cannot_be_a_project_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("there")).unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["there"], "`there` is taken: the folder exists"),
        (&["9lives"], "`9lives` is no name for a package"),
        (&["../up"], "`../up` is no name for a package"),
        (&["match"], "`match` is a word of Rust"),
        (&["redplane_sdk"], "`redplane_sdk` is the name of another package"),
        (&["mine", "--template", "router"], "the templates are: counter, nat, firewall, load_balancer"),
        (&["mine", "--sdk-path", "there"], "there is no checkout of the SDK"),
    ];
    for (arguments, expected) in cases {
        let said = refused(folder.path(), &[&["new"], arguments].concat());
        assert!(said.contains(expected), "{said}");
    }
    assert!(!folder.path().join("mine").exists());
}
