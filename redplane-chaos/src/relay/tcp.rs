//! The relay for TCP, between a node and etcd: what is cut waits, as what TCP sends again and again would.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::Rules;
use crate::io::Io;

/// How often it is looked whether a direction is mended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Bytes that are passed on at once.
const PORTION: usize = 16 << 10;

/// The relay for TCP. Ends when it is dropped.
#[derive(Debug)]
pub struct TcpRelay {
    /// Where each node finds etcd, by its number.
    pub views: Vec<SocketAddr>,
    _stop: oneshot::Sender<()>,
}

impl TcpRelay {
    /// Opens a port for each of so many nodes, all of which lead to `target`.
    ///
    /// # Errors
    /// If there is no port or thread to be had.
    pub fn start(nodes: usize, target: SocketAddr, rules: &Arc<Rules>) -> anyhow::Result<Self> {
        let runtime = Io::new()?;
        let guard = runtime.enter();
        let bind = |_| {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listeners = (0..nodes).map(bind).collect::<std::io::Result<Vec<_>>>()?;
        drop(guard);
        let views = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let rules = Arc::clone(rules);
        thread::Builder::new().name("tcp-relay".to_owned()).spawn(move || {
            let Some(runtime) = runtime.take() else { return };
            for (node, listener) in listeners.into_iter().enumerate() {
                runtime.spawn(accept(listener, node, target, Arc::clone(&rules)));
            }
            // Said or dropped: either way it is over.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { views, _stop: stop })
    }
}

async fn accept(listener: TcpListener, node: usize, target: SocketAddr, rules: Arc<Rules>) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(LOOK_AGAIN).await;
            continue;
        };
        tokio::spawn(connect(near, node, target, Arc::clone(&rules)));
    }
}

async fn connect(near: TcpStream, node: usize, target: SocketAddr, rules: Arc<Rules>) {
    let coordinator = rules.coordinator();
    // A handshake needs both directions.
    mended(&rules, node, coordinator).await;
    mended(&rules, coordinator, node).await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    // Whichever direction ends first ends both.
    tokio::select! {
        () = pump(near_in, far_out, &rules, node, coordinator) => {}
        () = pump(far_in, near_out, &rules, coordinator, node) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rules: &Rules, source: usize, target: usize) {
    let mut buffer = vec![0; PORTION];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        mended(rules, source, target).await;
        if to.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
    mended(rules, source, target).await;
}

async fn mended(rules: &Rules, from: usize, to: usize) {
    while rules.is_cut(from, to) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
