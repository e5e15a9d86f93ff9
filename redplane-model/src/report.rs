//! One search, and what came of it.

use std::fmt;
use std::time::{Duration, Instant};

use redplane_protocol::mutant::Mutant;
use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::model::{Limits, Protocol};
use crate::scope::Scope;
use crate::story;

/// How a property fared.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The property.
    pub property: &'static str,
    /// Whether it is one that must always hold; else it is something that must happen somewhere.
    pub always: bool,
    /// The path that breaks it, or that shows it happen, an event a line.
    pub path: Option<Vec<String>>,
}

impl Finding {
    /// Whether it is as it must be. What must happen somewhere is only missed once all states were visited.
    #[must_use]
    pub fn is_good(&self, complete: bool) -> bool {
        if self.always { self.path.is_none() } else { self.path.is_some() || !complete }
    }
}

/// What came of a search.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which scope.
    pub scope: &'static str,
    /// With which defect.
    pub mutant: Option<Mutant>,
    /// Different states that were found.
    pub states: usize,
    /// Longest path to one of them.
    pub depth: usize,
    /// Whether all states of the scope were visited.
    pub complete: bool,
    /// States looked at until a property failed.
    pub states_to_failure: Option<usize>,
    /// Each property.
    pub findings: Vec<Finding>,
    /// How long it took.
    pub time: Duration,
}

impl Report {
    /// The first property that is broken, and the path that breaks it.
    #[must_use]
    pub fn failure(&self) -> Option<&Finding> {
        self.findings.iter().filter(|finding| finding.always).find(|finding| finding.path.is_some())
    }

    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_good(self.complete))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.complete { "complete" } else { "not complete" };
        write!(
            formatter,
            "{:14} {:>10} states, depth {:>3}, {end}, {:.1} s",
            self.scope,
            self.states,
            self.depth,
            self.time.as_secs_f64()
        )?;
        for finding in self.findings.iter().filter(|finding| !finding.is_good(self.complete)) {
            match &finding.path {
                None => write!(formatter, "\n  never seen: {}", finding.property)?,
                Some(path) => {
                    write!(formatter, "\n  broken: {}", finding.property)?;
                    for (index, event) in path.iter().enumerate() {
                        write!(formatter, "\n  {:>3}. {event}", index + 1)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// In which order states are visited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Nearest first: the paths that are found are the shortest.
    Breadth,
    /// Farthest first: needs far less memory.
    Depth,
}

/// Searches a scope, with a defect or without, until all states were visited, a property is broken, or a limit is
/// reached.
#[must_use]
pub fn run(scope: &Scope, mutant: Option<Mutant>, order: Order, limits: Limits) -> Report {
    let begin = Instant::now();
    let builder =
        Protocol::new(scope.clone(), mutant, limits).checker().finish_when(HasDiscoveries::AnyFailures);
    match order {
        Order::Breadth => report(scope, mutant, builder.spawn_bfs().join(), begin),
        Order::Depth => report(scope, mutant, builder.spawn_dfs().join(), begin),
    }
}

fn report(scope: &Scope, mutant: Option<Mutant>, checker: impl Checker<Protocol>, begin: Instant) -> Report {
    let model = checker.model();
    model.replay();
    let mut discoveries = checker.discoveries();
    let findings = model.properties().into_iter().map(|property| {
        let path = discoveries.remove(property.name).map(|path| {
            let steps = path.into_vec().into_iter();
            steps.filter_map(|(state, action)| Some(story::event(&state, action?))).collect()
        });
        Finding { property: property.name, always: property.expectation == Expectation::Always, path }
    });
    let findings: Vec<Finding> = findings.collect();
    let is_broken = findings.iter().any(|finding| finding.always && finding.path.is_some());
    Report {
        scope: scope.name,
        mutant,
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        complete: !is_broken && !model.was_cut(),
        states_to_failure: is_broken.then(|| model.states_to_failure()),
        findings,
        time: begin.elapsed(),
    }
}
