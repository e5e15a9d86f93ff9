//! Runs seeds: each by itself, on as many threads as there are jobs.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use redplane_protocol::Schema;
use redplane_protocol::mutant::Mutant;
use redplane_sdk::app::schema;

use crate::event::Tap;
use crate::finding::{Check, Finding};
use crate::history::Micros;
use crate::outcome::{Outcome, Sometimes};
use crate::plan::{Assumptions, Plan};
use crate::simulation::{Mutation, Simulation};
use crate::workload::{Balance, Count, Guard, Translate, Workload};

/// What runs, beside the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// What is allowed to happen.
    pub assumptions: Assumptions,
    /// The app; `None`: by the seed. Of eight seeds four are the counter's, two the NAT's, one each the firewall's and the
    /// load balancer's.
    pub app: Option<AppName>,
    /// A defect.
    pub mutant: Option<Mutant>,
}

/// An app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppName {
    /// It shows its state.
    Counter,
    /// It has a pool.
    Nat,
    /// Its packets pass by the phase of their flow.
    Firewall,
    /// Its configuration changes.
    LoadBalancer,
}

impl AppName {
    /// All of them.
    pub const ALL: [AppName; 4] = [AppName::Counter, AppName::Nat, AppName::Firewall, AppName::LoadBalancer];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AppName::Counter => Count::NAME,
            AppName::Nat => Translate::NAME,
            AppName::Firewall => <Guard>::NAME,
            AppName::LoadBalancer => <Balance>::NAME,
        }
    }

    /// The app of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<AppName> {
        AppName::ALL.into_iter().find(|app| app.name() == name)
    }

    /// What its switches and its store agree on.
    #[must_use]
    pub fn schema(self) -> Schema {
        match self {
            AppName::Counter => schema::<<Count as Workload>::App>(),
            AppName::Nat => schema::<<Translate as Workload>::App>(),
            AppName::Firewall => schema::<<Guard as Workload>::App>(),
            AppName::LoadBalancer => schema::<<Balance as Workload>::App>(),
        }
    }
}

impl Setting {
    /// Which app a seed runs.
    #[must_use]
    pub fn app_of(&self, seed: u64) -> AppName {
        self.app.unwrap_or(match seed % 8 {
            3 | 7 => AppName::Nat,
            1 => AppName::Firewall,
            5 => AppName::LoadBalancer,
            _ => AppName::Counter,
        })
    }
}

/// Runs one seed, and shows what happens. A panic is a finding.
#[must_use]
pub fn run_one(setting: &Setting, seed: u64, tap: Option<Tap>) -> Outcome {
    let plan = Plan::new(seed, setting.assumptions);
    let mutation = Mutation { incarnation_kept: setting.mutant == Some(Mutant::IncarnationKept) };
    let run = move || match setting.app_of(seed) {
        AppName::Counter => run_workload::<Count>(plan, mutation, tap),
        AppName::Nat => run_workload::<Translate>(plan, mutation, tap),
        AppName::Firewall => run_workload::<Guard>(plan, mutation, tap),
        AppName::LoadBalancer => run_workload::<Balance>(plan, mutation, tap),
    };
    let result = panic::catch_unwind(AssertUnwindSafe(|| with_mutant(setting.mutant, run)));
    result.unwrap_or_else(|payload| {
        let words = payload.downcast_ref::<String>().map(String::as_str);
        let text =
            words.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned();
        let finding = Some(Finding { check: Check::Panic, at: 0, text });
        Outcome {
            seed,
            events: 0,
            micros: 0,
            hash: 0,
            finding,
            stale_read: None,
            sometimes: Sometimes::default(),
        }
    })
}

fn run_workload<W: Workload>(plan: Plan, mutation: Mutation, tap: Option<Tap>) -> Outcome {
    let simulation = Simulation::<W>::new(plan, mutation);
    let simulation = match tap {
        Some(tap) => simulation.with_tap(tap),
        None => simulation,
    };
    simulation.run().0
}

#[cfg(feature = "mutants")]
fn with_mutant<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    redplane_protocol::mutant::with(mutant, run)
}

#[cfg(not(feature = "mutants"))]
fn with_mutant<T>(_: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    run()
}

/// What came of many seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many were run.
    pub seeds: u64,
    /// Events of all.
    pub events: u64,
    /// Virtual time of all.
    pub micros: Micros,
    /// Seeds whose history is only explained by stale reads, where that is allowed.
    pub stale_reads: u64,
    /// What was found, by seed.
    pub failures: Vec<(u64, Finding)>,
    /// What happened.
    pub sometimes: Sometimes,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.micros += outcome.micros;
        self.stale_reads += u64::from(outcome.stale_read.is_some());
        self.sometimes.add(&outcome.sometimes);
        self.failures.extend(outcome.finding.map(|finding| (outcome.seed, finding)));
    }
}

/// Runs seeds `from` to `from + seeds`, in `jobs` threads. What comes out does not depend on their number, unless it
/// is to end with the first failure.
#[must_use]
pub fn run_many(setting: &Setting, from: u64, seeds: u64, jobs: usize, until_failure: bool) -> Summary {
    let next = AtomicU64::new(from);
    let ended = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    let work = || {
        while !ended.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from.saturating_add(seeds) {
                return;
            }
            let outcome = run_one(setting, seed, None);
            if until_failure && outcome.finding.is_some() {
                ended.store(true, Ordering::Relaxed);
            }
            summary.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.failures.sort_by_key(|(seed, _)| *seed);
    summary
}
