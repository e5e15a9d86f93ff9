//! One field: of a header, a key or a state value.

use std::net::{Ipv4Addr, Ipv6Addr};

use arbitrary_int::UInt;

use crate::packet::MacAddr;

/// A type that fits a header field and a switch register: `bool`, `u1` to `u64`, `Ipv4Addr`, `Ipv6Addr`, `MacAddr`.
///
/// [`redplane_protocol::Fixed`] and the odd-width integers both live in other crates, so keys and states get
/// their `Fixed` from [`crate::impl_fixed`], which asks each field for its `Field`.
pub trait Field: Copy {
    /// Width in bits.
    const WIDTH: usize;
    /// Whole bytes in a protocol message, where the value is right-aligned.
    const LEN: usize = Self::WIDTH.div_ceil(8);

    /// Reads the field that starts at bit `at`, counted from the first byte's highest bit.
    ///
    /// # Panics
    /// If the field does not lie within `bytes`.
    fn read_at(bytes: &[u8], at: usize) -> Self;

    /// Writes the field at bit `at` of `bytes`, whose bits must be zero there.
    ///
    /// # Panics
    /// If the field does not lie within `bytes`.
    fn write_at(self, bytes: &mut [u8], at: usize);

    /// Writes the field as a protocol message carries it.
    ///
    /// # Panics
    /// If `out` is not [`Field::LEN`] long.
    #[inline(always)]
    fn encode(&self, out: &mut [u8]) {
        assert_eq!(out.len(), Self::LEN, "a field is encoded into its own bytes");
        out.fill(0);
        self.write_at(out, Self::LEN * 8 - Self::WIDTH);
    }

    /// Reads the field as a protocol message carries it; surplus high bits are ignored.
    ///
    /// # Panics
    /// If `bytes` is not [`Field::LEN`] long.
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), Self::LEN, "a field is decoded from its own bytes");
        Self::read_at(bytes, Self::LEN * 8 - Self::WIDTH)
    }
}

/// A value that an operator table holds: what a miss gives.
pub trait TableValue: Copy {
    /// Zero: what a lookup gives that finds no entry.
    fn miss() -> Self;
}

impl<T: Field> TableValue for T {
    #[inline]
    fn miss() -> Self {
        T::read_at(&[0; 16], 0)
    }
}

impl<T: Copy> TableValue for Option<T> {
    #[inline]
    fn miss() -> Self {
        None
    }
}

/// An integer field, for [`crate::ops::cast`].
pub trait Bits: Field {
    /// The value, zero-extended.
    fn to_bits(self) -> u64;
    /// The value's low bits.
    fn from_bits(bits: u64) -> Self;
}

#[inline(always)]
fn extract_bits(bytes: &[u8], at: usize, width: usize) -> u64 {
    debug_assert!(width <= 64 && at % 8 + width <= 64, "a field spans at most eight bytes");
    let (first, end) = (at / 8, (at + width).div_ceil(8));
    let mut value = 0u64;
    for byte in &bytes[first..end] {
        value = value << 8 | u64::from(*byte);
    }
    (value >> (end * 8 - at - width)) & mask(width)
}

#[inline(always)]
fn insert_bits(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    debug_assert!(width <= 64 && at % 8 + width <= 64, "a field spans at most eight bytes");
    let (first, end) = (at / 8, (at + width).div_ceil(8));
    let mut value = (value & mask(width)) << (end * 8 - at - width);
    for byte in bytes[first..end].iter_mut().rev() {
        *byte |= value as u8;
        value >>= 8;
    }
}

#[inline(always)]
pub(crate) const fn mask(width: usize) -> u64 {
    if width == 64 { u64::MAX } else { (1 << width) - 1 }
}

macro_rules! integer_field {
    ($([$($generics:tt)*] $ty:ty, $bits:expr, |$value:ident| $to:expr, |$raw:ident| $from:expr;)*) => {$(
        impl $($generics)* Field for $ty {
            const WIDTH: usize = $bits;

            #[inline(always)]
            fn read_at(bytes: &[u8], at: usize) -> Self {
                Self::from_bits(extract_bits(bytes, at, Self::WIDTH))
            }

            #[inline(always)]
            fn write_at(self, bytes: &mut [u8], at: usize) {
                insert_bits(bytes, at, Self::WIDTH, self.to_bits());
            }
        }

        impl $($generics)* Bits for $ty {
            #[inline(always)]
            fn to_bits(self) -> u64 {
                let $value = self;
                $to
            }

            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                let $raw = bits & mask(Self::WIDTH);
                $from
            }
        }
    )*};
}

integer_field! {
    [] bool, 1, |value| u64::from(value), |raw| raw != 0;
    [] u8, 8, |value| u64::from(value), |raw| raw as u8;
    [] u16, 16, |value| u64::from(value), |raw| raw as u16;
    [] u32, 32, |value| u64::from(value), |raw| raw as u32;
    [] u64, 64, |value| value, |raw| raw;
    [<const N: usize>] UInt<u8, N>, N, |value| u64::from(value.value()), |raw| Self::new(raw as u8);
    [<const N: usize>] UInt<u16, N>, N, |value| u64::from(value.value()), |raw| Self::new(raw as u16);
    [<const N: usize>] UInt<u32, N>, N, |value| u64::from(value.value()), |raw| Self::new(raw as u32);
    [<const N: usize>] UInt<u64, N>, N, |value| value.value(), |raw| Self::new(raw);
}

