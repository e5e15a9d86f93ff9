//! A look at the engine's write-ahead files before the engine does.
//!
//! At the first entry that it cannot read, fjall takes the rest of a file for the torn end of an interrupted write, and
//! cuts it off. One flipped bit in the middle thus drops every batch after it, without a word. Here the same files are
//! read first, and nothing is cut that was acknowledged. A batch whose pages reached the disk in part is cut here, for
//! fjall refuses to open a file whose last batch is complete in length and wrong in checksum.
//!
//! The layout is that of fjall 3 (`journal/entry.rs` and `journal/writer.rs` there, format `FJL` 3): a batch is a start
//! (tag 1, number of items, sequence number), its items (tag 2: type, compression, keyspace, lengths, key, value; or tag
//! 4: keyspace), and an end (tag 3, XXH3 of the items, magic). Files are filled up with zeros. All integers are
//! little-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::storage::{NUMBER_KEY, number_of};

pub(super) const TAG_START: u8 = 1;
pub(super) const TAG_ITEM: u8 = 2;
pub(super) const TAG_END: u8 = 3;
pub(super) const TAG_CLEAR: u8 = 4;
pub(super) const MAGIC: [u8; 4] = *b"FJL\x03";

/// Bytes of an item before its key, without the tag.
const ITEM_HEADER_LEN: usize = 1 + 1 + 8 + 2 + 4 + 4;

/// Bytes that are looked at in one go when the rest of a file should be zeros.
const ZEROS_STEP: usize = 64 * 1024;

/// Why the files must not be given to the engine.
#[derive(Debug)]
pub(super) enum ScanError {
    Io(PathBuf, io::Error),
    /// Which file, where, and what it means.
    Damaged(String),
}

/// What follows the last sound batch of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing, or zeros.
    Unused,
    /// Something that is no batch.
    Broken,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) sound_len: u64,
    pub(super) rest: Rest,
    /// Number of the last group in it.
    pub(super) number: Option<u64>,
}

/// Reads all write-ahead files in `folder`. `acknowledged` is the last group that was.
///
/// A torn end of the newest file is cut off, if nothing in it was acknowledged.
pub(super) fn check(folder: &Path, acknowledged: u64) -> Result<(), ScanError> {
    let files = files(folder).map_err(|error| ScanError::Io(folder.to_path_buf(), error))?;
    let mut number = None;
    for (at, path) in files.iter().enumerate() {
        let fail = |error| ScanError::Io(path.clone(), error);
        let file = File::open(path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let scan = scan(file, len).map_err(fail)?;
        number = number.max(scan.number);
        if scan.rest == Rest::Unused {
            continue;
        }
        let is_newest = at + 1 == files.len();
        if !is_newest || number.is_some_and(|number| number < acknowledged) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Err(ScanError::Damaged(format!(
                "`records/{name}` holds no sound batch at byte {}, but acknowledged ones after it",
                scan.sound_len
            )));
        }
        let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
        file.set_len(scan.sound_len).and_then(|()| file.sync_all()).map_err(fail)?;
    }
    Ok(())
}

/// The write-ahead files, oldest first. A name that fjall does not use is left for it to refuse.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl")
            && let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok())
        {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads one file of `len` bytes.
pub(super) fn scan(source: impl Read, len: u64) -> io::Result<Scan> {
    let mut reader = Reader { source: BufReader::new(source), left: len, hash: Xxh3::new(), number: None };
    let mut scan = Scan { sound_len: 0, rest: Rest::Unused, number: None };
    loop {
        let sound_left = reader.left;
        scan.sound_len = len - sound_left;
        if sound_left == 0 {
            return Ok(scan);
        }
        match reader.batch() {
            Ok(Entry::Batch) => scan.number = scan.number.max(reader.number),
            Ok(Entry::Zeros) => return Ok(scan),
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
                scan.rest = Rest::Broken;
                return Ok(scan);
            }
            Err(error) => return Err(error),
        }
    }
}

enum Entry {
    Batch,
    Zeros,
}

struct Reader<R> {
    source: BufReader<R>,
    left: u64,
    hash: Xxh3,
    /// Number of the group in the last batch that had one.
    number: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// Reads one batch, or that there is none any more. An error of kind `InvalidData` or `UnexpectedEof` means: neither.
    fn batch(&mut self) -> io::Result<Entry> {
        match self.array::<1>()?[0] {
            0 => return self.zeros(),
            tag => expect(tag == TAG_START)?,
        }
        let count = u32::from_le_bytes(self.array()?);
        let _sequence: [u8; 8] = self.array()?;
        self.hash.reset();
        let mut number = None;
        for _ in 0..count {
            number = number.max(self.item()?);
        }
        expect(self.array()? == [TAG_END])?;
        expect(u64::from_le_bytes(self.array()?) == self.hash.digest())?;
        expect(self.array()? == MAGIC)?;
        self.number = number;
        Ok(Entry::Batch)
    }

    /// Reads an item, and the number of the group if it is that.
    fn item(&mut self) -> io::Result<Option<u64>> {
        let tag: [u8; 1] = self.array()?;
        self.hash.update(&tag);
        if tag == [TAG_CLEAR] {
            let keyspace: [u8; 8] = self.array()?;
            self.hash.update(&keyspace);
            return Ok(None);
        }
        expect(tag == [TAG_ITEM])?;
        let header: [u8; ITEM_HEADER_LEN] = self.array()?;
        self.hash.update(&header);
        let [kind, compression, .., a, b, c, d, e, f, g, h, i, j] = header;
        let key_len = u16::from_le_bytes([a, b]);
        let value_len = u32::from_le_bytes([c, d, e, f]);
        expect(kind <= 2 && compression == 0 && value_len == u32::from_le_bytes([g, h, i, j]))?;
        let key = self.bytes(key_len.into())?;
        let value = self.bytes(value_len.into())?;
        self.hash.update(&key);
        self.hash.update(&value);
        Ok(if kind == 0 && key == NUMBER_KEY { number_of(&value) } else { None })
    }

    fn zeros(&mut self) -> io::Result<Entry> {
        let mut buffer = vec![0; ZEROS_STEP];
        while self.left > 0 {
            let step = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let part = &mut buffer[..step];
            self.source.read_exact(part)?;
            self.left -= part.len() as u64;
            expect(part.iter().all(|byte| *byte == 0))?;
        }
        Ok(Entry::Zeros)
    }

    /// Never asks for more memory than the file has bytes, whatever a length says.
    fn bytes(&mut self, len: u64) -> io::Result<Vec<u8>> {
        if len > self.left {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| ErrorKind::InvalidData)?];
        self.source.read_exact(&mut bytes)?;
        self.left -= len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.source.read_exact(&mut array)?;
        self.left = self.left.saturating_sub(N as u64);
        Ok(array)
    }
}

fn expect(sound: bool) -> io::Result<()> {
    if sound { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}
