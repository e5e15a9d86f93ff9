//! A software switch as a device.

use redplane_protocol::Time;

use super::{Clock, Device, Ports};
use crate::app::App;
use crate::pipeline::{Output, Switch};

/// A [`Switch`] on the simulated network, with a clock of its own.
pub struct SwitchDevice<A: App> {
    switch: Switch<A>,
    clock: Clock,
    out: Output,
    deadline: Time,
}

impl<A: App> SwitchDevice<A> {
    /// Puts a switch on the network, whose clock shows `now`.
    pub fn new(switch: Switch<A>, clock: Clock, now: Time) -> Self {
        let deadline = clock.when(switch.poll_timeout(), now);
        SwitchDevice { switch, clock, out: Output::new(), deadline }
    }

    /// The switch, to look at.
    pub fn switch(&self) -> &Switch<A> {
        &self.switch
    }

    /// The switch, to configure.
    pub fn switch_mut(&mut self) -> &mut Switch<A> {
        &mut self.switch
    }

    /// Takes the switch out of service: every lease is given back.
    pub fn release_all(&mut self, now: Time, out: &mut Ports) {
        self.switch.release_all(self.clock.ticks(now), &mut self.out);
        self.flush(now, out);
    }

    fn flush(&mut self, now: Time, out: &mut Ports) {
        for (port, frame) in self.out.iter() {
            out.send(port, frame.to_vec());
        }
        self.out.clear();
        self.deadline = self.clock.when(self.switch.poll_timeout(), now);
    }
}

impl<A: App> Device for SwitchDevice<A> {
    fn receive(&mut self, port: u16, frame: &[u8], now: Time, out: &mut Ports) {
        self.switch.process(port, frame, self.clock.ticks(now), &mut self.out);
        self.flush(now, out);
    }

    fn next_timeout(&self) -> Option<Time> {
        Some(self.deadline)
    }

    fn timeout(&mut self, now: Time, out: &mut Ports) {
        self.switch.handle_timeout(self.clock.ticks(now), &mut self.out);
        self.flush(now, out);
    }
}