macro_rules! octets_field {
    ($($ty:ty, $bytes:literal, |$octets:ident| $from:expr, |$value:ident| $to:expr;)*) => {$(
        impl Field for $ty {
            const WIDTH: usize = $bytes * 8;

            #[inline(always)]
            fn read_at(bytes: &[u8], at: usize) -> Self {
                debug_assert_eq!(at % 8, 0, "an address starts at a byte");
                let mut $octets = [0; $bytes];
                $octets.copy_from_slice(&bytes[at / 8..at / 8 + $bytes]);
                $from
            }

            #[inline(always)]
            fn write_at(self, bytes: &mut [u8], at: usize) {
                debug_assert_eq!(at % 8, 0, "an address starts at a byte");
                let $value = self;
                bytes[at / 8..at / 8 + $bytes].copy_from_slice(&$to);
            }
        }
    )*};
}

octets_field! {
    Ipv4Addr, 4, |octets| Ipv4Addr::from(octets), |value| value.octets();
    Ipv6Addr, 16, |octets| Ipv6Addr::from(octets), |value| value.octets();
    MacAddr, 6, |octets| MacAddr::from(octets), |value| value.octets();
}

/// Implements [`redplane_protocol::Fixed`] for a struct whose fields are all [`Field`]: each in order, right-aligned in
/// its whole bytes. The struct needs the derives `Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug`.
///
/// ```
/// #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
/// struct Endpoint { addr: std::net::Ipv4Addr, port: u16 }
/// redplane_sdk::impl_fixed!(Endpoint { addr: std::net::Ipv4Addr, port: u16 });
///
/// use redplane_sdk::protocol::Fixed;
/// assert_eq!(Endpoint::LEN, 6);
/// ```
#[macro_export]
macro_rules! impl_fixed {
    ($name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        impl $crate::protocol::Fixed for $name {
            const LEN: usize = 0 $(+ <$ty as $crate::Field>::LEN)*;

            #[inline]
            fn encode(&self, out: &mut [u8]) {
                let mut at = 0;
                $(
                    let end = at + <$ty as $crate::Field>::LEN;
                    $crate::Field::encode(&self.$field, &mut out[at..end]);
                    at = end;
                )*
                assert_eq!(out.len(), at, "a record is encoded into its own bytes");
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Self {
                let mut at = 0;
                $(
                    let end = at + <$ty as $crate::Field>::LEN;
                    let $field = <$ty as $crate::Field>::decode(&bytes[at..end]);
                    at = end;
                )*
                assert_eq!(bytes.len(), at, "a record is decoded from its own bytes");
                $name { $($field),* }
            }
        }
    };
}

/// Implements [`Field`] and what operators' files need for an enum of one byte. The variant that is zero comes first; a
/// byte that is no variant reads as that one.
#[macro_export]
macro_rules! impl_enum {
    ($name:ident { $zero:ident $(, $other:ident)* $(,)? }) => {
        impl $crate::Field for $name {
            const WIDTH: usize = 8;

            #[inline(always)]
            fn read_at(bytes: &[u8], at: usize) -> Self {
                match <u8 as $crate::Field>::read_at(bytes, at) {
                    $(raw if raw == $name::$other as u8 => $name::$other,)*
                    _ => $name::$zero,
                }
            }

            #[inline(always)]
            fn write_at(self, bytes: &mut [u8], at: usize) {
                <u8 as $crate::Field>::write_at(self as u8, bytes, at);
            }
        }

        impl $crate::table::TableKey for $name {
            fn from_text(text: &str) -> Option<Self> {
                match text {
                    stringify!($zero) => Some($name::$zero),
                    $(stringify!($other) => Some($name::$other),)*
                    _ => None,
                }
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as $crate::serde::Deserialize>::deserialize(deserializer)?;
                let error = || $crate::serde::de::Error::unknown_variant(
                    &text,
                    &[stringify!($zero) $(, stringify!($other))*],
                );
                <$name as $crate::table::TableKey>::from_text(&text).ok_or_else(error)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use arbitrary_int::{u4, u13, u20, u48};

    use super::*;

    #[test]
    fn fields_are_right_aligned_in_whole_bytes() {
        let mut out = [0xa5; 2];
        u13::new(0x1abc).encode(&mut out);
        assert_eq!(out, [0x1a, 0xbc]);
        assert_eq!(u13::decode(&[0xfa, 0xbc]), u13::new(0x1abc), "surplus high bits are ignored");
        let mut out = [0xa5; 6];
        u48::new(0x0102_0304_0506).encode(&mut out);
        assert_eq!(out, [1, 2, 3, 4, 5, 6]);
        let mut out = [0xa5];
        true.encode(&mut out);
        assert_eq!(out, [1]);
        assert!(!bool::decode(&[0xfe]));
    }

    #[test]
    fn fields_are_read_where_they_were_written() {
        let mut bytes = [0; 4];
        u4::new(6).write_at(&mut bytes, 0);
        0xa7u8.write_at(&mut bytes, 4);
        u20::new(0x1_2345).write_at(&mut bytes, 12);
        assert_eq!(bytes, [0x6a, 0x71, 0x23, 0x45]);
        assert_eq!(u4::read_at(&bytes, 0), u4::new(6));
        assert_eq!(u8::read_at(&bytes, 4), 0xa7);
        assert_eq!(u20::read_at(&bytes, 12), u20::new(0x1_2345));
    }
}
