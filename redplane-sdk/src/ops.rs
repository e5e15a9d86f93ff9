//! Arithmetic as a switch does it: at the operand's width, wrapping, whatever the build profile.
//!
//! The app macro rewrites the operators of a handler into these calls.

use arbitrary_int::UInt;

use crate::field::{Bits, mask};

/// An integer that a handler computes with.
pub trait Wrapping: Bits {
    /// `self + other`, modulo two to the width.
    fn wrapping_add(self, other: Self) -> Self;
    /// `self - other`, modulo two to the width.
    fn wrapping_sub(self, other: Self) -> Self;
    /// `self * other`, modulo two to the width.
    fn wrapping_mul(self, other: Self) -> Self;
}

macro_rules! wrapping {
    ($([$($generics:tt)*] $ty:ty;)*) => {$(
        impl $($generics)* Wrapping for $ty {
            #[inline(always)]
            fn wrapping_add(self, other: Self) -> Self {
                Self::from_bits(self.to_bits().wrapping_add(other.to_bits()))
            }

            #[inline(always)]
            fn wrapping_sub(self, other: Self) -> Self {
                Self::from_bits(self.to_bits().wrapping_sub(other.to_bits()))
            }

            #[inline(always)]
            fn wrapping_mul(self, other: Self) -> Self {
                Self::from_bits(self.to_bits().wrapping_mul(other.to_bits()))
            }
        }
    )*};
}

wrapping! {
    [] u8;
    [] u16;
    [] u32;
    [] u64;
    [<const N: usize>] UInt<u8, N>;
    [<const N: usize>] UInt<u16, N>;
    [<const N: usize>] UInt<u32, N>;
    [<const N: usize>] UInt<u64, N>;
}

/// `a + b`, modulo two to the width.
#[inline(always)]
pub fn add<T: Wrapping>(a: T, b: T) -> T {
    a.wrapping_add(b)
}

/// `a - b`, modulo two to the width.
#[inline(always)]
pub fn sub<T: Wrapping>(a: T, b: T) -> T {
    a.wrapping_sub(b)
}

/// `a * b`, modulo two to the width.
#[inline(always)]
pub fn mul<T: Wrapping>(a: T, b: T) -> T {
    a.wrapping_mul(b)
}

/// `a << amount`; zero once the amount reaches the width, as in P4 (P4-16 specification, 8.5), not as in Rust.
#[inline(always)]
pub fn shl<T: Wrapping>(a: T, amount: u32) -> T {
    T::from_bits(a.to_bits().checked_shl(amount).unwrap_or(0) & mask(T::WIDTH))
}

/// `a >> amount`; zero once the amount reaches the width, as in P4 (P4-16 specification, 8.5), not as in Rust.
#[inline(always)]
pub fn shr<T: Wrapping>(a: T, amount: u32) -> T {
    T::from_bits(a.to_bits().checked_shr(amount).unwrap_or(0))
}

/// `a as U`: zero-extends or truncates, between all integer widths and `bool`.
#[inline(always)]
pub fn cast<T: Bits, U: Bits>(a: T) -> U {
    U::from_bits(a.to_bits())
}

#[cfg(test)]
mod tests {
    use arbitrary_int::{u4, u13, u48};

    use super::*;

    #[test]
    fn arithmetic_wraps_at_the_width() {
        assert_eq!(add(255u8, 1), 0);
        assert_eq!(sub(0u64, 1), u64::MAX);
        assert_eq!(mul(0x8000_0001u32, 2), 2);
        assert_eq!(add(u13::new(8191), u13::new(2)), u13::new(1));
        assert_eq!(sub(u4::new(0), u4::new(1)), u4::new(15));
        assert_eq!(mul(u48::new(1 << 47), u48::new(3)), u48::new(1 << 47));
    }

    #[test]
    fn shifts_past_the_width_give_zero() {
        assert_eq!(shl(1u8, 7), 128);
        assert_eq!(shl(1u8, 8), 0);
        assert_eq!(shl(u4::new(9), 1), u4::new(2));
        assert_eq!(shr(u64::MAX, 64), 0);
        assert_eq!(shl(1u64, 200), 0);
        assert_eq!(shr(u13::new(8191), 12), u13::new(1));
    }

    #[test]
    fn casts_extend_or_truncate() {
        assert_eq!(cast::<_, u8>(0x1234u16), 0x34);
        assert_eq!(cast::<_, u13>(0xffffu16), u13::new(0x1fff));
        assert_eq!(cast::<_, u16>(u13::new(5)), 5);
        assert_eq!(cast::<_, u8>(true), 1);
    }
}
