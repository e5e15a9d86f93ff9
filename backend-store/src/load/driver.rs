//! One thread of the load generator: its keys, what is under way, and the loop that keeps them busy.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddrV4;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use redplane_protocol::fixed::shard_of;
use redplane_protocol::{NackReason, Ticks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::codec::{Answer, Ask, Codec, Request, Verdict};
use super::report::Part;
use super::{BenchArguments, BenchError};
use crate::service::udp::{BatchSocket, Outgoing, SocketOptions};

/// How long no lease is granted until the store is given up: many detection times and leases.
const LEASE_PATIENCE: Duration = Duration::from_secs(10);

/// The shortest sleep, so that an open loop leaves the processor to those it measures. A request is up to so much late,
/// which counts as its latency.
const NAP: Duration = Duration::from_micros(20);

/// How often in a timeout what is under way is looked through for what is overdue.
const LOOKS_PER_TIMEOUT: u32 = 8;

/// How many timeouts the end waits for what is still under way: enough for a tenth of all to be lost again and again.
const DRAIN_TIMEOUTS: u64 = 10;

/// One key. What is under way about it is at most one request.
#[derive(Clone, Copy)]
struct Slot {
    generation: u32,
    sequence: u32,
    ticket: u32,
    shard: u16,
    /// What is under way.
    asked: Option<Ask>,
    /// Whether a write has to follow the lease that is under way.
    is_writing: bool,
    /// Place in `Board::flight`, if something is.
    place: u32,
    /// When it should have been sent first, and when it was sent last; nanoseconds.
    intended: u64,
    sent: u64,
}

const _: () = assert!(size_of::<Slot>() <= 40, "hundreds of thousands of them pass through the cache");

/// Everything but the sockets.
struct Board {
    codec: Codec,
    addresses: Vec<SocketAddrV4>,
    /// Number of the first key.
    first: u32,
    slots: Vec<Slot>,
    /// Keys without a request, the longest idle one first.
    idle: VecDeque<u32>,
    /// Keys with one.
    flight: Vec<u32>,
    granted: usize,
    /// Whether answers count.
    is_measuring: bool,
    part: Part,
}

/// One thread.
pub(super) struct Driver {
    socket: BatchSocket,
    outgoing: Outgoing,
    board: Board,
    start: Instant,
    window: usize,
    timeout: u64,
    next_look: u64,
}

impl Driver {
    pub(super) fn new(arguments: &BenchArguments, thread: usize, incarnation: u16) -> io::Result<Self> {
        let share =
            |total: usize| total * (thread + 1) / arguments.threads - total * thread / arguments.threads;
        // Checked to be fewer than 2^32.
        let first = (arguments.keys * thread / arguments.threads) as u32;
        let count = share(arguments.keys);
        let mut codec = Codec::new(arguments, first, incarnation);
        let shards = arguments.addresses.len() as u16;
        let slots = (0..count as u32)
            .map(|at| Slot {
                generation: 0,
                sequence: 0,
                ticket: 1,
                shard: shard_of(crc32fast::hash(codec.key(first + at)), shards),
                asked: None,
                is_writing: false,
                place: 0,
                intended: 0,
                sent: 0,
            })
            .collect();
        let options = SocketOptions { gso: arguments.gso, ..SocketOptions::default() };
        Ok(Self {
            socket: BatchSocket::bind(SocketAddrV4::new(arguments.local, 0), options)?,
            outgoing: Outgoing::new(),
            board: Board {
                codec,
                addresses: arguments.addresses.clone(),
                first,
                slots,
                idle: (0..count as u32).collect(),
                flight: Vec::with_capacity(count),
                granted: 0,
                is_measuring: false,
                part: Part::new(),
            },
            start: Instant::now(),
            window: share(arguments.window).max(1),
            timeout: nanos(arguments.timeout),
            next_look: 0,
        })
    }

    /// Leases all keys.
    pub(super) fn lease(&mut self) -> Result<(), BenchError> {
        let socket_failed = |source| BenchError::Socket { what: "receive", source };
        let keys = self.board.slots.len();
        // Granted keys become idle again, so the first ones must not be asked for twice.
        let mut asked = 0;
        let mut progress = (0, self.now());
        while self.board.granted < keys {
            let now = self.now();
            if self.board.granted > progress.0 {
                progress = (self.board.granted, now);
            } else if now - progress.1 > nanos(LEASE_PATIENCE) {
                let nacks = self.board.part.nacks.clone();
                let seconds = LEASE_PATIENCE.as_secs();
                return Err(BenchError::NoLease { granted: self.board.granted, keys, seconds, nacks });
            }
            while asked < keys && self.board.flight.len() < self.window {
                self.board.idle.pop_front();
                self.board.ask(asked as u32, Ask::Lease, now, now, &mut self.outgoing);
                asked += 1;
            }
            self.turn(now, u64::MAX).map_err(socket_failed)?;
        }
        Ok(())
    }

    /// Keeps the keys busy, and says how that went.
    pub(super) fn run(&mut self, arguments: &BenchArguments) -> io::Result<Part> {
        // Sleep as long as asked for, not 50 µs more, which is the default slack. A kernel without it measures coarser.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        self.board.part = Part::new();
        let start = self.now();
        let from = start + nanos(arguments.warmup);
        let until = from + nanos(arguments.duration);
        let rate = arguments.rate.map(|rate| rate as f64 / arguments.threads as f64);
        let mut measured_from = None;
        let mut asked: u64 = 0;
        let end = loop {
            let now = self.now();
            if now >= until {
                break now;
            }
            if now >= from && measured_from.is_none() {
                measured_from = Some(now);
                self.board.start_measuring();
            }
            let mut next = u64::MAX;
            if let Some(rate) = rate {
                next = due(start, asked, rate);
                while next <= now && self.board.write_next(next, now, &mut self.outgoing) {
                    asked += 1;
                    next = due(start, asked, rate);
                }
            } else {
                while self.board.flight.len() < self.window
                    && self.board.write_next(now, now, &mut self.outgoing)
                {}
            }
            self.turn(now, next.min(until))?;
        };
        self.board.is_measuring = false;
        self.drain(end + DRAIN_TIMEOUTS * self.timeout, rate.is_some())?;
        let mut part = std::mem::replace(&mut self.board.part, Part::new());
        part.nanos = end - measured_from.unwrap_or(end);
        part.unanswered = self.board.flight.len() as u64;
        Ok(part)
    }

    /// Waits for what is still under way. Its latencies count in an open loop: the slowest ones are among them.
    fn drain(&mut self, until: u64, is_open: bool) -> io::Result<()> {
        let answers = self.board.part.answers;
        self.board.is_measuring = is_open;
        while !self.board.flight.is_empty() {
            let now = self.now();
            if now >= until {
                break;
            }
            self.turn(now, until)?;
        }
        self.board.part.answers = answers;
        Ok(())
    }

    /// Sends what was asked and what is overdue, and takes in answers; waits for the first one until then, at most.
    fn turn(&mut self, now: u64, until: u64) -> io::Result<()> {
        if now >= self.next_look {
            self.next_look = now + self.timeout / u64::from(LOOKS_PER_TIMEOUT);
            self.board.repeat_overdue(now, self.timeout, &mut self.outgoing);
        }
        if !self.outgoing.is_empty() {
            self.board.part.not_sent += self.outgoing.flush(&self.socket).dropped as u64;
        }
        if self.receive()? == 0 {
            let sleep = until.min(self.next_look).saturating_sub(self.now()).max(nanos(NAP));
            let sleep = Timespec::try_from(Duration::from_nanos(sleep)).ok();
            let mut sockets = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
            match poll(&mut sockets, sleep.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let Self { socket, board, start, .. } = self;
        // All of a batch arrived by the time it was read.
        let mut arrived = None;
        socket.receive_now(|_, bytes| {
            let arrived = *arrived.get_or_insert_with(|| nanos(start.elapsed()));
            board.on_datagram(bytes, arrived);
        })
    }

    fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

impl Board {
    fn start_measuring(&mut self) {
        self.part = Part::new();
        self.is_measuring = true;
    }

    /// Writes to the key that was idle for longest: whether there is one.
    fn write_next(&mut self, intended: u64, now: u64, outgoing: &mut Outgoing) -> bool {
        let Some(at) = self.idle.pop_front() else { return false };
        let slot = &mut self.slots[at as usize];
        slot.sequence = slot.sequence.wrapping_add(1);
        self.ask(at, Ask::Write, intended, now, outgoing);
        true
    }

    fn ask(&mut self, at: u32, ask: Ask, intended: u64, now: u64, outgoing: &mut Outgoing) {
        let slot = &mut self.slots[at as usize];
        slot.asked = Some(ask);
        slot.intended = intended;
        slot.is_writing = ask == Ask::Write;
        slot.place = self.flight.len() as u32;
        self.flight.push(at);
        self.send(at, now, outgoing);
    }

    fn send(&mut self, at: u32, now: u64, outgoing: &mut Outgoing) {
        let slot = &mut self.slots[at as usize];
        let Some(ask) = slot.asked else { return };
        slot.sent = now;
        let request = Request {
            ask,
            key: self.first + at,
            generation: if ask == Ask::Lease { 0 } else { slot.generation },
            sequence: slot.sequence,
            ticket: slot.ticket,
            sent_at: Ticks::from_micros(now / 1000),
        };
        outgoing.push(self.addresses[usize::from(slot.shard)], self.codec.request(&request));
    }

    fn repeat_overdue(&mut self, now: u64, timeout: u64, outgoing: &mut Outgoing) {
        for index in 0..self.flight.len() {
            let at = self.flight[index];
            if now.saturating_sub(self.slots[at as usize].sent) >= timeout {
                self.part.retransmissions += 1;
                self.send(at, now, outgoing);
            }
        }
    }

    fn on_datagram(&mut self, bytes: &[u8], now: u64) {
        let answer = self.codec.answer(bytes).ok();
        let known = answer.and_then(|answer| {
            let at = answer.key.checked_sub(self.first)?;
            Some((answer, at, self.slots.get(at as usize)?))
        });
        let Some((answer, at, slot)) = known else {
            self.part.wrong += 1;
            return;
        };
        match (slot.asked, answer.verdict) {
            // Somebody else wants the key. He gets it when this one's lease is over.
            (_, Verdict::Recalled) => {}
            (Some(Ask::Lease), Verdict::Granted) => self.on_grant(&answer, at),
            (Some(Ask::Write), Verdict::Acknowledged) => self.on_acknowledged(&answer, at, now),
            (Some(_), Verdict::Refused(reason)) => self.on_refused(&answer, at, reason),
            _ if is_old(slot, &answer) => self.part.duplicates += 1,
            _ => self.part.wrong += 1,
        }
    }

    fn on_grant(&mut self, answer: &Answer, at: u32) {
        let slot = &mut self.slots[at as usize];
        let Some((generation, sequence)) = answer.version else { return };
        let is_first = slot.generation == 0;
        (slot.generation, slot.sequence) = (generation, sequence);
        if slot.is_writing {
            // The write that found its lease gone; sent at the next look, its latency still counts from its beginning.
            slot.asked = Some(Ask::Write);
            slot.sequence = slot.sequence.wrapping_add(1);
            slot.sent = 0;
        } else {
            self.finish(at);
        }
        self.granted += usize::from(is_first);
    }

    fn on_acknowledged(&mut self, answer: &Answer, at: u32, now: u64) {
        let slot = &self.slots[at as usize];
        match answer.version {
            Some(version) if version != (slot.generation, slot.sequence) => {
                if is_old(slot, answer) {
                    self.part.duplicates += 1;
                } else {
                    self.part.wrong += 1;
                }
            }
            _ => {
                if self.is_measuring {
                    self.part.answers += 1;
                    self.part.latencies.saturating_record(now.saturating_sub(slot.intended).max(1));
                }
                self.finish(at);
            }
        }
    }

    /// When the store says no. What can pass is tried again when it is overdue.
    fn on_refused(&mut self, answer: &Answer, at: u32, reason: NackReason) {
        *self.part.nacks.entry(format!("{reason:?}").to_lowercase()).or_default() += 1;
        let slot = &mut self.slots[at as usize];
        let is_current = answer.version == Some((slot.generation, slot.sequence));
        if slot.asked == Some(Ask::Write)
            && is_current
            && matches!(reason, NackReason::Stale | NackReason::Absent)
        {
            slot.asked = Some(Ask::Lease);
            slot.ticket = slot.ticket.wrapping_add(1);
            slot.sent = 0;
        }
    }

    /// When nothing is under way about a key any more.
    fn finish(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        slot.asked = None;
        let place = slot.place as usize;
        self.flight.swap_remove(place);
        if let Some(moved) = self.flight.get(place) {
            self.slots[*moved as usize].place = place as u32;
        }
        self.idle.push_back(at);
    }
}

/// Whether an answer is about something that the key has behind it.
fn is_old(slot: &Slot, answer: &Answer) -> bool {
    answer.version.is_none_or(|(generation, sequence)| {
        let behind = |ours: u32, theirs: u32| ours.wrapping_sub(theirs) < 1 << 31;
        if generation == slot.generation {
            behind(slot.sequence, sequence)
        } else {
            behind(slot.generation, generation)
        }
    })
}

/// When request number `asked` is due.
fn due(start: u64, asked: u64, rate: f64) -> u64 {
    start + (asked as f64 * 1e9 / rate) as u64
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
