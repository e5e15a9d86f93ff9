//! Scopes: how much of everything a search may use.
//!
//! Every budget makes the space of states finite; a scope is complete when all of it was visited. Loss has no budget and
//! no action: a message that is lost is one that is never delivered.

use crate::clock::Pace;
use crate::history::Operation;
use crate::world::Sighting;

/// When a search looks whether everything still gets an answer once faults stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// In every state.
    Everywhere,
    /// In states with no message under way.
    AtRest,
}

/// What a search may use.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Name in commands and tables.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Switches. They come into use in order of their number: they are all alike.
    pub switches: u8,
    /// Slots of each; a power of two.
    pub slots: u32,
    /// Keys, which come into use in order as well.
    pub keys: u8,
    /// Nodes that make up the chain at the beginning.
    pub nodes: u16,
    /// Packets from hosts.
    pub packets: u8,
    /// What they may ask.
    pub operations: &'static [Operation],
    /// How many messages the network doubles.
    pub duplicates: u8,
    /// Rounds in which every clock takes a step.
    pub rounds: u8,
    /// Steps of a lease at the store's clock; one fewer at a switch's.
    pub lease_steps: u8,
    /// By how many steps more than the margin covers clocks may drift. Zero, except to show what it is good for.
    pub excess_drift: u8,
    /// How often a switch loses all and boots again.
    pub reboots: u8,
    /// How many switches die for good.
    pub deaths: u8,
    /// How many nodes crash. The last one that has everything never does.
    pub crashes: u8,
    /// How many nodes are taken out of the chain though they run on.
    pub suspicions: u8,
    /// How many nodes join. Their numbers are used again: first those that were taken out.
    pub joins: u8,
    /// How many messages an outsider forges.
    pub forgeries: u8,
    /// Whether switches sweep expired slots.
    pub sweeps: bool,
    /// How often a switch gives back all that it holds.
    pub drains: u8,
    /// After how many steps of the store's clock a record without lease and traffic is deleted, if ever.
    pub idle_steps: Option<u8>,
    /// Whether each record comes with a companion.
    pub companions: bool,
    /// Whether generation and sequence of the first key begin just before they wrap.
    pub near_wrap: bool,
    /// When to look for progress.
    pub progress: Progress,
    /// The boundary: states with more messages than this under way are not visited.
    pub in_flight_max: usize,
    /// What must happen somewhere in it, else the search looked at too little.
    pub expected: &'static [Sighting],
    /// Too large for every day.
    pub long: bool,
}

use Operation::{Increment, Read};

/// One switch, one node, nothing goes wrong. All others start from it.
const PLAIN: Scope = Scope {
    name: "plain",
    about: "one switch, one node, no faults",
    switches: 1,
    slots: 1,
    keys: 1,
    nodes: 1,
    packets: 2,
    operations: &[Increment, Read],
    duplicates: 0,
    rounds: 0,
    lease_steps: 2,
    excess_drift: 0,
    reboots: 0,
    deaths: 0,
    crashes: 0,
    suspicions: 0,
    joins: 0,
    forgeries: 0,
    sweeps: false,
    drains: 0,
    idle_steps: None,
    companions: false,
    near_wrap: false,
    progress: Progress::AtRest,
    in_flight_max: 12,
    expected: &[],
    long: false,
};

