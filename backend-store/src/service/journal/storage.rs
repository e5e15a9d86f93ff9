//! How records lie in the engine, and how it is shown that they are all there.
//!
//! | key | value |
//! | --- | --- |
//! | 0 | number of the last group of appends; count and digest of all shards' values below |
//! | 1, shard | generation, epoch, whether complete, life; count and digest of the shard's records |
//! | 2, shard, life, app, record key | the record |
//!
//! Each value ends with a checksum over key and value. A digest is the sum of the checksums of what it speaks of. So
//! whatever the engine loses, keeps from former times or mixes up shows when the journal is opened, without trust in any
//! checksum of its own: the witness (see `folder`) vouches for the number, the number's value for the shards, a shard's
//! value for its records.
//!
//! A shard that is cleared begins its next *life*: that is one small write, and what the former left is swept bit by bit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::path::Path;

use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Slice};
use redplane_protocol::{Record, RecordKey, Serial};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::changes::Changes;

/// Key of the number of the last group.
pub(super) const NUMBER_KEY: &[u8] = &[0];
const TAG_SHARD: u8 = 1;
const TAG_RECORD: u8 = 2;

/// Bytes of a record's key before the app: tag, shard, life.
const PREFIX_LEN: usize = 1 + 2 + 4;
const CHECKSUM_LEN: usize = 8;

/// Name of the one keyspace. One for all shards: one write buffer, one flush, one set of tables.
const KEYSPACE: &str = "records";

/// Bytes of recent writes that are kept in memory before they become a table. Up to four more such buffers may wait to be
/// written, so memory for writes ends at 80 MiB; smaller ones would make more and smaller tables to merge.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of tables kept in memory. They are read at the start, in order, and by merges, which do not look here.
const CACHE_BYTES: u64 = 1024 * 1024;

/// Bytes of write-ahead files: the least that fjall takes for more than one file of its fixed size of 64 MB.
const WRITE_AHEAD_BYTES: u64 = 128 * 1024 * 1024;

/// Table files that are kept open: those of ten million records and more.
const OPEN_FILES: usize = 64;

/// Threads that write and merge tables. With more than one, fjall keeps the first for writing, and that spins while
/// another merges (`worker_pool.rs` of 3.1).
const WORKERS: usize = 1;

/// Records of a former life that are removed with one group.
const SWEEP_KEYS: usize = 1024;

/// What tests make small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) memtable_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memtable_bytes: MEMTABLE_BYTES }
    }
}

/// What is kept of a shard beside its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ShardMeta {
    pub(super) generation: Serial,
    pub(super) epoch: u64,
    pub(super) complete: bool,
    life: u32,
    sum: Sum,
}

/// How many values there are, and the sum of their checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    digest: u64,
}

impl Sum {
    fn add(&mut self, checksum: u64) {
        self.count += 1;
        self.digest = self.digest.wrapping_add(checksum);
    }

    fn subtract(&mut self, checksum: u64) {
        self.count = self.count.saturating_sub(1);
        self.digest = self.digest.wrapping_sub(checksum);
    }
}

/// A shard while the journal runs.
#[derive(Debug, Default)]
struct Shard {
    meta: ShardMeta,
    /// Checksum of each record by the hash of its key, to take it out of the digest when it is replaced. Two of ten
    /// million keys share a hash once in some hundred thousand journals; then the digest goes wrong, which shows as damage.
    checksums: HashMap<u64, u64, BuildHasherDefault<Through>>,
    /// Where the sweep of former lives goes on.
    sweep: Option<Vec<u8>>,
}

/// One change of the journal, without its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Append(u16, &'a Changes),
    Clear(u16),
    Complete(u16),
}

/// The engine, and what is known of what is in it.
pub(super) struct Storage {
    database: Database,
    records: Keyspace,
    number: u64,
    shards: BTreeMap<u16, Shard>,
    /// Values of shards that were not asked for count too.
    sum: Sum,
    hasher: RandomState,
}

/// Why there is no storage.
pub(super) enum StorageError {
    Engine(fjall::Error),
    Damaged(String),
}

impl From<fjall::Error> for StorageError {
    fn from(error: fjall::Error) -> Self {
        Self::Engine(error)
    }
}

