//! How many new keys are let in: so that a flood of new flows costs the established ones nothing.
//!
//! A creation is the dear request: it runs the app's code, takes memory, and is the only one that anybody who can send
//! a packet through a switch can cause at will. So creations are metered, by the switch that asks and by a prefix of the
//! key, such as a client's network. Everything about keys that exist is never metered.

use std::collections::BTreeMap;
use std::ops::Range;

use ahash::RandomState;

use crate::time::Time;

/// Meters of prefixes. Prefixes whose hash falls together share one, so that a flood from many prefixes takes no
/// memory; the hash is keyed, so nobody can choose to share with another on purpose.
const PREFIX_METERS: usize = 4096;

/// How much may be let in at once after quiet, in microseconds' worth of the rate.
const BURST: u64 = 1_000_000;

/// How many new keys an app lets in, at each shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdmissionRates {
    /// New keys a second from one switch, and as many at once after a quiet second.
    pub per_switch: u32,
    /// The same for all keys with the same prefix.
    pub per_prefix: Option<PrefixRate>,
}

/// Admission by a part of the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrefixRate {
    /// New keys a second.
    pub rate: u32,
    /// Which bits of the key, counted from its first byte's highest.
    pub bits: Range<u16>,
}

/// Counts time: each admission uses up what it takes at the rate (the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    used_until: u64,
}

impl Meter {
    fn has_room(self, rate: u32, now: Time) -> bool {
        rate != 0 && self.used_until.saturating_sub(now.0) + cost(rate) <= BURST
    }

    fn use_up(&mut self, rate: u32, now: Time) {
        self.used_until = self.used_until.max(now.0) + cost(rate);
    }
}

/// Microseconds that one admission takes.
fn cost(rate: u32) -> u64 {
    BURST / u64::from(rate.max(1))
}

/// The meters of one app in one shard.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    rates: AdmissionRates,
    hasher: RandomState,
    /// At most one for each number that a switch can have.
    switches: BTreeMap<u16, Meter>,
    prefixes: Vec<Meter>,
}

impl Admission {
    pub(crate) fn new(rates: AdmissionRates, seeds: [u64; 4]) -> Self {
        let count = if rates.per_prefix.is_some() { PREFIX_METERS } else { 0 };
        Self {
            rates,
            hasher: RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]),
            switches: BTreeMap::new(),
            prefixes: vec![Meter::default(); count],
        }
    }

    /// Whether a new key of a switch may be made now; if so, it counts.
    pub(crate) fn admit(&mut self, switch: u16, key: &[u8], now: Time) -> bool {
        let of_switch = self.switches.entry(switch).or_default();
        if !of_switch.has_room(self.rates.per_switch, now) {
            return false;
        }
        if let Some(PrefixRate { rate, bits }) = &self.rates.per_prefix {
            let at = self.hasher.hash_one(prefix(key, bits)) % PREFIX_METERS as u64;
            let of_prefix = &mut self.prefixes[at as usize];
            if !of_prefix.has_room(*rate, now) {
                return false;
            }
            of_prefix.use_up(*rate, now);
        }
        of_switch.use_up(self.rates.per_switch, now);
        true
    }
}

/// At most 128 bits of the key: an IPv6 address, at the most.
fn prefix(key: &[u8], bits: &Range<u16>) -> u128 {
    let bit = |at: u16| key.get(usize::from(at / 8)).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    bits.clone().take(128).fold(0, |prefix, at| prefix << 1 | u128::from(bit(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(admission: &mut Admission, keys: impl Iterator<Item = (u16, [u8; 4])>, now: Time) -> usize {
        keys.filter(|(switch, key)| admission.admit(*switch, key, now)).count()
    }

    fn keys(switch: u16, network: u8) -> impl Iterator<Item = (u16, [u8; 4])> {
        (0..1000u16).map(move |host| (switch, [10, network, (host >> 8) as u8, host as u8]))
    }

    #[test]
    fn each_switch_has_its_rate_and_one_burst() {
        let rates = AdmissionRates { per_switch: 100, per_prefix: None };
        let mut admission = Admission::new(rates, [1; 4]);
        assert_eq!(admitted(&mut admission, keys(1, 0), Time(0)), 100);
        assert_eq!(admitted(&mut admission, keys(1, 0), Time(0)), 0);
        assert_eq!(admitted(&mut admission, keys(2, 0), Time(0)), 100, "another switch is not held back");
        assert_eq!(admitted(&mut admission, keys(1, 0), Time(100_000)), 10);
        assert_eq!(admitted(&mut admission, keys(1, 0), Time(9_000_000)), 100, "what was not used is lost");
    }

    #[test]
    fn a_flood_from_one_network_leaves_room_for_another() {
        let per_prefix = Some(PrefixRate { rate: 10, bits: 0..16 });
        let rates = AdmissionRates { per_switch: 100, per_prefix };
        let mut admission = Admission::new(rates, [1; 4]);
        assert_eq!(admitted(&mut admission, keys(1, 7), Time(0)), 10);
        assert_eq!(admitted(&mut admission, keys(1, 8), Time(0)), 10, "what was refused used up nothing");
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_in() {
        let mut admission = Admission::new(AdmissionRates { per_switch: 0, per_prefix: None }, [1; 4]);
        assert_eq!(admitted(&mut admission, keys(1, 0), Time(u64::from(u32::MAX))), 0);
    }

    #[test]
    fn a_prefix_is_those_bits() {
        assert_eq!(prefix(&[0b1010_0000, 0xff], &(0..3)), 0b101);
        assert_eq!(prefix(&[0, 0xab, 0xcd], &(8..24)), 0xabcd);
        assert_eq!(prefix(&[1], &(0..16)), 0x100, "beyond the key there are zeros");
    }
}
