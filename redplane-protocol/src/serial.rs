//! Numbers that wrap: generations, sequences, tickets (RFC 1982).

use std::fmt;

use crate::mutant::{self, Mutant};

/// A 32-bit serial number. Comparison looks at the shorter way around the circle (RFC 1982, section 3.2), so a
/// counter that wraps goes on; the prototype compared with plain `<` and froze a flow's state at the wrap.
///
/// There is no `Ord`: the relation is not transitive over the whole circle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Serial(pub u32);

impl Serial {
    /// Where counters begin, and in a generation: "none".
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number after this one, leaving out zero. For generations, where zero means "no lease".
    #[inline]
    #[must_use]
    pub const fn next_nonzero(self) -> Self {
        match self.0.wrapping_add(1) {
            0 => Self(1),
            next => Self(next),
        }
    }

    /// Whether this number comes strictly after `other`. Of two numbers exactly half a circle apart neither does.
    #[inline]
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        if mutant::is(Mutant::CompareWithoutWrap) {
            return self.0 > other.0;
        }
        let distance = self.0.wrapping_sub(other.0);
        distance != 0 && distance < 1 << 31
    }

    /// Whether this number is `other` or comes after it.
    #[inline]
    #[must_use]
    pub fn is_at_least(self, other: Self) -> bool {
        self.0 == other.0 || self.is_after(other)
    }

    /// The later of two numbers.
    #[inline]
    #[must_use]
    pub fn latest(self, other: Self) -> Self {
        if other.is_after(self) { other } else { self }
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// What orders the versions of one record: first the generation (one per grant), then the sequence (one per write).
///
/// A store node keeps the later version of a record, which makes applying idempotent and free of order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Version {
    /// Which grant.
    pub generation: Serial,
    /// Which write.
    pub sequence: Serial,
}

impl Version {
    /// Whether this version comes strictly after `other`.
    #[inline]
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        if self.generation.0 == other.generation.0 {
            self.sequence.is_after(other.sequence)
        } else {
            self.generation.is_after(other.generation)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_goes_the_shorter_way_round() {
        assert!(Serial(1).is_after(Serial(0)));
        assert!(!Serial(0).is_after(Serial(0)));
        assert!(Serial(0).is_after(Serial(u32::MAX)), "after the wrap");
        assert!(!Serial(u32::MAX).is_after(Serial(0)));
        assert!(Serial(5).is_at_least(Serial(5)));
        assert!(!Serial(1 << 31).is_after(Serial(0)) && !Serial(0).is_after(Serial(1 << 31)));
        assert_eq!(Serial(u32::MAX).latest(Serial(2)), Serial(2));
        assert_eq!(Serial(u32::MAX).next(), Serial(0));
        assert_eq!(Serial(u32::MAX).next_nonzero(), Serial(1));
    }

    #[test]
    fn a_later_generation_beats_any_sequence() {
        let version =
            |generation, sequence| Version { generation: Serial(generation), sequence: Serial(sequence) };
        assert!(version(2, 0).is_after(version(1, 9)));
        assert!(version(2, 1).is_after(version(2, 0)));
        assert!(!version(2, 1).is_after(version(2, 1)));
        assert!(version(0, 0).is_after(version(u32::MAX, 7)));
    }
}
