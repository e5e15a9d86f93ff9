//! Transfers: a client asks for so many bytes, and gets them in portions, as a stream that is read while it comes.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{Listener, Load, PORT, Silence};

/// A transfer that hears nothing for so long is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// Every byte came, and was the right one.
    Completed,
    /// The connection was reset.
    Reset,
    /// Nothing came any more.
    Silent,
    /// It ended early, or with the wrong bytes.
    Wrong,
    /// It could not be opened.
    NotOpened,
}

/// What became of all.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Transfers {
    /// How many ended how.
    pub endings: BTreeMap<Ending, u32>,
    /// Bytes that came.
    pub bytes: u64,
}

impl Transfers {
    /// How many ended like this.
    #[must_use]
    pub(crate) fn count(&self, ending: Ending) -> u32 {
        self.endings.get(&ending).copied().unwrap_or_default()
    }

    /// How many did not complete.
    #[must_use]
    pub(crate) fn broken(&self) -> u32 {
        self.endings.values().sum::<u32>() - self.count(Ending::Completed)
    }
}

pub(super) async fn listen(server: Ipv4Addr) -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((server, PORT)))?;
    Ok(socket.listen(BACKLOG)?)
}

pub(super) async fn serve(listener: TcpListener, load: Load) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // The client says what went wrong.
            let _ = give(stream, load).await;
        });
    }
}

async fn give(mut stream: TcpStream, load: Load) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let seed = stream.read_u64().await?;
    let total = stream.read_u64().await?;
    let mut ticks = tokio::time::interval(load.interval);
    let mut sent = 0;
    let mut portion = Vec::with_capacity(load.portion);
    while sent < total {
        ticks.tick().await;
        let len = (load.portion as u64).min(total - sent);
        portion.clear();
        portion.extend((sent..sent + len).map(|at| byte(seed, at)));
        stream.write_all(&portion).await?;
        sent += len;
    }
    stream.shutdown().await
}

/// What stands at a place of a stream.
fn byte(seed: u64, at: u64) -> u8 {
    ((seed ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Keeps transfers under way until it is to stop, and waits for the last ones.
pub(super) async fn run(
    hosts: &[Ipv4Addr],
    server: Ipv4Addr,
    load: Load,
    stop: Arc<AtomicBool>,
) -> (Transfers, Vec<Silence>) {
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..load.transfers {
        let host = hosts[client as usize % hosts.len()];
        let stop = Arc::clone(&stop);
        tasks.spawn(async move {
            // Not all at once: neither do they end all at once then.
            tokio::time::sleep(load.duration * client / load.transfers.max(1)).await;
            let mut ended = Vec::new();
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) || round == 0 {
                let mut listener = Listener::new();
                let seed = u64::from(client) << 32 | round;
                let (ending, bytes) = one(host, server, load, seed, &mut listener).await;
                ended.push((ending, bytes, listener.silences));
                round += 1;
            }
            ended
        });
    }
    let (mut transfers, mut silences) = (Transfers::default(), Vec::new());
    for (ending, bytes, heard) in tasks.join_all().await.into_iter().flatten() {
        *transfers.endings.entry(ending).or_default() += 1;
        transfers.bytes += bytes;
        silences.extend(heard);
    }
    (transfers, silences)
}

async fn one(
    host: Ipv4Addr,
    server: Ipv4Addr,
    load: Load,
    seed: u64,
    listener: &mut Listener,
) -> (Ending, u64) {
    let portions = load.duration.as_millis() / load.interval.as_millis().max(1);
    let total = load.portion as u64 * portions as u64;
    let opened = tokio::time::timeout(PATIENCE, open(host, server, seed, total)).await;
    let Ok(Ok(mut stream)) = opened else { return (Ending::NotOpened, 0) };
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    // TCP waits a second before it asks again for a connection (RFC 6298): that says nothing about the switches.
    *listener = Listener::new();
    loop {
        let read = match tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await {
            Err(_) => return (Ending::Silent, at),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => return (Ending::Reset, at),
            Ok(Err(_)) => return (Ending::Silent, at),
            Ok(Ok(read)) => read,
        };
        if read == 0 {
            return (if at == total { Ending::Completed } else { Ending::Wrong }, at);
        }
        listener.hear();
        if buffer[..read].iter().zip(at..).any(|(found, at)| *found != byte(seed, at)) {
            return (Ending::Wrong, at);
        }
        at += read as u64;
    }
}

async fn open(host: Ipv4Addr, server: Ipv4Addr, seed: u64, total: u64) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((host, 0)))?;
    let mut stream = socket.connect(SocketAddr::from((server, PORT))).await?;
    stream.set_nodelay(true)?;
    stream.write_u64(seed).await?;
    stream.write_u64(total).await?;
    Ok(stream)
}
