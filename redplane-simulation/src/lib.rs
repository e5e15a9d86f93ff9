//! The whole system from one seed: switches, store, hosts, links and every fault, in one thread and virtual time.
//!
//! What runs is what ships: [`redplane_sdk::pipeline::Switch`] with real handlers, and [`backend_store::EmbeddedStore`].
//! What decides is [`checker`], which knows only what went in and what came out.

#![forbid(unsafe_code)]

pub mod checker;
mod counter;
pub mod describe;
pub mod event;
pub mod finding;
pub mod frame;
pub mod history;
pub mod link;
pub mod outcome;
pub mod plan;
pub mod search;
pub mod simulation;
mod store;
mod switch;
pub mod workload;

pub use counter::counter as counter_app;
pub use finding::{Check, Finding};
pub use outcome::Outcome;
pub use plan::{Assumptions, Plan};
pub use simulation::{Mutation, Simulation};
