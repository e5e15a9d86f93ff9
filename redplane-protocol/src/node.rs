//! One replica of one shard of the store.
//!
//! Sans-IO: bytes and time go in through `handle_*`, bytes and deadlines come out through `poll_*`. This file is the
//! node's place in the chain; what the head does with requests is in `rules`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddrV4;
use std::time::Duration;

use smallvec::SmallVec;

use crate::admission::{Admission, AdmissionRates};
use crate::chain::{
    ChainMessage, ChainView, Configuration, Content, ContentView, Envelope, KeyView, NodeId, RECORDS_MAX,
    RecordView, RecordViews, ReplyView, write_no_reply, write_reply,
};
use crate::courier::Courier;
use crate::create::{COMPANIONS_MAX, Creator};
use crate::fixed::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::identity::Schema;
use crate::mutant::{self, Mutant};
use crate::outbox::Outbox;
use crate::record::{Entry, EntryEssence, Record, RecordKey, lease_end};
use crate::serial::Serial;
use crate::statistics::{StoreDrop, StoreStatistics};
use crate::table::{At, RecordChange, Table};
use crate::time::{Lease, Time};
use crate::waiting::Waiting;
use crate::wire::{Header, Message};

/// For how long a deletion is remembered: longer than any message can stay under way, so that none brings the
/// deleted record back.
pub const TOMBSTONE_HOLD: Duration = Duration::from_secs(60);

/// Longest portion of the copy, in bytes, unless one key with its companions is longer: with the headers around it, it
/// fits an Ethernet frame.
const COPY_PORTION_LEN: usize = 1400;

/// Portions of the copy that are under way at once: at a round trip of a millisecond, as under load, some hundred
/// thousand records a second, and no more than the receive buffer of any socket.
const COPY_WINDOW: usize = 32;

/// A key and its companions.
type Group = SmallVec<[At; 1 + COMPANIONS_MAX]>;

/// A value that means nothing.
static NO_VALUE: [u8; VALUE_LEN_MAX] = [0; VALUE_LEN_MAX];

/// Which part of all keys a node keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shard {
    /// This shard, from zero.
    pub index: u16,
    /// How many there are.
    pub count: u16,
}

/// Where a [`Transmit`] goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Destination {
    /// To a switch: a [`Message`].
    Switch(SocketAddrV4),
    /// To the replica of the same shard at another node: a [`ChainMessage`].
    Node(NodeId),
}

/// A datagram that a node wants to send.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// What an operator limits, and what must be secret. By default nothing is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeLimits {
    /// Most records and tombstones at this replica; beyond it, who wants to create hears BUSY.
    pub records_max: usize,
    /// How many new keys each app lets in, by its number.
    pub admission: BTreeMap<u16, AdmissionRates>,
    /// Of the hash by which records are found. A network's traffic chooses the keys, so they should be random.
    pub hash_seeds: [u64; 4],
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { records_max: usize::MAX, admission: BTreeMap::new(), hash_seeds: [0; 4] }
    }
}

/// What a timer is about. One of each per record at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(usize)]
pub(crate) enum Chore {
    /// Requests wait for this key.
    Waiting,
    /// The record may be idle.
    Idle,
    /// The tombstone may be forgotten.
    Purge,
}

impl Chore {
    pub(crate) const ALL: [Self; 3] = [Self::Waiting, Self::Idle, Self::Purge];
    pub(crate) const COUNT: usize = Self::ALL.len();
}

/// An app whose state is kept.
pub(crate) struct Served {
    pub(crate) creator: Box<dyn Creator>,
    /// Those that are understood, the newest last.
    pub(crate) schemas: Vec<Schema>,
    pub(crate) admission: Option<Admission>,
}

impl Served {
    /// The schema that a message names by its fingerprint.
    pub(crate) fn schema(&self, fingerprint: u16) -> Option<&Schema> {
        self.schemas.iter().rev().find(|schema| schema.fingerprint == fingerprint)
    }
}

