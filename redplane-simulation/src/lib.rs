//! The whole system from one seed: switches, store, hosts, links and every fault, in one thread and virtual time.
//!
//! What runs is what ships: [`redplane_sdk::pipeline::Switch`] with real handlers, and [`backend_store::EmbeddedStore`].
//! What decides is [`checker`], which knows only what went in and what came out.
//!
//! # What corruption may do
//!
//! The protocol's messages have no checksum of their own; their UDP checksum is zero, for a switch cannot compute one
//! over a packet that it has not stored. A flipped bit is seen by the Ethernet frame check sequence of the link, so a
//! corrupt frame is lost ([`event::Loss::Corrupt`]). A frame that is cut short and has a check sequence that fits
//! arrives, and must be dropped for its lengths. A bit that is flipped within a device is seen by nothing: it may change
//! a value or a key, and no history is safe from it. All that is checked then is that nothing panics
//! ([`Assumptions::BitsFlipped`]).

#![forbid(unsafe_code)]

mod app;
pub mod automaton;
pub mod capture;
pub mod checker;
pub mod defects;
pub mod describe;
pub mod event;
pub mod finding;
pub mod frame;
pub mod history;
pub mod link;
pub mod outcome;
pub mod picture;
pub mod plan;
pub mod run;
pub mod search;
pub mod simulation;
mod store;
mod switch;
pub mod workload;

pub use app::counter;
pub use finding::{Check, Finding};
pub use outcome::Outcome;
pub use plan::{Assumptions, Plan};
pub use simulation::{Mutation, Simulation};
