//! Tables as an operator's file has them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::columns::{self, Columns};
use super::{Exact, Lpm, PrefixKey, TableError, Ternary};
use crate::field::TableValue;

/// Entries as an operator writes them: `"10.0.0.0/8" = true`, one a line. A key without a length is a whole address.
impl<'de, K: PrefixKey, V: TableValue + Deserialize<'de>, const SIZE: usize> Deserialize<'de>
    for Lpm<K, V, SIZE>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Lpm::default();
        let insert = |cells: &[(String, String)], value| {
            let text = cells.first().map_or("", |(_, text)| text);
            let error = || TableError::Key { found: text.to_owned() };
            let (key, length) = match text.split_once('/') {
                Some((key, length)) => (key, length.parse().map_err(|_| error())?),
                None => (text, K::BITS),
            };
            table.insert(key.parse().map_err(|_| error())?, length, value)
        };
        deserializer.deserialize_map(Entries { names: &["key"], insert, value: PhantomData })?;
        Ok(table)
    }
}

/// Entries as an operator writes them: of one word `"443" = 2`, one a line; of several `{ addr = "10.0.0.1", port = 80,
/// value = 2 }`, one a row.
impl<'de, K: Columns, V: TableValue + Deserialize<'de>, const SIZE: usize> Deserialize<'de>
    for Exact<K, V, SIZE>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Exact::default();
        let insert = |cells: &[(String, String)], value| {
            let mut words = K::ZERO;
            for (column, name) in K::NAMES.iter().enumerate() {
                let missing = || TableError::Missing { column: (*name).to_owned() };
                let (_, text) = cells.iter().find(|(cell, _)| cell == name).ok_or_else(missing)?;
                let word = K::read(column, text).ok_or_else(|| TableError::Key { found: text.clone() })?;
                words.as_mut()[column] = word;
            }
            for (name, _) in cells {
                columns::position::<K>(name)?;
            }
            table.insert(K::from_words(&words), value)
        };
        deserializer.deserialize_any(Entries { names: K::NAMES, insert, value: PhantomData })?;
        Ok(table)
    }
}

/// Rows as an operator writes them, the first matching one counts: `{ inside = "10.0.0.0/8", port = "0x50/0xf0", value =
/// true }`. A column that is left out matches anything.
impl<'de, K: Columns, V: TableValue + Deserialize<'de>, const SIZE: usize> Deserialize<'de>
    for Ternary<K, V, SIZE>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Ternary::default();
        let insert = |cells: &[(String, String)], value| {
            let patterns: Vec<(&str, &str)> =
                cells.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            table.add(&patterns, value)
        };
        deserializer.deserialize_seq(Entries { names: K::NAMES, insert, value: PhantomData })?;
        Ok(table)
    }
}

/// Entries of either form; `insert` gets each with its cells by column.
struct Entries<V, F> {
    names: &'static [&'static str],
    insert: F,
    value: PhantomData<V>,
}

impl<'de, V, F> Visitor<'de> for Entries<V, F>
where
    V: Deserialize<'de>,
    F: FnMut(&[(String, String)], V) -> Result<(), TableError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names {
            [_] => f.write_str("table entries"),
            names => write!(f, "rows of {} and value", names.join(", ")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let [name] = self.names else {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        };
        while let Some(key) = map.next_key::<String>()? {
            (self.insert)(&[((*name).to_owned(), key)], map.next_value()?).map_err(de::Error::custom)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
        while let Some(Row { cells, value }) = rows.next_element()? {
            (self.insert)(&cells, value).map_err(de::Error::custom)?;
        }
        Ok(())
    }
}

/// One row: its cells as text, and its value.
struct Row<V> {
    cells: Vec<(String, String)>,
    value: V,
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Row<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cells<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Cells<V> {
            type Value = Row<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<V>, A::Error> {
                let (mut cells, mut value) = (Vec::new(), None);
                while let Some(name) = map.next_key::<String>()? {
                    if name == "value" {
                        value = Some(map.next_value()?);
                    } else {
                        let Cell(text) = map.next_value()?;
                        cells.push((name, text));
                    }
                }
                Ok(Row { cells, value: value.ok_or_else(|| de::Error::missing_field("value"))? })
            }
        }
        deserializer.deserialize_map(Cells(PhantomData))
    }
}

/// A word as text, however it is written.
struct Cell(String);

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a text or a truth value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
                Ok(Cell(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
                Ok(Cell(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
                Ok(Cell(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Cell, E> {
                Ok(Cell(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Word)
    }
}
