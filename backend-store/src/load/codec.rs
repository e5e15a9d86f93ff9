//! Requests and answers as bytes, for each kind of target.

use redplane_protocol::wire::HEADER_LEN;
use redplane_protocol::{Header, Kind, Message, NackReason, Schema, Serial, SwitchIdentity, Ticks};

use super::{BenchArguments, Target};

/// memcached's frame header over UDP (protocol.txt, "UDP protocol"): request number, place and count of the datagram,
/// reserved; 16 bits each.
const MEMCACHED_HEADER_LEN: usize = 8;

/// What is asked about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Lease,
    Write,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) key: u32,
    pub(super) generation: u32,
    pub(super) sequence: u32,
    pub(super) ticket: u32,
    pub(super) sent_at: Ticks,
}

/// What an answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Granted,
    Acknowledged,
    Recalled,
    Refused(NackReason),
}

/// An answer that is well-formed, and brought its frame back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) key: u32,
    /// `None` if this target's answers do not tell.
    pub(super) version: Option<(u32, u32)>,
}

/// Bytes that are no answer to anything that was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Foreign;

/// Turns requests into bytes, in one buffer, and bytes into answers.
pub(super) struct Codec {
    target: Target,
    schema: Schema,
    identity: SwitchIdentity,
    /// First key of this thread: memcached's request numbers count from it.
    first: u32,
    key: Vec<u8>,
    value: Vec<u8>,
    frame: Vec<u8>,
    bytes: Vec<u8>,
}

impl Codec {
    pub(super) fn new(arguments: &BenchArguments, first: u32, incarnation: u16) -> Self {
        let BenchArguments { key_len, value_len, frame_len, .. } = *arguments;
        let schema = Schema {
            app: arguments.app,
            fingerprint: arguments.fingerprint,
            // Checked to be at most some hundreds.
            key_len: key_len as u16,
            value_len: value_len as u16,
        };
        let filler = if arguments.target == Target::Memcached { b'k' } else { 0 };
        Self {
            target: arguments.target,
            schema,
            identity: SwitchIdentity { switch: arguments.switch, incarnation },
            first,
            key: vec![filler; key_len],
            value: vec![b'v'; value_len],
            frame: (0..frame_len).map(|at| at as u8).collect(),
            bytes: vec![0; HEADER_LEN + key_len + value_len + frame_len],
        }
    }

    /// The bytes of a key: its number, then nothing.
    pub(super) fn key(&mut self, number: u32) -> &[u8] {
        if self.target == Target::Memcached {
            // "k" and eight hexadecimal digits, then more of "k".
            for (at, digit) in self.key[1..9].iter_mut().enumerate() {
                *digit = b"0123456789abcdef"[(number >> (28 - 4 * at)) as usize & 0xf];
            }
        } else {
            self.key[..4].copy_from_slice(&number.to_be_bytes());
        }
        &self.key
    }

    /// The bytes of a request, until the next one.
    pub(super) fn request(&mut self, request: &Request) -> &[u8] {
        self.key(request.key);
        // Every write writes something else, as far as there is room for it.
        let tail = self.value.len().saturating_sub(4);
        let room = self.value.len() - tail;
        if self.target == Target::Memcached {
            self.value[tail..].fill(b'0' + (request.sequence % 10) as u8);
            return self.set(request.key);
        }
        self.value[tail..].copy_from_slice(&request.sequence.to_be_bytes()[4 - room..]);
        let is_lease = request.ask == Ask::Lease;
        let header = Header {
            kind: if is_lease { Kind::Lease } else { Kind::Write },
            create: is_lease,
            reason: None,
            app: self.schema.app,
            fingerprint: self.schema.fingerprint,
            identity: self.identity,
            generation: Serial(request.generation),
            sequence: Serial(request.sequence),
            ticket: Serial(request.ticket),
            sent_at: request.sent_at,
            port: 0,
        };
        let frame = if is_lease { &[] } else { &self.frame[..] };
        let message = Message { header, key: &self.key, value: &self.value, frame };
        let len = message.buffer_len();
        message.emit(&mut self.bytes);
        &self.bytes[..len]
    }

    /// What a datagram answers.
    pub(super) fn answer(&self, bytes: &[u8]) -> Result<Answer, Foreign> {
        if self.target == Target::Memcached {
            return self.stored(bytes);
        }
        let Message { header, key, frame, .. } = Message::parse(bytes, &self.schema).map_err(|_| Foreign)?;
        let is_echo = self.target == Target::Echo;
        let verdict = match header.kind {
            Kind::Grant => Verdict::Granted,
            Kind::Ack => Verdict::Acknowledged,
            Kind::Write if is_echo => Verdict::Acknowledged,
            Kind::Recall => Verdict::Recalled,
            Kind::Nack => Verdict::Refused(header.reason.ok_or(Foreign)?),
            _ => return Err(Foreign),
        };
        let number = *key.first_chunk::<4>().ok_or(Foreign)?;
        let is_right = header.identity == self.identity && key[4..] == self.key[4..];
        let is_whole = verdict != Verdict::Acknowledged || frame == self.frame;
        if !is_right || !is_whole {
            return Err(Foreign);
        }
        let version = Some((header.generation.0, header.sequence.0));
        Ok(Answer { verdict, key: u32::from_be_bytes(number), version })
    }

    fn set(&mut self, key: u32) -> &[u8] {
        let id = (key - self.first) as u16;
        let [high, low] = id.to_be_bytes();
        self.bytes.clear();
        self.bytes.extend_from_slice(&[high, low, 0, 0, 0, 1, 0, 0]);
        self.bytes.extend_from_slice(b"set ");
        self.bytes.extend_from_slice(&self.key);
        self.bytes.extend_from_slice(b" 0 0 ");
        let mut digits = [0; 3];
        let mut rest = self.value.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.bytes.extend_from_slice(&digits);
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(&self.value);
        self.bytes.extend_from_slice(b"\r\n");
        &self.bytes
    }

    fn stored(&self, bytes: &[u8]) -> Result<Answer, Foreign> {
        let (header, text) = bytes.split_at_checked(MEMCACHED_HEADER_LEN).ok_or(Foreign)?;
        if text != b"STORED\r\n" {
            return Err(Foreign);
        }
        let id = u32::from(u16::from_be_bytes([header[0], header[1]]));
        Ok(Answer { verdict: Verdict::Acknowledged, key: self.first.wrapping_add(id), version: None })
    }
}
