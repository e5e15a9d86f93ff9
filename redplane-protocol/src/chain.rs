//! Messages between the nodes of one chain.
//!
//! An update carries the full current records that it concerns, the shard's generation counter, and the finished
//! answer that the tail sends (chain replication with the reply from the tail, paper section 5.1.1). Every message
//! bears the epoch of its configuration; a node refuses any other.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::create::COMPANIONS_MAX;
use crate::fixed::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::identity::SwitchIdentity;
use crate::record::{Owner, Record, RecordKey};
use crate::serial::{Serial, Version};

/// Version of the chain format. All nodes of a chain run the same.
pub const CHAIN_VERSION: u8 = 1;

/// Most records in one message: a key with its companions, or a portion of catch-up.
pub const RECORDS_MAX: usize = 32;

/// Where the first record of an update begins: after version, kind, shard, epoch, generation, number and count.
const FIRST_RECORD_AT: usize = 1 + 1 + 2 + 8 + 4 + 8 + 1;

/// Longest answer in a message: what a UDP datagram can hold.
pub const REPLY_LEN_MAX: usize = 65_507;

const _: () = assert!(RECORDS_MAX > COMPANIONS_MAX, "a record and its companions go in one message");

/// Number of a store node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node {}", self.0)
    }
}

/// Who is in the chain, from a coordinator that all nodes trust.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Configuration {
    /// Grows with every configuration. Zero is none.
    pub epoch: u64,
    /// Head first, tail last.
    pub members: Vec<NodeId>,
    /// The member, if any, that came in with this configuration and has no copy yet: its predecessor sends it one.
    pub joining: Option<NodeId>,
}

impl Configuration {
    /// The node that takes requests.
    #[must_use]
    pub fn head(&self) -> Option<NodeId> {
        self.members.first().copied()
    }

    /// The node that answers.
    #[must_use]
    pub fn tail(&self) -> Option<NodeId> {
        self.members.last().copied()
    }

    pub(crate) fn successor(&self, node: NodeId) -> Option<NodeId> {
        let at = self.members.iter().position(|member| *member == node)?;
        self.members.get(at + 1).copied()
    }

    pub(crate) fn predecessor(&self, node: NodeId) -> Option<NodeId> {
        let at = self.members.iter().position(|member| *member == node)?;
        self.members.get(at.checked_sub(1)?).copied()
    }
}

/// A finished answer to a switch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The switch.
    pub to: SocketAddrV4,
    /// A whole [`Message`](crate::wire::Message).
    pub bytes: Vec<u8>,
}

/// What a chain message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// From the head down: merge, then pass on; the tail sends the reply and, if `confirm` is not zero, tells the head.
    Update {
        /// Number under which the head wants to hear that the whole chain has it; zero if it does not.
        confirm: u64,
        /// Full current records.
        records: Vec<(RecordKey, Record)>,
        /// For the tail to send.
        reply: Option<Reply>,
    },
    /// From the predecessor of a joining node: a portion of what it has. Answered with `Copied`.
    Copy {
        /// Number of the portion.
        portion: u64,
        /// Full current records.
        records: Vec<(RecordKey, Record)>,
    },
    /// From the tail to the head: the update with this number went all the way.
    Confirmed {
        /// Its number.
        confirm: u64,
    },
    /// From a joining node to its predecessor: this portion is merged.
    Copied {
        /// Its number.
        portion: u64,
    },
    /// From any member to the head: a switch's request that came to the wrong node.
    Forwarded {
        /// The switch that sent it.
        from: SocketAddrV4,
        /// The request.
        bytes: Vec<u8>,
    },
}

/// A message between two nodes of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainMessage {
    /// Which shard.
    pub shard: u16,
    /// Under which configuration it was sent.
    pub epoch: u64,
    /// The sender's generation counter.
    pub generation: Serial,
    /// What it says.
    pub content: Content,
}

/// Why bytes are no chain message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainDecodeError {
    /// It ends within a field.
    #[error("{field} at offset {offset} needs {needed} bytes, {found} are left")]
    Truncated {
        /// Name of the field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// Its length.
        needed: usize,
        /// What is left of the message.
        found: usize,
    },
    /// A field holds what the format does not know or allow.
    #[error("{field} before offset {offset} has the illegal value {found}")]
    Illegal {
        /// Name of the field.
        field: &'static str,
        /// Where it ends.
        offset: usize,
        /// What it holds.
        found: u64,
    },
    /// Bytes are left over.
    #[error("{count} bytes too many after offset {offset}")]
    Surplus {
        /// Where the message ends.
        offset: usize,
        /// How many follow.
        count: usize,
    },
}

