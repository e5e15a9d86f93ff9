//! A load balancer for TCP and UDP: virtual services, each over a set of weighted backends. A connection keeps its backend
//! whatever becomes of the set, for the choice is part of its state, and made once: in the store. Packets go to the backend
//! translated (NAT), or as they are (direct server return); ICMP errors that are about a connection go along (RFC 792).

/// Spreads connections over backends.
#[redplane_sdk::app(id = 4)]
pub mod load_balancer {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use redplane_sdk::prelude::*;

    /// The backend that serves a connection. Its key is what the client sends to the service.
    #[state(key = FiveTuple, slots = 65_536, idle = silence)]
    pub struct Serving {
        /// Its address.
        pub addr: Ipv4Addr,
        /// Its port.
        pub port: u16,
        /// It takes packets as they are, and answers in the name of the service.
        pub direct: bool,
    }

    /// The virtual services.
    #[table(size = 1024)]
    pub type Services = Exact<Endpoint, bool>;

    /// The service that a backend answers for, by the backend; of those that take packets translated. A backend stays here
    /// for as long as it has connections.
    #[table(size = 4096)]
    pub type Fronts = Exact<Endpoint, Endpoint>;

    /// The services with their backends.
    #[config]
    pub struct Pools {
        /// All of them.
        pub services: Vec<Service>,
    }

    /// A virtual service.
    #[config]
    pub struct Service {
        /// Its address.
        pub addr: Ipv4Addr,
        /// Its port.
        pub port: u16,
        /// IP protocol.
        pub protocol: u8,
        /// Whether the backends answer themselves, in the name of the service.
        pub direct: bool,
        /// Who serves.
        pub backends: Vec<Backend>,
    }

    /// One of those that serve.
    #[config]
    pub struct Backend {
        /// Its address.
        pub addr: Ipv4Addr,
        /// Its port.
        pub port: u16,
        /// Its share of new connections, in proportion to the others'. With zero it only keeps those that it has.
        pub weight: u8,
    }

    /// Sends what clients send to the backend, and what it answers back in the name of the service.
    #[handler]
    pub fn balance(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(_) = &pkt.ipv4 else { return cx.drop("not_ipv4") };
        let connection = five_tuple(pkt);
        let front = cx.fronts.lookup(source_of(connection));
        if front.port != 0 {
            set_source(pkt, front.addr, front.port);
            return cx.forward();
        }
        if !cx.services.lookup(destination_of(connection)) {
            return cx.forward();
        }
        let serving = if may_open(pkt) {
            cx.serving.lease(connection)?
        } else {
            let Some(serving) = cx.serving.find(connection)? else { return cx.drop("no_connection") };
            serving
        };
        if serving.direct {
            return cx.via(serving.addr);
        }
        set_destination(pkt, serving.addr, serving.port);
        cx.forward()
    }

    /// Chooses by weighted rendezvous hashing: a backend draws once for each unit of its weight, the highest draw wins. So
    /// a change of the set changes the choice of as few new connections as there can be.
    #[on_create]
    pub fn choose(
        key: &FiveTuple,
        _: &mut Creation<FiveTuple, Serving>,
        pools: &Pools,
    ) -> Result<Serving, Refusal> {
        let asked = (key.dst, key.dst_port, key.protocol);
        let service = pools.services.iter().find(|known| (known.addr, known.port, known.protocol) == asked);
        let service = service.ok_or(Refusal("no_service"))?;
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let draw = |backend: &Backend, turn| hasher.hash_one((key, backend.addr, backend.port, turn));
        let highest = |backend: &&Backend| (0..backend.weight).map(|turn| draw(backend, turn)).max();
        let able = service.backends.iter().filter(|backend| backend.weight > 0);
        let chosen = able.max_by_key(highest).ok_or(Refusal("no_backend"))?;
        Ok(Serving { addr: chosen.addr, port: chosen.port, direct: service.direct })
    }
    /// For how long the backend of a connection that says nothing is remembered.
    pub fn silence(connection: &FiveTuple, _: &Serving) -> Duration {
        idle_of(connection.protocol)
    }
}
