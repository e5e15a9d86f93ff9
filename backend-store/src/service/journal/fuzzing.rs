//! Whatever lies in the files: what was written so is found, and nothing else.

use redplane_protocol::{Record, RecordKey, Serial};
use xxhash_rust::xxh3::xxh3_64;

use super::changes::Changes;
use super::folder::{Identity, identity_from, identity_text, witness_file, witnessed};
use super::scan::{MAGIC, Rest, Scan, TAG_CLEAR, TAG_END, TAG_ITEM, TAG_START, scan};
use super::storage::{NUMBER_KEY, ShardMeta, number_of, read_record, seal};
use crate::fuzzing::Input;

/// Reads bytes as each of the files, raw and with right checksums.
///
/// # Panics
/// If what comes out is wrong.
pub fn journal(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.byte() % 6 {
        0 => raw(input.0),
        1 => batches(&mut input),
        2 => witness(&mut input),
        3 => identity(&mut input),
        4 => values(&mut input),
        _ => changes(&mut input),
    }
}

fn scanned(file: &[u8]) -> Scan {
    scan(file, file.len() as u64).expect("memory can be read")
}

/// What was found sound is sound by itself.
fn raw(file: &[u8]) {
    let found = scanned(file);
    let sound = &file[..found.sound_len as usize];
    assert_eq!(scanned(sound), Scan { rest: Rest::Unused, ..found });
    // A file that is longer or shorter than it was said to be, as if another process wrote it.
    for len in [file.len() as u64 / 2, file.len() as u64 + 9, u64::MAX] {
        let _ = scan(file, len).map(|found| assert!(found.sound_len <= len));
    }
    let _ = (witnessed(file), identity_from(file), ShardMeta::parse(file), number_of(file));
    let _ = read_record(file.get(..9).unwrap_or(file), file);
}

/// Whole batches are found, up to the first that is cut or changed.
fn batches(input: &mut Input<'_>) {
    let (mut file, mut ends, mut last) = (Vec::new(), vec![0], None);
    for _ in 0..input.byte() % 4 {
        let (batch, number) = batch(input);
        file.extend(batch);
        ends.push(file.len());
        last = last.max(number);
    }
    let whole = file.len();
    file.resize(whole + usize::from(input.byte()) * 4, 0);
    assert_eq!(scanned(&file), Scan { sound_len: whole as u64, rest: Rest::Unused, number: last });
    let (at, change) = (input.number() as usize, input.byte());
    let before = |at: usize| ends.iter().copied().filter(|end| *end <= at).max().unwrap_or(0);
    if at < whole {
        let cut = scanned(&file[..at]);
        assert_eq!(cut.sound_len, before(at) as u64);
        assert_eq!(cut.rest == Rest::Unused, before(at) == at);
        file[at] ^= change;
        // The engine's checksum is not over the sequence number (8 bytes behind tag and count).
        let is_number = (5..13).contains(&(at - before(at)));
        let found = scanned(&file);
        if change != 0 && !is_number {
            assert_eq!((found.sound_len, found.rest), (before(at) as u64, Rest::Broken), "byte {at}");
        }
    } else if at < file.len() && change != 0 {
        file[at] = change;
        assert_eq!((scanned(&file).sound_len, scanned(&file).rest), (whole as u64, Rest::Broken));
    }
}

