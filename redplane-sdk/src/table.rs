//! Operator tables: what a handler looks up and only the operator fills.

mod columns;
mod rows;
mod ternary;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

pub use columns::{Columns, TableKey};
#[doc(hidden)]
pub use columns::{from_word, to_word};
pub use ternary::Ternary;

use crate::field::TableValue;

/// A key that has prefixes: an address.
pub trait PrefixKey: Copy + FromStr + fmt::Display + Debug {
    /// Width in bits.
    const BITS: u8;
    /// The key as one number.
    type Bits: Copy + Ord + Debug + Default + Into<u128> + TryFrom<u128>;
    /// The key as a number.
    fn to_bits(self) -> Self::Bits;
}

impl PrefixKey for Ipv4Addr {
    const BITS: u8 = 32;
    type Bits = u32;

    #[inline]
    fn to_bits(self) -> u32 {
        u32::from(self)
    }
}

impl PrefixKey for Ipv6Addr {
    const BITS: u8 = 128;
    type Bits = u128;

    #[inline]
    fn to_bits(self) -> u128 {
        u128::from(self)
    }
}

/// A table refuses an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The table is full.
    #[error("the table holds at most {size} entries")]
    Full {
        /// Its size.
        size: usize,
    },
    /// The prefix is longer than the key.
    #[error("a prefix of {key} has at most {most} bits, not {found}")]
    PrefixLength {
        /// The key.
        key: String,
        /// Bits of the key.
        most: u8,
        /// Bits asked for.
        found: u8,
    },
    /// Bits are set after the prefix.
    #[error("{key}/{length} has bits set after its prefix")]
    HostBits {
        /// The key.
        key: String,
        /// Bits of the prefix.
        length: u8,
    },
    /// The text is not a key.
    #[error("`{found}` is not a key of this table")]
    Key {
        /// The text.
        found: String,
    },
    /// The table has no such column.
    #[error("there is no column `{found}`; the columns are: {known}")]
    Column {
        /// The name.
        found: String,
        /// The names that there are.
        known: String,
    },
    /// A row leaves a column out that it must have.
    #[error("a row without `{column}`")]
    Missing {
        /// The column.
        column: String,
    },
}

/// A table of which the longest matching prefix counts. `SIZE` is the most entries; `#[table(size = ..)]` sets it.
///
/// A lookup is one binary search over the ranges that the prefixes cut the key space into.
#[derive(Clone, Debug)]
pub struct Lpm<K: PrefixKey, V, const SIZE: usize = 1024> {
    entries: BTreeMap<(u128, u8), V>,
    /// Where each range starts, in order from zero, and its value.
    ranges: Vec<(K::Bits, V)>,
}

impl<K: PrefixKey, V, const SIZE: usize> Default for Lpm<K, V, SIZE> {
    fn default() -> Self {
        Lpm { entries: BTreeMap::new(), ranges: Vec::new() }
    }
}

impl<K: PrefixKey, V: TableValue, const SIZE: usize> Lpm<K, V, SIZE> {
    /// The value of the longest prefix of `key`; zero if there is none.
    #[inline]
    pub fn lookup(&self, key: K) -> V {
        let bits = key.to_bits();
        let after = self.ranges.partition_point(|(start, _)| *start <= bits);
        match after.checked_sub(1).and_then(|range| self.ranges.get(range)) {
            Some((_, value)) => *value,
            None => V::miss(),
        }
    }

    /// Adds the prefix of this length, or changes its value. Costs a pass over the table.
    ///
    /// # Errors
    /// [`TableError`] if the table is full, or this is not a prefix: it is too long, or bits are set after it.
    pub fn insert(&mut self, key: K, length: u8, value: V) -> Result<(), TableError> {
        if length > K::BITS {
            return Err(TableError::PrefixLength { key: key.to_string(), most: K::BITS, found: length });
        }
        let bits = key.to_bits().into();
        if bits & host_mask(K::BITS, length) != 0 {
            return Err(TableError::HostBits { key: key.to_string(), length });
        }
        if self.entries.len() >= SIZE && !self.entries.contains_key(&(bits, length)) {
            return Err(TableError::Full { size: SIZE });
        }
        self.entries.insert((bits, length), value);
        self.ranges = self.flatten();
        Ok(())
    }

