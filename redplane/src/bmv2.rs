//! BMv2 as a process with the same face as the software switch: the same configuration, the same orders.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
pub use redplane_bmv2::missing;
use redplane_bmv2::{Entries, Launch, Loaded, Operator, Process};
use redplane_sdk::protocol::time::TICK_US;
use tokio::signal::unix::{SignalKind, signal};

use crate::linux;
use crate::program::Program;
use crate::switch::config::SwitchFile;
use crate::switch::control::{self, Order, Orders};
use crate::switch::{Counters, ORDERS_MAX, incarnation, metrics};

/// Where the switch listens. Each has a network namespace of its own.
const THRIFT_PORT: u16 = 9090;

/// Packets that may wait at a port. BMv2's 64 are less than what 200 connections may send at once.
const QUEUE_DEPTH: u32 = 1024;

/// After how long an unacknowledged write is sent again, in leases: as the software switch has it first.
const RESENDS_PER_LEASE: u32 = 10;

/// Runs the emitted P4 in BMv2 until SIGTERM or SIGINT. It goes on for a lease then: what it holds is asked back by the store
/// when another switch wants it, for the P4 gives nothing back by itself.
///
/// # Errors
/// If p4c or BMv2 is not there, or the configuration does not fit.
pub fn run(program: &dyn Program, file: &SwitchFile, folder: &Path) -> anyhow::Result<Counters> {
    refuse_authentication(file.authentication.is_some())?;
    if let Some(missing) = missing() {
        bail!("{missing}");
    }
    let emitted = program.emitted();
    let source = folder.join(format!("{}.p4", program.name()));
    std::fs::write(&source, emitted.v1model).with_context(|| source.display().to_string())?;
    let mut switch = Process::start(&Launch {
        program: redplane_bmv2::compile(&source, folder)?,
        interfaces: file.port.iter().map(|port| (port.number, port.interface.clone())).collect(),
        thrift_port: THRIFT_PORT,
        log: folder.join(format!("bmv2-{}.log", file.id)),
    })?;
    let entries = Entries::parse(emitted.entries)?;
    let store_mtu =
        file.check_headroom(program.message_len(), |interface| linux::mtu(interface).unwrap_or(u32::MAX))?;
    let config = file.pipeline(incarnation(), store_mtu)?;
    let resend = config.lease.ticks() / RESENDS_PER_LEASE;
    let mut operator = Operator::of_switch(&config, resend.max(1));
    operator.tables = toml::Value::Table(file.tables.clone()).try_into().context("[tables]")?;
    let mut loaded = switch.load(&entries, &operator)?;
    for port in &file.port {
        switch.runtime().set_queue_depth(port.number, QUEUE_DEPTH)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(attend(file, &mut switch, &mut loaded))?;
    count(&mut switch, &loaded)
}

/// # Errors
/// If messages are to be authenticated.
pub(crate) fn refuse_authentication(wanted: bool) -> anyhow::Result<()> {
    ensure!(
        !wanted,
        "[authentication]: the emitted P4 neither signs messages nor looks at their codes; use the software switch \
         (--data-plane software), or leave [authentication] out here and in the store's file, which then serves the \
         addresses of its [[switch]]"
    );
    Ok(())
}

async fn attend(file: &SwitchFile, switch: &mut Process, loaded: &mut Loaded) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (orders, mut ordered) = tokio::sync::mpsc::channel(ORDERS_MAX);
    let give: Orders =
        Arc::new(move |order| orders.try_send(order).context("the switch does not keep up with its orders"));
    let control = control::serve(file.control.as_deref(), &give)?;
    let metrics = metrics::serve(file.metrics()?, &give)?;
    tokio::pin!(control, metrics);
    let mut alive = tokio::time::interval(Duration::from_millis(100));
    tracing::info!(app = file.app, switch = file.id, "BMv2 is up");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            error = &mut control => return error,
            error = &mut metrics => return error,
            Some(order) = ordered.recv() => obey(order, switch, loaded)?,
            _ = alive.tick() => if switch.has_ended() { bail!("simple_switch ended by itself") },
        }
    }
    let lease = Duration::from_micros(u64::from(loaded.operator().lease_ticks) * TICK_US);
    tokio::time::sleep(lease).await;
    Ok(())
}

fn obey(order: Order, switch: &mut Process, loaded: &mut Loaded) -> anyhow::Result<()> {
    match order {
        // Whoever asked may be gone.
        Order::Count(answer) => drop(answer.send(count(switch, loaded)?)),
        Order::SetStore(shard, path) => loaded.set_store(switch.runtime(), shard, path)?,
        Order::Retire(_) => {}
    }
    Ok(())
}

/// BMv2 counts what is dropped, and nothing else that has a name.
fn count(switch: &mut Process, loaded: &Loaded) -> anyhow::Result<Counters> {
    Ok(Counters { drops: switch.drops(loaded.entries())?, ..Counters::default() })
}
