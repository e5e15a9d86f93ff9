//! Files that are not as they were written.

use std::fs::OpenOptions;
use std::path::PathBuf;

use super::*;

const SHARDS: u16 = 3;
const ROUNDS: u64 = 200;

/// Buffers so small that a short test fills tables and merges them.
const SMALL: Limits = Limits { memtable_bytes: 64 * 1024 };

type Model = BTreeMap<u16, BTreeMap<RecordKey, Record>>;

fn open_small(folder: &Path) -> Result<Opened, JournalError> {
    Journal::open_with(folder, "lab", NODE, &(0..SHARDS).collect(), SMALL)
}

/// A repeatable source of numbers (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound.max(1)
    }
}

/// Appends `count` batches of puts and removals, and notes them.
fn write(journal: &Journal, dice: &mut Dice, model: &mut Model, count: u64) {
    for _ in 0..count {
        let shard = dice.below(SHARDS.into()) as u16;
        let mut changes = Changes::new();
        for _ in 0..8 {
            let (key, value) = (key(dice.below(400) as u32), record(dice.below(u64::MAX)));
            let records = model.entry(shard).or_default();
            if dice.below(5) == 0 {
                changes.remove(&key);
                records.remove(&key);
            } else {
                put(&mut changes, &key, &value);
                records.insert(key, value);
            }
        }
        append(journal, shard, changes);
    }
}

