//! One record of the store: what is replicated, and what only the head of the chain knows.

use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use smallvec::SmallVec;

use crate::chain::{KeyView, RecordView};
use crate::create::COMPANIONS_MAX;
use crate::fixed::KEY_LEN_MAX;
use crate::identity::SwitchIdentity;
use crate::mutant::{self, Mutant};
use crate::serial::{Serial, Version};
use crate::time::Time;

/// Name of a record: the app and the key's bytes, inline, so that looking one up allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    app: u16,
    len: u8,
    bytes: [u8; KEY_LEN_MAX],
}

const _: () = assert!(KEY_LEN_MAX <= u8::MAX as usize);

impl RecordKey {
    /// The name of an app's key; `None` if the key is longer than [`KEY_LEN_MAX`].
    #[must_use]
    pub fn new(app: u16, key: &[u8]) -> Option<Self> {
        let mut bytes = [0; KEY_LEN_MAX];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        Some(Self { app, len: key.len() as u8, bytes })
    }

    /// Number of the app.
    #[must_use]
    pub const fn app(&self) -> u16 {
        self.app
    }

    /// The key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.app)?;
        self.key().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A value's bytes: those of most apps are kept inline, so that a write touches no other memory.
pub type Value = SmallVec<[u8; 24]>;

/// The switch that a lease was granted to last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// Which switch, in which life.
    pub identity: SwitchIdentity,
    /// Where RECALL goes. Kept in the record, so that a new head can recall too.
    pub address: SocketAddrV4,
}

/// The replicated part of a record. Everything travels in every chain message about it, so that a message which is
/// lost or overtaken costs nothing once a later one arrives.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Record {
    /// Orders the versions of this record: a node keeps the later.
    pub version: Version,
    /// Nobody yet, for a companion that no switch has asked for.
    pub owner: Option<Owner>,
    /// Install counter of the owner's slot when it asked.
    pub ticket: Serial,
    /// The value. Empty in a tombstone.
    pub value: Value,
    /// A tombstone: the record was deleted at this generation.
    pub deleted: bool,
    /// After how long without lease and traffic it is deleted.
    pub idle: Duration,
    /// Keys (of the same app) that were made together with this one, without itself; at most [`COMPANIONS_MAX`].
    pub companions: Vec<RecordKey>,
}

impl Record {
    /// What is left of a record that was deleted at `generation`.
    #[must_use]
    pub fn tombstone(generation: Serial) -> Self {
        Self {
            version: Version { generation, sequence: Serial::ZERO },
            owner: None,
            ticket: Serial::ZERO,
            value: Value::new(),
            deleted: true,
            idle: Duration::ZERO,
            companions: Vec::new(),
        }
    }
}

const _: () = assert!(COMPANIONS_MAX < u8::MAX as usize, "their number is one byte in a chain message");

/// A record at one node, with what is never sent.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// Head: until when the owner's lease is honoured.
    pub(crate) deadline: Time,
    /// Head: the owner gave the lease back with this sequence; it is over once that is applied.
    pub(crate) released: Option<Serial>,
    /// Head: last sign of life from a switch.
    pub(crate) active: Time,
    /// Tombstone: when it may be forgotten. Pushed back whenever the deletion is heard of again.
    pub(crate) purge_at: Time,
}

/// How a LEASE for a live record is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaseDecision {
    /// Asked again by the same slot in the same state: the same generation again.
    Same,
    /// Nobody else's lease is in the way: the next generation.
    Next,
    /// An old request of the owner that was overtaken by a newer: only its packet goes back.
    Overtaken,
    /// Another switch's lease lives: recall and wait.
    Wait,
}

/// What of an entry its future depends on: a node that is not the head looks at no deadline, and of the last sign of
/// life only the end of the idle time matters.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct EntryEssence<'a> {
    record: &'a Record,
    lease: Option<(Time, Option<Serial>, Time)>,
    purge_at: Option<Time>,
}

impl Entry {
    pub(crate) fn essence(&self, is_head: bool) -> EntryEssence<'_> {
        let idle_at = self.active.plus(self.record.idle);
        EntryEssence {
            record: &self.record,
            lease: (is_head && self.is_live()).then_some((self.deadline, self.released, idle_at)),
            purge_at: (!self.is_live()).then_some(self.purge_at),
        }
    }

    pub(crate) fn new(record: Record, now: Time) -> Self {
        Self { record, deadline: now, released: None, active: now, purge_at: now }
    }

    /// Takes over a record that came down the chain, in the memory that ours has.
    pub(crate) fn take_over(&mut self, record: &RecordView<'_>) {
        let mine = &mut self.record;
        mine.version = record.version;
        mine.owner = record.owner;
        mine.ticket = record.ticket;
        mine.value.clear();
        mine.value.extend_from_slice(record.value);
        mine.deleted = record.deleted;
        mine.idle = record.idle;
        mine.companions.clear();
        mine.companions.extend(record.companions().map(KeyView::to_key));
    }

    pub(crate) fn is_live(&self) -> bool {
        !self.record.deleted
    }

    /// Whether somebody's lease must still be honoured.
    pub(crate) fn is_leased(&self, now: Time) -> bool {
        self.record.owner.is_some() && now < self.deadline
    }

    /// Whether a request comes from the owner, in its generation. Everything else is fenced.
    pub(crate) fn is_from_owner(&self, sender: &Owner, generation: Serial) -> bool {
        self.is_live()
            && (self.record.owner.as_ref() == Some(sender) || mutant::is(Mutant::WriteFromNonOwner))
            && (self.record.version.generation == generation || mutant::is(Mutant::WriteFromOldGeneration))
            && generation != Serial::ZERO
    }

    pub(crate) fn decide(&self, sender: &Owner, ticket: Serial, now: Time) -> LeaseDecision {
        let Some(owner) = &self.record.owner else { return LeaseDecision::Next };
        if owner.identity == sender.identity {
            let leased = self.is_leased(now);
            return if ticket == self.record.ticket || mutant::is(Mutant::SameGenerationAfterOverwrite) {
                LeaseDecision::Same
            } else if leased && self.record.ticket.is_after(ticket) {
                LeaseDecision::Overtaken
            } else {
                LeaseDecision::Next
            };
        }
        // Another life of the same switch is another switch. The request may be the late one of a former life, while the
        // present one holds the lease or is about to get it: only the switch can tell, so it is recalled as well.
        let is_same_switch = owner.identity.switch == sender.identity.switch;
        if mutant::is(Mutant::FormerLifeTakesLease) && is_same_switch {
            return LeaseDecision::Next;
        }
        if self.is_leased(now) { LeaseDecision::Wait } else { LeaseDecision::Next }
    }

    /// Moves the deadline, unless the lease was given back.
    pub(crate) fn extend(&mut self, lease: Duration, now: Time) {
        self.active = now;
        if self.released.is_none() {
            self.deadline = self.deadline.max(lease_end(lease, now));
        }
    }
}

/// Until when the store honours a lease that it gives now.
pub(crate) fn lease_end(lease: Duration, now: Time) -> Time {
    if mutant::is(Mutant::LeaseNeverEnds) { Time(u64::MAX) } else { now.plus(lease) }
}
