//! `--pcap`: a capture through the NAT, with its state in a store within this process.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{NextHop, Output, Route, StorePath, Switch, SwitchConfig};
use redplane_sdk::protocol::chain::{Configuration, NodeId};
use redplane_sdk::protocol::node::{Destination, Node, Shard};
use redplane_sdk::protocol::{Lease, SwitchIdentity, Ticks, Time};
use redplane_sdk::{App as _, app};
use serde::Serialize;

use super::capture::{self, Writer};
use super::connection::Micros;
use super::datagram::Datagram;
use crate::nat::{App, Pool, Tables};

const INSIDE: u16 = 0;
const OUTSIDE: u16 = 1;
const STORE: u16 = 2;

const SWITCH_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const STORE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Ports that the NAT gives away: all but the well-known ones (RFC 6335).
pub const PORTS: (u16, u16) = (1024, 65_535);

/// Longest step of time between two frames that is taken at its word; a damaged timestamp may say anything.
const STEP_MAX: Micros = 24 * 3600 * 1_000_000;

/// Rounds of messages for one frame. One lease takes two; a hairpin four.
const ROUNDS_MAX: usize = 16;

/// What became of the frames.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Name of the app.
    pub app: &'static str,
    /// Frames of the files.
    pub frames: Frames,
    /// Leases that the store gave, companions not counted.
    pub leases: u64,
    /// Dropped frames, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// Frames of the files.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Frames {
    /// In the input.
    pub read: u64,
    /// In the output.
    pub written: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frames { read, written } = self.frames;
        writeln!(f, "{}: {read} frames read, {written} written, {} leases", self.app, self.leases)?;
        for (reason, count) in &self.dropped {
            writeln!(f, "  dropped: {reason:<24}{count:>10}")?;
        }
        Ok(())
    }
}

/// Runs the frames of `input` through the NAT, each at its own time, and writes what leaves it to `output`.
///
/// A frame whose source is within one of the `inside` prefixes comes in from inside, any other from outside.
///
/// # Errors
/// If a file cannot be read or written, or a prefix is none.
pub fn run(input: &Path, output: &Path, inside: &[String], public: Ipv4Addr) -> Result<Counts> {
    let prefixes = inside.iter().map(|text| parse_prefix(text)).collect::<Result<Vec<_>>>()?;
    let frames = capture::read(input)?;
    let mut writer = Writer::create(output)?;
    let pool = Pool { addresses: vec![public], first_port: PORTS.0, last_port: PORTS.1 };
    let mut nat = Nat::new(&prefixes, pool)?;
    let mut counts = Counts { app: App::NAME, ..Counts::default() };
    let mut last = frames.first().map_or(Default::default(), |frame| frame.at);
    let mut now: Micros = 0;
    for frame in &frames {
        let step = frame.at.saturating_sub(last).as_micros();
        now += Micros::try_from(step).unwrap_or(STEP_MAX).min(STEP_MAX);
        last = last.max(frame.at);
        nat.advance(now);
        for bytes in nat.translate(&frame.bytes) {
            writer.write(frame.at, &bytes)?;
            counts.frames.written += 1;
        }
    }
    writer.finish()?;
    counts.frames.read = frames.len() as u64;
    counts.leases = nat.store.statistics().generations;
    counts.dropped = nat.dropped();
    Ok(counts)
}

/// `10.0.0.0/8`.
fn parse_prefix(text: &str) -> Result<(Ipv4Addr, u8)> {
    let parsed =
        text.split_once('/').and_then(|(addr, length)| Some((addr.parse().ok()?, length.parse().ok()?)));
    match parsed {
        Some((addr, length)) if length <= 32 => Ok((addr, length)),
        _ => bail!("`{text}` is no prefix; write it like 10.0.0.0/8"),
    }
}

/// The NAT in one place: a switch, and a store of one node.
pub struct Nat {
    switch: Switch<App>,
    store: Node,
    output: Output,
    now: Micros,
}

