//! The apps whose state a store keeps: from the `schema.json` files that `cargo build` emitted.
//!
//! An app may have several schemas, the newest last. Each older one must be a prefix of the next: the same key, and the
//! fields of its value at the same places, with more behind them. So a record of an older schema becomes one of the
//! newest by zeros at its end, and a value of the newest becomes an older one by cutting it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redplane_protocol::Schema;
use redplane_protocol::create::{Created, Creator, Records, Refusal};

use super::config::{Admission, AppConfig, Config};
use crate::AppFactory;
use crate::cli::Registration;

mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
pub(crate) mod value;

pub use file::{FieldLayout, Layout, SCHEMA_BYTES_MAX, SchemaFile};

/// All apps of a store.
#[derive(Debug)]
pub struct AppSet {
    apps: Vec<StoreApp>,
}

/// One app: what its messages look like, how its records are made, and how many of them are let in.
pub struct StoreApp {
    /// Its name.
    pub name: String,
    /// The newest schema. Records are kept in it.
    pub schema: Schema,
    /// Older schemas whose messages are accepted too, the oldest first. Same `app` and `key_len`, no greater `value_len`.
    pub older: Vec<Schema>,
    /// What a key is made of.
    pub key: Layout,
    /// What a value is made of, by the newest schema.
    pub value: Layout,
    /// After how long without lease and traffic a record is deleted; `None`: the linked code says it of each record.
    pub idle: Option<Duration>,
    /// How many new keys are let in; `None`: as many as come.
    pub admission: Option<AdmissionLimits>,
    /// Whether records are made by code that is linked in; otherwise a new value is all zero.
    pub linked: bool,
    factory: Mutex<AppFactory>,
}

/// How many new keys of an app are let in, per second; as many at once after a quiet second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// From one switch.
    pub per_switch: u32,
    /// With one prefix of the key.
    pub per_prefix: Option<PrefixLimit>,
}

/// Admission by a prefix of a field of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixLimit {
    /// New keys per second.
    pub rate: u32,
    /// The bits of the key that are the prefix, counted from the highest bit of its first byte.
    pub bits: Range<usize>,
}

/// Why the apps of a configuration cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A file cannot be read.
    #[error("cannot read the schema {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what `cargo build` emits.
    #[error("{} is no schema: {source}; take the schema.json that `cargo build` emitted", path.display())]
    NotASchema {
        /// The file.
        path: PathBuf,
        /// What was expected where.
        source: serde_json::Error,
    },
    /// A file contradicts itself, or the limits of the protocol.
    #[error("{} is no schema: {reason}; take the schema.json that `cargo build` emitted", path.display())]
    Illegal {
        /// The file.
        path: PathBuf,
        /// What cannot be.
        reason: String,
    },
    /// Schemas of one app that do not belong together.
    #[error(
        "{} does not continue {}: {reason}; an app's schemas are listed oldest first, and a newer one only adds fields \
         at the end of the value",
        newer.display(),
        older.display()
    )]
    NotAdditive {
        /// The older file.
        older: PathBuf,
        /// The newer file.
        newer: PathBuf,
        /// Which field, and how it differs.
        reason: String,
    },
    /// Two apps have the same number.
    #[error(
        "the apps {first} and {second} both have the number {app}; give one of them another `id` in its source"
    )]
    SameNumber {
        /// The number.
        app: u16,
        /// Name of one.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// An app makes or keeps its records by code that is not here.
    #[error(
        "the records of {name} (app {app}) need its `{function}`, which is not linked into this program; build a \
         store that has it: a crate that depends on the app and on backend-store, whose `main` is \
         `backend_store::cli::main(vec![Registration {{ app: {app}, factory: … }}])`"
    )]
    NotLinked {
        /// Name of the app.
        name: String,
        /// Its number.
        app: u16,
        /// The function.
        function: String,
    },
    /// The code that is linked in is of another version than the schemas.
    #[error(
        "the code of {name} (app {app}) that is linked into this program has the fingerprint {linked:#06x}, and its \
         schemas have {}; list the schema that was emitted when this program was built",
        fingerprints(schemas)
    )]
    OtherVersion {
        /// Name of the app.
        name: String,
        /// Its number.
        app: u16,
        /// Fingerprint of the code.
        linked: u16,
        /// Fingerprints of the schemas.
        schemas: Vec<u16>,
    },
    /// An app is linked in twice.
    #[error("app {app} is linked into this program twice: `main` registers it more than once")]
    LinkedTwice {
        /// Its number.
        app: u16,
    },
    /// The prefix of an admission is not in the key.
    #[error("admission of {name} by prefix: {reason}")]
    Prefix {
        /// Name of the app.
        name: String,
        /// What cannot be.
        reason: String,
    },
}

fn fingerprints(schemas: &[u16]) -> String {
    schemas.iter().map(|print| format!("{print:#06x}")).collect::<Vec<_>>().join(", ")
}

