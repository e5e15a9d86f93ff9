//! One run of the demo from beginning to end.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use redplane_sdk::App;
use redplane_sdk::net::{DeviceId, EventKind, Network};
use redplane_sdk::protocol::Time;
use smoltcp::wire::IpAddress;

use super::capture::Writer;
use super::connection::{Micros, Phase, Record};
use super::plot;
use super::progress::{Progress, Snapshot};
use super::report::{self, Event, Report};
use super::scenario::{Firewall, LoadBalancer, Nat, Scenario};
use super::script::Script;
use super::topology::Topology;
use super::workload::{self, SPAN};

/// Virtual time between two looks at the run.
const LOOK_INTERVAL: Micros = 20_000;

/// A run that has not ended this long after its span is given up: some back-offs of TCP's timer, which doubles from one
/// second (RFC 6298).
const PATIENCE: Micros = 60_000_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether the state is replicated.
    pub replication: bool,
    /// All chance comes from it.
    pub seed: u64,
    /// How many connections to open.
    pub connections: u32,
    /// For how long a switch may act on a key.
    pub lease: Duration,
    /// Probability that a link loses a frame.
    pub loss: f64,
    /// Where to write the frames at the first switch.
    pub capture: Option<PathBuf>,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In numbers.
    pub report: Report,
    /// As a picture, SVG.
    pub picture: String,
}

/// The apps that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppName {
    /// The NAT.
    Nat,
    /// The firewall.
    Firewall,
    /// The load balancer.
    LoadBalancer,
}

impl AppName {
    /// Every app with its name.
    pub const ALL: [(&'static str, AppName); 3] = [
        (<Nat as Scenario>::App::NAME, AppName::Nat),
        (<Firewall as Scenario>::App::NAME, AppName::Firewall),
        (<LoadBalancer as Scenario>::App::NAME, AppName::LoadBalancer),
    ];
}

/// Runs the demo of an app.
///
/// # Errors
/// If the capture cannot be written, or the lease is too short.
pub fn run(app: AppName, options: &Options) -> Result<Outcome> {
    match app {
        AppName::Nat => run_scenario::<Nat>(options),
        AppName::Firewall => run_scenario::<Firewall>(options),
        AppName::LoadBalancer => run_scenario::<LoadBalancer>(options),
    }
}

fn run_scenario<S: Scenario>(options: &Options) -> Result<Outcome> {
    let mut plans = workload::plans(options.connections, options.seed);
    for plan in plans.iter_mut().flatten() {
        let IpAddress::Ipv4(server) = plan.remote.addr;
        plan.remote.addr = S::remote(server).into();
    }
    let mut topology: Topology<S> = Topology::new(options, &plans)?;
    let capture = match &options.capture {
        Some(path) => Some(record(&mut topology.network, topology.switches[0], Writer::create(path)?)),
        None => None,
    };
    let mut progress = Progress::new(workload::payload(&plans));
    let mut script = Script::new();
    let mut events = Vec::new();
    let mut now: Micros = 0;
    while now < SPAN + PATIENCE && !is_over(&topology, &script) {
        let look = now + LOOK_INTERVAL;
        now = script.next().map_or(look, |next| next.min(look));
        topology.network.run_until(Time(now));
        if script.next().is_some_and(|next| next <= now)
            && let Some(what) = script.step(&mut topology)?
        {
            progress.event(now, &what);
            events.push(Event { at_ms: now / 1000, what });
        }
        progress.show(&snapshot(&topology));
    }
    progress.finish();
    if let Some(capture) = capture {
        capture.finish()?;
    }
    let report = report(options, &topology, events);
    let sides = [topology.inside, topology.outside].map(|side| &topology.site(side).throughput);
    let picture = plot::svg(&report, &sides)?;
    Ok(Outcome { report, picture })
}

/// Whether nothing is left to wait for: every step is done, every client is, and so is every server it spoke with,
/// unless it was reset.
fn is_over<S: Scenario>(topology: &Topology<S>, script: &Script) -> bool {
    let clients: Vec<&Record> = topology.site(topology.inside).clients().collect();
    if script.next().is_some() || !clients.iter().all(|record| record.is_over()) {
        return false;
    }
    let completed =
        |id: u32| clients.iter().any(|client| client.id == id && client.phase == Phase::Completed);
    let servers = topology.site(topology.outside).servers();
    servers.filter(|server| !server.is_over()).all(|server| !completed(server.id))
}

fn snapshot<S: Scenario>(topology: &Topology<S>) -> Snapshot {
    let mut snapshot = Snapshot { now: topology.network.now().0, ..Snapshot::default() };
    for record in topology.site(topology.inside).clients() {
        snapshot.opened += u64::from(record.opened.is_some());
        snapshot.completed += u64::from(record.phase == Phase::Completed);
        snapshot.reset += u64::from(record.phase == Phase::Reset);
        snapshot.verified += record.verified;
    }
    snapshot.verified += topology.site(topology.outside).servers().map(|record| record.verified).sum::<u64>();
    snapshot
}

fn report<S: Scenario>(options: &Options, topology: &Topology<S>, events: Vec<Event>) -> Report {
    let clients: Vec<&Record> = topology.site(topology.inside).clients().collect();
    let servers: Vec<&Record> = topology.site(topology.outside).servers().collect();
    let (connections, bytes) = report::count(&clients, &servers);
    let times: Vec<Micros> = events.iter().map(|event| event.at_ms * 1000).collect();
    Report {
        app: S::App::NAME,
        replication: options.replication,
        seed: options.seed,
        duration_ms: topology.network.now().0 / 1000,
        connections,
        bytes,
        packets: topology.packets(),
        unsolicited: topology.unsolicited(),
        moved: S::STICKY.then(|| topology.site(topology.outside).moved),
        outage_ms: report::outage(&clients, &servers, &times),
        events,
    }
}

/// A capture that is being written while the network runs.
struct Recording(Rc<RefCell<(Option<Writer>, Result<()>)>>);

impl Recording {
    fn finish(self) -> Result<()> {
        let (writer, result) = &mut *self.0.borrow_mut();
        std::mem::replace(result, Ok(())).context("cannot write the capture")?;
        writer.take().map_or(Ok(()), Writer::finish)
    }
}

/// Writes what a device sends and gets.
fn record(network: &mut Network, device: DeviceId, writer: Writer) -> Recording {
    let shared = Rc::new(RefCell::new((Some(writer), Ok(()))));
    let recording = Recording(Rc::clone(&shared));
    network.set_tap(move |event| {
        let sent = event.kind == EventKind::Sent && event.from.0 == device;
        let received = event.kind == EventKind::Delivered && event.to.is_some_and(|to| to.0 == device);
        let (writer, result) = &mut *shared.borrow_mut();
        if let (true, Some(writer), Ok(())) = (sent || received, writer, &*result) {
            *result = writer.write(Duration::from_micros(event.time.0), event.frame);
        }
    });
    recording
}
