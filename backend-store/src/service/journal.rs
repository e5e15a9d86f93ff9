//! The journal: what makes acknowledged writes outlive the process.
//!
//! One [`Journal`] per node keeps the current records of its durable shards, on the storage engine fjall. Appends are
//! queued; one thread writes everything that is queued as one group, syncs it to the disk once, and then tells each append
//! that it is done. The more is going on, the larger the groups become.
//!
//! What it promises, and under what:
//!
//! - **The process ends, in whatever way**: every append whose `done` ran is there when the journal is opened again. Appends
//!   that did not hear of it may be there too, whole groups of them.
//! - **Power is lost**: the same, if the disk keeps what it was told to sync.
//! - **Bytes in the files change, or an end of a file is lost**: opening it says [`Damage`] or [`JournalError::Damaged`];
//!   never does it yield other records than were acknowledged. Checksums go from end to end and do not rely on the
//!   engine's. What cannot be told from an interrupted write is damage to the last 100 ms of a journal that *also* lost
//!   power then.
//! - **The disk fails while it runs**: no further `done` runs, [`Journal::failure`] and [`Journal::when_failed`] say why.
//!
//! A damaged journal is moved aside with [`Journal::set_aside`]. The node then joins as new and gets its records from the
//! chain; what the damaged one held can still be looked at.

mod changes;
mod error;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod scan;
mod storage;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redplane_protocol::{NodeId, Record, RecordKey, Serial};

pub use changes::Changes;
pub use error::{Damage, JournalError, JournalFailure};
pub use writer::{Done, Full, OnFailure, QUEUE_APPENDS_MAX, QUEUE_BYTES_MAX};

use folder::{Folder, damaged, failing};
use scan::ScanError;
use storage::{Limits, Storage, StorageError};
use writer::{Command, Writer};

/// Records in one append when a journal is rebuilt: enough to make a sync worth its time.
const REBUILD_RECORDS: usize = 4096;

/// The open journal of one node. When it is dropped, everything queued is written first.
pub struct Journal {
    writer: Writer,
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("failure", &self.failure()).finish_non_exhaustive()
    }
}

/// A journal, and what was found in it.
#[derive(Debug)]
pub struct Opened {
    /// For appends to all shards but the damaged ones.
    pub journal: Journal,
    /// Each shard that was asked for.
    pub shards: BTreeMap<u16, Result<Restored, Damage>>,
}

/// What the journal kept of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The generation counter as it was last appended.
    pub generation: Serial,
    /// The epoch as it was last appended.
    pub epoch: u64,
    /// Whether these are all records of the shard: it was [completed](Journal::complete) since it was last
    /// [cleared](Journal::clear). A shard that the journal never saw is not complete.
    pub complete: bool,
    /// The current records in order of their keys, tombstones too.
    pub records: Vec<(RecordKey, Record)>,
}

impl Opened {
    /// The damaged shards. If there are any, the whole folder should be [rebuilt](Journal::rebuild): all shards share its
    /// files.
    pub fn damaged(&self) -> impl Iterator<Item = &Damage> {
        self.shards.values().filter_map(|shard| shard.as_ref().err())
    }
}

impl Journal {
    /// Opens a node's journal, or makes an empty one, and reads the given shards. Takes time and memory for all their
    /// records.
    ///
    /// # Errors
    /// If the folder is another cluster's or node's, is in use, holds something else, is damaged as a whole, or the file
    /// system refuses. Damage to a single shard is told in [`Opened::shards`]; the journal then refuses to write that
    /// shard.
    pub fn open(
        folder: &Path,
        cluster: &str,
        node: NodeId,
        shards: &BTreeSet<u16>,
    ) -> Result<Opened, JournalError> {
        Self::open_with(folder, cluster, node, shards, Limits::default())
    }

    fn open_with(
        path: &Path,
        cluster: &str,
        node: NodeId,
        shards: &BTreeSet<u16>,
        limits: Limits,
    ) -> Result<Opened, JournalError> {
        let prepare = |records: &Path| {
            Storage::create(records, limits).map_err(|error| engine_error(path, StorageError::Engine(error)))
        };
        let mut folder = Folder::open(path, cluster, node, prepare)?;
        let acknowledged = folder.witness().number();
        scan::check(&folder.records(), acknowledged).map_err(|error| match error {
            ScanError::Io(file, source) => {
                let doing = format!("read `{}`", file.display());
                JournalError::Io { folder: path.to_path_buf(), doing, source }
            }
            ScanError::Damaged(what) => damaged(path, what),
        })?;
        // fjall panics over some contents that it could never have written.
        let read = AssertUnwindSafe(|| read(&folder, shards, acknowledged, limits));
        let (storage, shards) =
            catch_unwind(read).unwrap_or_else(|_| Err(damaged(path, "fjall panicked over its files")))?;
        let writer = Writer::start(folder, storage).map_err(failing(path, "start its thread"))?;
        Ok(Opened { journal: Self { writer }, shards })
    }

    /// Moves a closed folder out of the way, to `<folder>.damaged-<n>`, and returns where it is now.
    ///
    /// # Errors
    /// If a process has it open, or the file system refuses.
    pub fn set_aside(folder: &Path) -> Result<PathBuf, JournalError> {
        folder::set_aside(folder)
    }

