//! One binary: a packet is built, parsed, switched and sent across the simulated network.

mod frames;
mod packet;
