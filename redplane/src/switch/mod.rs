//! A software switch as a process: ports, one thread for the packets, and at the edge tokio for signals and orders.

pub mod config;
pub mod control;
pub mod metrics;
mod worker;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use redplane_sdk::App;
use redplane_sdk::pipeline::Switch;
use redplane_sdk::protocol::Fixed;
use redplane_sdk::protocol::wire::HEADER_LEN;
use rustix::event::EventfdFlags;
use tokio::signal::unix::{SignalKind, signal};

use crate::linux::{self, PacketSocket, Port, Tap};
use config::{PortFile, SwitchFile};
pub use control::Counters;
use control::{Order, Orders};
use worker::Worker;

/// For how long a switch that was told to stop goes on serving: the answers to what it holds come back within it.
const LINGER: Duration = Duration::from_millis(50);

/// Orders that wait for the switch's thread.
pub(crate) const ORDERS_MAX: usize = 64;

/// MTU of a TAP port.
const TAP_MTU: u16 = 1500;

/// A number that is another one at each boot: tenths of a second, which come round after almost two hours.
#[must_use]
pub fn incarnation() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ((now.as_millis() / 100) % u128::from(u16::MAX)) as u16 + 1
}

/// Bytes of a message of an app, without the packet that it carries.
#[must_use]
pub fn message_len<A: App>() -> usize {
    HEADER_LEN + A::Key::LEN + A::State::LEN
}

/// Runs a switch until SIGTERM or SIGINT; then it gives its leases back and says what it counted.
///
/// # Errors
/// If its configuration does not fit this machine, or an interface goes away.
pub fn run<A: App>(file: &SwitchFile) -> anyhow::Result<Counters> {
    let ports: anyhow::Result<Vec<_>> = file.port.iter().map(open).collect();
    let ports = ports?;
    let store_mtu =
        file.check_headroom(message_len::<A>(), |interface| linux::mtu(interface).unwrap_or(u32::MAX))?;
    let config = file.pipeline(incarnation(), store_mtu)?;
    let started = Instant::now();
    let switch = Switch::<A>::new(config, file.tables::<A>()?, worker::clock(started))?;
    let wake = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let (sender, receiver) = mpsc::sync_channel(ORDERS_MAX);
    let bell = wake.try_clone()?;
    let give: Orders = Arc::new(move |order| {
        sender.try_send(order).context("the switch does not keep up with its orders")?;
        rustix::io::write(&bell, &1u64.to_ne_bytes())?;
        Ok(())
    });
    let worker = Worker::new(switch, ports, receiver, wake, started);
    let (ended, end) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("{}-{}", A::NAME, file.id)).spawn(move || {
        let counters = worker.run();
        // Nobody listens if the process is ending anyway.
        let _ = ended.send(());
        counters
    })?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(attend(file, &give, end))?;
    drop(give);
    let counters = thread.join().map_err(|_| anyhow::anyhow!("the switch's thread panicked"))?;
    counters.context("the switch stopped")
}

/// Waits for signals and orders, until the switch has ended.
async fn attend(
    file: &SwitchFile,
    give: &Orders,
    end: tokio::sync::oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let control = control::serve(file.control.as_deref(), give)?;
    let metrics = metrics::serve(file.metrics()?, give)?;
    tracing::info!(app = file.app, switch = file.id, "the switch is up");
    tokio::pin!(end);
    tokio::pin!(control, metrics);
    loop {
        tokio::select! {
            _ = &mut end => return Ok(()),
            _ = terminate.recv() => give(Order::Retire(LINGER))?,
            _ = interrupt.recv() => give(Order::Retire(LINGER))?,
            error = &mut control => return error,
            error = &mut metrics => return error,
        }
    }
}

fn open(port: &PortFile) -> anyhow::Result<(u16, Port)> {
    let opened = if port.tap {
        Tap::create(&port.interface, TAP_MTU).map(Port::Tap)
    } else {
        PacketSocket::open(&port.interface).map(Port::Packet)
    };
    let opened = opened.with_context(|| {
        format!(
            "port {}: cannot open {} (it needs root, or CAP_NET_RAW and CAP_NET_ADMIN)",
            port.number, port.interface
        )
    })?;
    Ok((port.number, opened))
}
