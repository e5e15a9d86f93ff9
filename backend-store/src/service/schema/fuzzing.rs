//! Whatever two schemas: each is legal or refused, and what continues another can stand in for it.

use std::path::Path;

use redplane_protocol::fixed::{KEY_LEN_MAX, VALUE_LEN_MAX};

use super::{FieldLayout, Layout, SchemaFile};
use crate::fuzzing::Input;

/// What a field may be of, two the same length.
const TYPES: [&str; 8] = ["bool", "u8", "u16", "u64", "u96", "ipv4", "ipv6", "mac"];

/// Reads bytes as two `schema.json` with a zero byte between, or else makes two schemas of them; what follows is a record.
///
/// # Panics
/// If what comes out is wrong.
pub fn schema(bytes: &[u8]) {
    if bytes.first() == Some(&b'{') {
        let mut parts = bytes.splitn(3, |byte| *byte == 0);
        let mut read = || {
            let text = std::str::from_utf8(parts.next()?).ok()?;
            SchemaFile::parse(Path::new("schema.json"), text).ok()
        };
        let (Some(older), newer) = (read(), read()) else { return };
        let record = parts.next().unwrap_or(bytes);
        return pair(&older, newer.as_ref().unwrap_or(&older), record);
    }
    let mut input = Input(bytes);
    let older = made(&mut input, None);
    let newer = made(&mut input, Some(&older));
    pair(&older, &newer, input.0);
}

fn pair(older: &SchemaFile, newer: &SchemaFile, record: &[u8]) {
    for file in [older, newer] {
        // Bytes of no layout are decoded too, if there are such.
        let (_, value) = (file.key.decode(record), file.value.decode(record));
        if file.check().is_err() {
            continue;
        }
        assert!(usize::from(file.key.bytes) <= KEY_LEN_MAX && usize::from(file.value.bytes) <= VALUE_LEN_MAX);
        if record.len() >= usize::from(file.value.bytes) {
            assert!(file.value.fields.iter().all(|field| value.contains_key(&field.name)));
        }
    }
    let are_legal = older.check().is_ok() && newer.check().is_ok();
    if are_legal && newer.continues(older).is_ok() {
        assert_eq!((newer.id, newer.key.bytes), (older.id, older.key.bytes));
        assert!(newer.fingerprint != older.fingerprint && newer.value.bytes >= older.value.bytes);
        assert_eq!(newer.key.decode(record), older.key.decode(record));
        let held = &record[..record.len().min(usize::from(older.value.bytes))];
        assert_eq!(newer.value.decode(held), older.value.decode(held), "an old record reads the same");
        if older.continues(newer).is_ok() {
            assert_eq!(newer.value, Layout { name: newer.value.name.clone(), ..older.value.clone() });
        }
    }
}

/// A schema, mostly a legal one, that may begin as another does.
fn made(input: &mut Input<'_>, like: Option<&SchemaFile>) -> SchemaFile {
    let key = match like {
        Some(like) if input.flag() => like.key.clone(),
        _ => layout(input, Vec::new()),
    };
    let value = layout(input, like.map(|like| like.value.fields.clone()).unwrap_or_default());
    SchemaFile {
        app: "app".to_owned(),
        id: u16::from(input.flag()),
        fingerprint: input.byte().into(),
        idle_ms: input.number(),
        idle_by: None,
        on_create: None,
        key,
        value,
    }
}

fn layout(input: &mut Input<'_>, mut fields: Vec<FieldLayout>) -> Layout {
    for _ in 0..input.byte() % 5 {
        let end = fields.last().map_or(0, |field| field.offset.wrapping_add(field.bytes));
        let bytes = u16::from(input.byte() % 20);
        let mut field = FieldLayout {
            name: char::from(b'a' + input.byte() % 26).to_string(),
            type_name: TYPES[usize::from(input.byte()) % TYPES.len()].to_owned(),
            offset: end,
            bytes,
            bits: (bytes * 8).saturating_sub(u16::from(input.byte() % 8)),
        };
        match input.byte() {
            0xff => field.offset = input.number() as u16,
            0xfe => field.bytes = input.number() as u16,
            0xfd => field.bits = input.number() as u16,
            _ => {}
        }
        fields.push(field);
    }
    let end = fields.last().map_or(0, |field| field.offset.wrapping_add(field.bytes));
    Layout { name: "Layout".to_owned(), bytes: end.wrapping_add(u16::from(input.byte() == 0xff)), fields }
}
