//! One TCP connection of the demo: its opener ([`Client`]) and the end that answers ([`Server`]).
//!
//! The client says in a header which connection this is and what will be moved. Then one end sends, evenly in time, and
//! the other checks every byte and, when all were good, answers with a receipt. Half of the connections go up, half down.
//! No connection sends both ways at once: smoltcp 0.14 acknowledges with the sequence number that it goes back to when
//! its timer expires, not with the highest that it sent; with both ends in that state neither accepts the other's
//! acknowledgement (RFC 9293, section 3.10.7.4), and they stay there for ever.

use smoltcp::iface::Context;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::wire::IpEndpoint;

use super::stream::Stream;

/// Virtual time in microseconds since the run began.
pub type Micros = u64;

/// Bytes of the header that opens the client's direction: connection, length, time in ms, direction; four each.
const HEADER_LEN: usize = 16;

/// Bytes of the receipt.
const RECEIPT_LEN: usize = 8;

/// The sender may send a portion this often, so this is also how finely an outage is measured.
pub const PORTION_INTERVAL: Micros = 20_000;

/// Silence shorter than this is not kept: two portions may well come together.
const GAP_MIN: Micros = 3 * PORTION_INTERVAL;

/// Bytes handed to or taken from a socket at a time; a little more than one segment.
const CHUNK: usize = 2048;

/// Which end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Up,
    /// The server.
    Down,
}

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
    /// How long the sender takes to send everything.
    pub lasts: Micros,
    /// Which end sends.
    pub direction: Direction,
    /// Bytes, header and receipt not counted.
    pub length: u32,
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

/// The bytes of a connection, at the end that sends them or at the other.
#[derive(Debug)]
struct Exchange {
    stream: Stream,
    sends: bool,
    length: u64,
    lasts: Micros,
    began: Micros,
    receipt: Vec<u8>,
}

/// How far an [`Exchange`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Going,
    /// The receipt was sent, or came and was right.
    Done,
    /// A byte was not as it was sent.
    Bad,
}

impl Exchange {
    fn drive(&mut self, record: &mut Record, socket: &mut Socket<'_>, now: Micros) -> Progress {
        let expected = self.stream.digest(self.length).to_be_bytes();
        if self.sends {
            self.send(record, socket, now);
            let mut byte = [0];
            while self.receipt.len() < RECEIPT_LEN && socket.recv_slice(&mut byte) == Ok(1) {
                self.receipt.extend_from_slice(&byte);
            }
            return match self.receipt.len() {
                RECEIPT_LEN if self.receipt == expected => Progress::Done,
                RECEIPT_LEN => Progress::Bad,
                _ => Progress::Going,
            };
        }
        if !self.receive(record, socket, now) {
            return Progress::Bad;
        }
        if record.verified < self.length {
            return Progress::Going;
        }
        if self.receipt.is_empty() && socket.send_capacity() - socket.send_queue() >= RECEIPT_LEN {
            let _ = socket.send_slice(&expected);
            self.receipt.extend_from_slice(&expected);
        }
        if self.receipt.is_empty() { Progress::Going } else { Progress::Done }
    }

    /// When the next portion may be sent.
    fn next(&self, record: &Record, now: Micros) -> Option<Micros> {
        let portions = (now - self.began) / PORTION_INTERVAL;
        (self.sends && record.sent < self.length).then_some(self.began + (portions + 1) * PORTION_INTERVAL)
    }

    fn send(&mut self, record: &mut Record, socket: &mut Socket<'_>, now: Micros) {
        let portions = (self.lasts / PORTION_INTERVAL).max(1);
        let due = ((now - self.began) / PORTION_INTERVAL + 1).min(portions);
        let allowed = (self.length * due).div_ceil(portions);
        let mut chunk = [0; CHUNK];
        while record.sent < allowed && socket.can_send() {
            let room = socket.send_capacity() - socket.send_queue();
            let count = CHUNK.min((allowed - record.sent) as usize).min(room);
            self.stream.fill(record.sent, &mut chunk[..count]);
            match socket.send_slice(&chunk[..count]) {
                Ok(taken) if taken > 0 => record.sent += taken as u64,
                _ => return,
            }
        }
    }

    /// Whether all bytes that came were good.
    fn receive(&mut self, record: &mut Record, socket: &mut Socket<'_>, now: Micros) -> bool {
        let mut chunk = [0; CHUNK];
        while let Ok(count) = socket.recv_slice(&mut chunk) {
            if count == 0 {
                break;
            }
            let good = self.stream.matching(record.verified, &chunk[..count]);
            record.progress(good as u64, now);
            if good < count || record.verified > self.length {
                return false;
            }
        }
        true
    }
}

