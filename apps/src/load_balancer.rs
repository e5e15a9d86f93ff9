//! A load balancer for TCP and UDP: virtual services, each over a set of weighted backends. A connection keeps its backend
//! whatever becomes of the set, for the choice is part of its state, and made once: in the store. Packets go to the backend
//! translated (NAT), or as they are (direct server return); ICMP errors that are about a connection go along (RFC 792).

/// Spreads connections over backends.
#[redplane_sdk::app(id = 4)]
pub mod load_balancer {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use redplane_sdk::prelude::*;

    /// A connection to a virtual service.
    #[key]
    pub struct Connection {
        /// Who opened it.
        pub client: Ipv4Addr,
        /// Port of the client.
        pub client_port: u16,
        /// Address of the service.
        pub service: Ipv4Addr,
        /// Port of the service.
        pub service_port: u16,
        /// IP protocol.
        pub protocol: u8,
    }

    /// The backend that serves a connection.
    #[state(key = Connection, slots = 65_536, idle = "300s")]
    pub struct Serving {
        /// Its address.
        pub addr: Ipv4Addr,
        /// Its port.
        pub port: u16,
        /// It takes packets as they are, and answers in the name of the service.
        pub direct: bool,
    }

    /// Where something listens.
    pub struct End {
        /// Its address.
        pub addr: Ipv4Addr,
        /// Its port.
        pub port: u16,
        /// IP protocol.
        pub protocol: u8,
    }

    /// The virtual services.
    #[table(size = 1024)]
    pub type Services = Exact<End, bool>;

    /// The service that a backend answers for, by the backend; of those that take packets translated. A backend stays here
    /// for as long as it has connections.
    #[table(size = 4096)]
    pub type Fronts = Exact<End, End>;

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
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        if let Some(quote) = &mut pkt.inner_ipv4
            && let Some(ports) = &mut pkt.inner_ports
        {
            // The service is said to have sent what is quoted.
            let (client, client_port) = (quote.dst, ports.dst);
            let (service, service_port) = (quote.src, ports.src);
            let about = Connection { client, client_port, service, service_port, protocol: quote.protocol };
            let Some(serving) = cx.serving.find(about)? else { return cx.forward() };
            if serving.direct {
                return cx.via(serving.addr);
            }
            ip.dst = serving.addr;
            quote.src = serving.addr;
            ports.src = serving.port;
            return cx.forward();
        }
        let Some(ports) = &mut pkt.ports else { return cx.forward() };
        let protocol = ip.protocol;
        let front = cx.fronts.lookup(End { addr: ip.src, port: ports.src, protocol });
        if front.port != 0 {
            ip.src = front.addr;
            ports.src = front.port;
            return cx.forward();
        }
        let (client, client_port, service, service_port) = (ip.src, ports.src, ip.dst, ports.dst);
        if !cx.services.lookup(End { addr: service, port: service_port, protocol }) {
            return cx.forward();
        }
        let opens = if let Some(tcp) = &pkt.tcp { tcp.syn && !tcp.ack } else { true };
        let connection = Connection { client, client_port, service, service_port, protocol };
        let serving = if opens {
            cx.serving.lease(connection)?
        } else {
            let Some(serving) = cx.serving.find(connection)? else { return cx.drop("no_connection") };
            serving
        };
        if serving.direct {
            return cx.via(serving.addr);
        }
        ip.dst = serving.addr;
        ports.dst = serving.port;
        cx.forward()
    }

    /// Chooses by weighted rendezvous hashing: a backend draws once for each unit of its weight, the highest draw wins. So
    /// a change of the set changes the choice of as few new connections as there can be.
    #[on_create]
    pub fn choose(
        key: &Connection,
        records: &mut Creation<Connection, Serving>,
        pools: &Pools,
    ) -> Result<Serving, Refusal> {
        let asked = (key.service, key.service_port, key.protocol);
        let service = pools.services.iter().find(|known| (known.addr, known.port, known.protocol) == asked);
        let service = service.ok_or(Refusal("no_service"))?;
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let draw = |backend: &Backend, turn| hasher.hash_one((key, backend.addr, backend.port, turn));
        let highest = |backend: &&Backend| (0..backend.weight).map(|turn| draw(backend, turn)).max();
        let able = service.backends.iter().filter(|backend| backend.weight > 0);
        let chosen = able.max_by_key(highest).ok_or(Refusal("no_backend"))?;
        records.keep_for(idle_of(key.protocol));
        Ok(Serving { addr: chosen.addr, port: chosen.port, direct: service.direct })
    }
}
