//! Requests that wait at the head: LEASE for another switch's lease to end, READ for its write to come.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddrV4;

use crate::record::RecordKey;
use crate::time::Time;
use crate::wire::Header;

/// Most requests that wait for one key. They hold the packets of a flow that changes switches; a TCP sender has
/// rarely more in flight within the round trip of a recall.
pub const WAITING_PER_KEY_MAX: usize = 64;

/// Most requests that wait at a node: with full-size packets about six megabytes. Beyond it switches hear BUSY.
pub const WAITING_MAX: usize = 4096;

/// A request with its carried packet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Waiter {
    pub(crate) from: SocketAddrV4,
    pub(crate) header: Header,
    pub(crate) frame: Vec<u8>,
    pub(crate) until: Time,
}

/// What waits for one key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) leases: VecDeque<Waiter>,
    pub(crate) reads: VecDeque<Waiter>,
    /// When the owner is to be recalled again.
    pub(crate) recall_at: Time,
}

impl Queue {
    fn len(&self) -> usize {
        self.leases.len() + self.reads.len()
    }
}

/// All queues of a node; bounded per key and in all.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Waiting {
    queues: BTreeMap<RecordKey, Queue>,
    count: usize,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn queue(&self, key: &RecordKey) -> Option<&Queue> {
        self.queues.get(key)
    }

    pub(crate) fn has_room(&self, key: &RecordKey) -> bool {
        self.count < WAITING_MAX && self.queues.get(key).is_none_or(|queue| queue.len() < WAITING_PER_KEY_MAX)
    }

    /// Changes a key's queue, which is made if need be and forgotten if nothing is left in it.
    pub(crate) fn with<T>(&mut self, key: &RecordKey, change: impl FnOnce(&mut Queue) -> T) -> T {
        let queue = self.queues.entry(*key).or_default();
        let before = queue.len();
        let result = change(queue);
        let after = queue.len();
        self.count = self.count + after - before;
        if after == 0 {
            self.queues.remove(key);
        }
        result
    }

    /// Forgets everything; how much that was.
    pub(crate) fn clear(&mut self) -> usize {
        self.queues.clear();
        std::mem::take(&mut self.count)
    }
}
