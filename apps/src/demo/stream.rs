//! The bytes that a connection carries: pseudo-random, and the same for whoever knows seed and connection.

/// All that one connection moves. Any part of it can be made or checked without the part before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
}

impl Stream {
    /// What connection `id` moves.
    #[must_use]
    pub fn new(seed: u64, id: u32) -> Stream {
        Stream { seed: mix(seed ^ mix(u64::from(id))) }
    }

    /// What only who knows the stream can say about its first `length` bytes.
    #[must_use]
    pub fn digest(self, length: u64) -> u64 {
        mix(!self.seed ^ length)
    }

    /// Writes the bytes from `offset` on.
    pub fn fill(self, offset: u64, out: &mut [u8]) {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let (word, skip) = self.word(at);
            let count = rest.len().min(8 - skip);
            rest[..count].copy_from_slice(&word[skip..skip + count]);
            rest = &mut rest[count..];
            at += count as u64;
        }
    }

    /// How many of `bytes`, which stand at `offset`, are as they were sent, up to the first that is not.
    #[must_use]
    pub fn matching(self, offset: u64, bytes: &[u8]) -> usize {
        let mut good = 0;
        while good < bytes.len() {
            let (word, skip) = self.word(offset + good as u64);
            let count = (bytes.len() - good).min(8 - skip);
            let (expected, found) = (&word[skip..skip + count], &bytes[good..good + count]);
            if expected != found {
                return good + expected.iter().zip(found).take_while(|(a, b)| a == b).count();
            }
            good += count;
        }
        good
    }

    fn word(self, offset: u64) -> ([u8; 8], usize) {
        (mix(self.seed.wrapping_add(offset / 8)).to_le_bytes(), (offset % 8) as usize)
    }
}

/// SplitMix64's output function (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[must_use]
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_equals_the_whole() {
        let stream = Stream::new(7, 3);
        let mut whole = [0; 100];
        stream.fill(0, &mut whole);
        for start in 0..90 {
            let mut part = [0; 10];
            stream.fill(start as u64, &mut part);
            assert_eq!(part, whole[start..start + 10]);
            assert_eq!(stream.matching(start as u64, &part), 10);
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        let stream = Stream::new(7, 3);
        let mut bytes = [0; 64];
        stream.fill(5, &mut bytes);
        for position in 0..64 {
            let mut changed = bytes;
            changed[position] ^= 0x10;
            assert_eq!(stream.matching(5, &changed), position);
        }
    }

    #[test]
    fn connections_and_seeds_differ() {
        assert_ne!(Stream::new(1, 1), Stream::new(1, 2));
        assert_ne!(Stream::new(1, 1), Stream::new(2, 1));
        assert_ne!(Stream::new(1, 1).digest(5), Stream::new(1, 1).digest(6));
    }
}
