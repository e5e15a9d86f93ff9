//! A hundred connections are spread over four backends, and the switch dies that did it. At the other switch each has the
//! backend that it had.

use std::error::Error;
use std::net::Ipv4Addr;

use project::load_balancer::{self, App, Backend, Pools, Service, Tables};
use redplane_lab::frame::{self, End, flag};
use redplane_lab::{OUTSIDE, Place};

const CLIENTS: u8 = 100;
const SERVICE: End = (Ipv4Addr::new(203, 0, 113, 10), 80);
const BACKENDS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 0, 1, 1),
    Ipv4Addr::new(10, 0, 1, 2),
    Ipv4Addr::new(10, 0, 1, 3),
    Ipv4Addr::new(10, 0, 1, 4),
];
const BACKENDS_PREFIX: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 1, 0), 24);
const BACKEND_PORT: u16 = 8080;
const TCP: u8 = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let mut place = place()?;
    let before: Vec<Option<End>> =
        (0..CLIENTS).map(|client| send(&mut place, 0, client, flag::SYN)).collect();
    place.reboot(0)?;
    println!("{CLIENTS} connections were opened through switch 1, and it died");
    let same = before.iter().zip(0..CLIENTS).filter(|(backend, client)| {
        let now = send(&mut place, 1, *client, flag::ACK);
        now.is_some() && now == **backend
    });
    let same = same.count();
    println!("{same} of them have the same backend at switch 2");
    if same == usize::from(CLIENTS) { Ok(()) } else { Err("a connection lost its backend".into()) }
}

/// Two switches with one service, and a store that chooses among its backends.
fn place() -> Result<Place<App>, Box<dyn Error>> {
    let mut tables = Tables::default();
    let service = load_balancer::Endpoint { addr: SERVICE.0, port: SERVICE.1, protocol: TCP };
    tables.services.insert(service, true)?;
    for addr in BACKENDS {
        tables.fronts.insert(load_balancer::Endpoint { addr, port: BACKEND_PORT, protocol: TCP }, service)?;
    }
    let backends = BACKENDS.map(|addr| Backend { addr, port: BACKEND_PORT, weight: 1 }).to_vec();
    let service = Service { addr: SERVICE.0, port: SERVICE.1, protocol: TCP, direct: false, backends };
    Ok(Place::of_two(tables, &[BACKENDS_PREFIX], Pools { services: vec![service] })?)
}

/// A client sends a segment to the service; gives the backend that gets it.
fn send(place: &mut Place<App>, switch: usize, client: u8, flags: u8) -> Option<End> {
    let from = (Ipv4Addr::new(198, 51, 100, client), 5000);
    let (_, left) = place.pass(switch, OUTSIDE, &frame::segment(from, SERVICE, flags, 0))?;
    Some(frame::ends(&left).1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_backends_serve() {
        let mut place = place().unwrap();
        let chosen: BTreeSet<_> = (0..CLIENTS).map(|client| send(&mut place, 0, client, flag::SYN)).collect();
        assert_eq!(chosen, BACKENDS.map(|addr| Some((addr, BACKEND_PORT))).into());
    }

    #[test]
    fn a_segment_without_a_connection_gets_nowhere() {
        let mut place = place().unwrap();
        assert_eq!(send(&mut place, 0, 7, flag::ACK), None);
        assert_eq!(place.dropped(0)["no_connection"], 1);
    }

    #[test]
    fn the_p4_is_there() {
        assert!(
            include_str!("../p4-out/load_balancer/v1model/load_balancer.p4").contains("control Balance(")
        );
    }
}
