//! A path through the states as text that a person can follow.

use redplane_protocol::chain::Content;
use redplane_protocol::{ChainMessage, Configuration, Message, NodeId};

use crate::history::{Output, operation_of};
use crate::model::Action;
use crate::step::reply_of;
use crate::world::{Datagram, SCHEMA, State, switch_at};

/// One event in the state in which it happens.
pub(crate) fn event(state: &State, action: Action) -> String {
    match action {
        Action::Inject { switch, key, operation } => {
            format!("a packet comes in at switch {switch}: {operation:?} of key {key}")
        }
        Action::Deliver { index, head, keep } => {
            let copy = if keep { " (a copy is still under way)" } else { "" };
            format!("{}{copy}", datagram(&state.network[index], head))
        }
        Action::SwitchClock(switch) => {
            let clock = state.switches[usize::from(switch)].clock + 1;
            format!("switch {switch}'s clock: step {clock}")
        }
        Action::StoreClock => format!("the store's clock: step {}", state.store_clock + 1),
        Action::Wake(node) => format!("{node}'s timer fires"),
        Action::Retransmit(switch) => format!("switch {switch} sends again what was not acknowledged"),
        Action::Sweep(switch) => format!("switch {switch} sweeps"),
        Action::Drain(switch) => format!("switch {switch} gives back what it holds"),
        Action::Reboot(switch) => format!("switch {switch} boots again"),
        Action::Kill(switch) => format!("switch {switch} dies for good"),
        Action::Crash(node) => {
            format!("{node} crashes; the chain is now {}", chain(state, |id| id != node, None))
        }
        Action::Suspect(node) => {
            format!(
                "{node} is taken out, but runs on; the chain is now {}",
                chain(state, |id| id != node, None)
            )
        }
        Action::Join(node) => {
            format!("{node} joins; the chain is now {}", chain(state, |_| true, Some(node)))
        }
        Action::Configure(node) => format!("{node} hears of {}", configuration(&state.configuration)),
        Action::Forge { kind, as_owner } => {
            format!(
                "an outsider forges {kind:?} {}",
                if as_owner { "in the owner's name" } else { "in its own name" }
            )
        }
    }
}

fn chain(state: &State, is_kept: impl Fn(NodeId) -> bool, added: Option<NodeId>) -> String {
    let members = state.configuration.members.iter().copied().filter(|id| is_kept(*id)).chain(added);
    names(&members.collect::<Vec<_>>())
}

fn names(members: &[NodeId]) -> String {
    let names: Vec<_> = members.iter().map(|member| member.0.to_string()).collect();
    format!("[{}]", names.join(", "))
}

fn configuration(configuration: &Configuration) -> String {
    format!("epoch {} {}", configuration.epoch, names(&configuration.members))
}

fn datagram(datagram: &Datagram, head: Option<NodeId>) -> String {
    match datagram {
        Datagram::Answer { switch, bytes } => format!("store → switch {switch}: {}", message(bytes)),
        Datagram::Request { from, bytes } => {
            let head = head.map_or(String::from("nobody"), |head| head.to_string());
            format!("switch {} → {head}: {}", switch_at(*from), message(bytes))
        }
        Datagram::Chain { from, to, bytes } => format!("{from} → {to}: {}", chain_message(bytes)),
    }
}

fn message(bytes: &[u8]) -> String {
    let Ok(message) = Message::parse(bytes, &SCHEMA) else { return String::from("what does not parse") };
    let header = message.header;
    let reason = header.reason.map_or(String::new(), |reason| format!(" {reason:?}"));
    let frame = match (message.frame, Output::from_frame(message.frame)) {
        (_, Some(Output { run, value })) => format!(", carries the output of run {run}, which shows {value}"),
        ([], _) => String::new(),
        (frame, _) => format!(", carries {:?}", operation_of(frame)),
    };
    format!(
        "{:?}{reason} of key {} for {}: generation {}, sequence {}, ticket {}, value {}, sent at {:?}{frame}",
        header.kind,
        message.key[0],
        header.identity,
        header.generation,
        header.sequence,
        header.ticket,
        message.value[0],
        header.sent_at,
    )
}

fn chain_message(bytes: &[u8]) -> String {
    let Ok(chain) = ChainMessage::parse(bytes) else { return String::from("what does not parse") };
    let records = |records: &[(_, redplane_protocol::Record)]| {
        let records = records.iter().map(|(key, record)| {
            let (version, deleted) = (record.version, if record.deleted { " deleted" } else { "" });
            let owner = record.owner.map_or(String::from("nobody"), |owner| owner.identity.to_string());
            format!(
                "{key:?} at {}.{}{deleted} value {:?} of {owner}",
                version.generation, version.sequence, record.value
            )
        });
        records.collect::<Vec<_>>().join(", ")
    };
    let what = match &chain.content {
        Content::Update { records: all, .. } => {
            let answer =
                reply_of(bytes).map_or(String::new(), |reply| format!(", to answer {}", message(&reply)));
            format!("update ({}){answer}", records(all))
        }
        Content::Copy { portion, records: all } => format!("copy {portion} ({})", records(all)),
        Content::Confirmed { confirm } => format!("confirmed {confirm}"),
        Content::Copied { portion } => format!("copied {portion}"),
        Content::Forwarded { bytes, .. } => format!("passed on {}", message(bytes)),
    };
    format!("epoch {}: {what}", chain.epoch)
}
