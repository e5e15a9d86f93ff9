//! The RedPlane replication protocol: wire codec and state machines of both ends.
//!
//! Source: Kim et al., "RedPlane: Enabling Fault-Tolerant Stateful In-Switch Applications", SIGCOMM 2021.
//!
//! No sockets, no clock, no runtime: bytes and time come in as arguments, bytes and deadlines go out. A switch keeps a
//! [`slot::SlotTable`].

#![forbid(unsafe_code)]

pub mod create;
pub mod fixed;
pub mod identity;
pub mod retransmit;
pub mod serial;
pub mod slot;
pub mod time;
pub mod wire;

pub use create::{Creation, Creator, Refusal};
pub use fixed::Fixed;
pub use identity::{Schema, SwitchIdentity};
pub use serial::{Serial, Version};
pub use slot::{DropReason, Lookup, Reaction, Settled, Slot, SlotTable};
pub use time::{Lease, Ticks, Time};
pub use wire::{Header, Kind, Message, NackReason};
