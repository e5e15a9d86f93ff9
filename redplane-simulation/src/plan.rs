//! What a seed decides before anything moves: the system's size, its clocks, and how bad everything is.

use std::time::Duration;

use backend_store::NodeClock;
use redplane_protocol::Lease;
use redplane_sdk::net::{Clock, Random};

use crate::history::Micros;
use crate::link::Link;

/// Most switches, and nodes of the store's chain.
pub const SWITCHES_MAX: usize = 3;
/// Nodes of the store's chain: the paper's *f* + 1 with *f* = 2.
pub const NODES: usize = 3;

/// By how much, in thousandths, the clocks may differ in speed: what the switches are told.
const DRIFT_MARGIN: u16 = 20;

/// Each clock is off by at most this. Two of them differ by less than half of [`DRIFT_MARGIN`]: the other half is for
/// the steps of the nodes' clocks.
const DRIFT: i16 = 4;

/// Speed of the clocks where the assumption is broken: the switches' and the nodes'.
const DRIFT_BROKEN: (i16, i16) = (-200, 200);

/// Microseconds of a switch's clock until its 32 bits of ticks wrap.
const WRAP: u64 = 1 << 42;

/// How long a switch or node is gone, a link is cut, or a node suspected, at most.
pub const OUTAGE_MAX: Micros = 300_000;

/// How often a plan is about nodes that come and go.
const CHURN_PROBABILITY: f64 = 0.3;

/// How often a plan is about switches that boot again and again.
const REBOOT_PROBABILITY: f64 = 0.3;

/// What the network and the clocks are allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Assumptions {
    /// All that the protocol leans on holds.
    #[default]
    Kept,
    /// Clocks differ by more than declared. Local reads may be stale then; nothing that was written may be lost.
    ClocksBroken,
    /// Links deliver frames with flipped bits, as if Ethernet had no check sequence. Nothing may panic; that is all.
    BitsFlipped,
}

impl Assumptions {
    /// All of them.
    pub const ALL: [Assumptions; 3] =
        [Assumptions::Kept, Assumptions::ClocksBroken, Assumptions::BitsFlipped];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Assumptions::Kept => "kept",
            Assumptions::ClocksBroken => "clocks-broken",
            Assumptions::BitsFlipped => "bits-flipped",
        }
    }
}

/// How often discrete faults come: the mean time between two, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// A switch dies, and comes back.
    pub kill_switch: Option<Micros>,
    /// A switch stands still.
    pub pause_switch: Option<Micros>,
    /// A switch gives all its leases back.
    pub drain_switch: Option<Micros>,
    /// A node of the store dies, and joins again.
    pub kill_node: Option<Micros>,
    /// A node of the store is taken for dead.
    pub suspect_node: Option<Micros>,
    /// Some links are cut, in one or both directions.
    pub partition: Option<Micros>,
    /// A clock steps forward.
    pub step_clock: Option<Micros>,
    /// Flows move to other switches.
    pub rehash: Option<Micros>,
    /// The hosts are silent for so long that records are deleted.
    pub silence: Option<Micros>,
    /// Somebody sends the store a switch's message as if it were another's, with another value.
    pub forge: Option<Micros>,
}

/// What a seed decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// What is allowed to happen.
    pub assumptions: Assumptions,
    /// How many switches there are.
    pub switches: usize,
    /// How many shards the store has.
    pub shards: u16,
    /// How long a switch may act on a key.
    pub lease: Lease,
    /// For how long hosts send and faults happen.
    pub duration: Micros,
    /// Mean time between two packets of the hosts.
    pub gap: Micros,
    /// How many keys there are.
    pub keys: u32,
    /// How many of 100 packets write.
    pub writes_percent: u64,
    /// How many of 100 packets go to any switch, not to that of their flow.
    pub spray_percent: u64,
    /// Links between switches and store.
    pub store_link: Link,
    /// Links within the chain.
    pub chain_link: Link,
    /// Links from the hosts.
    pub host_link: Link,
    /// The switches' clocks.
    pub switch_clocks: [Clock; SWITCHES_MAX],
    /// The clocks of the store's nodes: each its own.
    pub node_clocks: [NodeClock; NODES],
    /// How long a switch is gone, at most: sometimes shorter than what it sent is under way.
    pub switch_outage: Micros,
    /// How long a node of the store is gone, or suspected, at most.
    pub node_outage: Micros,
    /// How long the store takes to see that a node is dead.
    pub detection: Duration,
    /// The store gave so many generations before that their number is about to wrap.
    pub aged: bool,
    /// Discrete faults.
    pub rates: Rates,
}

