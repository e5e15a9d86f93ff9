//! The thread of a switch: frames from its ports into the pipeline and out again, by batches. All of a key's packets must
//! come to the thread that has its slot, and a NAT's two sides have nothing in common that a card could hash by: so a
//! switch has one thread, and more switches behind ECMP use more cores.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use redplane_sdk::App;
use redplane_sdk::pipeline::{Output, Switch};
use redplane_sdk::protocol::time::TICK_US;
use redplane_sdk::protocol::{Kind, Ticks};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::control::{Counters, Order, PortCounters, SlotsNow};
use crate::linux::Port;

/// A port under its number.
struct Numbered {
    number: u16,
    port: Port,
    counters: PortCounters,
}

/// A switch with its ports.
pub(super) struct Worker<A: App> {
    switch: Switch<A>,
    ports: Vec<Numbered>,
    orders: Receiver<Order>,
    /// Readable when there is an order.
    wake: rustix::fd::OwnedFd,
    started: Instant,
    out: Output,
    retired: Option<Instant>,
}

impl<A: App> Worker<A> {
    /// A switch whose clock started at `started`. `wake` is an event file: whoever gives an order adds to it.
    pub(super) fn new(
        switch: Switch<A>,
        ports: Vec<(u16, Port)>,
        orders: Receiver<Order>,
        wake: rustix::fd::OwnedFd,
        started: Instant,
    ) -> Self {
        let numbered = |(number, port)| Numbered { number, port, counters: PortCounters::default() };
        let ports = ports.into_iter().map(numbered).collect();
        Worker { switch, ports, orders, wake, started, out: Output::new(), retired: None }
    }

    /// Runs until it is told to retire, or nobody is left who could tell it.
    ///
    /// # Errors
    /// If a port's interface is gone.
    pub(super) fn run(mut self) -> io::Result<Counters> {
        loop {
            let mut busy = false;
            for at in 0..self.ports.len() {
                busy |= self.receive(at)?;
            }
            let now = self.now();
            if !now.is_before(self.switch.poll_timeout()) {
                self.switch.handle_timeout(now, &mut self.out);
                self.flush();
            }
            if self.retired.is_some_and(|end| Instant::now() >= end) {
                return Ok(self.counters());
            }
            // Under load orders are looked for once a round, without a system call.
            if busy {
                self.obey();
            } else if self.wait()? {
                let mut count = [0; 8];
                rustix::io::read(&self.wake, &mut count)?;
                self.obey();
            }
        }
    }

    fn now(&self) -> Ticks {
        clock(self.started)
    }

    /// Takes a batch of a port through the pipeline; whether there was one.
    fn receive(&mut self, at: usize) -> io::Result<bool> {
        let now = self.now();
        let Worker { switch, ports, out, .. } = self;
        let Numbered { number, port, counters } = &mut ports[at];
        let received = port
            .receive(|frame| switch.process(*number, frame, now, out))
            .map_err(|error| io::Error::other(format!("port {number}, {}: {error}", port.name())))?;
        counters.received += received as u64;
        self.flush();
        Ok(received > 0)
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        for Numbered { number, port, counters } in &mut self.ports {
            let frames = self.out.iter().filter(|(leaves_by, _)| leaves_by == number);
            let taken = port.send(frames.map(|(_, frame)| frame));
            counters.sent += taken.sent;
            counters.refused += taken.refused;
        }
        self.out.clear();
    }

    /// Sleeps until a frame, an order or a deadline; whether there is an order.
    fn wait(&self) -> io::Result<bool> {
        let deadline = self.switch.poll_timeout().0.wrapping_sub(self.now().0);
        // A deadline that has passed is half of the number circle away.
        let ticks = if deadline > u32::MAX / 2 { 0 } else { deadline };
        let mut longest = Duration::from_micros(u64::from(ticks) * TICK_US);
        if let Some(end) = self.retired {
            longest = longest.min(end.saturating_duration_since(Instant::now()));
        }
        let timeout =
            Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: i64::from(longest.subsec_nanos()) };
        let fds = std::iter::once(self.wake.as_fd()).chain(self.ports.iter().map(|port| port.port.as_fd()));
        let mut polled: Vec<PollFd<'_>> = fds.map(readable).collect();
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) => Ok(polled[0].revents().contains(PollFlags::IN)),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn obey(&mut self) {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Count(answer)) => drop(answer.send(self.counters())),
                Ok(Order::SetStore(shard, path)) => self.switch.set_store(shard, path),
                Ok(Order::Retire(linger)) => self.retire(linger),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.retire(Duration::ZERO);
                    break;
                }
            }
        }
    }

    fn retire(&mut self, linger: Duration) {
        if self.retired.is_none() {
            self.switch.release_all(self.now(), &mut self.out);
            self.flush();
            self.retired = Some(Instant::now() + linger);
        }
    }

    fn counters(&self) -> Counters {
        let counted = self.switch.statistics();
        let packets = [
            ("received", counted.received),
            ("messages", counted.messages),
            ("transmitted", counted.transmitted),
            ("requests", counted.requests),
            ("suspended", counted.suspended),
            ("resumed", counted.resumed),
            ("held", counted.held),
            ("released", counted.released),
            ("recirculated", counted.recirculated),
            ("retransmitted", counted.retransmitted),
            ("refused", self.ports.iter().map(|port| port.counters.refused).sum()),
        ];
        let (requests, answers): (Vec<_>, Vec<_>) = counted.kinds().partition(|(kind, _)| kind.is_request());
        let named = |(kind, messages): (Kind, u64)| (kind.name(), messages);
        Counters {
            packets: packets.into(),
            requests: requests.into_iter().map(named).collect(),
            answers: answers.into_iter().map(named).collect(),
            ports: self.ports.iter().map(|port| (port.number, port.counters)).collect(),
            slots: Some(SlotsNow { all: u64::from(A::SLOTS), held: self.switch.slots().occupied() as u64 }),
            drops: counted.drops().map(|(reason, packets)| (reason.to_owned(), packets)).collect(),
        }
    }
}

/// The switch's clock, which began when it started.
pub(super) fn clock(started: Instant) -> Ticks {
    Ticks::from_micros(started.elapsed().as_micros() as u64)
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}
