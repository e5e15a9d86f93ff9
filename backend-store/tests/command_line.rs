//! The program as its users run it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use backend_store::service::admin::Admin;
use backend_store::service::metrics;
use serde_json::Value;

use crate::cluster::{CONTRIB, node};
use crate::coordination::PATIENCE;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn store(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redplane-store"));
    command.args(arguments).current_dir(CONTRIB).stdin(Stdio::null()).env_remove("RUST_LOG");
    command.output().expect("the program runs")
}

/// Exit status, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = store(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A folder with a copy of the example, for the length of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("redplane-store-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("meter")).expect("a folder");
        for file in ["store.toml", "meter/schema.json"] {
            fs::copy(Path::new(CONTRIB).join(file), folder.join(file)).expect("the example");
        }
        Self(folder)
    }

    /// The example after a change.
    fn changed(&self, from: &str, to: &str) -> String {
        let path = self.0.join("store.toml");
        let text = fs::read_to_string(&path).expect("the example");
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replace(from, to)).expect("a file");
        path.to_str().expect("text").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_example_is_accepted() {
    let (code, out, err) = run(&["check-config", "store.toml"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("meter  0xca30"), "{out}");
    let (code, out, _) = run(&["check-config", "--json", "store.toml"]);
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (code, &value["ok"], &value["nodes"][2]["requests"][1]),
        (0, &true.into(), &"127.0.0.3:21073".into())
    );
    let emitted = Path::new(ROOT).join("redplane-codegen/tests/fixtures/meter/schema.json");
    let ours = fs::read_to_string(Path::new(CONTRIB).join("meter/schema.json")).expect("a file");
    assert_eq!(ours, fs::read_to_string(emitted).expect("a file"), "the example has what the compiler emits");
}

#[test]
fn mistakes_are_shown_with_carets_on_standard_error() {
    let folder = Folder::new("mistakes");
    let file = folder.changed("\nshards = 2", "\nshards = 0");
    let (code, out, err) = run(&["check-config", &file]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("`shards` is 0, not 1 to 256") && err.contains("╰── here"), "{err}");
    assert!(!err.contains('\u{1b}'), "no colours where there is no terminal: {err}");
    let (code, out, _) = run(&["check-config", &file, "--json"]);
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &value["ok"], &value["mistakes"][0]["line"]), (1, &false.into(), &14.into()));
    for command in [&["serve", "--node", "0"][..], &["coordinate"], &["status"]] {
        let (code, out, err) = run(&[command, &["--config", &file]].concat());
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("`shards` is 0"), "{command:?}: {err}");
    }
}

#[test]
fn an_address_that_is_taken_ends_a_node_with_a_word() {
    let folder = Folder::new("taken");
    let config = folder.changed("127.0.0.1:21072", "127.0.0.1:21572");
    // The second shard's: what belongs to the first is given back without a noise.
    let _taken = std::net::UdpSocket::bind("127.0.0.1:21573").expect("nobody else has it");
    let (code, out, err) = run(&["serve", "--config", &config, "--node", "0"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("cannot listen at 127.0.0.1:21573 for requests of shard 1"), "{err}");
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn an_app_with_code_of_its_own_is_refused_with_the_way_out() {
    let folder = Folder::new("linked");
    let nat = Path::new(ROOT).join("p4-out/nat/schema.json");
    fs::copy(nat, folder.0.join("meter/schema.json")).expect("a copy");
    let (code, _, err) = run(&["check-config", &folder.changed("lab", "lab")]);
    assert_eq!(code, 1);
    assert!(err.contains("need its `bind`, which is not linked into this program; build a store"), "{err}");
}

#[test]
fn a_prefix_that_is_not_in_the_key_is_refused() {
    let folder = Folder::new("prefix");
    let (code, _, err) =
        run(&["check-config", &folder.changed("prefix_field = \"src\"", "prefix_field = \"addr\"")]);
    assert_eq!(code, 1);
    assert!(err.contains("its key has no field `addr`; it has src, dst, stream"), "{err}");
}

#[test]
fn wrong_usage_has_its_own_exit_status() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["serve"],
        &["serve", "--config", "store.toml", "--node", "70000"],
        &["serve", "--config", "store.toml", "--node", "7"],
        &["status", "--admin", "nowhere"],
    ] {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for command in ["serve", "coordinate", "status", "top", "dump", "bench", "check-config"] {
        assert!(out.contains(&format!("  {command} ")), "{out}");
    }
    assert_eq!(run(&["--version"]).0, 0);
}

/// `--admin` for each node.
fn admins(nodes: &[Admin]) -> Vec<String> {
    nodes.iter().flat_map(|node| ["--admin".to_owned(), node.address().to_string()]).collect()
}

fn ask(command: &[&str], admins: &[String]) -> (i32, String, String) {
    let arguments: Vec<&str> = command.iter().copied().chain(admins.iter().map(String::as_str)).collect();
    run(&arguments)
}

#[test]
fn a_cluster_says_how_it_is() {
    let mut nodes: Vec<Admin> = (0..3).map(node).collect();
    let admins = admins(&nodes);
    let (code, out, err) = ask(&["status"], &admins);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let heads = out.lines().filter(|line| line.contains(" head ") && line.contains(" 0>1>2 ")).count();
    assert_eq!((out.lines().count(), heads), (7, 2), "{out}");
    let (code, out, _) = ask(&["status", "--json"], &admins);
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &value["ok"], &value["nodes"][1]["status"]["node"]), (0, &true.into(), &1.into()));
    let (code, out, _) = ask(&["top", "--once"], &admins);
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("node  shard  role ") && out.lines().count() == 7, "{out}");

    nodes.remove(1).stop();
    let (code, out, _) = ask(&["status"], &admins);
    assert_eq!(code, 1);
    assert!(out.lines().any(|line| line.starts_with("! ") && line.contains("does not answer")), "{out}");
}