impl Storage {
    /// Fills an empty folder.
    pub(super) fn create(folder: &Path, limits: Limits) -> fjall::Result<()> {
        let (database, records) = open_engine(folder, limits)?;
        let mut batch = database.batch();
        insert_number(&mut batch, &records, 0, Sum::default());
        batch.durability(Some(PersistMode::SyncAll)).commit()
    }

    /// Opens a filled folder. `acknowledged` is the number of the last group that was.
    pub(super) fn open(folder: &Path, limits: Limits, acknowledged: u64) -> Result<Self, StorageError> {
        let (database, records) = open_engine(folder, limits)?;
        let value = records.get(NUMBER_KEY)?;
        let lost = || StorageError::Damaged("the number of the last append is lost".to_owned());
        let value = value.ok_or_else(lost)?;
        let (number, sum) = unseal(NUMBER_KEY, &value).and_then(number_from).ok_or_else(lost)?;
        if number < acknowledged {
            return Err(StorageError::Damaged(format!(
                "it ends with group {number} of appends, but group {acknowledged} was acknowledged"
            )));
        }
        let (shards, hasher) = (BTreeMap::new(), RandomState::new());
        let storage = Self { database, records, number, shards, sum, hasher };
        let mut found = Sum::default();
        for guard in storage.records.prefix([TAG_SHARD]) {
            let (key, value) = guard.into_inner()?;
            let (_, checksum) = unseal_with_checksum(&key, &value).ok_or_else(|| {
                StorageError::Damaged(format!("the checksum of the head of {key:?} is wrong"))
            })?;
            found.add(checksum);
        }
        if found != sum {
            return Err(StorageError::Damaged(format!(
                "{} shards have a head, {} should; or one is old",
                found.count, sum.count
            )));
        }
        Ok(storage)
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Reads a shard. Once that worked, it can be written.
    pub(super) fn restore(&mut self, shard: u16) -> Result<(ShardMeta, Vec<(RecordKey, Record)>), String> {
        let unreadable = |error| format!("its tables cannot be read: {error}");
        let key = shard_key(shard);
        let meta = match self.records.get(key).map_err(unreadable)? {
            None => ShardMeta::default(),
            Some(value) => {
                unseal(&key, &value).and_then(ShardMeta::parse).ok_or("the checksum of its head is wrong")?
            }
        };
        let mut found = Shard { meta, ..Shard::default() };
        let mut sum = Sum::default();
        let mut records = Vec::new();
        for guard in self.records.prefix(record_prefix(shard, meta.life)) {
            let (key, value) = guard.into_inner().map_err(unreadable)?;
            let (checksum, record) = read_record(&key, &value)?;
            sum.add(checksum);
            found.checksums.insert(self.hasher.hash_one(&key[..]), checksum);
            records.push(record);
        }
        if sum != meta.sum {
            return Err(format!(
                "{} records are there, {} should be; or one is old",
                sum.count, meta.sum.count
            ));
        }
        if self.former_lives(shard, meta.life).next().is_some() {
            found.sweep = Some(Vec::new());
        }
        self.shards.insert(shard, found);
        Ok((meta, records))
    }

    /// Whether records of former lives are left.
    pub(super) fn must_sweep(&self) -> bool {
        self.shards.values().any(|shard| shard.sweep.is_some())
    }

    /// Writes one group, and returns when it is on the disk.
    pub(super) fn commit<'a>(&mut self, steps: impl Iterator<Item = Step<'a>>) -> Result<(), String> {
        let mut group = Group::default();
        let mut touched = BTreeSet::new();
        let mut cleared = false;
        for step in steps {
            let (Step::Append(number, _) | Step::Clear(number) | Step::Complete(number)) = step;
            let Some(shard) = self.shards.get_mut(&number) else {
                return Err(format!("it was asked to write shard {number}, which it does not have"));
            };
            touched.insert(number);
            match step {
                Step::Append(_, changes) => shard.apply(number, changes, &self.hasher, &mut group),
                Step::Clear(_) => {
                    shard.clear();
                    cleared = true;
                }
                Step::Complete(_) => shard.meta.complete = true,
            }
        }
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for (key, value) in group.writes {
            match value {
                Some(value) => batch.insert(&self.records, key, value),
                None => batch.remove(&self.records, key),
            }
        }
        // What this group wrote before it cleared is found only after it is written.
        if !cleared {
            self.sweep_into(&mut batch)?;
        }
        for number in touched {
            self.insert_head(&mut batch, number)?;
        }
        self.number += 1;
        insert_number(&mut batch, &self.records, self.number, self.sum);
        batch.commit().map_err(|error| error.to_string())
    }

