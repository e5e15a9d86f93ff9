//! The answer of a run: what became of the connections, as a table for people and as JSON.
//!
//! Everything in it is virtual time and counts, so the same seed gives the same bytes.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::connection::{Gap, Micros, Phase, Record};

/// How long after an event a silence may begin and still be laid at its door: one maximal exchange of a lease and
/// the detection of a dead hop, generously.
const BLAME_WINDOW: Micros = 500_000;

/// What became of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the app.
    pub app: &'static str,
    /// Whether the state was replicated.
    pub replication: bool,
    /// Seed of the run.
    pub seed: u64,
    /// Virtual length of the run in milliseconds.
    pub duration_ms: u64,
    /// Connections by what became of them.
    pub connections: Connections,
    /// Payload bytes.
    pub bytes: Bytes,
    /// Packets at the switches.
    pub packets: Packets,
    /// Packets of a stranger, who was asked by nobody; of apps that keep him out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsolicited: Option<Unsolicited>,
    /// Packets that came to another backend than the connection's; of apps that choose one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved: Option<u64>,
    /// Silence per connection around the failures.
    pub outage_ms: Outage,
    /// What was done to the network, in order.
    pub events: Vec<Event>,
}

/// Connections by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Those that the clients opened.
    pub opened: u64,
    /// Those whose every byte was checked at both ends, and that both ends closed in order.
    pub completed: u64,
    /// Those that were reset.
    pub reset: u64,
    /// Those that neither completed nor were reset before the run ended.
    pub unfinished: u64,
}

/// Payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Handed to TCP by either end.
    pub sent: u64,
    /// Taken from TCP by the other end, each compared with what was sent.
    pub verified: u64,
}

/// Packets at the switches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// Sent to the store inside a request, to wait there until the state is durable.
    pub held: u64,
    /// Come back with the store's answer, and sent on.
    pub released: u64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// Packets that nobody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unsolicited {
    /// Sent.
    pub sent: u64,
    /// Come to a host inside.
    pub let_in: u64,
}

/// Silence per connection around the failures, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Half of the connections had at most this.
    pub p50: u64,
    /// All but one in a hundred had at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// Something done to the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// What, in words.
    pub what: String,
}

impl Report {
    /// Whether every connection completed, every byte arrived, and the app did what it is for.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.connections.completed == self.connections.opened
            && self.bytes.sent == self.bytes.verified
            && self.unsolicited.is_none_or(|unsolicited| unsolicited.let_in == 0)
            && self.moved.is_none_or(|moved| moved == 0)
    }
}

/// Counts connections and bytes from what the two ends recorded; `servers` are those that learnt their connection.
#[must_use]
pub fn count(clients: &[&Record], servers: &[&Record]) -> (Connections, Bytes) {
    let server_of: BTreeMap<u32, &Record> = servers.iter().map(|record| (record.id, *record)).collect();
    let mut connections = Connections::default();
    let mut bytes = Bytes::default();
    for client in clients.iter().filter(|record| record.opened.is_some()) {
        let server = server_of.get(&client.id);
        connections.opened += 1;
        bytes.sent += client.sent + server.map_or(0, |server| server.sent);
        bytes.verified += client.verified + server.map_or(0, |server| server.verified);
        match (client.phase, server.map(|server| server.phase)) {
            (Phase::Completed, Some(Phase::Completed)) => connections.completed += 1,
            (Phase::Reset, _) | (_, Some(Phase::Reset)) => connections.reset += 1,
            _ => connections.unfinished += 1,
        }
    }
    (connections, bytes)
}

/// Each connection's longest silence around one of `events`, over those that were open at one of them and completed:
/// the end that receives heard nothing for so long. A connection without a silence worth recording counts with zero.
#[must_use]
pub fn outage(clients: &[&Record], servers: &[&Record], events: &[Micros]) -> Outage {
    let server_of: BTreeMap<u32, &Record> = servers.iter().map(|record| (record.id, *record)).collect();
    let mut longest = Vec::new();
    for client in clients {
        let (Some(opened), Some(ended), Phase::Completed) = (client.opened, client.ended, client.phase)
        else {
            continue;
        };
        if events.iter().any(|event| (opened..ended).contains(event)) {
            let heard = server_of.get(&client.id).map_or(&[][..], |server| &server.gaps);
            let gaps = client.gaps.iter().chain(heard);
            let blamed = gaps.filter(|gap| events.iter().any(|event| is_blamed(gap, *event)));
            longest.push(blamed.map(|gap| (gap.to - gap.from) / 1000).max().unwrap_or(0));
        }
    }
    longest.sort_unstable();
    let quantile = |per_cent: usize| {
        let rank = (longest.len() * per_cent).div_ceil(100);
        longest.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    };
    Outage { p50: quantile(50), p99: quantile(99), max: quantile(100) }
}

