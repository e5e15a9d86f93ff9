//! Named defects that the checks of the protocol must find.
//!
//! Each is a real defect of the paper's prototype, or a rule of the protocol left out. Model and simulation are only
//! worth their time if they find every one. A defect is switched on for the current thread and the time of a call, and
//! only with the feature `mutants`; without it every hook is the constant `false`, and nothing of this is in the
//! program.

/// A defect. Its hook is where the rule that it breaks is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mutant {
    /// The store never lets a lease run out.
    LeaseNeverEnds,
    /// The switch counts a lease from the arrival of the answer.
    LeaseFromArrival,
    /// An answer that comes after its lease is over starts the lease anew.
    LateAnswerExtends,
    /// A grant installs whatever the slot's ticket is.
    GrantWithoutTicket,
    /// The owner whose slot was overwritten gets its old generation again.
    SameGenerationAfterOverwrite,
    /// The store does not look at who writes.
    WriteFromNonOwner,
    /// The store does not look at the generation of a write.
    WriteFromOldGeneration,
    /// RECALL ends the lease at the switch, but leaves the generation in the slot.
    RecallLeavesGeneration,
    /// A new owner counts its writes from zero.
    SequenceRestarts,
    /// A write of a generation that is over is acknowledged.
    RejectedWriteAcknowledged,
    /// The head answers, not the tail.
    TailSkipped,
    /// Of the updates that a head sends at once only the last has records.
    OnlyLastOfBatch,
    /// A replica passes updates on, and forgets them.
    ReplicaDoesNotApply,
    /// READ is answered although its write is not there yet.
    ReadBeforeItsWrite,
    /// A packet that only reads leaves although a write is in flight.
    ReadsReleasedEarly,
    /// A switch that boots again keeps its incarnation.
    IncarnationKept,
    /// Companions stay at the head.
    CompanionNotReplicated,
    /// A new head does not honour the leases that its predecessor granted.
    NewHeadGrantsAtOnce,
    /// A node takes chain messages of any epoch.
    StaleEpochAccepted,
    /// A key that was deleted and made again begins with the first generation.
    GenerationRestarts,
    /// Serial numbers are compared as plain numbers.
    CompareWithoutWrap,
    /// A snapshot is used before all of it has come.
    SnapshotBeforeComplete,
    /// A request of another life of the owner's switch takes the lease over. (The rule until the model broke it.)
    FormerLifeTakesLease,
    /// A node that joins keeps the records it has. (The rule until the model broke it.)
    JoinerKeepsRecords,
}

impl Mutant {
    /// Every defect, in the order of the specification.
    pub const ALL: [Self; 24] = [
        Self::LeaseNeverEnds,
        Self::LeaseFromArrival,
        Self::LateAnswerExtends,
        Self::GrantWithoutTicket,
        Self::SameGenerationAfterOverwrite,
        Self::WriteFromNonOwner,
        Self::WriteFromOldGeneration,
        Self::RecallLeavesGeneration,
        Self::SequenceRestarts,
        Self::RejectedWriteAcknowledged,
        Self::TailSkipped,
        Self::OnlyLastOfBatch,
        Self::ReplicaDoesNotApply,
        Self::ReadBeforeItsWrite,
        Self::ReadsReleasedEarly,
        Self::IncarnationKept,
        Self::CompanionNotReplicated,
        Self::NewHeadGrantsAtOnce,
        Self::StaleEpochAccepted,
        Self::GenerationRestarts,
        Self::CompareWithoutWrap,
        Self::SnapshotBeforeComplete,
        Self::FormerLifeTakesLease,
        Self::JoinerKeepsRecords,
    ];

