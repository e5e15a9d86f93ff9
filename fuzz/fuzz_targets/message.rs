//! What parses as a message prints the same, but for flag bits and reasons that mean nothing there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redplane_protocol::{Message, Schema};

const SCHEMA: Schema = Schema { app: 1, fingerprint: 2, key_len: 7, value_len: 6 };

fuzz_target!(|bytes: &[u8]| {
    // App and fingerprint are made right, or little would get past them.
    let mut bytes = bytes.to_vec();
    if let Some(names) = bytes.get_mut(4..8) {
        names.copy_from_slice(&[0, 1, 0, 2]);
    }
    if let Ok(message) = Message::parse(&bytes, &SCHEMA) {
        let printed = message.to_vec();
        assert_eq!(printed[4..], bytes[4..]);
        assert_eq!(Message::parse(&printed, &SCHEMA), Ok(message));
    }
});
