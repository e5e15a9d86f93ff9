//! A record as bytes.

use redplane_protocol::chain::{ChainDecodeError, Content};
use redplane_protocol::{ChainMessage, Record, RecordKey, Serial};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordDecodeError {
    /// A field is cut off or holds what no record has.
    #[error(transparent)]
    Malformed(#[from] ChainDecodeError),
    /// They hold something else than exactly one record.
    #[error("the bytes hold something else than one record")]
    NotOneRecord,
}

/// Appends a record with its key to `out`, in the encoding of the chain.
pub fn record_to_bytes(key: &RecordKey, record: &Record, out: &mut Vec<u8>) {
    let content = Content::Copy { portion: 0, records: vec![(*key, record.clone())] };
    let message = ChainMessage { shard: 0, epoch: 0, generation: Serial::ZERO, content };
    out.extend(message.to_vec());
}

/// Reads what [`record_to_bytes`] wrote: all of `bytes`.
///
/// # Errors
/// If the bytes are anything else.
pub fn record_from_bytes(bytes: &[u8]) -> Result<(RecordKey, Record), RecordDecodeError> {
    match ChainMessage::parse(bytes)?.content {
        Content::Copy { records, .. } => match <[_; 1]>::try_from(records) {
            Ok([record]) => Ok(record),
            Err(_) => Err(RecordDecodeError::NotOneRecord),
        },
        _ => Err(RecordDecodeError::NotOneRecord),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
