//! TCP hosts (smoltcp) on one Ethernet segment, driven by virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Cidr};

use super::connection::{Client, Micros, Plan, Record, Server};
use super::stranger;

/// Bytes of an Ethernet header.
const ETHERNET_LEN: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];

/// Largest IP packet; the links to the store need the protocol's header more.
const MTU: usize = 1500;

/// Bytes a socket may hold in each direction: some seconds of one connection's data.
const SOCKET_BUFFER: usize = 32 * 1024;

/// How soon TCP is asked again that wanted to act at once and could not.
const RETRY_INTERVAL: Micros = 1_000;

/// Sockets that a server keeps ready for connections that open at the same moment.
const LISTENERS: usize = 8;

/// An end that has nothing to send asks this often whether the other is still there. It would wait for ever else for
/// one that was told to forget it.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Sockets of one host, so that a storm of openings cannot grow it without end.
const SOCKETS_MAX: usize = 4096;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// All hosts on one side of the switches, behind one Ethernet address: no ARP, whatever they send goes to the gateway.
pub struct Site {
    mac: Mac,
    gateway: Mac,
    hosts: Vec<Host>,
    /// Good bytes by time, for the picture.
    pub throughput: Throughput,
    /// Frames that were not for any host here.
    pub strangers: u64,
    /// Frames from [`stranger::ADDRESS`].
    pub intrusions: u64,
    /// Frames for another host than the first one to which the same end has sent.
    pub moved: u64,
    peers: BTreeMap<End, usize>,
}

/// Address and port, as in a frame.
type End = [u8; 6];

/// Good bytes in equal steps of time.
#[derive(Clone, Debug)]
pub struct Throughput {
    /// Length of a step.
    pub step: Micros,
    /// Bytes in each.
    pub bytes: Vec<u64>,
}

impl Throughput {
    fn add(&mut self, bytes: u64, now: Micros) {
        let index = (now / self.step) as usize;
        if index >= self.bytes.len() {
            self.bytes.resize(index + 1, 0);
        }
        self.bytes[index] += bytes;
    }
}

impl Site {
    /// A segment without hosts.
    #[must_use]
    pub fn new(mac: Mac, gateway: Mac, throughput_step: Micros) -> Site {
        let throughput = Throughput { step: throughput_step, bytes: Vec::new() };
        Site {
            mac,
            gateway,
            hosts: Vec::new(),
            throughput,
            strangers: 0,
            intrusions: 0,
            moved: 0,
            peers: BTreeMap::new(),
        }
    }

    /// Adds a host that opens these connections.
    pub fn add_client(&mut self, address: Ipv4Addr, plans: &[Plan], seed: u64) {
        let mut host = Host::new(address, seed);
        for plan in plans {
            let handle = host.sockets.add(socket());
            host.clients.push((handle, Client::new(*plan, seed)));
        }
        self.hosts.push(host);
    }

    /// Adds a host that answers on one port.
    pub fn add_server(&mut self, address: Ipv4Addr, port: u16, seed: u64) {
        let mut host = Host::new(address, seed);
        host.listen_port = Some(port);
        host.listen();
        self.hosts.push(host);
    }

    /// When [`Site::poll`] is to be called even if no frame arrives.
    #[must_use]
    pub fn next(&self) -> Option<Micros> {
        self.hosts.iter().filter_map(|host| host.next).min()
    }

    /// Lets every host whose time has come act; gives the frames it sends to `send`.
    pub fn poll(&mut self, now: Micros, mut send: impl FnMut(Vec<u8>)) {
        for index in 0..self.hosts.len() {
            if self.hosts[index].next.is_some_and(|next| next <= now) {
                self.poll_host(index, now, &mut send);
            }
        }
    }

    /// Takes a frame from the segment; gives the frames that answer it to `send`.
    pub fn receive(&mut self, frame: &[u8], now: Micros, mut send: impl FnMut(Vec<u8>)) {
        let Some(index) = self.host_of(frame) else {
            self.strangers += 1;
            return;
        };
        self.note_sender(frame, index);
        self.hosts[index].wire.received.push_back(frame[ETHERNET_LEN..].to_vec());
        self.poll_host(index, now, &mut send);
    }

    fn note_sender(&mut self, frame: &[u8], host: usize) {
        let (Some(address), Some(port)) = (frame.get(26..30), frame.get(34..36)) else { return };
        self.intrusions += u64::from(address == stranger::ADDRESS.octets());
        let mut end = End::default();
        end[..4].copy_from_slice(address);
        end[4..].copy_from_slice(port);
        self.moved += u64::from(*self.peers.entry(end).or_insert(host) != host);
    }