impl Plan {
    /// The plan of a seed.
    ///
    /// Every fault is left out of about half of all plans: a system in which everything always fails gets nowhere, and
    /// shows nothing (swarm testing, Groce et al. 2012).
    #[must_use]
    pub fn new(seed: u64, assumptions: Assumptions) -> Plan {
        let mut random = Random::new(seed ^ 0x706c_616e);
        let lease = Duration::from_millis(20 + random.below(80));
        let lease = Lease::new(lease, DRIFT_MARGIN).expect("a lease of 20 to 100 ms can be counted");
        let flips = assumptions == Assumptions::BitsFlipped;
        let link = |random: &mut Random, delay| Link::draw(random, delay, flips);
        let mut clock = |broken: i16, wraps: bool| {
            let drift = random.below(2 * u64::from(DRIFT.unsigned_abs()) + 1) as i16 - DRIFT;
            let kept = assumptions != Assumptions::ClocksBroken;
            let near_wrap = wraps && random.chance(0.3);
            let offset = if near_wrap { WRAP - random.below(2_000_000) } else { random.below(1 << 36) };
            Clock { offset, drift_per_mille: if kept { drift } else { broken } }
        };
        let switch_clocks = [(); SWITCHES_MAX].map(|()| clock(DRIFT_BROKEN.0, true));
        let node_clocks = [(); NODES].map(|()| {
            let Clock { offset, drift_per_mille } = clock(DRIFT_BROKEN.1, false);
            NodeClock { offset, drift_per_mille }
        });
        let mut plan = Plan {
            seed,
            assumptions,
            switches: 2 + random.below(SWITCHES_MAX as u64 - 1) as usize,
            shards: 1 + random.below(2) as u16,
            lease,
            duration: 300_000 + random.below(700_000),
            gap: 200 + random.below(1800),
            keys: 1 + random.below(6) as u32,
            writes_percent: [10, 50, 90][random.below(3) as usize],
            spray_percent: [0, 10, 50][random.below(3) as usize],
            store_link: link(&mut random, 10),
            chain_link: link(&mut random, 5),
            host_link: link(&mut random, 20),
            switch_clocks,
            node_clocks,
            switch_outage: OUTAGE_MAX,
            node_outage: OUTAGE_MAX,
            detection: Duration::from_millis(1 + random.below(50)),
            aged: random.chance(0.2),
            rates: Rates::draw(&mut random),
        };
        if random.chance(CHURN_PROBABILITY) {
            plan.churn(&mut random);
        }
        if random.chance(REBOOT_PROBABILITY) {
            plan.reboot(&mut random);
        }
        plan
    }

    /// Switches are back before what their former lives sent has arrived.
    ///
    /// The chain is the slow part, as when its nodes stand in different places: an answer takes as long as several
    /// requests, so that a request of a former life arrives while the present life's answer is on its way. Packets are so
    /// far apart that one answer is all that is on its way.
    fn reboot(&mut self, random: &mut Random) {
        self.switch_outage = 500;
        let kill_switch = Some(10_000 + random.below(60_000));
        // Nothing else fails: what was lost, or recalled for another reason, would not be late.
        self.rates = Rates { kill_switch, ..Rates::default() };
        let late = Link { straggler_probability: 0.15, ..Link::default() };
        self.store_link = Link { delay: 10, jitter: 1_000, ..late };
        self.chain_link = Link { delay: 5, jitter: 3_000 + random.below(4_000), ..late };
        self.duration = 1_000_000;
        self.gap = 1_000 + random.below(1_500);
        self.keys = 1 + random.below(3) as u32;
        self.writes_percent = 30;
        self.spray_percent = 100;
    }

    /// Nodes of the store come and go faster than what they sent to each other arrives, and what switches send them.
    fn churn(&mut self, random: &mut Random) {
        self.node_outage = 8_000;
        self.detection = Duration::from_micros(500);
        self.rates.kill_node = Some(3_000 + random.below(20_000));
        self.rates.suspect_node = Some(3_000 + random.below(20_000));
        self.chain_link.straggler_probability = 0.2;
        self.chain_link.loss_probability = 0.2;
        self.chain_link.jitter = 2_000;
        self.store_link.jitter = 2_000;
        self.gap = 1_000;
        self.spray_percent = 100;
    }

    /// The lease in microseconds.
    #[must_use]
    pub fn lease_micros(&self) -> Micros {
        self.lease.duration().as_micros() as Micros
    }
}

impl Rates {
    fn draw(random: &mut Random) -> Rates {
        let mut rate = |often: f64, least: Micros, more: Micros| {
            random.chance(often).then(|| least + random.below(more))
        };
        Rates {
            kill_switch: rate(0.5, 50_000, 400_000),
            pause_switch: rate(0.3, 50_000, 400_000),
            drain_switch: rate(0.2, 50_000, 400_000),
            kill_node: rate(0.5, 50_000, 400_000),
            suspect_node: rate(0.3, 50_000, 400_000),
            partition: rate(0.5, 50_000, 300_000),
            step_clock: rate(0.3, 20_000, 200_000),
            rehash: rate(0.8, 5_000, 200_000),
            silence: rate(0.2, 200_000, 400_000),
            forge: rate(0.2, 5_000, 50_000),
        }
    }
}