/// The opener's end.
#[derive(Debug)]
pub struct Client {
    plan: Plan,
    exchange: Exchange,
    header_sent: bool,
    /// What became of it.
    pub record: Record,
}

impl Client {
    /// A connection that will be opened when its time has come.
    #[must_use]
    pub fn new(plan: Plan, seed: u64) -> Client {
        let exchange = Exchange {
            stream: Stream::new(seed, plan.id),
            sends: plan.direction == Direction::Up,
            length: plan.length.into(),
            lasts: plan.lasts,
            began: plan.opens,
            receipt: Vec::new(),
        };
        let record = Record { id: plan.id, ..Record::default() };
        Client { plan, exchange, header_sent: false, record }
    }

    /// Does what can be done now. Gives the bytes that it found good.
    pub fn drive(&mut self, socket: &mut Socket<'_>, context: &mut Context, now: Micros) -> u64 {
        if self.record.phase == Phase::Waiting && now >= self.plan.opens {
            self.open(socket, context, now);
        }
        let before = self.record.verified;
        match self.record.phase {
            Phase::Opening if socket.state() == State::Closed => self.record.end(Phase::Reset, now),
            Phase::Opening if socket.may_send() => {
                self.exchange.began = now;
                self.record.phase = Phase::Open;
            }
            _ => {}
        }
        if self.record.phase == Phase::Open {
            self.move_data(socket, now);
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
            Phase::Open => self.exchange.next(&self.record, now),
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

    fn move_data(&mut self, socket: &mut Socket<'_>, now: Micros) {
        if !self.header_sent && socket.send_capacity() - socket.send_queue() >= HEADER_LEN {
            let Plan { id, length, lasts, direction, .. } = self.plan;
            let words = [id, length, (lasts / 1000) as u32, direction as u32];
            let header: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
            self.header_sent = socket.send_slice(&header).is_ok();
        }
        match self.exchange.drive(&mut self.record, socket, now) {
            Progress::Done => {
                socket.close();
                self.record.phase = Phase::Closing;
            }
            Progress::Bad => {
                socket.abort();
                self.record.end(Phase::Reset, now);
            }
            Progress::Going if socket.state() == State::Closed => self.record.end(Phase::Reset, now),
            Progress::Going => {}
        }
    }
}

/// The answering end.
#[derive(Debug)]
pub struct Server {
    seed: u64,
    header: Vec<u8>,
    exchange: Option<Exchange>,
    /// What became of it; its `id` is known once the header has come.
    pub record: Record,
}

impl Server {
    /// An end that waits for somebody to connect.
    #[must_use]
    pub fn new(seed: u64) -> Server {
        Server { seed, header: Vec::new(), exchange: None, record: Record::default() }
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
            self.move_data(socket, now);
        }
        if self.record.phase == Phase::Closing && socket.state() == State::Closed {
            self.record.end(Phase::Completed, now);
        }
        self.record.verified - before
    }

    /// When [`Server::drive`] is to be called again even if nothing arrives.
    #[must_use]
    pub fn next(&self, now: Micros) -> Option<Micros> {
        let exchange = self.exchange.as_ref().filter(|_| self.record.phase == Phase::Open)?;
        exchange.next(&self.record, now)
    }

    /// Whether it still waits for somebody to connect.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.record.phase == Phase::Waiting
    }

    fn move_data(&mut self, socket: &mut Socket<'_>, now: Micros) {
        let mut byte = [0];
        while self.header.len() < HEADER_LEN && socket.recv_slice(&mut byte) == Ok(1) {
            self.header.extend_from_slice(&byte);
        }
        if self.exchange.is_none() && self.header.len() == HEADER_LEN {
            self.begin(now);
        }
        let progress = match &mut self.exchange {
            Some(exchange) => exchange.drive(&mut self.record, socket, now),
            None => Progress::Going,
        };
        match progress {
            Progress::Done if !socket.may_recv() => {
                socket.close();
                self.record.phase = Phase::Closing;
            }
            Progress::Bad => {
                socket.abort();
                self.record.end(Phase::Reset, now);
            }
            _ if socket.state() == State::Closed => self.record.end(Phase::Reset, now),
            _ => {}
        }
    }

    fn begin(&mut self, now: Micros) {
        let word = |index: usize| u32::from_be_bytes(std::array::from_fn(|i| self.header[4 * index + i]));
        self.record.id = word(0);
        self.exchange = Some(Exchange {
            stream: Stream::new(self.seed, word(0)),
            sends: word(3) == Direction::Down as u32,
            length: word(1).into(),
            lasts: Micros::from(word(2)) * 1000,
            began: now,
            receipt: Vec::new(),
        });
    }
}
