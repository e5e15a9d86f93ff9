//! What one append writes, encoded by whoever has the records, so that the journal's thread need not know them.

use redplane_protocol::{RecordKey, Serial};

/// Puts and removals of one append, in order. They become durable together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Operation after operation: app, length of the key, key, length of the record or [`REMOVED`], record.
    bytes: Vec<u8>,
    count: usize,
    generation: Option<Serial>,
    epoch: Option<u64>,
}

/// In place of a record's length: the record is gone.
const REMOVED: u32 = u32::MAX;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) app: u16,
    pub(super) key: &'a [u8],
    /// `None`: removed.
    pub(super) record: Option<&'a [u8]>,
}

impl Changes {
    /// No change yet. An append without any still tells when everything before it is durable.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), count: 0, generation: None, epoch: None }
    }

    /// Writes a record, given as [`Record::encode`](redplane_protocol::Record::encode) writes it.
    ///
    /// # Panics
    /// If it has 4 GiB or more: no record has.
    pub fn put(&mut self, key: &RecordKey, record: &[u8]) {
        let len = u32::try_from(record.len()).ok().filter(|len| *len != REMOVED);
        self.push_key(key);
        self.bytes.extend(len.expect("a record is shorter than 4 GiB").to_be_bytes());
        self.bytes.extend(record);
    }

    /// Forgets a record.
    pub fn remove(&mut self, key: &RecordKey) {
        self.push_key(key);
        self.bytes.extend(REMOVED.to_be_bytes());
    }

    /// Keeps the shard's generation counter. What was set last counts.
    pub fn set_generation(&mut self, generation: Serial) {
        self.generation = Some(generation);
    }

    /// Keeps the epoch under which the changes were made. What was set last counts.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = Some(epoch);
    }

    /// How many puts and removals it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether it changes nothing at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0 && self.generation.is_none() && self.epoch.is_none()
    }

    /// Bytes that it takes in the queue.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn generation(&self) -> Option<Serial> {
        self.generation
    }

    pub(super) const fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The operations in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (app, after) = rest.split_first_chunk::<2>()?;
            let (len, after) = after.split_first()?;
            let (key, after) = after.split_at_checked(usize::from(*len))?;
            let (len, after) = after.split_first_chunk::<4>()?;
            let len = u32::from_be_bytes(*len);
            let (record, after) = match len {
                REMOVED => (None, after),
                len => after.split_at_checked(len as usize).map(|(record, after)| (Some(record), after))?,
            };
            rest = after;
            Some(Change { app: u16::from_be_bytes(*app), key, record })
        })
    }

    fn push_key(&mut self, key: &RecordKey) {
        self.count += 1;
        self.bytes.extend(key.app().to_be_bytes());
        // A key has at most `KEY_LEN_MAX` bytes, which fit one byte's number.
        self.bytes.push(key.key().len() as u8);
        self.bytes.extend(key.key());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_out_as_they_went_in() {
        let first = RecordKey::new(1, &[2, 3]).unwrap();
        let second = RecordKey::new(0x0405, &[]).unwrap();
        let mut changes = Changes::new();
        assert!(changes.is_empty());
        changes.put(&first, b"record");
        changes.remove(&second);
        changes.put(&second, b"");
        changes.set_generation(Serial(9));
        let found: Vec<_> = changes.iter().collect();
        let expected = [
            Change { app: 1, key: &[2, 3], record: Some(b"record") },
            Change { app: 0x0405, key: &[], record: None },
            Change { app: 0x0405, key: &[], record: Some(b"") },
        ];
        assert_eq!(found, expected);
        assert_eq!((changes.len(), changes.generation(), changes.epoch()), (3, Some(Serial(9)), None));
        assert!(!changes.is_empty());
    }
}
