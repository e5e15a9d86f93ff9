//! What the key of a table is made of: words, each a column, and how an operator writes them.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::TableError;
use crate::field::Field;
use crate::packet::MacAddr;

/// How an operator writes a word.
pub trait TableKey: Field + Ord {
    /// Reads the word; `None` if the text is none.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! table_key {
    ($($ty:ty),*) => {$(
        impl TableKey for $ty {
            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}

table_key!(bool, Ipv4Addr, Ipv6Addr, MacAddr);

/// Decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

macro_rules! table_key_number {
    ($($ty:ty),*) => {$(
        impl TableKey for $ty {
            fn from_text(text: &str) -> Option<Self> {
                number(text)?.try_into().ok()
            }
        }

        impl<const N: usize> TableKey for arbitrary_int::UInt<$ty, N> {
            fn from_text(text: &str) -> Option<Self> {
                <$ty>::from_text(text).and_then(|raw| Self::try_new(raw).ok())
            }
        }
    )*};
}

table_key_number!(u8, u16, u32, u64);

/// A key of one word or more. `#[redplane_sdk::app]` implements it for the structs that tables have as keys.
pub trait Columns: Copy + Ord + Debug {
    /// One number a column.
    type Words: AsRef<[u128]> + AsMut<[u128]> + Copy + Debug;
    /// Names of the columns; that of a single word is `key`.
    const NAMES: &'static [&'static str];
    /// Width of each column in bits.
    const BITS: &'static [usize];
    /// All zero.
    const ZERO: Self::Words;

    /// The key as numbers.
    fn words(self) -> Self::Words;

    /// The key of these numbers.
    fn from_words(words: &Self::Words) -> Self;

    /// Reads one column; `None` if the text is none.
    fn read(column: usize, text: &str) -> Option<u128>;
}

impl<T: TableKey + Debug> Columns for T {
    type Words = [u128; 1];
    const NAMES: &'static [&'static str] = &["key"];
    const BITS: &'static [usize] = &[T::WIDTH];
    const ZERO: [u128; 1] = [0];

    #[inline]
    fn words(self) -> [u128; 1] {
        [to_word(self)]
    }

    fn from_words(words: &[u128; 1]) -> Self {
        from_word(words[0])
    }

    fn read(_: usize, text: &str) -> Option<u128> {
        T::from_text(text).map(to_word)
    }
}

/// A field as a number.
#[doc(hidden)]
#[inline]
pub fn to_word<T: Field>(field: T) -> u128 {
    let mut bytes = [0; 16];
    field.write_at(&mut bytes, 128 - T::WIDTH);
    u128::from_be_bytes(bytes)
}

/// A number as a field.
#[doc(hidden)]
pub fn from_word<T: Field>(word: u128) -> T {
    T::read_at(&word.to_be_bytes(), 128 - T::WIDTH)
}

/// The column of this name.
pub(super) fn position<K: Columns>(name: &str) -> Result<usize, TableError> {
    K::NAMES
        .iter()
        .position(|known| *known == name)
        .ok_or_else(|| TableError::Column { found: name.to_owned(), known: K::NAMES.join(", ") })
}

/// A column's value and mask: `80`, `10.0.0.0/8` with the length of a prefix, `0x50/0xf0` with a mask.
pub(super) fn pattern<K: Columns>(column: usize, text: &str) -> Result<(u128, u128), TableError> {
    let error = || TableError::Key { found: text.to_owned() };
    let bits = K::BITS[column];
    let all = u128::MAX >> (128 - bits);
    let (value, mask) = match text.split_once('/') {
        None => (text, all),
        Some((value, mask)) if mask.starts_with("0x") => (value, number(mask).ok_or_else(error)?),
        Some((value, length)) => {
            let length: usize = length.parse().ok().filter(|length| *length <= bits).ok_or_else(error)?;
            (value, if length == 0 { 0 } else { all << (bits - length) & all })
        }
    };
    let value = K::read(column, value).ok_or_else(error)?;
    if value & !mask != 0 || mask > all { Err(error()) } else { Ok((value, mask)) }
}

/// Implements [`Columns`] and [`crate::field::TableValue`] for a struct of fields that are words.
#[macro_export]
macro_rules! impl_columns {
    ($name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        impl $crate::table::Columns for $name {
            type Words = [u128; Self::NAMES.len()];
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];
            const BITS: &'static [usize] = &[$(<$ty as $crate::Field>::WIDTH),*];
            const ZERO: Self::Words = [0; Self::NAMES.len()];

            #[inline]
            fn words(self) -> Self::Words {
                [$($crate::table::to_word(self.$field)),*]
            }

            fn from_words(words: &Self::Words) -> Self {
                let [$($field),*] = *words;
                $name { $($field: $crate::table::from_word($field)),* }
            }

            fn read(column: usize, text: &str) -> Option<u128> {
                let readers: [fn(&str) -> Option<u128>; Self::NAMES.len()] =
                    [$(|text| <$ty as $crate::table::TableKey>::from_text(text).map($crate::table::to_word)),*];
                readers.get(column)?(text)
            }
        }

        impl $crate::field::TableValue for $name {
            #[inline]
            fn miss() -> Self {
                $name { $($field: <$ty as $crate::field::TableValue>::miss()),* }
            }
        }
    };
}