/// Every scope, small ones first.
pub const SCOPES: &[Scope] = &[
    PLAIN,
    Scope {
        name: "slots",
        about: "two keys share the only slot of two switches: tickets, recalls, evictions",
        switches: 2,
        keys: 2,
        packets: 3,
        duplicates: 1,
        in_flight_max: 3,
        expected: &[
            Sighting::Recall,
            Sighting::FencedWrite,
            Sighting::EvictedWithWrite,
            Sighting::OutdatedGrant,
        ],
        ..PLAIN
    },
    Scope {
        name: "lease",
        about: "leases that end and come late, at two switches",
        switches: 2,
        packets: 2,
        rounds: 2,
        in_flight_max: 4,
        expected: &[Sighting::Recall, Sighting::Retransmission, Sighting::LeaseRanOut],
        ..PLAIN
    },
    Scope {
        name: "renewal",
        about: "leases that are renewed",
        switches: 2,
        packets: 2,
        operations: &[Read],
        lease_steps: 3,
        rounds: 4,
        in_flight_max: 4,
        expected: &[Sighting::Recall, Sighting::Renewal, Sighting::LeaseRanOut],
        ..PLAIN
    },
    Scope {
        name: "death",
        about: "a switch dies for good, and another waits for its lease",
        switches: 2,
        packets: 2,
        operations: &[Increment],
        rounds: 2,
        deaths: 1,
        in_flight_max: 3,
        expected: &[Sighting::Recall, Sighting::LeaseRanOut],
        ..PLAIN
    },
    Scope {
        name: "reboot",
        about: "a switch loses its slots and asks again, messages of its former life under way",
        switches: 2,
        packets: 3,
        duplicates: 1,
        operations: &[Increment],
        reboots: 1,
        expected: &[Sighting::Recall, Sighting::Reboot],
        ..PLAIN
    },
    Scope {
        name: "forger",
        about: "an outsider writes, reads, renews and releases in the name of others",
        switches: 2,
        packets: 2,
        forgeries: 1,
        expected: &[Sighting::FencedWrite],
        ..PLAIN
    },
    Scope {
        name: "wrap",
        about: "generation and sequence wrap",
        switches: 2,
        packets: 3,
        near_wrap: true,
        nodes: 2,
        expected: &[Sighting::Recall],
        ..PLAIN
    },
    Scope {
        name: "chain",
        about: "two nodes, one of which crashes",
        nodes: 2,
        packets: 3,
        switches: 2,
        crashes: 1,
        expected: &[Sighting::Failover],
        ..PLAIN
    },
    Scope {
        name: "failover",
        about: "a head crashes while leases run",
        nodes: 2,
        packets: 2,
        switches: 2,
        operations: &[Increment],
        crashes: 1,
        rounds: 1,
        in_flight_max: 5,
        expected: &[Sighting::Failover, Sighting::Recall],
        ..PLAIN
    },
    Scope {
        name: "companions",
        about: "records that come with a companion, and a crash",
        nodes: 2,
        packets: 2,
        crashes: 1,
        companions: true,
        expected: &[Sighting::Failover],
        ..PLAIN
    },
    Scope {
        name: "rejoin",
        about: "nodes are taken out, rightly or not, and come back under their old numbers",
        nodes: 2,
        packets: 3,
        switches: 2,
        operations: &[Increment],
        crashes: 1,
        suspicions: 1,
        joins: 1,
        in_flight_max: 3,
        expected: &[Sighting::Failover, Sighting::Joined],
        ..PLAIN
    },
    Scope {
        name: "epochs",
        about: "two nodes crash and come back in turn, a chain message of the first epoch still under way",
        nodes: 2,
        packets: 1,
        operations: &[Increment],
        crashes: 2,
        joins: 2,
        expected: &[Sighting::Failover, Sighting::Joined],
        ..PLAIN
    },
    Scope {
        name: "deletion",
        about: "an idle record is deleted and made again",
        nodes: 2,
        packets: 2,
        operations: &[Increment],
        rounds: 2,
        idle_steps: Some(0),
        expected: &[Sighting::Deletion],
        ..PLAIN
    },
    Scope {
        name: "three-nodes",
        about: "a chain of three, one of which crashes or is taken out",
        nodes: 3,
        packets: 2,
        switches: 2,
        operations: &[Increment],
        crashes: 1,
        suspicions: 1,
        expected: &[Sighting::Failover],
        ..PLAIN
    },
    Scope {
        name: "three-switches",
        about: "three switches want one key",
        switches: 3,
        packets: 3,
        operations: &[Increment],
        expected: &[Sighting::Recall],
        ..PLAIN
    },
    Scope {
        name: "drain",
        about: "a switch gives back what it holds, and sweeps",
        switches: 2,
        packets: 2,
        rounds: 1,
        drains: 1,
        sweeps: true,
        in_flight_max: 4,
        expected: &[Sighting::Recall],
        ..PLAIN
    },
    Scope {
        name: "failover-long",
        about: "a head crashes while leases run out",
        nodes: 2,
        packets: 2,
        switches: 2,
        crashes: 1,
        rounds: 2,
        in_flight_max: 4,
        long: true,
        expected: &[Sighting::Failover, Sighting::LeaseRanOut],
        ..PLAIN
    },
    Scope {
        name: "lease-long",
        about: "leases that end, are renewed, and come late; a switch may die for good",
        switches: 2,
        packets: 3,
        lease_steps: 3,
        rounds: 4,
        deaths: 1,
        in_flight_max: 4,
        long: true,
        expected: &[Sighting::Recall, Sighting::Renewal, Sighting::LeaseRanOut],
        ..PLAIN
    },
    Scope {
        name: "long",
        about: "everything at once: two switches, two keys in one slot, two nodes, a crash, a reboot, a doubled message",
        switches: 2,
        keys: 2,
        nodes: 2,
        packets: 3,
        duplicates: 1,
        operations: &[Increment],
        reboots: 1,
        crashes: 1,
        long: true,
        expected: &[Sighting::Recall, Sighting::Failover],
        ..PLAIN
    },
];

impl Scope {
    pub(crate) fn pace(&self) -> Pace {
        Pace { lease_steps: self.lease_steps }
    }
}

/// The scope of that name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Scope> {
    SCOPES.iter().find(|scope| scope.name == name)
}
