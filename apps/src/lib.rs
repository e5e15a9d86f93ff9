//! Ready RedPlane apps, and the demo that runs them through failures.

pub mod demo;
#[path = "nat.rs"]
mod nat_app;

pub use nat_app::nat;

include!(concat!(env!("OUT_DIR"), "/nat_agreement.rs"));
