//! A switch with its answers scripted.

use std::net::{Ipv4Addr, SocketAddrV4};

use redplane_sdk::App;
use redplane_sdk::packet::{MacAddr, Packet};
use redplane_sdk::pipeline::{NextHop, Output, Route, StorePath, Switch, SwitchConfig};
use redplane_sdk::protocol::mac::Link;
use redplane_sdk::protocol::wire::UDP_PORT;
use redplane_sdk::protocol::{
    Fixed, Header, Kind, Lease, Message, NackReason, Serial, SwitchIdentity, Ticks,
};

use crate::nat;

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const CLIENT_2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const PUBLIC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
pub(crate) const SWITCH: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);
pub(crate) const STORE: Ipv4Addr = Ipv4Addr::new(172, 16, 1, 1);
pub(crate) const INSIDE_PORT: u16 = 1;
pub(crate) const OUTSIDE_PORT: u16 = 2;
pub(crate) const STORE_PORT: u16 = 3;
pub(crate) const SWITCH_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 1, 0]);
pub(crate) const STORE_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 2, 0]);
pub(crate) const ROUTER_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 3, 0]);
/// What codes of this switch's messages are for.
pub(crate) const LINK: Link = Link::Switch(SocketAddrV4::new(SWITCH, UDP_PORT));
pub(crate) const IDENTITY: SwitchIdentity = SwitchIdentity { switch: 7, incarnation: 3 };

pub(crate) fn config() -> SwitchConfig {
    let route = |prefix, length, port| Route {
        prefix,
        length,
        next_hop: NextHop { port, source: SWITCH_MAC, destination: ROUTER_MAC },
    };
    SwitchConfig {
        identity: IDENTITY,
        mac: SWITCH_MAC,
        address: SWITCH,
        lease: Lease::default(),
        stores: vec![StorePath { address: STORE, mac: STORE_MAC, port: STORE_PORT }],
        store_facing_ports: vec![STORE_PORT],
        routes: vec![
            route(Ipv4Addr::new(10, 0, 0, 0), 8, INSIDE_PORT),
            route(Ipv4Addr::new(198, 51, 100, 0), 24, OUTSIDE_PORT),
        ],
        store_mtu: 1700,
        authentication: None,
    }
}

