//! What goes through the switches: transfers over the kernel's TCP, and probes over UDP that see an outage to a few
//! milliseconds. Either end is a thread in the namespace of its hosts.

mod probe;
mod transfer;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use redplane::testbed::namespace::Namespace;

pub(crate) use transfer::{Ending, Transfers};

/// Where the servers listen.
const PORT: u16 = 7000;

/// A silence is remembered from this on.
const SILENCE_MIN: Duration = Duration::from_millis(20);

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Transfers at a time; one that ends is followed by another.
    pub transfers: u32,
    /// Bytes that a transfer brings in each [`Load::interval`].
    pub portion: usize,
    /// How often.
    pub interval: Duration,
    /// How long a transfer takes if nothing is in its way.
    pub duration: Duration,
    /// Probes, each a flow of its own.
    pub probes: u32,
    /// How often each sends.
    pub probe_interval: Duration,
    /// Megabits a second that iperf3 sends beside them.
    pub iperf_megabits: u32,
}

/// A flow heard nothing for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// Since when.
    pub from: Instant,
    /// Until when.
    pub to: Instant,
}

impl Silence {
    /// Its length.
    #[must_use]
    pub(crate) fn length(&self) -> Duration {
        self.to - self.from
    }
}

/// Remembers the silences of one flow.
#[derive(Debug)]
struct Listener {
    heard: Instant,
    silences: Vec<Silence>,
}

impl Listener {
    fn new() -> Self {
        Listener { heard: Instant::now(), silences: Vec::new() }
    }

    fn hear(&mut self) {
        let now = Instant::now();
        if now - self.heard >= SILENCE_MIN {
            self.silences.push(Silence { from: self.heard, to: now });
        }
        self.heard = now;
    }
}

/// What the traffic saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What became of the transfers.
    pub transfers: Transfers,
    /// Silences of transfers.
    pub transfer_silences: Vec<Silence>,
    /// Silences of probes.
    pub probe_silences: Vec<Silence>,
    /// Probes that were sent and came back.
    pub probes: (u64, u64),
}

/// Traffic that is under way.
#[derive(Debug)]
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    inside: JoinHandle<anyhow::Result<Seen>>,
    outside: JoinHandle<anyhow::Result<()>>,
}

impl Traffic {
    /// Starts it between hosts inside and a host outside.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(crate) fn start(
        inside: &Namespace,
        hosts: Vec<Ipv4Addr>,
        outside: &Namespace,
        server: Ipv4Addr,
        load: Load,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let stopped = Arc::clone(&stop);
        let outside = outside.spawn("outside", move || {
            runtime()?.block_on(async move {
                let transfers = transfer::listen(server).await?;
                let probes = probe::bind(server)?;
                let _ = ready.send(());
                tokio::select! {
                    done = transfer::serve(transfers, load) => done,
                    done = probe::echo(probes) => done,
                    () = until(&stopped) => Ok(()),
                }
            })
        })?;
        is_ready.recv().context("the server did not start")?;
        let stopped = Arc::clone(&stop);
        let inside = inside.spawn("inside", move || {
            runtime()?.block_on(async move {
                let probing = probe::send(&hosts, server, load, Arc::clone(&stopped));
                let transferring = transfer::run(&hosts, server, load, stopped);
                let (probes, transfers) = tokio::join!(probing, transferring);
                let (probe_silences, probes) = probes?;
                let (transfers, transfer_silences) = transfers;
                Ok(Seen { transfers, transfer_silences, probe_silences, probes })
            })
        })?;
        Ok(Traffic { stop, inside, outside })
    }

    /// Begins no transfer more, lets those that are under way come to their end, and says what was seen.
    ///
    /// # Errors
    /// If an end failed.
    pub(crate) fn finish(self) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.inside.join().map_err(|_| anyhow::anyhow!("the clients panicked"))?;
        self.outside.join().map_err(|_| anyhow::anyhow!("the servers panicked"))??;
        seen
    }
}

/// How often it is looked whether it is over.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

async fn until(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    // The transfers that are under way still need their server.
    tokio::time::sleep(transfer::PATIENCE * 2).await;
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
