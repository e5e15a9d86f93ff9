//! A replica and its journal: nothing leaves before what it depends on is on disk, and nothing waits for the disk.
//!
//! What a batch changed goes to the journal together with what the batch wants to send; the journal's thread gives the
//! latter back when the former is durable. Meanwhile the replica takes in the next batch. Answers that depend on nothing
//! new are held as well while anything is under way before them: they may speak of it.

use std::collections::VecDeque;
use std::sync::Arc;

use redplane_protocol::{Destination, Node, RecordChange};
use tokio::sync::mpsc;

use super::journal::{Changes, Done, Full, Journal};
use super::question::JournalCounts;

/// Batches under way to the disk, at most. Each is what came in while the one before was written.
const HELD_MAX: usize = 64;

/// Datagrams that are held back, in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    parcels: Vec<(Destination, usize)>,
}

impl Held {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Destination, &[u8])> {
        let mut start = 0;
        self.parcels.iter().map(move |(to, end)| {
            let bytes = &self.bytes[start..*end];
            start = *end;
            (*to, bytes)
        })
    }

    fn push(&mut self, to: Destination, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.parcels.push((to, self.bytes.len()));
    }
}

/// What is for the journal.
enum Step {
    Append(Changes, Done),
    Clear,
    Complete,
}

/// A shard's side of the node's journal.
pub(crate) struct Durable {
    shard: u16,
    journal: Arc<Journal>,
    /// What is under way, in order; bounded by [`HELD_MAX`].
    under_way: usize,
    again: (mpsc::UnboundedSender<Held>, mpsc::UnboundedReceiver<Held>),
    /// What the journal had no room for, in order: offered again before anything else. While there is any, nothing is taken
    /// in.
    refused: VecDeque<Step>,
    /// Buffers to be used again.
    spare: Vec<Held>,
    epoch: u64,
    complete: bool,
    counts: JournalCounts,
}

impl Durable {
    pub(crate) fn new(shard: u16, journal: Arc<Journal>, complete: bool) -> Self {
        Self {
            shard,
            journal,
            under_way: 0,
            again: mpsc::unbounded_channel(),
            refused: VecDeque::new(),
            spare: Vec::new(),
            epoch: 0,
            complete,
            counts: JournalCounts::default(),
        }
    }

    /// Whether another batch may be taken in.
    pub(crate) fn has_room(&self) -> bool {
        self.refused.is_empty() && self.under_way < HELD_MAX && self.journal.has_room()
    }

    /// Whether what the node wants to send must wait.
    pub(crate) fn must_hold(&self, node: &Node) -> bool {
        self.under_way > 0 || node.has_changes() || node.is_complete() != self.complete
    }

    pub(crate) fn configured(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Takes what the node changed and wants to send.
    pub(crate) fn hold(&mut self, node: &mut Node) {
        let mut changes = Changes::new();
        let mut encoded = Vec::new();
        let mut cleared = false;
        let counts = &mut self.counts;
        node.take_changes(|change| match change {
            RecordChange::Cleared => cleared = true,
            RecordChange::Removed(key) => changes.remove(key),
            RecordChange::Present(key, record) => {
                encoded.clear();
                record.encode(key, &mut encoded);
                counts.bytes += encoded.len() as u64;
                changes.put(key, &encoded);
            }
        });
        counts.records += changes.len() as u64;
        if cleared {
            self.refused.push_back(Step::Clear);
        }
        if !changes.is_empty() {
            changes.set_generation(node.generation());
            changes.set_epoch(self.epoch);
        }
        let mut held = self.spare.pop().unwrap_or_default();
        while let Some((to, bytes)) = node.next_transmit() {
            held.push(to, bytes);
        }
        if node.is_complete() && !self.complete {
            // The mark comes after all that it speaks of, and before anybody hears of it.
            self.refused.push_back(Step::Append(std::mem::take(&mut changes), Box::new(|| ())));
            self.refused.push_back(Step::Complete);
        }
        self.complete = node.is_complete();
        let again = self.again.0.clone();
        self.under_way += 1;
        // The shard's task may have ended: then nothing is sent any more.
        self.refused.push_back(Step::Append(changes, Box::new(move || drop(again.send(held)))));
        self.offer_again();
    }

    /// Offers the journal what it had no room for.
    pub(crate) fn offer_again(&mut self) {
        while let Some(step) = self.refused.pop_front() {
            match step {
                Step::Clear => self.journal.clear(self.shard),
                Step::Complete => self.journal.complete(self.shard),
                Step::Append(changes, done) => {
                    if let Err(Full { changes, done }) = self.journal.append(self.shard, changes, done) {
                        return self.refused.push_front(Step::Append(changes, done));
                    }
                }
            }
        }
    }

    /// Whether the journal refused something that has to be offered again soon.
    pub(crate) fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// The next batch that is on disk.
    pub(crate) async fn next(&mut self) -> Held {
        match self.again.1.recv().await {
            Some(held) => held,
            None => std::future::pending().await,
        }
    }

    /// When a batch was sent: its buffer is used again.
    pub(crate) fn released(&mut self, mut held: Held) {
        self.under_way -= 1;
        self.offer_again();
        self.counts.commits += 1;
        held.bytes.clear();
        held.parcels.clear();
        self.spare.push(held);
    }

    pub(crate) fn counts(&self) -> JournalCounts {
        JournalCounts { queued_batches: self.under_way as u64, ..self.counts.clone() }
    }
}
