//! The Internet checksum (RFC 1071), computed afresh or from what changed (RFC 1624).

/// The checksum of `bytes`: the complement of the one's complement sum of their 16-bit words (RFC 1071). An odd
/// last byte counts as the high half of a word.
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The one's complement sum of `bytes`, not yet folded, to add to others.
///
/// Two words at a time: their carry comes back when the sum is folded (RFC 1071, section 2C). 64 bits hold the sum of
/// more bytes than there are.
#[inline(always)]
pub fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<4>();
    let pairs: u64 = pairs.iter().map(|pair| u64::from(u32::from_be_bytes(*pair))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    pairs + u64::from(u32::from_be_bytes(last))
}

/// Folds the carries of a sum back into 16 bits.
#[inline]
pub fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// How the one's complement sum of some words changed; nothing did, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u64);

impl Delta {
    /// The change from `old` to `new`, which are as many whole words each.
    #[inline(always)]
    pub fn between<const N: usize>(old: &[u8; N], new: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(2), "whole words") };
        if old == new {
            return Delta(0);
        }
        // The complement of each word, summed, is all ones less the sum of the words.
        let ones = N as u64 / 4 * 0xffff_ffff + N as u64 % 4 / 2 * 0xffff_0000;
        Delta(ones - sum(old) + sum(new))
    }

    /// The change of one word.
    #[inline(always)]
    pub fn word(old: u16, new: u16) -> Self {
        if old == new { Delta(0) } else { Delta(u64::from(!old) + u64::from(new)) }
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub fn and(self, other: Delta) -> Delta {
        Delta(self.0 + other.0)
    }

    /// Whether nothing changed.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The checksum after the change, from the one before it: RFC 1624, equation 3. A wrong checksum stays wrong by as
    /// much as it was. A change that sums to zero, as when two words change places, leaves it as it is, be it either of
    /// the two zeros. Of words that become all zero, which no header is but an echo reply could be, the equation gives 0
    /// where a full sum gives 0xffff.
    #[inline]
    pub fn update(self, checksum: u16) -> u16 {
        match fold(self.0) {
            0 | 0xffff => checksum,
            change => !fold(u64::from(!checksum) + u64::from(change)),
        }
    }

    /// The UDP checksum after the change: none (zero) stays none, and a zero result is sent as all ones (RFC 768).
    #[inline]
    pub fn update_udp(self, checksum: u16) -> u16 {
        match checksum {
            0 => 0,
            _ => match self.update(checksum) {
                0 => 0xffff,
                updated => updated,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1071_example() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5])), 0xe6fa);
        assert_eq!(checksum(&[0xff]), !0xff00, "an odd byte is a high half");
    }

    #[test]
    fn rfc_1624_example() {
        // Section 4: the header whose checksum equation 2 gets wrong.
        assert_eq!(Delta::word(0x5555, 0x3285).update(0xdd2f), 0x0000);
    }

    #[test]
    fn words_that_change_places_change_nothing() {
        let swap = Delta::word(0x1234, 0xabcd).and(Delta::word(0xabcd, 0x1234));
        for checksum in [0, 1, 0xdd2f, 0xffff] {
            assert_eq!(swap.update(checksum), checksum);
            assert_eq!(swap.update_udp(checksum), checksum);
        }
    }

    #[test]
    fn udp_has_two_zeros() {
        assert_eq!(Delta::word(1, 2).update_udp(0), 0, "no checksum stays none");
        assert_eq!(Delta::word(0x5555, 0x3285).update_udp(0xdd2f), 0xffff);
    }
}
