//! Ports of a switch on Linux: packet sockets and TAP devices.

pub mod offload;
pub mod sys;
mod tap;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

pub use sys::{PacketSocket, Sent};
pub use tap::Tap;

/// A port of a switch.
#[derive(Debug)]
pub enum Port {
    /// An interface that is there already: a network card, or an end of a veth pair.
    Packet(PacketSocket),
    /// A TAP device, made for this port.
    Tap(Tap),
}

impl Port {
    /// Its interface.
    pub fn name(&self) -> &str {
        match self {
            Port::Packet(socket) => socket.name(),
            Port::Tap(tap) => tap.name(),
        }
    }

    /// Takes what came in, at most a batch, and shows each frame. Returns how many there were.
    ///
    /// # Errors
    /// If the interface is gone.
    pub fn receive(&mut self, each: impl FnMut(&[u8])) -> io::Result<usize> {
        match self {
            Port::Packet(socket) => socket.receive(each),
            Port::Tap(tap) => tap.receive(each),
        }
    }

    /// Sends frames, in order; what the interface does not take is lost.
    pub fn send<'a>(&self, frames: impl Iterator<Item = &'a [u8]>) -> Sent {
        match self {
            Port::Packet(socket) => socket.send(frames),
            Port::Tap(tap) => tap.send(frames),
        }
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Port::Packet(socket) => socket.as_fd(),
            Port::Tap(tap) => tap.as_fd(),
        }
    }
}

/// The MTU of an interface of the calling thread's network namespace, in bytes of an IP packet.
///
/// # Errors
/// If there is no such interface.
pub fn mtu(interface: &str) -> io::Result<u32> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu"))?;
    text.trim().parse().map_err(io::Error::other)
}
