//! Names in P4: reserved words, and the case of each kind of name.

use crate::ir::{App, Enum, HeaderField, HeaderId};
use crate::packet::{HEADERS, Header};

/// Words that P4₁₆ or p4c keeps for itself, and names that the machinery uses where the author's stand too.
const RESERVED: &[&str] = &[
    "abstract",
    "accept",
    "action",
    "actions",
    "apply",
    "bit",
    "bool",
    "const",
    "control",
    "counter",
    "default",
    "else",
    "entries",
    "enum",
    "error",
    "exit",
    "extern",
    "false",
    "for",
    "hash",
    "hdr",
    "header",
    "header_union",
    "if",
    "in",
    "inout",
    "int",
    "key",
    "list",
    "main",
    "match_kind",
    "meta",
    "out",
    "package",
    "packet",
    "parser",
    "pragma",
    "priority",
    "register",
    "reject",
    "return",
    "select",
    "size",
    "state",
    "string",
    "struct",
    "switch",
    "table",
    "this",
    "transition",
    "true",
    "truncate",
    "tuple",
    "type",
    "typedef",
    "value",
    "value_set",
    "varbit",
    "void",
];

/// An author's name, as P4 can bear it: with `_` behind a reserved word. `rp_` in front is the machinery's.
pub(super) fn safe(name: &str) -> String {
    let name = name.strip_prefix("r#").unwrap_or(name);
    if RESERVED.contains(&name) || name.starts_with("rp_") { format!("{name}_") } else { name.to_owned() }
}

/// What the P4 types of an author's struct are called, but for `_h` or `_t`: not like one that is there without it.
pub(super) fn own_type(name: &str) -> String {
    let name = snake(name);
    let is_standard = HEADERS.iter().any(|header| snake(header.ty) == name);
    let is_machinery = ["headers", "metadata", "rp"].contains(&name.as_str()) || name.starts_with("rp_");
    if is_standard || is_machinery { format!("own_{name}") } else { name }
}

/// A variant's constant: `PHASE_OPEN`. What is no variant is a number.
pub(super) fn variant(known: &Enum, value: u128) -> String {
    let found = known.variants.iter().find(|variant| u128::from(variant.value) == value);
    found.map_or_else(
        || value.to_string(),
        |found| format!("{}_{}", snake(&known.name), snake(&found.name)).to_uppercase(),
    )
}

/// `some_name` as `SomeName`.
pub(super) fn camel(name: &str) -> String {
    name.split('_').map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// `SomeName` as `some_name`.
pub(super) fn snake(name: &str) -> String {
    crate::words::snake_case(name)
}

/// A header of the packet.
pub(super) fn header(headers: &[Header], header: HeaderId) -> String {
    format!("hdr.{}", safe(headers[header].name))
}

/// A field of a packet header.
pub(super) fn field(headers: &[Header], field: HeaderField) -> String {
    let (name, _) = headers[field.header].fields[field.field];
    format!("{}.{}", header(headers, field.header), safe(name))
}

/// A field of the state.
pub(super) fn state(app: &App, index: usize) -> String {
    format!("meta.value.{}", safe(&app.state.record.fields[index].name))
}

/// A local: in the metadata if it crosses a lease point. One that is called like a table or a register is told apart.
pub(super) fn local(app: &App, index: usize) -> String {
    let local = &app.handler.locals[index];
    if local.crosses {
        return format!("meta.local.{}", safe(&local.name));
    }
    let state = &app.state.record;
    let registers = state.fields.iter().map(|field| format!("{}_{}", snake(&state.name), field.name));
    let mut taken = registers.chain(app.tables.iter().map(|table| table.handle.clone()));
    if taken.any(|name| name == local.name) { format!("{}_found", local.name) } else { safe(&local.name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authors_type_is_called_like_no_other() {
        let names = ["Name", "Udp", "RpUdp", "Headers"].map(own_type);
        assert_eq!(names, ["name", "own_udp", "own_rp_udp", "own_headers"]);
    }
}