/// A folder with tables, merged ones among them, and a write-ahead file of which a part is not in any table.
fn sample(folder: &Path, dice: &mut Dice) -> Model {
    let mut model = Model::new();
    for _ in 0..3 {
        let opened = open_small(folder).unwrap();
        write(&opened.journal, dice, &mut model, 120);
        (0..SHARDS).for_each(|shard| opened.journal.complete(shard));
    }
    assert!(folder.join("records/keyspaces/1/tables").read_dir().unwrap().count() > 0, "no table");
    model
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[derive(Debug, Default)]
struct Outcome {
    intact: u64,
    shard_damaged: u64,
    refused: u64,
}

/// A folder in memory, if the system has one: what is looked at here does not depend on the disk.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Opens a folder that something was done to: it yields what was acknowledged, or says that it does not.
fn check(folder: &Path, model: &Model, outcome: &mut Outcome, what: &str) {
    let opened = match open_small(folder) {
        Ok(opened) => opened,
        Err(error @ (JournalError::Damaged { .. } | JournalError::NotAJournal { .. })) => {
            assert!(error.to_string().contains("set aside") || error.to_string().contains("identity"));
            outcome.refused += 1;
            return;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let damaged = opened.damaged().count() as u64;
    for (shard, restored) in &opened.shards {
        let Ok(restored) = restored else { continue };
        let expected = model.get(shard).cloned().unwrap_or_default();
        let found: BTreeMap<_, _> = restored.records.iter().cloned().collect();
        assert!(restored.complete && found == expected, "{what}: shard {shard} is wrong");
    }
    outcome.shard_damaged += damaged.min(1);
    outcome.intact += u64::from(damaged == 0);
}

fn damage_many(kind: &str, mut damage: impl FnMut(&Path, &mut Dice) -> String) -> Outcome {
    let folder = quick_folder();
    let whole = folder.path().join("whole");
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let model = sample(&whole, &mut dice);
    let mut outcome = Outcome::default();
    for round in 0..ROUNDS {
        let broken = folder.path().join("broken");
        copy(&whole, &broken);
        let files = files(&broken);
        let file = &files[dice.below(files.len() as u64) as usize];
        let done = damage(file, &mut dice);
        let name = file.strip_prefix(&broken).unwrap().display();
        check(&broken, &model, &mut outcome, &format!("round {round}, {kind} {name}, {done}"));
        fs::remove_dir_all(&broken).unwrap();
    }
    println!("{kind}: {outcome:?}");
    outcome
}

fn flip(file: &Path, at: u64, bits: u8) {
    let mut bytes = fs::read(file).unwrap();
    if let Some(byte) = bytes.get_mut(at as usize) {
        *byte ^= bits;
        fs::write(file, bytes).unwrap();
    }
}

fn truncate(file: &Path, len: u64) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(len).unwrap();
}

fn len(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len()
}

#[test]
fn a_flipped_byte_anywhere_is_harmless_or_found() {
    let outcome = damage_many("flip in", |file, dice| {
        let (at, bits) = (dice.below(len(file)), 1 << dice.below(8));
        flip(file, at, bits);
        format!("byte {at} by {bits}")
    });
    assert!(outcome.refused + outcome.shard_damaged > ROUNDS / 4, "{outcome:?}");
}

#[test]
fn a_file_cut_anywhere_is_harmless_or_found() {
    let outcome = damage_many("cut of", |file, dice| {
        let at = dice.below(len(file));
        truncate(file, at);
        format!("at byte {at}")
    });
    assert!(outcome.refused + outcome.shard_damaged > ROUNDS / 4, "{outcome:?}");
}

#[test]
fn a_file_that_is_gone_or_zero_is_harmless_or_found() {
    damage_many("loss of", |file, dice| {
        if dice.below(2) == 0 {
            fs::remove_file(file).unwrap();
            "removed".to_owned()
        } else {
            let length = len(file);
            truncate(file, 0);
            truncate(file, length);
            "filled with zeros".to_owned()
        }
    });
}

/// The write-ahead file with what was appended last.
fn newest_file(folder: &Path) -> PathBuf {
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    files(folder).into_iter().rfind(is_ours).unwrap()
}

#[test]
fn the_tail_is_cut_off_only_if_nobody_heard_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node-3");
    for _ in 0..2 {
        let opened = open(&path, 1).unwrap();
        append(&opened.journal, 0, puts(0, 50, 0));
    }
    let newest = newest_file(&path);
    let acknowledged = len(&newest);
    // An interrupted write: its pages reached the disk in any combination.
    let tails: [&[u8]; 5] =
        [&[1], &[1, 9, 0, 0, 0, 1], &[0, 0, 0, 7], &[255; 40], &[0x46, 0x4a, 0x4c, 3, 2, 2, 2]];
    for tail in tails {
        let bytes = [&fs::read(&newest).unwrap()[..], tail].concat();
        fs::write(&newest, bytes).unwrap();
        let opened = open(&path, 1).unwrap_or_else(|error| panic!("{tail:?}: {error}"));
        assert_eq!(restored(&opened, 0).records.len(), 50, "{tail:?}");
        drop(opened);
        assert_eq!(len(&newest), acknowledged, "{tail:?}");
    }
    // A whole batch whose checksum is wrong, which fjall alone would refuse to open.
    let opened = open(&path, 1).unwrap();
    append(&opened.journal, 0, puts(0, 50, 0));
    drop(opened);
    let witness = fs::read(path.join("witness")).unwrap();
    let before = len(&newest);
    let opened = open(&path, 1).unwrap();
    append(&opened.journal, 0, puts(50, 60, 0));
    drop(opened);
    flip(&newest, before + 100, 1);
    let error = open(&path, 1).unwrap_err();
    assert!(error.to_string().contains("acknowledged ones after it"), "{error}");
    fs::write(path.join("witness"), witness).unwrap();
    let opened = open(&path, 1).unwrap();
    assert_eq!(restored(&opened, 0).records.len(), 50, "it was not acknowledged");
}

#[test]
fn a_lost_tail_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node-3");
    let mut ends = Vec::new();
    for round in 0..4 {
        let opened = open(&path, 1).unwrap();
        append(&opened.journal, 0, puts(0, 50, round));
        drop(opened);
        ends.push(len(&newest_file(&path)));
    }
    // Cut cleanly between two batches, where the file itself shows nothing.
    truncate(&newest_file(&path), ends[2]);
    let error = open(&path, 1).unwrap_err();
    assert!(error.to_string().contains("but group 4 was acknowledged"), "{error}");
}

