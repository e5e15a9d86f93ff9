//! The protocol as stateright sees it: states, the events that may come next, and what must hold.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use redplane_protocol::mutant::{self, Mutant};
use redplane_protocol::{Kind, NodeId};
use stateright::{Model, Property};

use crate::history::Operation;
use crate::recovery;
use crate::scope::{Progress, Scope};
use crate::step::Step;
use crate::world::{COMPANION, Datagram, SCHEMA, Sighting, State};

/// An event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// A packet comes in from a host.
    Inject {
        /// At this switch.
        switch: u8,
        /// About this key.
        key: u8,
        /// And asks this.
        operation: Operation,
    },
    /// A datagram arrives.
    Deliver {
        /// Its place among those under way.
        index: usize,
        /// At which node, of one to the store.
        head: Option<NodeId>,
        /// The network doubled it: a copy is still under way.
        keep: bool,
    },
    /// A switch's clock takes its step.
    SwitchClock(u8),
    /// The store's clock takes its step, the last of the round.
    StoreClock,
    /// A node's timer fires.
    Wake(NodeId),
    /// A switch sends again what was not acknowledged.
    Retransmit(u8),
    /// A switch clears expired slots.
    Sweep(u8),
    /// A switch gives back what it holds.
    Drain(u8),
    /// A switch loses all and boots again.
    Reboot(u8),
    /// A switch dies for good.
    Kill(u8),
    /// A node crashes, and the coordinator takes it out.
    Crash(NodeId),
    /// The coordinator takes out a node that runs on.
    Suspect(NodeId),
    /// The coordinator adds a node.
    Join(NodeId),
    /// A node hears of the latest configuration.
    Configure(NodeId),
    /// An outsider sends a request in the owner's generation.
    Forge {
        /// Which request.
        kind: Kind,
        /// In the owner's name, or in its own.
        as_owner: bool,
    },
}

/// Name of the property that no request changes a record which it has no right to.
pub const FENCED: &str = "only the owner, in its generation, changes a record";
/// Name of the property that one switch at a time acts on a key.
pub const ONE_HOLDER: &str = "at most one switch acts on a key";
/// Name of the property that the history of released packets is linearizable.
pub const LINEARIZABLE: &str = "what packets show is linearizable";
/// Name of the property that what was acknowledged is on every replica.
pub const DURABLE: &str = "what a packet showed is on every replica";
/// Name of the property that everything is answered once faults stop.
pub const PROGRESS: &str = "once faults stop, every request is answered";

/// A scope, with or without a defect, and how long to search it.
pub struct Protocol {
    pub(crate) scope: Scope,
    pub(crate) mutant: Option<Mutant>,
    limits: Limits,
    expanded: AtomicUsize,
    first_failure: AtomicUsize,
    cut: AtomicBool,
    replaying: AtomicBool,
}

/// When a search is given up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At this time.
    pub deadline: Instant,
    /// After so many states.
    pub states_max: usize,
}

impl Protocol {
    pub(crate) fn new(scope: Scope, mutant: Option<Mutant>, limits: Limits) -> Self {
        Self {
            scope,
            mutant,
            limits,
            expanded: AtomicUsize::new(0),
            first_failure: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            replaying: AtomicBool::new(false),
        }
    }

    /// Whether the search was given up before its end.
    pub(crate) fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// How many states had been looked at when a property first failed.
    pub(crate) fn states_to_failure(&self) -> usize {
        self.first_failure.load(Ordering::Relaxed)
    }

    /// From now on the model is only asked for the steps on a path that was found.
    pub(crate) fn replay(&self) {
        self.replaying.store(true, Ordering::Relaxed);
    }

    /// Time is limited within the model: stateright looks at its own limit only between batches of several threads.
    fn is_over(&self) -> bool {
        if self.replaying.load(Ordering::Relaxed) {
            return false;
        }
        let expanded = self.expanded.fetch_add(1, Ordering::Relaxed);
        let is_over = self.was_cut()
            || expanded >= self.limits.states_max
            || expanded.is_multiple_of(1024) && Instant::now() >= self.limits.deadline;
        if is_over {
            self.cut.store(true, Ordering::Relaxed);
        }
        is_over
    }

    fn note(&self, holds: bool) -> bool {
        if !holds && !self.replaying.load(Ordering::Relaxed) {
            let count = self.expanded.load(Ordering::Relaxed) + 1;
            let _ = self.first_failure.compare_exchange(0, count, Ordering::Relaxed, Ordering::Relaxed);
        }
        holds
    }

    pub(crate) fn step(&self, state: &State, action: Action) -> State {
        mutant::with(self.mutant, || apply(&self.scope, self.mutant, state, action))
    }
}