    /// The openers' records, by host.
    pub fn clients(&self) -> impl Iterator<Item = &Record> {
        self.hosts.iter().flat_map(|host| host.clients.iter().map(|(_, client)| &client.record))
    }

    /// The answering ends' records, of connections that came about.
    pub fn servers(&self) -> impl Iterator<Item = &Record> {
        let servers = self.hosts.iter().flat_map(|host| &host.servers);
        servers.filter(|(_, server)| !server.is_waiting()).map(|(_, server)| &server.record)
    }

    fn host_of(&self, frame: &[u8]) -> Option<usize> {
        let destination = frame.get(ETHERNET_LEN + 16..ETHERNET_LEN + 20)?;
        if frame[..6] != self.mac || frame[12..14] != ETHERTYPE_IPV4 {
            return None;
        }
        self.hosts.iter().position(|host| host.address.octets() == destination)
    }

    fn poll_host(&mut self, index: usize, now: Micros, send: &mut impl FnMut(Vec<u8>)) {
        let host = &mut self.hosts[index];
        let good = host.poll(now);
        if good > 0 {
            self.throughput.add(good, now);
        }
        for packet in host.wire.sent.drain(..) {
            let mut frame = Vec::with_capacity(ETHERNET_LEN + packet.len());
            frame.extend_from_slice(&self.gateway);
            frame.extend_from_slice(&self.mac);
            frame.extend_from_slice(&ETHERTYPE_IPV4);
            frame.extend_from_slice(&packet);
            send(frame);
        }
    }
}

/// One address with its sockets.
struct Host {
    address: Ipv4Addr,
    seed: u64,
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    clients: Vec<(SocketHandle, Client)>,
    servers: Vec<(SocketHandle, Server)>,
    listen_port: Option<u16>,
    next: Option<Micros>,
}

impl Host {
    fn new(address: Ipv4Addr, seed: u64) -> Host {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = super::stream::mix(seed ^ u64::from(u32::from(address)));
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        // An interface without addresses has room for one, and a table without routes for the default.
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(address, 24)));
        });
        let _ = interface.routes_mut().add_default_ipv4_route(address);
        let sockets = SocketSet::new(Vec::new());
        let (clients, servers) = (Vec::new(), Vec::new());
        let listen_port = None;
        let next = Some(0);
        Host { address, seed, interface, wire, sockets, clients, servers, listen_port, next }
    }

    /// Keeps enough sockets listening.
    fn listen(&mut self) {
        let Some(port) = self.listen_port else { return };
        let sockets = &self.sockets;
        let waits = |handle| sockets.get::<Socket<'_>>(handle).state() == State::Listen;
        let waiting = self.servers.iter().filter(|(handle, _)| waits(*handle)).count();
        for _ in waiting..LISTENERS {
            if self.servers.len() >= SOCKETS_MAX {
                return;
            }
            let mut listener = socket();
            if listener.listen(port).is_ok() {
                let handle = self.sockets.add(listener);
                self.servers.push((handle, Server::new(self.seed)));
            }
        }
    }

    /// Lets TCP and the connections act until neither has anything left to do; gives the bytes found good.
    fn poll(&mut self, now: Micros) -> u64 {
        let time = Instant::from_micros(i64::try_from(now).unwrap_or(i64::MAX));
        self.interface.poll(time, &mut self.wire, &mut self.sockets);
        let mut good = 0;
        for (handle, client) in &mut self.clients {
            if !client.record.is_over() {
                let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
                good += client.drive(socket, self.interface.context(), now);
            }
        }
        for (handle, server) in &mut self.servers {
            if !server.record.is_over() {
                good += server.drive(self.sockets.get_mut::<Socket<'_>>(*handle), now);
            }
        }
        self.listen();
        self.interface.poll(time, &mut self.wire, &mut self.sockets);
        let tcp = self.interface.poll_at(time, &self.sockets).map(|at| at.total_micros().max(0) as Micros);
        let clients = self.clients.iter().filter_map(|(_, client)| client.next(now));
        let ends = clients.chain(self.servers.iter().filter_map(|(_, server)| server.next(now))).min();
        // What TCP wants at once it tried just now, in vain: a window is closed. A frame will open it, if not a timer.
        let tcp = tcp.map(|next| if next <= now { now + RETRY_INTERVAL } else { next });
        self.next = [tcp, ends].into_iter().flatten().min().map(|next| next.max(now + 1));
        good
    }
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; SOCKET_BUFFER]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_congestion_control(CongestionControl::Reno);
    socket.set_nagle_enabled(false);
    socket.set_keep_alive(Some(KEEP_ALIVE));
    socket
}

