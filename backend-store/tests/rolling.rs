//! An additive change of a schema by rolling restart, as the guide describes it: real processes, real sockets, under load.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a cluster may take to be whole.
const WHOLE_WITHIN: Duration = Duration::from_secs(20);

/// Bytes of the value before and after the change.
const VALUES: [u16; 2] = [16, 20];

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_redplane-store"))
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }

    /// Asks it to stop, and waits until it has.
    fn terminate(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn schema(version: usize) -> Value {
    let field = |name: &str, offset: u16, bytes: u16| {
        let bits = bytes * 8;
        json!({ "name": name, "type": "u128", "offset": offset, "bytes": bytes, "bits": bits })
    };
    let mut fields = vec![field("first", 0, VALUES[0])];
    if version > 0 {
        fields.push(field("added", VALUES[0], VALUES[1] - VALUES[0]));
    }
    json!({
        "app": "meter", "id": 7, "fingerprint": format!("{:#06x}", 0x1234 + version), "idle_ms": 300_000,
        "program": "0x1", "source": "rolling.rs", "slots": 1024, "on_create": null, "drop_reasons": [],
        "wire": { "udp_port": 21072, "version": 1, "key_offset": 30, "value_offset": 43, "frame_offset": 59 },
        "key": { "name": "Key", "docs": "", "bytes": 13, "fields": [field("key", 0, 13)] },
        "value": { "name": "Value", "docs": "", "bytes": VALUES[version], "fields": fields },
    })
}

/// Writes a configuration for each set of schemas; their paths: the old one, both, the new one.
fn configurations(folder: &Path) -> [String; 3] {
    // Held until all are chosen, so that none is chosen twice.
    let held: Vec<UdpSocket> = (0..10).map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port")).collect();
    let mut ports = held.iter().map(|socket| socket.local_addr().expect("an address"));
    let mut next = || ports.next().expect("there are enough");
    let mut text = format!(
        "cluster = \"lab\"\n[coordination]\nkind = \"static\"\naddress = \"{}\"\ndetection = \"500ms\"\n",
        next()
    );
    for node in 0..3 {
        let (requests, chain, admin) = (next(), next(), next());
        text += &format!(
            "[[node]]\nid = {node}\nrequests = \"{requests}\"\nchain = \"{chain}\"\nadmin = \"{admin}\"\n"
        );
    }
    text += "[[switch]]\nid = 1\naddress = \"127.0.0.1\"\n";
    for version in 0..2 {
        fs::write(folder.join(format!("{version}.json")), schema(version).to_string()).expect("a file");
    }
    [("old", r#"["0.json"]"#), ("both", r#"["0.json", "1.json"]"#), ("new", r#"["1.json"]"#)].map(
        |(name, schemas)| {
            let path = folder.join(format!("{name}.toml"));
            fs::write(&path, format!("{text}[[app]]\nschema = {schemas}\n")).expect("a file");
            path.to_str().expect("text").to_owned()
        },
    )
}

fn wait_until_whole(config: &str) {
    let until = Instant::now() + WHOLE_WITHIN;
    while !program().args(["status", "--config", config]).output().expect("it runs").status.success() {
        assert!(Instant::now() < until, "the cluster is not whole after {WHOLE_WITHIN:?}");
        sleep(Duration::from_millis(50));
    }
}

fn serve(config: &str, node: usize) -> Process {
    Process::start(&["serve", "--config", config, "--node", &node.to_string()])
}

/// Starts load in the newest schema of a configuration.
fn load(config: &str, seconds: u32) -> Child {
    let seconds = seconds.to_string();
    let arguments = ["bench", "--json", "--config", config, "--node", "1", "--seconds", &seconds];
    let mut command = program();
    command.args(arguments).args(["--keys", "500", "--rate", "2000"]).stdout(Stdio::piped());
    command.spawn().expect("it runs")
}

/// Every request was answered, and rightly.
fn check(load: Child) {
    let output = load.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(report["answers"].as_u64() > Some(1000), "{report}");
    assert_eq!(
        (&report["unanswered"], &report["wrong"], &report["nacks"]),
        (&json!(0), &json!(0), &json!({})),
        "{report}"
    );
}

#[test]
fn a_field_is_added_while_the_store_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [old, both, new] = configurations(folder.path());
    let _coordinator = Process::start(&["coordinate", "--config", &old]);
    let mut nodes: Vec<_> = (0..3).map(|node| Some(serve(&old, node))).collect();
    wait_until_whole(&old);
    let mut roll = |config: &str, which: &[usize]| {
        for node in which {
            nodes[*node].take().expect("it runs").terminate();
            nodes[*node] = Some(serve(config, *node));
            wait_until_whole(config);
        }
    };
    // The load asks node 1, which passes on what it is not the head for.
    let during = load(&old, 8);
    sleep(Duration::from_secs(2));
    roll(&both, &[0, 2]);
    check(during);
    roll(&both, &[1]);
    check(load(&new, 1));
    check(load(&old, 1));
    roll(&new, &[0, 1, 2]);
    check(load(&new, 1));
    let dump = program().args(["dump", "--config", &new]).output().expect("it runs").stdout;
    assert_eq!(String::from_utf8(dump).expect("text").lines().count(), 500, "records of both schemas");
}