impl Nat {
    /// A NAT for the hosts within the `inside` prefixes, which gives away the `pool`.
    ///
    /// # Errors
    /// If a prefix is none, or there are too many.
    pub fn new(inside: &[(Ipv4Addr, u8)], pool: Pool) -> Result<Nat> {
        let lease = Lease::default();
        let mut tables = Tables::default();
        for (prefix, length) in inside {
            let insert = tables.inside.insert(*prefix, *length, true);
            insert.with_context(|| format!("inside prefix {prefix}/{length}"))?;
        }
        for address in &pool.addresses {
            tables.public.insert(*address, 32, true).with_context(|| format!("public address {address}"))?;
        }
        let config = config(lease, inside);
        let shard = Shard { index: 0, count: 1 };
        let mut store = Node::new(NodeId(0), shard, lease, vec![app::creator::<App>(pool)]);
        let alone = Configuration { epoch: 1, members: vec![NodeId(0)], joining: None };
        store.reconfigure(alone, Time(0));
        let switch = Switch::new(config, tables, Ticks::from_micros(0))?;
        Ok(Nat { switch, store, output: Output::new(), now: 0 })
    }

    /// Moves the clock to `now`, and lets all deadlines before it pass.
    pub fn advance(&mut self, now: Micros) {
        while let Some(next) = self.next_deadline().filter(|next| *next <= now) {
            self.now = next.max(self.now);
            self.store.handle_timeout(Time(self.now));
            self.switch.handle_timeout(Ticks::from_micros(self.now), &mut self.output);
            // Nothing that leaves by a deadline carries a packet of the capture.
            self.exchange(&mut Vec::new());
        }
        self.now = now;
    }

    fn next_deadline(&self) -> Option<Micros> {
        let ticks = self.switch.poll_timeout().0.wrapping_sub(Ticks::from_micros(self.now).0);
        // A deadline that is past would be half a wrap away.
        let switch = if ticks < 1 << 31 { ((self.now >> 10) + u64::from(ticks)) << 10 } else { self.now + 1 };
        let store = self.store.poll_timeout().map_or(u64::MAX, |time| time.0);
        Some(switch.min(store))
    }

    /// The frames that leave the NAT because of this one.
    pub fn translate(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let mut left = Vec::new();
        let from_inside = redplane_sdk::packet::Packet::parse(frame).is_ok_and(|packet| {
            packet.ipv4.is_some_and(|ipv4| self.switch.tables_mut().inside.lookup(ipv4.src))
        });
        let port = if from_inside { INSIDE } else { OUTSIDE };
        self.switch.process(port, frame, Ticks::from_micros(self.now), &mut self.output);
        self.exchange(&mut left);
        left
    }

    /// Dropped frames, by reason.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        let dropped = self.switch.statistics().drops().filter(|(_, count)| *count > 0);
        dropped.map(|(reason, count)| (reason.to_owned(), count)).collect()
    }

    /// Carries messages between switch and store until both are silent.
    fn exchange(&mut self, left: &mut Vec<Vec<u8>>) {
        for _ in 0..ROUNDS_MAX {
            for (port, bytes) in self.output.iter() {
                match (port, Datagram::parse(bytes)) {
                    (STORE, Some(request)) => {
                        self.store.handle_request(request.from, request.payload, Time(self.now));
                    }
                    _ => left.push(bytes.to_vec()),
                }
            }
            self.output.clear();
            let from = SocketAddrV4::new(STORE_ADDRESS, redplane_sdk::protocol::wire::UDP_PORT);
            while let Some(transmit) = self.store.poll_transmit() {
                if let Destination::Switch(to) = transmit.to {
                    let answer = Datagram { from, to, payload: &transmit.bytes }.to_frame([0; 6], [0; 6]);
                    self.switch.process(STORE, &answer, Ticks::from_micros(self.now), &mut self.output);
                }
            }
            if self.output.is_empty() {
                return;
            }
        }
    }
}

fn config(lease: Lease, inside: &[(Ipv4Addr, u8)]) -> SwitchConfig {
    let mac = |last| MacAddr::new([0x02, 0, 0, 0, 0, last]);
    let next_hop =
        |port: u16| NextHop { port, source: mac(1 + port as u8), destination: mac(0xf1 + port as u8) };
    let outside = Route { prefix: Ipv4Addr::UNSPECIFIED, length: 0, next_hop: next_hop(OUTSIDE) };
    let inside = inside.iter().map(|(prefix, length)| Route {
        prefix: *prefix,
        length: *length,
        next_hop: next_hop(INSIDE),
    });
    SwitchConfig {
        identity: SwitchIdentity { switch: 1, incarnation: 1 },
        mac: mac(1),
        address: SWITCH_ADDRESS,
        lease,
        stores: vec![StorePath { address: STORE_ADDRESS, mac: mac(0xfa), port: STORE }],
        store_facing_ports: vec![STORE],
        routes: std::iter::once(outside).chain(inside).collect(),
        store_mtu: u16::MAX,
    }
}
