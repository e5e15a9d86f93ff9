//! A Wireshark dissector for the messages of one app.

use askama::Template;

use crate::ir::{App, Field, Record, Type};
use crate::schema::{UDP_PORT, WIRE_VERSION};

#[derive(Template)]
#[template(path = "dissector.lua")]
struct Page {
    file: String,
    name: String,
    id: u16,
    udp_port: u16,
    version: u8,
    fingerprint: String,
    source: String,
    key_bytes: u16,
    value_bytes: u16,
    records: Vec<RecordView>,
}

struct RecordView {
    /// `key` or `value`.
    role: &'static str,
    rust: String,
    bytes: u16,
    fields: Vec<FieldView>,
}

struct FieldView {
    name: String,
    /// The arguments of `ProtoField`, constructor first.
    declaration: String,
    offset: u16,
    bytes: u16,
}

/// The dissector in Lua: header, key and state field by field, and the carried frame as Ethernet. Filters:
/// `redplane.kind`, `redplane.<app>.key.<field>`, `redplane.<app>.value.<field>`. Files of several apps load side by
/// side.
pub fn render(app: &App, source_path: &str) -> String {
    let records = vec![record(app, "key", &app.key), record(app, "value", &app.state.record)];
    let page = Page {
        file: format!("redplane_{}.lua", app.name),
        name: app.name.clone(),
        id: app.id,
        udp_port: UDP_PORT,
        version: WIRE_VERSION,
        fingerprint: format!("0x{:04x}", crate::fingerprint(app)),
        source: source_path.to_owned(),
        key_bytes: records[0].bytes,
        value_bytes: records[1].bytes,
        records,
    };
    let mut text = page.render().expect("the template cannot fail: it only prints strings");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn record(app: &App, role: &'static str, record: &Record) -> RecordView {
    let mut offset = 0;
    let mut fields = Vec::new();
    for field in &record.fields {
        let filter = format!("redplane.{}.{role}.{}", app.name, field.name);
        let bytes = field.ty.wire_bytes();
        let declaration = declaration(app, field, &filter);
        fields.push(FieldView { name: field.name.clone(), declaration, offset, bytes });
        offset += bytes;
    }
    RecordView { role, rust: record.name.clone(), bytes: offset, fields }
}

fn declaration(app: &App, field: &Field, filter: &str) -> String {
    let (filter, name, docs) = (quoted(filter), quoted(&field.name), quoted(&field.docs.join(" ")));
    let ty = field.ty;
    match ty {
        Type::Enum(_) => {
            let names = crate::schema::values(app, ty).into_iter();
            let names: Vec<String> =
                names.map(|(value, name)| format!("[{value}] = {}", quoted(&name))).collect();
            format!("uint8({filter}, {name}, base.DEC, {{ {} }}, nil, {docs})", names.join(", "))
        }
        Type::Bool => format!("bool({filter}, {name}, 8, nil, 0x1, {docs})"),
        Type::Ipv4 => format!("ipv4({filter}, {name}, {docs})"),
        Type::Ipv6 => format!("ipv6({filter}, {name}, {docs})"),
        Type::Mac => format!("ether({filter}, {name}, {docs})"),
        Type::Uint(bits) => {
            let width = match ty.wire_bytes() {
                1 => 8,
                2 => 16,
                3 => 24,
                4 => 32,
                _ => 64,
            };
            // Lua has no unsigned 64-bit literal, and a mask of everything is none.
            let mask = if bits < 32 && bits % 8 != 0 {
                format!("{:#x}", (1_u64 << bits) - 1)
            } else {
                "nil".to_owned()
            };
            format!("uint{width}({filter}, {name}, base.DEC, nil, {mask}, {docs})")
        }
    }
}

/// A Lua string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted.push(' '),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_author_writes_stays_a_string() {
        assert_eq!(quoted("say \"hi\\\"\n"), r#""say \"hi\\\" ""#);
    }
}
