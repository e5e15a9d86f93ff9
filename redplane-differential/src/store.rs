//! A store that answers by chance: rightly, late, twice, and wrongly.

use std::collections::{BTreeMap, VecDeque};

use redplane_codegen::ir::{App, Record};
use redplane_sdk::net::Random;
use redplane_sdk::protocol::wire::{HEADER_LEN, PORT_RECIRCULATE, UDP_PORT};
use redplane_sdk::protocol::{Header, Kind, Message, NackReason, Schema, Serial, SwitchIdentity, Ticks};

use crate::generate::{Pool, finish_ipv4, pick};
use crate::round::NOW;
use crate::values;

/// Requests that wait for an answer, and answers that may come again.
const KEPT_MAX: usize = 64;

/// Bytes of Ethernet, IPv4 and UDP before a message.
pub const ENVELOPE: usize = 14 + 20 + 8;

/// Where a message has `sent_at`, and where its port, by the wire format.
pub const SENT_AT: std::ops::Range<usize> = 24..28;
const PORT: std::ops::Range<usize> = 28..30;

/// Bytes of a message that say for whom it is: app, fingerprint, switch, incarnation.
const STRANGE_AT: [usize; 8] = [4, 5, 6, 7, 8, 9, 10, 11];

/// Ports that an answer may name: those with cables, some without, and "process anew". v1model's ports end at 510.
const ANSWER_PORTS: [u16; 7] = [1, 2, 3, 0, 100, 510, PORT_RECIRCULATE];

/// A request of the switch.
#[derive(Clone, Debug)]
struct Request {
    header: Header,
    key: Vec<u8>,
    value: Vec<u8>,
    frame: Vec<u8>,
}

/// What the store knows of a key.
#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    generation: Serial,
    sequence: Serial,
    ticket: Serial,
}

