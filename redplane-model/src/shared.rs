//! Parts of a state that many states have in common.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A part that is kept once and hashed once, though thousands of states contain it.
pub(crate) struct Shared<T> {
    part: Arc<T>,
    digest: u64,
}

impl<T: Hash> Shared<T> {
    pub(crate) fn new(part: T) -> Self {
        // The hasher's keys are fixed: equal parts have equal digests in every run.
        let mut hasher = DefaultHasher::new();
        part.hash(&mut hasher);
        Self { digest: hasher.finish(), part: Arc::new(part) }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { part: Arc::clone(&self.part), digest: self.digest }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && (Arc::ptr_eq(&self.part, &other.part) || self.part == other.part)
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt(formatter)
    }
}
