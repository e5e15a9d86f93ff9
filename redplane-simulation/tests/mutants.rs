//! The checks have teeth: `cargo test --release -p redplane-simulation --features mutants mutants::`.

use redplane_protocol::mutant::Mutant;
use redplane_simulation::run::{AppName, Setting, run_many, run_one};
use redplane_simulation::{Assumptions, Check};

#[test]
fn a_defect_is_found_and_only_while_it_is_on() {
    let counter = Setting { app: Some(AppName::Counter), ..Setting::default() };
    let broken = Setting { mutant: Some(Mutant::WriteFromNonOwner), ..counter };
    let summary = run_many(&broken, 0, 100, 1, true);
    let (seed, finding) = summary.failures.first().expect("it is found within a few seeds");
    assert_eq!(finding.check, Check::Linearizable);
    assert_eq!(run_one(&counter, *seed, None).finding, None);
}

#[test]
fn a_lost_write_is_found_though_stale_reads_are_allowed() {
    for mutant in [Mutant::WriteFromOldGeneration, Mutant::SequenceRestarts] {
        let clocks = Setting { assumptions: Assumptions::ClocksBroken, ..Setting::default() };
        let summary = run_many(&Setting { mutant: Some(mutant), ..clocks }, 0, 200, 2, false);
        let lost = summary.failures.iter().find(|(_, finding)| finding.check == Check::NoWriteLost);
        let (seed, _) = lost.unwrap_or_else(|| panic!("{mutant:?} loses writes, and nobody noticed"));
        assert_eq!(run_one(&clocks, *seed, None).finding, None);
    }
}

#[test]
fn the_firewall_and_the_balancer_show_broken_rules_too() {
    for (app, mutant, check) in [
        (AppName::Firewall, Mutant::GrantWithoutTicket, Check::Guarded),
        (AppName::Firewall, Mutant::GrantWithoutTicket, Check::Linearizable),
        (AppName::Firewall, Mutant::ReadBeforeItsWrite, Check::Durable),
        (AppName::LoadBalancer, Mutant::ReplicaDoesNotApply, Check::Mapping),
        (AppName::LoadBalancer, Mutant::CompareWithoutWrap, Check::Durable),
    ] {
        let setting = Setting { app: Some(app), ..Setting::default() };
        let summary = run_many(&Setting { mutant: Some(mutant), ..setting }, 0, 200, 2, false);
        let found = summary.failures.iter().find(|(_, finding)| finding.check == check);
        let (seed, _) = found.unwrap_or_else(|| panic!("{mutant:?} is not found by {check:?}"));
        assert_eq!(run_one(&setting, *seed, None).finding, None);
    }
}