const KIND_UPDATE: u8 = 1;
const KIND_COPY: u8 = 2;
const KIND_CONFIRMED: u8 = 3;
const KIND_COPIED: u8 = 4;
const KIND_FORWARDED: u8 = 5;

const RECORD_DELETED: u8 = 1;
const RECORD_OWNED: u8 = 2;

/// A message as it lies in a datagram: checked, and nothing copied.
#[derive(Clone, Debug)]
pub(crate) struct ChainView<'a> {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
    pub(crate) generation: Serial,
    pub(crate) content: ContentView<'a>,
}

#[derive(Clone, Debug)]
pub(crate) enum ContentView<'a> {
    Update { confirm: u64, records: RecordViews<'a>, reply: Option<ReplyView<'a>> },
    Copy { portion: u64, records: RecordViews<'a> },
    Confirmed { confirm: u64 },
    Copied { portion: u64 },
    Forwarded { from: SocketAddrV4, bytes: &'a [u8] },
}

/// Records as they lie in a message, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordViews<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> RecordViews<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (KeyView<'a>, RecordView<'a>)> {
        let mut reader = Reader { bytes: self.bytes, offset: 0 };
        (0..self.count).map_while(move |_| Some((reader.key().ok()?, reader.record().ok()?)))
    }
}

/// The name of a record as it lies in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyView<'a> {
    pub(crate) app: u16,
    pub(crate) bytes: &'a [u8],
}

impl KeyView<'_> {
    /// No message has a key that is too long.
    pub(crate) fn to_key(self) -> RecordKey {
        RecordKey::new(self.app, self.bytes).expect("the reader has looked at the length")
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyView<'a> {
    pub(crate) to: SocketAddrV4,
    pub(crate) bytes: &'a [u8],
}

/// A record as it lies in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordView<'a> {
    pub(crate) version: Version,
    pub(crate) owner: Option<Owner>,
    pub(crate) ticket: Serial,
    pub(crate) value: &'a [u8],
    pub(crate) deleted: bool,
    pub(crate) idle: Duration,
    companion_count: usize,
    /// Their keys, as [`write_key`] writes them; checked.
    companions: &'a [u8],
}

impl RecordView<'_> {
    pub(crate) fn companions(&self) -> impl Iterator<Item = KeyView<'_>> {
        let mut reader = Reader { bytes: self.companions, offset: 0 };
        (0..self.companion_count).map_while(move |_| reader.key().ok())
    }

    pub(crate) fn to_record(self) -> Record {
        Record {
            version: self.version,
            owner: self.owner,
            ticket: self.ticket,
            value: self.value.into(),
            deleted: self.deleted,
            idle: self.idle,
            companions: self.companions().map(KeyView::to_key).collect(),
        }
    }
}

