//! `[authentication]` of a switch or a testbed: as in the store's file.

use std::fmt;

use anyhow::{anyhow, ensure};
use backend_store::service::config::without_keys;
use redplane_sdk::protocol::mac::{MAC_KEY_LEN, MAC_KEYS_MAX, MacKeys, parse_key};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Which keys the code behind each message to and from the store is made with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthenticationFile {
    /// One or two, the same as the store has: the first signs, both are accepted.
    pub keys: Keys,
}

/// Live keys, of 32 hex digits each in a file.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "toml::Value", into = "Vec<String>")]
pub struct Keys(Vec<[u8; MAC_KEY_LEN]>);

impl fmt::Debug for Keys {
    /// Shows no key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({})", self.0.len())
    }
}

impl AuthenticationFile {
    /// For the pipeline.
    #[must_use]
    pub fn mac_keys(&self) -> Option<MacKeys> {
        let (signing, others) = self.keys.0.split_first()?;
        Some(MacKeys::new(*signing, others.first().copied()))
    }
}

impl TryFrom<toml::Value> for Keys {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        read(value).map_err(|error| format!("{error:#}"))
    }
}

impl From<Keys> for Vec<String> {
    fn from(Keys(keys): Keys) -> Self {
        keys.into_iter().map(|key| format!("{:032x}", u128::from_be_bytes(key))).collect()
    }
}

/// Reads the text of a file. The message about a mistake has its line, with stars instead of keys.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
    toml::from_str(text).map_err(|mut error: toml::de::Error| {
        error.set_input(Some(&without_keys(text)));
        error
    })
}

/// A list of keys, or the one that stands for itself.
fn read(value: toml::Value) -> anyhow::Result<Keys> {
    let values = match value {
        toml::Value::Array(values) => values,
        one => vec![one],
    };
    ensure!(
        (1..=MAC_KEYS_MAX).contains(&values.len()),
        "{} keys, not 1 to {MAC_KEYS_MAX}: two are live while keys are changed, the new one first, then without the old one",
        values.len()
    );
    let mut keys = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let wrong =
            |why: &dyn fmt::Display| anyhow!("key {}: {why}; make one with `openssl rand -hex 16`", at + 1);
        let text = value.as_str().ok_or_else(|| wrong(&"a key is a string of 32 hex digits"))?;
        let key = parse_key(text).map_err(|error| wrong(&error))?;
        ensure!(!keys.contains(&key), "key {}: the same key twice", at + 1);
        keys.push(key);
    }
    Ok(Keys(keys))
}
