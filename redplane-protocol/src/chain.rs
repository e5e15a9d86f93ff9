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

const RECORD_DELETED: u8 = 1;
const RECORD_OWNED: u8 = 2;

impl ChainMessage {
    /// Reads a message: all of `bytes`, and nothing beyond.
    ///
    /// # Errors
    /// If anything in it is not exactly as [`to_vec`](Self::to_vec) writes it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChainDecodeError> {
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
                Content::Update { confirm: number, records: reader.records()?, reply: reader.reply()? }
            }
            KIND_COPY => Content::Copy { portion: number, records: reader.records()? },
            KIND_CONFIRMED => Content::Confirmed { confirm: number },
            KIND_COPIED => Content::Copied { portion: number },
            other => return Err(reader.illegal("kind", other.into())),
        };
        match bytes.len() - reader.offset {
            0 => Ok(Self { shard, epoch, generation, content }),
            count => Err(ChainDecodeError::Surplus { offset: reader.offset, count }),
        }
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
        let (kind, number) = match &self.content {
            Content::Update { confirm, .. } => (KIND_UPDATE, *confirm),
            Content::Copy { portion, .. } => (KIND_COPY, *portion),
            Content::Confirmed { confirm } => (KIND_CONFIRMED, *confirm),
            Content::Copied { portion } => (KIND_COPIED, *portion),
        };
        let mut out = vec![CHAIN_VERSION, kind];
        out.extend(self.shard.to_be_bytes());
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.generation.0.to_be_bytes());
        out.extend(number.to_be_bytes());
        if let Content::Update { records, .. } | Content::Copy { records, .. } = &self.content {
            assert!(records.len() <= RECORDS_MAX, "{} records in one message", records.len());
            out.push(records.len() as u8);
            for (key, record) in records {
                write_record(&mut out, key, record);
            }
        }
        if let Content::Update { reply, .. } = &self.content {
            write_reply(&mut out, reply.as_ref());
        }
        out
    }
}

fn write_record(out: &mut Vec<u8>, key: &RecordKey, record: &Record) {
    assert!(record.companions.len() <= COMPANIONS_MAX && record.value.len() <= VALUE_LEN_MAX);
    write_key(out, key);
    let deleted = if record.deleted { RECORD_DELETED } else { 0 };
    let owned = if record.owner.is_some() { RECORD_OWNED } else { 0 };
    out.push(deleted | owned);
    out.extend(record.version.generation.0.to_be_bytes());
    out.extend(record.version.sequence.0.to_be_bytes());
    out.extend(record.ticket.0.to_be_bytes());
    if let Some(owner) = &record.owner {
        out.extend(owner.identity.switch.to_be_bytes());
        out.extend(owner.identity.incarnation.to_be_bytes());
        write_address(out, owner.address);
    }
    out.extend((u64::try_from(record.idle.as_micros()).unwrap_or(u64::MAX)).to_be_bytes());
    out.extend((record.value.len() as u16).to_be_bytes());
    out.extend(&record.value);
    out.push(record.companions.len() as u8);
    for companion in &record.companions {
        write_key(out, companion);
    }
}

fn write_key(out: &mut Vec<u8>, key: &RecordKey) {
    out.extend(key.app().to_be_bytes());
    out.push(key.key().len() as u8);
    out.extend(key.key());
}

fn write_address(out: &mut Vec<u8>, address: SocketAddrV4) {
    out.extend(address.ip().octets());
    out.extend(address.port().to_be_bytes());
}

fn write_reply(out: &mut Vec<u8>, reply: Option<&Reply>) {
    let Some(reply) = reply else { return out.push(0) };
    assert!(reply.bytes.len() <= REPLY_LEN_MAX);
    out.push(1);
    write_address(out, reply.to);
    out.extend((reply.bytes.len() as u16).to_be_bytes());
    out.extend(&reply.bytes);
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

    fn records(&mut self) -> Result<Vec<(RecordKey, Record)>, ChainDecodeError> {
        let count = usize::from(self.u8("record count")?);
        self.check(count <= RECORDS_MAX, "record count", count as u64)?;
        (0..count).map(|_| Ok((self.key()?, self.record()?))).collect()
    }

    fn key(&mut self) -> Result<RecordKey, ChainDecodeError> {
        let app = self.u16("app")?;
        let len = usize::from(self.u8("key length")?);
        self.check(len <= KEY_LEN_MAX, "key length", len as u64)?;
        let bytes = self.take(len, "key")?;
        RecordKey::new(app, bytes).ok_or_else(|| self.illegal("key length", len as u64))
    }

    fn record(&mut self) -> Result<Record, ChainDecodeError> {
        let flags = self.u8("record flags")?;
        self.check(flags <= (RECORD_DELETED | RECORD_OWNED), "record flags", flags.into())?;
        let generation = Serial(self.u32("generation")?);
        let sequence = Serial(self.u32("sequence")?);
        let ticket = Serial(self.u32("ticket")?);
        let owner = if flags & RECORD_OWNED != 0 { Some(self.owner()?) } else { None };
        let idle = Duration::from_micros(self.u64("idle")?);
        let value_len = usize::from(self.u16("value length")?);
        self.check(value_len <= VALUE_LEN_MAX, "value length", value_len as u64)?;
        let value = self.take(value_len, "value")?.to_vec();
        let companion_count = usize::from(self.u8("companion count")?);
        self.check(companion_count <= COMPANIONS_MAX, "companion count", companion_count as u64)?;
        let companions = (0..companion_count).map(|_| self.key()).collect::<Result<_, _>>()?;
        Ok(Record {
            version: Version { generation, sequence },
            owner,
            ticket,
            value,
            deleted: flags & RECORD_DELETED != 0,
            idle,
            companions,
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

    fn reply(&mut self) -> Result<Option<Reply>, ChainDecodeError> {
        let present = self.u8("reply flag")?;
        self.check(present <= 1, "reply flag", present.into())?;
        if present == 0 {
            return Ok(None);
        }
        let to = self.address()?;
        let len = usize::from(self.u16("reply length")?);
        self.check(len <= REPLY_LEN_MAX, "reply length", len as u64)?;
        Ok(Some(Reply { to, bytes: self.take(len, "reply")?.to_vec() }))
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
            value: vec![9, 9],
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
        ] {
            let message = ChainMessage { content, ..update() };
            assert_eq!(ChainMessage::peek_shard(&message.to_vec()), Some(1));
            assert_eq!(ChainMessage::parse(&message.to_vec()), Ok(message));
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
}
