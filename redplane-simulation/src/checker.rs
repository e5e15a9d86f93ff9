//! Whether a counter's history is linearizable, exactly and in time n log n.
//!
//! In general that question is a search (Wing and Gong 1993, Lowe 2017; `search` does it). A counter makes it easy: a
//! packet that shows 7 did the seventh step, so the order of the steps that were seen is known. What is left is when
//! each of them happened, and which packets that were never seen again did the others. Both are settled by taking the
//! earliest moment and the earliest packet that will do: whatever works at all works then too.
//!
//! Shares no code with the switch and the store, nor anything they believe: only what went in and what came out.

use std::collections::BTreeMap;

use crate::frame::PacketId;
use crate::history::{History, Micros, Shown};

/// Most quiet times in one history within which the record may have been deleted: all combinations are tried.
const QUIET_TIMES_MAX: usize = 12;

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it showed.
    pub at: Micros,
    /// The packet that showed it, if one did.
    pub packet: Option<PacketId>,
    /// What is wrong, in words.
    pub text: String,
}

/// A time in which nothing left for so long that the store may have deleted the record.
#[derive(Clone, Copy, Debug)]
struct QuietTime {
    /// The first packet out after it.
    next: usize,
    /// From when on it may have been deleted.
    from: Micros,
    /// Until when.
    until: Micros,
    /// It was: the next count is lower.
    certain: bool,
}

/// Checks a history. `idle` is how long nothing must leave before the record may be deleted.
///
/// # Errors
/// The violation, of the explanation that goes furthest.
pub fn check(history: &History, idle: Micros) -> Result<(), Violation> {
    let mut history = history.clone();
    history.shown.sort_by_key(|shown| shown.at);
    let quiet: Vec<QuietTime> = (1..history.shown.len())
        .filter_map(|next| {
            let (last, first) = (&history.shown[next - 1], &history.shown[next]);
            let (from, until) = (last.at + idle, first.at);
            let certain = first.value < last.value;
            (from < until).then_some(QuietTime { next, from, until, certain })
        })
        .take(QUIET_TIMES_MAX)
        .collect();
    let mut furthest: Option<Violation> = None;
    let certain = quiet.iter().enumerate().fold(0, |all, (at, time)| all | u32::from(time.certain) << at);
    for choice in (0..1u32 << quiet.len()).filter(|choice| choice & certain == certain) {
        let deletions: Vec<QuietTime> =
            quiet.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1).map(|(_, time)| *time).collect();
        match Schedule::new(&history).run(&deletions) {
            Ok(()) => return Ok(()),
            Err(violation) if furthest.as_ref().is_none_or(|other| other.at < violation.at) => {
                furthest = Some(violation);
            }
            Err(_) => {}
        }
    }
    furthest.map_or(Ok(()), Err)
}

/// What read one value: the moments within which all of it saw it.
#[derive(Clone, Copy, Debug)]
struct Reads {
    /// When the last of them came in, and which that is.
    entered: (Micros, PacketId),
    /// The first that left.
    left: Micros,
    packet: PacketId,
}

/// The life of a record between its creation and its deletion.
#[derive(Default)]
struct Life {
    writes: BTreeMap<u32, Shown>,
    /// By value; that there is no record comes first.
    reads: BTreeMap<Option<u32>, Reads>,
}

/// Goes through a history step by step, each at the earliest moment.
struct Schedule<'a> {
    history: &'a History,
    now: Micros,
    /// When the first packet came that makes the record.
    creatable: Option<(Micros, PacketId)>,
    /// When packets came that count and were not seen again, latest first.
    unseen: Vec<(Micros, PacketId)>,
    /// The packet whose coming made it so late.
    because: Option<PacketId>,
}

impl<'a> Schedule<'a> {
    fn new(history: &'a History) -> Self {
        let creators = history.entered.iter().filter(|(_, entered)| entered.intent.creates);
        let creatable = creators.map(|(packet, entered)| (entered.at, *packet)).min();
        Schedule { history, now: 0, creatable, unseen: Vec::new(), because: None }
    }

    fn run(mut self, deletions: &[QuietTime]) -> Result<(), Violation> {
        let mut lives = Vec::new();
        let mut start = 0;
        for end in deletions.iter().map(|quiet| quiet.next).chain([self.history.shown.len()]) {
            lives.push(self.life(&self.history.shown[start..end])?);
            start = end;
        }
        self.unseen = self.unseen(&lives)?;
        for (at, life) in lives.iter().enumerate() {
            if let Some(quiet) = at.checked_sub(1).map(|before| deletions[before]) {
                if self.now < quiet.from {
                    (self.now, self.because) = (quiet.from, None);
                }
                if self.now > quiet.until {
                    let text = "the record was not idle for long enough to be deleted".to_owned();
                    return Err(Violation { at: quiet.until, packet: None, text });
                }
            }
            self.live(life)?;
        }
        Ok(())
    }

