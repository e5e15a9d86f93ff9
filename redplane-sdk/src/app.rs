//! What an app is to the software switch, and what its handler holds in hand.
//!
//! Authors do not write any of this: `#[redplane_sdk::app]` does. It turns the module
//!
//! ```text
//! #[redplane_sdk::app(id = 1)]
//! pub mod nat {
//!     use redplane_sdk::prelude::*;
//!     #[key] pub struct Endpoint { pub addr: Ipv4Addr, pub port: u16 }
//!     #[state(key = Endpoint, slots = 65_536, idle = "300s")] pub struct Binding { pub addr: Ipv4Addr }
//!     #[table(size = 64)] pub type Inside = Lpm<Ipv4Addr, bool>;
//!     #[config] pub struct Pool { pub addresses: Vec<Ipv4Addr> }
//!     #[handler] pub fn translate(pkt: &mut Packet, cx: &mut Context) -> Handled { .. }
//!     #[on_create] pub fn bind(key: &Endpoint, records: &mut Creation<Endpoint, Binding>, pool: &Pool)
//!         -> Result<Binding, Refusal> { .. }
//! }
//! ```
//!
//! into the same items and these:
//!
//! ```text
//! #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]       // no Default: Ipv4Addr has none
//! pub struct Endpoint { .. }
//! ::redplane_sdk::impl_fixed!(Endpoint { addr: Ipv4Addr, port: u16 });      // Fixed, through `Field` of each type
//!
//! pub type Inside = Lpm<Ipv4Addr, bool, 64>;                                // the size becomes the third argument
//!
//! #[derive(Clone, Debug, Default, ::redplane_sdk::serde::Deserialize)]
//! #[serde(crate = "::redplane_sdk::serde", default, deny_unknown_fields)]
//! pub struct Tables { pub inside: Inside }
//!
//! #[derive(Clone, Debug, ::redplane_sdk::serde::Deserialize)]               // `()` is the Config of an app without one
//! #[serde(crate = "::redplane_sdk::serde")]
//! pub struct Pool { .. }
//!
//! pub struct Context<'a> {
//!     pub binding: ::redplane_sdk::StateHandle<'a, Endpoint, Binding>,
//!     pub inside: &'a Inside,
//!     pub ingress_port: u16,
//! }
//! impl Context<'_> {
//!     pub fn forward(&self) -> Handled { Ok(::redplane_sdk::Verdict::Forward) }
//!     pub fn to(&self, port: u16) -> Handled { Ok(::redplane_sdk::Verdict::To(port)) }
//!     pub fn reply(&self) -> Handled { Ok(::redplane_sdk::Verdict::Reply) }
//!     pub fn recirculate(&self) -> Handled { Ok(::redplane_sdk::Verdict::Recirculate) }
//!     pub fn drop(&self, reason: &'static str) -> Handled { Ok(::redplane_sdk::Verdict::Drop(reason)) }
//! }
//!
//! pub struct App;
//! impl ::redplane_sdk::App for App {
//!     type Key = Endpoint; type State = Binding; type Tables = Tables; type Config = Pool;
//!     const NAME: &'static str = "nat"; const ID: u16 = 1; const FINGERPRINT: u16 = 0x1234;
//!     const IR_HASH: u64 = 0x1234; const SLOTS: u32 = 65_536; const IDLE: Duration = Duration::from_millis(300_000);
//!     const REASONS: &'static [&'static str] = &["not_ipv4", "fragment"];
//!     fn handle<'a>(packet: &mut Packet, state: StateHandle<'a, Endpoint, Binding>, tables: &'a Tables,
//!         ingress_port: u16) -> Handled {
//!         translate(packet, &mut Context { binding: state, inside: &tables.inside, ingress_port })
//!     }
//!     fn create(key: &Endpoint, records: &mut Creation<'_, Endpoint, Binding>, config: &Pool)
//!         -> Result<Binding, Refusal> { bind(key, records, config) } // or Ok(Fixed::zero())
//! }
//! ```
//!
//! Arithmetic in a handler becomes calls into [`crate::ops`]: `a + b` is `::redplane_sdk::ops::add(a, b)`, `a << N` is
//! `::redplane_sdk::ops::shl(a, (N) as u32)`, `a as T` is `::redplane_sdk::ops::cast::<_, T>(a)` (it zero-extends or
//! truncates between all integers, odd widths and `bool`; a literal keeps its plain `as`).

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use redplane_protocol::create::{Creation, Creator, Refusal, TypedCreator};
use redplane_protocol::{Fixed, Lookup, Schema, Slot, SlotTable, Ticks};
use serde::de::DeserializeOwned;

