//! One binary: a packet is built, parsed, switched and sent across the simulated network.

mod attribute;
mod frames;
#[allow(unreachable_pub, dead_code, reason = "it stands for what the app macro emits, which is public")]
mod nat;
mod net;
mod packet;
mod switch;
