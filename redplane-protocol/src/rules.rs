//! What the head of a chain does with the requests of switches.
//!
//! Every request enters here, and every answer leaves by the tail, after all nodes have the records it depends on.

use std::collections::btree_map;
use std::net::SocketAddrV4;
use std::time::Duration;

use crate::chain::Reply;
use crate::create::{COMPANIONS_MAX, Created, Records, Refusal};
use crate::fixed::shard_of;
use crate::mutant::{self, Mutant};
use crate::node::{Chore, Node, Shard};
use crate::record::{Entry, LeaseDecision, Owner, Record, RecordKey, lease_end};
use crate::serial::{Serial, Version};
use crate::statistics::StoreDrop;
use crate::time::Time;
use crate::waiting::Waiter;
use crate::wire::{DATAGRAM_LEN_MAX, Header, Kind, Message, NackReason};

/// A lost RECALL is repeated after this part of a lease.
const RECALLS_PER_LEASE: u32 = 8;

/// A request that passed the borders.
struct Request<'a> {
    from: SocketAddrV4,
    key: RecordKey,
    message: Message<'a>,
}

impl Request<'_> {
    fn sender(&self) -> Owner {
        Owner { identity: self.message.header.identity, address: self.from }
    }
}

impl Node {
    /// When a datagram came from a switch. Whatever is not a legal request for this node now is dropped, with a reason
    /// and a counter, and changes nothing.
    pub fn handle_request(&mut self, from: SocketAddrV4, bytes: &[u8], now: Time) {
        // Leases that ended by now are given to whom waits longest, before anybody new is heard.
        self.handle_timeout(now);
        match self.admit(from, bytes) {
            Err(reason) => self.statistics.count_drop(reason),
            Ok(request) => {
                let kind = request.message.header.kind;
                *self.statistics.requests.entry(kind).or_default() += 1;
                match kind {
                    Kind::Lease => self.on_lease(&request, now),
                    Kind::Write => self.on_write(&request, now),
                    Kind::Read => self.on_read(&request, now),
                    Kind::Renew => self.on_renew(&request, now),
                    Kind::Release => self.on_release(&request, now),
                    _ => self.statistics.count_drop(StoreDrop::Unsupported),
                }
            }
        }
    }

