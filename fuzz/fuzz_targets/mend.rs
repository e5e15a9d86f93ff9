//! Makes checksums right: a fuzzer cannot guess them, and would never see what lies behind.

use redplane_sdk::checksum::checksum;

/// Makes the IPv4 header's checksum right, if the frame has such a header without options.
pub fn mend(frame: &mut [u8]) {
    if let Some([0x08, 0x00, 0x45, ..]) = frame.get(12..)
        && let Some(header) = frame.get_mut(14..34)
    {
        header[10..12].fill(0);
        let right = checksum(header).to_be_bytes();
        header[10..12].copy_from_slice(&right);
    }
}