    /// Its name in commands and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeaseNeverEnds => "lease-never-ends",
            Self::LeaseFromArrival => "lease-from-arrival",
            Self::LateAnswerExtends => "late-answer-extends",
            Self::GrantWithoutTicket => "grant-without-ticket",
            Self::SameGenerationAfterOverwrite => "same-generation-after-overwrite",
            Self::WriteFromNonOwner => "write-from-non-owner",
            Self::WriteFromOldGeneration => "write-from-old-generation",
            Self::RecallLeavesGeneration => "recall-leaves-generation",
            Self::SequenceRestarts => "sequence-restarts",
            Self::RejectedWriteAcknowledged => "rejected-write-acknowledged",
            Self::TailSkipped => "tail-skipped",
            Self::OnlyLastOfBatch => "only-last-of-batch",
            Self::ReplicaDoesNotApply => "replica-does-not-apply",
            Self::ReadBeforeItsWrite => "read-before-its-write",
            Self::ReadsReleasedEarly => "reads-released-early",
            Self::IncarnationKept => "incarnation-kept",
            Self::CompanionNotReplicated => "companion-not-replicated",
            Self::NewHeadGrantsAtOnce => "new-head-grants-at-once",
            Self::StaleEpochAccepted => "stale-epoch-accepted",
            Self::GenerationRestarts => "generation-restarts",
            Self::CompareWithoutWrap => "compare-without-wrap",
            Self::SnapshotBeforeComplete => "snapshot-before-complete",
            Self::FormerLifeTakesLease => "former-life-takes-lease",
            Self::JoinerKeepsRecords => "joiner-keeps-records",
        }
    }

    /// What it does, in one sentence.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::LeaseNeverEnds => "the store never lets a lease run out",
            Self::LeaseFromArrival => "the switch counts a lease from the arrival of the answer",
            Self::LateAnswerExtends => "an answer that comes after its lease is over starts the lease anew",
            Self::GrantWithoutTicket => "a grant installs whatever the slot's ticket is",
            Self::SameGenerationAfterOverwrite => "an overwritten slot gets its old generation again",
            Self::WriteFromNonOwner => "the store does not look at who writes",
            Self::WriteFromOldGeneration => "the store does not look at the generation of a write",
            Self::RecallLeavesGeneration => "RECALL ends the lease, but leaves the generation in the slot",
            Self::SequenceRestarts => "a new owner counts its writes from zero",
            Self::RejectedWriteAcknowledged => "a write of a generation that is over is acknowledged",
            Self::TailSkipped => "the head answers, not the tail",
            Self::OnlyLastOfBatch => "of the updates that a head sends at once only the last has records",
            Self::ReplicaDoesNotApply => "a replica passes updates on, and forgets them",
            Self::ReadBeforeItsWrite => "READ is answered although its write is not there yet",
            Self::ReadsReleasedEarly => "a packet that only reads leaves although a write is in flight",
            Self::IncarnationKept => "a switch that boots again keeps its incarnation",
            Self::CompanionNotReplicated => "companions stay at the head",
            Self::NewHeadGrantsAtOnce => "a new head does not honour the leases that it finds",
            Self::StaleEpochAccepted => "a node takes chain messages of any epoch",
            Self::GenerationRestarts => "a key deleted and made again begins with the first generation",
            Self::CompareWithoutWrap => "serial numbers are compared as plain numbers",
            Self::SnapshotBeforeComplete => "a snapshot is used before all of it has come",
            Self::FormerLifeTakesLease => "another life of the owner's switch takes the lease over",
            Self::JoinerKeepsRecords => "a node that joins keeps the records it has",
        }
    }

    /// Who does it: the code of this crate, whoever drives it, or nobody yet.
    #[must_use]
    pub const fn seat(self) -> Seat {
        match self {
            Self::IncarnationKept => Seat::Driver,
            Self::SnapshotBeforeComplete => Seat::Nowhere("SNAPSHOT is reserved, no node keeps any"),
            _ => Seat::Code,
        }
    }

    /// The defect of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.name() == name)
    }
}

/// Where a defect sits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seat {
    /// A hook in this crate.
    Code,
    /// What drives the state machines does it: the model, the simulation.
    Driver,
    /// What it would break does not exist yet, for this reason.
    Nowhere(&'static str),
}

#[cfg(feature = "mutants")]
mod switched {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    struct Restore(Option<Mutant>);

    impl Drop for Restore {
        fn drop(&mut self) {
            ON.set(self.0);
        }
    }

    /// Runs something with a defect switched on, or with none, on this thread.
    pub fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
        let _restore = Restore(ON.replace(mutant));
        run()
    }

    /// Whether a defect is switched on, on this thread.
    #[inline]
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use switched::{is, with};

#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_found() {
        let names: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        for mutant in Mutant::ALL {
            assert_eq!(Mutant::by_name(mutant.name()), Some(mutant));
            assert!(!is(mutant), "{mutant:?} is on by itself");
        }
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_defect_is_on_for_one_call() {
        let inner = with(Some(Mutant::TailSkipped), || {
            assert!(is(Mutant::TailSkipped));
            with(None, || is(Mutant::TailSkipped))
        });
        assert!(!inner && !is(Mutant::TailSkipped));
    }
}
