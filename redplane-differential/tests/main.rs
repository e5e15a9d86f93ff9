//! The comparison itself: that it runs, that it covers, and that it finds what is put in.

use std::io::Write;
use std::process::{Command, Output};

use redplane_codegen::build;
use redplane_codegen::interpret::branches;
use redplane_codegen::packet::HEADERS;
use redplane_differential::breakage::{BREAKAGES, broken};
use redplane_differential::reach::{reachable, shapes};
use redplane_differential::{cable, values};
use redplane_sdk::packet::Packet;

fn differential(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_differential")).args(arguments).output().expect("it was built")
}

/// What keeps BMv2 from taking part here, said if so.
fn skipped() -> bool {
    let missing = redplane_bmv2::missing().or_else(cable::missing);
    if let Some(missing) = &missing {
        // Not by `println!`: the harness shows that of failed tests only.
        writeln!(std::io::stderr(), "SKIPPED: {missing}").expect("there is somewhere to say it");
    }
    missing.is_some()
}

#[test]
fn native_and_ir_agree_and_every_branch_is_gone() {
    let output = differential(&["--without-bmv2", "--packets", "30000"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(": 0 differences;"), "{said}");
}

#[test]
fn bmv2_agrees() {
    if skipped() {
        return;
    }
    let output = differential(&["--packets", "1500", "--seed", "7"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("BMv2"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn mistakes_in_the_p4_are_found() {
    if skipped() {
        return;
    }
    let in_nat = ["operator", "checksum", "recall", "renew"].map(|mistake| ("nat", mistake));
    let in_cache = ["own_field", "own_sum", "own_edge"].map(|mistake| ("cache", mistake));
    for (app, mistake) in in_nat.into_iter().chain(in_cache) {
        let output = differential(&["--app", app, "--packets", "4000", "--break", mistake]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains("DIFFERENCE: seed"), "{mistake}: {said}");
        let again = format!("again: cargo xtask differential --app {app} --seed");
        assert!(said.contains(&again), "{mistake}: {said}");
    }
}

#[test]
fn there_is_a_place_for_every_mistake() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("it is kept there");
    let nat = read("p4-out/nat/v1model/nat.p4");
    let cache = read("redplane-codegen/tests/fixtures/cache/cache.p4");
    for (name, ..) in BREAKAGES {
        let p4 = if name.starts_with("own_") { &cache } else { &nat };
        let broken = broken(p4, name).unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(&broken, p4, "{name}");
    }
    assert!(broken(&nat, "none").is_err());
}

/// A handler with branches that no packet can go, and some that only one shape can.
const SOURCE: &str = r#"
#[redplane_sdk::app(id = 9)]
pub mod maze {
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Host { pub addr: Ipv4Addr }

    #[state(key = Host, slots = 16, idle = "1s")]
    pub struct Seen { pub packets: u8 }

    #[handler]
    pub fn wander(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let small = ip.ttl < 10;
        if let Some(tcp) = &pkt.tcp {
            if pkt.icmp.is_some() {
                return cx.drop("never");
            }
            if ip.protocol == 17 {
                return cx.drop("never");
            }
        }
        let mut seen = cx.seen.lease(Host { addr: ip.src })?;
        if small && ip.ttl < 10 {
            seen.packets = 1;
        }
        if small {
            if seen.packets == 2 && small {
                return cx.drop("two");
            }
            if seen.packets == 2 {
                return cx.drop("never");
            }
        }
        cx.forward()
    }
}
"#;

#[test]
fn what_no_packet_can_do_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("maze.rs");
    std::fs::write(&path, SOURCE).expect("it is written");
    let apps = build::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let lines = branches(&apps[0]).into_iter().map(|stmt| stmt.span.start().line);
    let found: Vec<_> = lines.zip(reachable(&apps[0])).collect();
    let ways = |line: usize| {
        let here = found.iter().filter(|(at, _)| *at == line).map(|(_, ways)| *ways);
        here.collect::<Vec<_>>()
    };
    assert_eq!(ways(14), [[true, true]], "IPv4 or not: {found:?}");
    assert_eq!(ways(16), [[true, true]], "TCP or not: {found:?}");
    assert_eq!(ways(17), [[true, false]], "TCP is not ICMP: {found:?}");
    assert_eq!(ways(20), [[true, false]], "nor UDP: {found:?}");
    assert_eq!(ways(25), [[true, true]], "a local is remembered: {found:?}");
    assert_eq!(ways(32), [[true, false]], "what is known of one side says something of the other: {found:?}");
}

#[test]
fn a_packet_has_a_shape_of_the_graph() {
    let shapes = shapes(HEADERS);
    assert!(shapes.len() > 20, "{}", shapes.len());
    let mut frame = vec![2; 12];
    frame.extend([0x86, 0xdd, 0x60]);
    frame.resize(14 + 40, 0);
    let packet = Packet::parse(&frame).expect("an IPv6 packet");
    let headers = values::headers(HEADERS, &packet);
    let there: Vec<bool> = headers.iter().map(Option::is_some).collect();
    assert!(shapes.iter().any(|shape| shape.iter().map(Option::is_some).collect::<Vec<_>>() == there));
    let mut again = packet.clone();
    values::set_headers(HEADERS, &mut again, &headers);
    assert_eq!(again, packet);
}
