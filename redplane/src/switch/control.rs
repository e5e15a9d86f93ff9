//! The control socket of a switch: one line of JSON in, one out.
//!
//! ```text
//! {"order":"count"}                                              what was counted since it started
//! {"order":"set_store","shard":0,"address":..,"mac":..,"port":..}   a shard is reached by another way
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use redplane_sdk::pipeline::StorePath;
use serde::{Deserialize, Serialize, Serializer};
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

/// Who gives orders to a switch: an error if it does not keep up.
pub(crate) type Orders = Arc<dyn Fn(Order) -> anyhow::Result<()> + Send + Sync>;

/// What a switch counted since it started. BMv2 has nothing but drops.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// By name, as in [`redplane_sdk::pipeline::Statistics`], and `refused`: frames that an interface did not take.
    pub packets: BTreeMap<&'static str, u64>,
    /// Messages to the store, by kind.
    pub requests: BTreeMap<&'static str, u64>,
    /// Messages from the store, by kind.
    pub answers: BTreeMap<&'static str, u64>,
    /// By port.
    pub ports: BTreeMap<u16, PortCounters>,
    /// The slots, as they are now.
    pub slots: Option<SlotsNow>,
    /// Packets dropped, by reason; in an answer without those that are zero.
    #[serde(serialize_with = "without_zeros")]
    pub drops: BTreeMap<String, u64>,
}

/// Frames of a port.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PortCounters {
    /// That came in.
    pub received: u64,
    /// That the interface took.
    pub sent: u64,
    /// That it did not take.
    pub refused: u64,
}

/// How full the slots are.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SlotsNow {
    /// How many there are.
    pub all: u64,
    /// How many hold a lease, live or just over.
    pub held: u64,
}

fn without_zeros<S: Serializer>(drops: &BTreeMap<String, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(drops.iter().filter(|(_, packets)| **packets > 0))
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
pub(crate) fn serve<'a>(
    path: Option<&Path>,
    give: &'a Orders,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + use<'a>> {
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

async fn answer(stream: UnixStream, give: &Orders) -> anyhow::Result<()> {
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