use crate::packet::Packet;

/// One app, as the switch and the store run it. `#[redplane_sdk::app]` implements it.
pub trait App: Sized + 'static {
    /// The flow key.
    type Key: Fixed;
    /// The replicated state behind a key.
    type State: Fixed;
    /// The operator tables, each a field named as in the handler's context; empty tables are the default.
    type Tables: Clone + Debug + Default + DeserializeOwned + Send + Sync + 'static;
    /// What the operator tells `create`, and only that.
    type Config: Clone + Debug + DeserializeOwned + Send + Sync + 'static;

    /// The module's name.
    const NAME: &'static str;
    /// The number that the wire header carries.
    const ID: u16;
    /// Fingerprint of the key's and the state's layout.
    const FINGERPRINT: u16;
    /// Hash of the whole program; emitted code of another hash is stale.
    const IR_HASH: u64;
    /// Slots in a switch; a power of two.
    const SLOTS: u32;
    /// How long a record without a lease stays in the store, unless [`App::idle`] says otherwise.
    const IDLE: Duration;
    /// Every reason that the handler drops for; each has its own counter.
    const REASONS: &'static [&'static str];

    /// Runs the handler once on one packet.
    ///
    /// # Errors
    /// [`Suspend`] if the packet must wait for its state; the packet is then unchanged.
    fn handle<'a>(
        packet: &mut Packet,
        state: StateHandle<'a, Self::Key, Self::State>,
        tables: &'a Self::Tables,
        ingress_port: u16,
    ) -> Handled;

    /// Bytes of the app's own headers among those that follow the standard ones; `None` if they end within a header.
    fn own_headers(_packet: &Packet, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }

    /// How long a record of this value stays in the store without a lease. The store runs it.
    fn idle(_key: &Self::Key, _state: &Self::State) -> Duration {
        Self::IDLE
    }

    /// Makes the state of a new key. The store runs it.
    ///
    /// # Errors
    /// [`Refusal`] if there shall be no state for this key; the packet that asked is dropped.
    fn create(
        key: &Self::Key,
        records: &mut Creation<'_, Self::Key, Self::State>,
        config: &Self::Config,
    ) -> Result<Self::State, Refusal>;
}

/// The app as the store runs it: a creator that knows the operator's configuration.
pub fn creator<A: App>(config: A::Config) -> Box<dyn Creator> {
    Box::new(TypedCreator::new(
        schema::<A>(),
        A::idle,
        move |key: &A::Key, records: &mut Creation<'_, _, _>| A::create(key, records, &config),
    ))
}

/// [`creator`] with a configuration that the operator may change while the store runs: what is made from then on is made
/// by the new one, what is there stays.
///
/// # Panics
/// When it makes something after a thread has panicked that held the lock.
pub fn live_creator<A: App>(config: Arc<RwLock<A::Config>>) -> Box<dyn Creator> {
    Box::new(TypedCreator::new(
        schema::<A>(),
        A::idle,
        move |key: &A::Key, records: &mut Creation<'_, _, _>| {
            A::create(key, records, &config.read().expect("nobody panics while changing a configuration"))
        },
    ))
}

/// What switch and store must agree on.
pub fn schema<A: App>() -> Schema {
    Schema {
        app: A::ID,
        fingerprint: A::FINGERPRINT,
        key_len: A::Key::LEN as u16,
        value_len: A::State::LEN as u16,
    }
}