impl<'a> ChainView<'a> {
    /// The first record's key of an update, without looking at anything else: for who wants to look it up early.
    pub(crate) fn peek_key(bytes: &'a [u8]) -> Option<KeyView<'a>> {
        let is_update = bytes.get(1) == Some(&KIND_UPDATE) && bytes.get(FIRST_RECORD_AT - 1) != Some(&0);
        let mut reader = Reader { bytes, offset: FIRST_RECORD_AT.min(bytes.len()) };
        reader.key().ok().filter(|_| is_update)
    }

    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ChainDecodeError> {
        let mut reader = Reader { bytes, offset: 0 };
        let version = reader.u8("version")?;
        reader.check(version == CHAIN_VERSION, "version", version.into())?;
        let kind = reader.u8("kind")?;
        let shard = reader.u16("shard")?;
        let epoch = reader.u64("epoch")?;
        let generation = Serial(reader.u32("generation")?);
        let number = reader.u64("number")?;
        let content = match kind {
            KIND_UPDATE => {
                ContentView::Update { confirm: number, records: reader.records()?, reply: reader.reply()? }
            }
            KIND_COPY => ContentView::Copy { portion: number, records: reader.records()? },
            KIND_CONFIRMED => ContentView::Confirmed { confirm: number },
            KIND_COPIED => ContentView::Copied { portion: number },
            KIND_FORWARDED => {
                reader.check(number == 0, "number", number)?;
                let ReplyView { to: from, bytes } = reader.addressed("request")?;
                ContentView::Forwarded { from, bytes }
            }
            other => return Err(reader.illegal("kind", other.into())),
        };
        match bytes.len() - reader.offset {
            0 => Ok(Self { shard, epoch, generation, content }),
            count => Err(ChainDecodeError::Surplus { offset: reader.offset, count }),
        }
    }
}

/// What every message begins with.
#[derive(Clone, Copy)]
pub(crate) struct Envelope {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
    pub(crate) generation: Serial,
}

impl Envelope {
    /// Begins an update; records follow, then [`write_reply`] or [`write_no_reply`].
    pub(crate) fn begin_update(self, confirm: u64, records: usize, out: &mut Vec<u8>) {
        self.begin(KIND_UPDATE, confirm, out);
        write_record_count(records, out);
    }

    /// A request that goes on to the head.
    pub(crate) fn forwarded(self, from: SocketAddrV4, request: &[u8], out: &mut Vec<u8>) {
        self.begin(KIND_FORWARDED, 0, out);
        write_addressed(from, request.len(), out);
        out.extend_from_slice(request);
    }

    fn begin(self, kind: u8, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&[CHAIN_VERSION, kind]);
        out.extend_from_slice(&self.shard.to_be_bytes());
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.generation.0.to_be_bytes());
        out.extend_from_slice(&number.to_be_bytes());
    }
}

impl ChainMessage {
    /// Reads a message: all of `bytes`, and nothing beyond.
    ///
    /// # Errors
    /// If anything in it is not exactly as [`to_vec`](Self::to_vec) writes it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChainDecodeError> {
        let ChainView { shard, epoch, generation, content } = ChainView::parse(bytes)?;
        let owned = |records: RecordViews<'_>| {
            records.iter().map(|(key, record)| (key.to_key(), record.to_record())).collect()
        };
        let content = match content {
            ContentView::Update { confirm, records, reply } => {
                let reply = reply.map(|reply| Reply { to: reply.to, bytes: reply.bytes.to_vec() });
                Content::Update { confirm, records: owned(records), reply }
            }
            ContentView::Copy { portion, records } => Content::Copy { portion, records: owned(records) },
            ContentView::Confirmed { confirm } => Content::Confirmed { confirm },
            ContentView::Copied { portion } => Content::Copied { portion },
            ContentView::Forwarded { from, bytes } => Content::Forwarded { from, bytes: bytes.to_vec() },
        };
        Ok(Self { shard, epoch, generation, content })
    }

    /// The shard that a message is for, without looking at the rest; `None` if it is too short to say.
    #[must_use]
    pub fn peek_shard(bytes: &[u8]) -> Option<u16> {
        bytes.get(2..4).map(|shard| u16::from_be_bytes([shard[0], shard[1]]))
    }

    /// The message as bytes.
    ///
    /// # Panics
    /// If it holds more records, companions or bytes than the format allows: whoever made it broke a limit.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.emit(&mut out);
        out
    }

    /// Appends the message to `out`.
    ///
    /// # Panics
    /// As [`to_vec`](Self::to_vec).
    pub fn emit(&self, out: &mut Vec<u8>) {
        let Self { shard, epoch, generation, content } = self;
        let envelope = Envelope { shard: *shard, epoch: *epoch, generation: *generation };
        match content {
            Content::Update { confirm, records, reply } => {
                envelope.begin_update(*confirm, records.len(), out);
                records.iter().for_each(|(key, record)| record.encode(key, out));
                match reply {
                    None => write_no_reply(out),
                    Some(Reply { to, bytes }) => {
                        write_reply(*to, bytes.len(), out);
                        out.extend_from_slice(bytes);
                    }
                }
            }
            Content::Copy { portion, records } => {
                envelope.begin(KIND_COPY, *portion, out);
                write_record_count(records.len(), out);
                records.iter().for_each(|(key, record)| record.encode(key, out));
            }
            Content::Confirmed { confirm } => envelope.begin(KIND_CONFIRMED, *confirm, out),
            Content::Copied { portion } => envelope.begin(KIND_COPIED, *portion, out),
            Content::Forwarded { from, bytes } => envelope.forwarded(*from, bytes, out),
        }
    }
}

