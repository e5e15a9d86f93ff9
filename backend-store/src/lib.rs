//! The state store of RedPlane.
//!
//! [`EmbeddedStore`] runs all nodes of all chains in one process, for tests and demonstrations, on the same
//! state machines as nodes on machines of their own would. It has no sockets and no clock: bytes and time go in, bytes
//! and deadlines come out.

#![forbid(unsafe_code)]

mod clock;
mod coordinator;
mod embedded;
mod settings;
mod statistics;

pub use clock::NodeClock;
pub use coordinator::{ChainState, JoinError, Role};
pub use embedded::{EmbeddedStore, StoreDestination, StoreTransmit};
pub use settings::{AppFactory, Delivery, NODES_MAX, SHARDS_MAX, SettingsError, StoreSettings};
pub use statistics::EmbeddedStatistics;

#[cfg(feature = "service")]
pub mod cli;
#[cfg(all(feature = "service", any(test, fuzzing)))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "service")]
pub mod load;
#[cfg(feature = "service")]
pub mod service;
