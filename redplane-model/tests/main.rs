//! The small scopes, and a few defects. All of them: `cargo xtask model`, `cargo xtask model --mutants`.

use std::time::{Duration, Instant};

use redplane_model::model::{DURABLE, FENCED, LINEARIZABLE, ONE_HOLDER};
use redplane_model::{Hunt, Limits, Operation, Order, Report, SCOPES, Scope, Sighting, by_name, hunt, run};
use redplane_protocol::mutant::{Mutant, Seat};

fn search(scope: &Scope, order: Order) -> Report {
    let limits = Limits { deadline: Instant::now() + Duration::from_secs(120), states_max: usize::MAX };
    run(scope, None, order, limits)
}

fn named(name: &str) -> &'static Scope {
    by_name(name).unwrap_or_else(|| panic!("no scope {name}"))
}

#[test]
fn small_scopes_are_complete_and_good() {
    for name in ["plain", "forger", "wrap", "chain", "companions", "epochs", "three-nodes", "three-switches"]
    {
        let report = search(named(name), Order::Breadth);
        assert!(report.is_good() && report.complete, "{report}");
    }
}

#[test]
fn both_orders_visit_the_same_states() {
    let scope = named("wrap");
    let (breadth, depth) = (search(scope, Order::Breadth), search(scope, Order::Depth));
    assert!(breadth.complete && depth.complete);
    assert_eq!(breadth.states, depth.states);
}

#[test]
fn a_search_that_saw_too_little_is_no_success() {
    let scope = Scope { packets: 1, expected: &[Sighting::Recall], ..named("plain").clone() };
    let report = search(&scope, Order::Breadth);
    assert!(report.complete && report.failure().is_none() && !report.is_good());
    assert!(report.to_string().contains("never seen: a lease is recalled"), "{report}");
}

#[test]
fn a_search_that_is_cut_short_says_so() {
    let limits = Limits { deadline: Instant::now() + Duration::from_secs(60), states_max: 500 };
    let report = run(named("wrap"), None, Order::Breadth, limits);
    assert!(!report.complete && report.failure().is_none());
    assert!(report.states < 5_000, "{report}");
}

#[test]
fn defects_are_found_by_the_property_that_they_break() {
    for (mutant, property) in [
        (Mutant::WriteFromNonOwner, FENCED),
        (Mutant::NewHeadGrantsAtOnce, ONE_HOLDER),
        (Mutant::GrantWithoutTicket, LINEARIZABLE),
        (Mutant::ReplicaDoesNotApply, DURABLE),
        (Mutant::CompareWithoutWrap, DURABLE),
    ] {
        let Hunt::Found(report) = hunt(mutant, Duration::from_secs(60)) else {
            panic!("{mutant:?} survived")
        };
        let failure = report.failure().expect("it was found");
        assert_eq!(failure.property, property, "{report}");
        let path = failure.path.as_deref().unwrap_or_default();
        assert!(path[0].starts_with("a packet comes in at switch 0"), "{path:?}");
    }
}

#[test]
fn more_drift_than_the_margin_covers_is_found() {
    let scope = Scope { excess_drift: 1, ..named("lease").clone() };
    let report = search(&scope, Order::Breadth);
    let failure = report.failure().expect("the rules lean on the margin");
    assert_eq!(failure.property, ONE_HOLDER, "{report}");
}

#[test]
fn what_is_not_there_cannot_be_broken() {
    let nowhere = |mutant: &Mutant| matches!(mutant.seat(), Seat::Nowhere(_));
    for mutant in Mutant::ALL.into_iter().filter(nowhere) {
        assert!(matches!(hunt(mutant, Duration::ZERO), Hunt::NotHere(_)), "{mutant:?}");
    }
}

#[test]
fn scopes_have_names_of_their_own() {
    for (index, scope) in SCOPES.iter().enumerate() {
        assert!(SCOPES[..index].iter().all(|other| other.name != scope.name), "{}", scope.name);
        assert!(!scope.operations.contains(&Operation::Forget), "no packet forgets: {}", scope.name);
    }
}
