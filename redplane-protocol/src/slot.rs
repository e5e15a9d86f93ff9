//! The switch's side: slots of plain registers that hold leased state.
//!
//! A slot needs no control plane: a GRANT is a compare-and-swap on the slot's install counter (the *ticket*). The
//! request carried the counter as it stood; the grant brings it back, and installs only if the counter is still that.
//! So a late, duplicate or crossing grant never brings old state back. The emitted P4 does the same steps with
//! registers, each touched once per pass, in the order of the fields of `SlotState`.

use std::hash::{Hash, Hasher};
use std::mem;

use crate::fixed::{Fixed, KEY_LEN_MAX, VALUE_LEN_MAX, key_hash, slot_of};
use crate::identity::{Schema, SwitchIdentity};
use crate::mutant::{self, Mutant};
use crate::retransmit::Copies;
use crate::serial::Serial;
use crate::time::{Lease, Ticks};
use crate::wire::{Header, Kind, NackReason};

/// Most slots of a table: an index is 24 bits of the key's hash, which leaves 8 that only the shard uses.
pub const SLOTS_MAX: u32 = 1 << 24;

/// Index of a slot. Only good for the table that gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Slot(u32);

impl Slot {
    /// Position in the table, from zero.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// Answer to [`SlotTable::lookup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// This switch holds the key, and its lease lives: run the handler.
    Held(Slot),
    /// Not held, or the lease is over: ask the store with [`SlotTable::lease_request`].
    NotHeld(Slot),
}

/// Answer to [`SlotTable::settle`]: what becomes of the output packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It only shows what is durable: let it go. Now and then the lease is renewed with an extra message.
    Release {
        /// A RENEW without frame to send to the store, if it is time.
        renew: Option<Header>,
    },
    /// It shows what is not durable yet: send it to the store within this WRITE or READ.
    Hold(Header),
}

/// Answer to [`SlotTable::handle_message`]: what becomes of the carried packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaction {
    /// Process the carried input packet as if it just came in by `port`.
    Reprocess {
        /// The store said that the record does not exist: `find` yields `None` on this pass.
        absent: bool,
        /// Where it came in.
        port: u16,
    },
    /// Send the carried output packet out by `port`, or process it anew if that is
    /// [`PORT_RECIRCULATE`](crate::wire::PORT_RECIRCULATE).
    Release {
        /// Where it leaves.
        port: u16,
    },
    /// Send this header with the message's key, a zero value and no frame back to the store.
    Reply(Header),
    /// Nothing more to do; the carried packet, if any, is lost for this reason.
    Drop(DropReason),
}

/// Why [`SlotTable::handle_message`] dropped what it was given. Each has its counter in the switch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DropReason {
    /// Another app, another schema, another switch, or another life of this one.
    Stranger,
    /// A kind that only the store takes.
    Malformed,
    /// The store no longer honours the generation in which the packet was made.
    LeaseStale,
    /// The app's `on_create` refused to make the record.
    LeaseRefused,
    /// A queue of the store is full.
    StoreBusy,
    /// About a lease that the slot does not hold.
    NoLease,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [Self; 6] = [
        Self::Stranger,
        Self::Malformed,
        Self::LeaseStale,
        Self::LeaseRefused,
        Self::StoreBusy,
        Self::NoLease,
    ];

    /// Name of the counter, the same as in the emitted P4.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stranger => "protocol_stranger",
            Self::Malformed => "protocol_malformed",
            Self::LeaseStale => "lease_stale",
            Self::LeaseRefused => "lease_refused",
            Self::StoreBusy => "store_busy",
            Self::NoLease => "no_lease",
        }
    }
}

/// What a table counted since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotStatistics {
    /// Grants that were installed.
    pub installed: u64,
    /// Grants whose ticket was out of date.
    pub outdated: u64,
    /// Installed grants that pushed out another key which still had a generation.
    pub overwritten: u64,
    /// Leases given back because the store recalled them.
    pub recalled: u64,
    /// Recalls of leases that this switch neither held nor could still get, answered all the same.
    pub released_of_nothing: u64,
    /// Truncated copies sent again.
    pub retransmitted: u64,
    /// Writes whose truncated copy was not kept, because too many were circling.
    pub copies_not_kept: u64,
}

