//! The simulated network: each impairment bites, and the same seed gives the same history.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use redplane_sdk::net::{
    Clock, Device, DeviceId, Ecmp, Event, EventKind, Link, LinkId, Loss, Network, Ports, SwitchDevice, Time,
};
use redplane_sdk::protocol::{Kind, Serial};

use crate::frames::Frame;
use crate::nat;
use crate::switch::counter::{Counter, port};
use crate::switch::rig::{
    CLIENT, INSIDE_PORT, OUTSIDE_PORT, Rig, SERVER, STORE_PORT, config, message_frame, pool, tables,
};

/// Keeps what it receives; says so once a millisecond if asked to.
#[derive(Default)]
struct Host {
    received: Vec<(Time, Vec<u8>)>,
    links: Vec<(Time, u16, bool)>,
    ticks: Vec<Time>,
    next_tick: Option<Time>,
}

impl Device for Host {
    fn receive(&mut self, _port: u16, frame: &[u8], now: Time, _out: &mut Ports) {
        self.received.push((now, frame.to_vec()));
    }

    fn next_timeout(&self) -> Option<Time> {
        self.next_tick
    }

    fn timeout(&mut self, now: Time, out: &mut Ports) {
        self.ticks.push(now);
        out.send(0, vec![0; 100]);
        self.next_tick = Some(now.plus(Duration::from_millis(1)));
    }

    fn link_changed(&mut self, port: u16, up: bool, now: Time, _out: &mut Ports) {
        self.links.push((now, port, up));
    }
}

type Counts = Rc<RefCell<BTreeMap<EventKind, usize>>>;

struct Pair {
    network: Network,
    a: DeviceId,
    b: DeviceId,
    link: LinkId,
    counts: Counts,
}

