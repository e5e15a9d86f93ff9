//! What the head of a chain does with the requests of switches.
//!
//! Every request enters here, and every answer leaves by the tail, after all nodes have the records it depends on.

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::create::{COMPANIONS_MAX, Created, Records, Refusal};
use crate::fixed::shard_of;
use crate::identity::Schema;
use crate::mutant::{self, Mutant};
use crate::node::{Answer, Chore, Node, Shard};
use crate::record::{Entry, LeaseDecision, Owner, Record, RecordKey, Value, lease_end};
use crate::serial::{Serial, Version};
use crate::statistics::StoreDrop;
use crate::table::{At, Table};
use crate::time::Time;
use crate::waiting::Waiter;
use crate::wire::{DATAGRAM_LEN_MAX, Header, Kind, Message, NackReason, Packet};

/// A lost RECALL is repeated after this part of a lease.
const RECALLS_PER_LEASE: u32 = 8;

/// A request that passed the borders.
struct Request<'a> {
    from: SocketAddrV4,
    key: RecordKey,
    /// The one that the message names.
    schema: Schema,
    message: Message<'a>,
}

impl Request<'_> {
    fn sender(&self) -> Owner {
        Owner { identity: self.message.header.identity, address: self.from }
    }
}

impl Node {
    /// When a datagram came from a switch. Whatever is not a legal request is dropped, with a reason and a counter, and
    /// changes nothing. A member of the chain that is not its head passes requests on to the head, so that a switch may
    /// ask any node.
    pub fn handle_request(&mut self, from: SocketAddrV4, bytes: &[u8], now: Time) {
        if !self.is_head() && bytes.len() <= DATAGRAM_LEN_MAX && self.forward(from, bytes) {
            self.statistics.forwarded += 1;
            return;
        }
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

    /// Looks up, for nothing, the records that requests are about. Who has a batch of requests does this for all of them
    /// first: the waits for memory overlap, and [`handle_request`](Self::handle_request) finds what it needs at hand.
    pub fn anticipate_requests<'a>(&self, requests: impl Iterator<Item = &'a [u8]>) {
        self.records.anticipate(requests.filter_map(|bytes| {
            let packet = Packet::new_checked(bytes).ok()?;
            let schema = self.apps.get(&packet.app())?.schemas.last()?;
            Some((packet.app(), packet.body().get(..usize::from(schema.key_len))?))
        }));
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
        let served = self.apps.get(&header.app).ok_or(StoreDrop::UnknownApp)?;
        let schema = *served.schema(header.fingerprint).ok_or(StoreDrop::UnknownSchema)?;
        let message = Message::parse(bytes, &schema).map_err(|_| StoreDrop::Malformed)?;
        if !is_of_shard(message.key, self.shard) {
            return Err(StoreDrop::WrongShard);
        }
        let key = RecordKey::new(header.app, message.key).ok_or(StoreDrop::Malformed)?;
        Ok(Request { from, key, schema, message })
    }

