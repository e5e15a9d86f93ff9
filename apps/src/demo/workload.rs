//! Who opens which connection when: the same for the same seed.

use std::net::Ipv4Addr;

use super::connection::{Direction, Micros, Plan};
use super::stream::mix;

/// Addresses of the hosts inside.
pub const CLIENTS: [Ipv4Addr; 8] = [
    Ipv4Addr::new(10, 7, 0, 11),
    Ipv4Addr::new(10, 7, 0, 12),
    Ipv4Addr::new(10, 7, 0, 13),
    Ipv4Addr::new(10, 7, 0, 14),
    Ipv4Addr::new(10, 7, 0, 15),
    Ipv4Addr::new(10, 7, 0, 16),
    Ipv4Addr::new(10, 7, 0, 17),
    Ipv4Addr::new(10, 7, 0, 18),
];

/// Addresses of the servers outside.
pub const SERVERS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 51, 100, 21),
    Ipv4Addr::new(198, 51, 100, 22),
    Ipv4Addr::new(198, 51, 100, 23),
    Ipv4Addr::new(198, 51, 100, 24),
];

/// Where the servers listen.
pub const SERVER_PORT: u16 = 80;

/// Most connections of a run: a host looks at each of its sockets for each packet, so more would take minutes.
pub const CONNECTIONS_MAX: u32 = 1_000;

/// All connections are opened within this time.
const OPENING: Micros = 1_500_000;

/// How long a connection's data takes at least, and by how much that varies.
const LASTS: Micros = 6_000_000;
const LASTS_SPREAD: Micros = 500_000;

/// When about the last connection completes if nothing is in its way.
pub const SPAN: Micros = OPENING + LASTS + LASTS_SPREAD;

/// Bytes that a connection moves at least, and by how much that varies.
const LENGTH: u32 = 512 * 1024;
const LENGTH_SPREAD: u32 = 512 * 1024;

/// First local port. All clients use the same ones, so the NAT cannot keep every port.
pub const LOCAL_PORT: u16 = 40_001;

/// The connections of a run, by client.
#[must_use]
pub fn plans(connections: u32, seed: u64) -> Vec<Vec<Plan>> {
    let mut plans = vec![Vec::new(); CLIENTS.len()];
    for id in 0..connections.min(CONNECTIONS_MAX) {
        let draw = |what: u64, below: u64| mix(mix(seed ^ what) ^ u64::from(id)) % below;
        let turn = id as usize / CLIENTS.len();
        plans[id as usize % CLIENTS.len()].push(Plan {
            id,
            local_port: LOCAL_PORT + turn as u16,
            remote: (SERVERS[(id as usize + turn) % SERVERS.len()], SERVER_PORT).into(),
            opens: draw(1, OPENING),
            lasts: LASTS + draw(2, LASTS_SPREAD),
            direction: if draw(4, 2) == 0 { Direction::Up } else { Direction::Down },
            length: LENGTH + draw(3, LENGTH_SPREAD.into()) as u32,
        });
    }
    plans
}

/// Payload of these connections.
#[must_use]
pub fn payload(plans: &[Vec<Plan>]) -> u64 {
    plans.iter().flatten().map(|plan| u64::from(plan.length)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_connection_has_its_own_endpoint() {
        let plans = plans(CONNECTIONS_MAX, 5);
        assert_eq!(plans.iter().map(Vec::len).sum::<usize>(), CONNECTIONS_MAX as usize);
        let ends = plans
            .iter()
            .zip(CLIENTS)
            .flat_map(|(plans, client)| plans.iter().map(move |plan| (client, plan.local_port)));
        assert_eq!(ends.collect::<BTreeSet<_>>().len(), CONNECTIONS_MAX as usize);
        assert!(plans.iter().flatten().all(|plan| plan.opens + plan.lasts < SPAN));
    }

    #[test]
    fn the_seed_decides() {
        let of = |seed| format!("{:?}", plans(50, seed));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