#[test]
fn records_are_dumped_from_the_tail() {
    let nodes: Vec<Admin> = (0..3).map(node).collect();
    let admins = admins(&nodes);
    let (code, out, err) = ask(&["dump"], &admins);
    assert_eq!((code, err.as_str(), out.lines().count()), (0, "", 6), "{out}");
    let first: Value = serde_json::from_str(out.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["key"]["src"], &first["value"]["packets"]), (&"10.0.0.1".into(), &5.into()));
    assert_eq!(ask(&["dump", "--limit", "4"], &admins).1.lines().count(), 4);
    assert_eq!(ask(&["dump", "--shard", "1", "--app", "meter"], &admins).1.lines().count(), 3);
    let (code, _, err) = ask(&["dump", "--app", "nat"], &admins);
    assert_eq!((code, err.as_str()), (2, "redplane-store: there is no app `nat`; there are meter\n"));
    let (code, _, err) = ask(&["dump", "--shard", "9"], &admins);
    assert_eq!((code, err.as_str()), (1, "redplane-store: no node has a shard 9\n"));
}

#[test]
fn units_start_what_the_program_has() {
    for (unit, wanted) in [
        ("redplane-store@.service", "serve --config /etc/redplane/store.toml --node %i"),
        ("redplane-coordinator.service", "coordinate --config /etc/redplane/store.toml"),
    ] {
        let text = fs::read_to_string(Path::new(CONTRIB).join(unit)).expect("a unit");
        for line in [
            &format!("ExecStart=/usr/bin/redplane-store {wanted}"),
            "Type=notify",
            "WatchdogSec=10",
            "DynamicUser=yes",
            "ProtectSystem=strict",
            "StateDirectory=redplane",
            "CapabilityBoundingSet=",
        ] {
            assert!(text.lines().any(|other| other == line), "{unit}: {line}");
        }
        let mut words: Vec<&str> = wanted.split(' ').filter(|word| *word != "%i").collect();
        words.push("--help");
        if words[0] == "serve" {
            words.insert(words.len() - 1, "0");
        }
        assert_eq!(run(&words).0, 0, "{words:?}");
    }
}

/// The guide's page with what the program says today: the table of metrics, and the answers in its console blocks, each
/// run in a copy of the example.
fn page_of_today(page: &str) -> String {
    let (start, end) = ("<!-- metrics: generated -->\n", "<!-- end of metrics -->\n");
    let (before, rest) = page.split_once(start).expect("the guide has the marker");
    let (_, after) = rest.split_once(end).expect("the guide has the other marker");
    let page = format!("{before}{start}{}{end}{after}", metrics::table());

    let folder = Folder::new("guide");
    let program = Path::new(env!("CARGO_BIN_EXE_redplane-store")).parent().expect("a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut parts = page.split("```console\n");
    let mut today = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (block, text) = part.split_once("```").expect("a block ends");
        today.push_str("```console\n");
        for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{command} 2>&1")]).current_dir(&folder.0).env("PATH", &path);
            let output = shell.env_remove("RUST_LOG").output().expect("there is a shell");
            today.push_str(&format!("$ {command}\n{}", String::from_utf8_lossy(&output.stdout)));
        }
        today.push_str(&format!("```{text}"));
    }
    today
}

/// With `UPDATE_GOLDEN=1` it rewrites the page.
#[test]
fn the_guide_shows_what_happens() {
    let path = Path::new(ROOT).join("guide/src/store.md");
    let page = fs::read_to_string(&path).expect("the guide has a page");
    let today = page_of_today(&page);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, today).expect("the guide can be written");
        return;
    }
    assert!(today.matches("```console").count() > 1 && today.matches("| `redplane_store_").count() > 20);
    assert_eq!(page, today, "UPDATE_GOLDEN=1 cargo test -p backend-store writes it");
}

/// Processes of a test, which end with it.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the guide starts in terminals is a cluster, of which its `status` says that all is well. It runs on loopback
/// addresses of its own.
#[test]
fn the_guide_starts_a_cluster() {
    let page = fs::read_to_string(Path::new(ROOT).join("guide/src/store.md")).expect("the guide has a page");
    let status = "redplane-store status --config store.toml";
    assert!(page.contains(&format!("`{status}`")));
    let folder = Folder::new("terminals");
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    folder.changed("127.0.0.", &format!("127.{}.{low}.", 64 + high % 64));
    let command = |line: &str| {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("redplane-store"), "{line}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_redplane-store"));
        command.args(words).current_dir(&folder.0).stdin(Stdio::null()).env_remove("RUST_LOG");
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let mut running = Running(Vec::new());
    for block in page.split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            running.0.push(command(line).stdout(Stdio::null()).spawn().expect("the program starts"));
        }
    }
    assert_eq!(running.0.len(), 4, "a coordinator and three nodes");
    let begin = Instant::now();
    loop {
        let output = command(status).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && said.lines().filter(|line| line.contains(" 0>1>2 ")).count() >= 3 {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "not all is well:\n{said}");
        thread::sleep(Duration::from_millis(50));
    }
}
