//! One binary: a packet is built, parsed, switched and sent across the simulated network.

mod attribute;
mod frames;
#[path = "../../apps/src/nat.rs"]
#[expect(unreachable_pub, reason = "the app is written as a library would write it")]
mod nat_app;
mod net;
mod packet;
mod switch;

use nat_app::nat;
