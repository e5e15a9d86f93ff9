//! Trials of the apps: what the project says of them in numbers. Everything is virtual time and chance from a seed, so
//! the same trial gives the same numbers.

pub mod churn;
pub mod failover;
pub mod scan;
pub mod share;
mod subject;

use anyhow::Result;
use redplane_sdk::App as _;
use serde::Serialize;

use churn::Churn;
use failover::Failovers;
use scan::Scan;
use share::Share;
pub use subject::{Firewall, LoadBalancer, Nat, Subject};

/// Seed of all chance.
const SEED: u64 = 1;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Failovers of each app.
    pub failovers: u32,
    /// Packets of the scan.
    pub scan: u32,
    /// Connections of the balancer whose backends change.
    pub connections: u32,
}

impl Size {
    /// What is said of the apps rests on this.
    pub const FULL: Size = Size { failovers: 1_000, scan: 1_000_000, connections: 10_000 };
}

/// Changes of the balancer's backends.
const CHANGES: u32 = 20;
/// Failures meanwhile.
const FAILOVERS: u32 = 5;

/// What came of all trials.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// By app.
    pub apps: Vec<AppReport>,
    /// Of which the shares are.
    pub trace: &'static str,
    /// The firewall under a scan.
    pub scan: Scan,
    /// The balancer while its backends change.
    pub churn: Churn,
}

/// What came of one app's.
#[derive(Clone, Debug, Serialize)]
pub struct AppReport {
    /// Its name.
    pub app: &'static str,
    /// Switches and store die.
    pub failovers: Failovers,
    /// What the trace took.
    pub share: Share,
    /// Replication's share of all bytes.
    pub share_percent: f64,
}

/// Runs all of them.
///
/// # Errors
/// If a connection cannot be opened while nothing fails.
pub fn run(size: Size) -> Result<Report> {
    Ok(Report {
        apps: vec![of::<Nat>(size)?, of::<Firewall>(size)?, of::<LoadBalancer>(size)?],
        trace: share::TRACE,
        scan: scan::run(size.scan)?,
        churn: churn::run(size.connections, CHANGES, FAILOVERS)?,
    })
}

fn of<S: Subject>(size: Size) -> Result<AppReport> {
    let share = share::run::<S>()?;
    let failovers = failover::run::<S>(size.failovers)?;
    Ok(AppReport { app: S::App::NAME, failovers, share, share_percent: share.percent() })
}