#[test]
fn a_damaged_shard_leaves_the_others_and_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node-3");
    let opened = open(&path, 2).unwrap();
    for shard in 0..2 {
        let mut changes = puts(0, 5000, 7);
        changes.set_generation(Serial(9));
        append(&opened.journal, shard, changes);
        opened.journal.complete(shard);
    }
    let sound = restored(&opened, 1).clone();
    assert_eq!(sound, Restored::default());
    drop(opened);
    plant_wrong_record(&path);

    let opened = open(&path, 2).unwrap();
    let damage = opened.damaged().next().unwrap().to_string();
    assert!(damage.contains("shard 0") && damage.contains("checksum of record 7:"), "{damage}");
    let sound = restored(&opened, 1).clone();
    assert_eq!((sound.records.len(), sound.complete), (5000, true));
    let (opened, aside) = Journal::rebuild(opened, &path, "lab", NODE).unwrap();
    assert_eq!(aside, folder.path().join("node-3.damaged-1"));
    assert_eq!(*restored(&opened, 0), Restored::default());
    drop(opened);
    let opened = open(&path, 2).unwrap();
    assert_eq!(*restored(&opened, 0), Restored::default());
    assert_eq!(*restored(&opened, 1), sound);
    drop(opened);
    assert_eq!(Journal::set_aside(&path).unwrap(), folder.path().join("node-3.damaged-2"));
    assert!(!path.exists() && aside.exists());
}

/// Each value is sound by itself; only the digests show that one is gone, or from former times.
#[test]
fn what_the_engine_loses_or_brings_back_is_found() {
    type Deed = fn(&fjall::Keyspace);
    let damages: [(&str, Deed); 4] = [
        ("record lost", |keyspace| keyspace.remove(nth(keyspace, &[2, 0, 0], 7).0).unwrap()),
        ("record of former times", |keyspace| {
            let (key, value) = nth(keyspace, &[2, 0, 1], 7);
            let mut old = Vec::new();
            record(3).encode(&super::key(7), &mut old);
            let (old, _) = storage::seal(&key, &old);
            assert_ne!(old[..], value[..]);
            keyspace.insert(key, old).unwrap();
        }),
        ("head lost", |keyspace| keyspace.remove([1, 0, 0]).unwrap()),
        ("number lost", |keyspace| keyspace.remove([0]).unwrap()),
    ];
    for (what, damage) in damages {
        let folder = quick_folder();
        let opened = open(folder.path(), 2).unwrap();
        for shard in 0..2 {
            // In its second life, a shard without its head would look empty rather than wrong.
            opened.journal.clear(shard);
            append(&opened.journal, shard, puts(0, 50, 1000));
        }
        drop(opened);
        let database = fjall::Database::builder(folder.path().join("records")).open().unwrap();
        damage(&database.keyspace("records", fjall::KeyspaceCreateOptions::default).unwrap());
        database.persist(fjall::PersistMode::SyncAll).unwrap();
        drop(database);
        match open(folder.path(), 2) {
            Ok(opened) => assert_eq!(opened.damaged().count(), 1, "{what}"),
            Err(error) => assert!(matches!(error, JournalError::Damaged { .. }), "{what}: {error}"),
        }
    }
}

fn nth(keyspace: &fjall::Keyspace, prefix: &[u8], place: usize) -> (fjall::Slice, fjall::Slice) {
    keyspace.prefix(prefix).nth(place).unwrap().into_inner().unwrap()
}

/// A record of shard 0 whose contents changed on a way that the engine does not see.
fn plant_wrong_record(path: &Path) {
    let database = fjall::Database::builder(path.join("records")).open().unwrap();
    let keyspace = database.keyspace("records", fjall::KeyspaceCreateOptions::default).unwrap();
    let (key, value) = nth(&keyspace, &[2, 0, 0], 70);
    let mut value = value.to_vec();
    value[40] ^= 4;
    keyspace.insert(key, value).unwrap();
    database.persist(fjall::PersistMode::SyncAll).unwrap();
}
