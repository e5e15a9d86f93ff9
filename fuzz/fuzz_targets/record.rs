//! What decodes as a record encodes the same, and is as long as it was said at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redplane_protocol::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((key, record)) = Record::decode(bytes) {
        let mut encoded = Vec::new();
        record.encode(&key, &mut encoded);
        assert_eq!(encoded, bytes);
        assert!(encoded.len() <= record.encoded_len_max(&key));
        assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
    }
});