fn is_blamed(gap: &Gap, event: Micros) -> bool {
    gap.from < event + BLAME_WINDOW && gap.to > event
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replication = if self.replication { "replicated state" } else { "no replication" };
        writeln!(f, "{} through failures: {replication}, seed {}", self.app, self.seed)?;
        writeln!(f)?;
        for event in &self.events {
            writeln!(f, "  {:>9}  {}", seconds(event.at_ms), event.what)?;
        }
        writeln!(f)?;
        let Connections { opened, completed, reset, unfinished } = self.connections;
        row(f, "connections", "opened", opened)?;
        row(f, "", "completed", completed)?;
        row(f, "", "reset", reset)?;
        row(f, "", "unfinished", unfinished)?;
        row(f, "bytes", "sent", self.bytes.sent)?;
        row(f, "", "verified end to end", self.bytes.verified)?;
        row(f, "packets", "held for the store", self.packets.held)?;
        row(f, "", "released", self.packets.released)?;
        for (reason, count) in &self.packets.dropped {
            row(f, "", &format!("dropped: {reason}"), *count)?;
        }
        if self.packets.dropped.is_empty() {
            row(f, "", "dropped", 0)?;
        }
        if let Some(Unsolicited { sent, let_in }) = self.unsolicited {
            row(f, "unsolicited", "packets of a stranger", sent)?;
            row(f, "", "let in", let_in)?;
        }
        if let Some(moved) = self.moved {
            row(f, "backends", "packets that went to another", moved)?;
        }
        row(f, "outage, ms", "p50", self.outage_ms.p50)?;
        row(f, "", "p99", self.outage_ms.p99)?;
        row(f, "", "max", self.outage_ms.max)?;
        row(f, "virtual time, ms", "", self.duration_ms)?;
        writeln!(f)?;
        writeln!(
            f,
            "  Outage: silence at the receiving end around a failure, of connections that completed. TCP sends a lost"
        )?;
        writeln!(
            f,
            "  segment again after 1 000 ms at the earliest (RFC 6298); a switch has the state back after a lease."
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, group: &str, name: &str, value: u64) -> fmt::Result {
    writeln!(f, "  {group:<18}{name:<32}{:>15}", thousands(value))
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// `1234567` as `1 234 567`.
fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u32, phase: Phase, gaps: &[(Micros, Micros)]) -> Record {
        let gaps = gaps.iter().map(|&(from, to)| Gap { from, to }).collect();
        Record {
            id,
            phase,
            opened: Some(0),
            ended: Some(9_000_000),
            sent: 10,
            verified: 10,
            gaps,
            ..Record::default()
        }
    }

    #[test]
    fn a_connection_completes_only_at_both_ends() {
        let clients =
            [record(1, Phase::Completed, &[]), record(2, Phase::Completed, &[]), record(3, Phase::Open, &[])];
        let servers =
            [record(1, Phase::Completed, &[]), record(2, Phase::Reset, &[]), record(3, Phase::Open, &[])];
        let (connections, bytes) =
            count(&clients.iter().collect::<Vec<_>>(), &servers.iter().collect::<Vec<_>>());
        assert_eq!(connections, Connections { opened: 3, completed: 1, reset: 1, unfinished: 1 });
        assert_eq!(bytes, Bytes { sent: 60, verified: 60 });
    }

    #[test]
    fn only_a_silence_around_an_event_is_an_outage() {
        let events = [1_000_000, 5_000_000];
        let touched = record(1, Phase::Completed, &[(990_000, 2_100_000), (3_000_000, 3_900_000)]);
        let untouched = record(2, Phase::Completed, &[(3_000_000, 3_900_000)]);
        let broken = record(3, Phase::Reset, &[(990_000, 8_000_000)]);
        let outage = outage(&[&touched, &untouched, &broken], &[], &events);
        assert_eq!(outage, Outage { p50: 0, p99: 1110, max: 1110 });
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1 000", "1 234 567"]);
    }
}
