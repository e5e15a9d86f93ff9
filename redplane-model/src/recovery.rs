//! Progress: from here on nothing fails any more. Does everybody get an answer?

use redplane_protocol::mutant::Mutant;

use crate::history::Operation;
use crate::model::{self, Action, LEASE_STEPS};
use crate::scope::Scope;
use crate::world::State;

/// Most rounds that an answer may take: somebody's whole lease, one that was granted meanwhile, and one to spare.
const ROUNDS_MAX: u8 = 3 * LEASE_STEPS;

/// Most events in a round; more means that it never comes to rest.
const EVENTS_MAX: usize = 400;

/// Whether, if all that is under way is lost and nothing fails after, every live switch gets an answer about every key.
pub(crate) fn recovers(scope: &Scope, mutant: Option<Mutant>, state: &State) -> bool {
    let mut state = state.clone();
    state.network.clear();
    for switch in 0..scope.switches {
        if state.switches[usize::from(switch)].dead {
            continue;
        }
        for key in 0..scope.keys {
            match answered(scope, mutant, state, switch, key) {
                Some(after) => state = after,
                None => return false,
            }
        }
    }
    true
}

/// The state after a fresh packet was answered.
fn answered(scope: &Scope, mutant: Option<Mutant>, mut state: State, switch: u8, key: u8) -> Option<State> {
    let before = state.histories[usize::from(key)].answered;
    state.left.packets += 1;
    let packet = Action::Inject { switch, key, operation: Operation::Increment };
    state = model::apply(scope, mutant, &state, packet);
    for _ in 0..ROUNDS_MAX {
        state = rest(scope, mutant, state)?;
        if state.histories[usize::from(key)].answered > before {
            return Some(state);
        }
        state = round(scope, mutant, state);
    }
    None
}

/// Lets happen whatever needs no time.
fn rest(scope: &Scope, mutant: Option<Mutant>, mut state: State) -> Option<State> {
    let mut actions = Vec::new();
    for _ in 0..EVENTS_MAX {
        actions.clear();
        model::configurable(&state, &mut actions);
        model::deliveries(&state, false, &mut actions);
        model::times(&state, 0, &mut actions);
        let Some(action) = actions.first() else { return Some(state) };
        state = model::apply(scope, mutant, &state, *action);
    }
    None
}

/// Lets every clock take its step.
fn round(scope: &Scope, mutant: Option<Mutant>, mut state: State) -> State {
    for switch in 0..scope.switches {
        let entry = &state.switches[usize::from(switch)];
        if entry.in_use() && entry.clock == state.store_clock {
            state = model::apply(scope, mutant, &state, Action::SwitchClock(switch));
        }
    }
    model::apply(scope, mutant, &state, Action::StoreClock)
}
