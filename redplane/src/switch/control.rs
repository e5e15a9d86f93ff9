//! The control socket of a switch: one line of JSON in, one out.
//!
//! ```text
//! {"order":"count"}                                              what was counted since it started
//! {"order":"set_store","shard":0,"address":..,"mac":..,"port":..}   a shard is reached by another way
//! ```

use std::io;
use std::path::Path;
use std::sync::mpsc::SyncSender;

use anyhow::Context;
use redplane_sdk::pipeline::StorePath;
use rustix::fd::OwnedFd;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::worker::Order;

/// Longest order.
const LINE_LEN_MAX: u64 = 4096;

/// The way to the switch's thread.
#[derive(Debug)]
pub(super) struct Orders {
    orders: SyncSender<Order>,
    wake: OwnedFd,
}

impl Orders {
    pub(super) fn new(orders: SyncSender<Order>, wake: OwnedFd) -> Self {
        Orders { orders, wake }
    }

    /// Hands an order to the switch's thread, and wakes it.
    pub(super) fn give(&self, order: Order) -> anyhow::Result<()> {
        self.orders.try_send(order).context("the switch does not keep up with its orders")?;
        rustix::io::write(&self.wake, &1u64.to_ne_bytes())?;
        Ok(())
    }
}

/// What may be asked for.
#[derive(Debug, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
enum Asked {
    Count,
    SetStore {
        shard: u16,
        #[serde(flatten)]
        path: StorePath,
    },
}

/// Answers at the socket for ever; without one it waits for ever. The socket is there when this returns.
pub(super) fn serve<'a>(
    path: Option<&Path>,
    orders: &'a Orders,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<'a>> {
    let listener = path.map(listen).transpose()?;
    Ok(async move {
        let Some(listener) = listener else { return std::future::pending().await };
        loop {
            let (stream, _) = listener.accept().await?;
            // One at a time: whoever asks is an operator, and the next one waits some microseconds.
            if let Err(error) = answer(stream, orders).await {
                tracing::debug!(%error, "the control connection ended");
            }
        }
    })
}

fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    // Left by one that was killed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))
}

async fn answer(stream: UnixStream, orders: &Orders) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if (&mut stream).take(LINE_LEN_MAX).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line) {
            Err(error) => serde_json::json!({ "error": error.to_string() }),
            Ok(Asked::SetStore { shard, path }) => {
                orders.give(Order::SetStore(shard, path))?;
                serde_json::json!({ "done": true })
            }
            Ok(Asked::Count) => {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                orders.give(Order::Count(sender))?;
                serde_json::to_value(receiver.await?)?
            }
        };
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}
