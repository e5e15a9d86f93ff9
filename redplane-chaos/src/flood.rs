//! A flood of new flows: from a configured switch, and from senders that nobody configured.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use redplane_protocol::{Header, Kind, Message, Serial, SwitchIdentity, Ticks};
use redplane_sdk::App;
use redplane_simulation::history::Micros;
use tokio::time::sleep;

use crate::app::tally;
use crate::clock::Clock;
use crate::cluster::{Admission, Cluster};
use crate::drill::{Options, SWITCHES, WARM_UP};
use crate::load::{Load, Sockets};
use crate::log::Log;
use crate::verdict::{self, Verdict};

/// How many times the admitted rate comes.
const TIMES: u64 = 10;

/// Within how long an established flow must be answered, at the first try.
const ANSWER_WITHIN: Micros = 100_000;

/// Of a million packets of established flows, how many must be.
const ANSWERED_PPM_MIN: u64 = 999_000;

/// Bytes by which a node may grow for each record that was let in: what a record takes, and room in its tables.
const BYTES_PER_RECORD: u64 = 512;

/// Bytes by which a node may grow otherwise: buffers that were never that full, and what the allocator keeps.
const GROWTH: u64 = 8 << 20;

/// Senders that nobody configured.
const SPOOFERS: u8 = 8;

/// Key of the first of their messages: no flow has it.
const SPOOFED_FROM: u32 = u32::from_be_bytes([100, 128, 0, 0]);

/// What a flood did.
#[derive(Clone, Debug)]
pub struct FloodReport {
    /// New keys a second that are let in from one switch.
    pub admitted: u32,
    /// New keys that the configured switch asked for.
    pub flooded: u64,
    /// Messages of the senders that nobody configured.
    pub spoofed: u64,
    /// What those got back. Nothing is right.
    pub answered_spoofers: u64,
    /// Packets of established flows during the flood.
    pub packets: u64,
    /// Those that were answered in time.
    pub in_time: u64,
    /// How many bytes each node grew.
    pub growth: Vec<i64>,
    /// How many they may grow.
    pub growth_max: u64,
    /// What the checks of the established flows' history found.
    pub verdict: Verdict,
}

impl FloodReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.verdict.is_content()
            && self.answered_spoofers == 0
            && self.packets > 0
            && self.in_time * 1_000_000 >= self.packets * ANSWERED_PPM_MIN
            && self.growth.iter().all(|growth| *growth <= self.growth_max as i64)
    }

    /// In words.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { admitted, flooded, spoofed, answered_spoofers, packets, in_time, verdict, .. } = self;
        let share = *in_time as f64 * 100.0 / (*packets).max(1) as f64;
        let mib = |bytes: i64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let growth: Vec<_> = self.growth.iter().map(|growth| mib(*growth)).collect();
        let mut text = format!(
            "admitted {admitted} new keys a second and switch; {flooded} came from one, {spoofed} from unconfigured senders\n\
             established flows: {share:.3} % of {packets} packets answered within {} ms (at least {:.1} %)\n\
             nodes grew by {} MiB (at most {})\n\
             sent to unconfigured senders: {answered_spoofers} datagrams\n\
             linearizable: {}; keys with lost writes: {}; unread: {}\n",
            ANSWER_WITHIN / 1000,
            ANSWERED_PPM_MIN as f64 / 10_000.0,
            growth.join(", "),
            mib(self.growth_max as i64),
            if verdict.not_linearizable == 0 { "yes" } else { "NO" },
            verdict.lost,
            verdict.unread,
        );
        verdict.told.iter().for_each(|one| text += &format!("  {one}\n"));
        text
    }
}

