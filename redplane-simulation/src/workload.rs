//! What the hosts do, and what must be true of it.

mod balance;
mod count;
mod guard;
mod phase;
mod translate;

pub use balance::Balance;
pub use count::Count;
pub use guard::Guard;
pub use translate::Translate;

use std::net::Ipv4Addr;

use backend_store::AppFactory;
use redplane_sdk::App;
use redplane_sdk::net::Random;
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{NextHop, Route};

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

/// Address and port of a host.
type End = (Ipv4Addr, u16);

/// The way to a prefix: by a port, to the host or router whose address ends with this number.
fn route(prefix: Ipv4Addr, length: u8, port: u16, number: u8) -> Route {
    let [source, destination] = [3, number].map(|last| MacAddr::new([2, 0, 0, 0, 1, last]));
    Route { prefix, length, next_hop: NextHop { port, source, destination } }
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
    /// The app as the store runs it, with its configuration.
    fn factory(&self) -> AppFactory;
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

    /// When a handler dropped a packet.
    fn dropped(&mut self, _packet: PacketId, _now: Micros) {}

    /// The keys that packets are about, in the app's wire bytes.
    fn keys(&self) -> Vec<Vec<u8>>;
    /// Whether a key was probed. An update that was lost within the chain, and that nobody was told of, is carried again
    /// only with the next one about its key; so the copies are equal if there was one.
    fn is_probed(&self, _key: &[u8]) -> bool {
        true
    }
    /// What every copy must hold at least for a key, given the value that one holds: in words if it does not.
    fn durable(&self, key: &[u8], value: Option<&[u8]>) -> Option<String>;
    /// Probes that did not get out.
    fn unanswered(&self) -> Option<String>;
    /// Whether all that came out is as if there were one switch that never fails.
    fn check(&self, plan: &Plan) -> Option<Finding>;
    /// The same of what was written only.
    fn check_writes(&self, plan: &Plan) -> Option<Finding>;
}
