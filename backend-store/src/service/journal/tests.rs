//! What goes in comes out again: after a close, a crash, a failing disk, and damage of any file.

mod crash;
mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use redplane_protocol::{NodeId, Owner, Record, RecordKey, Serial, SwitchIdentity, Version};

use super::storage::Limits;
use super::*;

const NODE: NodeId = NodeId(3);
const PATIENCE: Duration = Duration::from_secs(60);

fn open(folder: &Path, shards: u16) -> Result<Opened, JournalError> {
    Journal::open(folder, "lab", NODE, &(0..shards).collect())
}

fn key(number: u32) -> RecordKey {
    RecordKey::new(7, &number.to_be_bytes()).unwrap()
}

fn record(value: u64) -> Record {
    let owner = Owner {
        identity: SwitchIdentity { switch: 1, incarnation: 2 },
        address: "10.0.0.1:21072".parse().unwrap(),
    };
    Record {
        version: Version { generation: Serial(3), sequence: Serial(value as u32) },
        owner: Some(owner),
        ticket: Serial(5),
        value: value.to_be_bytes()[..].into(),
        deleted: false,
        idle: Duration::from_secs(300),
        companions: vec![key(0)],
    }
}

fn put(changes: &mut Changes, key: &RecordKey, record: &Record) {
    let mut bytes = Vec::new();
    record.encode(key, &mut bytes);
    changes.put(key, &bytes);
}

/// Records `from..to` with their numbers plus `value` as values.
fn puts(from: u32, to: u32, value: u64) -> Changes {
    let mut changes = Changes::new();
    for number in from..to {
        put(&mut changes, &key(number), &record(u64::from(number) + value));
    }
    changes
}

/// Appends and waits until it is durable.
fn append(journal: &Journal, shard: u16, changes: Changes) {
    let (sender, receiver) = mpsc::channel();
    journal.append(shard, changes, Box::new(move || sender.send(()).unwrap())).unwrap();
    receiver.recv_timeout(PATIENCE).expect("it becomes durable");
}

fn restored(opened: &Opened, shard: u16) -> &Restored {
    opened.shards[&shard].as_ref().unwrap()
}

#[test]
fn what_was_appended_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep").join("node-3");
    let opened = open(&path, 2).unwrap();
    assert_eq!(*restored(&opened, 0), Restored::default());
    let mut changes = puts(0, 3, 100);
    changes.remove(&key(1));
    changes.remove(&key(9));
    changes.set_generation(Serial(8));
    changes.set_epoch(4);
    append(&opened.journal, 0, changes);
    append(&opened.journal, 0, puts(2, 3, 200));
    opened.journal.complete(0);
    drop(opened);

    let opened = open(&path, 2).unwrap();
    let records = vec![(key(0), record(100)), (key(2), record(202))];
    let expected = Restored { generation: Serial(8), epoch: 4, complete: true, records };
    assert_eq!(*restored(&opened, 0), expected);
    assert_eq!(*restored(&opened, 1), Restored::default());
}

#[test]
fn a_cleared_shard_is_empty_and_its_old_records_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), 2).unwrap();
    let mut changes = puts(0, 5000, 0);
    changes.set_generation(Serial(8));
    append(&opened.journal, 0, changes);
    append(&opened.journal, 1, puts(0, 10, 0));
    opened.journal.complete(0);
    opened.journal.append(0, puts(5000, 5001, 0), Box::new(|| ())).unwrap();
    opened.journal.clear(0);
    append(&opened.journal, 0, puts(1, 2, 50));
    drop(opened);

    let opened = open(folder.path(), 2).unwrap();
    let expected =
        Restored { generation: Serial(8), records: vec![(key(1), record(51))], ..Restored::default() };
    assert_eq!(*restored(&opened, 0), expected);
    assert_eq!(restored(&opened, 1).records.len(), 10);
    drop(opened);

    let count = || {
        let mut keys = 0;
        let database = fjall::Database::builder(folder.path().join("records")).open().unwrap();
        let keyspace = database.keyspace("records", fjall::KeyspaceCreateOptions::default).unwrap();
        for guard in keyspace.iter() {
            guard.key().unwrap();
            keys += 1;
        }
        keys
    };
    let expected = 1 + 10 + 2 + 1;
    for _ in 0..100 {
        if count() == expected {
            break;
        }
        let opened = open(folder.path(), 2).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        drop(opened);
    }
    assert_eq!(count(), expected, "records, two heads and the number");
    assert_eq!(restored(&open(folder.path(), 2).unwrap(), 1).records.len(), 10);
}

