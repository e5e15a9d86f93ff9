//! A switch reduced to its requests, and a clock.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use backend_store::{Delivery, EmbeddedStore, StoreDestination, StoreSettings};
use redplane_protocol::wire::UDP_PORT;
use redplane_protocol::*;

pub(crate) const SCHEMA: Schema = Schema { app: 3, fingerprint: 77, key_len: 2, value_len: 4 };
pub(crate) const LEASE: Duration = Duration::from_millis(100);

/// An answer, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) header: Header,
    pub(crate) value: u32,
    pub(crate) frame: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) store: EmbeddedStore,
    pub(crate) now: Time,
    pub(crate) answers: Vec<Answer>,
    /// Which of the messages between nodes is lost, by its number.
    pub(crate) lose: fn(u64) -> bool,
    sent: u64,
}

pub(crate) fn settings(nodes: u16, shards: u16) -> StoreSettings {
    let lease = Lease::new(LEASE, 10).unwrap();
    StoreSettings { nodes, shards, lease, detection: Duration::from_millis(30), ..StoreSettings::default() }
}

impl World {
    pub(crate) fn new(settings: StoreSettings) -> Self {
        let creator = || -> Box<dyn Creator> {
            Box::new(TypedCreator::new(
                SCHEMA,
                |_: &_, _: &_| Duration::from_secs(5),
                |key: &u16, records: &mut Creation<'_, u16, u32>| {
                    if *key == 666 {
                        return Err(Refusal("unlucky"));
                    }
                    let companion =
                        (20_000..u16::MAX).find(|other| records.is_free(other)).ok_or(Refusal("full"))?;
                    records.companion(companion, u32::from(*key));
                    Ok(u32::from(companion))
                },
            ))
        };
        let now = Time(1_000_000);
        let store = EmbeddedStore::new(settings, vec![Box::new(creator)], now).unwrap();
        Self { store, now, answers: Vec::new(), lose: |_| false, sent: 0 }
    }

    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        loop {
            self.collect();
            match self.store.poll_timeout().filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.store.handle_timeout(self.now);
                }
                None => break,
            }
        }
        self.now = end;
    }

    /// Sends a request to its shard and lets a millisecond pass.
    pub(crate) fn request(
        &mut self,
        switch: u16,
        kind: Kind,
        key: u16,
        change: impl FnOnce(&mut Header),
        value: u32,
    ) {
        let mut header = Header {
            kind,
            create: kind == Kind::Lease,
            reason: None,
            app: SCHEMA.app,
            fingerprint: SCHEMA.fingerprint,
            identity: SwitchIdentity { switch, incarnation: 1 },
            generation: Serial(0),
            sequence: Serial(0),
            ticket: Serial(0),
            sent_at: Ticks(0),
            port: 1,
        };
        change(&mut header);
        let bytes =
            Message { header, key: &key.to_be_bytes(), value: &value.to_be_bytes(), frame: &[1, 2] }.to_vec();
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, switch as u8), UDP_PORT);
        self.store.handle_request(address, &bytes, self.now);
        self.advance(Duration::from_millis(1));
    }

    /// The one answer since the last call, if there was one.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        assert!(self.answers.len() <= 1, "more than one answer: {:?}", self.answers);
        self.answers.pop()
    }

    pub(crate) fn lease(&mut self, switch: u16, key: u16, ticket: u32) -> Option<Answer> {
        self.request(switch, Kind::Lease, key, |header| header.ticket = Serial(ticket), 0);
        self.answer()
    }

    pub(crate) fn write(&mut self, switch: u16, key: u16, version: Version, value: u32) -> Option<Answer> {
        self.write_without_check(switch, key, version, value);
        self.answer()
    }

    pub(crate) fn write_without_check(&mut self, switch: u16, key: u16, version: Version, value: u32) {
        let change = |header: &mut Header| {
            header.generation = version.generation;
            header.sequence = version.sequence;
        };
        self.request(switch, Kind::Write, key, change, value);
    }

    fn collect(&mut self) {
        while let Some(transmit) = self.store.poll_transmit() {
            match transmit.to {
                StoreDestination::Switch(_) => {
                    let message = Message::parse(&transmit.bytes, &SCHEMA).unwrap();
                    let (header, value) = (message.header, u32::decode(message.value));
                    self.answers.push(Answer { header, value, frame: message.frame.to_vec() });
                }
                StoreDestination::Node(to) => {
                    assert_eq!(self.store.settings().delivery, Delivery::Caller);
                    self.sent += 1;
                    if !(self.lose)(self.sent) {
                        self.store.handle_chain(to, transmit.from, &transmit.bytes, self.now);
                    }
                }
            }
        }
    }
}