/// Registers of one slot, in the order in which the pipeline touches them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct SlotState<K, V> {
    ticket: Serial,
    key: K,
    /// Zero: nothing is held.
    generation: Serial,
    expiry: Ticks,
    renew_at: Ticks,
    value: V,
    sequence: Serial,
    acknowledged: Serial,
    /// A truncated copy of this generation's writes is circling.
    circling: bool,
}

/// What the registers of one slot hold, for inspection. What a slot without a generation holds besides its ticket means
/// nothing, but is the same in the emitted P4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registers<K, V> {
    /// Install counter.
    pub ticket: Serial,
    /// Whose slot it is, or was.
    pub key: K,
    /// Of the lease; zero: nothing is held.
    pub generation: Serial,
    /// When the lease ends.
    pub expiry: Ticks,
    /// When to ask for more of it.
    pub renew_at: Ticks,
    /// The state.
    pub value: V,
    /// The last write.
    pub sequence: Serial,
    /// The last write that is durable.
    pub acknowledged: Serial,
}

/// All slots of one app on one switch.
///
/// The hot path is [`lookup`](Self::lookup), [`value`](Self::value), [`settle`](Self::settle): one cache line or two,
/// no allocation. Time enters only as an argument.
///
/// Two tables are equal if they do the same from now on: what they counted does not matter, nor what is left in a slot
/// that holds nothing.
#[derive(Clone, Debug)]
pub struct SlotTable<K, V> {
    identity: SwitchIdentity,
    schema: Schema,
    lease: Lease,
    slots: Vec<SlotState<K, V>>,
    /// How many of them hold a generation.
    occupied: usize,
    copies: Copies,
    sweep_next: u32,
    statistics: SlotStatistics,
}

impl<K: Fixed, V: Fixed> SlotTable<K, V> {
    const LENGTHS_LEGAL: () =
        assert!(K::LEN <= KEY_LEN_MAX && V::LEN <= VALUE_LEN_MAX, "key or value too long");

    /// A table of `slots` empty slots.
    ///
    /// # Panics
    /// If `slots` is not a power of two up to [`SLOTS_MAX`], or the schema's lengths are not those of `K` and `V`:
    /// both come from the app's compiler.
    #[must_use]
    pub fn new(identity: SwitchIdentity, schema: Schema, slots: u32, lease: Lease) -> Self {
        let () = Self::LENGTHS_LEGAL;
        assert!(
            slots.is_power_of_two() && slots <= SLOTS_MAX,
            "{slots} slots: not a power of two up to {SLOTS_MAX}"
        );
        assert_eq!((usize::from(schema.key_len), usize::from(schema.value_len)), (K::LEN, V::LEN));
        Self {
            identity,
            schema,
            lease,
            slots: vec![SlotState::empty(); slots as usize],
            occupied: 0,
            copies: Copies::new(),
            sweep_next: 0,
            statistics: SlotStatistics::default(),
        }
    }

    /// Who this switch is.
    #[must_use]
    pub const fn identity(&self) -> SwitchIdentity {
        self.identity
    }

    /// Whose state this is.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What was counted so far.
    #[must_use]
    pub const fn statistics(&self) -> &SlotStatistics {
        &self.statistics
    }

    /// Whether this switch may act on the key now.
    #[inline]
    #[must_use]
    pub fn lookup(&self, key: &K, now: Ticks) -> Lookup {
        let slot = self.slot(key);
        let state = &self.slots[slot.0 as usize];
        if state.generation != Serial::ZERO && state.key == *key && now.is_before(state.expiry) {
            Lookup::Held(slot)
        } else {
            Lookup::NotHeld(slot)
        }
    }

    /// The value in a slot that [`lookup`](Self::lookup) found held.
    #[inline]
    #[must_use]
    pub fn value(&self, slot: Slot) -> V {
        self.slots[slot.0 as usize].value
    }

    /// When a packet needs a key that is not held: the LEASE that carries the untouched packet to the store.
    #[inline]
    #[must_use]
    pub fn lease_request(&mut self, slot: Slot, create: bool, port: u16, now: Ticks) -> Header {
        let ticket = self.slots[slot.0 as usize].ticket;
        let blank = self.header(Kind::Lease, slot, port, now);
        Header { create, ticket, generation: Serial::ZERO, sequence: Serial::ZERO, ..blank }
    }

