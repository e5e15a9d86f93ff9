//! Message authentication: a code of 8 bytes behind each message, so that only who has a key is listened to.
//!
//! The code is SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) over the link on which the
//! message goes, in 8 bytes, and then the whole message with its carried frame. On a link to a switch that is the UDP
//! payload without the code; its bytes are those that the reference implementation gives out.
//!
//! ```text
//! link     switch and store      1, 0, the switch's IPv4 address (4), its UDP port (2)
//!          chain                 2, 0, sending node (2), receiving node (2), 0, 0
//!          node and coordinator  3, 0, 0, 0, 0, 0, 0, 0
//! message  header, key, value, frame
//! code     8 bytes
//! ```
//!
//! The link has a fixed length and begins with its sort, so no message on one passes for one on another: not a switch's
//! for another switch's, not one from node 1 to node 2 for one to node 3. The direction between switch and store is told
//! by the message's kind, which is under the code, as are kind and node of what goes between node and coordinator. A
//! translator of addresses between switch and store cannot be.
//!
//! # What it protects, and what it does not
//!
//! - Who has no key can make no message that is listened to: a guess is right once in 2⁶⁴, and each costs a datagram.
//! - *Replay* is not prevented, for it does no harm that the network could not do: a message that was sent once may come
//!   twice or late in any case. A late WRITE is fenced by its generation and sequence; a late GRANT fails on the ticket; an
//!   ACK extends a lease from the time that it echoes; a late LEASE or RECALL moves a lease about, which costs waiting, at
//!   most a lease time each, and no state. An ACK that comes again releases its packet again.
//! - Nothing is *secret*: messages and carried packets are readable.
//! - All switches of a cluster have the same keys. Who takes one over can speak for all.

use std::fmt;
use std::hash::Hasher;
use std::net::SocketAddrV4;

use siphasher::sip::SipHasher24;

use crate::chain::NodeId;

/// Bytes of the code behind a message.
pub const MAC_LEN: usize = 8;

/// Bytes of a key.
pub const MAC_KEY_LEN: usize = 16;

/// Most live keys: the one that signs, and the one before or after it, while keys are changed.
pub const MAC_KEYS_MAX: usize = 2;

/// Why a text is no key. It shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MacKeyError {
    /// A character that is no digit.
    #[error("character {place} of the key is no hex digit")]
    Digit {
        /// Which one, from 1.
        place: usize,
    },
    /// Digits, but not as many as a key has.
    #[error("a key of {found} hex digits, not {}", 2 * MAC_KEY_LEN)]
    Length {
        /// How many there are.
        found: usize,
    },
}

/// A key as an operator writes it: 32 hex digits.
///
/// # Errors
/// If it is anything else.
pub fn parse_key(text: &str) -> Result<[u8; MAC_KEY_LEN], MacKeyError> {
    if let Some(place) = text.chars().position(|digit| !digit.is_ascii_hexdigit()) {
        return Err(MacKeyError::Digit { place: place + 1 });
    }
    let key = (text.len() == 2 * MAC_KEY_LEN).then(|| u128::from_str_radix(text, 16).ok()).flatten();
    key.map(u128::to_be_bytes).ok_or(MacKeyError::Length { found: text.len() })
}

/// On which link a message goes. Both ends name the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// Between a switch and the store: address and port of the switch. They are the source of a request and the
    /// destination of an answer.
    Switch(SocketAddrV4),
    /// Between two nodes of a chain.
    Chain {
        /// Who sends.
        from: NodeId,
        /// Who receives.
        to: NodeId,
    },
    /// Between a node, or an operator, and the coordinator: the message says who speaks.
    Coordination,
}

impl Link {
    fn bytes(self) -> [u8; 8] {
        match self {
            Self::Switch(address) => {
                let ([a, b, c, d], [high, low]) = (address.ip().octets(), address.port().to_be_bytes());
                [1, 0, a, b, c, d, high, low]
            }
            Self::Chain { from, to } => {
                let ([a, b], [c, d]) = (from.0.to_be_bytes(), to.0.to_be_bytes());
                [2, 0, a, b, c, d, 0, 0]
            }
            Self::Coordination => [3, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

/// Why a message is not listened to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MacError {
    /// It is too short to have a code.
    #[error("{found} bytes hold no code of {MAC_LEN}")]
    Truncated {
        /// Its length.
        found: usize,
    },
    /// No live key gives its code, on this link.
    #[error(
        "the code is not that of a live key on this link: the keys of both ends differ, or somebody forged it"
    )]
    Mismatch,
}

/// The live keys: one signs, and the codes of both are accepted.
///
/// To change the key without a gap: give all ends the new one as the second; when all have it, make it the first
/// everywhere, with the old as the second; when all have that, leave the old one out.
#[derive(Clone, Copy)]
pub struct MacKeys {
    signing: SipHasher24,
    also: Option<SipHasher24>,
}

impl fmt::Debug for MacKeys {
    /// Shows no key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MacKeys").field("also", &self.also.is_some()).finish_non_exhaustive()
    }
}