/// An answer to a request.
pub(crate) struct Answer<'a> {
    pub(crate) to: SocketAddrV4,
    pub(crate) header: Header,
    pub(crate) key: &'a RecordKey,
    /// With the record's value, not zeros.
    pub(crate) with_value: bool,
    pub(crate) frame: &'a [u8],
}

/// One replica of one shard.
///
/// After any `handle_*` or [`reconfigure`](Self::reconfigure), call [`poll_transmit`](Self::poll_transmit) until it
/// yields `None`, then ask [`poll_timeout`](Self::poll_timeout).
///
/// Two nodes with the same apps are equal if they do the same from now on: what they counted does not matter, nor what
/// only a head would look at.
pub struct Node {
    pub(crate) id: NodeId,
    pub(crate) shard: Shard,
    pub(crate) lease: Lease,
    limits: NodeLimits,
    pub(crate) apps: BTreeMap<u16, Served>,
    configuration: Configuration,
    /// The next in the chain, by the configuration.
    successor: Option<NodeId>,
    pub(crate) records: Table,
    /// The last generation that was given; the next one is larger for every key, deleted ones too.
    pub(crate) generation: Serial,
    pub(crate) waiting: Waiting,
    outbox: Outbox,
    deletions: VecDeque<Vec<RecordKey>>,
    deletion_courier: Courier,
    copy_courier: Courier,
    /// The place in the table from which on nothing was copied yet.
    copy_from: usize,
    copying: bool,
    /// Whether it has all records of the shard, and not a part of a copy.
    complete: bool,
    pub(crate) statistics: StoreStatistics,
}

impl Node {
    /// An empty replica that waits for its first configuration. `apps` are the apps whose state it keeps.
    ///
    /// # Panics
    /// If an app's key or value is longer than the protocol allows, or two apps have the same number.
    #[must_use]
    pub fn new(id: NodeId, shard: Shard, lease: Lease, apps: Vec<Box<dyn Creator>>) -> Self {
        let mut by_number = BTreeMap::new();
        for creator in apps {
            let schemas = creator.accepted();
            let app = creator.schema().app;
            for schema in &schemas {
                assert!(usize::from(schema.key_len) <= KEY_LEN_MAX && schema.app == app);
                assert!(usize::from(schema.value_len) <= VALUE_LEN_MAX);
            }
            let other = by_number.insert(app, Served { creator, schemas, admission: None });
            assert!(other.is_none(), "two apps have the number {app}");
        }
        let limits = NodeLimits::default();
        Self {
            id,
            shard,
            lease,
            apps: by_number,
            configuration: Configuration::default(),
            successor: None,
            records: Table::new(limits.hash_seeds),
            limits,
            generation: Serial::ZERO,
            waiting: Waiting::default(),
            outbox: Outbox::default(),
            deletions: VecDeque::new(),
            deletion_courier: Courier::default(),
            copy_courier: Courier::default(),
            copy_from: 0,
            copying: false,
            complete: false,
            statistics: StoreStatistics::default(),
        }
    }

