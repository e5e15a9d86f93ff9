//! A signed message verifies by either live key and on its link, and no change of it does.
//!
//! The input is which link, key and change (16 bytes), and then the message.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};

use libfuzzer_sys::fuzz_target;
use redplane_protocol::NodeId;
use redplane_protocol::mac::{Link, MAC_LEN, MacError, MacKeys};

fn link(sort: u8, [a, b, c, d]: [u8; 4], port: u16) -> Link {
    match sort % 3 {
        0 => Link::Switch(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port)),
        1 => Link::Chain { from: NodeId(u16::from_be_bytes([a, b])), to: NodeId(u16::from_be_bytes([c, d])) },
        _ => Link::Coordination,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let keys = MacKeys::new([1; 16], None);
    let verified = keys.verify(Link::Coordination, bytes);
    assert_eq!(bytes.len() < MAC_LEN, matches!(verified, Err(MacError::Truncated { .. })));
    let Some(([sort, other_sort, key, bit, address @ ..], message)) = bytes.split_first_chunk::<16>() else {
        return;
    };
    let [a, b, c, d, high, low, e, f, g, h, other_high, other_low] = *address;
    let here = link(*sort, [a, b, c, d], u16::from_be_bytes([high, low]));
    let there = link(*other_sort, [e, f, g, h], u16::from_be_bytes([other_high, other_low]));

    let (old, new) = ([*key; 16], [key.wrapping_add(1); 16]);
    let rotated = [
        (MacKeys::new(old, Some(new)), true),
        (MacKeys::new(new, Some(old)), true),
        (MacKeys::new(new, None), false),
    ];
    let mut signed = message.to_vec();
    MacKeys::new(old, None).sign(here, &mut signed);
    for (keys, is_live) in rotated {
        assert_eq!(keys.verify(here, &signed).ok(), is_live.then_some(message));
        assert_eq!(keys.verify(there, &signed).is_ok(), is_live && here == there);
    }
    let keys = MacKeys::new(old, None);
    for len in signed.len().saturating_sub(2)..signed.len() {
        assert!(keys.verify(here, &signed[..len]).is_err());
    }
    let at = usize::from(*bit) * 7 % (signed.len() * 8);
    signed[at / 8] ^= 1 << (at % 8);
    assert_eq!(keys.verify(here, &signed), Err(MacError::Mismatch));
    signed[at / 8] ^= 1 << (at % 8);
    signed.push(*bit);
    assert_eq!(keys.verify(here, &signed), Err(MacError::Mismatch));
});
