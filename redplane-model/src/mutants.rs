//! Which scopes find which defect.

use std::time::{Duration, Instant};

use redplane_protocol::mutant::{Mutant, Seat};

use crate::model::Limits;
use crate::report::{Order, Report, run};
use crate::scope;

/// What came of looking for a defect.
#[derive(Clone, Debug)]
pub enum Hunt {
    /// A property is broken.
    Found(Report),
    /// All searches ended, and nothing was noticed.
    Survived(Vec<Report>),
    /// There is nothing to look for in the model, for this reason.
    NotHere(&'static str),
}

/// The scopes in which a defect shows, the likeliest first.
const fn scopes(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::LeaseNeverEnds => &["death"],
        Mutant::LeaseFromArrival | Mutant::LateAnswerExtends => &["lease"],
        Mutant::RecallLeavesGeneration
        | Mutant::GrantWithoutTicket
        | Mutant::SameGenerationAfterOverwrite => &["slots"],
        Mutant::WriteFromNonOwner | Mutant::WriteFromOldGeneration => &["slots", "forger"],
        Mutant::SequenceRestarts
        | Mutant::RejectedWriteAcknowledged
        | Mutant::ReadBeforeItsWrite
        | Mutant::ReadsReleasedEarly => &["slots"],
        Mutant::TailSkipped | Mutant::OnlyLastOfBatch | Mutant::ReplicaDoesNotApply => &["chain"],
        Mutant::IncarnationKept => &["reboot"],
        Mutant::CompanionNotReplicated => &["companions"],
        Mutant::NewHeadGrantsAtOnce => &["failover"],
        Mutant::StaleEpochAccepted => &["epochs"],
        Mutant::GenerationRestarts => &["deletion"],
        Mutant::CompareWithoutWrap => &["wrap"],
        Mutant::SnapshotBeforeComplete => &[],
        Mutant::FormerLifeTakesLease => &["reboot"],
        Mutant::JoinerKeepsRecords => &["rejoin"],
    }
}

/// Looks for a defect, with so much time per scope.
#[must_use]
pub fn hunt(mutant: Mutant, time: Duration) -> Hunt {
    if let Seat::Nowhere(reason) = mutant.seat() {
        return Hunt::NotHere(reason);
    }
    let mut reports = Vec::new();
    for scope in scopes(mutant).iter().filter_map(|name| scope::by_name(name)) {
        let limits = Limits { deadline: Instant::now() + time, states_max: usize::MAX };
        let report = run(scope, Some(mutant), Order::Breadth, limits);
        if report.failure().is_some() {
            return Hunt::Found(report);
        }
        reports.push(report);
    }
    Hunt::Survived(reports)
}