/// The state after an event.
pub(crate) fn apply(scope: &Scope, mutant: Option<Mutant>, state: &State, action: Action) -> State {
    let mut step = Step { scope, mutant, state: state.clone() };
    step.state.seen = Default::default();
    let left = &mut step.state.left;
    match action {
        Action::Inject { .. } => left.packets -= 1,
        Action::Deliver { keep, .. } => left.duplicates -= u8::from(keep),
        Action::Drain(_) => left.drains -= 1,
        Action::Reboot(_) => left.reboots -= 1,
        Action::Kill(_) => left.deaths -= 1,
        Action::Crash(_) => left.crashes -= 1,
        Action::Suspect(_) => left.suspicions -= 1,
        Action::Join(_) => left.joins -= 1,
        Action::Forge { .. } => left.forgeries -= 1,
        _ => {}
    }
    match action {
        Action::Inject { switch, key, operation } => step.inject(switch, key, operation),
        Action::Deliver { index, head, keep } => {
            let datagram = step.state.network[index].clone();
            if !keep {
                step.state.network.remove(index);
            }
            step.deliver(&datagram, head);
        }
        Action::SwitchClock(switch) => step.state.switches[usize::from(switch)].clock += 1,
        Action::StoreClock => step.state.store_clock += 1,
        Action::Wake(node) => step.wake(node),
        Action::Retransmit(switch) => step.retransmit(switch),
        Action::Sweep(switch) => step.sweep(switch),
        Action::Drain(switch) => step.drain(switch),
        Action::Reboot(switch) => step.reboot(switch),
        Action::Kill(switch) => step.kill(switch),
        Action::Crash(node) => step.remove(node, true),
        Action::Suspect(node) => step.remove(node, false),
        Action::Join(node) => step.join(node),
        Action::Configure(node) => step.configure(node),
        Action::Forge { kind, as_owner } => step.forge(kind, as_owner),
    }
    step.state
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.scope)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if self.is_over() {
            return;
        }
        packets(&self.scope, state, actions);
        deliveries(state, state.left.duplicates > 0, actions);
        times(state, self.scope.rounds, self.scope.excess_drift, actions);
        switch_faults(&self.scope, state, actions);
        chain_events(state, actions);
        if state.left.forgeries > 0 && is_owned(state) {
            for kind in [Kind::Write, Kind::Read, Kind::Renew, Kind::Release] {
                actions.extend([true, false].map(|as_owner| Action::Forge { kind, as_owner }));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(self.step(state, action))
    }

    /// Every budget is finite, so the space is, except for what is under way at once.
    fn within_boundary(&self, state: &State) -> bool {
        state.network.len() <= self.scope.in_flight_max
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(FENCED, |model: &Self, state: &State| model.note(!state.unfenced)),
            Property::always(ONE_HOLDER, |model: &Self, state: &State| {
                model.note(one_holder(&model.scope, state))
            }),
            Property::always(LINEARIZABLE, |model: &Self, state: &State| {
                model.note(state.histories.iter().all(|history| history.linearizable))
            }),
            Property::always(DURABLE, |model: &Self, state: &State| model.note(durable(&model.scope, state))),
            Property::always(PROGRESS, |model: &Self, state: &State| model.note(model.progress(state))),
        ];
        properties.extend(self.scope.expected.iter().map(|sighting| sighting.property()));
        properties
    }
}

impl Protocol {
    fn progress(&self, state: &State) -> bool {
        let is_due = match self.scope.progress {
            Progress::Everywhere => true,
            Progress::AtRest => state.network.is_empty(),
        };
        !is_due || mutant::with(self.mutant, || recovery::recovers(&self.scope, self.mutant, state))
    }
}

impl Sighting {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recall => "a lease is recalled",
            Self::FencedWrite => "a write is fenced",
            Self::EvictedWithWrite => "a slot is overwritten, its write still under way",
            Self::OutdatedGrant => "a grant comes whose ticket is outdated",
            Self::Renewal => "a lease is renewed",
            Self::Retransmission => "a write is sent again",
            Self::LeaseRanOut => "a lease runs out, and who waited gets it",
            Self::Reboot => "a switch boots again",
            Self::Failover => "a new head's grant is answered",
            Self::Joined => "a node that joined has its copy",
            Self::Deletion => "an idle record is deleted",
            Self::Refused => "a packet comes back with a refusal",
        }
    }

    fn property(self) -> Property<Protocol> {
        macro_rules! sometimes {
            ($($sighting:ident)*) => {
                match self {
                    $(Self::$sighting => {
                        Property::sometimes(self.name(), |_, state: &State| state.seen.contains(Self::$sighting))
                    })*
                }
            };
        }
        sometimes!(Recall FencedWrite EvictedWithWrite OutdatedGrant Renewal Retransmission LeaseRanOut Reboot
            Failover Joined Deletion Refused)
    }
}

fn one_holder(scope: &Scope, state: &State) -> bool {
    (0..scope.keys).all(|key| state.switches.iter().filter(|switch| switch.holds(key)).count() <= 1)
}