    fn life(&self, shown: &[Shown]) -> Result<Life, Violation> {
        let mut life = Life::default();
        for one in shown {
            let Some(entered) = self.history.entered.get(&one.packet) else {
                return Err(violation(one, format!("{} left and never came in", one.packet)));
            };
            if let (true, Some(value)) = (one.wrote, one.value) {
                let first = life.writes.entry(value).or_insert(*one);
                if first.packet != one.packet {
                    let text = format!("{} and {} both counted to {value}", first.packet, one.packet);
                    return Err(violation(one, text));
                }
                continue;
            }
            let new = Reads { entered: (entered.at, one.packet), left: one.at, packet: one.packet };
            let reads = life.reads.entry(one.value).or_insert(new);
            reads.entered = reads.entered.max(new.entered);
            if new.left < reads.left {
                (reads.left, reads.packet) = (new.left, new.packet);
            }
        }
        Ok(life)
    }

    /// Every copy of a packet counts once at most. What was seen is used up.
    fn unseen(&self, lives: &[Life]) -> Result<Vec<(Micros, PacketId)>, Violation> {
        let mut seen: BTreeMap<PacketId, u32> = BTreeMap::new();
        for write in lives.iter().flat_map(|life| life.writes.values()) {
            let count = seen.entry(write.packet).or_default();
            *count += 1;
            let copies = self.history.entered[&write.packet].copies;
            if *count > copies {
                let text = format!("{} counted {count} times, but came {copies} times", write.packet);
                return Err(violation(write, text));
            }
        }
        let writers = self.history.entered.iter().filter(|(_, entered)| entered.intent.writes);
        let mut unseen: Vec<_> = writers
            .flat_map(|(packet, entered)| {
                let left = entered.copies - seen.get(packet).copied().unwrap_or(0);
                (0..left).map(|_| (entered.at, *packet))
            })
            .collect();
        unseen.sort_unstable_by(|a, b| b.cmp(a));
        Ok(unseen)
    }

    fn live(&mut self, life: &Life) -> Result<(), Violation> {
        self.pass(life.reads.get(&None))?;
        let values = life.writes.keys().copied().chain(life.reads.keys().copied().flatten());
        let Some(last) = values.max() else { return Ok(()) };
        let Some(creatable) = self.creatable else { return Err(self.nobody(0)) };
        self.wait_for(creatable);
        self.pass(life.reads.get(&Some(0)))?;
        for value in 1..=last {
            let entered = match life.writes.get(&value) {
                Some(write) => (self.history.entered[&write.packet].at, write.packet),
                None => self.unseen.pop().ok_or_else(|| self.nobody(value))?,
            };
            self.wait_for(entered);
            if let Some(write) = life.writes.get(&value).filter(|write| write.at < self.now) {
                return Err(violation(
                    write,
                    format!("{} counted to {value} too early: {}", write.packet, self.seen()),
                ));
            }
            self.pass(life.reads.get(&Some(value)))?;
        }
        Ok(())
    }

    /// All that read the present value: none left before it was there, and it stays until the last has come.
    fn pass(&mut self, reads: Option<&Reads>) -> Result<(), Violation> {
        let Some(reads) = reads else { return Ok(()) };
        if reads.left < self.now {
            let text = format!("{} showed what was not there yet: {}", reads.packet, self.seen());
            return Err(Violation { at: reads.left, packet: Some(reads.packet), text });
        }
        self.wait_for(reads.entered);
        Ok(())
    }

    /// What comes next happens after this packet came.
    fn wait_for(&mut self, (at, packet): (Micros, PacketId)) {
        if self.now < at {
            (self.now, self.because) = (at, Some(packet));
        }
    }

    fn seen(&self) -> String {
        match self.because {
            Some(packet) => format!("{packet} goes before, and came only at {} µs", self.now),
            None => format!("the record was deleted before, and not until {} µs", self.now),
        }
    }

    fn nobody(&self, value: u32) -> Violation {
        let text = format!("no packet is left that could have counted to {value}");
        Violation { at: self.now, packet: None, text }
    }
}

fn violation(shown: &Shown, text: String) -> Violation {
    Violation { at: shown.at, packet: Some(shown.packet), text }
}
