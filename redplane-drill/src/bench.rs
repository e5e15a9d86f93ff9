//! How fast the data path is: small packets into one side of a switch, and how many come out of the other, against what the
//! kernel does with the same packets on the same cables.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use redplane::linux::PacketSocket;
use redplane::testbed::Testbed;
use redplane::testbed::namespace::Namespace;
use redplane::testbed::topology::DataPlane;
use serde::Serialize;

/// Flows that the packets belong to.
const FLOWS: u16 = 64;

/// Bytes of a packet's UDP payload: the smallest frame that Ethernet has.
const PAYLOAD_LEN: usize = 18;

/// Before it is counted: every flow has its state.
const WARM_UP: Duration = Duration::from_millis(1500);

/// Names of what is measured.
pub(crate) const SOFTWARE: &str = "software switch, NAT";
pub(crate) const BMV2: &str = "BMv2, NAT";
pub(crate) const NFTABLES: &str = "nftables, NAT";
pub(crate) const BRIDGE: &str = "Linux bridge";

/// Milliseconds of a lease: the paper's second.
const LEASE_MS: u64 = 1000;

/// What BMv2 is offered: a queue that is always full would show only how it drops.
const BMV2_LIMITS: [f64; 3] = [10_000.0, 20_000.0, 40_000.0];

/// Measures everything that is on this machine, in turn.
///
/// # Errors
/// If something does not start.
pub(crate) fn run(program: &std::path::Path, seconds: u64) -> anyhow::Result<Vec<Rate>> {
    let mut rates = Vec::new();
    {
        let testbed = crate::testbed(program, DataPlane::Software, LEASE_MS, 1)?;
        let path = path(&testbed);
        for senders in [1, 2] {
            rates.push(measure(SOFTWARE, &path, senders, None, seconds)?);
        }
    }
    match crate::bmv2_missing() {
        Some(missing) => println!("SKIPPED: BMv2: {missing}"),
        None => {
            let testbed = crate::testbed(program, DataPlane::Bmv2, LEASE_MS, 1)?;
            for limit in BMV2_LIMITS {
                rates.push(measure(BMV2, &path(&testbed), 1, Some(limit), seconds)?);
            }
        }
    }
    match crate::missing(&crate::rivals::PROGRAMS) {
        Some(missing) => println!("SKIPPED: nftables: {missing}"),
        None => {
            let linux = crate::rivals::Linux::start(false)?;
            let [entry, exit] = linux.ends();
            let path = Path { entry: (entry, "s1"), mac: linux.mac(0)?, exit: (exit, "s1") };
            for senders in [1, 2] {
                rates.push(measure(NFTABLES, &path, senders, None, seconds)?);
            }
        }
    }
    let bridge = crate::rivals::Bridge::start()?;
    let [entry, exit] = &bridge.ends;
    let path = Path { entry: (entry, "eth0"), mac: [2, 0, 0, 0, 0, 7], exit: (exit, "eth0") };
    for senders in [1, 2] {
        rates.push(measure(BRIDGE, &path, senders, None, seconds)?);
    }
    Ok(rates)
}

/// Through the only switch of a testbed.
fn path(testbed: &Testbed) -> Path<'_> {
    let [entry, exit] = testbed.network().routers();
    Path { entry: (entry, "s1"), mac: [2, 0, 0, 1, 1, 1], exit: (exit, "s1") }
}

/// Where packets go in and come out.
pub(crate) struct Path<'a> {
    /// Where they go in: the interface at the other end of the switch's cable.
    pub(crate) entry: (&'a Namespace, &'a str),
    /// Ethernet address of the switch on that cable.
    pub(crate) mac: [u8; 6],
    /// Where they come out.
    pub(crate) exit: (&'a Namespace, &'a str),
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rate {
    /// Of what.
    pub(crate) system: String,
    /// Threads that sent.
    pub(crate) senders: usize,
    /// Packets a second that were offered.
    pub(crate) offered: f64,
    /// Packets a second that came out.
    pub(crate) delivered: f64,
}