#[test]
fn done_runs_in_order_and_one_sync_serves_many() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), 2).unwrap();
    let (sender, receiver) = mpsc::channel();
    for number in 0..2000_u32 {
        let sender = sender.clone();
        let done = Box::new(move || sender.send(number).unwrap());
        opened.journal.append((number % 2) as u16, puts(number, number + 1, 0), done).unwrap();
    }
    let order: Vec<u32> = (0..2000).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(order.is_sorted());
    drop(opened);
    let witness = fs::read(folder.path().join("witness")).unwrap();
    let number = |place: usize| u64::from_be_bytes(witness[place..place + 8].try_into().unwrap());
    let groups = number(0).max(number(512));
    assert!((1..=400).contains(&groups), "{groups} groups for 2000 appends");
}

#[test]
fn a_full_queue_gives_the_append_back_and_never_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), 1).unwrap();
    let (hold, held) = mpsc::channel::<()>();
    // The journal's thread waits in this callback, so that the queue fills up.
    let (reached, there) = mpsc::channel();
    let first = move || {
        reached.send(()).unwrap();
        let _ = held.recv_timeout(PATIENCE);
    };
    opened.journal.append(0, Changes::new(), Box::new(first)).unwrap();
    there.recv_timeout(PATIENCE).unwrap();
    let mut taken = 0;
    let full = loop {
        match opened.journal.append(0, puts(0, 1, 0), Box::new(|| ())) {
            Ok(()) => taken += 1,
            Err(full) => break full,
        }
    };
    assert_eq!(taken, QUEUE_APPENDS_MAX);
    assert_eq!(full.changes, puts(0, 1, 0));
    assert!(!opened.journal.has_room());
    hold.send(()).unwrap();
    append_when_room(&opened.journal, puts(1, 2, 0));
    assert!(opened.journal.has_room());
}

fn append_when_room(journal: &Journal, changes: Changes) {
    while !journal.has_room() {
        std::thread::sleep(Duration::from_millis(1));
    }
    append(journal, 0, changes);
}

#[test]
fn a_folder_of_someone_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node-3");
    let opened = open(&path, 1).unwrap();
    let locked = open(&path, 1).unwrap_err();
    assert!(matches!(locked, JournalError::Locked { .. }), "{locked}");
    assert!(matches!(Journal::set_aside(&path), Err(JournalError::Locked { .. })));
    drop(opened);

    let shards = BTreeSet::from([0]);
    let cluster = Journal::open(&path, "other", NODE, &shards).unwrap_err();
    assert!(cluster.to_string().contains("belongs to cluster `lab`, this node to `other`"), "{cluster}");
    let node = Journal::open(&path, "lab", NodeId(4), &shards).unwrap_err();
    assert!(node.to_string().contains("belongs to node 3, this is node 4"), "{node}");
    let foreign = open(folder.path(), 1).unwrap_err();
    assert!(matches!(foreign, JournalError::NotAJournal { .. }), "{foreign}");
    open(&path, 1).unwrap();
}

#[test]
fn an_append_to_a_shard_that_was_not_opened_stops_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path(), 1).unwrap();
    let (sender, receiver) = mpsc::channel();
    opened.journal.when_failed(Box::new(move |failure| sender.send(failure.clone()).unwrap()));
    let unheard = || panic!("nothing is acknowledged");
    opened.journal.append(5, puts(0, 1, 0), Box::new(unheard)).unwrap();
    let failure = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(failure.to_string().contains("asked to write shard 5"), "{failure}");
    assert_eq!(opened.journal.failure(), Some(failure.clone()));
    opened.journal.append(0, puts(0, 1, 0), Box::new(unheard)).unwrap();
    let (sender, receiver) = mpsc::channel();
    opened.journal.when_failed(Box::new(move |failure| sender.send(failure.clone()).unwrap()));
    assert_eq!(receiver.try_recv(), Ok(failure), "who asks late is told at once");
}
