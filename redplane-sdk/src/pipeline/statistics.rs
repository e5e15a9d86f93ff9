//! What a switch counts.

use redplane_protocol::Kind;

use super::Reason;

/// Counters since the switch was made. Each packet that came in is transmitted, dropped, or within a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that came in, protocol messages too.
    pub received: u64,
    /// Protocol messages among them.
    pub messages: u64,
    /// Packets that left by a port; requests to the store are not among them.
    pub transmitted: u64,
    /// Requests to the store, of all kinds.
    pub requests: u64,
    /// Input packets sent to the store within LEASE.
    pub suspended: u64,
    /// Packets that came back with a grant, or with word that there is no record, and were processed anew.
    pub resumed: u64,
    /// Output packets sent to the store within WRITE or READ.
    pub held: u64,
    /// Output packets that came back with an acknowledgement.
    pub released: u64,
    /// Passes through the pipeline after a packet's first.
    pub recirculated: u64,
    /// Writes sent again.
    pub retransmitted: u64,
    kinds: [u64; Kind::ALL.len()],
    own: [u64; Reason::ALL.len()],
    app: Vec<(&'static str, u64)>,
    undeclared: u64,
}

impl Statistics {
    pub(super) fn new(reasons: &'static [&'static str]) -> Self {
        Statistics {
            received: 0,
            messages: 0,
            transmitted: 0,
            requests: 0,
            suspended: 0,
            resumed: 0,
            held: 0,
            released: 0,
            recirculated: 0,
            retransmitted: 0,
            kinds: [0; Kind::ALL.len()],
            own: [0; Reason::ALL.len()],
            app: reasons.iter().map(|reason| (*reason, 0)).collect(),
            undeclared: 0,
        }
    }

    /// Every kind of message: how many were sent to the store, or came from it and are of this app and its schema.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.kinds)
    }

    /// Every reason with the packets dropped for it: the machinery's, then the app's in its order, then `undeclared`:
    /// those that an app of one's own did not list in [`crate::App::REASONS`].
    pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let own = Reason::ALL.iter().zip(&self.own).map(|(reason, count)| (reason.name(), *count));
        own.chain(self.app.iter().copied()).chain([("undeclared", self.undeclared)])
    }

    /// Packets dropped for the reason of this name.
    pub fn dropped(&self, name: &str) -> u64 {
        self.drops().filter(|(reason, _)| *reason == name).map(|(_, count)| count).sum()
    }

    /// Packets dropped for whatever reason.
    pub fn dropped_in_all(&self) -> u64 {
        self.drops().map(|(_, count)| count).sum()
    }

    pub(super) fn count_kind(&mut self, kind: Kind) {
        if let Some(at) = Kind::ALL.iter().position(|other| *other == kind) {
            self.kinds[at] += 1;
        }
    }

    pub(super) fn drop_own(&mut self, reason: Reason) {
        self.own[reason as usize] += 1;
    }

    pub(super) fn drop_app(&mut self, name: &'static str) {
        match self.app.iter_mut().find(|(reason, _)| *reason == name) {
            Some((_, count)) => *count += 1,
            None => self.undeclared += 1,
        }
    }
}
