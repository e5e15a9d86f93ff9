//! What the hosts do, and what must be true of it.

mod count;
mod translate;

pub use count::Count;
pub use translate::Translate;

use redplane_sdk::App;
use redplane_sdk::net::Random;
use redplane_sdk::pipeline::Route;

use crate::finding::Finding;
use crate::frame::PacketId;
use crate::history::Micros;
use crate::plan::Plan;

/// Ports of every switch that face hosts, and the one that faces the store.
pub mod port {
    /// The near side.
    pub const NEAR: u16 = 0;
    /// The far side.
    pub const FAR: u16 = 1;
    /// The store.
    pub const STORE: u16 = 2;
}

/// A packet that a host sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its flow: the fabric takes all of a flow by the same switch, for a while.
    pub flow: u32,
    /// Port of the switch that it comes in by.
    pub port: u16,
    /// It.
    pub frame: Vec<u8>,
}

/// Hosts, and the app between them.
pub trait Workload: Sized {
    /// The app that the switches run.
    type App: App;
    /// Name on the command line.
    const NAME: &'static str;

    /// The hosts of a plan.
    fn new(plan: &Plan) -> Self;
    /// The app's tables.
    fn tables() -> <Self::App as App>::Tables;
    /// The app's configuration.
    fn config(plan: &Plan) -> <Self::App as App>::Config;
    /// What `forward` goes by.
    fn routes() -> Vec<Route> {
        Vec::new()
    }

    /// The next packet.
    fn packet(&mut self, random: &mut Random) -> Outgoing;
    /// Packets that must get out once nothing fails any more, by key. Those of different keys may take each other's slot.
    fn probes(&mut self) -> Vec<Vec<Outgoing>>;

    /// When a packet came to a switch.
    fn entered(&mut self, port: u16, frame: &[u8], now: Micros);
    /// When a link repeated a message that carries an input packet, which may so be dealt with twice.
    fn repeated(&mut self, packet: PacketId);
    /// When a packet left a switch.
    fn left(&mut self, port: u16, frame: &[u8], now: Micros);

    /// The key that a packet is about, in the app's wire bytes.
    fn keys(&self) -> Vec<Vec<u8>>;
    /// What the store must hold at least for a key, given the value that it holds: in words if it does not.
    fn durable(&self, key: &[u8], value: Option<&[u8]>) -> Option<String>;
    /// Probes that did not get out.
    fn unanswered(&self) -> Option<String>;
    /// Whether all that came out is as if there were one switch that never fails.
    fn check(&self, plan: &Plan) -> Option<Finding>;
    /// The same of what was written only.
    fn check_writes(&self, plan: &Plan) -> Option<Finding>;
}
