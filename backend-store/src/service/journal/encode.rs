//! A record as bytes.

use redplane_protocol::chain::ChainDecodeError;
use redplane_protocol::{Record, RecordKey};

/// Why bytes are no record.
pub type RecordDecodeError = ChainDecodeError;

/// Appends a record with its key to `out`, in the encoding of the chain.
pub fn record_to_bytes(key: &RecordKey, record: &Record, out: &mut Vec<u8>) {
    record.encode(key, out);
}

/// Reads what [`record_to_bytes`] wrote: all of `bytes`.
///
/// # Errors
/// If the bytes are anything else.
pub fn record_from_bytes(bytes: &[u8]) -> Result<(RecordKey, Record), RecordDecodeError> {
    Record::decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use redplane_protocol::Serial;

    #[test]
    fn a_record_survives_its_encoding_and_no_cut_does() {
        let key = RecordKey::new(3, &[1, 2]).unwrap();
        let record = Record::tombstone(Serial(7));
        let mut bytes = Vec::new();
        record_to_bytes(&key, &record, &mut bytes);
        assert_eq!(record_from_bytes(&bytes), Ok((key, record)));
        for len in 0..bytes.len() {
            assert!(record_from_bytes(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}