impl MacKeys {
    /// Keys of 16 random bytes each.
    #[must_use]
    pub fn new(signing: [u8; MAC_KEY_LEN], also: Option<[u8; MAC_KEY_LEN]>) -> Self {
        let prepare = |key: [u8; MAC_KEY_LEN]| SipHasher24::new_with_key(&key);
        Self { signing: prepare(signing), also: also.map(prepare) }
    }

    /// The code that belongs behind a message.
    #[inline]
    #[must_use]
    pub fn code(&self, link: Link, message: &[u8]) -> [u8; MAC_LEN] {
        code(self.signing, link, message).to_le_bytes()
    }

    /// Appends its code to a message.
    pub fn sign(&self, link: Link, message: &mut Vec<u8>) {
        let code = self.code(link, message);
        message.extend_from_slice(&code);
    }

    /// The message without its code. Takes the same time whichever bits of a wrong code are right: the codes are compared
    /// as whole numbers, those of both keys in any case.
    ///
    /// # Errors
    /// If it has no code, or that of no live key on this link.
    #[inline]
    pub fn verify<'a>(&self, link: Link, bytes: &'a [u8]) -> Result<&'a [u8], MacError> {
        let (message, found) =
            bytes.split_last_chunk::<MAC_LEN>().ok_or(MacError::Truncated { found: bytes.len() })?;
        let found = u64::from_le_bytes(*found);
        let differs = |key| code(key, link, message) ^ found;
        let first = differs(self.signing);
        let second = self.also.map_or(first, differs);
        if (first == 0) | (second == 0) { Ok(message) } else { Err(MacError::Mismatch) }
    }
}

