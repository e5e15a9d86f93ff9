//! Tables of values and masks.

use super::TableError;
use super::columns::{self, Columns};
use crate::field::TableValue;

/// A table of which the first matching row counts: a row says of each column which bits it must have. `SIZE` is the
/// most rows; `#[table(size = ..)]` sets it.
///
/// A lookup goes from row to row. A switch has the rows in TCAM, and looks at all of them at once.
#[derive(Clone, Debug)]
pub struct Ternary<K: Columns, V, const SIZE: usize = 1024> {
    rows: Vec<Row<K::Words, V>>,
}

#[derive(Clone, Copy, Debug)]
struct Row<W, V> {
    values: W,
    masks: W,
    value: V,
}

impl<K: Columns, V, const SIZE: usize> Default for Ternary<K, V, SIZE> {
    fn default() -> Self {
        Ternary { rows: Vec::new() }
    }
}

impl<K: Columns, V: TableValue, const SIZE: usize> Ternary<K, V, SIZE> {
    /// The value of the first row that matches `key`; zero if there is none.
    #[inline]
    pub fn lookup(&self, key: K) -> V {
        let words = key.words();
        let matches = |row: &&Row<K::Words, V>| {
            let masked = words.as_ref().iter().zip(row.masks.as_ref()).map(|(word, mask)| word & mask);
            masked.eq(row.values.as_ref().iter().copied())
        };
        self.rows.iter().find(matches).map_or_else(V::miss, |row| row.value)
    }

    /// Adds a row behind the others. `patterns` says by column what must match, as an operator writes it: `80`,
    /// `10.0.0.0/8`, `0x50/0xf0`. A column that is not named matches anything.
    ///
    /// # Errors
    /// [`TableError`] if the table is full, there is no such column, or a pattern is none.
    pub fn add(&mut self, patterns: &[(&str, &str)], value: V) -> Result<(), TableError> {
        if self.rows.len() >= SIZE {
            return Err(TableError::Full { size: SIZE });
        }
        let mut row = Row { values: K::ZERO, masks: K::ZERO, value };
        for (name, text) in patterns {
            let column = columns::position::<K>(name)?;
            let (value, mask) = columns::pattern::<K>(column, text)?;
            row.values.as_mut()[column] = value;
            row.masks.as_mut()[column] = mask;
        }
        self.rows.push(row);
        Ok(())
    }

    /// Removes all rows.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    struct Service {
        addr: Ipv4Addr,
        port: u16,
    }
    crate::impl_columns!(Service { addr: Ipv4Addr, port: u16 });

    #[test]
    fn the_first_row_counts() {
        let mut table: Ternary<Service, u8, 3> = Ternary::default();
        table.add(&[("addr", "10.0.0.0/8"), ("port", "80")], 1).expect("a row");
        table.add(&[("port", "0x50/0xfff0")], 2).expect("a row");
        table.add(&[], 3).expect("a row");
        assert_eq!(table.add(&[], 4), Err(TableError::Full { size: 3 }));
        let look = |addr: [u8; 4], port| table.lookup(Service { addr: addr.into(), port });
        assert_eq!([look([10, 1, 2, 3], 80), look([11, 1, 2, 3], 80), look([10, 1, 2, 3], 0x5f)], [1, 2, 2]);
        assert_eq!(look([10, 1, 2, 3], 96), 3);
        assert_eq!(Ternary::<Service, u8>::default().lookup(Service { addr: [0; 4].into(), port: 0 }), 0);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let mut table: Ternary<Service, u8> = Ternary::default();
        for (column, text) in [
            ("addr", "10.0.0.1/8"),
            ("addr", "10.0.0.0/33"),
            ("addr", "80"),
            ("port", "65536"),
            ("port", "0x50/0x1ffff"),
            ("port", "0x51/0xfff0"),
            ("port", ""),
        ] {
            assert!(
                matches!(table.add(&[(column, text)], 1), Err(TableError::Key { .. })),
                "{column} {text}"
            );
        }
        assert!(matches!(table.add(&[("ports", "80")], 1), Err(TableError::Column { .. })));
        assert!(table.is_empty());
    }
}
