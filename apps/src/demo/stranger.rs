//! Somebody outside who tries to get in: TCP with all kinds of flags, UDP and ICMP, to ends that have a connection.

use std::net::Ipv4Addr;

use redplane_sdk::net::{Device, Ports, Random};
use redplane_sdk::protocol::Time;

use super::connection::Micros;
use super::workload::{CLIENTS, LOCAL_PORT, SERVER_PORT, SPAN};
use redplane_lab::frame::{self, flag};

/// Who it is.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);

/// Between two attempts.
const INTERVAL: Micros = 1_000;
/// Ports of each host that it tries.
const PORTS: u64 = 40;

/// The stranger.
#[derive(Debug)]
pub struct Stranger {
    random: Random,
    next: Micros,
    /// Attempts so far.
    pub attempts: u64,
}

impl Stranger {
    /// One that begins at once.
    #[must_use]
    pub fn new(seed: u64) -> Stranger {
        Stranger { random: Random::new(seed ^ 0x5747_0000), next: 0, attempts: 0 }
    }

    fn attempt(&mut self) -> Vec<u8> {
        let host = CLIENTS[self.random.below(CLIENTS.len() as u64) as usize];
        let target = (host, LOCAL_PORT + self.random.below(PORTS) as u16);
        let own = (ADDRESS, SERVER_PORT);
        match self.random.below(8) {
            0 => frame::datagram(own, target),
            1 => frame::message(ADDRESS, host, 8, &[0, 1, 0, 1]),
            2 => {
                let quoted = frame::segment(target, own, flag::ACK, 0);
                frame::message(ADDRESS, host, 3, &[&[0; 4], &quoted[14..]].concat())
            }
            _ => {
                let flags = [flag::SYN, flag::ACK, flag::SYN | flag::ACK, flag::FIN | flag::ACK, flag::RST];
                frame::segment(own, target, flags[self.random.below(5) as usize], 0)
            }
        }
    }
}

impl Device for Stranger {
    fn receive(&mut self, _: u16, _: &[u8], _: Time, _: &mut Ports) {}

    fn next_timeout(&self) -> Option<Time> {
        (self.next < SPAN).then_some(Time(self.next))
    }

    fn timeout(&mut self, now: Time, out: &mut Ports) {
        while self.next <= now.0 && self.next < SPAN {
            let frame = self.attempt();
            out.send(0, frame);
            self.attempts += 1;
            self.next += INTERVAL;
        }
    }
}
