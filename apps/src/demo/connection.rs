//! One TCP connection of the demo: its opener ([`Client`]) and the end that answers ([`Server`]).
//!
//! The client names itself and the length in a header of eight bytes, then sends that many bytes of its stream,
//! evenly in time. The server checks every byte and gives back as many of the other direction's stream as it found
//! good, so the client sees progress only while both directions work.

use smoltcp::iface::Context;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::IpEndpoint;

use super::stream::Stream;

/// Virtual time in microseconds since the run began.
pub type Micros = u64;

/// Bytes of the header that opens the client's direction: connection and length, four each.
const HEADER_LEN: usize = 8;

/// The client may send a portion this often, so this is also how finely an outage is measured.
pub const PORTION_INTERVAL: Micros = 20_000;

/// Silence shorter than this is not kept: two portions may well come together.
const GAP_MIN: Micros = 3 * PORTION_INTERVAL;

/// Bytes handed to or taken from a socket at a time; a little more than one segment.
const CHUNK: usize = 2048;

/// What a connection is going to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which connection.
    pub id: u32,
    /// Port that the client opens it from.
    pub local_port: u16,
    /// Where to.
    pub remote: IpEndpoint,
    /// When it is opened.
    pub opens: Micros,
    /// How long the client takes to send everything.
    pub lasts: Micros,
    /// Bytes in each direction, header not counted.
    pub length: u64,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not opened yet.
    #[default]
    Waiting,
    /// Opened, not yet answered.
    Opening,
    /// Moving data.
    Open,
    /// All bytes are good; taking leave.
    Closing,
    /// Taken leave in order.
    Completed,
    /// Ended by a reset, or by bytes that were not those sent.
    Reset,
}

/// Silence between two arrivals of good bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the last byte before it came.
    pub from: Micros,
    /// When the first byte after it came.
    pub to: Micros,
}

/// What became of one end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Which connection.
    pub id: u32,
    /// How far it got.
    pub phase: Phase,
    /// When it was opened.
    pub opened: Option<Micros>,
    /// When it completed or was reset.
    pub ended: Option<Micros>,
    /// Payload bytes given to TCP.
    pub sent: u64,
    /// Payload bytes that came and were as they were sent.
    pub verified: u64,
    /// Long silences between good bytes.
    pub gaps: Vec<Gap>,
    /// When the last good bytes came, or when it was opened.
    pub last_progress: Micros,
}

impl Record {
    fn progress(&mut self, bytes: u64, now: Micros) {
        if now - self.last_progress >= GAP_MIN {
            self.gaps.push(Gap { from: self.last_progress, to: now });
        }
        self.last_progress = now;
        self.verified += bytes;
    }

    fn end(&mut self, phase: Phase, now: Micros) {
        self.phase = phase;
        self.ended = Some(now);
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase >= Phase::Completed
    }
}

/// The opener's end.
#[derive(Debug)]
pub struct Client {
    plan: Plan,
    up: Stream,
    down: Stream,
    header_sent: bool,
    /// What became of it.
    pub record: Record,
}

impl Client {
    /// A connection that will be opened when its time has come.
    #[must_use]
    pub fn new(plan: Plan, seed: u64) -> Client {
        let record = Record { id: plan.id, ..Record::default() };
        Client {
            plan,
            up: Stream::up(seed, plan.id),
            down: Stream::down(seed, plan.id),
            header_sent: false,
            record,
        }
    }

    /// Does what can be done now. Gives the bytes that it found good.
    pub fn drive(&mut self, socket: &mut Socket<'_>, context: &mut Context, now: Micros) -> u64 {
        if self.record.phase == Phase::Waiting && now >= self.plan.opens {
            self.open(socket, context, now);
        }
        let before = self.record.verified;
        match self.record.phase {
            Phase::Opening if socket.state() == State::Closed => self.record.end(Phase::Reset, now),
            Phase::Opening if socket.may_send() => self.record.phase = Phase::Open,
            _ => {}
        }
        if self.record.phase == Phase::Open {
            self.receive(socket, now);
            self.send(socket, now);
            if self.record.verified == self.plan.length && self.record.sent == self.plan.length {
                socket.close();
                self.record.phase = Phase::Closing;
            } else if socket.state() == State::Closed {
                self.record.end(Phase::Reset, now);
            }
        }
        match (self.record.phase, socket.state()) {
            (Phase::Closing, State::TimeWait) => self.record.end(Phase::Completed, now),
            (Phase::Closing, State::Closed) => self.record.end(Phase::Reset, now),
            _ => {}
        }
        self.record.verified - before
    }

    /// When [`Client::drive`] is to be called again even if nothing arrives.
    #[must_use]
    pub fn next(&self, now: Micros) -> Option<Micros> {
        match self.record.phase {
            Phase::Waiting => Some(self.plan.opens),
            Phase::Open if self.record.sent < self.plan.length => {
                let portions = (now - self.opened()) / PORTION_INTERVAL;
                Some(self.opened() + (portions + 1) * PORTION_INTERVAL)
            }
            _ => None,
        }
    }

