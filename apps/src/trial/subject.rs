//! What the trials have to know of each app: how a connection is opened through it, and when it goes on.

use std::net::Ipv4Addr;
use std::sync::{Arc, RwLock};

use anyhow::Result;
use redplane_sdk::{App, app};

use crate::demo::place::{self, INSIDE, OUTSIDE, Place};
use crate::load_balancer::{Backend, Pools, Service};
use crate::{firewall, load_balancer, nat};
use redplane_lab::frame::{End, ends, flag, segment};

/// Where the hosts inside are: the firewall's and the NAT's clients, the balancer's backends.
pub(super) const PREFIX: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 0, 0), 8);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The balancer's service.
pub(super) const SERVICE: End = (Ipv4Addr::new(203, 0, 113, 10), 80);
/// Port of every backend.
pub(super) const BACKEND_PORT: u16 = 8080;
const TCP: u8 = 6;

/// An app under trial.
pub trait Subject: Sized {
    /// The app.
    type App: App;

    /// Two switches that run it, and the store.
    ///
    /// # Errors
    /// Never: the configuration is as it must be.
    fn place() -> Result<Place<Self::App>>;

    /// By which port of a switch clients reach it, and the frame of a segment from client `number` to its server.
    fn from_client(number: u32, flags: u8, payload: usize) -> (u16, Vec<u8>);

    /// The frame of a segment that the other end sends to `number` once it got `frame`.
    fn from_server(frame: &[u8], flags: u8, payload: usize) -> (u16, Vec<u8>) {
        let side = if Self::CLIENT_PORT == INSIDE { OUTSIDE } else { INSIDE };
        let (from, to) = ends(frame);
        (side, segment(to, from, flags, payload))
    }

    /// The port by which clients reach it.
    const CLIENT_PORT: u16 = INSIDE;
}

/// Client `number`, within a prefix.
pub(super) fn client(prefix: Ipv4Addr, number: u32) -> End {
    let host = u32::from(prefix) + 256 + number / 20_000;
    (Ipv4Addr::from(host), 20_000 + (number % 20_000) as u16)
}

const SERVER: End = (Ipv4Addr::new(198, 51, 100, 1), 443);

/// The NAT.
#[derive(Debug)]
pub struct Nat;

impl Subject for Nat {
    type App = nat::App;

    fn place() -> Result<Place<nat::App>> {
        let mut tables = nat::Tables::default();
        tables.inside.insert(PREFIX.0, PREFIX.1, true)?;
        tables.public.insert(PUBLIC, 32, true)?;
        let pool = nat::Pool { addresses: vec![PUBLIC], first_port: 1024, last_port: 65_535 };
        let creator = Box::new(move || app::creator::<nat::App>(pool.clone()));
        Ok(Place::new(2, tables, place::routes(&[PREFIX]), creator)?)
    }

    fn from_client(number: u32, flags: u8, payload: usize) -> (u16, Vec<u8>) {
        (INSIDE, segment(client(PREFIX.0, number), SERVER, flags, payload))
    }
}

/// The firewall.
#[derive(Debug)]
pub struct Firewall;

impl Subject for Firewall {
    type App = firewall::App;

    fn place() -> Result<Place<firewall::App>> {
        let mut tables = firewall::Tables::default();
        tables.inside.insert(INSIDE, true)?;
        let creator = Box::new(|| app::creator::<firewall::App>(()));
        Ok(Place::new(2, tables, place::routes(&[PREFIX]), creator)?)
    }

    fn from_client(number: u32, flags: u8, payload: usize) -> (u16, Vec<u8>) {
        (INSIDE, segment(client(PREFIX.0, number), SERVER, flags, payload))
    }
}

/// The load balancer, with one service in NAT mode.
#[derive(Debug)]
pub struct LoadBalancer;

/// Backends that the balancer may ever have.
pub(super) const BACKENDS_MAX: u8 = 64;

/// A backend of the balancer.
pub(super) fn backend(number: u8, weight: u8) -> Backend {
    Backend { addr: Ipv4Addr::new(10, 0, 1, number), port: BACKEND_PORT, weight }
}

impl LoadBalancer {
    /// Switches and store whose services are these, also after they have changed.
    pub(super) fn live(pools: Arc<RwLock<Pools>>) -> Result<Place<load_balancer::App>> {
        let mut tables = load_balancer::Tables::default();
        let service = load_balancer::Endpoint { addr: SERVICE.0, port: SERVICE.1, protocol: TCP };
        tables.services.insert(service, true)?;
        for number in 0..BACKENDS_MAX {
            let addr = backend(number, 0).addr;
            tables
                .fronts
                .insert(load_balancer::Endpoint { addr, port: BACKEND_PORT, protocol: TCP }, service)?;
        }
        let creator = Box::new(move || app::live_creator::<load_balancer::App>(Arc::clone(&pools)));
        Ok(Place::new(2, tables, place::routes(&[PREFIX]), creator)?)
    }

    /// One service over these backends.
    pub(super) fn pools(backends: Vec<Backend>) -> Pools {
        let (addr, port) = SERVICE;
        Pools { services: vec![Service { addr, port, protocol: TCP, direct: false, backends }] }
    }
}

impl Subject for LoadBalancer {
    type App = load_balancer::App;
    const CLIENT_PORT: u16 = OUTSIDE;

    fn place() -> Result<Place<load_balancer::App>> {
        let backends = (0..8).map(|number| backend(number, 1 + number % 3)).collect();
        LoadBalancer::live(Arc::new(RwLock::new(LoadBalancer::pools(backends))))
    }

    fn from_client(number: u32, flags: u8, payload: usize) -> (u16, Vec<u8>) {
        let client = client(Ipv4Addr::new(198, 18, 0, 0), number);
        (OUTSIDE, segment(client, SERVICE, flags, payload))
    }
}

/// A connection that was opened through an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) number: u32,
    /// The client's first segment, as it left.
    pub(super) outward: (End, End),
    /// The server's first one, as it left.
    pub(super) inward: (End, End),
}

/// Opens a connection with the three segments of TCP; `None` if one of them did not get through.
pub(super) fn open<S: Subject>(place: &mut Place<S::App>, number: u32, at: usize) -> Option<Opened> {
    let (port, syn) = S::from_client(number, flag::SYN, 0);
    let (_, outward) = place.pass(at, port, &syn)?;
    let (port, answer) = S::from_server(&outward, flag::SYN | flag::ACK, 0);
    let (_, inward) = place.pass(at, port, &answer)?;
    let (port, ack) = S::from_client(number, flag::ACK, 0);
    place.pass(at, port, &ack)?;
    Some(Opened { number, outward: ends(&outward), inward: ends(&inward) })
}

/// Whether a connection goes on, at this switch, both ways and between the same ends.
pub(super) fn goes_on<S: Subject>(place: &mut Place<S::App>, opened: &Opened, at: usize) -> bool {
    let (port, data) = S::from_client(opened.number, flag::ACK, 100);
    let Some((_, outward)) = place.pass(at, port, &data) else { return false };
    let (port, data) = S::from_server(&outward, flag::ACK, 100);
    let Some((_, inward)) = place.pass(at, port, &data) else { return false };
    (ends(&outward), ends(&inward)) == (opened.outward, opened.inward)
}