/// The store.
pub struct Store {
    schema: Schema,
    identity: SwitchIdentity,
    /// Ethernet, IPv4 and UDP to the switch, but for the lengths and the checksum.
    envelope: Vec<u8>,
    lease_ticks: u32,
    record: Record,
    requests: VecDeque<Request>,
    sent: VecDeque<Vec<u8>>,
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Store {
    /// A store without records. `envelope` is what comes before a message on its way to the switch.
    pub fn new(
        app: &App,
        schema: Schema,
        identity: SwitchIdentity,
        envelope: Vec<u8>,
        lease_ticks: u32,
    ) -> Self {
        Store {
            schema,
            identity,
            envelope,
            lease_ticks,
            record: app.state.record.clone(),
            requests: VecDeque::new(),
            sent: VecDeque::new(),
            entries: BTreeMap::new(),
        }
    }

    /// When a frame came out of the switch by the store's port.
    pub fn handle_frame(&mut self, frame: &[u8]) {
        let Some(payload) = frame.get(ENVELOPE..) else { return };
        let Ok(message) = Message::parse(payload, &self.schema) else { return };
        if !message.header.kind.is_request() || message.header.kind == Kind::Release {
            return;
        }
        self.requests.push_back(Request {
            header: message.header,
            key: message.key.to_vec(),
            value: message.value.to_vec(),
            frame: message.frame.to_vec(),
        });
        if self.requests.len() > KEPT_MAX {
            self.requests.pop_front();
        }
    }

    /// Whether a request waits.
    pub fn is_asked(&self) -> bool {
        !self.requests.is_empty()
    }

    /// The next frame to the switch; `None` if nobody ever asked.
    pub fn poll_frame(&mut self, pool: &Pool, random: &mut Random) -> Option<Vec<u8>> {
        if !self.sent.is_empty() && random.chance(0.06) {
            let index = random.below(self.sent.len() as u64) as usize;
            return self.sent.get(index).cloned();
        }
        if !self.entries.is_empty() && random.chance(0.08) {
            return Some(self.unasked(random));
        }
        // The last one is the likeliest: so that most flows come about.
        let len = self.requests.len() as u64;
        let index = if random.chance(0.7) { len.checked_sub(1)? } else { random.below(len) };
        let request = if random.chance(0.95) {
            self.requests.remove(index as usize)?
        } else {
            self.requests.get(index as usize)?.clone()
        };
        let (mut header, value) = self.answer(&request, pool, random);
        if random.chance(0.15) {
            self.distort(&mut header, random);
        }
        let mut message =
            Message { header, key: &request.key, value: &value, frame: &request.frame }.to_vec();
        if random.chance(0.04) {
            corrupt(&mut message, random);
        }
        let cut = random.chance(0.03);
        if cut {
            self.cut(&mut message, random);
        }
        let frame = self.wrap(&message, random.chance(if cut { 0.2 } else { 0.02 }), random);
        self.keep(frame.clone());
        Some(frame)
    }

    /// An ACK for nobody, which lets a frame out of a port whatever the slots hold.
    pub fn marker(&self, port: u16, frame: &[u8]) -> Vec<u8> {
        let header = Header { kind: Kind::Ack, port, ..self.blank() };
        let key = vec![0; usize::from(self.schema.key_len)];
        let value = vec![0; usize::from(self.schema.value_len)];
        let message = Message { header, key: &key, value: &value, frame }.to_vec();
        let mut random = Random::new(0);
        self.wrap(&message, false, &mut random)
    }

    fn blank(&self) -> Header {
        Header {
            kind: Kind::Recall,
            create: false,
            reason: None,
            app: self.schema.app,
            fingerprint: self.schema.fingerprint,
            identity: self.identity,
            generation: Serial::ZERO,
            sequence: Serial::ZERO,
            ticket: Serial::ZERO,
            sent_at: Ticks(0),
            port: 0,
        }
    }

    /// A right answer, or one of those that a store may give.
    fn answer(&mut self, request: &Request, pool: &Pool, random: &mut Random) -> (Header, Vec<u8>) {
        let header = Header { create: false, ..request.header };
        let zero = vec![0; usize::from(self.schema.value_len)];
        let nack = |reason| (Header { kind: Kind::Nack, reason: Some(reason), ..header }, zero.clone());
        match request.header.kind {
            Kind::Lease => {
                let known = self.entries.get(&request.key).cloned();
                let absent = if request.header.create { 0.03 } else { 0.35 };
                match random.below(100) {
                    0..2 => return nack(NackReason::Refused),
                    2..4 => return nack(NackReason::Busy),
                    _ if known.is_none() && random.chance(absent) => return nack(NackReason::Absent),
                    _ if random.chance(absent / 3.0) => return nack(NackReason::Absent),
                    _ => {}
                }
                let fresh: Vec<u128> =
                    self.record.fields.iter().map(|field| pool.value(field.ty, random)).collect();
                let mut entry = known.unwrap_or_else(|| Entry {
                    value: values::wire(&self.record, &fresh),
                    generation: Serial::ZERO,
                    sequence: Serial(pick(random, &[0, 0, 1, u32::MAX])),
                    ticket: Serial::ZERO,
                });
                entry.generation = entry.generation.next_nonzero();
                entry.ticket = header.ticket;
                self.entries.insert(request.key.clone(), entry.clone());
                let Entry { value, generation, sequence, .. } = entry;
                (Header { kind: Kind::Grant, generation, sequence, ..header }, value)
            }
            Kind::Write => {
                if random.chance(0.07) {
                    return nack(NackReason::Stale);
                }
                if let Some(entry) = self.entries.get_mut(&request.key)
                    && entry.generation == header.generation
                {
                    entry.value.clone_from(&request.value);
                    entry.sequence = entry.sequence.latest(header.sequence);
                }
                (Header { kind: Kind::Ack, ..header }, zero)
            }
            _ => (Header { kind: Kind::Ack, ..header }, zero),
        }
    }

    /// What nobody asked for, about a key that is known: another switch asks for it, or did once; a late ACK; word that the
    /// lease is another's.
    fn unasked(&mut self, random: &mut Random) -> Vec<u8> {
        let index = random.below(self.entries.len() as u64) as usize;
        let (key, entry) = self.entries.iter().nth(index).expect("an index of the entries");
        let back = |serial: Serial, by: u64| Serial(serial.0.wrapping_sub(by as u32));
        let kind = pick(random, &[Kind::Recall, Kind::Recall, Kind::Ack, Kind::Ack, Kind::Nack]);
        let mut header = Header {
            kind,
            reason: (kind == Kind::Nack).then_some(NackReason::Stale),
            generation: back(entry.generation, pick(random, &[0, 0, 0, 1, u64::MAX])),
            sequence: back(entry.sequence, pick(random, &[0, 0, 1, u64::MAX])),
            ticket: back(entry.ticket, pick(random, &[0, 0, 1])),
            sent_at: NOW,
            ..self.blank()
        };
        if kind == Kind::Recall && random.chance(0.2) {
            header.identity.incarnation = header.identity.incarnation.wrapping_sub(1);
        }
        if kind == Kind::Ack && random.chance(0.6) {
            self.date_back(&mut header, random);
        }
        let value = vec![0; usize::from(self.schema.value_len)];
        let message = Message { header, key, value: &value, frame: &[] }.to_vec();
        let frame = self.wrap(&message, false, random);
        self.keep(frame.clone());
        frame
    }

    /// Lets an answer be to an older request: past half of the lease, over, long over. Each is well away from an edge, as
    /// the two switches' clocks differ.
    fn date_back(&self, header: &mut Header, random: &mut Random) {
        let quarters = pick(random, &[3, 3, 6, 80]);
        header.sent_at = Ticks(header.sent_at.0.wrapping_sub(self.lease_ticks / 4 * quarters));
    }

    /// Makes an answer late, early, or one that is meant for something else.
    fn distort(&self, header: &mut Header, random: &mut Random) {
        let add = |serial: Serial, random: &mut Random| {
            Serial(serial.0.wrapping_add(pick(random, &[1, u32::MAX, 1 << 31, (1 << 31) - 1, 7])))
        };
        match random.below(10) {
            0..4 => self.date_back(header, random),
            4 => header.generation = add(header.generation, random),
            5 => header.sequence = add(header.sequence, random),
            6 => header.ticket = add(header.ticket, random),
            7 => header.generation = Serial::ZERO,
            8 => header.port = pick(random, &ANSWER_PORTS),
            _ => match random.below(4) {
                0 => header.app ^= 1,
                1 => header.fingerprint ^= 0x100,
                2 => header.identity.switch ^= 1,
                _ => header.identity.incarnation ^= 1,
            },
        }
    }

    /// Cuts a message off, most often within header, key and value; some are for another app.
    fn cut(&self, message: &mut Vec<u8>, random: &mut Random) {
        let record = usize::from(self.schema.key_len + self.schema.value_len);
        let within = if random.chance(0.8) { HEADER_LEN + record } else { message.len() };
        if random.chance(0.4) {
            message[pick(random, &STRANGE_AT)] ^= 1;
        }
        message.truncate(random.below(within as u64) as usize);
    }

    fn keep(&mut self, frame: Vec<u8>) {
        self.sent.push_back(frame);
        if self.sent.len() > KEPT_MAX {
            self.sent.pop_front();
        }
    }

    /// The frame of a message. `wrong`: its lengths do not agree, or its IPv4 header's checksum is none.
    fn wrap(&self, message: &[u8], wrong: bool, random: &mut Random) -> Vec<u8> {
        let mut frame = self.envelope.clone();
        frame.extend_from_slice(message);
        let (mut total, mut udp, mut right) = (frame.len() - 14, message.len() + 8, true);
        if wrong {
            match random.below(5) {
                0 => total -= 1,
                1 => total += 1,
                2 => udp = random.below(60) as usize,
                3 => right = false,
                _ => frame.push(0),
            }
        }
        frame[38..40].copy_from_slice(&(udp as u16).to_be_bytes());
        finish_ipv4(&mut frame, 14, total, right);
        frame
    }
}

/// Changes one byte of a message's header. Not its time, which has edges; and its port stays one that v1model has.
fn corrupt(message: &mut [u8], random: &mut Random) {
    let at = random.below(HEADER_LEN as u64 + 8) as usize;
    if SENT_AT.contains(&at) || PORT.contains(&at) || at >= message.len() {
        return;
    }
    message[at] ^= 1 << random.below(8);
}

const _: () = assert!(UDP_PORT == 21072, "the envelope has it");