pub(crate) fn tables() -> nat::Tables {
    serde_json::from_str(r#"{"inside": {"10.0.0.0/8": true}, "public": {"192.0.2.1": true}}"#)
        .expect("tables")
}

pub(crate) fn pool() -> nat::Pool {
    nat::Pool { addresses: vec![PUBLIC], first_port: 1024, last_port: 65535 }
}

/// A request that the switch sent, taken apart.
#[derive(Debug)]
pub(crate) struct Request<A: App> {
    pub(crate) header: Header,
    pub(crate) key: A::Key,
    pub(crate) value: A::State,
    pub(crate) frame: Vec<u8>,
}

pub(crate) struct Rig<A: App> {
    pub(crate) switch: Switch<A>,
    pub(crate) now: Ticks,
}

impl<A: App> Rig<A> {
    pub(crate) fn with(config: SwitchConfig, tables: A::Tables) -> Self {
        let now = Ticks(1000);
        Rig { switch: Switch::new(config, tables, now).expect("a legal configuration"), now }
    }

    pub(crate) fn send(&mut self, port: u16, frame: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut out = Output::new();
        self.switch.process(port, frame, self.now, &mut out);
        out.iter().map(|(port, frame)| (port, frame.to_vec())).collect()
    }

    /// What the switch does when nothing comes in.
    pub(crate) fn wait(&mut self, ticks: u32) -> Vec<(u16, Vec<u8>)> {
        self.now = self.now.plus(ticks);
        let mut out = Output::new();
        self.switch.handle_timeout(self.now, &mut out);
        out.iter().map(|(port, frame)| (port, frame.to_vec())).collect()
    }

    /// Sends a frame that the switch answers with one request.
    pub(crate) fn ask(&mut self, port: u16, frame: &[u8]) -> Request<A> {
        let sent = self.send(port, frame);
        self.request(&sent)
    }

    /// The only thing that the switch sent must be a request: takes it apart.
    pub(crate) fn request(&self, sent: &[(u16, Vec<u8>)]) -> Request<A> {
        let [(STORE_PORT, frame)] = sent else { panic!("not one request: {sent:02x?}") };
        let packet = Packet::parse(frame).expect("a message is a packet");
        let (ipv4, ports, udp) =
            (packet.ipv4.expect("IPv4"), packet.ports.expect("ports"), packet.udp.expect("UDP"));
        assert_eq!((packet.ethernet.src, packet.ethernet.dst), (SWITCH_MAC, STORE_MAC));
        assert_eq!((ipv4.src, ipv4.dst, ipv4.ttl, ipv4.dont_fragment), (SWITCH, STORE, 64, true));
        assert_eq!((ports.src, ports.dst, udp.checksum), (UDP_PORT, UDP_PORT, 0));
        assert_eq!(usize::from(udp.length), frame.len() - 34);
        let schema = redplane_sdk::app::schema::<A>();
        let payload = match &self.switch.config().authentication {
            None => &frame[42..],
            Some(keys) => keys.verify(LINK, &frame[42..]).expect("signed"),
        };
        let message = Message::parse(payload, &schema).expect("a legal message");
        assert_eq!(message.header.identity, IDENTITY);
        Request {
            header: message.header,
            key: A::Key::decode(message.key),
            value: A::State::decode(message.value),
            frame: message.frame.to_vec(),
        }
    }

    /// Sends the switch a message of the store, signed if it should be.
    pub(crate) fn message(
        &mut self,
        header: Header,
        key: A::Key,
        value: A::State,
        frame: &[u8],
    ) -> Vec<(u16, Vec<u8>)> {
        let mut message = message_bytes(&header, &key, &value, frame);
        if let Some(keys) = &self.switch.config().authentication {
            keys.sign(LINK, &mut message);
        }
        self.send(STORE_PORT, &datagram(&message))
    }

    pub(crate) fn grant(
        &mut self,
        request: &Request<A>,
        generation: u32,
        value: A::State,
    ) -> Vec<(u16, Vec<u8>)> {
        assert_eq!(request.header.kind, Kind::Lease);
        let header =
            Header { kind: Kind::Grant, create: false, generation: Serial(generation), ..request.header };
        self.message(header, request.key, value, &request.frame)
    }

    pub(crate) fn ack(&mut self, request: &Request<A>) -> Vec<(u16, Vec<u8>)> {
        self.message(Header { kind: Kind::Ack, ..request.header }, request.key, request.value, &request.frame)
    }

    pub(crate) fn nack(&mut self, request: &Request<A>, reason: NackReason) -> Vec<(u16, Vec<u8>)> {
        let header = Header { kind: Kind::Nack, create: false, reason: Some(reason), ..request.header };
        self.message(header, request.key, request.value, &request.frame)
    }

    /// Everything but this reason must have dropped nothing.
    #[track_caller]
    pub(crate) fn assert_dropped(&self, reason: &str, count: u64) {
        let statistics = self.switch.statistics();
        let drops: Vec<_> = statistics.drops().filter(|(_, count)| *count > 0).collect();
        assert_eq!((statistics.dropped(reason), statistics.dropped_in_all()), (count, count), "{drops:?}");
    }
}

/// A frame from the store to the switch.
pub(crate) fn message_frame<K: Fixed, V: Fixed>(
    header: &Header,
    key: &K,
    value: &V,
    frame: &[u8],
) -> Vec<u8> {
    datagram(&message_bytes(header, key, value, frame))
}

/// A message, as the store sends it without authentication.
pub(crate) fn message_bytes<K: Fixed, V: Fixed>(
    header: &Header,
    key: &K,
    value: &V,
    frame: &[u8],
) -> Vec<u8> {
    let (mut key_bytes, mut value_bytes) = (vec![0; K::LEN], vec![0; V::LEN]);
    key.encode(&mut key_bytes);
    value.encode(&mut value_bytes);
    Message { header: *header, key: &key_bytes, value: &value_bytes, frame }.to_vec()
}

/// A frame from the store to the switch around a payload.
pub(crate) fn datagram(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2(STORE_MAC.octets(), SWITCH_MAC.octets())
        .ipv4(STORE.octets(), SWITCH.octets(), 60)
        .udp(UDP_PORT, UDP_PORT)
        .write(&mut bytes, message)
        .expect("it fits");
    bytes
}

pub(crate) fn nat() -> Rig<nat::App> {
    Rig::with(config(), tables())
}
