//! All records of a replica: found by a keyed hash, kept in places that do not move, each with its timers.

use std::collections::BTreeSet;
use std::hint::black_box;

use ahash::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::node::Chore;
use crate::record::{Entry, Record, RecordKey};
use crate::time::Time;

/// Lookups that are anticipated at a time: as many as one receive buffer brings, and as fit the first cache.
const ANTICIPATED: usize = 64;

/// No timer.
const NEVER: Time = Time(u64::MAX);

/// Where a record is. Stays the same as long as the record is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct At(u32);

/// A record, its name and its timers. What a write looks at stands at the beginning, within two cache lines for a short
/// key; each place begins a line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
struct Place {
    entry: Entry,
    timers: [Time; Chore::COUNT],
    /// In the list of changes.
    changed: bool,
    key: RecordKey,
}

#[cfg(target_pointer_width = "64")]
const _: () =
    assert!(size_of::<Option<Place>>() == 256, "what a record takes, besides a long value and companions");

/// What changed since it was last asked, for a journal. Kept only if somebody asks.
#[derive(Clone, Debug, Default)]
struct Changes {
    wanted: bool,
    /// Everything was forgotten, before all else here.
    cleared: bool,
    removed: Vec<RecordKey>,
    places: Vec<At>,
}

/// The records.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    hasher: RandomState,
    index: HashTable<At>,
    places: Vec<Option<Place>>,
    free: Vec<At>,
    live: usize,
    timers: BTreeSet<(Time, Chore, At)>,
    /// No timer is due before.
    earliest: Time,
    changes: Changes,
}

/// What happened to a record since changes were taken.
#[derive(Clone, Copy, Debug)]
pub enum RecordChange<'a> {
    /// Everything was forgotten, before all other changes.
    Cleared,
    /// It is not there any more.
    Removed(&'a RecordKey),
    /// It is there now, in this form.
    Present(&'a RecordKey, &'a Record),
}