impl Record {
    /// Appends the record and its name, as they stand in a chain message and in a journal.
    ///
    /// # Panics
    /// If it has more companions or bytes than the format allows: whoever made it broke a limit.
    pub fn encode(&self, key: &RecordKey, out: &mut Vec<u8>) {
        assert!(self.companions.len() <= COMPANIONS_MAX && self.value.len() <= VALUE_LEN_MAX);
        write_key(out, key);
        let deleted = if self.deleted { RECORD_DELETED } else { 0 };
        let owned = if self.owner.is_some() { RECORD_OWNED } else { 0 };
        out.push(deleted | owned);
        out.extend_from_slice(&self.version.generation.0.to_be_bytes());
        out.extend_from_slice(&self.version.sequence.0.to_be_bytes());
        out.extend_from_slice(&self.ticket.0.to_be_bytes());
        if let Some(owner) = &self.owner {
            out.extend_from_slice(&owner.identity.switch.to_be_bytes());
            out.extend_from_slice(&owner.identity.incarnation.to_be_bytes());
            write_address(out, owner.address);
        }
        out.extend_from_slice(&(u64::try_from(self.idle.as_micros()).unwrap_or(u64::MAX)).to_be_bytes());
        out.extend_from_slice(&(self.value.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.value);
        out.push(self.companions.len() as u8);
        for companion in &self.companions {
            write_key(out, companion);
        }
    }

    /// Bytes that [`encode`](Self::encode) appends, at most.
    #[must_use]
    pub fn encoded_len_max(&self, key: &RecordKey) -> usize {
        const FIXED: usize = 64;
        let companions: usize = self.companions.iter().map(|other| other.key().len() + 3).sum();
        FIXED + key.key().len() + self.value.len() + companions
    }

    /// Reads back what [`encode`](Self::encode) wrote: all of `bytes`, and nothing beyond.
    ///
    /// # Errors
    /// If anything in it is not exactly as it was written.
    pub fn decode(bytes: &[u8]) -> Result<(RecordKey, Self), ChainDecodeError> {
        let mut reader = Reader { bytes, offset: 0 };
        let (key, record) = (reader.key()?.to_key(), reader.record()?);
        match bytes.len() - reader.offset {
            0 => Ok((key, record.to_record())),
            count => Err(ChainDecodeError::Surplus { offset: reader.offset, count }),
        }
    }
}

fn write_record_count(records: usize, out: &mut Vec<u8>) {
    assert!(records <= RECORDS_MAX, "{records} records in one message");
    out.push(records as u8);
}

fn write_key(out: &mut Vec<u8>, key: &RecordKey) {
    out.extend_from_slice(&key.app().to_be_bytes());
    out.push(key.key().len() as u8);
    out.extend_from_slice(key.key());
}

fn write_address(out: &mut Vec<u8>, address: SocketAddrV4) {
    out.extend_from_slice(&address.ip().octets());
    out.extend_from_slice(&address.port().to_be_bytes());
}

pub(crate) fn write_no_reply(out: &mut Vec<u8>) {
    out.push(0);
}

/// Says that an answer of `len` bytes follows.
pub(crate) fn write_reply(to: SocketAddrV4, len: usize, out: &mut Vec<u8>) {
    out.push(1);
    write_addressed(to, len, out);
}

fn write_addressed(address: SocketAddrV4, len: usize, out: &mut Vec<u8>) {
    assert!(len <= REPLY_LEN_MAX);
    write_address(out, address);
    out.extend_from_slice(&(len as u16).to_be_bytes());
}

/// Takes fields off the front; every one is checked against what is left.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, needed: usize, field: &'static str) -> Result<&'a [u8], ChainDecodeError> {
        let rest = &self.bytes[self.offset..];
        let Some(taken) = rest.get(..needed) else {
            return Err(ChainDecodeError::Truncated {
                field,
                offset: self.offset,
                needed,
                found: rest.len(),
            });
        };
        self.offset += needed;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ChainDecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, ChainDecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, ChainDecodeError> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, ChainDecodeError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, ChainDecodeError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    fn illegal(&self, field: &'static str, found: u64) -> ChainDecodeError {
        ChainDecodeError::Illegal { field, offset: self.offset, found }
    }

