//! What a link does to frames.

use std::time::Duration;

use redplane_protocol::Time;

use super::Random;

/// Most bytes that wait at a sender by default: what a shallow switch buffer has for one port.
const QUEUE_BYTES: usize = 256 * 1024;

/// A link, the same in both directions. By default it is perfect and takes a microsecond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// How long a frame is under way after its last bit was sent.
    pub delay: Duration,
    /// Bits a second; `None`: no frame ever waits.
    pub bandwidth: Option<u64>,
    /// Most bytes that wait to be sent, with a bandwidth; a frame beyond it is lost.
    pub queue_bytes_max: usize,
    /// How often a frame is lost, from 0 to 1.
    pub loss_probability: f64,
    /// How often a frame arrives twice.
    pub duplicate_probability: f64,
    /// How often a frame arrives up to [`Link::jitter`] late, so that later ones pass it.
    pub reorder_probability: f64,
    /// Most that a reordered frame is late.
    pub jitter: Duration,
    /// How often one bit of a frame is flipped.
    pub corrupt_probability: f64,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            delay: Duration::from_micros(1),
            bandwidth: None,
            queue_bytes_max: QUEUE_BYTES,
            loss_probability: 0.0,
            duplicate_probability: 0.0,
            reorder_probability: 0.0,
            jitter: Duration::ZERO,
            corrupt_probability: 0.0,
        }
    }
}

impl Link {
    /// A perfect link that takes this long.
    pub fn with_delay(delay: Duration) -> Self {
        Link { delay, ..Link::default() }
    }

    pub(super) fn delay_of(&self, random: &mut Random) -> Duration {
        if !random.chance(self.reorder_probability) {
            return self.delay;
        }
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        self.delay + Duration::from_micros(random.below(jitter.saturating_add(1)))
    }

    pub(super) fn corrupt(&self, frame: &mut [u8], random: &mut Random) {
        if random.chance(self.corrupt_probability) && !frame.is_empty() {
            let bit = random.below(frame.len() as u64 * 8);
            frame[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
    }
}

/// One direction of a link: when the sender has sent all that waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Direction {
    /// In nanoseconds: a small frame takes less than a microsecond.
    busy_until: u64,
}

impl Direction {
    /// When a frame that is sent now is wholly on the link; `None` if it finds the queue full.
    pub(super) fn transmit(&mut self, link: &Link, len: usize, now: Time) -> Option<Time> {
        let Some(bandwidth) = link.bandwidth else { return Some(now) };
        let nanoseconds = |bytes: usize| {
            let bits = bytes as u128 * 8;
            u64::try_from(bits * 1_000_000_000 / u128::from(bandwidth.max(1))).unwrap_or(u64::MAX)
        };
        let now = now.0.saturating_mul(1000);
        let start = self.busy_until.max(now);
        if start - now > nanoseconds(link.queue_bytes_max.saturating_sub(len)) {
            return None;
        }
        self.busy_until = start.saturating_add(nanoseconds(len));
        Some(Time(self.busy_until.div_ceil(1000)))
    }
}
