//! Failovers: a switch dies, another one carries on, again and again; sometimes it is the head of the store that dies.

use anyhow::{Context as _, Result};
use redplane_sdk::net::Random;
use serde::Serialize;

use super::SEED;
use super::subject::{Subject, goes_on, open};

/// Connections that are opened before each failover.
const OPENED: u32 = 5;
/// Connections that are looked at after each.
const LOOKED_AT: u64 = 10;
/// One failover of so many is the store's.
const OF_STORE: u32 = 10;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failovers {
    /// Failures.
    pub failovers: u32,
    /// Connections that were opened.
    pub opened: u32,
    /// Looks at a connection.
    pub looks: u64,
    /// Connections that did not go on, or with another end.
    pub lost: u64,
}

/// Lets so many failures happen.
///
/// # Errors
/// If a connection cannot be opened.
pub fn run<S: Subject>(failovers: u32) -> Result<Failovers> {
    let mut random = Random::new(SEED);
    let mut place = S::place()?;
    let mut connections = Vec::new();
    let mut outcome = Failovers::default();
    for turn in 0..failovers {
        let at = random.below(2) as usize;
        for _ in 0..OPENED {
            let opened = open::<S>(&mut place, outcome.opened, at).context("a connection was not opened")?;
            connections.push(opened);
            outcome.opened += 1;
        }
        if turn % OF_STORE == OF_STORE - 1 {
            place.replace_head()?;
        } else {
            place.reboot(at)?;
        }
        outcome.failovers += 1;
        // The newest ones, which the failure hit, and some that have been through more.
        let newest = connections.len().saturating_sub(OPENED as usize)..connections.len();
        let others = (0..LOOKED_AT).map(|_| random.below(connections.len() as u64) as usize);
        let looked_at: Vec<usize> = newest.chain(others).collect();
        for index in looked_at {
            let at = random.below(2) as usize;
            outcome.looks += 1;
            outcome.lost += u64::from(!goes_on::<S>(&mut place, &connections[index], at));
        }
    }
    Ok(outcome)
}
