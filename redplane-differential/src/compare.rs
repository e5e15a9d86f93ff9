//! What must be equal, and the only things that need not be.
//!
//! The software switches' clock stands still, BMv2's does not, and both answer to one store. So these may differ:
//!
//! - `sent_at` in a message that a switch sends. The store echoes the native switch's to both, so that all that follows
//!   from it is equal again, ends of leases too.
//! - `rp_renew_at` of a slot for which RENEW was sent: it counts from the clock. It must be as near as the clocks are.
//! - A register of 64 bits and more: BMv2's runtime interface tells signed numbers of 64 bits, and the largest of them for
//!   all that are larger.
//! - What leaves by a port that no cable is on, or is no frame that Linux takes ([`travels`]): nobody sees it.

use redplane_sdk::protocol::wire::UDP_PORT;

use crate::store::{ENVELOPE, SENT_AT};
use crate::subject::{Cells, Frames, RENEW_AT};

/// Ticks by which the clocks may differ: ten minutes, longer than a round takes, and far less than a quarter of a lease.
pub const SKEW_TICKS: u32 = 600_000;

/// The largest number that BMv2's runtime interface tells.
const REGISTER_MAX: u128 = i64::MAX as u128;

/// Whether a frame gets over a cable: it has an Ethernet header, and if Linux takes the VLAN tag out of it (`skb_vlan_untag`) at
/// least the tag and what it takes along.
pub fn travels(frame: &[u8]) -> bool {
    frame.len() >= 20 || frame.len() >= 14 && frame[12..14] != [0x81, 0x00]
}

/// A frame of the switch without what need not be equal.
pub fn masked(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let ports = UDP_PORT.to_be_bytes();
    let is_message = frame.len() >= ENVELOPE + SENT_AT.end
        && frame[12..14] == [0x08, 0x00]
        && frame[23] == 17
        && frame[34..36] == ports
        && frame[36..38] == ports;
    if is_message {
        frame[ENVELOPE + SENT_AT.start..ENVELOPE + SENT_AT.end].fill(0);
    }
    frame
}

/// Frames without what need not be equal.
pub fn masked_frames(frames: &Frames) -> Frames {
    frames.iter().map(|(port, frames)| (*port, frames.iter().map(|frame| masked(frame)).collect())).collect()
}

/// Names of the registers that differ and must not.
pub fn differing<'n>(
    names: &'n [(String, u16)],
    expected: &Cells,
    found: &Cells,
    renewed: bool,
) -> Vec<&'n str> {
    let cells = names.iter().zip(expected.iter().zip(found));
    let differs = |(name, (expected, found)): &(&(String, u16), (&u128, &u128))| {
        let expected = (*expected).min(&REGISTER_MAX);
        let apart = expected.abs_diff(**found);
        let near = renewed && name.0 == RENEW_AT && apart < SKEW_TICKS.into();
        expected != *found && !near
    };
    cells.filter(differs).map(|(name, _)| name.0.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_differ_is_passed_over() {
        let max = u128::from(u64::MAX);
        let names = [("a".to_owned(), 32), ("wide".to_owned(), 128), (RENEW_AT.to_owned(), 32)];
        let names = names.as_slice();
        assert_eq!(differing(names, &vec![1, max, 3], &vec![1, max / 2, 4], true), Vec::<&str>::new());
        assert_eq!(differing(names, &vec![1, 2, 3], &vec![1, 9, 3], true), ["wide"]);
        assert_eq!(differing(names, &vec![1, 2, 3], &vec![0, 2, 4], false), ["a", RENEW_AT]);
        assert_eq!(differing(names, &vec![1, 2, 3], &vec![1, 2, 700_000], true), [RENEW_AT]);
    }
}