fn durable(scope: &Scope, state: &State) -> bool {
    let whole = state.configuration.members.iter().filter(|member| state.is_whole(**member));
    whole.filter_map(|member| state.node(*member)).all(|node| {
        (0..scope.keys).all(|key| {
            let Some(seen) = state.histories[usize::from(key)].seen else { return true };
            let value_of = |key: u8| node.record(SCHEMA.app, &[key]).and_then(|record| record.value.first());
            let companion = !scope.companions || value_of(key + COMPANION) == Some(&key);
            companion && value_of(key).is_some_and(|value| *value >= seen)
        })
    })
}

fn packets(scope: &Scope, state: &State, actions: &mut Vec<Action>) {
    if state.left.packets == 0 {
        return;
    }
    // Switches are alike, and so are keys: one that was never used stands for all others.
    let switches = state.switches.iter().take_while(|switch| !switch.unused).count() as u8;
    let keys = state.histories.iter().take_while(|history| history.asked_for).count() as u8;
    for switch in (0..=switches).take(usize::from(scope.switches)) {
        for key in (0..=keys).take(usize::from(scope.keys)) {
            if !state.switches[usize::from(switch)].dead {
                actions.extend(scope.operations.iter().map(|operation| Action::Inject {
                    switch,
                    key,
                    operation: *operation,
                }));
            }
        }
    }
}

pub(crate) fn deliveries(state: &State, double: bool, actions: &mut Vec<Action>) {
    for (index, datagram) in state.network.iter().enumerate() {
        if index > 0 && state.network[index - 1] == *datagram {
            continue;
        }
        let mut deliver = |head| {
            actions.push(Action::Deliver { index, head, keep: false });
            if double {
                actions.push(Action::Deliver { index, head, keep: true });
            }
        };
        match &**datagram {
            Datagram::Request { .. } => {
                let heads = state.nodes.iter().flatten().filter(|node| node.is_head());
                heads.for_each(|node| deliver(Some(node.id())));
            }
            _ => deliver(None),
        }
    }
}

/// Clocks and timers.
pub(crate) fn times(state: &State, rounds: u8, excess_drift: u8, actions: &mut Vec<Action>) {
    let in_use = |switch: &u8| state.switches[usize::from(*switch)].in_use();
    let switches = (0..state.switches.len() as u8).filter(in_use);
    let mut is_last = true;
    for switch in switches {
        let entry = &state.switches[usize::from(switch)];
        is_last &= entry.clock + excess_drift > state.store_clock;
        if entry.clock <= state.store_clock && entry.clock < rounds {
            actions.push(Action::SwitchClock(switch));
        }
        if entry.table.poll_timeout().is_some_and(|at| !entry.now().is_before(at)) {
            actions.push(Action::Retransmit(switch));
        }
    }
    if is_last && state.store_clock < rounds {
        actions.push(Action::StoreClock);
    }
    let now = state.store_now();
    let due = state.nodes.iter().flatten().filter(|node| node.poll_timeout().is_some_and(|at| at <= now));
    actions.extend(due.map(|node| Action::Wake(node.id())));
}

fn switch_faults(scope: &Scope, state: &State, actions: &mut Vec<Action>) {
    for switch in 0..scope.switches {
        let entry = &state.switches[usize::from(switch)];
        if !entry.in_use() {
            continue;
        }
        if state.left.reboots > 0 {
            actions.push(Action::Reboot(switch));
        }
        if state.left.deaths > 0 {
            actions.push(Action::Kill(switch));
        }
        if state.left.drains > 0 && entry.table.occupied() > 0 {
            actions.push(Action::Drain(switch));
        }
        let is_expired = (0..scope.keys).all(|key| !entry.holds(key));
        if scope.sweeps && entry.table.occupied() > 0 && is_expired {
            actions.push(Action::Sweep(switch));
        }
    }
}

fn chain_events(state: &State, actions: &mut Vec<Action>) {
    let configuration = &state.configuration;
    for member in &configuration.members {
        let others = || configuration.members.iter().filter(|other| *other != member);
        if !others().any(|other| state.is_whole(*other)) {
            continue;
        }
        if state.left.crashes > 0 {
            actions.push(Action::Crash(*member));
        }
        if state.left.suspicions > 0 {
            actions.push(Action::Suspect(*member));
        }
    }
    let all_whole = configuration.members.iter().all(|member| state.is_whole(*member));
    let mut outside =
        (0..state.nodes.len() as u16).map(NodeId).filter(|id| !configuration.members.contains(id));
    if state.left.joins > 0
        && all_whole
        && let Some(id) = outside.next()
    {
        actions.push(Action::Join(id));
    }
    configurable(state, actions);
}

/// Nodes that have not heard of the latest configuration.
pub(crate) fn configurable(state: &State, actions: &mut Vec<Action>) {
    let epoch = state.configuration.epoch;
    let behind = state.nodes.iter().flatten().filter(|node| node.configuration().epoch < epoch);
    actions.extend(behind.map(|node| Action::Configure(node.id())));
}

/// Whether there is a record in whose owner's generation something could be forged.
fn is_owned(state: &State) -> bool {
    let head = state.configuration.head().and_then(|head| state.node(head));
    head.and_then(|head| head.record(SCHEMA.app, &[0])).is_some_and(|record| record.owner.is_some())
}
