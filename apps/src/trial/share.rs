//! How much of the traffic is replication, on a trace that is stated here.

use anyhow::{Context as _, Result};
pub use redplane_lab::Share;

use super::subject::{Subject, open};
use redplane_lab::frame::flag;

/// Connections, all at the same time.
const CONNECTIONS: u32 = 200;
/// Segments that each client sends, one every 10 ms; every other one is acknowledged.
const SEGMENTS: u32 = 1_000;
const INTERVAL_MICROS: u64 = 10_000;
/// Payload of a segment.
const PAYLOAD: usize = 1_460;

/// The trace in words.
pub const TRACE: &str =
    "200 TCP connections at once, each 1,000 segments of 1,460 bytes in 10 s, every other one acknowledged";

/// Carries the trace.
///
/// # Errors
/// If a connection cannot be opened.
pub fn run<S: Subject>() -> Result<Share> {
    let mut place = S::place()?;
    for number in 0..CONNECTIONS {
        open::<S>(&mut place, number, number as usize % 2).context("a connection was not opened")?;
    }
    for turn in 0..SEGMENTS {
        let now = place.now();
        for number in 0..CONNECTIONS {
            let at = number as usize % 2;
            let (port, data) = S::from_client(number, flag::ACK, PAYLOAD);
            let (_, arrived) = place.pass(at, port, &data).context("a segment was lost")?;
            if turn % 2 == 1 {
                let (port, ack) = S::from_server(&arrived, flag::ACK, 0);
                place.pass(at, port, &ack).context("a segment was lost")?;
            }
        }
        place.advance(now + INTERVAL_MICROS);
    }
    Ok(place.carried())
}