    /// The same node, still empty, within these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: NodeLimits) -> Self {
        debug_assert_eq!(self.records.len(), 0);
        self.records = Table::new(limits.hash_seeds);
        for (app, rates) in &limits.admission {
            if let Some(served) = self.apps.get_mut(app) {
                served.admission = Some(Admission::new(rates.clone(), limits.hash_seeds));
            }
        }
        self.limits = limits;
        self
    }

    /// Gives a node that has no configuration yet what its journal kept. Records of apps that it does not serve, or of
    /// another shape, are left out; how many.
    ///
    /// A configuration in which it joins empties it all the same; one in which it is a full member goes on from here.
    pub fn restore(
        &mut self,
        generation: Serial,
        records: impl IntoIterator<Item = (RecordKey, Record)>,
        now: Time,
    ) -> usize {
        self.generation = self.generation.latest(generation);
        let mut left_out = 0;
        for (key, record) in records {
            if !self.is_ours(key.app(), key.key().len(), record.value.len(), record.deleted) {
                left_out += 1;
                continue;
            }
            self.generation = self.generation.latest(record.version.generation);
            let deleted = record.deleted;
            let mut entry = Entry::new(record, now);
            entry.purge_at = now.plus(TOMBSTONE_HOLD);
            self.records.insert(key, entry);
            if deleted {
                self.records.schedule(Chore::Purge, &key, now.plus(TOMBSTONE_HOLD));
            }
        }
        left_out
    }

    /// From now on the node remembers which records changed, for [`take_changes`](Self::take_changes).
    pub fn want_changes(&mut self) {
        self.records.want_changes();
    }

    /// Whether anything changed since changes were taken.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.records.has_changes()
    }

    /// What changed since the last time, in the order in which a journal can apply it: each record once, as it is now.
    ///
    /// What the node wants to send depends on it: a journal makes the changes durable before the datagrams leave.
    pub fn take_changes(&mut self, take: impl FnMut(RecordChange<'_>)) {
        self.records.take_changes(take);
    }

    /// The last generation that was given in this shard, as far as this node knows.
    #[must_use]
    pub const fn generation(&self) -> Serial {
        self.generation
    }

    /// A copy that goes on from here by itself, with apps that must be the same: for a search over what may come next.
    #[must_use]
    pub fn fork(&self, apps: Vec<Box<dyn Creator>>) -> Self {
        let blank = Self::new(self.id, self.shard, self.lease, apps);
        debug_assert!(blank.apps.keys().eq(self.apps.keys()));
        Self {
            limits: self.limits.clone(),
            configuration: self.configuration.clone(),
            successor: self.successor,
            records: self.records.clone(),
            generation: self.generation,
            waiting: self.waiting.clone(),
            outbox: self.outbox.clone(),
            deletions: self.deletions.clone(),
            deletion_courier: self.deletion_courier.clone(),
            copy_courier: self.copy_courier.clone(),
            copy_from: self.copy_from,
            copying: self.copying,
            complete: self.complete,
            statistics: self.statistics.clone(),
            ..blank
        }
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Under which configuration it works.
    #[must_use]
    pub const fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Whether it takes requests.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.configuration.head() == Some(self.id)
    }

    /// Whether it still sends a joining successor its copy.
    #[must_use]
    pub const fn is_copying(&self) -> bool {
        self.copying
    }

    /// Whether it has all that the shard has: it was a full member from the start, or its copy came to an end. What a
    /// journal must know before it can stand for the shard.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// A live record, for inspection.
    #[must_use]
    pub fn record(&self, app: u16, key: &[u8]) -> Option<&Record> {
        self.records
            .get(&RecordKey::new(app, key)?)
            .filter(|entry| entry.is_live())
            .map(|entry| &entry.record)
    }

    /// All live records, in no order that means anything, for inspection.
    pub fn records(&self) -> impl Iterator<Item = (&RecordKey, &Record)> {
        self.records.iter().filter(|(_, entry)| entry.is_live()).map(|(key, entry)| (key, &entry.record))
    }

    /// Live records from a place on, with the place after each; places stay the same while a record lives. For
    /// inspection in portions.
    pub fn records_from(&self, place: usize) -> impl Iterator<Item = (usize, &RecordKey, &Record)> {
        let mut place = place;
        std::iter::from_fn(move || {
            loop {
                let (next, key) = self.records.next_from(place)?;
                place = next;
                if let Some(entry) = self.records.get(key).filter(|entry| entry.is_live()) {
                    return Some((next, key, &entry.record));
                }
            }
        })
    }

    /// Counters, and how much is held now.
    #[must_use]
    pub fn statistics(&self) -> StoreStatistics {
        StoreStatistics {
            records: self.records.live(),
            tombstones: self.records.len() - self.records.live(),
            queued: self.waiting.len(),
            ..self.statistics.clone()
        }
    }

    /// When the coordinator made a new configuration. An older one, or the same again, is ignored.
    ///
    /// A node that becomes head honours every owner for a full lease from now: it cannot know how much of a lease is
    /// left, since deadlines are never sent. A node that is no longer a member forgets everything, and so does one that
    /// joins: it may never have heard that it was out, and what it did since then is nobody else's.
    pub fn reconfigure(&mut self, configuration: Configuration, now: Time) {
        if configuration.epoch <= self.configuration.epoch {
            return;
        }
        let was_head = self.is_head();
        let is_first = self.configuration.epoch == 0;
        self.configuration = configuration;
        self.successor = self.configuration.successor(self.id);
        self.deletions.clear();
        self.deletion_courier.abandon();
        self.copy_courier.abandon();
        if !self.is_head() {
            let lost = self.waiting.clear();
            (0..lost).for_each(|_| self.statistics.count_drop(StoreDrop::QueueLost));
            self.records.forget_timers(&[Chore::Waiting, Chore::Idle]);
        }
        let is_member = self.configuration.members.contains(&self.id);
        let joins = self.configuration.joining == Some(self.id) && !self.is_head();
        let joins = joins && !mutant::is(Mutant::JoinerKeepsRecords);
        if !is_member || joins {
            self.records.clear();
        }
        self.complete = is_member && !joins && (is_first || self.complete);
        if self.is_head() {
            if !was_head && !mutant::is(Mutant::NewHeadGrantsAtOnce) {
                self.honour_all(now);
            }
            let tombstones = self.records.iter().filter(|(_, entry)| !entry.is_live());
            self.deletions = tombstones.map(|(key, _)| vec![*key]).collect();
        }
        self.copying = self.successor.is_some() && self.successor == self.configuration.joining;
        self.copy_from = 0;
        self.drive_couriers(now);
    }

    /// Looks up, for nothing, the records that chain messages are about, as
    /// [`anticipate_requests`](Self::anticipate_requests) does for requests.
    pub fn anticipate_chain<'a>(&self, messages: impl Iterator<Item = &'a [u8]>) {
        let keys = messages.filter_map(ChainView::peek_key);
        self.records.anticipate(keys.map(|key| (key.app, key.bytes)));
    }

    /// When a datagram came from another node of the chain.
    pub fn handle_chain(&mut self, from: NodeId, bytes: &[u8], now: Time) {
        if let Err(reason) = self.on_chain(from, bytes, now) {
            self.statistics.count_drop(reason);
        }
    }

    /// When the deadline of [`poll_timeout`](Self::poll_timeout) passed. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((chore, key)) = self.records.pop_due(now) {
            match chore {
                Chore::Waiting => self.on_waiting(&key, now),
                Chore::Idle => self.on_idle(&key, now),
                Chore::Purge => self.on_purge(&key, now),
            }
        }
        self.drive_couriers(now);
    }

    /// The next datagram to send.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.next_transmit().map(|(to, bytes)| Transmit { to, bytes: bytes.to_vec() })
    }

    /// The next datagram to send, where it lies.
    pub fn next_transmit(&mut self) -> Option<(Destination, &[u8])> {
        self.outbox.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        [self.records.next_due(), self.deletion_courier.resend_at(), self.copy_courier.resend_at()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn transmit(&mut self, to: Destination, bytes: &[u8]) {
        self.outbox.push(to, bytes);
    }

    /// Whether a request that came here is for another node, and goes there.
    pub(crate) fn forward(&mut self, from: SocketAddrV4, bytes: &[u8]) -> bool {
        let is_member = self.configuration.members.contains(&self.id);
        let Some(head) = self.configuration.head().filter(|head| is_member && *head != self.id) else {
            return false;
        };
        let envelope = self.envelope();
        envelope.forwarded(from, bytes, self.outbox.open());
        self.outbox.close(Destination::Node(head));
        true
    }

    /// Sends an answer the only way there is: down the chain together with the records that it depends on.
    pub(crate) fn answer(&mut self, about: Option<At>, answer: &Answer<'_>) {
        if mutant::is(Mutant::OnlyLastOfBatch) {
            self.forget_queued_records();
        }
        let Some(successor) = self.successor else { return self.answer_directly(about, answer) };
        let skips_tail = mutant::is(Mutant::TailSkipped);
        if skips_tail {
            self.answer_directly(about, answer);
        }
        let group = match about {
            Some(at) if mutant::is(Mutant::CompanionNotReplicated) => Group::from_slice(&[at]),
            Some(at) => self.group(at),
            None => Group::new(),
        };
        let envelope = self.envelope();
        let Self { records, apps, outbox, .. } = self;
        let out = outbox.open();
        envelope.begin_update(0, group.len(), out);
        for at in group {
            records.entry(at).record.encode(records.key(at), out);
        }
        if skips_tail {
            write_no_reply(out);
        } else {
            with_message(records, apps, about, answer, |message| {
                write_reply(answer.to, message.buffer_len(), out);
                message.append(out);
            });
        }
        outbox.close(Destination::Node(successor));
    }

    /// Sends an answer that nothing depends on, or that the whole chain has: this node.
    pub(crate) fn answer_directly(&mut self, about: Option<At>, answer: &Answer<'_>) {
        let Self { records, apps, outbox, .. } = self;
        with_message(records, apps, about, answer, |message| message.append(outbox.open()));
        outbox.close(Destination::Switch(answer.to));
    }

    /// The key at a place, and those of its companions that belong to it.
    fn group(&self, at: At) -> Group {
        let key = self.records.key(at);
        let companions = self.records.entry(at).record.companions.iter();
        let mut group = Group::from_slice(&[at]);
        group.extend(companions.filter_map(|other| {
            let other = self.records.find(other)?;
            self.records.entry(other).record.companions.contains(key).then_some(other)
        }));
        group
    }

    /// The same by keys.
    pub(crate) fn group_keys(&self, key: &RecordKey) -> Vec<RecordKey> {
        let Some(at) = self.records.find(key) else { return vec![*key] };
        self.group(at).into_iter().map(|at| *self.records.key(at)).collect()
    }

    /// Whether there is room for one more record with all the companions that it may have.
    pub(crate) fn has_room(&self) -> bool {
        self.records.len().saturating_add(1 + COMPANIONS_MAX) <= self.limits.records_max
    }

    pub(crate) fn delete(&mut self, group: Vec<RecordKey>, now: Time) {
        self.generation = self.generation.next_nonzero();
        for key in &group {
            let mut entry = Entry::new(Record::tombstone(self.generation), now);
            entry.purge_at = now.plus(TOMBSTONE_HOLD);
            self.records.insert(*key, entry);
            self.records.schedule(Chore::Purge, key, now.plus(TOMBSTONE_HOLD));
            self.records.cancel(Chore::Idle, key);
            self.statistics.deleted += 1;
        }
        self.deletions.push_back(group);
    }

    fn honour_all(&mut self, now: Time) {
        let deadline = lease_end(self.lease.duration(), now);
        let mut idle = Vec::new();
        for (key, entry) in self.records.entries_mut().filter(|(_, entry)| entry.is_live()) {
            entry.deadline = deadline;
            entry.released = None;
            entry.active = now;
            idle.push((*key, now.plus(entry.record.idle)));
        }
        for (key, at) in idle {
            self.records.schedule(Chore::Idle, &key, at);
        }
    }

    fn current_records(&self, keys: &[RecordKey]) -> Vec<(RecordKey, Record)> {
        keys.iter().filter_map(|key| Some((*key, self.records.get(key)?.record.clone()))).collect()
    }

    /// Sends records down the chain without an answer.
    fn update(&mut self, confirm: u64, records: Vec<(RecordKey, Record)>) {
        if mutant::is(Mutant::OnlyLastOfBatch) {
            self.forget_queued_records();
        }
        if let Some(successor) = self.successor {
            self.tell(successor, Content::Update { confirm, records, reply: None });
        }
    }

    /// Part of [`Mutant::OnlyLastOfBatch`].
    fn forget_queued_records(&mut self) {
        let queued: Vec<_> = self.outbox.iter().map(|(to, bytes)| (to, bytes.to_vec())).collect();
        self.outbox.clear();
        for (to, bytes) in queued {
            let mut message = ChainMessage::parse(&bytes);
            if let Ok(ChainMessage { content: Content::Update { records, .. }, .. }) = &mut message {
                records.clear();
            }
            self.outbox.push(to, &message.map_or(bytes, |message| message.to_vec()));
        }
    }

    fn envelope(&self) -> Envelope {
        Envelope { shard: self.shard.index, epoch: self.configuration.epoch, generation: self.generation }
    }

    fn tell(&mut self, node: NodeId, content: Content) {
        let Envelope { shard, epoch, generation } = self.envelope();
        ChainMessage { shard, epoch, generation, content }.emit(self.outbox.open());
        self.outbox.close(Destination::Node(node));
    }

    fn on_chain(&mut self, from: NodeId, bytes: &[u8], now: Time) -> Result<(), StoreDrop> {
        let message = ChainView::parse(bytes).map_err(|_| StoreDrop::ChainMalformed)?;
        if message.shard != self.shard.index {
            return Err(StoreDrop::WrongShard);
        }
        if message.epoch != self.configuration.epoch && !mutant::is(Mutant::StaleEpochAccepted) {
            return Err(StoreDrop::ChainEpoch);
        }
        let configuration = &self.configuration;
        let expected = match message.content {
            ContentView::Update { .. } | ContentView::Copy { .. } => configuration.predecessor(self.id),
            ContentView::Confirmed { .. } if self.is_head() => configuration.tail(),
            ContentView::Confirmed { .. } => None,
            ContentView::Copied { .. } => self.successor,
            ContentView::Forwarded { .. } => {
                Some(from).filter(|from| self.is_head() && configuration.members.contains(from))
            }
        };
        if expected != Some(from) {
            return Err(StoreDrop::ChainStranger);
        }
        match message.content {
            ContentView::Update { confirm, records, reply } => {
                if !mutant::is(Mutant::ReplicaDoesNotApply) {
                    self.merge(message.generation, &records, now)?;
                }
                self.on_update(confirm, reply, bytes);
            }
            ContentView::Copy { portion, records } => {
                self.merge(message.generation, &records, now)?;
                self.complete |= records.is_empty();
                self.tell(from, Content::Copied { portion });
            }
            ContentView::Confirmed { confirm } => {
                self.deletion_courier.confirm(confirm);
                self.drive_couriers(now);
            }
            ContentView::Copied { portion } => {
                if let Some(keys) = self.copy_courier.confirm(portion) {
                    self.copying = !keys.is_empty();
                }
                self.drive_couriers(now);
            }
            ContentView::Forwarded { from, bytes } => self.handle_request(from, bytes, now),
        }
        Ok(())
    }

    fn on_update(&mut self, confirm: u64, reply: Option<ReplyView<'_>>, bytes: &[u8]) {
        if let Some(successor) = self.successor {
            return self.transmit(Destination::Node(successor), bytes);
        }
        if let Some(reply) = reply {
            self.transmit(Destination::Switch(reply.to), reply.bytes);
        }
        if let Some(head) = self.configuration.head().filter(|_| confirm != 0) {
            self.tell(head, Content::Confirmed { confirm });
        }
    }

    /// Takes over what is later than ours: all of a message or, if any of it is not ours to keep, nothing.
    fn merge(&mut self, generation: Serial, records: &RecordViews<'_>, now: Time) -> Result<(), StoreDrop> {
        let are_ours = records.iter().all(|(key, record)| {
            self.is_ours(key.app, key.bytes.len(), record.value.len(), record.deleted)
                && record.companions().all(|other| other.app == key.app)
        });
        if !are_ours {
            return Err(StoreDrop::ChainMalformed);
        }
        self.generation = self.generation.latest(generation);
        for (key, record) in records.iter() {
            self.merge_record(key, &record, now);
        }
        Ok(())
    }

    fn merge_record(&mut self, key: KeyView<'_>, record: &RecordView<'_>, now: Time) {
        self.generation = self.generation.latest(record.version.generation);
        let at = match self.records.find_named(key.app, key.bytes) {
            None => self.records.insert(key.to_key(), Entry::new(record.to_record(), now)),
            Some(at) => {
                if record.version.is_after(self.records.entry(at).record.version) {
                    self.records.change(at, |entry| entry.take_over(record));
                }
                at
            }
        };
        let entry = self.records.entry_mut(at);
        if record.deleted && !entry.is_live() {
            entry.purge_at = now.plus(TOMBSTONE_HOLD);
            self.records.schedule(Chore::Purge, &key.to_key(), now.plus(TOMBSTONE_HOLD));
        }
    }

    /// Whether a record has the shape of an app's. It may be of an older schema than is served here, and then its value
    /// is shorter: what was added since reads as zero.
    fn is_ours(&self, app: u16, key_len: usize, value_len: usize, deleted: bool) -> bool {
        let Some(newest) = self.apps.get(&app).and_then(|served| served.schemas.last()) else { return false };
        let value_len_max = if deleted { 0 } else { usize::from(newest.value_len) };
        key_len == usize::from(newest.key_len) && value_len <= value_len_max
    }

    fn on_purge(&mut self, key: &RecordKey, now: Time) {
        let Some(entry) = self.records.get(key).filter(|entry| !entry.is_live()) else { return };
        // The head forgets a deletion only once the whole chain has heard of it.
        let purge_at = if self.is_head() && !self.deletions_confirmed() {
            now.plus(TOMBSTONE_HOLD)
        } else {
            entry.purge_at
        };
        if purge_at <= now {
            self.records.remove(key);
        } else {
            self.records.schedule(Chore::Purge, key, purge_at);
        }
    }

    fn deletions_confirmed(&self) -> bool {
        self.deletions.is_empty() && self.deletion_courier.is_idle()
    }

    fn drive_couriers(&mut self, now: Time) {
        if let Some((confirm, keys)) = self.deletion_courier.resend(now) {
            let records = self.current_records(&keys);
            self.update(confirm, records);
        }
        if self.deletion_courier.is_idle() && !self.deletions.is_empty() {
            self.send_deletions(now);
        }
        if let Some(successor) = self.successor.filter(|_| self.copying) {
            self.drive_copy(successor, now);
        }
    }

    fn drive_copy(&mut self, successor: NodeId, now: Time) {
        while let Some((portion, keys)) = self.copy_courier.resend(now) {
            let records = self.records_to_copy(&keys);
            self.tell(successor, Content::Copy { portion, records });
        }
        while self.copy_courier.in_flight() < COPY_WINDOW && !self.copy_courier.is_ending() {
            let keys = self.next_copy();
            // An empty portion is the last, and goes alone: once it is confirmed, all are.
            if keys.is_empty() && !self.copy_courier.is_idle() {
                return;
            }
            let records = self.records_to_copy(&keys);
            let portion = self.copy_courier.send(keys, now);
            self.tell(successor, Content::Copy { portion, records });
        }
    }

    fn send_deletions(&mut self, now: Time) {
        if self.successor.is_none() {
            return self.deletions.clear(); // Alone in the chain: whatever this node has, the chain has.
        }
        let mut keys: Vec<RecordKey> = Vec::new();
        while self.deletions.front().is_some_and(|group| keys.len() + group.len() <= RECORDS_MAX) {
            keys.extend(self.deletions.pop_front().into_iter().flatten());
        }
        let records = self.current_records(&keys);
        let confirm = self.deletion_courier.send(keys, now);
        self.update(confirm, records);
    }

    /// The next portion of keys for the joining node: as many as fit one message with their groups.
    fn next_copy(&mut self) -> Vec<RecordKey> {
        let (mut keys, mut records, mut len) = (Vec::new(), 0, 0);
        while let Some((next, key)) = self.records.next_from(self.copy_from) {
            let Some(at) = self.records.find(key) else { break };
            let group = self.group(at);
            records += group.len();
            len += group
                .iter()
                .map(|at| self.records.entry(*at).record.encoded_len_max(self.records.key(*at)))
                .sum::<usize>();
            if !keys.is_empty() && (records > RECORDS_MAX || len > COPY_PORTION_LEN) {
                break;
            }
            keys.push(*key);
            self.copy_from = next;
        }
        keys
    }

    /// Each key with all of its group: companions that were made after the copy had passed their place go with it, for a
    /// node must not have half of a group.
    fn records_to_copy(&self, keys: &[RecordKey]) -> Vec<(RecordKey, Record)> {
        let whole: BTreeSet<RecordKey> = keys.iter().flat_map(|key| self.group_keys(key)).collect();
        self.current_records(&whole.into_iter().collect::<Vec<_>>())
    }
}

/// The answer as a message in the schema that the request named.
fn with_message(
    records: &Table,
    apps: &BTreeMap<u16, Served>,
    about: Option<At>,
    answer: &Answer<'_>,
    then: impl FnOnce(&Message<'_>),
) {
    let Answer { header, key, frame, .. } = answer;
    let schema = apps.get(&header.app).and_then(|served| served.schema(header.fingerprint));
    let len = schema.map_or(0, |schema| usize::from(schema.value_len));
    let held = about.filter(|_| answer.with_value).map(|at| &records.entry(at).record.value[..]);
    let held = held.unwrap_or_default();
    let mut padded;
    let value = match held.get(..len) {
        Some(value) => value,
        None if held.is_empty() => &NO_VALUE[..len],
        None => {
            // The record is of an older schema: what was added since reads as zero.
            padded = NO_VALUE;
            padded[..held.len()].copy_from_slice(held);
            &padded[..len]
        }
    };
    then(&Message { header: *header, key: key.key(), value, frame });
}

/// All that a node's future depends on.
#[derive(PartialEq, Eq, Hash)]
struct Essence<'a> {
    place: (NodeId, Shard, Lease, &'a Configuration),
    records: Vec<Option<(&'a RecordKey, EntryEssence<'a>, &'a [Time; Chore::COUNT])>>,
    free: &'a [At],
    generation: Serial,
    waiting: &'a Waiting,
    outbox: &'a Outbox,
    deletions: &'a VecDeque<Vec<RecordKey>>,
    couriers: (&'a Courier, &'a Courier),
    copy: (usize, bool),
}

impl Node {
    fn essence(&self) -> Essence<'_> {
        let is_head = self.is_head();
        Essence {
            place: (self.id, self.shard, self.lease, &self.configuration),
            records: self
                .records
                .essence()
                .map(|place| place.map(|(key, entry, timers)| (key, entry.essence(is_head), timers)))
                .collect(),
            free: self.records.free(),
            generation: self.generation,
            waiting: &self.waiting,
            outbox: &self.outbox,
            deletions: &self.deletions,
            couriers: (&self.deletion_courier, &self.copy_courier),
            copy: (self.copy_from, self.copying),
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.essence().hash(state);
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Node")
            .field("id", &self.id)
            .field("configuration", &self.configuration)
            .field("generation", &self.generation)
            .field("records", &self.records.iter().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
