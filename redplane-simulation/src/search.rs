//! Linearizability by search (Wing and Gong 1993) with memoisation (Lowe 2017), for any small state.
//!
//! Slow and plain: the measure for [`crate::checker`], which is fast because it knows what a counter is.

use std::collections::HashSet;
use std::hash::Hash;

use crate::history::Micros;

/// Most operations of one history: they are a set of bits.
pub const OPERATIONS_MAX: usize = 64;

/// Something that was asked for, and perhaps answered.
#[derive(Clone, Debug)]
pub struct Operation<O> {
    /// When it was asked.
    pub entered: Micros,
    /// When it was answered. If it never was, it may have happened at any time after, or not at all.
    pub left: Option<Micros>,
    /// What.
    pub what: O,
}

/// Whether one after the other in some order explains it all. `apply` gives the next state, or `None` if the operation
/// cannot have had its answer in this one.
///
/// # Panics
/// If there are more than [`OPERATIONS_MAX`].
pub fn is_linearizable<O, S: Clone + Eq + Hash>(
    operations: &[Operation<O>],
    start: S,
    apply: impl Fn(&S, &O) -> Option<S>,
) -> bool {
    assert!(operations.len() <= OPERATIONS_MAX, "{} operations", operations.len());
    let answered = |at: &usize| operations[*at].left.is_some();
    let all = (0..operations.len()).filter(answered).fold(0u64, |all, at| all | 1 << at);
    let mut seen = HashSet::new();
    let mut open = vec![(0u64, start)];
    while let Some((done, state)) = open.pop() {
        if done & all == all {
            return true;
        }
        if !seen.insert((done, state.clone())) {
            continue;
        }
        let waiting = (0..operations.len()).filter(|at| done >> at & 1 == 0);
        // Nothing can happen after something else was answered that has not happened yet.
        let deadline = waiting.clone().filter_map(|at| operations[at].left).min();
        for at in waiting.filter(|at| deadline.is_none_or(|deadline| operations[*at].entered <= deadline)) {
            if let Some(next) = apply(&state, &operations[at].what) {
                open.push((done | 1 << at, next));
            }
        }
    }
    false
}