    /// After the handler ran on a held slot: whether the output packet may leave. `written` is the new value, if the
    /// handler wrote (even the same value). `port` is where the packet is to leave.
    ///
    /// A write's truncated copy starts circling here: call [`poll_timeout`](Self::poll_timeout) after.
    #[inline]
    #[must_use]
    pub fn settle(&mut self, slot: Slot, written: Option<V>, port: u16, now: Ticks) -> Settled {
        let state = &mut self.slots[slot.0 as usize];
        if let Some(value) = written {
            state.value = value;
            state.sequence = state.sequence.next();
            if !state.circling {
                if self.copies.start(slot.0, state.generation, state.sequence, now) {
                    state.circling = true;
                } else {
                    self.statistics.copies_not_kept += 1;
                }
            }
            return Settled::Hold(self.header(Kind::Write, slot, port, now));
        }
        if state.sequence.is_after(state.acknowledged) && !mutant::is(Mutant::ReadsReleasedEarly) {
            return Settled::Hold(self.header(Kind::Read, slot, port, now));
        }
        if now.is_before(state.renew_at) {
            return Settled::Release { renew: None };
        }
        state.renew_at = now.plus(self.lease.renew_again_ticks());
        Settled::Release { renew: Some(self.header(Kind::Renew, slot, 0, now)) }
    }

    /// When a message for this switch arrived by a store-facing port: applies it to the slot of its key.
    ///
    /// Nothing in a message can make it panic; whatever is not for this table is dropped with a reason.
    ///
    /// A RECALL clears the slot and is answered with RELEASE and the slot's sequence. **Beyond** the paper: a lease that
    /// the switch does not hold and never will is given back as well, echoing the RECALL's generation and sequence;
    /// otherwise the store would wait for the whole lease. That is so if the slot's ticket is no longer the RECALL's, or
    /// the lease belonged to a former life of this switch. If the ticket is still the same, the grant may be under way,
    /// and the RECALL is dropped: the store repeats it.
    pub fn handle_message(&mut self, header: &Header, key: &K, value: &V, now: Ticks) -> Reaction {
        if (header.app, header.fingerprint) != (self.schema.app, self.schema.fingerprint)
            || header.identity.switch != self.identity.switch
        {
            return Reaction::Drop(DropReason::Stranger);
        }
        if header.identity != self.identity && header.kind != Kind::Recall {
            return Reaction::Drop(DropReason::Stranger);
        }
        let slot = self.slot(key);
        match (header.kind, header.reason) {
            (Kind::Grant, _) => self.on_grant(slot, header, key, value, now),
            (Kind::Ack, _) => self.on_ack(slot, header, key, now),
            (Kind::Nack, Some(reason)) => self.on_nack(slot, header, key, reason),
            (Kind::Recall, _) => self.on_recall(slot, header, key, now),
            _ => Reaction::Drop(DropReason::Malformed),
        }
    }

    /// When the deadline of [`poll_timeout`](Self::poll_timeout) passed: the next write to send again, without its
    /// packet. Call until it yields `None`.
    #[must_use]
    pub fn poll_retransmit(&mut self, now: Ticks) -> Option<(Header, K, V)> {
        while let Some(mut copy) = self.copies.due(now) {
            let state = &mut self.slots[copy.slot as usize];
            if state.generation != copy.generation {
                continue; // The slot was cleared or belongs to another grant: the copy dies.
            }
            if state.acknowledged.is_at_least(state.sequence) {
                state.circling = false;
                continue;
            }
            // One copy stands for all writes of its slot: a later value contains the earlier ones. If its own write
            // was acknowledged meanwhile, it starts anew for the latest, which is on its way.
            let sent_again = copy.sequence.is_after(state.acknowledged);
            copy.sequence = state.sequence;
            if !sent_again {
                self.copies.restart(copy, now);
                continue;
            }
            let (key, value) = (state.key, state.value);
            self.copies.back_off(copy, now);
            self.statistics.retransmitted += 1;
            return Some((self.header(Kind::Write, Slot(copy.slot), 0, now), key, value));
        }
        None
    }

