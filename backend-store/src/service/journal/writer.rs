//! The queue of appends, and the thread that writes whatever is in it as one group.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::changes::Changes;
use super::error::JournalFailure;
use super::folder::Folder;
use super::storage::{Step, Storage};

/// Bytes of changes in the queue. At 200 MB/s, which an ordinary disk writes in sequence, they are written in less than
/// a tenth of a second: more would only make answers older than a switch waits. As much may be under way to the disk.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Appends in the queue. A group of as many takes its callbacks some milliseconds to run; a queue of small ones
/// is bounded by it in memory.
pub const QUEUE_APPENDS_MAX: usize = 65_536;

/// Runs when an append is durable.
pub type Done = Box<dyn FnOnce() + Send>;

/// Runs when the journal stops.
pub type OnFailure = Box<dyn FnOnce(&JournalFailure) + Send>;

/// The queue is full: the append was not taken. Nothing is lost, it is given back; offer it again when earlier ones are
/// done, and take in no more work until then.
pub struct Full {
    /// What was to be written.
    pub changes: Changes,
    /// What was to run then.
    pub done: Done,
}

impl fmt::Debug for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Full").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the journal's queue is full ({QUEUE_APPENDS_MAX} appends or {QUEUE_BYTES_MAX} bytes): the disk is slower \
             than the writes; offer it again when earlier ones are done"
        )
    }
}

impl std::error::Error for Full {}

pub(super) enum Command {
    Append { shard: u16, changes: Changes, done: Done },
    Clear { shard: u16 },
    Complete { shard: u16 },
}

#[derive(Default)]
struct Queue {
    commands: Vec<Command>,
    bytes: usize,
    appends: usize,
    closing: bool,
    failure: Option<JournalFailure>,
    on_failure: Vec<OnFailure>,
}

#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Shared {
    /// A callback that panicked elsewhere leaves the queue as it was: each change of it is complete.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, shard: u16, changes: Changes, done: Done) -> Result<(), Full> {
        let mut queue = self.queue();
        if queue.failure.is_some() {
            return Ok(());
        }
        let bytes = queue.bytes + changes.size();
        // One append alone always fits, however large.
        let is_full = queue.appends >= QUEUE_APPENDS_MAX || (queue.appends > 0 && bytes > QUEUE_BYTES_MAX);
        if is_full {
            return Err(Full { changes, done });
        }
        queue.bytes = bytes;
        queue.appends += 1;
        self.push(queue, Command::Append { shard, changes, done });
        Ok(())
    }

    /// Takes a command that is never refused, for there is one in a configuration at most.
    pub(super) fn command(&self, command: Command) {
        let queue = self.queue();
        if queue.failure.is_none() {
            self.push(queue, command);
        }
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, command: Command) {
        let was_empty = queue.commands.is_empty();
        queue.commands.push(command);
        drop(queue);
        if was_empty {
            self.wake.notify_one();
        }
    }

    pub(super) fn has_room(&self) -> bool {
        let queue = self.queue();
        queue.failure.is_none() && queue.appends < QUEUE_APPENDS_MAX && queue.bytes < QUEUE_BYTES_MAX
    }

    pub(super) fn failure(&self) -> Option<JournalFailure> {
        self.queue().failure.clone()
    }

    pub(super) fn when_failed(&self, callback: OnFailure) {
        let mut queue = self.queue();
        match queue.failure.clone() {
            None => queue.on_failure.push(callback),
            Some(failure) => {
                drop(queue);
                callback(&failure);
            }
        }
    }

    fn fail(&self, failure: JournalFailure) {
        let mut queue = self.queue();
        queue.failure = Some(failure.clone());
        let callbacks = std::mem::take(&mut queue.on_failure);
        let commands = std::mem::take(&mut queue.commands);
        drop(queue);
        drop(commands);
        callbacks.into_iter().for_each(|callback| callback(&failure));
    }
}

/// The thread's handle: when it is dropped, everything queued is written first.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(folder: Folder, storage: Storage) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("journal".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, folder, storage)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // Its panic, if there was one, is told as a failure.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, mut folder: Folder, mut storage: Storage) {
    let path: PathBuf = folder.path().to_path_buf();
    let work = AssertUnwindSafe(|| write_groups(shared, &mut folder, &mut storage));
    let what = match catch_unwind(work) {
        Ok(Ok(())) => return,
        Ok(Err(what)) => what,
        Err(_) => "its thread panicked".to_owned(),
    };
    shared.fail(JournalFailure { folder: path, what });
}

fn write_groups(shared: &Shared, folder: &mut Folder, storage: &mut Storage) -> Result<(), String> {
    while let Some(commands) = next_group(shared, folder, storage.must_sweep())? {
        let steps = commands.iter().map(|command| match command {
            Command::Append { shard, changes, .. } => Step::Append(*shard, changes),
            Command::Clear { shard } => Step::Clear(*shard),
            Command::Complete { shard } => Step::Complete(*shard),
        });
        storage.commit(steps)?;
        folder.witness().write(storage.number()).map_err(|error| format!("its witness: {error}"))?;
        for command in commands {
            if let Command::Append { done, .. } = command {
                done();
            }
        }
    }
    folder.witness().sync().map_err(|error| format!("its witness: {error}"))
}

/// Everything that is queued; nothing at all, if there is something to sweep; `None` at the end.
fn next_group(
    shared: &Shared,
    folder: &mut Folder,
    must_sweep: bool,
) -> Result<Option<Vec<Command>>, String> {
    let mut queue = shared.queue();
    loop {
        let is_due = folder.witness().sync_at().is_some_and(|at| at <= Instant::now());
        if is_due {
            drop(queue);
            folder.witness().sync().map_err(|error| format!("its witness: {error}"))?;
            queue = shared.queue();
        }
        if !queue.commands.is_empty() {
            queue.bytes = 0;
            queue.appends = 0;
            return Ok(Some(std::mem::take(&mut queue.commands)));
        }
        if queue.closing {
            return Ok(None);
        }
        if must_sweep {
            return Ok(Some(Vec::new()));
        }
        let unpoisoned = PoisonError::into_inner;
        queue = match folder.witness().sync_at() {
            None => shared.wake.wait(queue).unwrap_or_else(unpoisoned),
            Some(at) => {
                let pause = at.saturating_duration_since(Instant::now());
                shared.wake.wait_timeout(queue, pause).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}
