//! Progress: from here on nothing fails any more. Does everybody get an answer?

use std::ops::ControlFlow;

use redplane_protocol::mutant::Mutant;

use crate::history::Operation;
use crate::model::{self, Action};
use crate::scope::Scope;
use crate::world::{Sighting, State};

/// Most leases that an answer may take: somebody's, one that was granted meanwhile, and one to spare.
const LEASES_MAX: u8 = 3;

/// Most packets that it may take until one leaves. A slot may hold a generation that a lost or late request of the same
/// switch has fenced; the first packet finds that out, and is refused.
const PACKETS_MAX: u8 = 2;

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
            let answers = (0..PACKETS_MAX).try_fold(state, |state, _| {
                match answered(scope, mutant, state, switch, key) {
                    Answer::Refused(after) => ControlFlow::Continue(after),
                    answer => ControlFlow::Break(answer),
                }
            });
            match answers {
                ControlFlow::Break(Answer::Released(after)) => state = after,
                _ => return false,
            }
        }
    }
    true
}

/// What becomes of a packet, and the state after it.
enum Answer {
    /// It leaves.
    Released(State),
    /// It was refused.
    Refused(State),
    /// Nothing was heard of it.
    None,
}

fn answered(scope: &Scope, mutant: Option<Mutant>, mut state: State, switch: u8, key: u8) -> Answer {
    let before = state.histories[usize::from(key)].answered;
    state.left.packets += 1;
    let packet = Action::Inject { switch, key, operation: Operation::Increment };
    state = model::apply(scope, mutant, &state, packet);
    for _ in 0..LEASES_MAX * scope.lease_steps {
        let Some((after, is_refused)) = rest(scope, mutant, state) else { return Answer::None };
        if after.histories[usize::from(key)].answered > before {
            return Answer::Released(after);
        }
        if is_refused {
            return Answer::Refused(after);
        }
        state = round(scope, mutant, after);
    }
    Answer::None
}

/// Lets happen whatever needs no time, and tells whether a packet was refused. `None` if it never comes to rest.
fn rest(scope: &Scope, mutant: Option<Mutant>, mut state: State) -> Option<(State, bool)> {
    let mut actions = Vec::new();
    let mut is_refused = false;
    for _ in 0..EVENTS_MAX {
        actions.clear();
        model::configurable(&state, &mut actions);
        model::deliveries(&state, false, &mut actions);
        model::times(&state, 0, 0, &mut actions);
        let Some(action) = actions.first() else { return Some((state, is_refused)) };
        state = model::apply(scope, mutant, &state, *action);
        is_refused |= state.seen.contains(Sighting::Refused);
    }
    None
}

/// Lets every clock take its step.
fn round(scope: &Scope, mutant: Option<Mutant>, mut state: State) -> State {
    for switch in 0..scope.switches {
        let entry = &state.switches[usize::from(switch)];
        if entry.in_use() && entry.clock <= state.store_clock {
            state = model::apply(scope, mutant, &state, Action::SwitchClock(switch));
        }
    }
    model::apply(scope, mutant, &state, Action::StoreClock)
}