    /// Sets the folder of a damaged journal aside and makes a new one with its sound shards. The damaged ones are empty
    /// and not complete in it. Also returns where the old folder is now.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`set_aside`](Self::set_aside), and if the new journal cannot be written. The old one
    /// is untouched in any case.
    pub fn rebuild(
        opened: Opened,
        folder: &Path,
        cluster: &str,
        node: NodeId,
    ) -> Result<(Opened, PathBuf), JournalError> {
        let Opened { journal, shards: old } = opened;
        drop(journal);
        let aside = Self::set_aside(folder)?;
        let mut new = Self::open(folder, cluster, node, &old.keys().copied().collect())?;
        for (shard, restored) in old {
            let Ok(restored) = restored else { continue };
            new.journal.write_all(folder, shard, &restored)?;
            new.shards.insert(shard, Ok(restored));
        }
        Ok((new, aside))
    }

    /// Queues changes of one shard. Never blocks. When they are durable, `done` runs on the journal's thread, after that of
    /// every earlier append; it must not block, and must not drop the journal.
    ///
    /// After a [`failure`](Self::failure) everything is dropped: no `done` runs any more. To append to a shard that was
    /// not opened, or is damaged, is such a failure.
    ///
    /// # Errors
    /// If [`QUEUE_APPENDS_MAX`] or [`QUEUE_BYTES_MAX`] is reached. The append is given back.
    pub fn append(&self, shard: u16, changes: Changes, done: Done) -> Result<(), Full> {
        self.writer.shared.append(shard, changes, done)
    }

    /// Whether the queue takes another append now. A worker asks before it takes in requests.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.writer.shared.has_room()
    }

    /// When the shard joins as new: forgets its records and that it was complete, in order with appends. The generation
    /// counter stays.
    pub fn clear(&self, shard: u16) {
        self.writer.shared.command(Command::Clear { shard });
    }

    /// When the shard has everything: its copy was confirmed, or it is the first node of a new chain. In order with appends.
    pub fn complete(&self, shard: u16) {
        self.writer.shared.command(Command::Complete { shard });
    }

    /// Why it has stopped, if it has. The node must not answer any more, for nothing that it says would last.
    #[must_use]
    pub fn failure(&self) -> Option<JournalFailure> {
        self.writer.shared.failure()
    }

    /// Runs `callback` when the journal stops, on its thread, or at once if it already has.
    pub fn when_failed(&self, callback: OnFailure) {
        self.writer.shared.when_failed(callback);
    }

    /// Appends a whole shard and waits.
    fn write_all(&self, folder: &Path, shard: u16, restored: &Restored) -> Result<(), JournalError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut bytes = Vec::new();
        // An empty part too, for the counters.
        let parts = restored.records.chunks(REBUILD_RECORDS).chain(std::iter::once(&[][..]));
        for part in parts {
            let mut changes = Changes::new();
            changes.set_generation(restored.generation);
            changes.set_epoch(restored.epoch);
            for (key, record) in part {
                bytes.clear();
                record.encode(key, &mut bytes);
                changes.put(key, &bytes);
            }
            let is_last = part.is_empty();
            if is_last && restored.complete {
                self.complete(shard);
            }
            let sender = sender.clone();
            // One at a time: the queue has room.
            let queued = self.append(shard, changes, Box::new(move || sender.send(()).unwrap_or_default()));
            if queued.is_err() || receiver.recv_timeout(REBUILD_PATIENCE).is_err() {
                let what = self.failure().map_or_else(|| "it is too slow".to_owned(), |failure| failure.what);
                return Err(failing(folder, "write the sound shards anew")(io::Error::other(what)));
            }
        }
        Ok(())
    }
}

/// For how long one append may take when a journal is rebuilt: no disk that works needs so long for a megabyte.
const REBUILD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

type Shards = BTreeMap<u16, Result<Restored, Damage>>;

fn read(
    folder: &Folder,
    shards: &BTreeSet<u16>,
    acknowledged: u64,
    limits: Limits,
) -> Result<(Storage, Shards), JournalError> {
    let path = folder.path();
    let storage = Storage::open(&folder.records(), limits, acknowledged);
    let mut storage = storage.map_err(|error| engine_error(path, error))?;
    let restore = |shard: &u16| {
        let restored = match storage.restore(*shard) {
            Ok((meta, records)) => {
                let (generation, epoch, complete) = (meta.generation, meta.epoch, meta.complete);
                Ok(Restored { generation, epoch, complete, records })
            }
            Err(what) => Err(Damage { shard: *shard, folder: path.to_path_buf(), what }),
        };
        (*shard, restored)
    };
    let shards = shards.iter().map(restore).collect();
    Ok((storage, shards))
}

/// Tells damage, which is set aside, from a system that refuses for the moment, which must not be.
fn engine_error(path: &Path, error: StorageError) -> JournalError {
    let folder = path.to_path_buf();
    match error {
        StorageError::Damaged(what) => damaged(path, what),
        StorageError::Engine(fjall::Error::Locked) => JournalError::Locked { folder },
        StorageError::Engine(
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)),
        ) if is_passing(&source) => failing(path, "open its records")(source),
        StorageError::Engine(error) => damaged(path, format!("fjall says {error:?}")),
    }
}

/// Errors that say nothing about the files' contents.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        Interrupted, OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy,
        StorageFull,
    };
    /// `EMFILE` and `ENFILE`: too many open files, which have no kind of their own.
    const OPEN_FILES_ERRORS: [i32; 2] = [24, 23];
    let kinds = [
        Interrupted,
        OutOfMemory,
        PermissionDenied,
        QuotaExceeded,
        ReadOnlyFilesystem,
        ResourceBusy,
        StorageFull,
    ];
    kinds.contains(&error.kind())
        || error.raw_os_error().is_some_and(|code| OPEN_FILES_ERRORS.contains(&code))
}
