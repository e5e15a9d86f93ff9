//! What must be true at the end.

use std::collections::BTreeSet;

use redplane_sdk::App;

use super::Simulation;
use crate::event::Place;
use crate::finding::{Check, Finding};
use crate::history::Micros;
use crate::outcome::Outcome;
use crate::plan::Assumptions;
use crate::workload::Workload;

/// Beyond this many leases no probe may take: one for a lease that nobody gives back, and one for another like it.
const LEASES_TO_ANSWER: u64 = 3;

/// What the slowest links add.
const TIME_TO_ANSWER: Micros = 50_000;

impl<W: Workload> Simulation<W> {
    /// Sends to every key by every switch. All of it must get out in time.
    pub(super) fn probe(&mut self) {
        if self.finding.is_some() || self.plan.assumptions == Assumptions::BitsFlipped {
            return;
        }
        self.is_quiet();
        let time_to_answer = LEASES_TO_ANSWER * self.plan.lease_micros() + TIME_TO_ANSWER;
        for at in 0..self.switches.len() {
            self.tell(Place::Switch(at as u8), "must answer now");
            for probes in self.workload.probes() {
                for probe in probes {
                    self.send_of_hosts(probe, at);
                }
                self.run_until(self.now + time_to_answer);
            }
            if let Some(text) = self.workload.unanswered() {
                self.found(Check::Liveness, format!("switch {}: {text}", at + 1));
            }
        }
        if self.finding.is_none() {
            self.run_until(self.now + self.time_to_settle());
            self.is_quiet();
            self.is_durable();
        }
    }

    /// Nothing waits: no request at the store, no write at a switch, no node for its copy.
    fn is_quiet(&mut self) {
        let queued = self.store.store.statistics().protocol.queued;
        let text = if !self.store.store.is_settled() {
            Some("a node still waits for its copy".to_owned())
        } else if queued > 0 {
            Some(format!("{queued} requests wait at the store"))
        } else {
            let waiting = self.switches.iter().position(|unit| unit.switch.slots().poll_timeout().is_some());
            waiting.map(|at| format!("switch {} still sends a write again", at + 1))
        };
        if let Some(text) = text {
            self.found(Check::Liveness, text);
        }
    }

    fn is_durable(&mut self) {
        let store = &self.store.store;
        let mut finding = None;
        for key in self.workload.keys() {
            let members = store.members(store.shard_of_key(&key));
            let copies: Vec<_> = members.iter().map(|node| store.record(*node, W::App::ID, &key)).collect();
            let Some(first) = copies.first() else { continue };
            let different = copies.iter().enumerate().find(|(_, copy)| *copy != first);
            if let Some((at, _)) = different.filter(|_| self.workload.is_probed(&key)) {
                finding =
                    Some(format!("key {key:?}: {first:?} at the head, {:?} at {}", copies[at], members[at]));
            }
            let values: BTreeSet<_> =
                copies.iter().map(|copy| copy.map(|record| &record.value[..])).collect();
            let wrong = || values.into_iter().find_map(|value| self.workload.durable(&key, value));
            finding = finding.or_else(|| Some(format!("key {key:?}: {}", wrong()?)));
        }
        if let Some(text) = finding {
            self.found(Check::Durable, text);
        }
    }

    /// All checks of the histories. What they find goes before what only showed at the end.
    pub(super) fn judge(&mut self) -> Outcome {
        let mut stale_read = None;
        let history = match self.plan.assumptions {
            Assumptions::BitsFlipped => None,
            Assumptions::Kept => self.workload.check(&self.plan),
            Assumptions::ClocksBroken => {
                stale_read = self.workload.check(&self.plan);
                self.workload.check_writes(&self.plan)
            }
        };
        for unit in &self.switches {
            self.sometimes.take_switch(&unit.switch);
        }
        self.sometimes.take_store(&self.store.store.statistics());
        let found = [history, self.finding.take()];
        let finding: BTreeSet<_> =
            found.into_iter().flatten().map(|found| (found.check, found.at, found.text)).collect();
        let first = finding.into_iter().next();
        Outcome {
            seed: self.plan.seed,
            events: self.events,
            micros: self.now,
            hash: self.hash,
            finding: first.map(|(check, at, text)| Finding { check, at, text }),
            stale_read,
            sometimes: self.sometimes.clone(),
        }
    }
}
