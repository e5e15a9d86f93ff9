//! One replica of one shard of the store.
//!
//! Sans-IO: bytes and time go in through `handle_*`, bytes and deadlines come out through `poll_*`. This file is the
//! node's place in the chain; what the head does with requests is in `rules`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddrV4;
use std::time::Duration;

use crate::chain::{ChainMessage, Configuration, Content, NodeId, RECORDS_MAX, Reply};
use crate::courier::Courier;
use crate::create::{COMPANIONS_MAX, Creator};
use crate::fixed::{KEY_LEN_MAX, VALUE_LEN_MAX};
use crate::mutant::{self, Mutant};
use crate::record::{Entry, EntryEssence, Record, RecordKey, lease_end};
use crate::serial::Serial;
use crate::statistics::{StoreDrop, StoreStatistics};
use crate::time::{Lease, Time};
use crate::waiting::Waiting;

/// For how long a deletion is remembered: longer than any message can stay under way, so that none brings the
/// deleted record back.
pub const TOMBSTONE_HOLD: Duration = Duration::from_secs(60);

/// Most keys in a portion of the copy: with all their companions they go in one message.
const COPY_KEYS_MAX: usize = RECORDS_MAX / (1 + COMPANIONS_MAX);

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
    /// To a switch: a [`Message`](crate::wire::Message).
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

