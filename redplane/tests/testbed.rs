//! A testbed, where there is root for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use redplane::Emitted;
use redplane::linux::{PacketSocket, Port, Tap};
use redplane::switch::config::SwitchFile;
use redplane::switch::metrics;
use redplane::testbed::namespace::Namespace;
use redplane::testbed::topology::{DataPlane, Topology};
use redplane::testbed::wire::Impairment;
use redplane::testbed::{METRICS, Process, Testbed};

/// Whether these tests cannot run here, which is said past the test harness: it shows what failed tests print only.
fn skipped() -> bool {
    redplane::testbed::missing().is_some_and(|missing| is_said(&format!("{missing}: a testbed")))
}

fn is_said(missing: &str) -> bool {
    writeln!(std::io::stderr(), "SKIPPED: {missing}").expect("there is somewhere to say it");
    true
}

/// Two namespaces with a cable between them.
struct Cable([Namespace; 2]);

impl Cable {
    fn lay(name: &str) -> Self {
        let ends = [1, 2].map(|end| Namespace::named(format!("t{name}{end}")));
        for end in &ends {
            end.remove().expect("an old one can be removed");
            end.create().expect("a namespace can be made");
        }
        let mut ip = Command::new("ip");
        ip.args(["link", "add", "left", "netns", ends[0].name(), "type", "veth"]);
        assert!(
            ip.args(["peer", "name", "right", "netns", ends[1].name()])
                .status()
                .expect("ip starts")
                .success()
        );
        ends[0].ip("addr add 10.0.0.1/24 dev left\nlink set left up\n").expect("one end");
        ends[1].ip("link set right up\n").expect("the other end");
        Cable(ends)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.0.iter().for_each(|end| end.remove().expect("it can be removed"));
    }
}

fn heard(socket: &mut PacketSocket, is_it: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let (mut frames, end) = (Vec::new(), std::time::Instant::now() + Duration::from_secs(10));
    while std::time::Instant::now() < end {
        let received = socket.receive(|frame| frames.push(frame.to_vec())).expect("the interface is there");
        if received == 0 && frames.iter().any(|frame| is_it(frame)) {
            break;
        }
    }
    frames.retain(|frame| is_it(frame));
    frames
}

#[test]
fn frames_come_out_as_they_went_in() {
    if skipped() {
        return;
    }
    let cable = Cable::lay("frame");
    let open = |end: usize, name: &'static str| {
        cable.0[end].within(|| PacketSocket::open(name)).expect("the namespace is there").expect("it opens")
    };
    let (left, mut right) = (open(0, "left"), open(1, "right"));
    let is_ours = |frame: &[u8]| frame.starts_with(&[2, 0, 0, 0, 0, 9]);
    // With a VLAN tag, which Linux takes out of it; the last one is as long as the link takes.
    for (len, tag) in [(60, false), (64, true), (1514, false)] {
        let mut frame = vec![0x5a; len];
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8]);
        let kind: &[u8] = if tag { &[0x81, 0, 0x20, 7, 0x88, 0xb5] } else { &[0x88, 0xb5] };
        frame[12..12 + kind.len()].copy_from_slice(kind);
        assert_eq!(left.send([frame.as_slice()].into_iter()).sent, 1);
        assert_eq!(heard(&mut right, is_ours), [frame]);
    }
    // The ring goes round more than once.
    let frame = [&[2, 0, 0, 0, 0, 9][..], &[1; 54]].concat();
    for _ in 0..200 {
        left.send(std::iter::repeat_n(frame.as_slice(), 50));
        assert_eq!(heard(&mut right, is_ours).len(), 50);
    }
    // A frame that the link does not take is refused, and those behind it are not.
    let long = vec![2; 2000];
    let sent = left.send([frame.as_slice(), &long, &frame].into_iter());
    assert_eq!((sent.sent, sent.refused), (2, 1));
}

