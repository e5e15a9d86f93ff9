//! What parses as a chain message prints the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redplane_protocol::ChainMessage;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = ChainMessage::parse(bytes) {
        assert_eq!(message.to_vec(), bytes);
    }
});
