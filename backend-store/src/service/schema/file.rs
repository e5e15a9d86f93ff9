//! A `schema.json` as it is written, and what must hold in it.

use redplane_protocol::Schema;
use redplane_protocol::fixed::{KEY_LEN_MAX, VALUE_LEN_MAX};
use serde::{Deserialize, Deserializer};

/// Longest `schema.json`: hundreds of documented fields fit, and a wrong path to something big is not read.
pub const SCHEMA_BYTES_MAX: u64 = 1 << 20;

/// What a store needs of a `schema.json`; the rest of it is for others.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SchemaFile {
    /// Name of the app.
    pub app: String,
    /// Its number.
    pub id: u16,
    /// Digest of the layout.
    #[serde(deserialize_with = "hex")]
    pub fingerprint: u16,
    /// After how many milliseconds without lease and traffic a record is deleted.
    pub idle_ms: u64,
    /// The function that says it instead, by key and value.
    #[serde(default)]
    pub idle_by: Option<String>,
    /// The function that makes records, if the app has one.
    pub on_create: Option<String>,
    /// What a key is made of.
    pub key: Layout,
    /// What a value is made of.
    pub value: Layout,
}

/// What a key or value is made of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Layout {
    /// Name of the type.
    pub name: String,
    /// Its length.
    pub bytes: u16,
    /// Its fields, without gaps.
    pub fields: Vec<FieldLayout>,
}

/// One field, in network byte order, right aligned, surplus high bits zero.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FieldLayout {
    /// Its name.
    pub name: String,
    /// Its type: `bool`, `u` and a number of bits, `ipv4`, `ipv6`, `mac`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Where it begins, in bytes.
    pub offset: u16,
    /// How long it is, in bytes.
    pub bytes: u16,
    /// How many of its bits count.
    pub bits: u16,
}

fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
    digits
        .ok_or_else(|| serde::de::Error::custom(format!("a fingerprint is like \"0x96df\", not \"{text}\"")))
}

impl SchemaFile {
    /// What a message names.
    #[must_use]
    pub fn schema(&self) -> Schema {
        let (key_len, value_len) = (self.key.bytes, self.value.bytes);
        Schema { app: self.id, fingerprint: self.fingerprint, key_len, value_len }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.key.check("key", KEY_LEN_MAX)?;
        self.value.check("value", VALUE_LEN_MAX)
    }

    /// Whether every record of an older schema is one of this with zeros behind it; what differs, if not.
    pub(super) fn continues(&self, older: &Self) -> Result<(), String> {
        if self.id != older.id {
            return Err(format!(
                "one is of app {} ({}), the other of {} ({})",
                older.id, older.app, self.id, self.app
            ));
        }
        if self.fingerprint == older.fingerprint {
            return Err(format!("both have the fingerprint {:#06x}: one is enough", self.fingerprint));
        }
        if self.key.fields.len() != older.key.fields.len() {
            let (before, now) = (older.key.fields.len(), self.key.fields.len());
            return Err(format!("the key had {before} fields and has {now}"));
        }
        self.key.begins_with(&older.key, "key")?;
        self.value.begins_with(&older.value, "value")
    }
}

impl Layout {
    fn check(&self, what: &str, bytes_max: usize) -> Result<(), String> {
        if usize::from(self.bytes) > bytes_max {
            return Err(format!("a {what} of {} bytes, at most {bytes_max}", self.bytes));
        }
        let mut end: u32 = 0;
        for field in &self.fields {
            if u32::from(field.offset) != end {
                return Err(format!(
                    "{what} field `{}` begins at byte {}, not {end}",
                    field.name, field.offset
                ));
            }
            if u32::from(field.bits) > u32::from(field.bytes) * 8 || field.bits == 0 {
                return Err(format!(
                    "{what} field `{}` has {} bits in {} bytes",
                    field.name, field.bits, field.bytes
                ));
            }
            end += u32::from(field.bytes);
        }
        if end != u32::from(self.bytes) {
            return Err(format!("the fields of the {what} have {end} bytes, and it has {}", self.bytes));
        }
        Ok(())
    }

    fn begins_with(&self, older: &Self, what: &str) -> Result<(), String> {
        for (index, before) in older.fields.iter().enumerate() {
            let Some(now) = self.fields.get(index) else {
                return Err(format!("{what} field `{}` is gone", before.name));
            };
            if now.name != before.name {
                return Err(format!("{what} field {index} was `{}` and is `{}`", before.name, now.name));
            }
            if now.type_name != before.type_name || now.bytes != before.bytes || now.bits != before.bits {
                let types = format!("was {} and is {}", before.type_name, now.type_name);
                return Err(format!("{what} field `{}` {types}", now.name));
            }
            if now.offset != before.offset {
                let offsets = format!("was at byte {} and is at {}", before.offset, now.offset);
                return Err(format!("{what} field `{}` {offsets}", now.name));
            }
        }
        Ok(())
    }
}
