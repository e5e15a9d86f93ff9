//! A scan of the firewall: packets that nobody asked for, among established connections and through failures.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use redplane_sdk::net::Random;
use serde::Serialize;

use super::SEED;
use super::subject::{Firewall, Opened, PREFIX, Subject, client, goes_on, open};
use crate::demo::place::{OUTSIDE, Place};
use crate::firewall::App;
use redplane_lab::frame::{End, datagram, flag, message, segment};

/// Connections that are established, and used all the while.
const ESTABLISHED: u32 = 200;
/// The scan between two looks at all of them.
const BETWEEN: u32 = 10_000;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// Packets that nobody asked for.
    pub packets: u32,
    /// Those that got inside.
    pub passed: u64,
    /// Records that they made in the store.
    pub records_made: u64,
    /// Established connections.
    pub established: u32,
    /// Looks at one of them.
    pub looks: u64,
    /// Looks at one that did not go on.
    pub harmed: u64,
    /// Switches and heads of the store that died meanwhile.
    pub failures: u32,
}

/// Scans with so many packets.
///
/// # Errors
/// If a connection cannot be established.
pub fn run(packets: u32) -> Result<Scan> {
    over(Firewall::place()?, packets)
}

/// Scans this firewall.
///
/// # Errors
/// If a connection cannot be established.
pub fn over(mut place: Place<App>, packets: u32) -> Result<Scan> {
    let mut random = Random::new(SEED);
    let mut scan = Scan { established: ESTABLISHED, ..Scan::default() };
    let connections =
        (0..ESTABLISHED).map(|number| open::<Firewall>(&mut place, number, number as usize % 2));
    let connections: Vec<Opened> =
        connections.collect::<Option<_>>().context("a connection was not opened")?;
    let before = place.records_created();
    while scan.packets < packets {
        for _ in 0..BETWEEN.min(packets - scan.packets) {
            scan.packets += 1;
            let frame = unsolicited(&mut random);
            let left = place.process(random.below(2) as usize, OUTSIDE, &frame);
            scan.passed += left.len() as u64;
        }
        scan.passed += place.advance(place.now() + 10_000).len() as u64;
        fail(&mut place, &mut scan, packets)?;
        for opened in &connections {
            scan.looks += 1;
            scan.harmed += u64::from(!goes_on::<Firewall>(&mut place, opened, random.below(2) as usize));
        }
    }
    scan.records_made = place.records_created() - before;
    Ok(scan)
}

/// At the first and the third quarter a switch dies, in the middle the head of the store.
fn fail(place: &mut Place<App>, scan: &mut Scan, packets: u32) -> Result<()> {
    let due = u64::from(scan.packets) * 4 / u64::from(packets).max(1);
    if due > u64::from(scan.failures) && scan.failures < 3 {
        scan.failures += 1;
        match scan.failures {
            2 => place.replace_head()?,
            odd => place.reboot(odd as usize / 2)?,
        }
    }
    Ok(())
}

/// Something that is no part of any connection: to ends that have one, and to others.
fn unsolicited(random: &mut Random) -> Vec<u8> {
    let (host, port) = client(PREFIX.0, random.below(u64::from(2 * ESTABLISHED)) as u32);
    // The server of the connections is 198.51.100.1: this is somebody else.
    let stranger = (Ipv4Addr::from(0xc633_6402 + random.below(200) as u32), 1 + random.below(65_000) as u16);
    let target: End = if random.below(4) == 0 { (host, random.below(65_536) as u16) } else { (host, port) };
    match random.below(8) {
        0 => datagram(stranger, target),
        1 => message(stranger.0, host, [0, 8, 13][random.below(3) as usize], &[1, 2, 0, 1]),
        2 => {
            let quoted = segment(target, stranger, flag::ACK, 0);
            message(stranger.0, host, 3, &[&[0; 4], &quoted[14..]].concat())
        }
        _ => {
            let flags = [flag::SYN, flag::ACK, flag::SYN | flag::ACK, flag::FIN | flag::ACK, flag::RST, 0];
            segment(stranger, target, flags[random.below(6) as usize], 0)
        }
    }
}
