//! `--pcap`: a capture through the NAT, with its state in a store within this process.
//!
//! The capture may come from beside a NAT, with replies to its public address, or from a link without one, with replies
//! to the hosts themselves. There the other side would have answered to the public end, had a NAT been in between, so
//! such a frame is addressed to that end before it goes in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use redplane_sdk::packet::Packet;
use redplane_sdk::protocol::Fixed;
use redplane_sdk::{App as _, app};
use serde::Serialize;

use super::capture::{self, Writer};
use super::connection::Micros;
use super::place::{self, INSIDE, OUTSIDE, Place};
use crate::nat::{App, Binding, Endpoint, Pool, Tables};

/// Ports that the NAT gives away: all but the well-known ones (RFC 6335).
pub const PORTS: (u16, u16) = (1024, 65_535);

/// Longest step of time between two frames that is taken at its word; a damaged timestamp may say anything.
const STEP_MAX: Micros = 24 * 3600 * 1_000_000;

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
    /// From outside to an inside host, and sent to its public end instead.
    pub readdressed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frames { read, written, readdressed } = self.frames;
        writeln!(f, "{}: {read} frames read, {written} written, {} leases", self.app, self.leases)?;
        if readdressed > 0 {
            writeln!(
                f,
                "  {readdressed} were answers to inside hosts, and went to their public ends instead"
            )?;
        }
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
    counts.frames.readdressed = nat.readdressed;
    counts.leases = nat.place.store().statistics().protocol.generations;
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

/// The NAT in one place: a switch and its store.
pub struct Nat {
    place: Place<App>,
    readdressed: u64,
}

impl Nat {
    /// A NAT for the hosts within the `inside` prefixes, which gives away the `pool`.
    ///
    /// # Errors
    /// If a prefix is none, or there are too many.
    pub fn new(inside: &[(Ipv4Addr, u8)], pool: Pool) -> Result<Nat> {
        let mut tables = Tables::default();
        for (prefix, length) in inside {
            let insert = tables.inside.insert(*prefix, *length, true);
            insert.with_context(|| format!("inside prefix {prefix}/{length}"))?;
        }
        for address in &pool.addresses {
            tables.public.insert(*address, 32, true).with_context(|| format!("public address {address}"))?;
        }
        let creator: backend_store::AppFactory = Box::new(move || app::creator::<App>(pool.clone()));
        Ok(Nat { place: Place::new(1, tables, place::routes(inside), creator)?, readdressed: 0 })
    }

    /// Moves the clock to `now`, and lets all deadlines before it pass. Nothing that leaves by a deadline carries a packet
    /// of the capture.
    pub fn advance(&mut self, now: Micros) {
        self.place.advance(now);
    }

    /// The frames that leave the NAT because of this one.
    pub fn translate(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let packet = Packet::parse(frame).ok();
        let from_inside =
            packet.as_ref().is_some_and(|packet| self.is_inside(packet.ipv4.map(|ipv4| ipv4.src)));
        let readdressed =
            if from_inside { None } else { packet.and_then(|packet| self.readdress(packet, frame)) };
        self.readdressed += u64::from(readdressed.is_some());
        let port = if from_inside { INSIDE } else { OUTSIDE };
        let left = self.place.process(0, port, readdressed.as_deref().unwrap_or(frame));
        left.into_iter().map(|(_, frame)| frame).collect()
    }

    fn is_inside(&mut self, address: Option<Ipv4Addr>) -> bool {
        address.is_some_and(|address| self.place.switch_mut(0).tables_mut().inside.lookup(address))
    }

    /// The same frame to the public end, if it is for an inside host that has one.
    fn readdress(&mut self, mut packet: Packet, frame: &[u8]) -> Option<Vec<u8>> {
        let ipv4 = packet.ipv4.as_mut()?;
        if !self.is_inside(Some(ipv4.dst)) {
            return None;
        }
        let quote = packet.inner_ipv4.as_mut();
        let (ports, echo) = match &quote {
            Some(_) => (packet.inner_ports.as_mut().map(|ports| &mut ports.src), packet.inner_icmp.as_mut()),
            None => (packet.ports.as_mut().map(|ports| &mut ports.dst), packet.icmp.as_mut()),
        };
        let port = ports.or(echo.map(|echo| &mut echo.identifier))?;
        let protocol = quote.as_ref().map_or(ipv4.protocol, |quote| quote.protocol);
        let mut key = [0; Endpoint::LEN];
        Endpoint { addr: ipv4.dst, port: *port, protocol }.encode(&mut key);
        let store = self.place.store();
        let record = store.record(store.head(0)?, App::ID, &key)?;
        let public = Binding::decode(&record.value);
        (ipv4.dst, *port) = (public.addr, public.port);
        if let Some(quote) = quote {
            quote.src = public.addr;
        }
        let mut readdressed = Vec::with_capacity(frame.len());
        packet.deparse(frame, &mut readdressed);
        Some(readdressed)
    }

    /// Dropped frames, by reason.
    #[must_use]
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        self.place.dropped(0)
    }
}
