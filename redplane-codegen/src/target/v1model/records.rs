//! The key and the state: as they are on the wire, and as the pipeline keeps them.

use super::packet::aligned;
use super::{expr, names};
use crate::ir::Record;
use crate::target::line;

/// One field.
pub(super) struct FieldView {
    pub(super) name: String,
    pub(super) bits: u16,
}

/// A key or a state.
pub(super) struct RecordView {
    pub(super) docs: Vec<String>,
    pub(super) location: String,
    pub(super) rust: String,
    pub(super) header: String,
    pub(super) structure: String,
    /// What its registers' names begin with.
    pub(super) prefix: String,
    pub(super) bytes: u16,
    pub(super) fields: Vec<FieldView>,
    /// Members of the header.
    pub(super) wire: Vec<String>,
    /// Members of the struct.
    pub(super) plain: Vec<String>,
    /// What is hashed: the bytes of the wire.
    pub(super) hashed: String,
    /// Whether `key` is what the metadata has.
    pub(super) equality: String,
    /// Copies the metadata into the header.
    pub(super) fill: Vec<String>,
    /// Zeroes the header.
    pub(super) clear: Vec<String>,
}

impl RecordView {
    /// `member` is where the metadata keeps it, `header` where a message has it.
    pub(super) fn new(record: &Record, source: &str, member: &str, header: &str) -> Self {
        let name = names::snake(&record.name);
        let mut wire = Vec::new();
        let mut plain = Vec::new();
        let mut hashed = Vec::new();
        let mut fill = Vec::new();
        let mut clear = Vec::new();
        for field in &record.fields {
            let safe = names::safe(&field.name);
            let padding = field.ty.wire_bytes() * 8 - field.ty.bits();
            if padding > 0 {
                wire.push((format!("bit<{padding}>"), format!("{safe}_pad;"), "zero".to_owned()));
                hashed.push(format!("{padding}w0"));
                let path = format!("hdr.{header}.{safe}_pad");
                fill.push((path.clone(), "= 0;".to_owned()));
                clear.push((path, "= 0;".to_owned()));
            }
            wire.push((expr::bits_type(field.ty), format!("{safe};"), field.docs.join(" ")));
            plain.push((expr::bits_type(field.ty), format!("{safe};"), String::new()));
            hashed.push(format!("meta.{member}.{safe}"));
            fill.push((format!("hdr.{header}.{safe}"), format!("= meta.{member}.{safe};")));
            clear.push((format!("hdr.{header}.{safe}"), "= 0;".to_owned()));
        }
        let equal = record.fields.iter().map(|field| names::safe(&field.name));
        let equal: Vec<String> = equal.map(|name| format!("key.{name} == meta.key.{name}")).collect();
        RecordView {
            docs: record.docs.iter().map(|text| format!(" {text}")).collect(),
            location: format!("{source}:{}", line(record.span)),
            rust: record.name.clone(),
            header: format!("{}_h", names::own_type(&record.name)),
            structure: format!("{}_t", names::own_type(&record.name)),
            prefix: name,
            bytes: record.fields.iter().map(|field| field.ty.wire_bytes()).sum(),
            fields: record
                .fields
                .iter()
                .map(|field| FieldView { name: names::safe(&field.name), bits: field.ty.bits() })
                .collect(),
            wire: commented(wire),
            plain: commented(plain),
            hashed: hashed.join(", "),
            equality: equal.join("\n            && "),
            fill: aligned(fill),
            clear: aligned(clear),
        }
    }
}

/// Rows of a type, a name, and a comment if there is something to say.
pub(super) fn commented(rows: Vec<(String, String, String)>) -> Vec<String> {
    let first = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    let second = rows.iter().map(|row| row.1.len()).max().unwrap_or(0);
    rows.into_iter()
        .map(|(ty, name, comment)| {
            if comment.is_empty() {
                format!("{ty:first$} {name}")
            } else {
                format!("{ty:first$} {name:second$}    // {comment}")
            }
        })
        .collect()
}
