//! The load generator against small servers in the same process.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use redplane_protocol::{Configuration, Destination, Lease, Node, NodeId, Schema, Shard, TypedCreator};

use super::{BenchArguments, BenchError, Target, bench};
use crate::service::clock::Clock;
use crate::service::udp::{BatchSocket, Outgoing, SocketOptions};

/// A server that ends with its test.
struct Server {
    address: SocketAddrV4,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each datagram with what `answer` pushes.
    fn start(mut answer: impl FnMut(SocketAddrV4, &[u8], &mut Outgoing) + Send + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guard = runtime.enter();
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let mut socket = BatchSocket::bind(any, SocketOptions::default()).unwrap();
        drop(guard);
        let address = socket.local_address().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let is_told = Arc::clone(&is_over);
        let serve = async move {
            let mut outgoing = Outgoing::new();
            while !is_told.load(Ordering::Relaxed) {
                let _ = tokio::time::timeout(Duration::from_millis(10), socket.readable()).await;
                socket.receive(|from, bytes| answer(from, bytes, &mut outgoing)).unwrap();
                outgoing.flush(&socket);
            }
        };
        let thread = Some(std::thread::spawn(move || runtime.block_on(serve)));
        Self { address, is_over, thread }
    }

    /// A store of one node and one shard of so many, which loses each `loses`-th request.
    fn store(shard: Shard, loses: u64) -> Self {
        let schema = Schema { app: 1, fingerprint: 0, key_len: 0, value_len: 0 };
        let creator = TypedCreator::<[u8; 13], [u8; 16], _, _>::new(
            schema,
            |_, _| Duration::from_secs(60),
            |_, _| Ok([0; 16]),
        );
        let mut node = Node::new(NodeId(0), shard, Lease::default(), vec![Box::new(creator)]);
        let clock = Clock::start();
        node.reconfigure(Configuration { epoch: 1, members: vec![NodeId(0)], joining: None }, clock.now());
        let mut count = 0;
        Self::start(move |from, bytes, outgoing| {
            count += 1;
            if loses != 0 && count % loses == 0 {
                return;
            }
            node.handle_request(from, bytes, clock.now());
            while let Some(transmit) = node.poll_transmit() {
                let Destination::Switch(to) = transmit.to else { continue };
                outgoing.push(to, &transmit.bytes);
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn arguments(target: Target, addresses: &[&Server]) -> BenchArguments {
    BenchArguments {
        target,
        addresses: addresses.iter().map(|server| server.address).collect(),
        keys: 500,
        window: 100,
        warmup: Duration::from_millis(50),
        duration: Duration::from_millis(300),
        timeout: Duration::from_millis(50),
        frame_len: 60,
        ..BenchArguments::default()
    }
}

#[test]
fn a_store_of_two_shards_answers_everything() {
    let shard = |index| Shard { index, count: 2 };
    let servers = [Server::store(shard(0), 0), Server::store(shard(1), 0)];
    let arguments = BenchArguments { threads: 2, ..arguments(Target::Store, &[&servers[0], &servers[1]]) };
    let report = bench(&arguments).unwrap();
    assert!(report.answers > 0 && report.requests_per_second > 0.0, "{report:?}");
    assert_eq!((report.wrong, report.unanswered, report.nacks.len()), (0, 0, 0), "{report:?}");
    let latency = &report.latency;
    assert!(0.0 < latency.p50_us && latency.p50_us <= latency.p99_us && latency.p99_us <= latency.max_us);
    let told: u64 = latency.buckets.iter().map(|bucket| bucket.count).sum();
    assert_eq!(told, report.answers);
}

#[test]
fn what_is_lost_is_asked_for_again() {
    let server = Server::store(Shard { index: 0, count: 1 }, 7);
    let report = bench(&arguments(Target::Store, &[&server])).unwrap();
    assert!(report.retransmissions > 0 && report.answers > 0, "{report:?}");
    assert_eq!((report.wrong, report.unanswered), (0, 0), "{report:?}");
    assert!(report.latency.max_us >= 50_000.0, "the lost one counts from its beginning: {report:?}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_counts_from_when_it_should_have_sent() {
    let mut count = 0;
    let server = Server::start(move |from, bytes, outgoing| {
        count += 1;
        if count == 100 {
            std::thread::sleep(Duration::from_millis(100));
        }
        outgoing.push(from, bytes);
    });
    let open = BenchArguments {
        rate: Some(2000),
        warmup: Duration::ZERO,
        timeout: Duration::from_secs(1),
        ..arguments(Target::Echo, &[&server])
    };
    let report = bench(&open).unwrap();
    assert!((300..=600).contains(&report.answers), "{report:?}");
    assert_eq!((report.wrong, report.unanswered, report.retransmissions), (0, 0, 0), "{report:?}");
    // In the tenth of a second of silence 200 requests were due; half of them waited for more than half of it.
    let slow = report.latency.buckets.iter().filter(|bucket| bucket.up_to_us > 66_000.0);
    assert!(slow.map(|bucket| bucket.count).sum::<u64>() > 50, "{report:?}");
}

#[test]
fn a_wrong_answer_is_noticed() {
    let server = Server::start(|from, bytes, outgoing| {
        let mut bytes = bytes.to_vec();
        // The last byte of the sequence number.
        bytes[19] = bytes[19].wrapping_add(1);
        outgoing.push(from, &bytes);
    });
    let outcome = bench(&arguments(Target::Echo, &[&server]));
    assert!(matches!(outcome, Err(BenchError::Silence { .. })), "{outcome:?}");
    let server = Server::start(|from, bytes, outgoing| {
        outgoing.push(from, bytes);
        outgoing.push(from, b"noise");
    });
    let report = bench(&arguments(Target::Echo, &[&server])).unwrap();
    assert!(report.wrong > 0 && report.answers > 0, "{report:?}");
}

#[test]
fn memcached_is_spoken() {
    let server = Server::start(|from, bytes, outgoing| {
        assert_eq!(&bytes[2..8], [0, 0, 0, 1, 0, 0]);
        let text = str::from_utf8(&bytes[8..]).unwrap();
        let (command, value) = text.strip_suffix("\r\n").unwrap().split_once("\r\n").unwrap();
        let words: Vec<_> = command.split(' ').collect();
        let ["set", key, "0", "0", len] = words[..] else { panic!("{command}") };
        assert_eq!((key.len(), len.parse(), value.len()), (13, Ok(16), 16));
        outgoing.push(from, &[&bytes[..8], b"STORED\r\n"].concat());
    });
    let report = bench(&arguments(Target::Memcached, &[&server])).unwrap();
    assert!(report.answers > 0, "{report:?}");
    assert_eq!((report.wrong, report.unanswered), (0, 0), "{report:?}");
}

#[test]
fn what_cannot_be_is_said() {
    let of = |change: fn(&mut BenchArguments)| {
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
        let mut arguments = BenchArguments { addresses: vec![server], ..BenchArguments::default() };
        change(&mut arguments);
        bench(&arguments).unwrap_err().to_string()
    };
    assert_eq!(of(|arguments| arguments.addresses.clear()), "no address to send requests to");
    assert_eq!(of(|arguments| arguments.threads = 0), "threads is 0, not 1 to 64");
    assert_eq!(of(|arguments| arguments.window = 100_001), "window is 100001, not 1 to 100000");
    assert_eq!(of(|arguments| arguments.key_len = 3), "key_len is 3, not 4 to 64");
    assert_eq!(of(|arguments| arguments.value_len = 257), "value_len is 257, not 1 to 256");
}