/// What a timer is about. One of each per record at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Chore {
    /// Requests wait for this key.
    Waiting,
    /// The record may be idle.
    Idle,
    /// The tombstone may be forgotten.
    Purge,
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
    pub(crate) apps: BTreeMap<u16, Box<dyn Creator>>,
    configuration: Configuration,
    pub(crate) records: BTreeMap<RecordKey, Entry>,
    /// The last generation that was given; the next one is larger for every key, deleted ones too.
    pub(crate) generation: Serial,
    pub(crate) waiting: Waiting,
    timers: BTreeSet<(Time, Chore, RecordKey)>,
    timer_of: BTreeMap<(Chore, RecordKey), Time>,
    transmits: VecDeque<Transmit>,
    deletions: VecDeque<Vec<RecordKey>>,
    deletion_courier: Courier,
    copy_courier: Courier,
    copy_after: Option<RecordKey>,
    copying: bool,
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
            let schema = creator.schema();
            assert!(
                usize::from(schema.key_len) <= KEY_LEN_MAX && usize::from(schema.value_len) <= VALUE_LEN_MAX
            );
            let other = by_number.insert(schema.app, creator);
            assert!(other.is_none(), "two apps have the number {}", schema.app);
        }
        Self {
            id,
            shard,
            lease,
            apps: by_number,
            configuration: Configuration::default(),
            records: BTreeMap::new(),
            generation: Serial::ZERO,
            waiting: Waiting::default(),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            transmits: VecDeque::new(),
            deletions: VecDeque::new(),
            deletion_courier: Courier::default(),
            copy_courier: Courier::default(),
            copy_after: None,
            copying: false,
            statistics: StoreStatistics::default(),
        }
    }

    /// A copy that goes on from here by itself, with apps that must be the same: for a search over what may come next.
    #[must_use]
    pub fn fork(&self, apps: Vec<Box<dyn Creator>>) -> Self {
        let blank = Self::new(self.id, self.shard, self.lease, apps);
        debug_assert!(blank.apps.keys().eq(self.apps.keys()));
        Self {
            configuration: self.configuration.clone(),
            records: self.records.clone(),
            generation: self.generation,
            waiting: self.waiting.clone(),
            timers: self.timers.clone(),
            timer_of: self.timer_of.clone(),
            transmits: self.transmits.clone(),
            deletions: self.deletions.clone(),
            deletion_courier: self.deletion_courier.clone(),
            copy_courier: self.copy_courier.clone(),
            copy_after: self.copy_after,
            copying: self.copying,
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

    /// A live record, for inspection.
    #[must_use]
    pub fn record(&self, app: u16, key: &[u8]) -> Option<&Record> {
        self.records
            .get(&RecordKey::new(app, key)?)
            .filter(|entry| entry.is_live())
            .map(|entry| &entry.record)
    }

    /// All live records in order of their keys, for inspection.
    pub fn records(&self) -> impl Iterator<Item = (&RecordKey, &Record)> {
        self.records.iter().filter(|(_, entry)| entry.is_live()).map(|(key, entry)| (key, &entry.record))
    }

    /// Counters, and how much is held now. Looks at every record.
    #[must_use]
    pub fn statistics(&self) -> StoreStatistics {
        let live = self.records.values().filter(|entry| entry.is_live()).count();
        StoreStatistics {
            records: live,
            tombstones: self.records.len() - live,
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
        self.configuration = configuration;
        self.deletions.clear();
        self.deletion_courier.abandon();
        self.copy_courier.abandon();
        if !self.is_head() {
            let lost = self.waiting.clear();
            (0..lost).for_each(|_| self.statistics.count_drop(StoreDrop::QueueLost));
            self.forget_timers(&[Chore::Waiting, Chore::Idle]);
        }
        let is_member = self.configuration.members.contains(&self.id);
        let joins = self.configuration.joining == Some(self.id) && !self.is_head();
        let joins = joins && !mutant::is(Mutant::JoinerKeepsRecords);
        if !is_member || joins {
            self.records.clear();
            self.forget_timers(&[Chore::Purge]);
        }
        if self.is_head() {
            if !was_head && !mutant::is(Mutant::NewHeadGrantsAtOnce) {
                self.honour_all(now);
            }
            let tombstones = self.records.iter().filter(|(_, entry)| !entry.is_live());
            self.deletions = tombstones.map(|(key, _)| vec![*key]).collect();
        }
        let successor = self.configuration.successor(self.id);
        self.copying = successor.is_some() && successor == self.configuration.joining;
        self.copy_after = None;
        self.drive_couriers(now);
    }

    /// When a datagram came from another node of the chain.
    pub fn handle_chain(&mut self, from: NodeId, bytes: &[u8], now: Time) {
        if let Err(reason) = self.on_chain(from, bytes, now) {
            self.statistics.count_drop(reason);
        }
    }

    /// When the deadline of [`poll_timeout`](Self::poll_timeout) passed. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((at, chore, key)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            self.timer_of.remove(&(chore, key));
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
        self.transmits.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let timer = self.timers.first().map(|(at, _, _)| *at);
        [timer, self.deletion_courier.resend_at(), self.copy_courier.resend_at()].into_iter().flatten().min()
    }

    pub(crate) fn transmit(&mut self, to: Destination, bytes: Vec<u8>) {
        self.transmits.push_back(Transmit { to, bytes });
    }

    /// Sends an answer the only way there is: down the chain together with the records that it depends on.
    pub(crate) fn pass_down(&mut self, key: Option<&RecordKey>, reply: Reply) {
        let records = key.map_or_else(Vec::new, |key| self.group_records(key));
        self.update(0, records, Some(reply));
    }

    /// The key and those of its companions that belong to it.
    pub(crate) fn group(&self, key: &RecordKey) -> Vec<RecordKey> {
        let mut group = vec![*key];
        if let Some(entry) = self.records.get(key) {
            let belongs = |other: &&RecordKey| {
                self.records.get(other).is_some_and(|other| other.record.companions.contains(key))
            };
            group.extend(entry.record.companions.iter().filter(belongs));
        }
        group
    }

    pub(crate) fn delete(&mut self, group: Vec<RecordKey>, now: Time) {
        self.generation = self.generation.next_nonzero();
        for key in &group {
            let mut entry = Entry::new(Record::tombstone(self.generation), now);
            entry.purge_at = now.plus(TOMBSTONE_HOLD);
            self.records.insert(*key, entry);
            self.schedule(Chore::Purge, *key, now.plus(TOMBSTONE_HOLD));
            self.cancel(Chore::Idle, key);
            self.statistics.deleted += 1;
        }
        self.deletions.push_back(group);
    }

    pub(crate) fn schedule(&mut self, chore: Chore, key: RecordKey, at: Time) {
        if let Some(old) = self.timer_of.insert((chore, key), at) {
            self.timers.remove(&(old, chore, key));
        }
        self.timers.insert((at, chore, key));
    }

    pub(crate) fn cancel(&mut self, chore: Chore, key: &RecordKey) {
        if let Some(old) = self.timer_of.remove(&(chore, *key)) {
            self.timers.remove(&(old, chore, *key));
        }
    }

    fn forget_timers(&mut self, chores: &[Chore]) {
        self.timers.retain(|(_, chore, _)| !chores.contains(chore));
        self.timer_of.retain(|(chore, _), _| !chores.contains(chore));
    }

    fn honour_all(&mut self, now: Time) {
        let deadline = lease_end(self.lease.duration(), now);
        let mut idle = Vec::new();
        for (key, entry) in self.records.iter_mut().filter(|(_, entry)| entry.is_live()) {
            entry.deadline = deadline;
            entry.released = None;
            entry.active = now;
            idle.push((*key, now.plus(entry.record.idle)));
        }
        for (key, at) in idle {
            self.schedule(Chore::Idle, key, at);
        }
    }

    fn group_records(&self, key: &RecordKey) -> Vec<(RecordKey, Record)> {
        if mutant::is(Mutant::CompanionNotReplicated) {
            return self.current_records(&[*key]);
        }
        self.current_records(&self.group(key))
    }

    fn current_records(&self, keys: &[RecordKey]) -> Vec<(RecordKey, Record)> {
        keys.iter().filter_map(|key| Some((*key, self.records.get(key)?.record.clone()))).collect()
    }

    fn update(&mut self, confirm: u64, records: Vec<(RecordKey, Record)>, mut reply: Option<Reply>) {
        if mutant::is(Mutant::OnlyLastOfBatch) {
            self.forget_queued_records();
        }
        if mutant::is(Mutant::TailSkipped)
            && let Some(reply) = reply.take()
        {
            self.transmit(Destination::Switch(reply.to), reply.bytes);
        }
        match self.configuration.successor(self.id) {
            Some(successor) => self.tell(successor, Content::Update { confirm, records, reply }),
            None => {
                if let Some(reply) = reply {
                    self.transmit(Destination::Switch(reply.to), reply.bytes);
                }
            }
        }
    }

    /// Part of [`Mutant::OnlyLastOfBatch`].
    fn forget_queued_records(&mut self) {
        for transmit in &mut self.transmits {
            let Ok(mut message) = ChainMessage::parse(&transmit.bytes) else { continue };
            if let Content::Update { records, .. } = &mut message.content {
                records.clear();
                transmit.bytes = message.to_vec();
            }
        }
    }

    fn tell(&mut self, node: NodeId, content: Content) {
        let epoch = self.configuration.epoch;
        let message = ChainMessage { shard: self.shard.index, epoch, generation: self.generation, content };
        self.transmit(Destination::Node(node), message.to_vec());
    }

    fn on_chain(&mut self, from: NodeId, bytes: &[u8], now: Time) -> Result<(), StoreDrop> {
        let message = ChainMessage::parse(bytes).map_err(|_| StoreDrop::ChainMalformed)?;
        if message.shard != self.shard.index {
            return Err(StoreDrop::WrongShard);
        }
        if message.epoch != self.configuration.epoch && !mutant::is(Mutant::StaleEpochAccepted) {
            return Err(StoreDrop::ChainEpoch);
        }
        let expected = match message.content {
            Content::Update { .. } | Content::Copy { .. } => self.configuration.predecessor(self.id),
            Content::Confirmed { .. } if self.is_head() => self.configuration.tail(),
            Content::Confirmed { .. } => None,
            Content::Copied { .. } => self.configuration.successor(self.id),
        };
        if expected != Some(from) {
            return Err(StoreDrop::ChainStranger);
        }
        match message.content {
            Content::Update { confirm, records, reply } => {
                if !mutant::is(Mutant::ReplicaDoesNotApply) {
                    self.merge(message.generation, records, now)?;
                }
                self.on_update(confirm, reply, bytes);
            }
            Content::Copy { portion, records } => {
                self.merge(message.generation, records, now)?;
                self.tell(from, Content::Copied { portion });
            }
            Content::Confirmed { confirm } => {
                self.deletion_courier.confirm(confirm);
                self.drive_couriers(now);
            }
            Content::Copied { portion } => {
                if let Some(keys) = self.copy_courier.confirm(portion) {
                    self.copy_after = keys.last().copied().or(self.copy_after);
                    self.copying = !keys.is_empty();
                }
                self.drive_couriers(now);
            }
        }
        Ok(())
    }

    fn on_update(&mut self, confirm: u64, reply: Option<Reply>, bytes: &[u8]) {
        if let Some(successor) = self.configuration.successor(self.id) {
            return self.transmit(Destination::Node(successor), bytes.to_vec());
        }
        if let Some(reply) = reply {
            self.transmit(Destination::Switch(reply.to), reply.bytes);
        }
        if let Some(head) = self.configuration.head().filter(|_| confirm != 0) {
            self.tell(head, Content::Confirmed { confirm });
        }
    }

    /// Takes over what is later than ours: all of a message or, if any of it is not ours to keep, nothing.
    fn merge(
        &mut self,
        generation: Serial,
        records: Vec<(RecordKey, Record)>,
        now: Time,
    ) -> Result<(), StoreDrop> {
        if !records.iter().all(|(key, record)| self.is_ours(key, record)) {
            return Err(StoreDrop::ChainMalformed);
        }
        self.generation = self.generation.latest(generation);
        for (key, record) in records {
            self.generation = self.generation.latest(record.version.generation);
            let deleted = record.deleted;
            let entry = match self.records.get_mut(&key) {
                None => self.records.entry(key).or_insert_with(|| Entry::new(record, now)),
                Some(entry) => {
                    entry.merge(record);
                    entry
                }
            };
            if !entry.is_live() && deleted {
                entry.purge_at = now.plus(TOMBSTONE_HOLD);
                self.schedule(Chore::Purge, key, now.plus(TOMBSTONE_HOLD));
            }
        }
        Ok(())
    }

    fn is_ours(&self, key: &RecordKey, record: &Record) -> bool {
        let Some(creator) = self.apps.get(&key.app()) else { return false };
        let schema = creator.schema();
        let value_len = if record.deleted { 0 } else { usize::from(schema.value_len) };
        key.key().len() == usize::from(schema.key_len)
            && record.value.len() == value_len
            && record.companions.iter().all(|other| other.app() == key.app())
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
            self.schedule(Chore::Purge, *key, purge_at);
        }
    }

    fn deletions_confirmed(&self) -> bool {
        self.deletions.is_empty() && self.deletion_courier.is_idle()
    }

    fn drive_couriers(&mut self, now: Time) {
        if let Some((confirm, keys)) = self.deletion_courier.resend(now) {
            let records = self.current_records(&keys);
            self.update(confirm, records, None);
        }
        if self.deletion_courier.is_idle() && !self.deletions.is_empty() {
            self.send_deletions(now);
        }
        let Some(successor) = self.configuration.successor(self.id).filter(|_| self.copying) else { return };
        if let Some((portion, keys)) = self.copy_courier.resend(now) {
            let records = self.records_to_copy(&keys);
            self.tell(successor, Content::Copy { portion, records });
        }
        if self.copy_courier.is_idle() {
            let keys = self.next_copy();
            let records = self.records_to_copy(&keys);
            let portion = self.copy_courier.send(keys, now);
            self.tell(successor, Content::Copy { portion, records });
        }
    }

    fn send_deletions(&mut self, now: Time) {
        if self.configuration.successor(self.id).is_none() {
            return self.deletions.clear(); // Alone in the chain: whatever this node has, the chain has.
        }
        let mut keys: Vec<RecordKey> = Vec::new();
        while self.deletions.front().is_some_and(|group| keys.len() + group.len() <= RECORDS_MAX) {
            keys.extend(self.deletions.pop_front().into_iter().flatten());
        }
        let records = self.current_records(&keys);
        let confirm = self.deletion_courier.send(keys, now);
        self.update(confirm, records, None);
    }

    /// The next portion of keys for the joining node. An empty one is the last: once it is confirmed, all are.
    fn next_copy(&self) -> Vec<RecordKey> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.copy_after.as_ref().map_or(Unbounded, Excluded);
        self.records.range((after, Unbounded)).take(COPY_KEYS_MAX).map(|(key, _)| *key).collect()
    }

    /// Each key with all of its group: companions that were made after the copy had passed their place go with it, for a
    /// node must not have half of a group.
    fn records_to_copy(&self, keys: &[RecordKey]) -> Vec<(RecordKey, Record)> {
        let whole: BTreeSet<RecordKey> = keys.iter().flat_map(|key| self.group(key)).collect();
        self.current_records(&whole.into_iter().collect::<Vec<_>>())
    }
}

/// All that a node's future depends on.
#[derive(PartialEq, Eq, Hash)]
struct Essence<'a> {
    place: (NodeId, Shard, Lease, &'a Configuration),
    records: Vec<(&'a RecordKey, EntryEssence<'a>)>,
    generation: Serial,
    waiting: &'a Waiting,
    timer_of: &'a BTreeMap<(Chore, RecordKey), Time>,
    transmits: &'a VecDeque<Transmit>,
    deletions: &'a VecDeque<Vec<RecordKey>>,
    couriers: (&'a Courier, &'a Courier),
    copy: (Option<RecordKey>, bool),
}

impl Node {
    fn essence(&self) -> Essence<'_> {
        let is_head = self.is_head();
        Essence {
            place: (self.id, self.shard, self.lease, &self.configuration),
            records: self.records.iter().map(|(key, entry)| (key, entry.essence(is_head))).collect(),
            generation: self.generation,
            waiting: &self.waiting,
            timer_of: &self.timer_of,
            transmits: &self.transmits,
            deletions: &self.deletions,
            couriers: (&self.deletion_courier, &self.copy_courier),
            copy: (self.copy_after, self.copying),
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
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}