    fn admit<'a>(&self, from: SocketAddrV4, bytes: &'a [u8]) -> Result<Request<'a>, StoreDrop> {
        if !self.is_head() {
            return Err(StoreDrop::NotHead);
        }
        if bytes.len() > DATAGRAM_LEN_MAX {
            return Err(StoreDrop::TooLong);
        }
        let header = Header::parse(bytes).map_err(|_| StoreDrop::Malformed)?;
        if !header.kind.is_request() {
            return Err(StoreDrop::Malformed);
        }
        let schema = self.apps.get(&header.app).ok_or(StoreDrop::UnknownApp)?.schema();
        if header.fingerprint != schema.fingerprint {
            return Err(StoreDrop::UnknownSchema);
        }
        let message = Message::parse(bytes, &schema).map_err(|_| StoreDrop::Malformed)?;
        if !is_of_shard(message.key, self.shard) {
            return Err(StoreDrop::WrongShard);
        }
        let key = RecordKey::new(header.app, message.key).ok_or(StoreDrop::Malformed)?;
        Ok(Request { from, key, message })
    }

    fn on_lease(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message } = request;
        let header = &message.header;
        let Some(entry) = self.records.get_mut(key).filter(|entry| entry.is_live()) else {
            return if header.create {
                self.create(request, now);
            } else {
                self.nack(NackReason::Absent, key, *from, header, message.frame);
            };
        };
        entry.active = now;
        match entry.decide(&request.sender(), header.ticket, now) {
            LeaseDecision::Next => self.grant(key, *from, header, message.frame, now),
            LeaseDecision::Same => {
                entry.extend(self.lease.duration(), now);
                self.answer_grant(key, *from, header, message.frame);
            }
            LeaseDecision::Overtaken => self.answer_grant(key, *from, header, message.frame),
            LeaseDecision::Wait if !self.waiting.has_room(key) => {
                self.nack(NackReason::Busy, key, *from, header, message.frame);
            }
            LeaseDecision::Wait => {
                let frame = message.frame.to_vec();
                let waiter = Waiter { from: *from, header: *header, frame, until: Time(u64::MAX) };
                let identity = header.identity;
                let forgotten = self.waiting.with(key, |queue| {
                    // Requests of a former life of this switch wait for a grant that nobody could use.
                    let before = queue.leases.len();
                    queue.leases.retain(|other| {
                        other.header.identity.switch != identity.switch || other.header.identity == identity
                    });
                    let forgotten = before - queue.leases.len();
                    queue.leases.push_back(waiter);
                    forgotten
                });
                (0..forgotten).for_each(|_| self.statistics.count_drop(StoreDrop::QueueLost));
                self.on_waiting(key, now);
            }
        }
    }

    fn on_write(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message } = request;
        let header = &message.header;
        let lease = self.lease.duration();
        let Some(entry) = self.owned(request) else {
            if mutant::is(Mutant::RejectedWriteAcknowledged) {
                return self.ack(key, *from, header, message.frame);
            }
            return self.nack(NackReason::Stale, key, *from, header, message.frame);
        };
        if header.sequence.is_after(entry.record.version.sequence) {
            entry.record.version.sequence = header.sequence;
            entry.record.value.clear();
            entry.record.value.extend_from_slice(message.value);
        }
        entry.extend(lease, now);
        self.ack(key, *from, header, message.frame);
        self.answer_reads(key);
        self.end_if_released(key, now);
    }

    fn on_read(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message } = request;
        let header = &message.header;
        let lease = self.lease.duration();
        let Some(entry) = self.owned(request) else {
            return self.nack(NackReason::Stale, key, *from, header, message.frame);
        };
        entry.extend(lease, now);
        let is_applied = entry.record.version.sequence.is_at_least(header.sequence);
        if is_applied || mutant::is(Mutant::ReadBeforeItsWrite) {
            return self.ack(key, *from, header, message.frame);
        }
        if !self.waiting.has_room(key) {
            return self.statistics.count_drop(StoreDrop::ReadUnanswered);
        }
        let frame = message.frame.to_vec();
        let waiter = Waiter { from: *from, header: *header, frame, until: now.plus(lease) };
        self.waiting.with(key, |queue| queue.reads.push_back(waiter));
        self.on_waiting(key, now);
    }

    fn on_renew(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message } = request;
        let lease = self.lease.duration();
        let Some(entry) = self.owned(request) else {
            return self.nack(NackReason::Stale, key, *from, &message.header, &[]);
        };
        entry.extend(lease, now);
        self.ack(key, *from, &message.header, &[]);
    }

    fn on_release(&mut self, request: &Request<'_>, now: Time) {
        let Some(entry) = self.owned(request) else {
            return self.statistics.count_drop(StoreDrop::StaleRelease);
        };
        entry.released = Some(request.message.header.sequence);
        self.end_if_released(&request.key, now);
    }

    /// The record, if the request comes from its owner in its generation.
    fn owned(&mut self, request: &Request<'_>) -> Option<&mut Entry> {
        let generation = request.message.header.generation;
        let sender = request.sender();
        self.records.get_mut(&request.key).filter(|entry| entry.is_from_owner(&sender, generation))
    }

    /// Ends a lease that was given back, once the last write before it is applied.
    fn end_if_released(&mut self, key: &RecordKey, now: Time) {
        let Some(entry) = self.records.get_mut(key) else { return };
        let Some(last) = entry.released else { return };
        if entry.record.version.sequence.is_at_least(last) {
            entry.deadline = entry.deadline.min(now);
            self.grant_next(key, now);
        }
    }

    /// When nobody's lease is in the way: to the switch that waits longest, and with it all its waiting requests.
    fn grant_next(&mut self, key: &RecordKey, now: Time) {
        let mut served = self.waiting.with(key, |queue| {
            let Some(identity) = queue.leases.front().map(|first| first.header.identity) else {
                return Vec::new();
            };
            let is_same = |waiter: &Waiter| waiter.header.identity == identity;
            let (served, rest) = queue.leases.drain(..).partition::<Vec<_>, _>(is_same);
            queue.leases = rest.into();
            served
        });
        // Only the latest ticket can still be installed; the other packets just go back with the same grant.
        let latest = (0..served.len()).reduce(|best, at| {
            if served[at].header.ticket.is_after(served[best].header.ticket) { at } else { best }
        });
        let Some(latest) = latest else { return };
        let first = served.remove(latest);
        self.grant(key, first.from, &first.header, &first.frame, now);
        for waiter in served {
            self.answer_grant(key, waiter.from, &waiter.header, &waiter.frame);
        }
    }

    /// Grants the next generation.
    fn grant(&mut self, key: &RecordKey, from: SocketAddrV4, header: &Header, frame: &[u8], now: Time) {
        let lease = self.lease.duration();
        let Some(entry) = self.records.get_mut(key) else { return };
        self.generation = self.generation.next_nonzero();
        entry.record.version.generation = self.generation;
        entry.record.owner = Some(Owner { identity: header.identity, address: from });
        entry.record.ticket = header.ticket;
        entry.deadline = lease_end(lease, now);
        entry.released = None;
        entry.active = now;
        self.statistics.generations += 1;
        // The new owner gets time to do something before others, who may wait too, make the store recall it.
        let recall_at = now.plus(self.recall_interval());
        let outdated = self.waiting.with(key, |queue| {
            queue.recall_at = recall_at;
            std::mem::take(&mut queue.reads)
        });
        for read in outdated {
            self.nack(NackReason::Stale, key, read.from, &read.header, &read.frame);
        }
        self.answer_grant(key, from, header, frame);
        if self.waiting.queue(key).is_some() {
            self.on_waiting(key, now);
        }
    }

    fn create(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message } = request;
        let Some(creator) = self.apps.get_mut(&key.app()) else { return };
        let idle = creator.idle();
        let view = ShardView { app: key.app(), shard: self.shard, records: &self.records };
        let made = creator.create(message.key, &view).and_then(|created| {
            let schema = creator.schema();
            check(&created, message.key, usize::from(schema.key_len), usize::from(schema.value_len), &view)?;
            Ok(created)
        });
        match made {
            Ok(created) => {
                self.insert(key, created, idle, now);
                self.grant(key, *from, &message.header, message.frame, now);
            }
            Err(Refusal(word)) => {
                *self.statistics.refusals.entry(word).or_default() += 1;
                self.nack(NackReason::Refused, key, *from, &message.header, message.frame);
            }
        }
    }

    fn insert(&mut self, key: &RecordKey, created: Created, app_idle: Duration, now: Time) {
        if mutant::is(Mutant::GenerationRestarts) && self.records.contains_key(key) {
            self.generation = Serial::ZERO;
        }
        self.generation = self.generation.next_nonzero();
        let idle = created.keep_for.unwrap_or(app_idle);
        let companions = created.companions.into_iter();
        let made: Vec<(RecordKey, Vec<u8>)> = std::iter::once((*key, created.value))
            .chain(companions.filter_map(|(other, value)| Some((RecordKey::new(key.app(), &other)?, value))))
            .collect();
        let names: Vec<RecordKey> = made.iter().map(|(name, _)| *name).collect();
        for (name, value) in made {
            let record = Record {
                version: Version { generation: self.generation, sequence: Serial::ZERO },
                owner: None,
                ticket: Serial::ZERO,
                value,
                deleted: false,
                idle,
                companions: names.iter().copied().filter(|other| *other != name).collect(),
            };
            self.records.insert(name, Entry::new(record, now));
            self.cancel(Chore::Purge, &name);
            self.schedule(Chore::Idle, name, now.plus(idle));
            self.statistics.created += 1;
        }
    }

    /// When requests wait for a key, and something may have to be done about it.
    pub(crate) fn on_waiting(&mut self, key: &RecordKey, now: Time) {
        let overdue = self.waiting.with(key, |queue| {
            let before = queue.reads.len();
            queue.reads.retain(|read| now < read.until);
            before - queue.reads.len()
        });
        (0..overdue).for_each(|_| self.statistics.count_drop(StoreDrop::ReadUnanswered));
        let (Some(queue), Some(entry)) = (self.waiting.queue(key), self.records.get(key)) else {
            return self.cancel(Chore::Waiting, key);
        };
        let mut wake_at = queue.reads.iter().map(|read| read.until).min();
        if !queue.leases.is_empty() {
            if !entry.is_leased(now) {
                return self.grant_next(key, now);
            }
            let mut next = entry.deadline;
            if entry.released.is_none() {
                let mut recall_at = queue.recall_at;
                if recall_at <= now {
                    self.recall(key);
                    recall_at = now.plus(self.recall_interval());
                    self.waiting.with(key, |queue| queue.recall_at = recall_at);
                }
                next = next.min(recall_at);
            }
            wake_at = Some(wake_at.map_or(next, |wake_at| wake_at.min(next)));
        }
        if let Some(at) = wake_at {
            self.schedule(Chore::Waiting, *key, at);
        }
    }

    /// When a record may be idle: deletes it with its companions, or looks again later.
    pub(crate) fn on_idle(&mut self, key: &RecordKey, now: Time) {
        if !self.records.get(key).is_some_and(Entry::is_live) {
            return;
        }
        let group = self.group(key);
        let entries = group.iter().filter_map(|name| self.records.get(name)).filter(|entry| entry.is_live());
        let idle_at = entries.map(|entry| entry.deadline.max(entry.active.plus(entry.record.idle))).max();
        let waited_for = group.iter().any(|name| self.waiting.queue(name).is_some());
        match idle_at {
            Some(at) if at > now => self.schedule(Chore::Idle, *key, at),
            _ if waited_for => self.schedule(Chore::Idle, *key, now.plus(self.lease.duration())),
            _ => self.delete(group, now),
        }
    }

    fn answer_reads(&mut self, key: &RecordKey) {
        let Some(applied) = self.records.get(key).map(|entry| entry.record.version.sequence) else { return };
        let answered = self.waiting.with(key, |queue| {
            let is_applied = |read: &Waiter| applied.is_at_least(read.header.sequence);
            let (answered, rest) = queue.reads.drain(..).partition::<Vec<_>, _>(is_applied);
            queue.reads = rest.into();
            answered
        });
        for read in answered {
            self.ack(key, read.from, &read.header, &read.frame);
        }
    }

    fn recall_interval(&self) -> Duration {
        self.lease.duration() / RECALLS_PER_LEASE
    }

    /// Asks the owner to give the lease back. Leaves by the tail like any answer: a generation that only this node knows
    /// of may be another's too, and the RELEASE would end that one's lease.
    fn recall(&mut self, key: &RecordKey) {
        let (Some(entry), Some(creator)) = (self.records.get(key), self.apps.get(&key.app())) else { return };
        let Some(owner) = entry.record.owner else { return };
        let schema = creator.schema();
        let header = Header {
            kind: Kind::Recall,
            create: false,
            reason: None,
            app: schema.app,
            fingerprint: schema.fingerprint,
            identity: owner.identity,
            generation: entry.record.version.generation,
            sequence: entry.record.version.sequence,
            ticket: entry.record.ticket,
            sent_at: Default::default(),
            port: 0,
        };
        let value = vec![0; usize::from(schema.value_len)];
        let bytes = Message { header, key: key.key(), value: &value, frame: &[] }.to_vec();
        self.statistics.recalls += 1;
        self.pass_down(Some(key), Reply { to: owner.address, bytes });
    }

    fn answer_grant(&mut self, key: &RecordKey, to: SocketAddrV4, request: &Header, frame: &[u8]) {
        let Some(Entry { record, .. }) = self.records.get(key) else { return };
        let Version { generation, sequence } = record.version;
        let header = Header { kind: Kind::Grant, create: false, generation, sequence, ..*request };
        let bytes = Message { header, key: key.key(), value: &record.value, frame }.to_vec();
        self.statistics.grants += 1;
        self.pass_down(Some(key), Reply { to, bytes });
    }

    fn ack(&mut self, key: &RecordKey, to: SocketAddrV4, request: &Header, frame: &[u8]) {
        let Some(entry) = self.records.get(key) else { return };
        let Version { generation, sequence } = entry.record.version;
        let header = Header { kind: Kind::Ack, create: false, generation, sequence, ..*request };
        self.statistics.acks += 1;
        self.answer_without_value(key, to, header, frame);
    }

    fn nack(
        &mut self,
        reason: NackReason,
        key: &RecordKey,
        to: SocketAddrV4,
        request: &Header,
        frame: &[u8],
    ) {
        let header = Header { kind: Kind::Nack, create: false, reason: Some(reason), ..*request };
        *self.statistics.nacks.entry(reason).or_default() += 1;
        self.answer_without_value(key, to, header, frame);
    }

    fn answer_without_value(&mut self, key: &RecordKey, to: SocketAddrV4, header: Header, frame: &[u8]) {
        let Some(creator) = self.apps.get(&key.app()) else { return };
        let value = vec![0; usize::from(creator.schema().value_len)];
        let bytes = Message { header, key: key.key(), value: &value, frame }.to_vec();
        self.pass_down(Some(key), Reply { to, bytes });
    }
}

