//! Values of a fixed size that cross the wire: flow keys and state values.

use std::fmt::Debug;
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest key in bytes. The five-tuple of IPv6 has 37; the rest is room for application headers. Keys live inline
/// (no allocation) at both ends, so the bound is also the size of every record's name in the store.
pub const KEY_LEN_MAX: usize = 64;

/// Longest state value in bytes. Sixty-four 32-bit registers are more than the stages of any switch can touch in
/// one pass; the value travels in every WRITE, so a longer one would cost more than it holds.
pub const VALUE_LEN_MAX: usize = 256;

/// A fixed-size value that crosses the wire: flow key or state value, in network byte order.
///
/// The paper's request header (figure 4) carries the flow key and the values as fixed fields; a switch parses
/// nothing else.
///
/// `decode` accepts any bytes: surplus high bits are ignored, so that no message can make it fail. `encode` writes
/// every byte of `out`, so that no stale byte of a reused buffer is ever sent.
pub trait Fixed: Copy + Eq + Hash + Ord + Debug + Send + Sync + 'static {
    /// Bytes on the wire.
    const LEN: usize;

    /// Writes the value.
    ///
    /// # Panics
    /// May panic if `out.len() != Self::LEN`: the caller slices the buffer.
    fn encode(&self, out: &mut [u8]);

    /// Reads a value.
    ///
    /// # Panics
    /// May panic if `bytes.len() != Self::LEN`: the caller slices the buffer.
    fn decode(bytes: &[u8]) -> Self;

    /// The value whose bytes are all zero. (No `Default`: the addresses of `std::net` have none.)
    #[must_use]
    fn zero() -> Self {
        const { assert!(Self::LEN <= VALUE_LEN_MAX, "a fixed value is at most VALUE_LEN_MAX bytes long") };
        Self::decode(&[0; VALUE_LEN_MAX][..Self::LEN])
    }
}

macro_rules! fixed_integer {
    ($($type:ty)*) => {$(
        impl Fixed for $type {
            const LEN: usize = size_of::<$type>();

            #[inline]
            fn encode(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_be_bytes());
            }

            #[inline]
            fn decode(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$type>()];
                array.copy_from_slice(bytes);
                Self::from_be_bytes(array)
            }
        }
    )*};
}

fixed_integer!(u8 u16 u32 u64);

impl Fixed for bool {
    const LEN: usize = 1;

    #[inline]
    fn encode(&self, out: &mut [u8]) {
        out[0] = u8::from(*self);
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Self {
        bytes[0] & 1 == 1
    }
}

impl Fixed for Ipv4Addr {
    const LEN: usize = 4;

    #[inline]
    fn encode(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.octets());
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Self {
        Self::from_bits(u32::decode(bytes))
    }
}

impl Fixed for Ipv6Addr {
    const LEN: usize = 16;

    #[inline]
    fn encode(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.octets());
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Self {
        let mut octets = [0; 16];
        octets.copy_from_slice(bytes);
        Self::from(octets)
    }
}

impl<const N: usize> Fixed for [u8; N] {
    const LEN: usize = N;

    #[inline]
    fn encode(&self, out: &mut [u8]) {
        out.copy_from_slice(self);
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Self {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
}

impl Fixed for () {
    const LEN: usize = 0;

    #[inline]
    fn encode(&self, _out: &mut [u8]) {}

    #[inline]
    fn decode(_bytes: &[u8]) -> Self {}
}

/// Hash of a key's wire bytes: CRC-32 as in ISO-HDLC (zlib, Ethernet), which v1model and Tofino compute too.
///
/// Its low bits choose the slot in a switch ([`slot_of`]), its high bits the shard of the store ([`shard_of`]).
#[inline]
#[must_use]
pub fn key_hash<K: Fixed>(key: &K) -> u32 {
    const { assert!(K::LEN <= KEY_LEN_MAX, "a key is at most KEY_LEN_MAX bytes long") };
    let mut buffer = [0; KEY_LEN_MAX];
    let bytes = &mut buffer[..K::LEN];
    key.encode(bytes);
    crc32fast::hash(bytes)
}

/// The slot of a key in a table of `slots` (a power of two): the low bits of its hash.
#[inline]
#[must_use]
pub fn slot_of(key_hash: u32, slots: u32) -> u32 {
    key_hash & slots.wrapping_sub(1)
}

/// The shard of a key among `shards`: from the upper half of its hash, so that the keys of one shard spread over
/// all slots. With no shards at all the answer is 0.
#[inline]
#[must_use]
pub fn shard_of(key_hash: u32, shards: u16) -> u16 {
    let upper = (key_hash >> 16) as u16;
    upper.checked_rem(shards).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Fixed>(value: T, bytes: &[u8]) {
        let mut out = vec![0xa5; T::LEN];
        value.encode(&mut out);
        assert_eq!(out, bytes);
        assert_eq!(T::decode(bytes), value);
    }

    #[test]
    fn values_cross_the_wire_in_network_order() {
        round_trip(0x12_u8, &[0x12]);
        round_trip(0x1234_u16, &[0x12, 0x34]);
        round_trip(0x1234_5678_u32, &[0x12, 0x34, 0x56, 0x78]);
        round_trip(1_u64, &[0, 0, 0, 0, 0, 0, 0, 1]);
        round_trip(true, &[1]);
        round_trip(Ipv4Addr::new(10, 1, 2, 3), &[10, 1, 2, 3]);
        round_trip(Ipv6Addr::LOCALHOST, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        round_trip([1_u8, 2, 3], &[1, 2, 3]);
        round_trip((), &[]);
        assert!(!bool::decode(&[0xfe]), "surplus high bits are ignored");
    }

    #[test]
    fn zero_is_all_zero_bytes() {
        assert_eq!(Ipv4Addr::zero(), Ipv4Addr::UNSPECIFIED);
        assert_eq!(<[u8; 5]>::zero(), [0; 5]);
        assert_eq!((u64::zero(), bool::zero()), (0, false));
    }

    #[test]
    fn the_hash_is_the_one_that_switches_compute() {
        // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
        assert_eq!(key_hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(slot_of(0xcbf4_3926, 16), 6);
        assert_eq!(shard_of(0xcbf4_3926, 10), 0xcbf4 % 10);
        assert_eq!(shard_of(7, 0), 0);
    }
}
