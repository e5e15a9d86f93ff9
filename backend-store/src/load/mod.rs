//! Load: many keys kept busy over real sockets, and how long each answer took.
//!
//! [`bench()`] acts as a switch: it leases keys and writes to them, one request under way per key, and checks every
//! answer. The same driver speaks to a bare echo ([`echo`](fn@echo)) and to memcached, for comparison.

mod codec;
mod driver;
mod echo;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod report;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, SystemTime};

use redplane_protocol::fixed::{KEY_LEN_MAX, VALUE_LEN_MAX};
use redplane_protocol::wire::{DATAGRAM_LEN_MAX, HEADER_LEN};
use serde::{Deserialize, Serialize};

pub use echo::echo;
pub use report::{Bucket, Latency, Report};

use driver::Driver;

/// Bytes of a key at least: its number stands in it.
pub const KEY_LEN_MIN: usize = 4;

/// Keys of one thread at most when it speaks to memcached: its answers name no key, only a request number of 16 bits.
pub const MEMCACHED_KEYS_MAX: usize = 1 << 16;

/// Threads at most: beyond, the machine is too big for one load generator.
const THREADS_MAX: usize = 64;

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A store: LEASE first, then WRITEs.
    #[default]
    Store,
    /// Something that sends each WRITE back unchanged.
    Echo,
    /// memcached over UDP: SETs, with keys of printable characters.
    Memcached,
}

/// What to do. All have defaults but the addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchArguments {
    /// Who answers.
    pub target: Target,
    /// The request address of each shard's head, in the order of the shards. One for what has no shards.
    pub addresses: Vec<SocketAddrV4>,
    /// Address that requests are sent from: the store must know it as a switch's.
    pub local: Ipv4Addr,
    /// Threads that send, each with a socket of its own. Keys, window and rate are divided among them.
    pub threads: usize,
    /// Keys that are kept busy.
    pub keys: usize,
    /// Requests under way at once, at most. At most one per key is.
    pub window: usize,
    /// Requests per second, at even distances, whatever the answers do (open loop). Without it, the window is kept full
    /// (closed loop).
    pub rate: Option<u64>,
    /// How long to run before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub duration: Duration,
    /// A request that is not answered for so long is sent again.
    pub timeout: Duration,
    /// Bytes of a key, as the store's schema says.
    pub key_len: usize,
    /// Bytes of a value, as the store's schema says.
    pub value_len: usize,
    /// Bytes of the frame that a WRITE carries.
    pub frame_len: usize,
    /// Number of the app.
    pub app: u16,
    /// Fingerprint of the app's schema.
    pub fingerprint: u16,
    /// Number of the switch that this is.
    pub switch: u16,
    /// Whether requests are sent with segmentation offload.
    pub gso: bool,
}

impl Default for BenchArguments {
    fn default() -> Self {
        Self {
            target: Target::Store,
            addresses: Vec::new(),
            local: Ipv4Addr::LOCALHOST,
            threads: 1,
            keys: 100_000,
            // Sixteen full GSO sends: enough that neither end waits for the other.
            window: 1024,
            rate: None,
            warmup: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            timeout: Duration::from_millis(100),
            key_len: 13,
            value_len: 16,
            frame_len: 0,
            app: 1,
            fingerprint: 0,
            switch: 1,
            gso: true,
        }
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// An argument that cannot be.
    #[error("{name} is {found}, not {least} to {most}")]
    Argument {
        /// Its name.
        name: &'static str,
        /// What was asked for.
        found: usize,
        /// The least that is possible.
        least: usize,
        /// The most that is possible.
        most: usize,
    },
    /// No address at which to ask.
    #[error("no address to send requests to")]
    NoAddress,
    /// The socket.
    #[error("cannot {what}")]
    Socket {
        /// What failed.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store does not grant leases.
    #[error(
        "{granted} of {keys} keys were leased, and no more for {seconds} seconds; NACKs so far: {nacks:?}. Does a node serve \
         these addresses, is this switch in its configuration, are app, fingerprint and lengths those of its schema?"
    )]
    NoLease {
        /// Keys that were granted.
        granted: usize,
        /// Keys that were asked for.
        keys: usize,
        /// How long nothing came.
        seconds: u64,
        /// The store's reasons, if it answered at all.
        nacks: std::collections::BTreeMap<String, u64>,
    },
    /// Not one right answer while measuring.
    #[error("no answer from {address} in {seconds:.1} seconds")]
    Silence {
        /// The first address.
        address: SocketAddrV4,
        /// How long was waited.
        seconds: f64,
    },
    /// A thread of the load generator panicked.
    #[error("a thread of the load generator failed")]
    Thread,
}

