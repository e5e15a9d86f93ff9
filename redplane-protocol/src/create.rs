//! Making a record that does not exist yet: what an app's `on_create` sees, and how the store calls it.
//!
//! Global state, such as a NAT's pool of ports, lives in the store and is divided over its shards (paper, section 6):
//! whoever creates a record may look at all records of its shard, and at no other.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::fixed::Fixed;
use crate::identity::Schema;

/// Most companions of one record. They travel in one chain message with their maker; an app needs one for each other
/// name of the same thing, as a NAT does for the way back.
pub const COMPANIONS_MAX: usize = 4;

/// Why `on_create` does not make a record: a snake_case word that ends up in a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Refusal(pub &'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "creation refused: {}", self.0)
    }
}

impl std::error::Error for Refusal {}

/// The records of one app in one shard, as bytes.
pub trait Records {
    /// The value of a key, if it has a record here.
    fn get(&self, key: &[u8]) -> Option<&[u8]>;

    /// Whether the key belongs to this shard and has no record.
    fn is_free(&self, key: &[u8]) -> bool;
}

/// What a [`Creator`] made, as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Value of the asked-for key.
    pub value: Vec<u8>,
    /// Further records that come and go with it: key and value. At most [`COMPANIONS_MAX`], all free, all different.
    pub companions: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The store's side of one app: makes records. Only the head of a chain calls it; the replicas get the result.
pub trait Creator: Send + Sync {
    /// Makes the value of an absent key.
    ///
    /// # Errors
    /// If the app does not want the record; the switch is told REFUSED.
    fn create(&mut self, key: &[u8], records: &dyn Records) -> Result<Created, Refusal>;

    /// Whose state this is.
    fn schema(&self) -> Schema;

    /// Every schema of the app that is understood, the newest last: that of [`schema`](Self::schema). The value of an
    /// older one is the first bytes of a newer one's, so that switches of both can share a record while a network is
    /// being upgraded. What a newer schema added reads as zero until somebody writes it.
    fn accepted(&self) -> Vec<Schema> {
        vec![self.schema()]
    }

    /// For how long a record with this value stays without lease and traffic. The head asks when the record is made and
    /// at each write. Of records that were made together the longest time counts. The value may be of an older schema:
    /// shorter.
    fn idle(&self, key: &[u8], value: &[u8]) -> Duration;
}

/// A creation under way: what an app's `on_create` may ask and do.
///
/// ```
/// use redplane_protocol::create::{Creation, Refusal};
///
/// fn on_create(key: &u32, records: &mut Creation<'_, u32, u64>) -> Result<u64, Refusal> {
///     let other = (1..100).find(|other| records.is_free(other)).ok_or(Refusal("exhausted"))?;
///     records.companion(other, u64::from(*key));
///     Ok(u64::from(other))
/// }
/// ```
pub struct Creation<'a, K, V> {
    key: K,
    records: &'a dyn Records,
    companions: Vec<(K, V)>,
    broken: Option<Refusal>,
}

impl<K: Fixed, V: Fixed> Creation<'_, K, V> {
    /// The value of another key of this shard.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<V> {
        let held = self.records.get(&to_bytes(key)).filter(|held| held.len() <= V::LEN)?;
        Some(decode(held))
    }

    /// Whether a key could be a companion: it is of this shard, has no record, and is neither the key that is being
    /// created nor a companion already.
    #[must_use]
    pub fn is_free(&self, key: &K) -> bool {
        *key != self.key
            && !self.companions.iter().any(|(other, _)| other == key)
            && self.records.is_free(&to_bytes(key))
    }

    /// Makes one more record that comes and goes with this one: it is replicated in the same message, and deleted only
    /// when both are idle.
    ///
    /// If the key is not [free](Self::is_free), or there are more than [`COMPANIONS_MAX`], the whole creation is
    /// refused (`companion_taken`, `companions_too_many`).
    pub fn companion(&mut self, key: K, value: V) {
        if !self.is_free(&key) {
            self.broken = Some(Refusal("companion_taken"));
        } else if self.companions.len() == COMPANIONS_MAX {
            self.broken = Some(Refusal("companions_too_many"));
        } else {
            self.companions.push((key, value));
        }
    }
}

