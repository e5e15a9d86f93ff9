//! Apps that are linked into a command.

use std::marker::PhantomData;

use anyhow::Context;
use backend_store::cli::Registration;
use redplane_sdk::App;
use serde::Deserialize;
use serde::de::value::{Error, UnitDeserializer};

use crate::switch::{self, Counters, config::SwitchFile};

/// What the compiler emitted for an app; `include_str!` brings it.
#[derive(Clone, Copy, Debug)]
pub struct Emitted {
    /// `schema.json`.
    pub schema: &'static str,
    /// The P4 for BMv2's v1model.
    pub v1model: &'static str,
    /// `entries.json` of that.
    pub entries: &'static str,
}

/// An app that is linked in.
pub trait Program: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What was emitted for it.
    fn emitted(&self) -> Emitted;
    /// Bytes of its messages, without the packet that they carry.
    fn message_len(&self) -> usize;
    /// Runs it as a software switch, until it is told to stop.
    ///
    /// # Errors
    /// If the configuration does not fit the app or the machine.
    fn run(&self, file: &SwitchFile) -> anyhow::Result<Counters>;
    /// Its `on_create`, for the store, with this configuration of the app.
    ///
    /// # Errors
    /// If the configuration is not one of this app.
    fn registration(&self, config: toml::Value) -> anyhow::Result<Registration>;
}

/// Links an app in.
#[must_use]
pub fn program<A: App + Send + Sync>(emitted: Emitted) -> Box<dyn Program>
where
    A::Config: Send + Sync,
{
    Box::new(Linked::<A> { emitted, app: PhantomData })
}

struct Linked<A> {
    emitted: Emitted,
    app: PhantomData<fn() -> A>,
}

impl<A: App> Program for Linked<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn emitted(&self) -> Emitted {
        self.emitted
    }

    fn message_len(&self) -> usize {
        switch::message_len::<A>()
    }

    fn run(&self, file: &SwitchFile) -> anyhow::Result<Counters> {
        switch::run::<A>(file)
    }

    fn registration(&self, config: toml::Value) -> anyhow::Result<Registration> {
        let config = config_of::<A>(config).with_context(|| format!("[{}]", A::NAME))?;
        let factory = Box::new(move || redplane_sdk::app::creator::<A>(config.clone()));
        Ok(Registration { app: A::ID, factory })
    }
}

/// The configuration of an app. One that has none has an empty table.
fn config_of<A: App>(config: toml::Value) -> Result<A::Config, toml::de::Error> {
    let is_empty = config.as_table().is_some_and(toml::Table::is_empty);
    config.try_into().or_else(|error| {
        let unit: Option<A::Config> = Deserialize::deserialize(UnitDeserializer::<Error>::new()).ok();
        unit.filter(|_| is_empty).ok_or(error)
    })
}
