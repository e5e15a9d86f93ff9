//! Model checking of the replication protocol.
//!
//! The actors' states are [`SlotTable`](redplane_protocol::SlotTable) and [`Node`](redplane_protocol::Node), the code
//! that ships; what is modelled is only what lies around them: hosts, a network that loses, doubles and reorders, clocks
//! that drift, switches that boot again, nodes that crash and join. A [`Scope`] says how much of each, and
//! [stateright] visits every state that any order of events leads to.
//!
//! What must hold in each state is what the protocol promises: [`model::ONE_HOLDER`], [`model::LINEARIZABLE`] (by
//! stateright's tester), [`model::DURABLE`], [`model::PROGRESS`], [`model::FENCED`]. What must happen somewhere, lest
//! the search be about nothing, are [`Sighting`]s.
//!
//! What is not in it: `find` on an absent record, NACK BUSY, the end of a tombstone's hold time, SNAPSHOT, several
//! shards, and times finer than a [step](clock). Those are the simulation's.

pub mod clock;
mod history;
pub mod model;
mod mutants;
mod recovery;
mod report;
mod scope;
mod shared;
mod step;
mod story;
mod world;

pub use history::Operation;
pub use model::{Action, Limits, Protocol};
pub use mutants::{Hunt, hunt};
pub use report::{Finding, Order, Report, run};
pub use scope::{Progress, SCOPES, Scope, by_name};
pub use world::{Sighting, State};