impl AppSet {
    /// Reads the schemas of a configuration, and joins them with the code that is linked in. Code of apps that the
    /// configuration does not name stays unused.
    ///
    /// # Errors
    /// See [`SchemaError`]; the first that is found.
    pub fn load(config: &Config, linked: Vec<Registration>) -> Result<Self, SchemaError> {
        let mut linked = linked;
        for (index, registration) in linked.iter().enumerate() {
            if linked[..index].iter().any(|other| other.app == registration.app) {
                return Err(SchemaError::LinkedTwice { app: registration.app });
            }
        }
        let mut apps: Vec<StoreApp> = Vec::new();
        for config in &config.apps {
            let app = StoreApp::load(config, &mut linked)?;
            if let Some(first) = apps.iter().find(|other| other.schema.app == app.schema.app) {
                let (first, second) = (first.name.clone(), app.name);
                return Err(SchemaError::SameNumber { app: app.schema.app, first, second });
            }
            apps.push(app);
        }
        apps.sort_by_key(|app| app.schema.app);
        Ok(Self { apps })
    }

    /// The apps, in order of their numbers.
    #[must_use]
    pub fn apps(&self) -> &[StoreApp] {
        &self.apps
    }

    /// The app of a number.
    #[must_use]
    pub fn get(&self, app: u16) -> Option<&StoreApp> {
        self.apps.iter().find(|other| other.schema.app == app)
    }

    /// The app of a name, or of a number written out.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&StoreApp> {
        let number = name.parse().ok();
        self.apps.iter().find(|app| app.name == name || Some(app.schema.app) == number)
    }

    /// Names and newest schemas of a configuration's apps, whether or not their code is linked in.
    ///
    /// # Errors
    /// If a schema cannot be read.
    pub fn shapes(config: &Config) -> Result<Vec<(String, Schema)>, SchemaError> {
        let newest = config.apps.iter().filter_map(|app| app.schemas.last());
        newest.map(|path| SchemaFile::load(path).map(|file| (file.app.clone(), file.schema()))).collect()
    }

    /// A creator of each app, for one replica.
    #[must_use]
    pub fn creators(&self) -> Vec<Box<dyn Creator>> {
        self.apps.iter().map(StoreApp::creator).collect()
    }
}

impl std::fmt::Debug for StoreApp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StoreApp")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl StoreApp {
    fn load(config: &AppConfig, linked: &mut Vec<Registration>) -> Result<Self, SchemaError> {
        let files: Vec<_> =
            config.schemas.iter().map(|path| SchemaFile::load(path)).collect::<Result<_, _>>()?;
        for (pair, paths) in files.windows(2).zip(config.schemas.windows(2)) {
            pair[1].continues(&pair[0]).map_err(|reason| SchemaError::NotAdditive {
                older: paths[0].clone(),
                newer: paths[1].clone(),
                reason,
            })?;
        }
        let mut schemas: Vec<Schema> = files.iter().map(SchemaFile::schema).collect();
        // The configuration has at least one; an empty list keeps nothing.
        let (Some(newest), Some(schema)) = (files.into_iter().next_back(), schemas.pop()) else {
            return Err(SchemaError::Illegal {
                path: PathBuf::new(),
                reason: "an app without a schema".to_owned(),
            });
        };
        let registration = linked.iter().position(|other| other.app == schema.app);
        let registration = registration.map(|index| linked.swap_remove(index));
        let is_linked = registration.is_some();
        let idle = config.idle.or(newest.idle());
        let factory = factory(&newest, schema, &schemas, registration, config.idle)?;
        let admission = config.admission.as_ref().map(|admission| limits(&newest, admission)).transpose()?;
        Ok(Self {
            name: newest.app,
            schema,
            older: schemas,
            key: newest.key,
            value: newest.value,
            idle,
            admission,
            linked: is_linked,
            factory: Mutex::new(factory),
        })
    }

    /// A creator for one replica: it makes records of the newest schema.
    #[must_use]
    pub fn creator(&self) -> Box<dyn Creator> {
        let factory = self.factory.lock().unwrap_or_else(PoisonError::into_inner);
        let schemas = self.older.iter().chain([&self.schema]).copied().collect();
        Box::new(Accepting { inner: factory(), schemas })
    }

    /// Every schema whose messages are accepted, the newest first.
    pub fn accepted(&self) -> impl Iterator<Item = &Schema> {
        std::iter::once(&self.schema).chain(self.older.iter().rev())
    }
}

/// Makes creators, of linked code or of zeros.
fn factory(
    file: &SchemaFile,
    schema: Schema,
    older: &[Schema],
    registration: Option<Registration>,
    idle: Option<Duration>,
) -> Result<AppFactory, SchemaError> {
    let (name, app) = (file.app.clone(), schema.app);
    let Some(registration) = registration else {
        if let Some(function) = file.on_create.clone() {
            return Err(SchemaError::NotLinked { name, app, function });
        }
        let Some(idle) = idle.or(file.idle()) else {
            let function = file.idle_by.clone().unwrap_or_default();
            return Err(SchemaError::NotLinked { name, app, function });
        };
        return Ok(Box::new(move || Box::new(ZeroCreator { schema, idle })));
    };
    let code = (registration.factory)().schema();
    let known = older.iter().chain([&schema]).any(|known| *known == Schema { app, ..code });
    if code.app != app || !known {
        let schemas = older.iter().chain([&schema]).map(|schema| schema.fingerprint).collect();
        return Err(SchemaError::OtherVersion { name, app, linked: code.fingerprint, schemas });
    }
    Ok(Box::new(move || Box::new(Adapted { inner: (registration.factory)(), schema, idle })))
}