impl BenchArguments {
    fn check(&self) -> Result<(), BenchError> {
        let within = |name, found, least, most| {
            if (least..=most).contains(&found) {
                Ok(())
            } else {
                Err(BenchError::Argument { name, found, least, most })
            }
        };
        if self.addresses.is_empty() {
            return Err(BenchError::NoAddress);
        }
        within("shards", self.addresses.len(), 1, usize::from(crate::SHARDS_MAX))?;
        within("threads", self.threads, 1, THREADS_MAX)?;
        // A key's number takes four bytes, and each key some fifty here.
        let keys_max = match self.target {
            Target::Memcached => MEMCACHED_KEYS_MAX * self.threads,
            _ => 100_000_000,
        };
        within("keys", self.keys, self.threads, keys_max)?;
        within("window", self.window, self.threads, self.keys)?;
        within("key_len", self.key_len, KEY_LEN_MIN, KEY_LEN_MAX)?;
        within("value_len", self.value_len, 1, VALUE_LEN_MAX)?;
        let rest = HEADER_LEN + self.key_len + self.value_len;
        within("frame_len", self.frame_len, 0, DATAGRAM_LEN_MAX - rest)?;
        if self.target == Target::Memcached {
            // A letter and the number in hexadecimal.
            within("key_len", self.key_len, 9, KEY_LEN_MAX)?;
        }
        Ok(())
    }
}

/// Leases the keys, keeps them busy, and reports. Takes `warmup` and `duration`, and the time that leases take.
///
/// # Errors
/// If an argument cannot be, the sockets cannot, or nobody answers.
pub fn bench(arguments: &BenchArguments) -> Result<Report, BenchError> {
    arguments.check()?;
    let socket = |what| move |source| BenchError::Socket { what, source };
    // Only registers the sockets: the driver polls by itself, since tokio's timers are too coarse for an even rate.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(socket("start the runtime"))?;
    let guard = runtime.enter();
    // The former life's leases end by themselves.
    let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(1, |elapsed| elapsed.as_secs());
    let incarnation = (seconds & 0xffff) as u16;
    let mut drivers = (0..arguments.threads)
        .map(|thread| Driver::new(arguments, thread, incarnation))
        .collect::<io::Result<Vec<_>>>()
        .map_err(socket("open a socket"))?;
    drop(guard);
    if arguments.target == Target::Store {
        for outcome in on_threads(&mut drivers, Driver::lease)? {
            outcome?;
        }
    }
    let parts = on_threads(&mut drivers, |driver| driver.run(arguments))?;
    let report = Report::of(parts.into_iter().collect::<io::Result<Vec<_>>>().map_err(socket("receive"))?);
    if report.answers == 0 {
        let seconds = (arguments.warmup + arguments.duration).as_secs_f64();
        return Err(BenchError::Silence { address: arguments.addresses[0], seconds });
    }
    Ok(report)
}

fn on_threads<T: Send>(
    drivers: &mut [Driver],
    work: impl Fn(&mut Driver) -> T + Sync,
) -> Result<Vec<T>, BenchError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = drivers.iter_mut().map(|driver| scope.spawn(|| work(driver))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| BenchError::Thread)).collect()
    })
}

#[cfg(test)]
mod tests;