impl Table {
    /// An empty table whose hash depends on `seeds`: with seeds that nobody knows, nobody can choose keys that collide.
    pub(crate) fn new(seeds: [u64; 4]) -> Self {
        Self {
            hasher: RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]),
            index: HashTable::new(),
            places: Vec::new(),
            free: Vec::new(),
            live: 0,
            timers: BTreeSet::new(),
            earliest: NEVER,
            changes: Changes::default(),
        }
    }

    /// Records and tombstones.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Records that are not tombstones.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn find(&self, key: &RecordKey) -> Option<At> {
        self.find_named(key.app(), key.key())
    }

    pub(crate) fn find_named(&self, app: u16, key: &[u8]) -> Option<At> {
        let is_it = |at: &At| {
            let found = self.key(*at);
            found.app() == app && found.key() == key
        };
        self.index.find(hash_of(&self.hasher, app, key), is_it).copied()
    }

    /// Makes the memory of records be fetched that will be looked for soon, whatever is in it: first what leads to all of
    /// them, then the records. In each of the two rounds no lookup waits for another, so the waits overlap.
    pub(crate) fn anticipate<'a>(&self, keys: impl Iterator<Item = (u16, &'a [u8])>) {
        let mut hashes = SmallVec::<[u64; ANTICIPATED]>::new();
        for (app, key) in keys.take(ANTICIPATED) {
            let hash = hash_of(&self.hasher, app, key);
            self.index.find(hash, |at| {
                black_box(at.0);
                false
            });
            hashes.push(hash);
        }
        for hash in hashes {
            if let Some(at) = self.index.find(hash, |_| true) {
                let place = self.place(*at);
                black_box((place.entry.deadline, place.entry.record.version, place.key.app()));
            }
        }
    }

    pub(crate) fn key(&self, at: At) -> &RecordKey {
        &self.place(at).key
    }

    pub(crate) fn entry(&self, at: At) -> &Entry {
        &self.place(at).entry
    }

    /// To change what is never sent. Who changes the record itself calls [`touch`](Self::touch).
    pub(crate) fn entry_mut(&mut self, at: At) -> &mut Entry {
        &mut self.place_mut(at).entry
    }

    pub(crate) fn get(&self, key: &RecordKey) -> Option<&Entry> {
        self.find(key).map(|at| self.entry(at))
    }

    pub(crate) fn get_mut(&mut self, key: &RecordKey) -> Option<&mut Entry> {
        self.find(key).map(|at| self.entry_mut(at))
    }

    /// In the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RecordKey, &Entry)> {
        self.places.iter().flatten().map(|place| (&place.key, &place.entry))
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = (&RecordKey, &mut Entry)> {
        self.places.iter_mut().flatten().map(|place| (&place.key, &mut place.entry))
    }

    /// What stands at a place from `from` on: the place after it, and its key. `None` if nothing does.
    pub(crate) fn next_from(&self, from: usize) -> Option<(usize, &RecordKey)> {
        let (at, place) = self.places.iter().enumerate().skip(from).find_map(|(at, place)| {
            let place = place.as_ref()?;
            Some((at, place))
        })?;
        Some((at + 1, &place.key))
    }

    /// Puts an entry in; one that was there before is replaced and keeps its timers.
    pub(crate) fn insert(&mut self, key: RecordKey, entry: Entry) -> At {
        let live = entry.is_live();
        let at = match self.find(&key) {
            Some(at) => {
                self.live -= usize::from(self.entry(at).is_live());
                *self.entry_mut(at) = entry;
                at
            }
            None => {
                let place = Place { key, entry, timers: [NEVER; Chore::COUNT], changed: false };
                let at = self.free.pop().unwrap_or(At(self.places.len() as u32));
                match self.places.get_mut(at.0 as usize) {
                    Some(free) => *free = Some(place),
                    None => self.places.push(Some(place)),
                }
                let hash = self.hash(&key);
                let Self { index, places, hasher, .. } = self;
                index.insert_unique(hash, at, |at| {
                    let key = &expect(places, *at).key;
                    hash_of(hasher, key.app(), key.key())
                });
                at
            }
        };
        self.live += usize::from(live);
        self.touch(at);
        at
    }

    /// Changes the record at a place, which may be deleted or alive thereafter.
    pub(crate) fn change<T>(&mut self, at: At, change: impl FnOnce(&mut Entry) -> T) -> T {
        let entry = self.entry_mut(at);
        let before = entry.is_live();
        let result = change(entry);
        let after = entry.is_live();
        self.live = self.live + usize::from(after) - usize::from(before);
        self.touch(at);
        result
    }

    /// When a record was changed: a journal will hear of it.
    pub(crate) fn touch(&mut self, at: At) {
        if self.changes.wanted && !std::mem::replace(&mut self.place_mut(at).changed, true) {
            self.changes.places.push(at);
        }
    }

    pub(crate) fn remove(&mut self, key: &RecordKey) {
        let hash = self.hash(key);
        let Self { index, places, .. } = self;
        let Ok(found) = index.find_entry(hash, |at| expect(places, *at).key == *key) else { return };
        let (at, _) = found.remove();
        for chore in Chore::ALL {
            self.cancel_at(chore, at);
        }
        if let Some(place) = self.places[at.0 as usize].take() {
            self.live -= usize::from(place.entry.is_live());
            self.free.push(at);
            if self.changes.wanted {
                self.changes.removed.push(*key);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        let wanted = self.changes.wanted;
        *self = Self { hasher: self.hasher.clone(), ..Self::new([0; 4]) };
        self.changes = Changes { wanted, cleared: wanted, ..Changes::default() };
    }

    /// From now on changes are remembered until they are taken.
    pub(crate) fn want_changes(&mut self) {
        self.changes.wanted = true;
    }

    /// What changed since the last time, each record once and as it is now.
    pub(crate) fn take_changes(&mut self, mut take: impl FnMut(RecordChange<'_>)) {
        if std::mem::take(&mut self.changes.cleared) {
            take(RecordChange::Cleared);
        }
        for key in self.changes.removed.drain(..) {
            take(RecordChange::Removed(&key));
        }
        for at in self.changes.places.drain(..) {
            // A place may have been left, and may have been taken by another record that is in the list as well.
            let Some(place) = &mut self.places[at.0 as usize] else { continue };
            if std::mem::take(&mut place.changed) {
                take(RecordChange::Present(&place.key, &place.entry.record));
            }
        }
    }

    pub(crate) fn has_changes(&self) -> bool {
        self.changes.cleared || !self.changes.removed.is_empty() || !self.changes.places.is_empty()
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Time> {
        self.timers.first().map(|(at, _, _)| *at)
    }

    /// Takes the next timer that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Chore, RecordKey)> {
        if now < self.earliest {
            return None;
        }
        let first = self.timers.first().copied().filter(|(due, _, _)| *due <= now);
        let Some((due, chore, at)) = first else {
            self.earliest = self.next_due().unwrap_or(NEVER);
            return None;
        };
        self.timers.remove(&(due, chore, at));
        let place = self.place_mut(at);
        place.timers[chore as usize] = NEVER;
        Some((chore, place.key))
    }

    /// Sets a record's timer, instead of the one that it has for this chore.
    pub(crate) fn schedule(&mut self, chore: Chore, key: &RecordKey, due: Time) {
        let Some(at) = self.find(key) else { return };
        let old = std::mem::replace(&mut self.place_mut(at).timers[chore as usize], due);
        if old != NEVER {
            self.timers.remove(&(old, chore, at));
        }
        self.timers.insert((due, chore, at));
        self.earliest = self.earliest.min(due);
    }

    pub(crate) fn cancel(&mut self, chore: Chore, key: &RecordKey) {
        if let Some(at) = self.find(key) {
            self.cancel_at(chore, at);
        }
    }

    pub(crate) fn forget_timers(&mut self, chores: &[Chore]) {
        self.timers.retain(|(_, chore, _)| !chores.contains(chore));
        for place in self.places.iter_mut().flatten() {
            chores.iter().for_each(|chore| place.timers[*chore as usize] = NEVER);
        }
    }

    /// Everything that matters from now on: what stands at each place with its timers, and which place is taken next.
    pub(crate) fn essence(
        &self,
    ) -> impl Iterator<Item = Option<(&RecordKey, &Entry, &[Time; Chore::COUNT])>> {
        self.places.iter().map(|place| place.as_ref().map(|place| (&place.key, &place.entry, &place.timers)))
    }

    pub(crate) fn free(&self) -> &[At] {
        &self.free
    }

    fn cancel_at(&mut self, chore: Chore, at: At) {
        let due = std::mem::replace(&mut self.place_mut(at).timers[chore as usize], NEVER);
        if due != NEVER {
            self.timers.remove(&(due, chore, at));
        }
    }

    fn hash(&self, key: &RecordKey) -> u64 {
        hash_of(&self.hasher, key.app(), key.key())
    }

    fn place(&self, at: At) -> &Place {
        expect(&self.places, at)
    }

    fn place_mut(&mut self, at: At) -> &mut Place {
        self.places[at.0 as usize].as_mut().expect("what the index and the timers name is there")
    }
}

fn hash_of(hasher: &RandomState, app: u16, key: &[u8]) -> u64 {
    hasher.hash_one((app, key))
}

fn expect(places: &[Option<Place>], at: At) -> &Place {
    places[at.0 as usize].as_ref().expect("what the index and the timers name is there")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::Serial;

    fn key(number: u8) -> RecordKey {
        RecordKey::new(1, &[number]).unwrap()
    }

    fn entry(deleted: bool) -> Entry {
        Entry::new(Record { deleted, ..Record::tombstone(Serial(1)) }, Time::ZERO)
    }

    #[test]
    fn records_are_found_counted_and_forgotten() {
        let mut table = Table::new([1, 2, 3, 4]);
        for number in 0..100 {
            table.insert(key(number), entry(number % 2 == 0));
        }
        assert_eq!((table.len(), table.live()), (100, 50));
        table.remove(&key(7));
        table.remove(&key(7));
        assert_eq!((table.len(), table.live(), table.find(&key(7))), (99, 49, None));
        let before = table.find(&key(8));
        assert_eq!(table.insert(key(8), entry(false)), before.unwrap());
        assert_eq!((table.len(), table.live()), (99, 50));
        let place = table.insert(key(200), entry(false));
        assert_eq!(place, At(7), "a place that was left is taken first");
        table.change(place, |entry| entry.record.deleted = true);
        assert_eq!(table.live(), 50);
        table.clear();
        assert_eq!((table.len(), table.live(), table.find(&key(1))), (0, 0, None));
    }

    #[test]
    fn timers_come_in_order_and_only_the_last_one_set() {
        let mut table = Table::new([0; 4]);
        for number in 0..3 {
            table.insert(key(number), entry(false));
            table.schedule(Chore::Idle, &key(number), Time(100 - u64::from(number)));
        }
        table.schedule(Chore::Idle, &key(0), Time(50));
        table.schedule(Chore::Purge, &key(1), Time(60));
        table.cancel(Chore::Purge, &key(1));
        assert_eq!(table.pop_due(Time(49)), None);
        assert_eq!(table.pop_due(Time(200)), Some((Chore::Idle, key(0))));
        table.remove(&key(1));
        assert_eq!(table.pop_due(Time(200)), Some((Chore::Idle, key(2))));
        assert_eq!((table.pop_due(Time(200)), table.next_due()), (None, None));
    }

    #[test]
    fn changes_are_told_once_and_as_they_are() {
        let mut table = Table::new([0; 4]);
        table.insert(key(1), entry(false));
        assert!(!table.has_changes(), "nobody asked");
        table.want_changes();
        let told = |table: &mut Table| {
            let mut told = Vec::new();
            table.take_changes(|change| {
                told.push(match change {
                    RecordChange::Cleared => "cleared".to_owned(),
                    RecordChange::Removed(key) => format!("- {key:?}"),
                    RecordChange::Present(key, record) => format!("+ {key:?} {}", !record.deleted),
                });
            });
            told
        };
        let at = table.insert(key(2), entry(false));
        table.touch(at);
        table.change(at, |entry| entry.record.deleted = true);
        assert_eq!(told(&mut table), ["+ 1:02 false"]);
        table.touch(at);
        table.remove(&key(2));
        table.insert(key(3), entry(false));
        assert_eq!(told(&mut table), ["- 1:02", "+ 1:03 true"]);
        table.touch(table.find(&key(3)).unwrap());
        table.clear();
        table.insert(key(4), entry(false));
        assert_eq!(told(&mut table), ["cleared", "+ 1:04 true"]);
        assert!(!table.has_changes());
    }
}
