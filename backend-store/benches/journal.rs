//! What the journal costs: appends until they are durable, against the same bytes written and synced without any engine,
//! which is the limit of the disk.
//!
//! `appends` queues so many appends of one record each, as many requests under way would; `one_append` puts as many records
//! into one. Items are records.

#![allow(missing_docs, reason = "divan's attribute makes public items")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use backend_store::service::journal::{Changes, Journal};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use redplane_protocol::{NodeId, Owner, Record, RecordKey, Serial, SwitchIdentity, Version};

const SIZES: [usize; 3] = [1, 64, 4096];

/// Flows whose records are written over and over.
const KEYS: u32 = 100_000;

fn main() {
    divan::main();
}

/// Records as an address translator has them.
struct Source {
    number: u32,
    bytes: Vec<u8>,
}

impl Source {
    fn new() -> Self {
        Self { number: 0, bytes: Vec::new() }
    }

    fn put(&mut self, changes: &mut Changes) {
        self.number += 1;
        let name = |number: u32| {
            RecordKey::new(7, &[&number.to_be_bytes()[..], &[0; 9]].concat()).expect("it is short")
        };
        let key = name(self.number.wrapping_mul(0x9e37_79b1) % KEYS);
        let record = Record {
            version: Version { generation: Serial(3), sequence: Serial(self.number) },
            owner: Some(Owner {
                identity: SwitchIdentity { switch: 1, incarnation: 2 },
                address: "10.0.0.1:21072".parse().expect("an address"),
            }),
            ticket: Serial(5),
            value: [9; 16][..].into(),
            deleted: false,
            idle: Duration::from_secs(300),
            companions: vec![name(KEYS)],
        };
        self.bytes.clear();
        record.encode(&key, &mut self.bytes);
        changes.put(&key, &self.bytes);
    }
}

/// Bytes of one record in an append.
fn record_len() -> usize {
    let mut changes = Changes::new();
    Source::new().put(&mut changes);
    changes.size()
}

fn journal(folder: &Path) -> Journal {
    let opened = Journal::open(folder, "bench", NodeId(0), &BTreeSet::from([0])).expect("a journal");
    opened.journal
}

#[divan::bench(args = SIZES)]
fn appends(bencher: Bencher<'_, '_>, count: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let journal = journal(folder.path());
    let (sender, receiver) = mpsc::channel();
    let mut source = Source::new();
    let bytes = BytesCount::new(count * record_len());
    bencher.counter(ItemsCount::new(count)).counter(bytes).bench_local(|| {
        for _ in 0..count {
            let mut changes = Changes::new();
            source.put(&mut changes);
            let sender = sender.clone();
            journal.append(0, changes, Box::new(move || sender.send(()).unwrap_or_default())).expect("room");
        }
        receiver.iter().take(count).count()
    });
}

#[divan::bench(args = SIZES)]
fn one_append(bencher: Bencher<'_, '_>, count: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let journal = journal(folder.path());
    let (sender, receiver) = mpsc::channel();
    let mut source = Source::new();
    let bytes = BytesCount::new(count * record_len());
    bencher.counter(ItemsCount::new(count)).counter(bytes).bench_local(|| {
        let mut changes = Changes::new();
        (0..count).for_each(|_| source.put(&mut changes));
        let sender = sender.clone();
        journal.append(0, changes, Box::new(move || sender.send(()).unwrap_or_default())).expect("room");
        receiver.recv()
    });
}

#[divan::bench(args = SIZES)]
fn bare_write_and_sync(bencher: Bencher<'_, '_>, count: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut file = File::create(folder.path().join("bare")).expect("a file");
    // Filled up with nothing at first, as the engine's files are.
    file.set_len(64 * 1024 * 1024).expect("room");
    let bytes = vec![0x5a; count * record_len()];
    let counter = BytesCount::new(bytes.len());
    bencher.counter(ItemsCount::new(count)).counter(counter).bench_local(|| {
        file.write_all(&bytes).and_then(|()| file.sync_all()).expect("a sound disk");
    });
}
