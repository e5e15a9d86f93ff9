//! `entries.json`: what the compiler says has to be filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Deserialize;

use crate::error::RuntimeError;
use crate::runtime::Runtime;

/// The emitted entries of one app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// The app's name.
    pub app: String,
    pub(crate) target: String,
    /// File name of the P4.
    pub program: String,
    pub(crate) defaults: Vec<Table>,
    pub(crate) tables: Vec<Table>,
    pub(crate) value_sets: Vec<ValueSet>,
    pub(crate) mirror_sessions: Vec<MirrorSession>,
    pub(crate) multicast_groups: Vec<serde_json::Value>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) counters: Vec<Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    pub(crate) table: String,
    pub(crate) for_each: Option<String>,
    #[serde(default)]
    pub(crate) key: Vec<Column>,
    /// Where the order of rows comes from, of which more than one may match.
    pub(crate) priority: Option<String>,
    pub(crate) action: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) size: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) matching: Matching,
    pub(crate) bits: u16,
    pub(crate) from: String,
    /// Names of some of its values.
    #[serde(default)]
    pub(crate) names: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Matching {
    Exact,
    Lpm,
    Ternary,
}

/// A number of a certain width, by role or as it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) bits: u16,
    pub(crate) from: Option<String>,
    pub(crate) value: Option<u64>,
    /// Names of some of its values.
    #[serde(default)]
    pub(crate) names: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValueSet {
    pub(crate) value_set: String,
    pub(crate) for_each: String,
    pub(crate) members: Vec<Parameter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MirrorSession {
    pub(crate) session: u32,
    pub(crate) for_each: Option<String>,
    pub(crate) port: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    From(String),
    Value(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    pub(crate) port: u16,
    pub(crate) packets_per_second: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counter {
    pub(crate) counter: String,
    pub(crate) names: Vec<String>,
}

/// A file is no `entries.json`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntriesError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its text is not what the compiler emits.
    #[error("entries: {0}")]
    Text(#[from] serde_json::Error),
    /// It is for another target.
    #[error("entries are for {found}, not for v1model")]
    Target {
        /// What it is for.
        found: String,
    },
    /// It asks for what this crate does not do.
    #[error("entries of {app} have multicast groups, which are not loaded")]
    Multicast {
        /// The app.
        app: String,
    },
}

impl Entries {
    /// Reads a file.
    ///
    /// # Errors
    /// [`EntriesError`].
    pub fn read(path: &Path) -> Result<Self, EntriesError> {
        let text = fs::read_to_string(path)
            .map_err(|source| EntriesError::File { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// [`EntriesError`], but not of the file.
    pub fn parse(text: &str) -> Result<Self, EntriesError> {
        let entries: Entries = serde_json::from_str(text)?;
        if entries.target != "v1model" {
            return Err(EntriesError::Target { found: entries.target });
        }
        if !entries.multicast_groups.is_empty() {
            return Err(EntriesError::Multicast { app: entries.app });
        }
        Ok(entries)
    }

    /// How many packets a switch dropped, by reason.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn drops(&self, runtime: &mut Runtime) -> Result<BTreeMap<String, u64>, RuntimeError> {
        let mut drops = BTreeMap::new();
        for counter in &self.counters {
            let indices: Vec<u32> = (0..counter.names.len() as u32).collect();
            let values = runtime.read_counters(&counter.counter, &indices)?;
            drops.extend(counter.names.iter().cloned().zip(values.into_iter().map(|value| value.packets)));
        }
        Ok(drops)
    }
}
