//! What a store node counts.

use std::collections::BTreeMap;

use crate::wire::{Kind, NackReason};

/// Why a node dropped a request or a chain message. None of them changes a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StoreDrop {
    /// No legal message: cut short, unknown version or kind, or a kind that only the store sends.
    Malformed,
    /// Longer than [`DATAGRAM_LEN_MAX`](crate::wire::DATAGRAM_LEN_MAX).
    TooLong,
    /// About an app that this store was not started with.
    UnknownApp,
    /// The app is known, its schema's fingerprint is another.
    UnknownSchema,
    /// The key belongs to another shard.
    WrongShard,
    /// A request, but this node is in no chain now.
    NotHead,
    /// A RELEASE of a generation that is over, or not from the owner.
    StaleRelease,
    /// A READ that waited in vain for its write, or found the queue full.
    ReadUnanswered,
    /// A waiting request of a node that stopped being the head, or of a switch that booted again.
    QueueLost,
    /// A kind that this store does not serve.
    Unsupported,
    /// A chain message that does not parse, or concerns unknown apps or lengths.
    ChainMalformed,
    /// A chain message of another epoch.
    ChainEpoch,
    /// A chain message from a node that has no business sending it.
    ChainStranger,
}

impl StoreDrop {
    /// Name of the counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::UnknownApp => "unknown_app",
            Self::UnknownSchema => "unknown_schema",
            Self::WrongShard => "wrong_shard",
            Self::NotHead => "not_head",
            Self::StaleRelease => "stale_release",
            Self::ReadUnanswered => "read_unanswered",
            Self::QueueLost => "queue_lost",
            Self::Unsupported => "unsupported",
            Self::ChainMalformed => "chain_malformed",
            Self::ChainEpoch => "chain_epoch",
            Self::ChainStranger => "chain_stranger",
        }
    }
}

/// Counters of one node since it started, and how much it holds now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreStatistics {
    /// Legal requests taken, by kind.
    pub requests: BTreeMap<Kind, u64>,
    /// Dropped, by reason.
    pub dropped: BTreeMap<StoreDrop, u64>,
    /// Refusals answered, by reason.
    pub nacks: BTreeMap<NackReason, u64>,
    /// Refusals of the apps' `on_create`, by their word.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Leases granted, repeated ones too.
    pub grants: u64,
    /// Leases granted under a new generation.
    pub generations: u64,
    /// Writes, reads and renewals acknowledged.
    pub acks: u64,
    /// Recalls sent, repeated ones too.
    pub recalls: u64,
    /// Requests passed on to the head.
    pub forwarded: u64,
    /// Creations that were put off because there were too many at once; the switch heard BUSY.
    pub creations_metered: u64,
    /// Creations that were put off because the shard is full; the switch heard BUSY.
    pub creations_full: u64,
    /// Records made, companions too.
    pub created: u64,
    /// Records deleted because idle, companions too.
    pub deleted: u64,
    /// Records held now, without tombstones.
    pub records: usize,
    /// Tombstones held now.
    pub tombstones: usize,
    /// Requests waiting now.
    pub queued: usize,
}

impl StoreStatistics {
    /// Adds another node's counters.
    pub fn add(&mut self, other: &Self) {
        add_all(&mut self.requests, &other.requests);
        add_all(&mut self.dropped, &other.dropped);
        add_all(&mut self.nacks, &other.nacks);
        add_all(&mut self.refusals, &other.refusals);
        self.grants += other.grants;
        self.generations += other.generations;
        self.acks += other.acks;
        self.recalls += other.recalls;
        self.forwarded += other.forwarded;
        self.creations_metered += other.creations_metered;
        self.creations_full += other.creations_full;
        self.created += other.created;
        self.deleted += other.deleted;
        self.records += other.records;
        self.tombstones += other.tombstones;
        self.queued += other.queued;
    }

    pub(crate) fn count_drop(&mut self, reason: StoreDrop) {
        *self.dropped.entry(reason).or_default() += 1;
    }
}

fn add_all<K: Copy + Ord>(sum: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (key, count) in other {
        *sum.entry(*key).or_default() += count;
    }
}