#[inline]
fn code(mut key: SipHasher24, link: Link, message: &[u8]) -> u64 {
    key.write(&link.bytes());
    key.write(message);
    key.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [u8; MAC_KEY_LEN] = [1; MAC_KEY_LEN];
    const NEW: [u8; MAC_KEY_LEN] = [2; MAC_KEY_LEN];
    const MESSAGE: &[u8] = b"header, key, value, frame";

    fn switch(address: &str) -> Link {
        Link::Switch(address.parse().unwrap())
    }

    fn signed(keys: &MacKeys, link: Link) -> Vec<u8> {
        let mut bytes = MESSAGE.to_vec();
        keys.sign(link, &mut bytes);
        assert_eq!(bytes.len(), MESSAGE.len() + MAC_LEN);
        bytes
    }

    /// `vectors_sip64` of the reference implementation: key 00 01 … 0f, message 00 01 … of each length from 0.
    const VECTORS: [[u8; 8]; 16] = [
        [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72],
        [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74],
        [0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d],
        [0x2d, 0x7e, 0xfb, 0xd7, 0x96, 0x66, 0x67, 0x85],
        [0xb7, 0x87, 0x71, 0x27, 0xe0, 0x94, 0x27, 0xcf],
        [0x8d, 0xa6, 0x99, 0xcd, 0x64, 0x55, 0x76, 0x18],
        [0xce, 0xe3, 0xfe, 0x58, 0x6e, 0x46, 0xc9, 0xcb],
        [0x37, 0xd1, 0x01, 0x8b, 0xf5, 0x00, 0x02, 0xab],
        [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93],
        [0xb0, 0xe4, 0xa9, 0x0b, 0xdf, 0x82, 0x00, 0x9e],
        [0xf3, 0xb9, 0xdd, 0x94, 0xc5, 0xbb, 0x5d, 0x7a],
        [0xa7, 0xad, 0x6b, 0x22, 0x46, 0x2f, 0xb3, 0xf4],
        [0xfb, 0xe5, 0x0e, 0x86, 0xbc, 0x8f, 0x1e, 0x75],
        [0x90, 0x3d, 0x84, 0xc0, 0x27, 0x56, 0xea, 0x14],
        [0xee, 0xf2, 0x7a, 0x8e, 0x90, 0xca, 0x23, 0xf7],
        [0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1],
    ];

    #[test]
    fn the_hash_is_that_of_the_reference() {
        let key: [u8; MAC_KEY_LEN] = std::array::from_fn(|at| at as u8);
        let input: [u8; 16] = std::array::from_fn(|at| at as u8);
        for (len, vector) in VECTORS.iter().enumerate() {
            let mut hasher = SipHasher24::new_with_key(&key);
            hasher.write(&input[..len]);
            assert_eq!(hasher.finish().to_le_bytes(), *vector, "length {len}");
        }
    }

    /// The layout of a link, byte by byte, against one run over link and message.
    #[test]
    fn the_code_is_over_link_and_message() {
        let keys = MacKeys::new(OLD, None);
        let links: [(Link, [u8; 8]); 3] = [
            (switch("10.1.2.3:21072"), [1, 0, 10, 1, 2, 3, 0x52, 0x50]),
            (Link::Chain { from: NodeId(0x0102), to: NodeId(3) }, [2, 0, 1, 2, 0, 3, 0, 0]),
            (Link::Coordination, [3, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (link, bytes) in links {
            let whole = [&bytes, MESSAGE].concat();
            let expected = SipHasher24::new_with_key(&OLD).hash(&whole).to_le_bytes();
            assert_eq!(keys.code(link, MESSAGE), expected, "{link:?}");
        }
        assert_eq!(
            keys.code(switch("10.0.0.1:21072"), b""),
            SipHasher24::new_with_key(&OLD).hash(&[1, 0, 10, 0, 0, 1, 0x52, 0x50]).to_le_bytes()
        );
    }

    #[test]
    fn a_message_is_taken_on_its_own_link_only() {
        let keys = MacKeys::new(OLD, None);
        let node = NodeId;
        let links = [
            switch("10.0.0.1:21072"),
            switch("10.0.0.1:21073"),
            switch("10.0.0.2:21072"),
            Link::Chain { from: node(1), to: node(2) },
            Link::Chain { from: node(2), to: node(1) },
            Link::Chain { from: node(1), to: node(3) },
            Link::Coordination,
        ];
        for link in links {
            let bytes = signed(&keys, link);
            for other in links {
                let expected = if other == link { Ok(MESSAGE) } else { Err(MacError::Mismatch) };
                assert_eq!(keys.verify(other, &bytes), expected, "{link:?} on {other:?}");
            }
        }
    }

    #[test]
    fn every_change_and_every_cut_is_found() {
        let keys = MacKeys::new(OLD, Some(NEW));
        let link = switch("10.0.0.1:21072");
        let bytes = signed(&keys, link);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.verify(link, &changed), Err(MacError::Mismatch), "bit {bit}");
        }
        for len in 0..bytes.len() {
            let expected =
                if len < MAC_LEN { MacError::Truncated { found: len } } else { MacError::Mismatch };
            assert_eq!(keys.verify(link, &bytes[..len]), Err(expected));
        }
        assert_eq!(keys.verify(link, &[&bytes[..], &[0]].concat()), Err(MacError::Mismatch));
    }

    #[test]
    fn the_key_changes_without_a_gap() {
        let link = switch("10.0.0.1:21072");
        let steps = [
            MacKeys::new(OLD, None),
            MacKeys::new(OLD, Some(NEW)),
            MacKeys::new(NEW, Some(OLD)),
            MacKeys::new(NEW, None),
        ];
        // While ends go from one step to the next, each hears the other.
        for pair in steps.windows(2) {
            for (sender, receiver) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                assert_eq!(pair[receiver].verify(link, &signed(&pair[sender], link)), Ok(MESSAGE));
            }
        }
        assert_eq!(
            steps[3].verify(link, &signed(&steps[0], link)),
            Err(MacError::Mismatch),
            "the old is out"
        );
        assert_eq!(
            steps[0].verify(link, &signed(&steps[2], link)),
            Err(MacError::Mismatch),
            "one step too far"
        );
    }

    #[test]
    fn a_key_is_32_hex_digits() {
        let key = parse_key("000102030405060708090A0b0c0d0eff").unwrap();
        assert_eq!(key, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(parse_key("00f"), Err(MacKeyError::Length { found: 3 }));
        assert_eq!(parse_key(&"0".repeat(33)), Err(MacKeyError::Length { found: 33 }));
        assert_eq!(parse_key("+00102030405060708090a0b0c0d0e0f"), Err(MacKeyError::Digit { place: 1 }));
        assert_eq!(parse_key("0é"), Err(MacKeyError::Digit { place: 2 }));
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", MacKeys::new([0x5a; MAC_KEY_LEN], None));
        assert_eq!(shown, "MacKeys { also: false, .. }");
    }
}
