//! `--pcap`: kernel traffic through the NAT, checked by two programs that know nothing of ours.

use std::path::Path;
use std::process::Command;

use apps::demo::capture::{self, Frame};

use super::checksums::wrong;
use super::run::{fixture, is_there, program, text};

const PUBLIC: &str = "203.0.113.1";

fn is_ipv4(frame: &Frame) -> bool {
    frame.bytes[12..14] == [8, 0]
}

fn translated(directory: &str) -> String {
    let (path, output) = program(directory, &["--pcap", &fixture("kernel.pcap"), "--out", "out.pcap"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path.join("out.pcap").to_str().unwrap().to_owned()
}

#[test]
fn kernel_traffic_comes_out_whole() {
    let output = translated("kernel");
    let before = capture::read(fixture("kernel.pcap").as_ref()).unwrap();
    let after = capture::read(Path::new(&output)).unwrap();
    assert_eq!(after.len(), before.iter().filter(|frame| is_ipv4(frame)).count());
    for (number, frame) in after.iter().enumerate() {
        assert_eq!(wrong(&frame.bytes), [] as [String; 0], "frame {}", number + 1);
    }
    for (new, old) in after.iter().zip(before.iter().filter(|frame| is_ipv4(frame))) {
        assert_eq!(new.at, old.at);
        assert_eq!(new.bytes.len(), old.bytes.len());
        assert_eq!(new.bytes[22], old.bytes[22] - 1, "TTL");
    }
}

#[test]
fn scapy_agrees() {
    if !is_there("/usr/bin/python3", &["-c", "import scapy"]) {
        return;
    }
    let script = format!("{}/tests/check_pcap.py", env!("CARGO_MANIFEST_DIR"));
    let out = translated("scapy");
    let arguments = [&script, &fixture("kernel.pcap"), &out, PUBLIC, "10.0.0.0/8"];
    let check = Command::new("/usr/bin/python3").args(arguments).output().unwrap();
    assert!(check.status.success(), "{}", text(&check));
    println!("{}", text(&check));
}

#[test]
fn counts_are_by_reason() {
    let (_, output) = program("counts", &["--json", "--pcap", &fixture("kernel.pcap"), "--out", "out.pcap"]);
    let counts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts["frames"]["read"], 82);
    assert_eq!(counts["frames"]["written"], 79);
    assert_eq!(counts["dropped"]["not_ipv4"], 3);
}

#[test]
fn what_cannot_be_read_is_an_error_not_a_panic() {
    for arguments in [
        &["--pcap", "absent.pcap", "--out", "out.pcap"][..],
        &["--pcap", &fixture("README.md"), "--out", "out.pcap"],
        &["--pcap", &fixture("kernel.pcap"), "--out", "absent/out.pcap"],
        &["--pcap", &fixture("kernel.pcap"), "--out", "out.pcap", "--inside", "10.0.0.1/8"],
        &["--pcap", &fixture("kernel.pcap")],
        &["router"],
    ] {
        let (_, output) = program("errors", arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.starts_with("error: ") && !message.contains("panicked"), "{message}");
        assert!(output.stdout.is_empty());
    }
}
