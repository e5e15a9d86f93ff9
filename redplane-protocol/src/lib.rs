//! The RedPlane replication protocol: wire codec and state machines of both ends.
//!
//! Source: Kim et al., "RedPlane: Enabling Fault-Tolerant Stateful In-Switch Applications", SIGCOMM 2021. All switches
//! together behave as one switch that never fails: an output packet leaves only when every state change that it
//! depends on is durable on the whole chain.
//!
//! No sockets, no clock, no runtime: bytes and time come in as arguments, bytes and deadlines go out. A switch keeps a
//! [`SlotTable`], a store node is a [`Node`] per shard.
//!
//! # The way of a packet
//!
//! 1. [`SlotTable::lookup`] says whether this switch may act on the packet's key. If not, the untouched packet goes to
//!    the store within a LEASE ([`SlotTable::lease_request`]), and comes back within the GRANT.
//! 2. After the handler ran, [`SlotTable::settle`] says whether the output packet may leave, or goes to the store
//!    within a WRITE or READ and comes back with the ACK. The network and the store are the buffer.
//! 3. At the store the head of the shard's chain decides ([`Node::handle_request`]), every node takes over the records
//!    that the answer depends on ([`Node::handle_chain`]), and the tail answers.
//!
//! # Beyond the paper
//!
//! - Slots are plain registers, a grant is a compare-and-swap on the slot's install counter (the *ticket*): no switch
//!   CPU takes part.
//! - A store that has somebody waiting *recalls* the lease from its owner instead of letting it run out. The owner also
//!   gives back what it does not hold and never will, so a lost message or a reboot does not cost a lease time.
//! - An old request of the owner, overtaken by a newer one of the same slot, gets its packet back and changes nothing:
//!   it does not fence the lease that was granted since.
//! - A node that joins answers as tail at once, since the head finishes all answers; it counts as a replica only when
//!   its copy of everything older is confirmed.
//! - Deletions go down the chain until the tail confirms them: nobody would ask again for what is gone.

#![forbid(unsafe_code)]

pub mod admission;
pub mod chain;
pub mod courier;
pub mod create;
pub mod fixed;
pub mod identity;
pub mod mac;
pub mod mutant;
pub mod node;
mod outbox;
pub mod record;
pub mod retransmit;
mod rules;
pub mod serial;
pub mod slot;
pub mod statistics;
mod table;
pub mod time;
pub mod waiting;
pub mod wire;

pub use admission::{AdmissionRates, PrefixRate};
pub use chain::{ChainMessage, Configuration, NodeId};
pub use create::{Creation, Creator, Refusal, TypedCreator};
pub use fixed::Fixed;
pub use identity::{Schema, SwitchIdentity};
pub use node::{Destination, Node, NodeLimits, Shard, Transmit};
pub use record::{Owner, Record, RecordKey, Value};
pub use serial::{Serial, Version};
pub use slot::{DropReason, Lookup, Reaction, Settled, Slot, SlotStatistics, SlotTable};
pub use statistics::{StoreDrop, StoreStatistics};
pub use table::RecordChange;
pub use time::{Lease, Ticks, Time};
pub use wire::{Header, Kind, Message, NackReason};