    fn on_lease(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message, .. } = request;
        let header = &message.header;
        let Some(at) = self.records.find(key).filter(|at| self.records.entry(*at).is_live()) else {
            return if header.create {
                self.create(request, now);
            } else {
                self.nack(NackReason::Absent, key, *from, header, message.frame);
            };
        };
        let lease = self.lease.duration();
        let entry = self.records.entry_mut(at);
        entry.active = now;
        match entry.decide(&request.sender(), header.ticket, now) {
            LeaseDecision::Next => self.grant(key, *from, header, message.frame, now),
            LeaseDecision::Same => {
                entry.extend(lease, now);
                self.answer_grant(key, *from, header, message.frame);
            }
            LeaseDecision::Overtaken => self.answer_grant(key, *from, header, message.frame),
            LeaseDecision::Wait if !self.waiting.has_room(key) => self.busy(request),
            LeaseDecision::Wait => self.wait(request, now),
        }
    }

    fn wait(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message, .. } = request;
        let identity = message.header.identity;
        let frame = message.frame.to_vec();
        let waiter = Waiter { from: *from, header: message.header, frame, until: Time(u64::MAX) };
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

    fn on_write(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message, .. } = request;
        let header = &message.header;
        let lease = self.lease.duration();
        let Some(at) = self.owned(request) else {
            if mutant::is(Mutant::RejectedWriteAcknowledged) {
                return self.ack(self.records.find(key), request, message.frame);
            }
            return self.nack(NackReason::Stale, key, *from, header, message.frame);
        };
        let entry = self.records.entry_mut(at);
        entry.extend(lease, now);
        let released = entry.released.is_some();
        if header.sequence.is_after(entry.record.version.sequence) {
            entry.record.version.sequence = header.sequence;
            write_value(&mut entry.record.value, message.value);
            self.records.touch(at);
            self.keep_by_value(key, at, now);
        }
        self.ack(Some(at), request, message.frame);
        if !self.waiting.is_empty() {
            self.answer_reads(key);
        }
        if released {
            self.end_if_released(key, now);
        }
    }

    /// For how long a record is kept may have changed with its value.
    fn keep_by_value(&mut self, key: &RecordKey, at: At, now: Time) {
        let Some(served) = self.apps.get(&key.app()) else { return };
        let record = &mut self.records.entry_mut(at).record;
        let idle = served.creator.idle(key.key(), &record.value);
        let before = std::mem::replace(&mut record.idle, idle);
        if idle < before {
            // The timer looks at the whole group, and at the lease.
            self.records.schedule(Chore::Idle, key, now.plus(idle));
        }
    }

    fn on_read(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, message, .. } = request;
        let header = &message.header;
        let lease = self.lease.duration();
        let Some(at) = self.owned(request) else {
            return self.nack(NackReason::Stale, key, *from, header, message.frame);
        };
        let entry = self.records.entry_mut(at);
        entry.extend(lease, now);
        let is_applied = entry.record.version.sequence.is_at_least(header.sequence);
        if is_applied || mutant::is(Mutant::ReadBeforeItsWrite) {
            return self.ack(Some(at), request, message.frame);
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
        let Request { from, key, message, .. } = request;
        let lease = self.lease.duration();
        let Some(at) = self.owned(request) else {
            return self.nack(NackReason::Stale, key, *from, &message.header, &[]);
        };
        self.records.entry_mut(at).extend(lease, now);
        self.ack(Some(at), request, &[]);
    }

    fn on_release(&mut self, request: &Request<'_>, now: Time) {
        let Some(at) = self.owned(request) else {
            return self.statistics.count_drop(StoreDrop::StaleRelease);
        };
        self.records.entry_mut(at).released = Some(request.message.header.sequence);
        self.end_if_released(&request.key, now);
    }

    /// The record, if the request comes from its owner in its generation.
    fn owned(&self, request: &Request<'_>) -> Option<At> {
        let generation = request.message.header.generation;
        let at = self.records.find(&request.key)?;
        self.records.entry(at).is_from_owner(&request.sender(), generation).then_some(at)
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
        let Some(at) = self.records.find(key) else { return };
        self.generation = self.generation.next_nonzero();
        self.records.touch(at);
        let entry = self.records.entry_mut(at);
        entry.record.version.generation = self.generation;
        entry.record.owner = Some(Owner { identity: header.identity, address: from });
        entry.record.ticket = header.ticket;
        entry.deadline = lease_end(lease, now);
        entry.released = None;
        entry.active = now;
        self.statistics.generations += 1;
        // The new owner gets time to do something before others, who may wait too, make the store recall it.
        let recall_at = now.plus(self.recall_interval());
        if !self.waiting.is_empty() {
            let outdated = self.waiting.with(key, |queue| {
                queue.recall_at = recall_at;
                std::mem::take(&mut queue.reads)
            });
            for read in outdated {
                self.nack(NackReason::Stale, key, read.from, &read.header, &read.frame);
            }
        }
        self.answer_grant(key, from, header, frame);
        if self.waiting.queue(key).is_some() {
            self.on_waiting(key, now);
        }
    }

    fn create(&mut self, request: &Request<'_>, now: Time) {
        let Request { from, key, schema, message } = request;
        if !self.has_room() {
            self.statistics.creations_full += 1;
            return self.busy(request);
        }
        let Some(served) = self.apps.get_mut(&key.app()) else { return };
        let switch = message.header.identity.switch;
        if served.admission.as_mut().is_some_and(|admission| !admission.admit(switch, message.key, now)) {
            self.statistics.creations_metered += 1;
            return self.busy(request);
        }
        let creator = &mut served.creator;
        let view = ShardView { app: key.app(), shard: self.shard, records: &self.records };
        let newest = creator.schema();
        let made = creator.create(message.key, &view).and_then(|created| {
            check(&created, message.key, usize::from(newest.key_len), usize::from(newest.value_len), &view)?;
            Ok(created)
        });
        match made {
            Ok(created) => {
                // In the schema of who asked: other nodes of the chain may not know a newer one yet.
                self.insert(key, created, usize::from(schema.value_len), now);
                self.grant(key, *from, &message.header, message.frame, now);
            }
            Err(Refusal(word)) => {
                *self.statistics.refusals.entry(word).or_default() += 1;
                self.nack(NackReason::Refused, key, *from, &message.header, message.frame);
            }
        }
    }

    fn insert(&mut self, key: &RecordKey, created: Created, value_len: usize, now: Time) {
        let Some(served) = self.apps.get(&key.app()) else { return };
        if mutant::is(Mutant::GenerationRestarts) && self.records.find(key).is_some() {
            self.generation = Serial::ZERO;
        }
        self.generation = self.generation.next_nonzero();
        let companions = created.companions.into_iter();
        let made: Vec<(RecordKey, Vec<u8>)> = std::iter::once((*key, created.value))
            .chain(companions.filter_map(|(other, value)| Some((RecordKey::new(key.app(), &other)?, value))))
            .collect();
        let names: Vec<RecordKey> = made.iter().map(|(name, _)| *name).collect();
        for (name, value) in made {
            let idle = served.creator.idle(name.key(), &value);
            let record = Record {
                version: Version { generation: self.generation, sequence: Serial::ZERO },
                owner: None,
                ticket: Serial::ZERO,
                value: value[..value_len.min(value.len())].into(),
                deleted: false,
                idle,
                companions: names.iter().copied().filter(|other| *other != name).collect(),
            };
            self.records.insert(name, Entry::new(record, now));
            self.records.cancel(Chore::Purge, &name);
            self.records.schedule(Chore::Idle, &name, now.plus(idle));
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
            return self.records.cancel(Chore::Waiting, key);
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
            self.records.schedule(Chore::Waiting, key, at);
        }
    }

    /// When a record may be idle: deletes it with its companions, or looks again later.
    pub(crate) fn on_idle(&mut self, key: &RecordKey, now: Time) {
        if !self.records.get(key).is_some_and(Entry::is_live) {
            return;
        }
        let group = self.group_keys(key);
        let entries = group.iter().filter_map(|name| self.records.get(name)).filter(|entry| entry.is_live());
        let idle_at = entries.map(|entry| entry.deadline.max(entry.active.plus(entry.record.idle))).max();
        let waited_for = group.iter().any(|name| self.waiting.queue(name).is_some());
        match idle_at {
            Some(at) if at > now => self.records.schedule(Chore::Idle, key, at),
            _ if waited_for => self.records.schedule(Chore::Idle, key, now.plus(self.lease.duration())),
            _ => self.delete(group, now),
        }
    }

    fn answer_reads(&mut self, key: &RecordKey) {
        let Some(at) = self.records.find(key) else { return };
        let applied = self.records.entry(at).record.version.sequence;
        let answered = self.waiting.with(key, |queue| {
            let is_applied = |read: &Waiter| applied.is_at_least(read.header.sequence);
            let (answered, rest) = queue.reads.drain(..).partition::<Vec<_>, _>(is_applied);
            queue.reads = rest.into();
            answered
        });
        for read in answered {
            self.ack_to(Some(at), key, read.from, &read.header, &read.frame);
        }
    }

    fn recall_interval(&self) -> Duration {
        self.lease.duration() / RECALLS_PER_LEASE
    }

    /// Asks the owner to give the lease back. Leaves by the tail like any answer: a generation that only this node knows
    /// of may be another's too, and the RELEASE would end that one's lease. Which of the app's schemas the owner speaks is
    /// not known: it understands one of them.
    fn recall(&mut self, key: &RecordKey) {
        let (Some(at), Some(served)) = (self.records.find(key), self.apps.get(&key.app())) else { return };
        let schemas: Vec<Schema> = served.schemas.clone();
        let record = &self.records.entry(at).record;
        let (Some(owner), version, ticket) = (record.owner, record.version, record.ticket) else { return };
        for schema in schemas {
            let header = Header {
                kind: Kind::Recall,
                create: false,
                reason: None,
                app: schema.app,
                fingerprint: schema.fingerprint,
                identity: owner.identity,
                generation: version.generation,
                sequence: version.sequence,
                ticket,
                sent_at: Default::default(),
                port: 0,
            };
            let answer = Answer { to: owner.address, header, key, with_value: false, frame: &[] };
            self.answer(Some(at), &answer);
        }
        self.statistics.recalls += 1;
    }

    fn answer_grant(&mut self, key: &RecordKey, to: SocketAddrV4, request: &Header, frame: &[u8]) {
        let Some(at) = self.records.find(key) else { return };
        let Version { generation, sequence } = self.records.entry(at).record.version;
        let header = Header { kind: Kind::Grant, create: false, generation, sequence, ..*request };
        self.statistics.grants += 1;
        self.answer(Some(at), &Answer { to, header, key, with_value: true, frame });
    }

    fn ack(&mut self, at: Option<At>, request: &Request<'_>, frame: &[u8]) {
        self.ack_to(at, &request.key, request.from, &request.message.header, frame);
    }

    fn ack_to(&mut self, at: Option<At>, key: &RecordKey, to: SocketAddrV4, request: &Header, frame: &[u8]) {
        let Some(record) = at.map(|at| &self.records.entry(at).record) else { return };
        let Version { generation, sequence } = record.version;
        let header = Header { kind: Kind::Ack, create: false, generation, sequence, ..*request };
        self.statistics.acks += 1;
        self.answer(at, &Answer { to, header, key, with_value: false, frame });
    }

    fn nack(
        &mut self,
        reason: NackReason,
        key: &RecordKey,
        to: SocketAddrV4,
        request: &Header,
        frame: &[u8],
    ) {
        let header = self.refusal(reason, request);
        let answer = Answer { to, header, key, with_value: false, frame };
        self.answer(self.records.find(key), &answer);
    }

    /// Says that there is no room. Goes out directly: it depends on no record, and must cost little.
    fn busy(&mut self, request: &Request<'_>) {
        let Request { from, key, message, .. } = request;
        let header = self.refusal(NackReason::Busy, &message.header);
        let answer = Answer { to: *from, header, key, with_value: false, frame: message.frame };
        self.answer_directly(None, &answer);
    }

    fn refusal(&mut self, reason: NackReason, request: &Header) -> Header {
        *self.statistics.nacks.entry(reason).or_default() += 1;
        Header { kind: Kind::Nack, create: false, reason: Some(reason), ..*request }
    }
}

/// Takes over what a switch wrote. One that speaks an older schema leaves alone what it does not know.
fn write_value(value: &mut Value, written: &[u8]) {
    match value.get_mut(..written.len()) {
        Some(known) => known.copy_from_slice(written),
        None => *value = written.into(),
    }
}

/// What an app's creator sees: its own records in this shard.
struct ShardView<'a> {
    app: u16,
    shard: Shard,
    records: &'a Table,
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
    shard.count <= 1 || shard_of(crc32fast::hash(key), shard.count) == shard.index
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