/// Sends as fast as the cable takes it, from so many threads, and counts for so long. `limit` is in packets a second.
///
/// # Errors
/// If a namespace or an interface is not there.
pub(crate) fn measure(
    system: &str,
    path: &Path<'_>,
    senders: usize,
    limit: Option<f64>,
    seconds: u64,
) -> anyhow::Result<Rate> {
    drop_what_comes(path.exit)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for sender in 0..senders {
        let (namespace, interface) = path.entry;
        let (interface, stop) = (interface.to_owned(), Arc::clone(&stop));
        let frames = frames(path.mac, sender as u16);
        threads.push(namespace.spawn("sender", move || {
            let socket = PacketSocket::open(&interface).with_context(|| interface.clone())?;
            Ok(send(&socket, &frames, limit.map(|limit| limit / senders as f64), &stop))
        })?);
    }
    std::thread::sleep(WARM_UP);
    let (began, before) = (Instant::now(), received(path.exit)?);
    std::thread::sleep(Duration::from_secs(seconds));
    let (delivered, took) = (received(path.exit)? - before, began.elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    let mut offered = 0.0;
    for thread in threads {
        offered += thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
    }
    Ok(Rate { system: system.to_owned(), senders, offered, delivered: delivered as f64 / took })
}

/// Sends until it is to stop; packets a second that the cable took.
fn send(socket: &PacketSocket, frames: &[Vec<u8>], limit: Option<f64>, stop: &AtomicBool) -> f64 {
    let (began, mut sent) = (Instant::now(), 0);
    // A queue of BMv2 has 64 places: what is limited comes in small portions.
    let portions = frames.chunks(if limit.is_some() { 8 } else { frames.len() });
    let mut portions = portions.cycle();
    while !stop.load(Ordering::Relaxed) {
        if limit.is_some_and(|limit| sent as f64 > limit * began.elapsed().as_secs_f64()) {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let Some(portion) = portions.next() else { break };
        sent += socket.send(portion.iter().map(Vec::as_slice)).sent;
    }
    sent as f64 / began.elapsed().as_secs_f64()
}

/// A frame of each flow of a sender.
fn frames(mac: [u8; 6], sender: u16) -> Vec<Vec<u8>> {
    let source = Ipv4Addr::new(10, 7, 0, 1).octets();
    let destination = Ipv4Addr::new(198, 51, 100, 1).octets();
    let frame = |flow: u16| {
        let mut frame = Vec::new();
        frame.extend_from_slice(&mac);
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
        let len = (20 + 8 + PAYLOAD_LEN) as u16;
        let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        ip.extend_from_slice(&source);
        ip.extend_from_slice(&destination);
        let checksum = redplane_sdk::checksum::checksum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        frame.extend_from_slice(&ip);
        frame.extend_from_slice(&(20_000 + sender * FLOWS + flow).to_be_bytes());
        frame.extend_from_slice(&9u16.to_be_bytes());
        frame.extend_from_slice(&(len - 20).to_be_bytes());
        frame.extend_from_slice(&[0; 2 + PAYLOAD_LEN]);
        frame
    };
    (0..FLOWS).map(frame).collect()
}

/// What comes out is counted, and then thrown away at the door: what the kernel would do with it is not what is measured.
fn drop_what_comes((namespace, interface): (&Namespace, &str)) -> anyhow::Result<()> {
    let mut nft = namespace.command("nft");
    let rules = format!(
        "table netdev sink {{ chain door {{ type filter hook ingress device \"{interface}\" priority 0; udp dport 9 drop; }}; }}"
    );
    let output = nft.arg(rules).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "nft: {said}");
    Ok(())
}

/// Frames that an interface received since it is there.
fn received((namespace, interface): (&Namespace, &str)) -> anyhow::Result<u64> {
    let text = namespace.within(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    packets.with_context(|| format!("{} has no interface {interface}", namespace.name()))
}
