//! A process that is killed while it appends, and one whose disk is full.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::*;

/// Set for a process that plays the one to die: the folder, how many shards, and records in a batch.
const FOLDER: &str = "REDPLANE_TEST_JOURNAL";
const SHARDS: &str = "REDPLANE_TEST_JOURNAL_SHARDS";
const WIDTH: &str = "REDPLANE_TEST_JOURNAL_WIDTH";

/// A process that nobody killed ends by itself.
const LIFE: Duration = Duration::from_secs(30);

/// Each key is written again after so many batches.
const CYCLE: u64 = 250;
const ROUNDS: u64 = 30;

/// Batch `number` writes `width` records, and one that says how far it got.
fn batch(number: u64, width: u64) -> Changes {
    let mut changes = Changes::new();
    put(&mut changes, &key(u32::MAX), &record(number));
    for column in 0..width {
        let (key, record) = written(number, column, width);
        put(&mut changes, &key, &record);
    }
    changes
}

fn written(number: u64, column: u64, width: u64) -> (RecordKey, Record) {
    let mut written = record(number);
    if width > 2 {
        written.value.resize(256, number as u8);
    }
    (key((number % CYCLE + column * CYCLE) as u32), written)
}

/// What a shard holds after batches `0..=last`.
fn expected(last: u64, width: u64) -> Vec<(RecordKey, Record)> {
    let mut records = BTreeMap::new();
    for number in last.saturating_sub(CYCLE)..=last {
        records.extend((0..width).map(|column| written(number, column, width)));
    }
    records.insert(key(u32::MAX), record(last));
    records.into_iter().collect()
}

fn last_of(restored: &Restored) -> Option<u64> {
    let (_, record) = restored.records.iter().find(|(name, _)| *name == key(u32::MAX))?;
    Some(u64::from_be_bytes(record.value[..].try_into().unwrap()))
}

/// Not a test of its own: the process that the others start and kill.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let shards: u16 = std::env::var(SHARDS).unwrap().parse().unwrap();
    let width: u64 = std::env::var(WIDTH).unwrap().parse().unwrap();
    let start = Instant::now();
    let opened = open(Path::new(&folder), shards).unwrap();
    let mut next: Vec<u64> =
        (0..shards).map(|shard| last_of(restored(&opened, shard)).map_or(0, |last| last + 1)).collect();
    opened.journal.when_failed(Box::new(|failure| {
        println!("failed {failure}");
        std::process::exit(0);
    }));
    let under_way = Arc::new(AtomicU64::new(0));
    while start.elapsed() < LIFE {
        for shard in 0..shards {
            let number = next[usize::from(shard)];
            next[usize::from(shard)] += 1;
            under_way.fetch_add(1, Ordering::Relaxed);
            let counter = Arc::clone(&under_way);
            let done = Box::new(move || {
                counter.fetch_sub(1, Ordering::Relaxed);
                println!("acknowledged {shard} {number}");
            });
            opened.journal.append(shard, batch(number, width), done).unwrap();
        }
        while under_way.load(Ordering::Relaxed) > 200 {
            std::thread::yield_now();
        }
    }
}

fn child_command(folder: &Path, shards: u16, width: u64, through: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = match through {
        [] => Command::new(&program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&program);
            command
        }
    };
    let name = format!("{}::child", module_path!().split_once("::").unwrap().1);
    command.args(["--exact", &name, "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env(SHARDS, shards.to_string()).env(WIDTH, width.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Reads what a child says to the end: the last acknowledged number of each shard, and why it failed, if it did.
fn listen(output: impl Read, shards: u16) -> (Vec<Option<u64>>, Option<String>) {
    let mut last = vec![None; usize::from(shards)];
    let mut failure = None;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some((_, why)) = line.split_once("failed ") {
            failure = Some(why.to_owned());
        }
        let Some((_, rest)) = line.split_once("acknowledged ") else { continue };
        // A line that the kill cut off says nothing.
        let Some((shard, number)) = rest.split_once(' ') else { continue };
        let (shard, number) = (shard.parse::<usize>().unwrap(), number.parse::<u64>().unwrap());
        let expected = last[shard].map_or(number, |last: u64| last + 1);
        if number == expected {
            last[shard] = Some(number);
        }
    }
    (last, failure)
}

/// Kills a process `ROUNDS` times, each time within `life_ms` of its start.
fn kill_and_restore(shards: u16, width: u64, life_ms: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node-3");
    let mut acknowledged = 0;
    let mut ahead = 0;
    for round in 0..ROUNDS {
        let mut child = child_command(&path, shards, width, &[]).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let listener = std::thread::spawn(move || listen(output, shards));
        // Spread over starting, first writes, and full speed.
        std::thread::sleep(Duration::from_millis(20 + round * 7919 % life_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let (last, failure) = listener.join().unwrap();
        assert_eq!(failure, None);

        let opened = open(&path, shards).unwrap_or_else(|error| panic!("round {round}: {error}"));
        for shard in 0..shards {
            let restored = restored(&opened, shard);
            let (found, said) = (last_of(restored), last[usize::from(shard)]);
            assert!(
                found >= said,
                "round {round}, shard {shard}: {said:?} was acknowledged, {found:?} is there"
            );
            if let Some(found) = found {
                assert!(
                    restored.records == expected(found, width),
                    "round {round}, shard {shard}: after {found}"
                );
                ahead += found - said.unwrap_or(found);
            }
            acknowledged = acknowledged.max(said.unwrap_or(0));
        }
    }
    println!(
        "{acknowledged} batches a shard acknowledged in {ROUNDS} rounds, {ahead} written and not acknowledged"
    );
    assert!(acknowledged > ROUNDS, "only {acknowledged} batches");
}

#[test]
fn what_was_acknowledged_survives_kills() {
    kill_and_restore(1, 2, 400);
}

#[test]
fn what_was_acknowledged_survives_kills_with_several_shards() {
    kill_and_restore(5, 2, 400);
}

/// As many bytes as the disk takes, so that tables are written and merged, and write-ahead files change, when the kill comes.
#[test]
#[ignore = "writes some gigabytes: cargo test --release -p backend-store --lib at_full_volume -- --ignored"]
fn what_was_acknowledged_survives_kills_at_full_volume() {
    kill_and_restore(2, 100, 3000);
}

/// The file size limit of the shell makes writes fail, as a full disk would; the signal that comes with it is ignored.
#[cfg(unix)]
#[test]
fn a_disk_that_refuses_stops_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node-3");
    // The first close cuts nothing off, the second start does: fjall's file is of 64 MiB at first.
    for _ in 0..2 {
        append(&open(&path, 1).unwrap().journal, 0, batch(0, 2));
    }
    let limit = "trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\"";
    let mut child = child_command(&path, 1, 2, &["sh", "-c", limit]).spawn().unwrap();
    let (last, failure) = listen(child.stdout.take().unwrap(), 1);
    child.wait().unwrap();
    let failure = failure.expect("it fails");
    assert!(failure.contains("has stopped") && failure.contains("File too large"), "{failure}");
    let opened = open(&path, 1).unwrap();
    let found = last_of(restored(&opened, 0));
    assert!(found >= last[0] && last[0] > Some(0), "{found:?}, acknowledged {last:?}");
    assert_eq!(restored(&opened, 0).records, expected(found.unwrap(), 2));
}