fn limits(file: &SchemaFile, admission: &Admission) -> Result<AdmissionLimits, SchemaError> {
    let per_prefix = admission.per_prefix.as_ref().map(|prefix| {
        let error = |reason| SchemaError::Prefix { name: file.app.clone(), reason };
        let Some(field) = file.key.fields.iter().find(|field| field.name == prefix.field) else {
            let names: Vec<_> = file.key.fields.iter().map(|field| field.name.as_str()).collect();
            let reason = format!("its key has no field `{}`; it has {}", prefix.field, names.join(", "));
            return Err(error(reason));
        };
        if prefix.bits > field.bits {
            let reason = format!("`{}` has {} bits, fewer than {}", field.name, field.bits, prefix.bits);
            return Err(error(reason));
        }
        // Right aligned: surplus bits come first.
        let start = usize::from(field.offset) * 8 + (usize::from(field.bytes) * 8 - usize::from(field.bits));
        Ok(PrefixLimit { rate: prefix.rate, bits: start..start + usize::from(prefix.bits) })
    });
    Ok(AdmissionLimits { per_switch: admission.per_switch, per_prefix: per_prefix.transpose()? })
}

/// Makes the records of an app that leaves that to the store: all zero.
struct ZeroCreator {
    schema: Schema,
    idle: Duration,
}

impl Creator for ZeroCreator {
    fn create(&mut self, _key: &[u8], _records: &dyn Records) -> Result<Created, Refusal> {
        let value = vec![0; usize::from(self.schema.value_len)];
        Ok(Created { value, companions: Vec::new() })
    }

    fn schema(&self) -> Schema {
        self.schema
    }

    fn idle(&self, _key: &[u8], _value: &[u8]) -> Duration {
        self.idle
    }
}

/// A creator, and all schemas that the store was started with.
struct Accepting {
    inner: Box<dyn Creator>,
    /// The newest last.
    schemas: Vec<Schema>,
}

impl Creator for Accepting {
    fn create(&mut self, key: &[u8], records: &dyn Records) -> Result<Created, Refusal> {
        self.inner.create(key, records)
    }

    fn schema(&self) -> Schema {
        self.inner.schema()
    }

    fn accepted(&self) -> Vec<Schema> {
        self.schemas.clone()
    }

    fn idle(&self, key: &[u8], value: &[u8]) -> Duration {
        self.inner.idle(key, value)
    }
}

/// Code of this or an older schema, which makes records of the newest.
struct Adapted {
    inner: Box<dyn Creator>,
    schema: Schema,
    idle: Option<Duration>,
}

impl Creator for Adapted {
    fn create(&mut self, key: &[u8], records: &dyn Records) -> Result<Created, Refusal> {
        let view = Cut { records, len: usize::from(self.inner.schema().value_len) };
        let mut created = self.inner.create(key, &view)?;
        let len = usize::from(self.schema.value_len);
        created.value.resize(len, 0);
        created.companions.iter_mut().for_each(|(_, value)| value.resize(len, 0));
        Ok(created)
    }

    fn schema(&self) -> Schema {
        self.schema
    }

    fn idle(&self, key: &[u8], value: &[u8]) -> Duration {
        self.idle.unwrap_or_else(|| self.inner.idle(key, value))
    }
}

/// Records as code of an older schema sees them.
struct Cut<'a> {
    records: &'a dyn Records,
    len: usize,
}

impl Records for Cut<'_> {
    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.records.get(key).map(|value| value.get(..self.len).unwrap_or(value))
    }

    fn is_free(&self, key: &[u8]) -> bool {
        self.records.is_free(key)
    }
}

impl SchemaFile {
    /// After how long without lease and traffic a record is deleted, if that is the same for all.
    fn idle(&self) -> Option<Duration> {
        self.idle_by.is_none().then_some(Duration::from_millis(self.idle_ms))
    }

    /// Reads what `cargo build` emitted.
    ///
    /// # Errors
    /// If the file cannot be read, is none, or contradicts itself or the limits of the protocol.
    pub fn load(path: &Path) -> Result<Self, SchemaError> {
        let path = path.to_path_buf();
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(SCHEMA_BYTES_MAX).read_to_string(&mut text));
        if let Err(source) = read {
            return Err(SchemaError::Unreadable { path, source });
        }
        Self::parse(&path, &text)
    }

    /// Reads what `cargo build` emitted out of `text`, which came from the file at `path`.
    ///
    /// # Errors
    /// If it is none, or contradicts itself or the limits of the protocol.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SchemaError> {
        let path = || path.to_path_buf();
        let file: Self =
            serde_json::from_str(text).map_err(|source| SchemaError::NotASchema { path: path(), source })?;
        file.check().map_err(|reason| SchemaError::Illegal { path: path(), reason })?;
        Ok(file)
    }
}