    fn open(&mut self, socket: &mut Socket<'_>, context: &mut Context, now: Micros) {
        self.record.opened = Some(now);
        self.record.last_progress = now;
        match socket.connect(context, self.plan.remote, self.plan.local_port) {
            Ok(()) => self.record.phase = Phase::Opening,
            Err(_) => self.record.end(Phase::Reset, now),
        }
    }

    fn opened(&self) -> Micros {
        self.record.opened.unwrap_or(self.plan.opens)
    }

    /// Bytes that may have been sent by now, so that the whole takes the planned time.
    fn allowed(&self, now: Micros) -> u64 {
        let portions = (self.plan.lasts / PORTION_INTERVAL).max(1);
        let due = ((now - self.opened()) / PORTION_INTERVAL + 1).min(portions);
        (self.plan.length * due).div_ceil(portions)
    }

    fn send(&mut self, socket: &mut Socket<'_>, now: Micros) {
        if !self.header_sent && socket.send_capacity() - socket.send_queue() >= HEADER_LEN {
            let mut header = [0; HEADER_LEN];
            header[..4].copy_from_slice(&self.plan.id.to_be_bytes());
            header[4..].copy_from_slice(&(self.plan.length as u32).to_be_bytes());
            self.header_sent = socket.send_slice(&header).is_ok();
        }
        if self.header_sent {
            let allowed = self.allowed(now);
            send_stream(self.up, &mut self.record.sent, allowed, socket);
        }
    }

    fn receive(&mut self, socket: &mut Socket<'_>, now: Micros) {
        let mut chunk = [0; CHUNK];
        while let Ok(count) = socket.recv_slice(&mut chunk) {
            if count == 0 {
                return;
            }
            let good = self.down.matching(self.record.verified, &chunk[..count]);
            self.record.progress(good as u64, now);
            if good < count {
                socket.abort();
                self.record.end(Phase::Reset, now);
                return;
            }
        }
    }
}

/// The answering end.
#[derive(Debug)]
pub struct Server {
    seed: u64,
    header: [u8; HEADER_LEN],
    header_len: usize,
    length: u64,
    /// What became of it; its `id` is known once the header has come.
    pub record: Record,
}

impl Server {
    /// An end that waits for somebody to connect.
    #[must_use]
    pub fn new(seed: u64) -> Server {
        Server { seed, header: [0; HEADER_LEN], header_len: 0, length: u64::MAX, record: Record::default() }
    }

    /// Does what can be done now. Gives the bytes that it found good.
    pub fn drive(&mut self, socket: &mut Socket<'_>, now: Micros) -> u64 {
        let before = self.record.verified;
        if self.record.phase == Phase::Waiting && (socket.may_recv() || socket.may_send()) {
            self.record.phase = Phase::Open;
            self.record.opened = Some(now);
            self.record.last_progress = now;
        }
        if self.record.phase == Phase::Open {
            self.receive(socket, now);
            let allowed = self.record.verified;
            let down = Stream::down(self.seed, self.record.id);
            send_stream(down, &mut self.record.sent, allowed, socket);
            let all = self.record.verified == self.length && self.record.sent == self.length;
            if all && !socket.may_recv() {
                socket.close();
                self.record.phase = Phase::Closing;
            } else if socket.state() == State::Closed {
                self.record.end(Phase::Reset, now);
            }
        }
        if self.record.phase == Phase::Closing && socket.state() == State::Closed {
            self.record.end(Phase::Completed, now);
        }
        self.record.verified - before
    }

    /// Whether it still waits for somebody to connect.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.record.phase == Phase::Waiting
    }

    fn receive(&mut self, socket: &mut Socket<'_>, now: Micros) {
        while self.header_len < HEADER_LEN {
            match socket.recv_slice(&mut self.header[self.header_len..]) {
                Ok(count) if count > 0 => self.header_len += count,
                _ => return,
            }
            if self.header_len == HEADER_LEN {
                let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| self.header[at + i]));
                self.record.id = word(0);
                self.length = u64::from(word(4));
            }
        }
        let up = Stream::up(self.seed, self.record.id);
        let mut chunk = [0; CHUNK];
        while let Ok(count) = socket.recv_slice(&mut chunk) {
            if count == 0 {
                return;
            }
            let good = up.matching(self.record.verified, &chunk[..count]);
            self.record.progress(good as u64, now);
            if good < count || self.record.verified > self.length {
                socket.abort();
                self.record.end(Phase::Reset, now);
                return;
            }
        }
    }
}

fn send_stream(stream: Stream, sent: &mut u64, allowed: u64, socket: &mut Socket<'_>) {
    let mut chunk = [0; CHUNK];
    while *sent < allowed && socket.can_send() {
        let count = CHUNK.min((allowed - *sent) as usize).min(socket.send_capacity() - socket.send_queue());
        stream.fill(*sent, &mut chunk[..count]);
        match socket.send_slice(&chunk[..count]) {
            Ok(taken) if taken > 0 => *sent += taken as u64,
            _ => return,
        }
    }
}