fn pair(link: Link, seed: u64) -> Pair {
    let mut network = Network::new(seed);
    let (a, b) = (network.add(Box::<Host>::default()), network.add(Box::<Host>::default()));
    let link = network.connect((a, 0), (b, 0), link);
    let counts = Counts::default();
    let count = counts.clone();
    network.set_tap(move |event: &Event<'_>| *count.borrow_mut().entry(event.kind).or_default() += 1);
    Pair { network, a, b, link, counts }
}

impl Pair {
    /// Sends numbered frames, ten microseconds apart, and waits for the last.
    fn send(&mut self, frames: u16) {
        for number in 0..frames {
            let mut frame = vec![0; 100];
            frame[..2].copy_from_slice(&number.to_be_bytes());
            self.network.send((self.a, 0), frame);
            self.network.run_for(Duration::from_micros(10));
        }
        self.network.run_for(Duration::from_millis(10));
    }

    fn arrived(&self) -> Vec<u16> {
        let host = self.network.device::<Host>(self.b).expect("a host");
        host.received.iter().map(|(_, frame)| u16::from_be_bytes([frame[0], frame[1]])).collect()
    }

    fn count(&self, kind: EventKind) -> usize {
        self.counts.borrow().get(&kind).copied().unwrap_or_default()
    }
}

#[test]
fn a_perfect_link_delays() {
    let mut pair = pair(Link::with_delay(Duration::from_micros(7)), 1);
    pair.send(3);
    let host = pair.network.device::<Host>(pair.b).expect("a host");
    assert_eq!(host.received.iter().map(|(time, _)| time.0).collect::<Vec<_>>(), [7, 17, 27]);
    assert_eq!(pair.network.now(), Time(10_030));
}

#[test]
fn loss_loses() {
    let mut pair = pair(Link { loss_probability: 0.3, ..Link::default() }, 2);
    pair.send(1000);
    let lost = pair.count(EventKind::Lost(Loss::Chance));
    assert!((200..400).contains(&lost), "{lost}");
    assert_eq!(pair.arrived().len() + lost, 1000);
}

#[test]
fn duplication_repeats() {
    let mut pair = pair(Link { duplicate_probability: 0.3, ..Link::default() }, 3);
    pair.send(1000);
    assert!((1200..1400).contains(&pair.arrived().len()), "{}", pair.arrived().len());
    let mut once = pair.arrived();
    once.dedup();
    assert_eq!(once.len(), 1000);
}

#[test]
fn reordering_reorders_and_loses_nothing() {
    let link = Link { reorder_probability: 0.2, jitter: Duration::from_micros(200), ..Link::default() };
    let mut pair = pair(link, 4);
    pair.send(1000);
    let mut arrived = pair.arrived();
    assert!(!arrived.is_sorted());
    arrived.sort_unstable();
    assert_eq!(arrived, (0..1000).collect::<Vec<_>>());
}

#[test]
fn corruption_flips_one_bit() {
    let mut pair = pair(Link { corrupt_probability: 0.5, ..Link::default() }, 5);
    for _ in 0..1000 {
        pair.network.send((pair.a, 0), vec![0; 100]);
    }
    pair.network.run_for(Duration::from_millis(1));
    let host = pair.network.device::<Host>(pair.b).expect("a host");
    let flipped: Vec<u32> =
        host.received.iter().map(|(_, frame)| frame.iter().map(|byte| byte.count_ones()).sum()).collect();
    assert!(flipped.iter().all(|bits| *bits <= 1));
    assert!((400..600).contains(&flipped.iter().sum::<u32>()));
}

#[test]
fn bandwidth_spaces_frames_and_the_queue_ends() {
    // 100 bytes at 80 Mbit/s take 10 µs.
    let mut pair = pair(Link { bandwidth: Some(80_000_000), queue_bytes_max: 500, ..Link::default() }, 6);
    for _ in 0..10 {
        pair.network.send((pair.a, 0), vec![0; 100]);
    }
    pair.network.run_for(Duration::from_millis(1));
    let host = pair.network.device::<Host>(pair.b).expect("a host");
    let times: Vec<_> = host.received.iter().map(|(time, _)| time.0).collect();
    assert_eq!(times, [11, 21, 31, 41, 51]);
    assert_eq!(pair.count(EventKind::Lost(Loss::QueueFull)), 5);
    // The other way is free.
    pair.network.send((pair.b, 0), vec![0; 100]);
    pair.network.run_for(Duration::from_millis(1));
    assert_eq!(pair.network.device::<Host>(pair.a).expect("a host").received.len(), 1);
}

#[test]
fn a_link_that_goes_down_loses_what_is_under_way_and_tells_both_ends() {
    let mut pair = pair(Link::with_delay(Duration::from_micros(100)), 7);
    pair.network.send((pair.a, 0), vec![1, 1]);
    pair.network.run_for(Duration::from_micros(50));
    pair.network.set_link_up(pair.link, false);
    pair.network.send((pair.a, 0), vec![2, 2]);
    pair.network.set_link_up(pair.link, true);
    pair.network.send((pair.a, 0), vec![3, 3]);
    pair.network.run_for(Duration::from_millis(1));
    assert_eq!(pair.arrived(), [0x0303]);
    assert_eq!(pair.count(EventKind::Lost(Loss::LinkDown)), 2);
    for device in [pair.a, pair.b] {
        let links = &pair.network.device::<Host>(device).expect("a host").links;
        assert_eq!(*links, [(Time(50), 0, false), (Time(50), 0, true)]);
    }
}

#[test]
fn a_partition_is_silent_and_heals() {
    let mut pair = pair(Link::default(), 8);
    pair.network.partition(&[pair.b], &[pair.a]);
    pair.send(5);
    assert_eq!((pair.arrived().len(), pair.count(EventKind::Lost(Loss::Partitioned))), (0, 5));
    assert!(pair.network.device::<Host>(pair.b).expect("a host").links.is_empty());
    pair.network.heal();
    pair.send(5);
    assert_eq!(pair.arrived().len(), 5);
}

#[test]
fn the_dead_do_nothing_until_a_fresh_device_takes_their_place() {
    let mut pair = pair(Link::default(), 9);
    pair.network.device_mut::<Host>(pair.b).expect("a host").next_tick = Some(Time(0));
    pair.network.run_until(Time(2500));
    assert_eq!(pair.network.device::<Host>(pair.b).expect("a host").ticks, [Time(0), Time(1000), Time(2000)]);
    pair.network.kill(pair.b);
    assert!(!pair.network.is_alive(pair.b));
    assert_eq!(pair.network.act(pair.b, |_: &mut Host, _, _| ()), None);
    pair.send(5);
    assert_eq!(pair.count(EventKind::Lost(Loss::DeadDevice)), 5);
    assert_eq!(pair.network.device::<Host>(pair.b).expect("a host").ticks.len(), 3);
    pair.network.revive(pair.b, Box::<Host>::default());
    pair.send(5);
    let fresh = pair.network.device::<Host>(pair.b).expect("a host");
    assert_eq!((fresh.received.len(), fresh.ticks.len()), (5, 0));
    let links: Vec<_> =
        pair.network.device::<Host>(pair.a).expect("a host").links.iter().map(|link| link.2).collect();
    assert_eq!(links, [false, true]);
}

#[test]
fn a_deadline_in_the_past_does_not_stop_the_clock() {
    struct Stuck(u64);
    impl Device for Stuck {
        fn receive(&mut self, _: u16, _: &[u8], _: Time, _: &mut Ports) {}
        fn next_timeout(&self) -> Option<Time> {
            Some(Time(0))
        }
        fn timeout(&mut self, _: Time, _: &mut Ports) {
            self.0 += 1;
        }
    }
    let mut network = Network::new(0);
    let stuck = network.add(Box::new(Stuck(0)));
    network.run_until(Time(100));
    assert_eq!(network.device::<Stuck>(stuck).expect("stuck").0, 101);
}

#[test]
fn frames_to_nowhere_are_lost() {
    let mut pair = pair(Link::default(), 10);
    pair.network.send((pair.a, 77), vec![1]);
    assert_eq!(pair.count(EventKind::Lost(Loss::Unconnected)), 1);
}

fn flow(source: u16) -> Vec<u8> {
    Frame::udp((CLIENT, source), (SERVER, 53), b"").build()
}

#[test]
fn ecmp_keeps_a_flow_on_its_path_while_the_path_lives() {
    let mut network = Network::new(11);
    let mut fabric = Ecmp::new(1, Duration::from_millis(50));
    fabric.add_route(Ipv4Addr::UNSPECIFIED, 0, vec![1, 2, 3]).expect("room");
    let fabric = network.add(Box::new(fabric));
    let hosts: Vec<_> = (1..=3u16)
        .map(|port| {
            let host = network.add(Box::<Host>::default());
            network.connect((fabric, port), (host, 0), Link::default());
            host
        })
        .collect();
    let paths = |network: &Network| -> Vec<_> {
        let fabric = network.device::<Ecmp>(fabric).expect("a fabric");
        (0..3000).map(|source| fabric.path(&flow(source)).expect("a path")).collect()
    };
    let before = paths(&network);
    for port in 1..=3 {
        let share = before.iter().filter(|path| **path == port).count();
        assert!((850..1150).contains(&share), "{share}");
    }
    network.kill(hosts[1]);
    network.run_for(Duration::from_millis(49));
    assert_eq!(paths(&network), before, "not yet detected");
    network.run_for(Duration::from_millis(2));
    let during = paths(&network);
    for (before, during) in before.iter().zip(&during) {
        assert!(*during != 2 && (*before == 2 || before == during), "only flows of the dead path move");
    }
    assert!(during.iter().zip(&before).any(|(during, before)| *before == 2 && *during == 1));
    assert!(during.iter().zip(&before).any(|(during, before)| *before == 2 && *during == 3));
    network.revive(hosts[1], Box::<Host>::default());
    network.run_for(Duration::from_millis(51));
    assert_eq!(paths(&network), before, "and they move back");

    network.kill(hosts[0]);
    network.kill(hosts[1]);
    network.kill(hosts[2]);
    network.run_for(Duration::from_millis(51));
    network.act(fabric, |fabric: &mut Ecmp, now, out| fabric.receive(9, &flow(1), now, out));
    assert_eq!(network.device::<Ecmp>(fabric).expect("a fabric").dropped(), 1);
}

#[test]
fn ecmp_sends_all_fragments_of_a_packet_one_way() {
    let mut fabric = Ecmp::new(1, Duration::ZERO);
    fabric.add_route(Ipv4Addr::UNSPECIFIED, 0, (1..=16).collect()).expect("room");
    let fragment = |flags: [u8; 2], source| {
        let mut frame = flow(source);
        frame[20..22].copy_from_slice(&flags);
        frame[24..26].fill(0);
        let checksum = redplane_sdk::checksum::checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame
    };
    let first = fabric.path(&fragment([0x20, 0], 1));
    assert!(first.is_some());
    assert_eq!(first, fabric.path(&fragment([0x20, 1], 2)));
    assert_eq!(first, fabric.path(&fragment([0, 2], 3)));
    assert!((0..100).any(|source| fabric.path(&flow(source)) != first), "whole packets do spread");
}

/// A store that grants what it is asked for, each time the next generation, and acknowledges every second write.
#[derive(Default)]
struct YesStore {
    generation: u32,
    writes: u32,
    asked: Vec<Kind>,
}

impl Device for YesStore {
    fn receive(&mut self, port: u16, frame: &[u8], _now: Time, out: &mut Ports) {
        let rig = Rig::<Counter>::with(config(), ());
        let request = rig.request(&[(STORE_PORT, frame.to_vec())]);
        self.asked.push(request.header.kind);
        let header = match request.header.kind {
            Kind::Lease => {
                self.generation += 1;
                let generation = Serial(self.generation);
                redplane_sdk::protocol::Header {
                    kind: Kind::Grant,
                    create: false,
                    generation,
                    ..request.header
                }
            }
            Kind::Write => {
                self.writes += 1;
                if self.writes % 2 == 1 {
                    return;
                }
                redplane_sdk::protocol::Header { kind: Kind::Ack, ..request.header }
            }
            _ => return,
        };
        out.send(port, message_frame(&header, &request.key, &request.value, &request.frame));
    }
}

#[test]
fn a_switch_on_the_network_asks_retransmits_and_drains() {
    let mut network = Network::new(12);
    let switch = Rig::<Counter>::with(config(), ()).switch;
    // A clock about to wrap, and fast.
    let clock = Clock { offset: (u64::from(u32::MAX) << 10) - 5000, drift_per_mille: 5 };
    let switch = network.add(Box::new(SwitchDevice::new(switch, clock, Time::ZERO)));
    let (store, host) = (network.add(Box::<YesStore>::default()), network.add(Box::<Host>::default()));
    network.connect((switch, STORE_PORT), (store, 0), Link::with_delay(Duration::from_micros(20)));
    network.connect((switch, 9), (host, 0), Link::default());
    let out = network.add(Box::<Host>::default());
    network.connect((switch, INSIDE_PORT), (out, 0), Link::default());

    network.send((out, 0), Frame::udp((CLIENT, 1), (SERVER, port::COUNT), b"").build());
    network.run_for(Duration::from_millis(1));
    assert_eq!(network.device::<YesStore>(store).expect("a store").asked, [Kind::Lease, Kind::Write]);
    network.run_for(Duration::from_millis(100));
    assert_eq!(
        network.device::<YesStore>(store).expect("a store").asked,
        [Kind::Lease, Kind::Write, Kind::Write]
    );
    network.send((out, 0), Frame::udp((CLIENT, 1), (SERVER, port::READ), b"").build());
    network.run_for(Duration::from_millis(1));
    assert_eq!(network.device::<Host>(host).expect("a host").received.len(), 1, "it is durable");
    network.act(switch, |switch: &mut SwitchDevice<Counter>, now, out| switch.release_all(now, out));
    network.run_for(Duration::from_millis(1));
    assert_eq!(network.device::<YesStore>(store).expect("a store").asked.last(), Some(&Kind::Release));
    let device = network.device::<SwitchDevice<Counter>>(switch).expect("a switch");
    assert_eq!(device.switch().statistics().retransmitted, 1);
}

/// Everything that happened in a network where everything goes wrong, as text.
fn history(seed: u64) -> String {
    let mut network = Network::new(seed);
    let switch = redplane_sdk::pipeline::Switch::<nat::App>::without_replication(
        config(),
        tables(),
        pool(),
        redplane_sdk::protocol::Ticks(0),
    );
    let switch =
        network.add(Box::new(SwitchDevice::new(switch.expect("legal"), Clock::default(), Time::ZERO)));
    let (inside, outside) = (network.add(Box::<Host>::default()), network.add(Box::<Host>::default()));
    let link = Link {
        delay: Duration::from_micros(30),
        bandwidth: Some(100_000_000),
        queue_bytes_max: 300,
        loss_probability: 0.1,
        duplicate_probability: 0.1,
        reorder_probability: 0.3,
        jitter: Duration::from_micros(90),
        corrupt_probability: 0.1,
    };
    network.connect((switch, INSIDE_PORT), (inside, 0), link);
    network.connect((switch, OUTSIDE_PORT), (outside, 0), link);
    let log = Rc::new(RefCell::new(String::new()));
    let tap = log.clone();
    network.set_tap(move |event: &Event<'_>| {
        use std::fmt::Write;
        writeln!(tap.borrow_mut(), "{event:?}").expect("strings take everything");
    });
    for number in 0..300 {
        network.send((inside, 0), flow(1024 + number % 16));
        network.run_for(Duration::from_micros(u64::from(number % 7)));
    }
    network.kill(outside);
    network.run_for(Duration::from_millis(3));
    log.take()
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = history(99);
    assert!(first.lines().count() > 500);
    for kind in ["Sent", "Delivered", "Lost(Chance)", "Lost(QueueFull)", "Lost(DeadDevice)"] {
        assert!(first.contains(kind), "no {kind}");
    }
    assert_eq!(first, history(99));
    assert_ne!(first, history(100));
}
