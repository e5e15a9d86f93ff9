//! A balancer whose backends change while it has connections, and whose switches and store fail.

use std::sync::{Arc, RwLock};

use anyhow::{Context as _, Result};
use redplane_sdk::net::Random;
use serde::Serialize;

use super::SEED;
use super::subject::{BACKENDS_MAX, LoadBalancer, backend, goes_on, open};
use crate::load_balancer::Backend;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Churn {
    /// Connections that were opened.
    pub connections: u32,
    /// Changes of the set of backends.
    pub changes: u32,
    /// Switches and heads of the store that died.
    pub failovers: u32,
    /// Looks at a connection.
    pub looks: u64,
    /// Looks at one that had another backend, or none.
    pub moved: u64,
    /// Backends that served at some time.
    pub backends: usize,
}

/// Opens so many connections in equal parts between the changes, and looks at all of them after each failover and at the
/// end, at some after each change.
///
/// # Errors
/// If a connection cannot be opened.
pub fn run(connections: u32, changes: u32, failovers: u32) -> Result<Churn> {
    let mut random = Random::new(SEED);
    let pools = Arc::new(RwLock::new(LoadBalancer::pools((0..6).map(|number| backend(number, 2)).collect())));
    let mut place = LoadBalancer::live(Arc::clone(&pools))?;
    let mut churn = Churn { connections, ..Churn::default() };
    let mut opened = Vec::new();
    let steps = changes + 1;
    for step in 0..steps {
        for number in
            opened.len() as u32..(u64::from(connections) * u64::from(step + 1) / u64::from(steps)) as u32
        {
            let at = random.below(2) as usize;
            opened.push(open::<LoadBalancer>(&mut place, number, at).context("a connection was not opened")?);
        }
        if step < changes {
            change(
                &mut pools.write().expect("nobody panics while changing it").services[0].backends,
                step,
                &mut random,
            );
            churn.changes += 1;
        }
        let due = u64::from(step + 1) * u64::from(failovers) / u64::from(steps);
        let fails = due > u64::from(churn.failovers);
        if fails {
            churn.failovers += 1;
            if churn.failovers.is_multiple_of(3) {
                place.replace_head()?;
            } else {
                place.reboot(step as usize % 2)?;
            }
        }
        let every = if fails || step == changes { 1 } else { 10 };
        for connection in opened.iter().step_by(every) {
            churn.looks += 1;
            churn.moved +=
                u64::from(!goes_on::<LoadBalancer>(&mut place, connection, random.below(2) as usize));
        }
    }
    let backends: std::collections::BTreeSet<_> = opened.iter().map(|opened| opened.outward.1).collect();
    churn.backends = backends.len();
    Ok(churn)
}

/// Adds, drains, removes, or weighs anew, in turn.
fn change(backends: &mut Vec<Backend>, step: u32, random: &mut Random) {
    let any = random.below(backends.len() as u64) as usize;
    match step % 4 {
        0 => backends.push(backend((6 + step as u8) % BACKENDS_MAX, 1 + random.below(4) as u8)),
        1 => backends[any].weight = 0,
        2 => drop(backends.remove(any)),
        _ => backends[any].weight = 1 + random.below(4) as u8,
    }
}
