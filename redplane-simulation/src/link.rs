//! What a link does to one frame.

use redplane_sdk::net::Random;

use crate::history::Micros;

/// Longest that a straggler is late. With the longest pause it is still far less than a record's idle time.
pub const STRAGGLER_MAX: Micros = 300_000;

/// A link, in one direction. All probabilities are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// How long a frame is under way at least.
    pub delay: Micros,
    /// By how much that varies: frames pass each other.
    pub jitter: Micros,
    /// How often a frame is lost.
    pub loss_probability: f64,
    /// How often a frame comes twice.
    pub duplicate_probability: f64,
    /// How often a frame is late by up to [`STRAGGLER_MAX`].
    pub straggler_probability: f64,
    /// How often bits are flipped. The receiver's frame check sequence sees it and drops the frame (IEEE 802.3).
    pub corrupt_probability: f64,
    /// How often a frame is cut short, and delivered all the same: by a device that counted wrong.
    pub truncate_probability: f64,
    /// How often a bit is flipped and nothing sees it.
    pub flip_probability: f64,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives after this time.
    Arrives(Micros),
    /// It is lost.
    Lost,
    /// It arrives broken, and is dropped.
    Corrupt,
}

impl Link {
    /// The same link without faults, when they stop.
    #[must_use]
    pub fn healthy(&self) -> Link {
        Link { delay: self.delay, jitter: self.jitter.min(self.delay), ..Link::default() }
    }

    /// A link of about this delay, with each fault or without.
    pub(crate) fn draw(random: &mut Random, delay: Micros, flips: bool) -> Link {
        let rare = |random: &mut Random, most: f64| {
            if random.chance(0.5) { most * random.below(1000) as f64 / 1000.0 } else { 0.0 }
        };
        Link {
            delay: delay + random.below(delay * 4),
            jitter: [0, delay, 20 * delay, 2000][random.below(4) as usize],
            loss_probability: rare(random, 0.2),
            duplicate_probability: rare(random, 0.1),
            straggler_probability: rare(random, 0.03),
            corrupt_probability: rare(random, 0.05),
            truncate_probability: rare(random, 0.02),
            flip_probability: if flips { 0.02 } else { 0.0 },
        }
    }

    /// Whether the frame is repeated.
    pub(crate) fn repeats(&self, random: &mut Random) -> bool {
        random.chance(self.duplicate_probability)
    }

    /// What becomes of a frame; it may be changed.
    pub(crate) fn carry(&self, frame: &mut Vec<u8>, random: &mut Random) -> Fate {
        if random.chance(self.loss_probability) {
            return Fate::Lost;
        }
        if random.chance(self.corrupt_probability) {
            return Fate::Corrupt;
        }
        if random.chance(self.truncate_probability) {
            frame.truncate(random.below(frame.len() as u64) as usize);
        }
        if random.chance(self.flip_probability) && !frame.is_empty() {
            let bit = random.below(frame.len() as u64 * 8) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let late = if random.chance(self.straggler_probability) { STRAGGLER_MAX } else { self.jitter };
        let late = if late == 0 { 0 } else { random.below(late) };
        Fate::Arrives(self.delay + late)
    }
}
