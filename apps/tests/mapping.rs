//! What `bind` promises, rule by rule, on the records alone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use apps::nat::{App, Binding, Endpoint, Pool};
use redplane_sdk::App as _;
use redplane_sdk::protocol::create::{Created, Creator, Records, TypedCreator};
use redplane_sdk::protocol::{Fixed, Refusal, Schema};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const PUBLIC: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)];

/// All records of one shard.
#[derive(Default)]
struct Shard(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records for Shard {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    fn is_free(&self, key: &[u8]) -> bool {
        !self.0.contains_key(key)
    }
}

struct Nat {
    shard: Shard,
    pool: Pool,
}

fn nat(addresses: &[Ipv4Addr], first_port: u16, last_port: u16) -> Nat {
    let pool = Pool { addresses: addresses.to_vec(), first_port, last_port };
    Nat { shard: Shard::default(), pool }
}

fn bytes<T: Fixed>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::LEN];
    value.encode(&mut bytes);
    bytes
}

fn inside(host: u8, port: u16, protocol: u8) -> Endpoint {
    Endpoint { addr: Ipv4Addr::new(10, 0, 0, host), port, protocol }
}

impl Nat {
    fn create(&mut self, key: Endpoint) -> Result<Created, Refusal> {
        let pool = self.pool.clone();
        let schema = Schema { app: App::ID, fingerprint: App::FINGERPRINT, ..Schema::default() };
        let mut creator = TypedCreator::new(schema, App::idle, move |key: &Endpoint, records: &mut _| {
            App::create(key, records, &pool)
        });
        let created = creator.create(&bytes(&key), &self.shard)?;
        let new = created.companions.iter().cloned().chain([(bytes(&key), created.value.clone())]);
        for (key, value) in new {
            assert!(self.shard.0.insert(key, value).is_none(), "a record was overwritten");
        }
        Ok(created)
    }

    fn bind(&mut self, key: Endpoint) -> Binding {
        Binding::decode(&self.create(key).unwrap().value)
    }
}

#[test]
fn a_free_port_is_kept() {
    let mut nat = nat(&PUBLIC[..1], 1024, 65_535);
    for protocol in [TCP, UDP, ICMP] {
        let binding = nat.bind(inside(1, 40_001, protocol));
        assert_eq!(
            binding,
            Binding { addr: PUBLIC[0], port: 40_001 },
            "each protocol has its own port space"
        );
    }
}

#[test]
fn the_way_back_leads_to_the_same_end() {
    let mut nat = nat(&PUBLIC, 1024, 65_535);
    let created = nat.create(inside(1, 5000, UDP)).unwrap();
    let public = Binding::decode(&created.value);
    let [(key, value)] = &created.companions[..] else { panic!("one companion") };
    assert_eq!(Endpoint::decode(key), Endpoint { addr: public.addr, port: public.port, protocol: UDP });
    assert_eq!(Binding::decode(value), Binding { addr: Ipv4Addr::new(10, 0, 0, 1), port: 5000 });
}

/// RFC 4787 REQ-3: no port overloading.  REQ-4: parity.
#[test]
fn a_taken_port_is_never_given_twice_and_parity_stays() {
    let mut nat = nat(&PUBLIC[..1], 1024, 65_535);
    let mut given = std::collections::BTreeSet::new();
    for host in 1..=200 {
        for port in [40_001, 40_002] {
            let binding = nat.bind(inside(host, port, TCP));
            assert!(given.insert(binding), "{binding:?} was given twice");
            assert_eq!(binding.port % 2, port % 2);
        }
    }
}

/// RFC 4787 REQ-2: paired address pooling.
#[test]
fn a_host_keeps_its_address() {
    let mut nat = nat(&PUBLIC, 1024, 65_535);
    let mut used = std::collections::BTreeSet::new();
    for host in 1..=20 {
        let addresses: std::collections::BTreeSet<_> =
            (0..50).map(|turn| nat.bind(inside(host, 30_000 + turn, UDP)).addr).collect();
        assert_eq!(addresses.len(), 1, "host {host}");
        used.extend(addresses);
    }
    assert_eq!(used.len(), 2, "hosts are spread over the addresses");
}

#[test]
fn ports_outside_the_pool_are_not_given() {
    let mut nat = nat(&PUBLIC[..1], 2000, 2009);
    for port in [80, 2003, 40_000] {
        let binding = nat.bind(inside(1, port, TCP));
        assert!((2000..=2009).contains(&binding.port), "{binding:?}");
        assert_eq!(binding.port % 2, port % 2);
    }
}

#[test]
fn an_exhausted_pool_refuses_and_changes_nothing() {
    let mut nat = nat(&PUBLIC, 2000, 2009);
    let given: std::collections::BTreeSet<_> =
        (0..20).map(|host| nat.bind(inside(host, 7001, TCP))).collect();
    assert_eq!(given.len(), 20, "every port of every address is used, whatever its parity");
    let before = nat.shard.0.clone();
    assert_eq!(nat.create(inside(99, 7001, TCP)), Err(Refusal("pool_exhausted")));
    assert_eq!(nat.shard.0, before);
    nat.bind(inside(99, 7001, UDP));
}

#[test]
fn a_full_pool_costs_the_store_a_bounded_search() {
    struct Full(std::cell::Cell<usize>);
    impl Records for Full {
        fn get(&self, _: &[u8]) -> Option<&[u8]> {
            Some(&[0; 6])
        }

        fn is_free(&self, _: &[u8]) -> bool {
            self.0.set(self.0.get() + 1);
            false
        }
    }
    let pool = nat(&PUBLIC, 1024, 65_535).pool;
    let mut creator = redplane_sdk::app::creator::<App>(pool);
    let records = Full(std::cell::Cell::new(0));
    assert_eq!(creator.create(&bytes(&inside(1, 5000, TCP)), &records), Err(Refusal("pool_exhausted")));
    assert_eq!(records.0.get(), 2 * 2048);
}

#[test]
fn a_pool_without_addresses_or_ports_refuses() {
    assert_eq!(nat(&[], 1024, 65_535).create(inside(1, 5000, TCP)), Err(Refusal("pool_exhausted")));
    assert_eq!(nat(&PUBLIC, 2000, 1999).create(inside(1, 5000, TCP)), Err(Refusal("pool_exhausted")));
    assert!(nat(&PUBLIC, 0, 65_535).create(inside(1, 0, TCP)).is_ok());
    assert!(nat(&PUBLIC, 65_535, 65_535).create(inside(1, 1, TCP)).is_ok());
}

/// RFC 5382 REQ-5: not less than 2 hours 4 minutes.  RFC 4787 REQ-5: 5 minutes.  RFC 5508 REQ-2: 60 seconds.
#[test]
fn idle_times_by_protocol() {
    let mut nat = nat(&PUBLIC[..1], 1024, 65_535);
    let mut idle = |protocol| App::idle(&inside(1, 5000, protocol), &nat.bind(inside(1, 5000, protocol)));
    assert_eq!(idle(TCP), Duration::from_secs(2 * 3600 + 4 * 60));
    assert_eq!(idle(UDP), Duration::from_secs(300));
    assert_eq!(idle(ICMP), Duration::from_secs(60));
}

#[test]
fn the_choice_depends_on_nothing_but_the_records() {
    let run = || {
        let mut nat = nat(&PUBLIC, 1024, 65_535);
        (0..100).map(|host| nat.bind(inside(host, 40_000, TCP))).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