/// What an app's creator sees: its own records in this shard.
struct ShardView<'a> {
    app: u16,
    shard: Shard,
    records: &'a btree_map::BTreeMap<RecordKey, Entry>,
}

impl Records for ShardView<'_> {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let entry = self.records.get(&RecordKey::new(self.app, key)?)?;
        entry.is_live().then_some(&entry.record.value)
    }

    fn is_free(&self, key: &[u8]) -> bool {
        is_of_shard(key, self.shard) && self.get(key).is_none()
    }
}

fn is_of_shard(key: &[u8], shard: Shard) -> bool {
    shard_of(crc32fast::hash(key), shard.count) == shard.index
}

/// A creator is the operator's own code, but what it makes goes to all replicas: so nothing is taken on trust.
fn check(
    created: &Created,
    key: &[u8],
    key_len: usize,
    value_len: usize,
    view: &ShardView<'_>,
) -> Result<(), Refusal> {
    let names: std::collections::BTreeSet<_> =
        created.companions.iter().map(|(other, _)| other.as_slice()).collect();
    let legal = |(other, value): &(Vec<u8>, Vec<u8>)| {
        other.len() == key_len && value.len() == value_len && other != key && view.is_free(other)
    };
    if created.value.len() != value_len
        || created.companions.len() > COMPANIONS_MAX
        || names.len() != created.companions.len()
        || !created.companions.iter().all(legal)
    {
        return Err(Refusal("creation_illegal"));
    }
    Ok(())
}
