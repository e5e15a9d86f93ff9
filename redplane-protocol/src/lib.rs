//! The RedPlane replication protocol: wire codec and state machines of both ends.
//!
//! Source: Kim et al., "RedPlane: Enabling Fault-Tolerant Stateful In-Switch Applications", SIGCOMM 2021.
//!
//! No sockets, no clock, no runtime: bytes and time come in as arguments, bytes and deadlines go out. A switch keeps a
//! [`SlotTable`], a store node is a [`Node`] per shard.

#![forbid(unsafe_code)]

pub mod chain;
pub mod courier;
pub mod create;
pub mod fixed;
pub mod identity;
pub mod node;
pub mod record;
pub mod retransmit;
mod rules;
pub mod serial;
pub mod slot;
pub mod statistics;
pub mod time;
pub mod waiting;
pub mod wire;

pub use chain::{ChainMessage, Configuration, NodeId};
pub use create::{Creation, Creator, Refusal, TypedCreator};
pub use fixed::Fixed;
pub use identity::{Schema, SwitchIdentity};
pub use node::{Destination, Node, Shard, Transmit};
pub use record::{Owner, Record, RecordKey};
pub use serial::{Serial, Version};
pub use slot::{DropReason, Lookup, Reaction, Settled, Slot, SlotStatistics, SlotTable};
pub use statistics::{StoreDrop, StoreStatistics};
pub use time::{Lease, Ticks, Time};
pub use wire::{Header, Kind, Message, NackReason};