/// What a handler returns: what becomes of the packet, or that it must wait for its state.
pub type Handled = Result<Verdict, Suspend>;

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// By the IPv4 route table: TTL less one, both MAC addresses rewritten.
    Forward,
    /// As [`Verdict::Forward`], by the route of this address instead of the destination's.
    Via(Ipv4Addr),
    /// Out of this port, as it is.
    To(u16),
    /// Back out of the port that it came in by, MAC addresses swapped.
    Reply,
    /// Through the pipeline once more, as it is now.
    Recirculate,
    /// Nowhere. The reason names the counter.
    Drop(&'static str),
}

/// The packet waits for its state: the switch does not hold it, and asks the store. Passed on by `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspend(());

/// The way to the state: what `cx.<state>` is. One key can be asked for on one pass.
pub struct StateHandle<'a, K, V> {
    slots: &'a SlotTable<K, V>,
    absent: Option<&'a K>,
    now: Ticks,
    pass: Option<&'a mut Pass<K, V>>,
}

impl<'a, K: Fixed, V: Fixed> StateHandle<'a, K, V> {
    /// A handle for one pass. `absent` is the key of which the store just said that it has no record.
    pub fn new(
        slots: &'a SlotTable<K, V>,
        absent: Option<&'a K>,
        now: Ticks,
        pass: &'a mut Pass<K, V>,
    ) -> Self {
        StateHandle { slots, absent, now, pass: Some(pass) }
    }

    /// The lease point: the state of `key`, which is created if there is none.
    ///
    /// # Errors
    /// [`Suspend`] unless this switch holds the state now.
    ///
    /// # Panics
    /// When asked a second time on one pass. The compiler refuses such a handler.
    pub fn lease(&mut self, key: K) -> Result<StateRef<'a, V>, Suspend> {
        self.reach(key, true).ok_or(Suspend(()))
    }

    /// The lease point for state that must not be created: `None` if the store has no record of `key`.
    ///
    /// # Errors
    /// [`Suspend`] unless this switch holds the state now, or was just told that there is none.
    ///
    /// # Panics
    /// When asked a second time on one pass. The compiler refuses such a handler.
    pub fn find(&mut self, key: K) -> Result<Option<StateRef<'a, V>>, Suspend> {
        let absent = self.absent.is_some_and(|absent| *absent == key);
        match self.reach(key, false) {
            Some(state) => Ok(Some(state)),
            None if absent => Ok(None),
            None => Err(Suspend(())),
        }
    }

    fn reach(&mut self, key: K, create: bool) -> Option<StateRef<'a, V>> {
        let pass = self.pass.take().expect("a handler reaches at most one lease point");
        let (slot, held) = match self.slots.lookup(&key, self.now) {
            Lookup::Held(slot) => (slot, true),
            Lookup::NotHeld(slot) => (slot, false),
        };
        pass.reached = Some(Reached { key, slot, create, held });
        if !held {
            return None;
        }
        pass.value = self.slots.value(slot);
        Some(StateRef { value: &mut pass.value, written: &mut pass.written })
    }
}

/// The held state, as a plain struct. Assigning to a field marks it written, even if the value is the same.
#[derive(Debug)]
pub struct StateRef<'a, V> {
    value: &'a mut V,
    written: &'a mut bool,
}

impl<V> Deref for StateRef<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.value
    }
}

impl<V> DerefMut for StateRef<'_, V> {
    fn deref_mut(&mut self) -> &mut V {
        *self.written = true;
        self.value
    }
}

/// What one pass through a handler did with the state: the switch reads it when the handler is done.
#[derive(Clone, Debug)]
pub struct Pass<K, V> {
    /// The lease point that the packet came to, if any.
    pub reached: Option<Reached<K>>,
    /// The held state after the handler; meaningful if [`Reached::held`].
    pub value: V,
    /// Whether the handler wrote the state.
    pub written: bool,
}

impl<K, V: Fixed> Default for Pass<K, V> {
    fn default() -> Self {
        Pass { reached: None, value: V::zero(), written: false }
    }
}

/// A lease point, as one packet came to it.
#[derive(Clone, Copy, Debug)]
pub struct Reached<K> {
    /// The key.
    pub key: K,
    /// The key's slot.
    pub slot: Slot,
    /// `lease`, not `find`.
    pub create: bool,
    /// Whether the slot held the key's state.
    pub held: bool,
}
