//! A TAP device as a port: what the kernel routes into it comes in.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::sys::{BATCH, FRAME_LEN_MAX, Sent};

/// A TAP device that lives as long as this does: when the switch dies, its link goes down.
pub struct Tap {
    device: SyncDevice,
    name: String,
    frame: Vec<u8>,
}

impl Tap {
    /// Makes the device, in the calling thread's network namespace. It is not up yet.
    ///
    /// # Errors
    /// If the name is taken, or the process lacks `CAP_NET_ADMIN`.
    pub fn create(name: &str, mtu: u16) -> io::Result<Self> {
        let device = DeviceBuilder::new().name(name).layer(Layer::L2).mtu(mtu).build_sync()?;
        device.set_nonblocking(true)?;
        Ok(Tap { device, name: name.to_owned(), frame: vec![0; FRAME_LEN_MAX] })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<usize> {
        for count in 0..BATCH {
            match self.device.recv(&mut self.frame) {
                Ok(len) => each(&self.frame[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error),
            }
        }
        Ok(BATCH)
    }

    pub(super) fn send<'a>(&self, frames: impl Iterator<Item = &'a [u8]>) -> Sent {
        let mut sent = Sent::default();
        for frame in frames {
            match self.device.send(frame) {
                Ok(_) => sent.sent += 1,
                Err(_) => sent.refused += 1,
            }
        }
        sent
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tap").field("name", &self.name).field("fd", &self.device.as_raw_fd()).finish()
    }
}
