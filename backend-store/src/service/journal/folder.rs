//! The folder of a journal: whose it is, who has it open, and what was acknowledged from it.
//!
//! ```text
//! node-0/
//!   identity   cluster, node, format; with a checksum
//!   lock       locked as long as a process has the journal open
//!   witness    number of the last group of appends that was acknowledged
//!   records/   fjall's
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redplane_protocol::NodeId;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::JournalError;

/// Version of the layout of the folder and of the keys and values in it.
const FORMAT: u32 = 1;

const IDENTITY: &str = "identity";
const LOCK: &str = "lock";
const WITNESS: &str = "witness";
const RECORDS: &str = "records";

/// How old the witness on the disk may be. It is in the kernel's hands before each acknowledgement, so that it is exact
/// however the process ends; only a loss of power can set it back, by so much at most. A sync for each acknowledgement
/// would double the cost of a group; ten a second cost nothing.
pub(super) const WITNESS_AGE_MAX: Duration = Duration::from_millis(100);

/// Bytes from one place of the witness to the other: two sectors, so that a torn write spoils one place only.
const WITNESS_PLACE_LEN: u64 = 512;
const WITNESS_LEN: u64 = 2 * WITNESS_PLACE_LEN;

/// Longest file `identity` that is read: a name of any sense is far shorter.
const IDENTITY_LEN_MAX: u64 = 64 * 1024;

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) format: u32,
    pub(super) cluster: String,
    pub(super) node: u16,
}

/// An open folder. Nobody else has it as long as this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked; the lock ends with it.
    _lock: File,
    witness: Witness,
}

impl Folder {
    /// Opens the folder, or makes it: `prepare` fills the new folder of records.
    pub(super) fn open(
        path: &Path,
        cluster: &str,
        node: NodeId,
        prepare: impl FnOnce(&Path) -> Result<(), JournalError>,
    ) -> Result<Self, JournalError> {
        let fail = |doing| failing(path, doing);
        match path.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => create(path, cluster, node, prepare)?,
            Err(error) => return Err(fail("read the folder")(error)),
            Ok(mut entries) => {
                if entries.next().is_none() {
                    create(path, cluster, node, prepare)?;
                }
            }
        }
        if !path.join(IDENTITY).try_exists().map_err(fail("look for file `identity`"))? {
            return Err(JournalError::NotAJournal { folder: path.to_path_buf() });
        }
        let lock = lock(path)?;
        check_identity(path, cluster, node)?;
        let witness = Witness::open(&path.join(WITNESS)).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::InvalidData => {
                damaged(path, "file `witness` is missing, or its checksums are wrong")
            }
            _ => fail("open file `witness`")(error),
        })?;
        Ok(Self { path: path.to_path_buf(), _lock: lock, witness })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn records(&self) -> PathBuf {
        self.path.join(RECORDS)
    }

    pub(super) fn witness(&mut self) -> &mut Witness {
        &mut self.witness
    }
}

/// Moves a folder to `<folder>.damaged-<n>` with the first free `n`, and returns that.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let _lock = lock(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for number in 1_u32.. {
        let aside = path.with_file_name(format!("{name}.damaged-{number}"));
        if aside.try_exists().map_err(failing(path, "look for a free name"))? {
            continue;
        }
        fs::rename(path, &aside).map_err(failing(path, "move the folder aside"))?;
        sync_parent(path)?;
        return Ok(aside);
    }
    let full = io::Error::from(ErrorKind::AlreadyExists);
    Err(failing(path, "find a free name beside it")(full))
}

/// A function that makes an error of the file system one of the journal.
pub(super) fn failing(path: &Path, doing: &str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { folder: path.to_path_buf(), doing: doing.to_owned(), source }
}

pub(super) fn damaged(path: &Path, what: impl Into<String>) -> JournalError {
    JournalError::Damaged { folder: path.to_path_buf(), what: what.into() }
}