/// The kernel hands a packet over that a card would have to cut: it arrives in pieces, each with the right checksum.
#[test]
fn what_the_kernel_leaves_to_a_card_is_done() {
    if skipped() {
        return;
    }
    let cable = Cable::lay("gso");
    cable.0[0]
        .ip("neigh add 10.0.0.2 lladdr 02:00:00:00:00:09 dev left nud permanent\n")
        .expect("a neighbour");
    let opened = cable.0[1].within(|| PacketSocket::open("right")).expect("the namespace is there");
    let mut socket = opened.expect("it opens");
    cable.0[0]
        .within(|| {
            let sender = UdpSocket::bind("10.0.0.1:9").expect("an address of ours");
            setsockopt(&sender, sockopt::UdpGsoSegment, &1000).expect("the kernel segments");
            sender.send_to(&[7; 10_500], "10.0.0.2:9").expect("it is sent");
        })
        .expect("the namespace is there");
    let frames = heard(&mut socket, |frame| frame.starts_with(&[2, 0, 0, 0, 0, 9]));
    let lens: Vec<_> = frames.iter().map(|frame| frame.len() - 42).collect();
    assert_eq!(lens, [[1000; 10].as_slice(), &[500]].concat());
    for frame in frames {
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).expect("a frame");
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!("no UDP") };
        let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { panic!("no IPv4") };
        let computed = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
        assert_eq!(udp.checksum(), computed.expect("not too long"));
    }
}

/// A TAP port is the other end of an interface of the kernel's own.
#[test]
fn a_tap_device_is_a_port() {
    if skipped() {
        return;
    }
    let cable = Cable::lay("tap");
    let here = &cable.0[0];
    let made = here.within(|| Tap::create("tap0", 1500)).expect("the namespace is there");
    let mut tap = Port::Tap(made.expect("a TAP device"));
    here.ip("addr add 10.1.0.1/24 dev tap0\nlink set tap0 address 02:00:00:00:00:01\nlink set tap0 up\n\
         neigh add 10.1.0.2 lladdr 02:00:00:00:00:09 dev tap0 nud permanent\n")
        .expect("an address");
    let host = here.within(|| UdpSocket::bind("10.1.0.1:9").expect("an address of ours"));
    let host = host.expect("the namespace is there");
    host.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    host.send_to(b"there", "10.1.0.2:7").expect("it is sent");
    let mut frames = Vec::new();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while frames.is_empty() && std::time::Instant::now() < end {
        let mut keep = |frame: &[u8]| {
            if frame.starts_with(&[2, 0, 0, 0, 0, 9]) {
                frames.push(frame.to_vec());
            }
        };
        tap.receive(&mut keep).expect("the device is there");
    }
    let mut frame = frames.pop().expect("a frame came out");
    assert!(frame.ends_with(b"there"));
    // The same back: both addresses of each layer change places, and no checksum changes by that.
    for (a, b, len) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
        for at in 0..len {
            frame.swap(a + at, b + at);
        }
    }
    assert_eq!(tap.send([frame.as_slice()].into_iter()).sent, 1);
    let mut buffer = [0; 16];
    let (len, from) = host.recv_from(&mut buffer).expect("it comes back");
    assert_eq!((&buffer[..len], from.to_string().as_str()), (&b"there"[..], "10.1.0.2:7"));
}

const NAT: Emitted = Emitted {
    schema: include_str!("../../p4-out/nat/schema.json"),
    v1model: include_str!("../../p4-out/nat/v1model/nat.p4"),
    entries: include_str!("../../p4-out/nat/v1model/entries.json"),
};

/// An example under another name.
fn topology(text: &str, name: &str) -> Topology {
    let mut topology = Topology::parse(text).expect("the example is sound");
    name.clone_into(&mut topology.name);
    // A machine that runs other tests too is slow.
    topology.lease_ms = 500;
    topology
}

fn start(topology: Topology, emitted: Emitted) -> Testbed {
    let program = Path::new(env!("CARGO_BIN_EXE_redplane"));
    Testbed::start(topology, program, emitted).expect("the testbed starts")
}

/// A connection to a server that sends back what it gets.
struct Echo {
    stream: TcpStream,
    sent: u8,
    server: JoinHandle<anyhow::Result<String>>,
}