    /// When [`poll_retransmit`](Self::poll_retransmit) has something to do next; `None` while nothing circles. To be
    /// asked again after `settle` and `poll_retransmit`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Ticks> {
        self.copies.next_due()
    }

    /// Clears the generation of expired slots among the next `slots`, going round the table.
    ///
    /// A whole round must take well less than half a wrap of the clock (25 days), else an expired lease would come
    /// back to life when the clock wraps. A round per lease also keeps the table tidy.
    pub fn sweep(&mut self, slots: u32, now: Ticks) {
        let len = self.slots.len() as u32;
        for _ in 0..slots.min(len) {
            let state = &mut self.slots[self.sweep_next as usize];
            if !now.is_before(state.expiry) {
                self.occupied -= usize::from(state.clear());
            }
            self.sweep_next = (self.sweep_next + 1) & (len - 1);
        }
    }

    /// When the switch is taken out of service: gives back every lease. Each item is a RELEASE and its key; what the
    /// caller does not take is still held.
    pub fn release_all(&mut self, now: Ticks) -> impl Iterator<Item = (Header, K)> {
        (0..self.slots.len() as u32).map(Slot).filter_map(move |slot| {
            let header = self.header(Kind::Release, slot, 0, now);
            let state = &mut self.slots[slot.0 as usize];
            let key = state.key;
            let held = state.clear();
            self.occupied -= usize::from(held);
            held.then_some((header, key))
        })
    }

    /// The install counter of a slot, for inspection.
    #[must_use]
    pub fn ticket(&self, slot: Slot) -> Serial {
        self.slots[slot.0 as usize].ticket
    }

    /// The registers at an index, for inspection; `None` beyond the table.
    #[must_use]
    pub fn registers(&self, index: u32) -> Option<Registers<K, V>> {
        self.slots.get(index as usize).map(|state| Registers {
            ticket: state.ticket,
            key: state.key,
            generation: state.generation,
            expiry: state.expiry,
            renew_at: state.renew_at,
            value: state.value,
            sequence: state.sequence,
            acknowledged: state.acknowledged,
        })
    }

    /// Slots that hold a generation, live or expired.
    #[must_use]
    pub const fn occupied(&self) -> usize {
        self.occupied
    }

    fn on_grant(&mut self, slot: Slot, header: &Header, key: &K, value: &V, now: Ticks) -> Reaction {
        let since = self.lease_start(header, now);
        let state = &mut self.slots[slot.0 as usize];
        let is_current = state.ticket == header.ticket || mutant::is(Mutant::GrantWithoutTicket);
        if is_current && header.generation != Serial::ZERO {
            if state.generation == Serial::ZERO {
                self.occupied += 1;
            } else if state.key != *key {
                self.statistics.overwritten += 1;
            }
            let sequence = if mutant::is(Mutant::SequenceRestarts) { Serial::ZERO } else { header.sequence };
            *state = SlotState {
                ticket: state.ticket.next(),
                key: *key,
                generation: header.generation,
                expiry: since.plus(self.lease.ticks()),
                renew_at: since.plus(self.lease.renew_ticks()),
                value: *value,
                sequence,
                acknowledged: sequence,
                circling: false,
            };
            self.statistics.installed += 1;
        } else {
            self.statistics.outdated += 1;
        }
        Reaction::Reprocess { absent: false, port: header.port }
    }

    fn on_ack(&mut self, slot: Slot, header: &Header, key: &K, now: Ticks) -> Reaction {
        let since = self.lease_start(header, now);
        let state = &mut self.slots[slot.0 as usize];
        if state.holds(key, header.generation) {
            state.acknowledged = state.acknowledged.latest(header.sequence);
            state.expiry = state.expiry.latest(since.plus(self.lease.ticks()));
            state.renew_at = state.renew_at.latest(since.plus(self.lease.renew_ticks()));
        }
        Reaction::Release { port: header.port }
    }

    fn on_nack(&mut self, slot: Slot, header: &Header, key: &K, reason: NackReason) -> Reaction {
        match reason {
            NackReason::Absent => Reaction::Reprocess { absent: true, port: header.port },
            NackReason::Refused => Reaction::Drop(DropReason::LeaseRefused),
            NackReason::Busy => Reaction::Drop(DropReason::StoreBusy),
            NackReason::Stale => {
                let state = &mut self.slots[slot.0 as usize];
                if state.holds(key, header.generation) {
                    self.occupied -= usize::from(state.clear());
                }
                Reaction::Drop(DropReason::LeaseStale)
            }
        }
    }

    fn on_recall(&mut self, slot: Slot, header: &Header, key: &K, now: Ticks) -> Reaction {
        let state = &mut self.slots[slot.0 as usize];
        let mine = header.identity == self.identity;
        let exactly = mine && state.holds(key, header.generation);
        let mut sequence = header.sequence;
        if exactly {
            sequence = state.sequence;
        } else if mine && state.ticket == header.ticket {
            return Reaction::Drop(DropReason::NoLease); // The grant may still come, and will be installed.
        }
        if state.generation != Serial::ZERO && state.key == *key {
            if state.generation.is_after(header.generation) {
                return Reaction::Drop(DropReason::NoLease); // A late RECALL of what is over.
            }
            // Cleared, not merely expired: an ACK still in flight must find nothing to extend. An older generation of
            // the key goes too, else this switch would act on a key that it just gave away.
            if mutant::is(Mutant::RecallLeavesGeneration) {
                state.expiry = now;
            } else {
                self.occupied -= usize::from(state.clear());
            }
        }
        self.statistics.recalled += u64::from(exactly);
        self.statistics.released_of_nothing += u64::from(!exactly);
        Reaction::Reply(Header {
            kind: Kind::Release,
            sequence,
            ticket: Serial::ZERO,
            sent_at: now,
            ..*header
        })
    }

    /// From when an answer's lease counts: from the request, never from the answer.
    fn lease_start(&self, answer: &Header, now: Ticks) -> Ticks {
        if mutant::is(Mutant::LeaseFromArrival) {
            return now;
        }
        let is_over = !now.is_before(answer.sent_at.plus(self.lease.ticks()));
        if mutant::is(Mutant::LateAnswerExtends) && is_over {
            return now;
        }
        answer.sent_at
    }

    #[inline]
    fn slot(&self, key: &K) -> Slot {
        Slot(slot_of(key_hash(key), self.slots.len() as u32))
    }

    #[inline]
    fn header(&self, kind: Kind, slot: Slot, port: u16, now: Ticks) -> Header {
        let state = &self.slots[slot.0 as usize];
        Header {
            kind,
            create: false,
            reason: None,
            app: self.schema.app,
            fingerprint: self.schema.fingerprint,
            identity: self.identity,
            generation: state.generation,
            sequence: state.sequence,
            ticket: Serial::ZERO,
            sent_at: now,
            port,
        }
    }
}

