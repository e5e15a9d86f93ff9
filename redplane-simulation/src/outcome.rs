//! What came of a run.

use backend_store::EmbeddedStatistics;
use redplane_protocol::NackReason;
use redplane_sdk::App;
use redplane_sdk::pipeline::Switch;

use crate::finding::Finding;
use crate::history::Micros;

/// What came of one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Frames that came to an end, deadlines, packets of the hosts, faults.
    pub events: u64,
    /// Virtual time that went by.
    pub micros: Micros,
    /// Of every event: equal for equal runs.
    pub hash: u64,
    /// The first thing that must not be.
    pub finding: Option<Finding>,
    /// A history that is only explained by stale reads, where clocks were allowed to be that wrong.
    pub stale_read: Option<Finding>,
    /// How often the interesting things happened.
    pub sometimes: Sometimes,
}

macro_rules! sometimes {
    ($($(#[$docs:meta])* $name:ident,)*) => {
        /// How often the interesting things happened: a check that never saw them has shown nothing.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Sometimes {
            $($(#[$docs])* pub $name: u64,)*
        }

        impl Sometimes {
            /// Adds another run's.
            pub fn add(&mut self, other: &Sometimes) {
                $(self.$name += other.$name;)*
            }

            /// Each with its name.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

sometimes! {
    /// Switches that died.
    switches_killed,
    /// Switches that stood still.
    switches_paused,
    /// Store nodes that died.
    nodes_killed,
    /// Store nodes that were taken for dead.
    nodes_suspected,
    /// Cut links.
    partitions,
    /// Steps of switches' clocks.
    clocks_stepped,
    /// Steps of the clocks of store nodes.
    node_clocks_stepped,
    /// Messages that somebody sent in the name of another switch.
    forged,
    /// Packets that left a switch.
    transmitted,
    /// Packets that waited in the store for their state.
    suspended,
    /// Packets that waited in the store for their write.
    held,
    /// Grants installed.
    installed,
    /// Grants too late to be installed.
    outdated,
    /// Slots taken from another key that was held.
    overwritten,
    /// Writes sent again.
    retransmitted,
    /// Leases given back because the store asked.
    recalled,
    /// Requests of a generation that was over.
    fenced,
    /// Heads that were followed by others.
    promotions,
    /// Joined nodes that got all of their copy.
    copies_completed,
    /// Records made.
    created,
    /// Records deleted.
    deleted,
    /// Records that the app refused to make.
    refused,
}

impl Sometimes {
    pub(crate) fn take_switch<A: App>(&mut self, switch: &Switch<A>) {
        let (statistics, slots) = (switch.statistics(), switch.slots().statistics());
        self.transmitted += statistics.transmitted;
        self.suspended += statistics.suspended;
        self.held += statistics.held;
        self.installed += slots.installed;
        self.outdated += slots.outdated;
        self.overwritten += slots.overwritten;
        self.retransmitted += slots.retransmitted;
        self.recalled += slots.recalled;
    }

    pub(crate) fn take_store(&mut self, statistics: &EmbeddedStatistics) {
        let nacks = &statistics.protocol.nacks;
        self.fenced += nacks.get(&NackReason::Stale).copied().unwrap_or_default();
        self.refused += nacks.get(&NackReason::Refused).copied().unwrap_or_default();
        self.promotions += statistics.promotions;
        self.copies_completed += statistics.copies_completed;
        self.created += statistics.protocol.created;
        self.deleted += statistics.protocol.deleted;
    }
}