impl Echo {
    /// `listens` is where the server listens, `connects` where the client finds it.
    fn open(server: (&Namespace, &'static str), client: (&Namespace, &str)) -> Self {
        let ((at, listens), (from, connects)) = (server, client);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let server = at.spawn("server", move || {
            let listener = TcpListener::bind(listens)?;
            ready.send(())?;
            let (mut stream, from) = listener.accept()?;
            std::io::copy(&mut stream.try_clone()?, &mut stream)?;
            Ok(from.ip().to_string())
        });
        is_ready.recv().expect("the server listens");
        let address: SocketAddr = connects.parse().expect("an address");
        let timeout = Duration::from_secs(20);
        let connected = from.within(|| TcpStream::connect_timeout(&address, timeout));
        let stream = connected.expect("the namespace is there").expect("the app lets it through");
        stream.set_read_timeout(Some(timeout)).expect("a timeout");
        Echo { stream, sent: 0, server: server.expect("the namespace is there") }
    }

    fn is_alive(&mut self) {
        for _ in 0..3 {
            self.sent += 1;
            self.stream.write_all(&[self.sent]).expect("it is sent");
            let mut answer = [0];
            self.stream.read_exact(&mut answer).expect("it is answered");
            assert_eq!(answer, [self.sent]);
        }
    }

    /// Ends it; which address the server saw.
    fn end(self) -> String {
        drop(self.stream);
        self.server.join().expect("no panic").expect("the server ends well")
    }
}

/// One connection of the kernel's through everything that can be done to a testbed.
#[test]
fn a_connection_outlives_its_switches_and_a_node_of_the_store() {
    if skipped() {
        return;
    }
    let mut topology = topology(include_str!("../examples/nat.toml"), "test");
    let cable = "switch = 1\nport = \"inside\"\nimpairment = { delay_ms = 20 }\n";
    topology.cable = vec![toml::from_str(cable).expect("a cable")];
    let mut testbed = start(topology, NAT);
    let network = testbed.network();
    let server = "198.51.100.1:7";
    let mut echo = Echo::open((&network.outside, server), (&network.inside, server));
    echo.is_alive();
    testbed.set_usable(1, false).expect("the routers use switch 1");
    let began = std::time::Instant::now();
    echo.is_alive();
    assert!(began.elapsed() >= Duration::from_millis(3 * 20), "each way through the cable takes 20 ms");
    let loss =
        Impairment { loss: 0.2, duplicate: 0.2, reorder: 0.3, jitter_ms: 5.0, ..Impairment::default() };
    testbed.impair(0, "inside", &loss).expect("the cable is one of those");
    echo.is_alive();
    testbed.impair(0, "inside", &Impairment::default()).expect("the cable is one of those");
    assert!(testbed.impair(1, "inside", &loss).is_err(), "that cable is not");
    check_metrics(&testbed);
    testbed.set_usable(1, true).expect("the routers use both");
    testbed.kill_switch(0).expect("switch 1 runs");
    echo.is_alive();
    testbed.restart_switch(0).expect("it starts again");
    testbed.kill_switch(1).expect("switch 2 runs");
    echo.is_alive();
    testbed.restart_switch(1).expect("it starts again");
    testbed.drain_switch(0).expect("switch 1 goes in peace");
    echo.is_alive();
    testbed.kill_store_node(0).expect("node 0 runs");
    testbed.restart_switch(0).expect("it starts again, and talks to another node");
    echo.is_alive();
    testbed.set_link(1, "store", false).expect("there is such a cable");
    echo.is_alive();
    testbed.set_link(1, "inside", false).expect("there is such a cable");
    testbed.set_link(1, "store", true).expect("it is up again");
    assert!(!testbed.is_usable(1), "one of its cables is still dark");
    echo.is_alive();
    testbed.set_link(1, "inside", true).expect("it is up again");
    assert!(testbed.is_usable(1));
    testbed.check().expect("all that should run does");
    let counted = testbed.count(0).expect("it answers");
    assert!(counted["packets"]["transmitted"].as_u64() > Some(0), "{counted}");
    assert!(testbed.set_link(1, "north", true).is_err(), "there is no such cable");
    assert!(testbed.kill_switch(0).is_ok() && testbed.kill_switch(0).is_err(), "it dies once");
    echo.is_alive();
    assert_eq!(echo.end(), "203.0.113.1", "the server sees the NAT's address");
    let store = testbed.network().store.clone();
    drop(testbed);
    assert!(!store.exists(), "nothing is left");
}

/// A connection of the kernel's from outside to inside that stays while each switch is killed in turn.
fn outlives_its_switches(
    text: &str,
    emitted: Emitted,
    (name, plane): (&str, DataPlane),
    (listens, connects): (&'static str, &str),
) {
    if skipped() {
        return;
    }
    if plane == DataPlane::Bmv2 && redplane_bmv2::missing().is_some_and(|missing| is_said(&missing)) {
        return;
    }
    let mut topology = topology(text, name);
    topology.data_plane = plane;
    let mut testbed = start(topology, emitted);
    let network = testbed.network();
    let mut echo = Echo::open((&network.inside, listens), (&network.outside, connects));
    echo.is_alive();
    testbed.kill_switch(0).expect("switch 1 runs");
    echo.is_alive();
    testbed.restart_switch(0).expect("it starts again");
    testbed.kill_switch(1).expect("switch 2 runs");
    echo.is_alive();
    testbed.check().expect("all that should run does");
    echo.end();
}

/// The answer of the kernel's own TCP within this time, through whichever switch the routers use.
fn connects(testbed: &Testbed, within: Duration) -> bool {
    let address: SocketAddr = "198.51.100.1:7".parse().expect("an address");
    let connected = testbed.network().inside.within(|| TcpStream::connect_timeout(&address, within));
    connected.expect("the namespace is there").is_ok()
}

/// What is answered to a path at this address of a namespace.
fn get(namespace: &Namespace, address: &str, path: &str) -> String {
    let scrape = || {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it is sent");
        std::io::read_to_string(stream).expect("it answers")
    };
    namespace.within(scrape).expect("the namespace is there")
}

/// The number behind a metric with this label, or without one; zero if there is none.
fn number(page: &str, name: &str, label: &str) -> u64 {
    let line = page.lines().find(|line| line.starts_with(name) && line.contains(label));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

/// Messages that node 0 of the store threw away for their codes.
fn unauthenticated(testbed: &Testbed) -> u64 {
    let page = get(&testbed.network().store, "127.0.0.1:9090", "/metrics");
    number(&page, "redplane_store_gate_drops_total", "\"unauthenticated\"")
}

/// A switch shows what it counts, in the words of the guide.
fn check_metrics(testbed: &Testbed) {
    let address = METRICS.to_string();
    let namespace = &testbed.network().switches[0];
    let page = get(namespace, &address, "/metrics");
    assert!(page.starts_with("HTTP/1.0 200 OK") && page.contains("text/plain; version=0.0.4"), "{page}");
    for metric in metrics::METRICS {
        for line in [
            format!("# HELP {} {}", metric.name, metric.help),
            format!("# TYPE {} {}", metric.name, metric.kind.name()),
        ] {
            assert!(page.lines().any(|other| other == line), "{line}: {page}");
        }
    }
    let read = |name: &str, label: &str| number(&page, &format!("redplane_switch_{name}"), label);
    for port in 1..=3 {
        let label = format!("{{port=\"{port}\"}}");
        assert!(read("port_received_packets_total", &label) > 0, "{page}");
        assert!(read("port_sent_packets_total", &label) > 0, "{page}");
    }
    assert!(read("sent_messages_total", "kind=\"lease\"") > 0, "{page}");
    assert!(read("received_messages_total", "kind=\"grant\"") > 0, "{page}");
    assert!(read("received_messages_total", "kind=\"lease\"") == 0, "{page}");
    assert!(read("suspended_packets_total ", "") > 0 && read("resumed_packets_total ", "") > 0, "{page}");
    assert!(read("held_slots ", "") > 0, "{page}");
    assert_eq!(read("slots ", ""), 65_536);
    assert!(
        page.contains("\nredplane_switch_dropped_packets_total{reason=\"protocol_unauthenticated\"} 0\n")
    );
    assert!(get(namespace, &address, "/").starts_with("HTTP/1.0 404"));
}

/// The right key opens, another does not, and on the way from one to the next both do.
#[test]
fn a_switch_needs_the_stores_key() {
    if skipped() {
        return;
    }
    let (right, next, wrong) = ("0".repeat(32), "1".repeat(32), "2".repeat(32));
    let mut topology = topology(include_str!("../examples/nat.toml"), "tkey");
    let keys = |keys: &[&str]| toml::from_str(&format!("keys = {keys:?}")).expect("they are keys");
    topology.authentication = Some(keys(&[&right, &next]));
    let mut testbed = start(topology, NAT);
    testbed.set_usable(1, false).expect("the routers use switch 1");
    let network = testbed.network();
    let server = "198.51.100.1:7";
    let mut echo = Echo::open((&network.outside, server), (&network.inside, server));
    echo.is_alive();
    echo.end();
    assert_eq!(unauthenticated(&testbed), 0);

    // From within the store's network, but without a key.
    let forge = || {
        let socket = UdpSocket::bind((redplane::testbed::network::store_address(0), 0))?;
        socket.send_to(&[0x5a; 80], (redplane::testbed::network::switch_address(0), 21072))
    };
    let sent = testbed.network().store.within(forge).expect("the namespace is there");
    assert_eq!(sent.expect("it is sent"), 80);
    let is_counted = || testbed.count(0).expect("it answers")["drops"]["protocol_unauthenticated"] == 1;
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !is_counted() {
        assert!(std::time::Instant::now() < end, "{}", testbed.count(0).expect("it answers"));
        std::thread::sleep(Duration::from_millis(5));
    }

    let path = testbed.folder().join("s1.toml");
    let file = SwitchFile::load(&path).expect("the testbed wrote it");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else reads its keys");
    testbed.drain_switch(0).expect("switch 1 goes in peace");
    for (own, opens) in [(vec![wrong.as_str()], false), (vec![&next, &right], true)] {
        let file = SwitchFile { authentication: Some(keys(&own)), ..file.clone() };
        std::fs::write(&path, toml::to_string(&file).expect("it is written")).expect("it is written");
        let mut command = testbed.network().switches[0].command(Path::new(env!("CARGO_BIN_EXE_redplane")));
        command.arg("switch").arg("--config").arg(&path);
        let mut process =
            Process::start(&mut command, &testbed.folder().join("other.log")).expect("it starts");
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while testbed.count(0).is_err() {
            assert!(!process.has_ended() && std::time::Instant::now() < end, "it is not up");
            std::thread::sleep(Duration::from_millis(5));
        }
        testbed.set_usable(0, true).expect("the routers use switch 1");
        let (patience, before) = (Duration::from_secs(if opens { 20 } else { 3 }), unauthenticated(&testbed));
        let listener = testbed.network().outside.within(|| TcpListener::bind(server));
        let _listener = listener.expect("the namespace is there").expect("it listens");
        assert_eq!(connects(&testbed, patience), opens);
        assert_eq!(unauthenticated(&testbed) > before, !opens);
        testbed.set_usable(0, false).expect("the routers use none");
        process.terminate(Duration::from_secs(5)).expect("it ends");
    }
}

const FIREWALL: Emitted = Emitted {
    schema: include_str!("../../p4-out/firewall/schema.json"),
    v1model: include_str!("../../p4-out/firewall/v1model/firewall.p4"),
    entries: include_str!("../../p4-out/firewall/v1model/entries.json"),
};

const LOAD_BALANCER: Emitted = Emitted {
    schema: include_str!("../../p4-out/load_balancer/schema.json"),
    v1model: include_str!("../../p4-out/load_balancer/v1model/load_balancer.p4"),
    entries: include_str!("../../p4-out/load_balancer/v1model/entries.json"),
};

/// A host outside opens a connection to one inside that an operator's rule has published.
#[test]
fn a_connection_through_the_firewall_outlives_its_switches() {
    let topology = include_str!("../examples/firewall.toml");
    for plane in [("tfw", DataPlane::Software), ("tfwb", DataPlane::Bmv2)] {
        let ways = ("10.7.0.2:8081", "10.7.0.2:8081");
        outlives_its_switches(topology, FIREWALL, plane, ways);
    }
}

/// Whichever backend is chosen: all of them are one host here.
#[test]
fn a_connection_through_the_load_balancer_outlives_its_switches() {
    let topology = include_str!("../examples/load_balancer.toml");
    for plane in [("tlb", DataPlane::Software), ("tlbb", DataPlane::Bmv2)] {
        let ways = ("0.0.0.0:8080", "203.0.113.10:80");
        outlives_its_switches(topology, LOAD_BALANCER, plane, ways);
    }
}
