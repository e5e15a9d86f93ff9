//! The control socket of a switch: one line of JSON in, one out.
//!
//! ```text
//! {"order":"count"}                                              what was counted since it started
//! {"order":"set_store","shard":0,"address":..,"mac":..,"port":..}   a shard is reached by another way
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use redplane_sdk::pipeline::StorePath;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a connection may be silent before the next one has its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest order.
const LINE_LEN_MAX: u64 = 4096;

/// What a switch can be told.
#[derive(Debug)]
pub(crate) enum Order {
    /// To say what was counted.
    Count(oneshot::Sender<Counters>),
    /// A shard is reached by another way from now on.
    SetStore(u16, StorePath),
    /// Give every lease back, serve for as long as this, and end.
    Retire(Duration),
}

/// What a switch counted since it started.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// By name, as in [`redplane_sdk::pipeline::Statistics`], and `refused`: frames that an interface did not take.
    pub packets: BTreeMap<&'static str, u64>,
    /// Packets dropped, by reason; without those that are zero.
    pub drops: BTreeMap<String, u64>,
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
pub(crate) fn serve<'a, G: Fn(Order) -> anyhow::Result<()>>(
    path: Option<&Path>,
    give: &'a G,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<'a, G>> {
    let listener = path.map(listen).transpose()?;
    Ok(async move {
        let Some(listener) = listener else { return std::future::pending().await };
        loop {
            let (stream, _) = listener.accept().await?;
            // One at a time: whoever asks is an operator, and the next one waits some microseconds.
            if let Err(error) = answer(stream, give).await {
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

async fn answer(stream: UnixStream, give: &impl Fn(Order) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let mut limited = (&mut stream).take(LINE_LEN_MAX);
        if timeout(PATIENCE, limited.read_line(&mut line)).await?? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line) {
            Err(error) => serde_json::json!({ "error": error.to_string() }),
            Ok(Asked::SetStore { shard, path }) => {
                give(Order::SetStore(shard, path))?;
                serde_json::json!({ "done": true })
            }
            Ok(Asked::Count) => {
                let (sender, receiver) = oneshot::channel();
                give(Order::Count(sender))?;
                serde_json::to_value(receiver.await?)?
            }
        };
        stream.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}