/// Runs the flood for the options' seconds.
///
/// # Errors
/// If it cannot be run to its end.
pub async fn run(options: &Options, per_switch: u32, folder: &Path) -> anyhow::Result<FloodReport> {
    let clock = Clock::start();
    let sockets = Sockets::bind(SWITCHES)?;
    let plan = options.plan(&sockets, Some(Admission { per_switch }));
    let cluster = Cluster::start(plan, folder).await.context("the cluster does not start")?;
    let load_plan = options.load(&cluster, u64::from(per_switch) * TIMES);
    let load = Load::start(&load_plan, sockets, clock)?;
    sleep(WARM_UP).await;
    let before = cluster.resident_bytes()?;
    let from = clock.micros();
    let targets = cluster.requests().into_iter().flatten().collect();
    let spoof = Spoof::start(targets, u64::from(per_switch) * TIMES)?;
    load.progress.flood.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(options.seconds)).await;
    load.progress.flood.store(false, Ordering::Relaxed);
    let until = clock.micros();
    let after = cluster.resident_bytes()?;
    let (spoofed, answered_spoofers) = spoof.finish();
    let progress = Arc::clone(&load.progress);
    let outcome = tokio::task::spawn_blocking(move || load.finish()).await??;
    drop(cluster);
    let (packets, in_time) = answered(&outcome.log, from, until);
    // Each switch may have saved up a second's worth.
    let records = u64::from(per_switch) * (options.seconds + 1) * SWITCHES as u64;
    Ok(FloodReport {
        admitted: per_switch,
        flooded: progress.flooded.load(Ordering::Relaxed),
        spoofed,
        answered_spoofers,
        packets,
        in_time,
        growth: before.iter().zip(&after).map(|(before, after)| *after as i64 - *before as i64).collect(),
        growth_max: GROWTH + records * BYTES_PER_RECORD,
        verdict: verdict::judge(&outcome.log, options.keys, outcome.reads_from),
    })
}

/// Packets that came in meanwhile, and those that left in time.
fn answered(log: &Log, from: Micros, until: Micros) -> (u64, u64) {
    let meanwhile = log.passages().iter().filter(|passage| (from..until).contains(&passage.entered));
    let mut counts = (0, 0);
    for passage in meanwhile {
        counts.0 += 1;
        let in_time = passage.left().is_some_and(|left| left <= passage.entered + ANSWER_WITHIN);
        counts.1 += u64::from(in_time);
    }
    counts
}

/// Senders that no configuration knows, at work.
struct Spoof {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    thread: Option<JoinHandle<()>>,
}

impl Spoof {
    /// Asks for new keys at this rate in all, as if it were the first switch.
    fn start(targets: Vec<SocketAddrV4>, rate: u64) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for at in 0..SPOOFERS {
            let socket =
                UdpSocket::bind((Ipv4Addr::new(127, 0, 1, 1 + at), 0)).context("no socket to spoof from")?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let work = move || {
            let start = Instant::now();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                let due = start.elapsed().as_micros() as u64 * rate / 1_000_000;
                while sent < due {
                    let socket = &sockets[sent as usize % sockets.len()];
                    // All pairs of senders and targets come in turn.
                    let target = targets[(sent / u64::from(SPOOFERS)) as usize % targets.len()];
                    let _ = socket.send_to(&lease(sent as u32), target);
                    sent += 1;
                }
                counted[0].store(sent, Ordering::Relaxed);
                let mut buffer = [0; 2048];
                let got = sockets.iter().filter(|socket| socket.recv_from(&mut buffer).is_ok()).count();
                counted[1].fetch_add(got as u64, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            }
        };
        let thread = thread::Builder::new().name("spoof".to_owned()).spawn(work)?;
        Ok(Self { stop, counts, thread: Some(thread) })
    }

    /// How many were sent, and how many came back.
    fn finish(mut self) -> (u64, u64) {
        self.end();
        (self.counts[0].load(Ordering::Relaxed), self.counts[1].load(Ordering::Relaxed))
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was told on its own thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Spoof {
    fn drop(&mut self) {
        self.end();
    }
}

/// A request for a new key, as the first switch would send it.
fn lease(number: u32) -> Vec<u8> {
    let header = Header {
        kind: Kind::Lease,
        create: true,
        reason: None,
        app: tally::App::ID,
        fingerprint: tally::App::FINGERPRINT,
        identity: SwitchIdentity { switch: 1, incarnation: 1 },
        generation: Serial(0),
        sequence: Serial(0),
        ticket: Serial(0),
        sent_at: Ticks(0),
        port: 1,
    };
    let key = SPOOFED_FROM.wrapping_add(number).to_be_bytes();
    Message { header, key: &key, value: &[0; 4], frame: &[0; 60] }.to_vec()
}