impl<K: Fixed, V: Fixed> SlotTable<K, V> {
    /// All that its future depends on.
    fn essence(&self) -> (SwitchIdentity, Schema, Lease, &Copies, u32) {
        (self.identity, self.schema, self.lease, &self.copies, self.sweep_next)
    }

    fn essential_slots(&self) -> impl Iterator<Item = SlotState<K, V>> {
        self.slots.iter().map(|state| match state.generation {
            Serial::ZERO => SlotState { ticket: state.ticket, ..SlotState::empty() },
            _ => *state,
        })
    }
}

impl<K: Fixed, V: Fixed> PartialEq for SlotTable<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence() && self.essential_slots().eq(other.essential_slots())
    }
}

impl<K: Fixed, V: Fixed> Eq for SlotTable<K, V> {}

impl<K: Fixed, V: Fixed> Hash for SlotTable<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.essence().hash(state);
        self.essential_slots().for_each(|slot| slot.hash(state));
    }
}

impl<K: Fixed, V: Fixed> SlotState<K, V> {
    fn empty() -> Self {
        Self {
            ticket: Serial::ZERO,
            key: K::zero(),
            generation: Serial::ZERO,
            expiry: Ticks(0),
            renew_at: Ticks(0),
            value: V::zero(),
            sequence: Serial::ZERO,
            acknowledged: Serial::ZERO,
            circling: false,
        }
    }

    #[inline]
    fn holds(&self, key: &K, generation: Serial) -> bool {
        generation != Serial::ZERO && self.generation == generation && self.key == *key
    }

    /// Gives up what the slot holds; whether it held something. The ticket stays: it counts installs only.
    #[must_use]
    fn clear(&mut self) -> bool {
        self.circling = false;
        mem::replace(&mut self.generation, Serial::ZERO) != Serial::ZERO
    }
}