    fn insert_head(&mut self, batch: &mut OwnedWriteBatch, number: u16) -> Result<(), String> {
        let Some(shard) = self.shards.get(&number) else { return Ok(()) };
        let key = shard_key(number);
        let former = self.records.get(key).map_err(|error| error.to_string())?;
        if let Some((_, checksum)) = former.as_deref().and_then(|value| unseal_with_checksum(&key, value)) {
            self.sum.subtract(checksum);
        }
        let (value, checksum) = seal(&key, &shard.meta.to_bytes());
        self.sum.add(checksum);
        batch.insert(&self.records, key, value);
        Ok(())
    }

    fn sweep_into(&mut self, batch: &mut OwnedWriteBatch) -> Result<(), String> {
        let Some((number, shard)) = self.shards.iter().find(|(_, shard)| shard.sweep.is_some()) else {
            return Ok(());
        };
        let (number, life) = (*number, shard.meta.life);
        let mut last = None;
        for guard in self.former_lives(number, life).take(SWEEP_KEYS) {
            let key = guard.key().map_err(|error| error.to_string())?;
            batch.remove(&self.records, key.clone());
            last = Some(key.to_vec());
        }
        if let Some(shard) = self.shards.get_mut(&number) {
            shard.sweep = last;
        }
        Ok(())
    }

    /// What is left of lives before this one, from where the sweep stands.
    fn former_lives(&self, shard: u16, life: u32) -> impl Iterator<Item = Guard> {
        let begun = self.shards.get(&shard).and_then(|shard| shard.sweep.clone());
        let start = begun.filter(|key| !key.is_empty()).unwrap_or_else(|| record_prefix(shard, 0).to_vec());
        self.records.range(start..record_prefix(shard, life).to_vec())
    }
}

impl Shard {
    fn apply(&mut self, number: u16, changes: &Changes, hasher: &RandomState, group: &mut Group) {
        for change in changes.iter() {
            let mut key = record_prefix(number, self.meta.life).to_vec();
            key.extend(change.app.to_be_bytes());
            key.extend(change.key);
            let hash = hasher.hash_one(&key[..]);
            let value = change.record.map(|record| seal(&key, record));
            let former = match &value {
                Some((_, checksum)) => self.checksums.insert(hash, *checksum),
                None => self.checksums.remove(&hash),
            };
            if let Some(former) = former {
                self.meta.sum.subtract(former);
            }
            if let Some((_, checksum)) = &value {
                self.meta.sum.add(*checksum);
            }
            group.push(hash, key.into(), value.map(|(value, _)| value.into()));
        }
        self.meta.generation = changes.generation().unwrap_or(self.meta.generation);
        self.meta.epoch = changes.epoch().unwrap_or(self.meta.epoch);
    }

    fn clear(&mut self) {
        if self.meta.sum.count > 0 && self.sweep.is_none() {
            self.sweep = Some(Vec::new());
        }
        // The generation stays: a counter that goes back could give a generation twice.
        let ShardMeta { generation, epoch, life, .. } = self.meta;
        let life = life.wrapping_add(1);
        self.meta = ShardMeta { generation, epoch, complete: false, life, sum: Sum::default() };
        self.checksums = HashMap::default();
    }
}

/// What one group writes: of several writes of one key the last, for a batch has no order of its own.
#[derive(Default)]
struct Group {
    writes: Vec<(Slice, Option<Slice>)>,
    place: HashMap<u64, usize, BuildHasherDefault<Through>>,
}

impl Group {
    fn push(&mut self, hash: u64, key: Slice, value: Option<Slice>) {
        match self.place.get(&hash).and_then(|place| self.writes.get_mut(*place)) {
            Some(former) if former.0 == key => former.1 = value,
            _ => {
                self.place.insert(hash, self.writes.len());
                self.writes.push((key, value));
            }
        }
    }
}

