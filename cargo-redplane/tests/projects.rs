//! Each template becomes a project that builds, passes its tests and shows its demo, away from the workspace.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::commands::printed;

const TEMPLATES: [&str; 4] = ["counter", "nat", "firewall", "load_balancer"];

/// Runs cargo in a project.
pub(super) fn run(project: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    // Beside the workspace's own: what both need of the registry is compiled once.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    command
        .args(arguments)
        .args(["--offline", "--quiet"])
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target);
    command.output().unwrap()
}

/// What cargo prints in a project, without a warning.
#[track_caller]
fn cargo(project: &Path, arguments: &[&str]) -> String {
    let output = run(project, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?} in {}:\n{said}", project.display());
    let warnings: Vec<&str> = said.lines().filter(|line| !line.trim().starts_with("Blocking")).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn try_template(template: &str) {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("my-{}", template.replace('_', "-"));
    let said = printed(folder.path(), &["new", &name, "--template", template]);
    assert!(said.contains("cargo run"), "{said}");
    let project = folder.path().join(&name);
    let tests = cargo(&project, &["test"]);
    assert!(tests.contains("3 passed"), "{tests}");
    let demo = cargo(&project, &["run"]);
    assert!(demo.lines().count() >= 2, "{demo}");
    for file in ["schema.json", "v1model/entries.json"] {
        assert!(project.join("p4-out").join(template).join(file).is_file(), "{file}");
    }
}

#[test]
fn every_template_builds_passes_its_tests_and_runs() {
    TEMPLATES.into_iter().for_each(try_template);
}

/// The mistake that the tutorial of the counter makes: rustc shows it, not the build script.
#[test]
fn a_mistake_is_shown_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    printed(folder.path(), &["new", "hasty"]);
    let library = folder.path().join("hasty/src/lib.rs");
    let text = fs::read_to_string(&library).unwrap();
    let lease = "        let mut sent =";
    let wrong =
        text.replace("&pkt.ipv4", "&mut pkt.ipv4").replace(lease, &format!("        ip.ttl = 64;\n{lease}"));
    let line = 1 + wrong.lines().position(|line| line.contains("ip.ttl = 64;")).unwrap();
    fs::write(&library, wrong).unwrap();
    let output = run(&folder.path().join("hasty"), &["build"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.contains("error: RP0051: `ipv4` is written") && said.contains(&format!("src/lib.rs:{line}:9")),
        "{said}"
    );
    assert!(!said.contains("build script"), "{said}");
}

/// Makes of a new project what the reader of the counter's tutorial has at its end.
pub(super) fn get_a_quota(project: &Path) {
    let library = fs::read_to_string(project.join("src/lib.rs")).unwrap();
    let agreement = library.split("\n// Does not compile").nth(1).unwrap();
    let app = include_str!("tutorial/app.rs");
    fs::write(project.join("src/lib.rs"), format!("{app}\n// Does not compile{agreement}")).unwrap();
    let main = include_str!("tutorial/main.rs").replace("project::", "packet_quota::");
    fs::write(project.join("src/main.rs"), main).unwrap();
    assert!(cargo(project, &["test"]).contains("4 passed"));
}

#[test]
fn a_project_has_the_sources_of_the_workspace() {
    let folder = tempfile::tempdir().unwrap();
    for template in TEMPLATES {
        printed(folder.path(), &["new", &format!("my_{template}"), "--template", template]);
        let project = folder.path().join(format!("my_{template}"));
        let read = |path: &str| fs::read_to_string(project.join(path)).unwrap();
        assert!(read("src/lib.rs").contains(&format!("pub mod {template} {{")));
        assert!(read("src/lib.rs").ends_with(&format!("\"/{template}_agreement.rs\"));\n")));
        assert!(read("src/main.rs").contains(&format!("use my_{template}::{template}::")));
        assert!(read("build.rs").contains(&format!("\"{template}_agreement.rs\"")));
        assert!(read("Cargo.toml").contains("/redplane-sdk\" }"));
        for path in ["src/lib.rs", "src/main.rs", "build.rs"] {
            assert!(!read(path).contains("ANCHOR") && !read(path).contains("project::"), "{path}");
        }
    }
}
