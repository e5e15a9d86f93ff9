//! The schema of an app's state: what a store, or a tool that reads its records, has to know.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ir::{App, Field, Record, Type};
use crate::target::drop_reasons;

/// Bytes of a protocol message before the key.
const HEADER_BYTES: u16 = 30;
/// UDP port of the protocol: "RP".
pub(crate) const UDP_PORT: u16 = 21072;
/// Version of the wire format.
pub(crate) const WIRE_VERSION: u8 = 1;

#[derive(Serialize)]
struct Schema {
    app: String,
    id: u16,
    fingerprint: String,
    program: String,
    source: String,
    slots: u32,
    idle_ms: u64,
    /// The function that says it instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_by: Option<String>,
    on_create: Option<String>,
    wire: Wire,
    key: Layout,
    value: Layout,
    drop_reasons: Vec<String>,
}

/// Where a message has what, in bytes from the start of the UDP payload.
#[derive(Serialize)]
struct Wire {
    udp_port: u16,
    version: u8,
    key_offset: u16,
    value_offset: u16,
    frame_offset: u16,
}

#[derive(Serialize)]
struct Layout {
    name: String,
    docs: String,
    bytes: u16,
    fields: Vec<FieldLayout>,
}

#[derive(Serialize)]
struct FieldLayout {
    name: String,
    r#type: String,
    /// Names of an enum's values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<u8, String>,
    offset: u16,
    bytes: u16,
    bits: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    docs: String,
}

/// The schema as JSON. Offsets are in bytes from the start of the record; values are in network byte order, right
/// aligned, surplus high bits zero. `drop_reasons` is in the order of the counters, from one.
pub fn render(app: &App, source_path: &str) -> String {
    let key = layout(app, &app.key);
    let value = layout(app, &app.state.record);
    let schema = Schema {
        app: app.name.clone(),
        id: app.id,
        fingerprint: format!("0x{:04x}", crate::fingerprint(app)),
        program: format!("0x{:016x}", crate::hash(app)),
        source: source_path.to_owned(),
        slots: app.state.slots,
        idle_ms: app.state.idle_ms,
        idle_by: app.state.idle_by.as_ref().map(ToString::to_string),
        on_create: app.on_create.clone(),
        wire: Wire {
            udp_port: UDP_PORT,
            version: WIRE_VERSION,
            key_offset: HEADER_BYTES,
            value_offset: HEADER_BYTES + key.bytes,
            frame_offset: HEADER_BYTES + key.bytes + value.bytes,
        },
        key,
        value,
        drop_reasons: drop_reasons(app).into_iter().map(|(name, _)| name).collect(),
    };
    json(&schema)
}

/// JSON for people: indented, one newline at the end.
pub(crate) fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("strings and numbers always serialize");
    text.push('\n');
    text
}

fn layout(app: &App, record: &Record) -> Layout {
    let mut offset = 0;
    let place = |field: &Field| {
        let layout = FieldLayout {
            name: field.name.clone(),
            r#type: type_name(field.ty),
            values: values(app, field.ty),
            offset,
            bytes: field.ty.wire_bytes(),
            bits: field.ty.bits(),
            docs: field.docs.join(" "),
        };
        offset += layout.bytes;
        layout
    };
    let fields: Vec<FieldLayout> = record.fields.iter().map(place).collect();
    let bytes = fields.iter().map(|field| field.bytes).sum();
    Layout { name: record.name.clone(), docs: record.docs.join(" "), bytes, fields }
}

/// A type's name in the schema.
pub(crate) fn type_name(ty: Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::Uint(bits) => format!("u{bits}"),
        Type::Ipv4 => "ipv4".to_owned(),
        Type::Ipv6 => "ipv6".to_owned(),
        Type::Mac => "mac".to_owned(),
        Type::Enum(_) => "u8".to_owned(),
    }
}

/// The names of an enum's values; of other types there are none.
pub(crate) fn values(app: &App, ty: Type) -> BTreeMap<u8, String> {
    let Type::Enum(index) = ty else { return BTreeMap::new() };
    app.enums[index].variants.iter().map(|variant| (variant.value, variant.name.clone())).collect()
}
