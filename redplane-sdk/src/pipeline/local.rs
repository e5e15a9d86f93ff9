//! The store that a switch without replication has within itself: it says yes at once, and dies with the switch.

use std::collections::HashMap;

use redplane_protocol::create::{Creator, Records, Refusal};
use redplane_protocol::{Fixed, Header, Kind, NackReason, Serial};

use super::encapsulation::Parts;

/// Most records; beyond it creation is answered with "busy". As many as a store's shard would hold in a few hundred
/// megabytes.
const RECORDS_MAX: usize = 1 << 20;

/// Records by key, as bytes. They stay until the switch goes: idle times are the store's.
pub(super) struct LocalStore {
    creator: Box<dyn Creator>,
    records: Shard,
    generation: Serial,
}

struct Shard(HashMap<Vec<u8>, Vec<u8>>);

impl Records for Shard {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    fn is_free(&self, key: &[u8]) -> bool {
        !self.0.contains_key(key)
    }
}

impl LocalStore {
    pub(super) fn new(creator: Box<dyn Creator>) -> Self {
        LocalStore { creator, records: Shard(HashMap::new()), generation: Serial::ZERO }
    }

    /// The answer to a request, if it has one, with the record's value.
    pub(super) fn answer<K: Fixed, V: Fixed>(&mut self, request: &Parts<K, V>) -> Option<Parts<K, V>> {
        let Parts { header, key, value } = *request;
        let (header, value) = match header.kind {
            Kind::Lease => match self.lease::<V>(&bytes(&key), header.create) {
                Ok(value) => {
                    self.generation = self.generation.next_nonzero();
                    let generation = self.generation;
                    (Header { kind: Kind::Grant, create: false, generation, ..header }, value)
                }
                Err(reason) => {
                    (Header { kind: Kind::Nack, create: false, reason: Some(reason), ..header }, V::zero())
                }
            },
            Kind::Write => {
                self.records.0.insert(bytes(&key), bytes(&value));
                (Header { kind: Kind::Ack, ..header }, value)
            }
            Kind::Read | Kind::Renew => (Header { kind: Kind::Ack, ..header }, value),
            _ => return None,
        };
        Some(Parts { header, key, value })
    }

    fn lease<V: Fixed>(&mut self, key: &[u8], create: bool) -> Result<V, NackReason> {
        if let Some(value) = self.records.get(key) {
            return Ok(V::decode(value));
        }
        if !create {
            return Err(NackReason::Absent);
        }
        if self.records.0.len() >= RECORDS_MAX {
            return Err(NackReason::Busy);
        }
        let created = self.creator.create(key, &self.records).map_err(|Refusal(_)| NackReason::Refused)?;
        let value = V::decode(&created.value);
        self.records.0.extend(created.companions);
        self.records.0.insert(key.to_vec(), created.value);
        Ok(value)
    }
}

fn bytes<T: Fixed>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::LEN];
    value.encode(&mut bytes);
    bytes
}