/// A batch as the engine writes it, and the number of the group if it has one.
fn batch(input: &mut Input<'_>) -> (Vec<u8>, Option<u64>) {
    let (mut items, mut last) = (Vec::new(), None);
    let count = input.byte() % 4;
    for _ in 0..count {
        let kind = input.byte();
        if kind & 0x80 != 0 {
            items.push(TAG_CLEAR);
            items.extend(input.array::<8>());
            continue;
        }
        let (key, value) = if kind & 0x40 != 0 {
            let mut numbers = input.number().to_be_bytes().to_vec();
            numbers.extend([0; 16]);
            (NUMBER_KEY, seal(NUMBER_KEY, &numbers).0)
        } else {
            (input.bytes(usize::from(kind & 0xf)), input.bytes(usize::from(kind >> 4)).to_vec())
        };
        let kind = kind % 3;
        items.extend([TAG_ITEM, kind, 0]);
        items.extend(input.array::<8>());
        items.extend((key.len() as u16).to_le_bytes());
        items.extend((value.len() as u32).to_le_bytes().repeat(2));
        items.extend(key);
        items.extend(&value);
        let number = if kind == 0 && key == NUMBER_KEY { number_of(&value) } else { None };
        last = last.max(number);
    }
    let mut batch = vec![TAG_START];
    batch.extend(u32::from(count).to_le_bytes());
    batch.extend(input.array::<8>());
    batch.extend(&items);
    batch.push(TAG_END);
    batch.extend(xxh3_64(&items).to_le_bytes());
    batch.extend(MAGIC);
    (batch, last)
}

/// A torn write spoils one place, and the other still speaks.
fn witness(input: &mut Input<'_>) {
    let numbers = [input.number(), input.number()];
    let mut file = witness_file(numbers);
    assert_eq!(witnessed(&file), numbers.into_iter().max());
    let (place, at, change) = (usize::from(input.flag()), usize::from(input.byte() % 16), input.byte());
    let half = file.len() / 2;
    file[place * half + at] ^= change;
    let left = if change == 0 { numbers.into_iter().max() } else { Some(numbers[1 - place]) };
    assert_eq!(witnessed(&file), left);
    file.truncate(usize::from(input.byte()) * 4);
    assert_eq!(witnessed(&file), None);
}

fn identity(input: &mut Input<'_>) {
    let (format, node) = (input.number() as u32, input.number() as u16);
    let (at, change) = (usize::from(input.byte()), input.byte());
    let cluster = String::from_utf8_lossy(input.0).into_owned();
    let identity = Identity { format, cluster, node };
    let mut text = identity_text(&identity);
    assert_eq!(identity_from(&text), Some(identity));
    if let Some(byte) = text.get_mut(at).filter(|_| change != 0) {
        *byte ^= change;
        assert_eq!(identity_from(&text), None, "byte {at}");
    }
}

/// Heads of shards, and records under their keys.
fn values(input: &mut Input<'_>) {
    if let Some(meta) = ShardMeta::parse(input.0) {
        assert_eq!(ShardMeta::parse(&meta.to_bytes()), Some(meta));
    }
    let (at, change) = (usize::from(input.byte()), input.byte());
    let Ok((name, record)) = Record::decode(input.0) else { return };
    let mut key = vec![2, 0, 0, 0, 0, 0, 0];
    key.extend(name.app().to_be_bytes());
    key.extend(name.key());
    let (mut value, checksum) = seal(&key, input.0);
    assert_eq!(read_record(&key, &value), Ok((checksum, (name, record.clone()))));
    let mut again = Vec::new();
    record.encode(&name, &mut again);
    assert_eq!(again, input.0);
    if let Some(byte) = value.get_mut(at).filter(|_| change != 0) {
        *byte ^= change;
        assert!(read_record(&key, &value).is_err(), "byte {at}");
    }
}

fn changes(input: &mut Input<'_>) {
    let (mut changes, mut expected) = (Changes::new(), Vec::new());
    while !input.is_empty() {
        let len = input.byte();
        let app = u16::from(input.byte());
        let Some(key) = RecordKey::new(app, input.bytes(usize::from(len >> 4))) else { continue };
        let record = (len & 1 != 0).then(|| input.bytes(usize::from(len & 0xf)));
        match record {
            Some(record) => changes.put(&key, record),
            None => changes.remove(&key),
        }
        expected.push((key, record));
    }
    changes.set_generation(Serial(1));
    let found: Vec<_> =
        changes.iter().map(|change| (RecordKey::new(change.app, change.key), change.record)).collect();
    assert_eq!(found, expected.into_iter().map(|(key, record)| (Some(key), record)).collect::<Vec<_>>());
    assert_eq!(changes.len(), found.len());
}