/// A [`Creator`] out of typed functions.
pub struct TypedCreator<K, V, I, F> {
    schema: Schema,
    idle: I,
    on_create: F,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V, I, F> TypedCreator<K, V, I, F>
where
    K: Fixed,
    V: Fixed,
    I: Fn(&K, &V) -> Duration + Send + Sync,
    F: FnMut(&K, &mut Creation<'_, K, V>) -> Result<V, Refusal> + Send + Sync,
{
    /// Wraps `on_create`, and what says for how long a record may be idle. The lengths in `schema` are replaced by those of
    /// the types.
    pub fn new(schema: Schema, idle: I, on_create: F) -> Self {
        let schema = Schema { key_len: K::LEN as u16, value_len: V::LEN as u16, ..schema };
        Self { schema, idle, on_create, types: PhantomData }
    }
}

impl<K, V, I, F> Creator for TypedCreator<K, V, I, F>
where
    K: Fixed,
    V: Fixed,
    I: Fn(&K, &V) -> Duration + Send + Sync,
    F: FnMut(&K, &mut Creation<'_, K, V>) -> Result<V, Refusal> + Send + Sync,
{
    fn create(&mut self, key: &[u8], records: &dyn Records) -> Result<Created, Refusal> {
        if key.len() != K::LEN {
            return Err(Refusal("key_length"));
        }
        let key = K::decode(key);
        let mut creation = Creation { key, records, companions: Vec::new(), broken: None };
        let value = (self.on_create)(&key, &mut creation)?;
        if let Some(refusal) = creation.broken {
            return Err(refusal);
        }
        Ok(Created {
            value: to_bytes(&value),
            companions: creation
                .companions
                .iter()
                .map(|(key, value)| (to_bytes(key), to_bytes(value)))
                .collect(),
        })
    }

    fn schema(&self) -> Schema {
        self.schema
    }

    fn idle(&self, key: &[u8], value: &[u8]) -> Duration {
        (self.idle)(&decode(key), &decode(value))
    }
}

/// A record of an older schema is shorter: what was added since reads as zero.
fn decode<T: Fixed>(held: &[u8]) -> T {
    if let Some(whole) = held.get(..T::LEN) {
        return T::decode(whole);
    }
    let mut bytes = held.to_vec();
    bytes.resize(T::LEN, 0);
    T::decode(&bytes)
}

fn to_bytes<T: Fixed>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::LEN];
    value.encode(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Shard(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Records for Shard {
        fn get(&self, key: &[u8]) -> Option<&[u8]> {
            self.0.get(key).map(Vec::as_slice)
        }

        fn is_free(&self, key: &[u8]) -> bool {
            !self.0.contains_key(key)
        }
    }

    fn create(
        key: u16,
        on_create: impl FnMut(&u16, &mut Creation<'_, u16, u32>) -> Result<u32, Refusal> + Send + Sync,
    ) -> Result<Created, Refusal> {
        let schema = Schema { app: 1, fingerprint: 2, ..Schema::default() };
        let mut creator = TypedCreator::new(
            schema,
            |_: &u16, value: &u32| Duration::from_secs(u64::from(*value)),
            on_create,
        );
        assert_eq!(creator.schema(), Schema { app: 1, fingerprint: 2, key_len: 2, value_len: 4 });
        creator.create(&key.to_be_bytes(), &Shard([(vec![0, 9], vec![0, 0, 0, 99])].into()))
    }

    #[test]
    fn a_creation_sees_its_shard_and_makes_companions() {
        let created = create(7, |key, records| {
            assert_eq!(records.get(&9), Some(99));
            assert_eq!(
                (records.is_free(&9), records.is_free(key), records.is_free(&8)),
                (false, false, true)
            );
            records.companion(8, 70);
            assert!(!records.is_free(&8));
            Ok(80)
        })
        .unwrap();
        assert_eq!(created.value, [0, 0, 0, 80]);
        assert_eq!(created.companions, [(vec![0, 8], vec![0, 0, 0, 70])]);
    }

    #[test]
    fn a_creation_is_refused_whole() {
        assert_eq!(create(7, |_, _| Err(Refusal("exhausted"))), Err(Refusal("exhausted")));
        let taken = create(7, |_, records| {
            records.companion(9, 1);
            Ok(1)
        });
        assert_eq!(taken, Err(Refusal("companion_taken")));
        let too_many = create(7, |_, records| {
            (100..110).for_each(|key| records.companion(key, 1));
            Ok(1)
        });
        assert_eq!(too_many, Err(Refusal("companions_too_many")));
    }
}
