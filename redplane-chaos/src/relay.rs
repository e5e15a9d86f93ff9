//! A network between nodes that can be cut, without privileges.
//!
//! Each node has a configuration of its own in which the others, and the coordinator, have addresses of the relay. For each
//! two ends there are two sockets: what A sends to "B as A sees it" leaves from "A as B sees it" to B itself. So every
//! node finds its peers where its configuration says, in both directions, and each direction can be cut alone.

mod tcp;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use backend_store::service::udp::{BatchSocket, Outgoing, SocketOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::io::Io;
pub use tcp::TcpRelay;

/// Receive calls in a row for one socket, before the others have their turn.
const CALLS_IN_A_ROW: usize = 4;

/// How often the relay looks whether it shall end, at the least.
const LOOK_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Which directions are cut. The ends are the nodes by number, and then the coordinator.
#[derive(Debug)]
pub struct Rules {
    ends: usize,
    cut: Vec<AtomicBool>,
}

impl Rules {
    /// Nothing is cut between so many nodes and the coordinator.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let ends = nodes + 1;
        Self { ends, cut: (0..ends * ends).map(|_| AtomicBool::new(false)).collect() }
    }

    /// The coordinator's number among the ends.
    #[must_use]
    pub fn coordinator(&self) -> usize {
        self.ends - 1
    }

    /// Cuts this direction.
    pub fn cut(&self, from: usize, to: usize) {
        self.cut[from * self.ends + to].store(true, Ordering::Relaxed);
    }

    /// Mends everything.
    pub fn mend(&self) {
        self.cut.iter().for_each(|cut| cut.store(false, Ordering::Relaxed));
    }

    /// Whether this direction is cut.
    #[must_use]
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from * self.ends + to].load(Ordering::Relaxed)
    }
}

/// Two ends of the network that are to reach each other.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Numbers of both.
    pub ends: [usize; 2],
    /// Where they are. Unknown: wherever it was heard from last.
    pub addresses: [Option<SocketAddrV4>; 2],
}

/// How each end of a link sees the other: the first is what the first end sees.
pub type Views = [SocketAddrV4; 2];

/// The relay for UDP. Ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// By link, in the order in which they were given.
    pub views: Vec<Views>,
}

/// One end of a link at work.
struct Side {
    end: usize,
    address: Option<SocketAddrV4>,
    /// The other end as this one sees it.
    view: BatchSocket,
}

impl Relay {
    /// Opens the sockets of all links and passes on what arrives.
    ///
    /// # Errors
    /// If there is no socket or thread to be had.
    pub fn start(links: &[Link], rules: Arc<Rules>) -> anyhow::Result<Self> {
        let runtime = Io::new()?;
        let guard = runtime.enter();
        let side = |link: &Link, at: usize| -> io::Result<Side> {
            let view =
                BatchSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), SocketOptions::default())?;
            Ok(Side { end: link.ends[at], address: link.addresses[at], view })
        };
        let links = links.iter().map(|link| Ok([side(link, 0)?, side(link, 1)?]));
        let mut links = links.collect::<io::Result<Vec<_>>>().context("no sockets for the relay")?;
        let views = links.iter().map(|[a, b]| Ok([a.view.local_address()?, b.view.local_address()?]));
        let views = views.collect::<io::Result<Vec<_>>>()?;
        drop(guard);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let _guard = runtime.enter();
            let mut outgoing = Outgoing::new();
            while !stopped.load(Ordering::Relaxed) {
                turn(&mut links, &rules, &mut outgoing);
            }
        })?;
        Ok(Self { stop, thread: Some(thread), views })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was told on its own thread.
            let _ = thread.join();
        }
    }
}

/// Waits for datagrams and passes on what has come.
fn turn(links: &mut [[Side; 2]], rules: &Rules, outgoing: &mut Outgoing) {
    let views = links.iter().flatten().map(|side| &side.view);
    let mut waits: Vec<_> = views.map(|view| PollFd::new(view, PollFlags::IN)).collect();
    if poll(&mut waits, Some(&LOOK_UP)).is_err() {
        return;
    }
    let ready: Vec<bool> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
    for (link, ready) in links.iter_mut().zip(ready.chunks(2)) {
        let [a, b] = link;
        if ready[0] {
            pass_on(a, b, rules, outgoing);
        }
        if ready[1] {
            pass_on(b, a, rules, outgoing);
        }
    }
}

/// Takes what `from` sent to its view of `to`, and sends it to `to` from that one's view of `from`.
fn pass_on(from: &mut Side, to: &Side, rules: &Rules, outgoing: &mut Outgoing) {
    for _ in 0..CALLS_IN_A_ROW {
        let is_cut = rules.is_cut(from.end, to.end);
        let Side { address, view, .. } = from;
        let received = view.receive_now(|sender, bytes| {
            let address = address.get_or_insert(sender);
            // An end without an address of its own may come back with another port.
            if sender != *address {
                *address = sender;
            }
            if let (false, Some(to)) = (is_cut, to.address) {
                outgoing.push(to, bytes);
            }
        });
        outgoing.flush(&to.view);
        if received.unwrap_or(0) == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    fn socket() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let SocketAddr::V4(address) = socket.local_addr().expect("an address") else { panic!("IPv4") };
        (socket, address)
    }

    #[test]
    fn each_end_sees_the_other_at_one_address_and_each_direction_is_cut_alone() {
        let ((a, at_a), (b, at_b)) = (socket(), socket());
        let rules = Arc::new(Rules::new(2));
        let link = Link { ends: [0, 1], addresses: [Some(at_a), Some(at_b)] };
        let relay = Relay::start(&[link], Arc::clone(&rules)).expect("sockets");
        let [b_for_a, a_for_b] = relay.views[0];
        let mut buffer = [0; 9];
        let mut pass = |from: &UdpSocket, view: SocketAddrV4, to: &UdpSocket| {
            from.send_to(b"hello", view).expect("sent");
            to.recv_from(&mut buffer).ok()
        };
        assert_eq!(pass(&a, b_for_a, &b), Some((5, a_for_b.into())));
        assert_eq!(pass(&b, a_for_b, &a), Some((5, b_for_a.into())));
        rules.cut(0, 1);
        assert_eq!(pass(&a, b_for_a, &b), None);
        assert_eq!(pass(&b, a_for_b, &a), Some((5, b_for_a.into())));
        rules.mend();
        assert_eq!(pass(&a, b_for_a, &b), Some((5, a_for_b.into())));
    }
}