impl ShardMeta {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.generation.0.to_be_bytes().to_vec();
        bytes.extend(self.epoch.to_be_bytes());
        bytes.push(self.complete.into());
        bytes.extend(self.life.to_be_bytes());
        bytes.extend(self.sum.count.to_be_bytes());
        bytes.extend(self.sum.digest.to_be_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (complete, rest) = rest.split_first()?;
        let (life, rest) = rest.split_first_chunk()?;
        Some(Self {
            generation: Serial(u32::from_be_bytes(*generation)),
            epoch: u64::from_be_bytes(*epoch),
            complete: *complete == 1,
            life: u32::from_be_bytes(*life),
            sum: sum_from(rest)?,
        })
    }
}

/// A hash that is one already.
#[derive(Default)]
struct Through(u64);

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn open_engine(folder: &Path, limits: Limits) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(folder)
        .cache_size(CACHE_BYTES)
        .max_cached_files(Some(OPEN_FILES))
        .max_journaling_size(WRITE_AHEAD_BYTES)
        .worker_threads(WORKERS)
        // The journal's thread says when.
        .manual_journal_persist(true)
        .open()?;
    let options = || KeyspaceCreateOptions::default().max_memtable_size(limits.memtable_bytes);
    let records = database.keyspace(KEYSPACE, options)?;
    Ok((database, records))
}

/// The number of a group, as the scan of the write-ahead files finds it.
pub(super) fn number_of(value: &[u8]) -> Option<u64> {
    unseal(NUMBER_KEY, value).and_then(number_from).map(|(number, _)| number)
}

fn insert_number(batch: &mut OwnedWriteBatch, records: &Keyspace, number: u64, sum: Sum) {
    let numbers = [number, sum.count, sum.digest];
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    batch.insert(records, NUMBER_KEY, seal(NUMBER_KEY, &bytes).0);
}

fn number_from(bytes: &[u8]) -> Option<(u64, Sum)> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), sum_from(rest)?))
}

fn sum_from(bytes: &[u8]) -> Option<Sum> {
    let (count, digest) = bytes.split_first_chunk()?;
    let digest = digest.try_into().ok()?;
    Some(Sum { count: u64::from_be_bytes(*count), digest: u64::from_be_bytes(digest) })
}

fn shard_key(shard: u16) -> [u8; 3] {
    let [high, low] = shard.to_be_bytes();
    [TAG_SHARD, high, low]
}

fn record_prefix(shard: u16, life: u32) -> [u8; PREFIX_LEN] {
    let [high, low] = shard.to_be_bytes();
    let [a, b, c, d] = life.to_be_bytes();
    [TAG_RECORD, high, low, a, b, c, d]
}

pub(super) fn read_record(key: &[u8], value: &[u8]) -> Result<(u64, (RecordKey, Record)), String> {
    let name = || {
        let (app, key) = key.get(PREFIX_LEN..).and_then(<[u8]>::split_first_chunk)?;
        RecordKey::new(u16::from_be_bytes(*app), key)
    };
    let Some(name) = name() else { return Err(format!("the key {key:?} is not of a record")) };
    let (bytes, checksum) = unseal_with_checksum(key, value)
        .ok_or_else(|| format!("the checksum of record {name:?} is wrong"))?;
    match Record::decode(bytes) {
        Ok((found, record)) if found == name => Ok((checksum, (found, record))),
        Ok((found, _)) => Err(format!("record {found:?} lies under the key of {name:?}")),
        Err(error) => Err(format!("record {name:?} cannot be read: {error}")),
    }
}

pub(super) fn seal(key: &[u8], payload: &[u8]) -> (Vec<u8>, u64) {
    let checksum = xxh3_64_with_seed(payload, xxh3_64(key));
    let mut value = Vec::with_capacity(payload.len() + CHECKSUM_LEN);
    value.extend(payload);
    value.extend(checksum.to_be_bytes());
    (value, checksum)
}

fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    unseal_with_checksum(key, value).map(|(payload, _)| payload)
}

fn unseal_with_checksum<'a>(key: &[u8], value: &'a [u8]) -> Option<(&'a [u8], u64)> {
    let (payload, checksum) = value.split_last_chunk::<CHECKSUM_LEN>()?;
    let checksum = u64::from_be_bytes(*checksum);
    (checksum == xxh3_64_with_seed(payload, xxh3_64(key))).then_some((payload, checksum))
}
