//! The load balancer on two switches and a store, frame by frame, and its choice of backends.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, RwLock};

use apps::demo::place::{self, INSIDE, OUTSIDE, Place};
use apps::load_balancer::{App, Backend, Endpoint, FiveTuple, Pools, Service, Serving, Tables};
use redplane_sdk::app;
use redplane_sdk::packet::Packet;
use redplane_sdk::pipeline::Route;
use redplane_sdk::protocol::Fixed;
use redplane_sdk::protocol::create::Records;

use super::checksums::wrong;
use super::frames::{self, ends, segment, udp, unreachable};

const CLIENT: frames::End = (Ipv4Addr::new(198, 51, 100, 1), 40_000);
const WEB: frames::End = (Ipv4Addr::new(203, 0, 113, 10), 80);
const DNS: frames::End = (Ipv4Addr::new(203, 0, 113, 11), 53);
const TCP: u8 = 6;
const UDP: u8 = 17;

fn backend(number: u8, weight: u8) -> Backend {
    Backend { addr: Ipv4Addr::new(10, 0, 1, number), port: 8080, weight }
}

fn pools(backends: Vec<Backend>) -> Pools {
    let service = |at: frames::End, protocol, direct| Service {
        addr: at.0,
        port: at.1,
        protocol,
        direct,
        backends: backends.clone(),
    };
    Pools { services: vec![service(WEB, TCP, false), service(DNS, UDP, true)] }
}

struct Balancer {
    place: Place<App>,
    pools: Arc<RwLock<Pools>>,
}

/// The web is served translated, names directly.
fn balancer() -> Balancer {
    let end = |(addr, port), protocol| Endpoint { addr, port, protocol };
    let mut tables = Tables::default();
    tables.services.insert(end(WEB, TCP), true).unwrap();
    tables.services.insert(end(DNS, UDP), true).unwrap();
    for number in 1..=4 {
        let backend = backend(number, 1);
        tables.fronts.insert(end((backend.addr, backend.port), TCP), end(WEB, TCP)).unwrap();
    }
    let pools = Arc::new(RwLock::new(pools(vec![backend(1, 1), backend(2, 1)])));
    let live = Arc::clone(&pools);
    let creator = Box::new(move || app::live_creator::<App>(Arc::clone(&live)));
    let mut routes = place::routes(&[(Ipv4Addr::new(10, 0, 0, 0), 8)]);
    // Each backend is a neighbour, so that a packet can go to it as it is.
    for number in 1..=4 {
        let mut next_hop = routes[1].next_hop;
        next_hop.destination = [2, 0, 0, 0, 1, number].into();
        routes.push(Route { prefix: backend(number, 1).addr, length: 32, next_hop });
    }
    Balancer { place: Place::new(2, tables, routes, creator).unwrap(), pools }
}

impl Balancer {
    #[track_caller]
    fn pass(&mut self, port: u16, frame: &[u8]) -> Vec<u8> {
        let (out, left) = self.place.pass(0, port, frame).expect("it passes");
        assert_eq!(out, if port == INSIDE { OUTSIDE } else { INSIDE });
        assert!(wrong(&left).is_empty(), "{:?}", wrong(&left));
        left
    }

    #[track_caller]
    fn stays_out(&mut self, frame: &[u8], reason: &str) {
        assert_eq!(self.place.process(0, OUTSIDE, frame), []);
        assert!(self.place.dropped(0).contains_key(reason), "{:?}", self.place.dropped(0));
    }

    fn set(&self, backends: Vec<Backend>) {
        *self.pools.write().unwrap() = pools(backends);
    }
}

#[test]
fn a_connection_goes_to_a_backend_and_comes_back_from_the_service() {
    let mut balancer = balancer();
    let (from, to) = ends(&balancer.pass(OUTSIDE, &segment(CLIENT, WEB, "S")));
    assert_eq!(from, CLIENT);
    assert!([1, 2].map(|number| (backend(number, 1).addr, 8080)).contains(&to), "{to:?}");
    assert_eq!(ends(&balancer.pass(INSIDE, &segment(to, CLIENT, "SA"))), (WEB, CLIENT));
    assert_eq!(ends(&balancer.pass(OUTSIDE, &segment(CLIENT, WEB, "A"))), (CLIENT, to));
}