/// Makes the folder under another name and moves it into place when it is whole, so that there is never half a journal.
fn create(
    path: &Path,
    cluster: &str,
    node: NodeId,
    prepare: impl FnOnce(&Path) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(failing(path, "remove what an interrupted start left beside it")(error));
        }
        _ => {}
    }
    fs::create_dir_all(new.join(RECORDS)).map_err(failing(path, "make the folder"))?;
    prepare(&new.join(RECORDS))?;
    let identity = Identity { format: FORMAT, cluster: cluster.to_owned(), node: node.0 };
    write_file(&new.join(IDENTITY), &identity_text(&identity)).map_err(failing(path, "write `identity`"))?;
    write_file(&new.join(LOCK), &[]).map_err(failing(path, "write `lock`"))?;
    Witness::create(&new.join(WITNESS)).map_err(failing(path, "write `witness`"))?;
    File::open(&new).and_then(|folder| folder.sync_all()).map_err(failing(path, "sync the folder"))?;
    fs::rename(&new, path).map_err(failing(path, "move the new folder into place"))?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> Result<(), JournalError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(failing(path, "sync the folder above"))
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn lock(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
    let file = file.map_err(failing(path, "open file `lock`"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked { folder: path.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(failing(path, "lock file `lock`")(error)),
    }
}

/// One line of JSON, and a line with its checksum.
pub(super) fn identity_text(identity: &Identity) -> Vec<u8> {
    let json = serde_json::to_string(identity).unwrap_or_default();
    format!("{json}\n{:016x}\n", xxh3_64(json.as_bytes())).into_bytes()
}

/// Whose folder it is; `None` if the bytes are not those of [`identity_text`].
pub(super) fn identity_from(bytes: &[u8]) -> Option<Identity> {
    let json = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let identity = serde_json::from_slice::<Identity>(json).ok();
    identity.filter(|identity| identity_text(identity) == bytes)
}

fn check_identity(path: &Path, cluster: &str, node: NodeId) -> Result<(), JournalError> {
    let mut bytes = Vec::new();
    let read = File::open(path.join(IDENTITY))
        .and_then(|file| file.take(IDENTITY_LEN_MAX).read_to_end(&mut bytes).map(drop));
    read.map_err(failing(path, "read file `identity`"))?;
    let Some(found) = identity_from(&bytes) else {
        return Err(damaged(path, "the checksum of file `identity` is wrong"));
    };
    let folder = path.to_path_buf();
    if found.format != FORMAT {
        return Err(JournalError::Format { folder, found: found.format, expected: FORMAT });
    }
    if found.cluster != cluster {
        let (found, expected) = (found.cluster, cluster.to_owned());
        return Err(JournalError::OtherCluster { folder, found, expected });
    }
    if found.node != node.0 {
        return Err(JournalError::OtherNode { folder, found: NodeId(found.node), expected: node });
    }
    Ok(())
}

/// The number of the last acknowledged group of appends, kept apart from the groups themselves: without it, an end of the
/// journal that got lost could not be told from one that was never written.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    number: u64,
    unsynced_since: Option<Instant>,
}

impl Witness {
    fn create(path: &Path) -> io::Result<()> {
        write_file(path, &witness_file([0; 2]))
    }

    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(WITNESS_LEN + 1).read_to_end(&mut bytes)?;
        let number = witnessed(&bytes).ok_or(ErrorKind::InvalidData)?;
        Ok(Self { file, number, unsynced_since: None })
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Notes that group `number` is about to be acknowledged.
    pub(super) fn write(&mut self, number: u64) -> io::Result<()> {
        let place = number % 2 * WITNESS_PLACE_LEN;
        self.file.seek(SeekFrom::Start(place))?;
        self.file.write_all(&witness_bytes(number))?;
        self.number = number;
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// When [`sync`](Self::sync) is due, if it is at all.
    pub(super) fn sync_at(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + WITNESS_AGE_MAX)
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.unsynced_since = None;
        self.file.sync_data()
    }
}

/// The file with these numbers in its places.
pub(super) fn witness_file(numbers: [u64; 2]) -> Vec<u8> {
    let mut bytes = vec![0; WITNESS_LEN as usize];
    for (place, number) in bytes.chunks_mut(WITNESS_PLACE_LEN as usize).zip(numbers) {
        place[..16].copy_from_slice(&witness_bytes(number));
    }
    bytes
}

/// The later of the numbers in a file that are sound; `None` if none is, or it is not as long as it must be.
pub(super) fn witnessed(bytes: &[u8]) -> Option<u64> {
    let places = bytes.chunks(WITNESS_PLACE_LEN as usize).filter_map(|place| {
        let number = u64::from_be_bytes(*place.first_chunk()?);
        (place.get(..16)? == witness_bytes(number)).then_some(number)
    });
    places.max().filter(|_| bytes.len() as u64 == WITNESS_LEN)
}

fn witness_bytes(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let checksum = xxh3_64(&bytes[..8]);
    bytes[8..].copy_from_slice(&checksum.to_be_bytes());
    bytes
}
