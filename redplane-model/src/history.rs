//! What packets showed: the history that must be linearizable, per key.

use redplane_protocol::fixed::Fixed;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

/// What a packet asks of its key's counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// Adds one, and shows the sum.
    Increment,
    /// Shows the value.
    Read,
    /// No packet does this: the store deletes a record that was idle. It counts as an operation that need not take
    /// effect, at any time from the moment at which the head decides it.
    Forget,
}

/// The state of a key as one switch that never fails would keep it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Counter(u8);

impl SequentialSpec for Counter {
    type Op = Operation;
    type Ret = u8;

    fn invoke(&mut self, operation: &Operation) -> u8 {
        match operation {
            Operation::Increment => self.0 += 1,
            Operation::Read => {}
            Operation::Forget => self.0 = 0,
        }
        self.0
    }
}

/// An output packet: which run of the handler made it, what for, and what it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Output {
    pub(crate) run: u8,
    pub(crate) value: u8,
}

impl Output {
    pub(crate) fn to_frame(self) -> [u8; 2] {
        [self.run, self.value]
    }

    pub(crate) fn from_frame(frame: &[u8]) -> Option<Self> {
        let [run, value] = frame else { return None };
        Some(Self { run: *run, value: *value })
    }
}

/// An input packet is its operation.
pub(crate) fn input_frame(operation: Operation) -> [u8; 1] {
    [u8::from(operation == Operation::Increment)]
}

pub(crate) fn operation_of(frame: &[u8]) -> Operation {
    if bool::decode(&frame[..1]) { Operation::Increment } else { Operation::Read }
}

/// The history of one key.
///
/// An operation begins when the handler runs, which is later than when the packet came in, and ends when the output
/// packet leaves. So the check is stricter than the promise, and packets that are still to be processed need no names.
/// A packet that the network doubled before it was processed is two packets. One whose output never leaves stays an
/// operation in flight: it may have taken effect or not.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct History {
    tester: LinearizabilityTester<u8, Counter>,
    runs: u8,
    open: Vec<u8>,
    /// Runs before this one were on a record that was deleted since.
    remembered_from: u8,
    /// Whether any packet was about it.
    pub(crate) asked_for: bool,
    /// Largest value that a packet showed since the key was last forgotten.
    pub(crate) seen: Option<u8>,
    /// How many packets left.
    pub(crate) answered: u8,
    pub(crate) linearizable: bool,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            tester: LinearizabilityTester::new(Counter::default()),
            runs: 0,
            open: Vec::new(),
            remembered_from: 0,
            asked_for: false,
            seen: None,
            answered: 0,
            linearizable: true,
        }
    }

    /// The handler ran.
    pub(crate) fn begin(&mut self, operation: Operation) -> u8 {
        let run = self.runs;
        self.runs += 1;
        let begun = self.tester.on_invoke(run, operation).is_ok();
        assert!(begun, "each run is its own thread");
        if operation == Operation::Forget {
            self.seen = None;
            self.remembered_from = self.runs;
        } else {
            self.open.push(run);
        }
        run
    }

    /// An output packet left. A copy of one that left before is no news.
    pub(crate) fn end(&mut self, output: Output) {
        let Some(at) = self.open.iter().position(|run| *run == output.run) else { return };
        self.open.remove(at);
        let ended = self.tester.on_return(output.run, output.value).is_ok();
        assert!(ended, "it was in flight");
        self.answered += 1;
        if output.run >= self.remembered_from {
            self.seen = self.seen.max(Some(output.value));
        }
        self.linearizable = self.linearizable && self.tester.is_consistent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(steps: &[(Operation, Option<u8>)]) -> bool {
        let mut history = History::new();
        for (operation, value) in steps {
            let run = history.begin(*operation);
            if let Some(value) = *value {
                history.end(Output { run, value });
            }
        }
        history.linearizable
    }

    #[test]
    fn an_increment_that_never_returned_may_count_once() {
        use Operation::{Forget, Increment, Read};
        assert!(history(&[(Increment, None), (Read, Some(1))]));
        assert!(history(&[(Increment, None), (Read, Some(0)), (Read, Some(1))]));
        assert!(!history(&[(Increment, None), (Read, Some(2))]));
        assert!(!history(&[(Increment, Some(1)), (Read, Some(0))]));
        assert!(history(&[(Increment, Some(1)), (Forget, None), (Read, Some(0))]));
        assert!(!history(&[(Increment, Some(1)), (Increment, Some(1))]));
    }
}