/// smoltcp's view of the wire: IP packets in two queues.
#[derive(Default)]
struct Wire {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl phy::TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut packet = vec![0; len];
        let result = fill(&mut packet);
        self.0.push(packet);
        result
    }
}

impl phy::Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sent<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::{Direction, Phase};
    use super::*;

    const INSIDE: Mac = [2, 0, 0, 0, 0, 1];
    const OUTSIDE: Mac = [2, 0, 0, 0, 0, 2];

    fn plan(id: u32) -> Plan {
        let remote = (Ipv4Addr::new(198, 51, 100, 1), 80).into();
        let direction = if id.is_multiple_of(2) { Direction::Up } else { Direction::Down };
        Plan {
            id,
            local_port: 40_000 + id as u16,
            remote,
            opens: 1000,
            lasts: 400_000,
            direction,
            length: 50_000,
        }
    }

    /// Two sites joined by a wire of 1 ms that may change a frame or lose it.
    fn run(count: u32, mut tamper: impl FnMut(Micros, &mut Vec<u8>) -> bool) -> (Site, Site) {
        let mut sites = [Site::new(INSIDE, OUTSIDE, 10_000), Site::new(OUTSIDE, INSIDE, 10_000)];
        sites[0].add_client(Ipv4Addr::new(10, 0, 0, 1), &(0..count).map(plan).collect::<Vec<_>>(), 9);
        sites[1].add_server(Ipv4Addr::new(198, 51, 100, 1), 80, 9);
        let mut flying: VecDeque<(Micros, usize, Vec<u8>)> = VecDeque::new();
        let mut now = 0;
        while now < 20_000_000
            && !sites.iter().all(|site| site.clients().chain(site.servers()).all(Record::is_over))
        {
            for (index, site) in sites.iter_mut().enumerate() {
                let mut out = Vec::new();
                site.poll(now, |frame| out.push(frame));
                while flying.front().is_some_and(|(at, to, _)| *at <= now && *to == index) {
                    let (_, _, frame) = flying.pop_front().unwrap();
                    site.receive(&frame, now, |frame| out.push(frame));
                }
                for mut frame in out {
                    if tamper(now, &mut frame) {
                        flying.push_back((now + 1000, 1 - index, frame));
                    }
                }
            }
            now += 500;
        }
        let [inside, outside] = sites;
        (inside, outside)
    }

    #[test]
    fn every_byte_arrives() {
        let (inside, outside) = run(20, |_, _| true);
        assert_eq!(inside.clients().filter(|record| record.phase == Phase::Completed).count(), 20);
        assert_eq!(outside.servers().filter(|record| record.phase == Phase::Completed).count(), 20);
        for side in [&inside, &outside] {
            let records = || side.clients().chain(side.servers());
            assert_eq!(records().map(|record| record.verified).sum::<u64>(), 10 * 50_000);
            assert_eq!(records().map(|record| record.sent).sum::<u64>(), 10 * 50_000);
            assert!(records().all(|record| record.gaps.is_empty()));
            assert_eq!(side.throughput.bytes.iter().sum::<u64>(), 10 * 50_000);
        }
    }

    #[test]
    fn an_outage_shows_as_a_gap() {
        let (inside, outside) = run(3, |now, _| !(100_000..250_000).contains(&now));
        let receivers: Vec<_> =
            inside.clients().chain(outside.servers()).filter(|end| end.verified > 0).collect();
        assert_eq!(receivers.len(), 3);
        assert!(receivers.iter().all(|end| end.gaps.len() == 1), "one outage, one gap each: {receivers:?}");
    }

    #[test]
    fn a_damaged_frame_does_not_count_as_good() {
        // smoltcp drops what fails TCP's checksum, so the bytes come again.
        let mut damaged = 0;
        let (inside, outside) = run(1, |_, frame| {
            if damaged < 3 && frame.len() > 500 {
                damaged += 1;
                let last = frame.len() - 1;
                frame[last] ^= 1;
            }
            true
        });
        assert!(inside.clients().all(|record| record.phase == Phase::Completed));
        assert!(outside.servers().all(|record| record.verified == 50_000));
    }
}
