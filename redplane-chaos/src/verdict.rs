//! What a drill's history says.

use std::net::Ipv4Addr;
use std::thread;

use redplane_simulation::checker;
use redplane_simulation::history::Micros;

use crate::load::address_of;
use crate::log::{ByKey, Log};

/// Violations that are told in words. More of them say nothing new.
const TOLD_MAX: usize = 5;

/// What the checks found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Keys with a history that no single switch that never fails could have.
    pub not_linearizable: usize,
    /// Keys whose last read showed less than a packet before it.
    pub lost: usize,
    /// Keys that were not read at the end.
    pub unread: usize,
    /// The first of all these, in words.
    pub told: Vec<String>,
}

impl Verdict {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.not_linearizable + self.lost + self.unread == 0
    }

    fn merge(mut self, other: Self) -> Self {
        self.not_linearizable += other.not_linearizable;
        self.lost += other.lost;
        self.unread += other.unread;
        self.told.extend(other.told);
        self.told.truncate(TOLD_MAX);
        self
    }
}

/// Checks every key of a log. What came in from `reads_from` on is the last read.
#[must_use]
pub fn judge(log: &Log, keys: u32, reads_from: Micros) -> Verdict {
    let by_key = log.by_key(keys);
    let threads = thread::available_parallelism().map_or(1, usize::from) as u32;
    let part = keys.div_ceil(threads).max(1);
    thread::scope(|scope| {
        let by_key = &by_key;
        let parts: Vec<_> = (0..threads)
            .map(|at| (at * part).min(keys)..((at + 1) * part).min(keys))
            .map(|range| scope.spawn(move || judge_range(log, by_key, range, reads_from)))
            .collect();
        parts.into_iter().fold(Verdict::default(), |all, part| match part.join() {
            Ok(verdict) => all.merge(verdict),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

fn judge_range(log: &Log, by_key: &ByKey, keys: std::ops::Range<u32>, reads_from: Micros) -> Verdict {
    let mut verdict = Verdict::default();
    // Nobody deletes: the drill is shorter than the app's idle time.
    let idle = crate::app::idle().as_micros() as Micros;
    for key in keys {
        let packets = by_key.of(key);
        let mut tell = |text: String| {
            if verdict.told.len() < TOLD_MAX {
                verdict.told.push(format!("key {}: {text}", Ipv4Addr::from(address_of(key))));
            }
        };
        if let Err(violation) = checker::check(&log.history(packets), idle) {
            tell(format!("{} µs: {}", violation.at, violation.text));
            verdict.not_linearizable += 1;
        }
        let passages = packets.iter().map(|packet| &log.passages()[*packet as usize]);
        let shown: Vec<_> = passages.filter(|passage| passage.left().is_some()).collect();
        let before = shown.iter().filter(|passage| passage.entered < reads_from).map(|passage| passage.value);
        let last = shown.iter().filter(|passage| passage.entered >= reads_from && !passage.writes);
        match (before.max(), last.map(|passage| passage.value).min()) {
            (_, None) => {
                tell("not read at the end".to_owned());
                verdict.unread += 1;
            }
            (Some(before), Some(last)) if last < before => {
                tell(format!("{before} was shown, {last} is left"));
                verdict.lost += 1;
            }
            _ => {}
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys, each counted three times and read at the end.
    fn good(last: u32) -> Log {
        let mut log = Log::default();
        for key in 0..2 {
            for count in 1..=3 {
                let packet = log.enter(key, true, u64::from(count) * 10);
                log.leave(packet, u64::from(count) * 10 + 5, count);
            }
        }
        for (key, value) in [(0, 3), (1, last)] {
            let packet = log.enter(key, false, 100);
            log.leave(packet, 110, value);
        }
        log
    }

    #[test]
    fn a_history_without_fault_is_content() {
        assert!(judge(&good(3), 2, 100).is_content());
    }

    #[test]
    fn a_lost_write_is_found_twice() {
        let verdict = judge(&good(2), 2, 100);
        assert_eq!((verdict.lost, verdict.not_linearizable, verdict.unread), (1, 1, 0), "{verdict:?}");
    }

    #[test]
    fn a_count_that_two_packets_show_is_found() {
        let mut log = good(3);
        let packet = log.enter(0, true, 41);
        log.leave(packet, 45, 3);
        assert_eq!(judge(&log, 2, 100).not_linearizable, 1);
    }

    #[test]
    fn a_key_that_nobody_answers_for_is_found() {
        let mut log = good(3);
        log.enter(2, true, 50);
        assert_eq!(judge(&log, 3, 100).unread, 1);
    }
}