    /// Removes the prefix and returns its value, if there is one. Costs a pass over the table.
    pub fn remove(&mut self, key: K, length: u8) -> Option<V> {
        let value = self.entries.remove(&(key.to_bits().into(), length))?;
        self.ranges = self.flatten();
        Some(value)
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries are in order of start, the shorter prefix first: a walk with a stack of those still open.
    fn flatten(&self) -> Vec<(K::Bits, V)> {
        let mut ranges = vec![(0u128, V::miss())];
        let mut open: Vec<(u128, V)> = Vec::new();
        for ((at, length), value) in &self.entries {
            close(&mut ranges, &mut open, |last| last < *at);
            start(&mut ranges, *at, *value);
            open.push((at | host_mask(K::BITS, *length), *value));
        }
        close(&mut ranges, &mut open, |_| true);
        // What would start after the last key of all is no key.
        ranges.into_iter().filter_map(|(start, value)| Some((start.try_into().ok()?, value))).collect()
    }
}

/// Starts a range, in place of one that starts there too.
fn start<V>(ranges: &mut Vec<(u128, V)>, at: u128, value: V) {
    match ranges.last_mut() {
        Some(last) if last.0 == at => last.1 = value,
        _ => ranges.push((at, value)),
    }
}

/// Closes the innermost open prefixes while `ends` says so of their last key; what is around goes on after each.
fn close<V: TableValue>(ranges: &mut Vec<(u128, V)>, open: &mut Vec<(u128, V)>, ends: impl Fn(u128) -> bool) {
    while let Some((last, _)) = open.pop_if(|(last, _)| ends(*last)) {
        let around = open.last().map_or_else(V::miss, |(_, value)| *value);
        if let Some(next) = last.checked_add(1) {
            start(ranges, next, around);
        }
    }
}

/// The bits after a prefix of this length.
fn host_mask(bits: u8, length: u8) -> u128 {
    match bits - length {
        128 => u128::MAX,
        host => (1 << host) - 1,
    }
}

/// A table of which the whole key must match. `SIZE` is the most entries; `#[table(size = ..)]` sets it.
#[derive(Clone, Debug)]
pub struct Exact<K, V, const SIZE: usize = 1024> {
    entries: BTreeMap<K, V>,
}

impl<K, V, const SIZE: usize> Default for Exact<K, V, SIZE> {
    fn default() -> Self {
        Exact { entries: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V: TableValue, const SIZE: usize> Exact<K, V, SIZE> {
    /// The value of `key`; zero if there is none.
    #[inline]
    pub fn lookup(&self, key: K) -> V {
        self.entries.get(&key).copied().unwrap_or_else(V::miss)
    }

    /// Adds a key, or changes its value.
    ///
    /// # Errors
    /// [`TableError::Full`].
    pub fn insert(&mut self, key: K, value: V) -> Result<(), TableError> {
        if self.entries.len() >= SIZE && !self.entries.contains_key(&key) {
            return Err(TableError::Full { size: SIZE });
        }
        self.entries.insert(key, value);
        Ok(())
    }

    /// Removes a key and returns its value, if there is one.
    pub fn remove(&mut self, key: K) -> Option<V> {
        self.entries.remove(&key)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use arbitrary_int::u4;

    use super::*;

    const A: fn(u8, u8, u8, u8) -> Ipv4Addr = Ipv4Addr::new;

    #[test]
    fn the_longest_prefix_counts() {
        let table: Lpm<Ipv4Addr, u16> = serde_json::from_str(
            r#"{"0.0.0.0/0": 1, "10.0.0.0/8": 2, "10.255.0.0/16": 3, "10.255.255.255": 4, "255.0.0.0/8": 5}"#,
        )
        .expect("entries");
        for (addr, value) in [
            (A(0, 0, 0, 0), 1),
            (A(9, 255, 255, 255), 1),
            (A(10, 0, 0, 0), 2),
            (A(10, 254, 255, 255), 2),
            (A(10, 255, 0, 0), 3),
            (A(10, 255, 255, 254), 3),
            (A(10, 255, 255, 255), 4),
            (A(11, 0, 0, 0), 1),
            (A(255, 255, 255, 255), 5),
        ] {
            assert_eq!(table.lookup(addr), value, "{addr}");
        }
    }

    #[test]
    fn a_miss_is_zero_and_removal_uncovers() {
        let mut table = Lpm::<Ipv4Addr, u8, 2>::default();
        assert_eq!(table.lookup(A(10, 0, 0, 1)), 0);
        table.insert(A(10, 0, 0, 0), 8, 1).expect("room");
        table.insert(A(10, 0, 0, 0), 24, 2).expect("room");
        assert_eq!(table.insert(A(11, 0, 0, 0), 8, 3), Err(TableError::Full { size: 2 }));
        assert_eq!(table.insert(A(10, 0, 0, 0), 24, 4), Ok(()), "a change needs no room");
        assert_eq!(table.lookup(A(10, 0, 0, 9)), 4);
        assert_eq!(table.remove(A(10, 0, 0, 0), 24), Some(4));
        assert_eq!((table.lookup(A(10, 0, 0, 9)), table.lookup(A(11, 0, 0, 0))), (1, 0));
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        let mut table = Lpm::<Ipv4Addr, bool>::default();
        assert!(matches!(table.insert(A(10, 0, 0, 1), 8, true), Err(TableError::HostBits { .. })));
        assert!(matches!(table.insert(A(10, 0, 0, 0), 33, true), Err(TableError::PrefixLength { .. })));
        for bad in [r#"{"10.0.0/8": true}"#, r#"{"10.0.0.0/x": true}"#, r#"{"10.0.0.0/40": true}"#] {
            assert!(serde_json::from_str::<Lpm<Ipv4Addr, bool>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv6_goes_to_the_last_address() {
        let mut table = Lpm::<Ipv6Addr, u8>::default();
        table.insert(Ipv6Addr::UNSPECIFIED, 0, 1).expect("room");
        table.insert(Ipv6Addr::from(u128::MAX), 128, 2).expect("room");
        assert_eq!(table.lookup(Ipv6Addr::from(u128::MAX)), 2);
        assert_eq!(table.lookup(Ipv6Addr::from(u128::MAX - 1)), 1);
    }

    #[test]
    fn exact_is_bounded_and_reads_text() {
        let mut table: Exact<u4, u16, 2> = serde_json::from_str(r#"{"3": 30, "15": 150}"#).expect("entries");
        assert_eq!((table.lookup(u4::new(3)), table.lookup(u4::new(4))), (30, 0));
        assert_eq!(table.insert(u4::new(4), 40), Err(TableError::Full { size: 2 }));
        assert_eq!(table.remove(u4::new(3)), Some(30));
        assert!(serde_json::from_str::<Exact<u4, u16>>(r#"{"16": 1}"#).is_err(), "too wide");
    }
}