    fn check(&self, legal: bool, field: &'static str, found: u64) -> Result<(), ChainDecodeError> {
        if legal { Ok(()) } else { Err(self.illegal(field, found)) }
    }

    fn records(&mut self) -> Result<RecordViews<'a>, ChainDecodeError> {
        let count = usize::from(self.u8("record count")?);
        self.check(count <= RECORDS_MAX, "record count", count as u64)?;
        let start = self.offset;
        for _ in 0..count {
            self.key()?;
            self.record()?;
        }
        Ok(RecordViews { count, bytes: &self.bytes[start..self.offset] })
    }

    fn key(&mut self) -> Result<KeyView<'a>, ChainDecodeError> {
        let app = self.u16("app")?;
        let len = usize::from(self.u8("key length")?);
        self.check(len <= KEY_LEN_MAX, "key length", len as u64)?;
        Ok(KeyView { app, bytes: self.take(len, "key")? })
    }

    fn record(&mut self) -> Result<RecordView<'a>, ChainDecodeError> {
        let flags = self.u8("record flags")?;
        self.check(flags <= (RECORD_DELETED | RECORD_OWNED), "record flags", flags.into())?;
        let generation = Serial(self.u32("generation")?);
        let sequence = Serial(self.u32("sequence")?);
        let ticket = Serial(self.u32("ticket")?);
        let owner = if flags & RECORD_OWNED != 0 { Some(self.owner()?) } else { None };
        let idle = Duration::from_micros(self.u64("idle")?);
        let value_len = usize::from(self.u16("value length")?);
        self.check(value_len <= VALUE_LEN_MAX, "value length", value_len as u64)?;
        let value = self.take(value_len, "value")?;
        let companion_count = usize::from(self.u8("companion count")?);
        self.check(companion_count <= COMPANIONS_MAX, "companion count", companion_count as u64)?;
        let start = self.offset;
        (0..companion_count).try_for_each(|_| self.key().map(|_| ()))?;
        Ok(RecordView {
            version: Version { generation, sequence },
            owner,
            ticket,
            value,
            deleted: flags & RECORD_DELETED != 0,
            idle,
            companion_count,
            companions: &self.bytes[start..self.offset],
        })
    }

    fn owner(&mut self) -> Result<Owner, ChainDecodeError> {
        let switch = self.u16("switch")?;
        let incarnation = self.u16("incarnation")?;
        Ok(Owner { identity: SwitchIdentity { switch, incarnation }, address: self.address()? })
    }

    fn address(&mut self) -> Result<SocketAddrV4, ChainDecodeError> {
        let ip = Ipv4Addr::from(self.array::<4>("address")?);
        Ok(SocketAddrV4::new(ip, self.u16("port")?))
    }

    fn reply(&mut self) -> Result<Option<ReplyView<'a>>, ChainDecodeError> {
        let present = self.u8("reply flag")?;
        self.check(present <= 1, "reply flag", present.into())?;
        if present == 0 { Ok(None) } else { self.addressed("reply").map(Some) }
    }

    fn addressed(&mut self, field: &'static str) -> Result<ReplyView<'a>, ChainDecodeError> {
        let to = self.address()?;
        let len = usize::from(self.u16("length")?);
        self.check(len <= REPLY_LEN_MAX, "length", len as u64)?;
        Ok(ReplyView { to, bytes: self.take(len, field)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update() -> ChainMessage {
        let key = RecordKey::new(7, &[1, 2, 3]).unwrap();
        let other = RecordKey::new(7, &[4, 5, 6]).unwrap();
        let owner = Owner {
            identity: SwitchIdentity { switch: 1, incarnation: 2 },
            address: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 21072),
        };
        let record = Record {
            version: Version { generation: Serial(3), sequence: Serial(4) },
            owner: Some(owner),
            ticket: Serial(5),
            value: [9, 9][..].into(),
            deleted: false,
            idle: Duration::from_secs(300),
            companions: vec![other],
        };
        ChainMessage {
            shard: 1,
            epoch: 2,
            generation: Serial(8),
            content: Content::Update {
                confirm: 6,
                records: vec![(key, record), (other, Record::tombstone(Serial(7)))],
                reply: Some(Reply { to: owner.address, bytes: vec![1, 2, 3, 4] }),
            },
        }
    }

    #[test]
    fn messages_survive_the_wire() {
        let Content::Update { records, .. } = update().content else { unreachable!() };
        for content in [
            update().content,
            Content::Update { confirm: 0, records: Vec::new(), reply: None },
            Content::Copy { portion: 4, records },
            Content::Confirmed { confirm: 6 },
            Content::Copied { portion: 4 },
            Content::Forwarded { from: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 7), bytes: vec![1, 2] },
        ] {
            let message = ChainMessage { content, ..update() };
            assert_eq!(ChainMessage::peek_shard(&message.to_vec()), Some(1));
            assert_eq!(ChainMessage::parse(&message.to_vec()), Ok(message));
        }
    }

    #[test]
    fn a_record_survives_its_encoding_and_no_cut_does() {
        let Content::Update { records, .. } = update().content else { unreachable!() };
        for (key, record) in records {
            let mut bytes = Vec::new();
            record.encode(&key, &mut bytes);
            assert!(bytes.len() <= record.encoded_len_max(&key));
            assert_eq!(Record::decode(&bytes), Ok((key, record)));
            for len in 0..bytes.len() {
                assert!(Record::decode(&bytes[..len]).is_err(), "cut at {len}");
            }
        }
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        let bytes = update().to_vec();
        for len in 0..bytes.len() {
            assert!(ChainMessage::parse(&bytes[..len]).is_err(), "cut at {len}");
        }
        let surplus = [&bytes[..], &[0]].concat();
        let error = ChainMessage::parse(&surplus).unwrap_err();
        assert_eq!(error, ChainDecodeError::Surplus { offset: bytes.len(), count: 1 });
    }

    #[test]
    fn what_parses_prints_the_same() {
        let bytes = update().to_vec();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(message) = ChainMessage::parse(&changed) {
                    assert_eq!(message.to_vec(), changed, "byte {at} = {value}");
                }
            }
        }
    }

    /// Every field of a message in order, and its length: what a cut at its beginning says is missing.
    fn fields(bytes: &[u8]) -> Vec<(&'static str, usize)> {
        let mut fields = Vec::new();
        let mut at = 0;
        while let Err(ChainDecodeError::Truncated { field, needed, .. }) = ChainMessage::parse(&bytes[..at]) {
            fields.push((field, needed));
            at += needed;
        }
        fields
    }

    /// The guide's table: a field a row, its length or *n* in the second column.
    #[test]
    fn the_guide_has_every_field() {
        let page = include_str!("../../guide/src/wire-format.md");
        let mut message = update();
        let Content::Update { records, .. } = &mut message.content else { unreachable!() };
        records.truncate(1);
        let (_, table) = page.split_once("An UPDATE, field by field.").expect("the guide has the table");
        let rows = table.lines().skip_while(|line| !line.starts_with('|')).skip(2);
        let cells = rows.map_while(|row| {
            row.strip_prefix("| ")?.split(" | ").take(2).collect::<Vec<_>>().try_into().ok()
        });
        let shown: Vec<[&str; 2]> = cells.collect();
        let found = fields(&message.to_vec());
        assert_eq!(shown.len(), found.len(), "{found:?}");
        for ([name, bytes], (field, needed)) in shown.into_iter().zip(found) {
            assert!(
                name == field && (bytes == "*n*" || bytes == needed.to_string()),
                "{name}, {bytes}: {field}, {needed}"
            );
        }
        let kinds = [
            ("UPDATE", KIND_UPDATE),
            ("COPY", KIND_COPY),
            ("CONFIRMED", KIND_CONFIRMED),
            ("COPIED", KIND_COPIED),
        ];
        for (name, kind) in kinds.into_iter().chain([("FORWARDED", KIND_FORWARDED)]) {
            assert!(page.contains(&format!("| {name} | {kind} |")), "{name}");
        }
        for limit in [RECORDS_MAX, KEY_LEN_MAX, VALUE_LEN_MAX] {
            assert!(page.contains(&format!("at most {limit}")), "{limit}");
        }
    }
}
