//! Probes: datagrams that come back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use super::{Listener, Load, PORT, Silence};

/// How long the last probes are waited for.
const LAST_WAIT: Duration = Duration::from_millis(300);

/// Bytes of a probe.
const LEN: usize = 32;

pub(super) fn bind(server: Ipv4Addr) -> anyhow::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind((server, PORT))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(super) async fn echo(socket: std::net::UdpSocket) -> anyhow::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut buffer = [0; LEN];
    loop {
        // What ICMP says of an earlier one is no reason to stop.
        if let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    }
}

/// Sends and hears until it is to stop: the silences, and how many were sent and came back.
pub(super) async fn send(
    hosts: &[Ipv4Addr],
    server: Ipv4Addr,
    load: Load,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<(Vec<Silence>, (u64, u64))> {
    let mut tasks = tokio::task::JoinSet::new();
    for probe in 0..load.probes {
        let host = hosts[probe as usize % hosts.len()];
        let socket = UdpSocket::bind(SocketAddr::from((host, 0))).await?;
        socket.connect((server, PORT)).await?;
        let stop = Arc::clone(&stop);
        tasks.spawn(async move { one(&socket, load, &stop).await });
    }
    let (mut silences, mut sent, mut heard) = (Vec::new(), 0, 0);
    while let Some(done) = tasks.join_next().await {
        let (listener, counts) = done??;
        silences.extend(listener.silences);
        sent += counts.0;
        heard += counts.1;
    }
    Ok((silences, (sent, heard)))
}

async fn one(socket: &UdpSocket, load: Load, stop: &AtomicBool) -> io::Result<(Listener, (u64, u64))> {
    let mut listener = Listener::new();
    let (mut sent, mut heard) = (0u64, 0u64);
    let mut ticks = tokio::time::interval(load.probe_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut buffer = [0; LEN];
    let mut until = None;
    while until.is_none_or(|until| Instant::now() < until) {
        if until.is_none() && stop.load(Ordering::Relaxed) {
            until = Some(Instant::now() + LAST_WAIT);
        }
        tokio::select! {
            _ = ticks.tick(), if until.is_none() => {
                // A route that is gone for a moment is what the probe is to see.
                let _ = socket.send(&sent.to_be_bytes()).await;
                sent += 1;
            }
            received = socket.recv(&mut buffer) => {
                if received.is_ok() {
                    heard += 1;
                    listener.hear();
                }
            }
            () = tokio::time::sleep(LAST_WAIT), if until.is_some() => {}
        }
    }
    Ok((listener, (sent, heard)))
}
