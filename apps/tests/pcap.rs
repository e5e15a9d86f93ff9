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

/// As the same traffic would look on a link without a NAT: what inside sends as it was, what it gets translated.
#[test]
fn a_capture_from_a_link_without_nat_goes_through_too() {
    let beside = translated("beside");
    let before = capture::read(fixture("kernel.pcap").as_ref()).unwrap();
    let after = capture::read(Path::new(&beside)).unwrap();
    let (path, _) = program("without", &["--version"]);
    let link = path.join("link.pcap");
    let mut writer = capture::Writer::create(&link).unwrap();
    for (old, new) in before.iter().filter(|frame| is_ipv4(frame)).zip(&after) {
        let from_inside = old.bytes[26] == 10;
        writer.write(old.at, if from_inside { &old.bytes } else { &new.bytes }).unwrap();
    }
    writer.finish().unwrap();
    let (_, output) = program("without", &["--json", "--pcap", "link.pcap", "--out", "out.pcap"]);
    let counts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts["frames"]["written"], 79);
    assert!(counts["frames"]["readdressed"].as_u64() > Some(30));
    let out = path.join("out.pcap");
    let translated = capture::read(&out).unwrap();
    for (number, (again, first)) in translated.iter().zip(&after).enumerate() {
        assert_eq!(wrong(&again.bytes), [] as [String; 0], "frame {}", number + 1);
        // Addresses and ports are those of the first run; the TTL of what came in is one less, twice.
        assert_eq!(again.bytes[26..34], first.bytes[26..34], "frame {}", number + 1);
        assert_eq!(again.bytes[34..].len(), first.bytes[34..].len());
    }
    if is_there("/usr/bin/python3", &["-c", "import scapy"]) {
        check_with_scapy(link.to_str().unwrap(), out.to_str().unwrap());
    }
}

fn check_with_scapy(before: &str, after: &str) {
    let script = format!("{}/tests/check_pcap.py", env!("CARGO_MANIFEST_DIR"));
    let check = Command::new("/usr/bin/python3")
        .args([&script, before, after, PUBLIC, "10.0.0.0/8"])
        .output()
        .unwrap();
    assert!(check.status.success(), "{}{}", text(&check), String::from_utf8_lossy(&check.stderr));
    println!("{}", text(&check));
}

#[test]
fn scapy_agrees() {
    if !is_there("/usr/bin/python3", &["-c", "import scapy"]) {
        return;
    }
    check_with_scapy(&fixture("kernel.pcap"), &translated("scapy"));
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