#[test]
fn it_stays_there_when_the_backend_is_drained_and_removed() {
    let mut balancer = balancer();
    let (_, to) = ends(&balancer.pass(OUTSIDE, &segment(CLIENT, WEB, "S")));
    for backends in [
        vec![backend(1, 0), backend(2, 0), backend(3, 1)],
        vec![backend(3, 1)],
        vec![backend(3, 1), backend(4, 200)],
        vec![],
    ] {
        balancer.set(backends);
        balancer.place.reboot(0).unwrap();
        assert_eq!(ends(&balancer.pass(OUTSIDE, &segment(CLIENT, WEB, "A"))), (CLIENT, to));
    }
    balancer.stays_out(&segment((CLIENT.0, 1), WEB, "S"), "lease_refused");
    balancer.set(vec![backend(1, 0), backend(2, 0), backend(3, 1)]);
    for port in 1000..1050 {
        let (_, new) = ends(&balancer.pass(OUTSIDE, &segment((CLIENT.0, port), WEB, "S")));
        assert_eq!(new.0, backend(3, 1).addr, "new ones go to who is left");
    }
}

#[test]
fn a_packet_for_direct_return_is_as_it_was() {
    let mut balancer = balancer();
    let sent = udp(CLIENT, DNS);
    let left = balancer.pass(OUTSIDE, &sent);
    assert_eq!(ends(&left), (CLIENT, DNS));
    let packet = Packet::parse(&left).unwrap();
    let backend = packet.ethernet.dst.octets();
    assert!(backend[..5] == [2, 0, 0, 0, 1] && [1, 2].contains(&backend[5]), "to a backend's own address");
    assert_eq!(left[34..], sent[34..]);
    // Its answer needs nothing.
    assert_eq!(ends(&balancer.pass(INSIDE, &udp(DNS, CLIENT))), (DNS, CLIENT));
}

#[test]
fn nothing_begins_in_the_middle() {
    let mut balancer = balancer();
    balancer.stays_out(&segment(CLIENT, WEB, "A"), "no_connection");
    assert_eq!(balancer.place.records_created(), 0);
}

#[test]
fn errors_go_to_the_backend_that_they_are_about() {
    let mut balancer = balancer();
    let (_, to) = ends(&balancer.pass(OUTSIDE, &segment(CLIENT, WEB, "S")));
    let answer = balancer.pass(INSIDE, &segment(to, CLIENT, "SA"));
    let left = balancer.pass(OUTSIDE, &unreachable(CLIENT.0, &answer));
    let packet = Packet::parse(&left).unwrap();
    assert_eq!(packet.ipv4.unwrap().dst, to.0);
    let quote = (packet.inner_ipv4.unwrap().src, packet.inner_ports.unwrap().src);
    assert_eq!(quote, to);
}

/// No record has been made.
struct Nothing;

impl Records for Nothing {
    fn get(&self, _: &[u8]) -> Option<&[u8]> {
        None
    }

    fn is_free(&self, _: &[u8]) -> bool {
        true
    }
}

/// How many of so many new connections each backend gets, and who serves which.
fn choices(backends: Vec<Backend>, count: u32) -> (BTreeMap<u8, u32>, Vec<u8>) {
    let mut creator = app::creator::<App>(pools(backends));
    let choose = |number: u32| {
        let key = FiveTuple {
            src: Ipv4Addr::from(0xc612_0000 + number / 100),
            src_port: (number % 100) as u16,
            dst: WEB.0,
            dst_port: WEB.1,
            protocol: TCP,
        };
        let mut bytes = [0; FiveTuple::LEN];
        key.encode(&mut bytes);
        Serving::decode(&creator.create(&bytes, &Nothing).unwrap().value).addr.octets()[3]
    };
    let chosen: Vec<u8> = (0..count).map(choose).collect();
    let mut shares = BTreeMap::new();
    chosen.iter().for_each(|backend| *shares.entry(*backend).or_default() += 1);
    (shares, chosen)
}

#[test]
fn shares_are_as_the_weights() {
    let (shares, _) = choices(vec![backend(1, 1), backend(2, 2), backend(3, 5), backend(4, 0)], 16_000);
    // Three standard deviations of a binomial share are below 200.
    for (number, expected) in [(1, 2_000), (2, 4_000), (3, 10_000)] {
        assert!(shares[&number].abs_diff(expected) < 200, "{shares:?}");
    }
    assert_eq!(shares.len(), 3);
}

#[test]
fn a_change_of_the_set_concerns_only_whom_it_must() {
    let four = || (1..=4).map(|number| backend(number, 3)).collect::<Vec<_>>();
    let (_, before) = choices(four(), 4_000);
    let (_, without) = choices(four()[..3].to_vec(), 4_000);
    for (old, new) in before.iter().zip(&without) {
        assert!(old == new || *old == 4, "{old} became {new}");
    }
    let heavier = (1..=4).map(|number| backend(number, if number == 2 { 6 } else { 3 })).collect();
    let (_, after) = choices(heavier, 4_000);
    for (old, new) in before.iter().zip(&after) {
        assert!(old == new || *new == 2, "{old} became {new}");
    }
}
