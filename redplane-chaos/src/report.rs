//! What a drill found, in words.

use std::fmt::Write;
use std::time::Duration;

use crate::fault::Fault;
use crate::verdict::Verdict;

/// How much longer than the detection an outage may last: a new chain, and the first answer from it.
pub const OUTAGE_BEYOND_DETECTION: Duration = Duration::from_millis(100);

/// What one fault did.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Which.
    pub fault: Fault,
    /// On which node.
    pub node: usize,
    /// The longest time without an acknowledged write, from the fault until all was well again, of each shard.
    pub outages: Vec<Duration>,
    /// What they may be, if there is a bound.
    pub bound: Option<Duration>,
    /// From the fault until every chain was complete again.
    pub whole_after: Duration,
}

impl Strike {
    /// The longest outage.
    #[must_use]
    pub fn outage(&self) -> Duration {
        self.outages.iter().copied().max().unwrap_or_default()
    }

    /// Whether it was within its bound.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.bound.is_none_or(|bound| self.outage() <= bound)
    }

    /// In one line.
    #[must_use]
    pub fn line(&self) -> String {
        let outages: Vec<_> = self.outages.iter().map(|outage| outage.as_millis().to_string()).collect();
        let bound = match (self.bound, self.is_within()) {
            (None, _) => "no bound".to_owned(),
            (Some(bound), true) => format!("at most {}", bound.as_millis()),
            (Some(bound), false) => format!("MORE THAN {}", bound.as_millis()),
        };
        format!(
            "{:52} node {}  outage {:>9} ms ({bound})  whole after {:>5} ms",
            self.fault.to_string(),
            self.node,
            outages.join(" "),
            self.whole_after.as_millis()
        )
    }
}

/// What a drill found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its faults, in order.
    pub strikes: Vec<Strike>,
    /// What the checks of the history found.
    pub verdict: Verdict,
    /// Keys.
    pub keys: u32,
    /// Fewest writes that were acknowledged for one key.
    pub writes_min: u32,
    /// Writes acknowledged.
    pub writes: u64,
    /// Reads answered.
    pub reads: u64,
    /// Packets that were not answered.
    pub unanswered: u64,
    /// Leases that moved from one switch to another while they lived.
    pub recalled: u64,
    /// Writes that switches sent again.
    pub retransmitted: u64,
    /// How long the load lasted.
    pub lasted: Duration,
    /// How long the check took.
    pub checked_in: Duration,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.verdict.is_content() && self.strikes.iter().all(Strike::is_within)
    }

    /// Everything but the single faults, which were told one by one.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let seconds = self.lasted.as_secs_f64();
        let _ = writeln!(
            text,
            "{} keys, {} writes acknowledged (at least {} a key), {} reads, {} packets unanswered, {:.0} s, {:.0} a second",
            self.keys,
            self.writes,
            self.writes_min,
            self.reads,
            self.unanswered,
            seconds,
            (self.writes + self.reads) as f64 / seconds.max(0.001)
        );
        let _ = writeln!(
            text,
            "{} leases recalled, {} writes sent again, checked in {:.1} s",
            self.recalled,
            self.retransmitted,
            self.checked_in.as_secs_f64()
        );
        let late = self.strikes.iter().filter(|strike| !strike.is_within());
        for strike in late {
            let _ = writeln!(text, "outage out of bound: {}", strike.line());
        }
        let Verdict { not_linearizable, lost, unread, told } = &self.verdict;
        for one in told {
            let _ = writeln!(text, "  {one}");
        }
        let linearizable =
            if *not_linearizable == 0 { "yes".to_owned() } else { format!("NOT {not_linearizable} keys") };
        let bounded = self.strikes.iter().filter(|strike| strike.bound.is_some());
        let worst = bounded.map(Strike::outage).max().unwrap_or_default();
        let _ = writeln!(
            text,
            "{} faults, longest outage {} ms; linearizable: {linearizable}; keys with lost writes: {lost}; unread: {unread}",
            self.strikes.len(),
            worst.as_millis()
        );
        text
    }
}
