//! `#[table(size = N)] pub type Inside = Lpm<Ipv4Addr, bool>;`

use syn::{Attribute, GenericArgument, ItemType, PathArguments};

use super::{INGRESS_PORT, Module, arguments, docs};
use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{Match, Record, Shape, Table, Type};
use crate::types;
use crate::words;

/// Most entries of one table: a switch of the Tofino class holds about a million in TCAM and SRAM for all tables.
const TABLE_SIZE_MAX: u64 = 1 << 20;

const KINDS: [&str; 3] = ["Exact", "Lpm", "Ternary"];

pub(crate) fn read<'a>(
    attribute: &Attribute,
    item: &'a ItemType,
    module: &mut Module<'a>,
    diagnostics: &mut Diagnostics,
) {
    let handle = words::snake_case(&item.ident.to_string());
    if handle == INGRESS_PORT || module.tables.iter().any(|table| table.handle == handle) {
        diagnostics.report_at(
            codes::HANDLE_TAKEN,
            item.ident.span(),
            format!("the context has another field `{handle}`"),
            "rename the table",
        );
        return;
    }
    let size = read_size(attribute, diagnostics);
    let shape = read_shape(item, module, diagnostics);
    match (size, shape) {
        (Some(size), Some((matching, key, value))) => module.tables.push(Table {
            name: item.ident.to_string(),
            handle,
            docs: docs(&item.attrs),
            matching,
            key,
            value,
            size,
            span: item.ident.span(),
        }),
        _ => module.broken_tables.push(handle),
    }
}

/// The size as written; a bad one is reported and gives nothing.
fn read_size(attribute: &Attribute, diagnostics: &mut Diagnostics) -> Option<u32> {
    let options = arguments::of(attribute, &["size"], diagnostics);
    let help = "say how many entries the operator may add: `#[table(size = 64)]`";
    let Some(value) = options.value("size") else {
        let message = "a table without a size: a switch sets its memory aside when it is compiled";
        diagnostics.report(codes::TABLE_SIZE, attribute.path(), message, help);
        return None;
    };
    let size = arguments::integer(value).filter(|size| (1..=TABLE_SIZE_MAX).contains(size));
    if size.is_none() {
        let message = format!("a table's size is from 1 to {TABLE_SIZE_MAX} entries");
        diagnostics.report(codes::TABLE_SIZE, value, message, help);
    }
    size.and_then(|size| u32::try_from(size).ok())
}

fn read_shape(
    item: &ItemType,
    module: &Module,
    diagnostics: &mut Diagnostics,
) -> Option<(Match, Shape, Shape)> {
    let syn::Type::Path(path) = &*item.ty else {
        report_kind(&item.ty, "", diagnostics);
        return None;
    };
    let last = path.path.segments.last()?;
    let matching = match last.ident.to_string().as_str() {
        "Exact" => Match::Exact,
        "Lpm" => Match::Lpm,
        "Ternary" => Match::Ternary,
        other => {
            report_kind(&last.ident, other, diagnostics);
            return None;
        }
    };
    let arguments: Vec<&syn::Type> = match &last.arguments {
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let [key, value] = arguments[..] else {
        diagnostics.report(
            codes::TABLE_KIND,
            &item.ty,
            "a table has one key type and one value type",
            format!("write `{}<Ipv4Addr, bool>`", last.ident),
        );
        return None;
    };
    let key_shape = read_part(key, "a table's key", module, diagnostics);
    if let Some(Shape::Record(record)) = &key_shape
        && record.fields.iter().any(|field| field.name == "value")
    {
        let message = "a column of a table's key is called `value`, as the value of a row is";
        diagnostics.report(codes::TABLE_TYPE, key, message, "rename the field");
    }
    let value_shape = read_part(value, "a table's value", module, diagnostics);
    let is_address = matches!(key_shape, Some(Shape::Word(Type::Ipv4 | Type::Ipv6)) | None);
    if matching == Match::Lpm && !is_address {
        let message = "longest prefix match is for addresses";
        diagnostics.report(codes::TABLE_TYPE, key, message, "write `Exact<..>`, or give `Lpm` an address");
        return None;
    }
    Some((matching, key_shape?, value_shape?))
}

fn read_part(ty: &syn::Type, what: &str, module: &Module, diagnostics: &mut Diagnostics) -> Option<Shape> {
    let name = types::simple_name(ty).unwrap_or_default();
    if types::named(&name).is_some() || module.aliases.knows(&name) || is_number(&name) {
        return types::read(ty, &module.aliases, what, diagnostics).map(Shape::Word);
    }
    if let Some(record) = record(module, &name) {
        return Some(Shape::Record(record.clone()));
    }
    if module.key_item.is_some_and(|key| key.ident == name) {
        // The key has a mistake, which is reported there.
        return None;
    }
    diagnostics.report(
        codes::TABLE_TYPE,
        ty,
        format!("{what} is a word that a match unit compares or an action passes on, or a struct of words"),
        "use `bool`, `u1` to `u64`, an address, an enum, or a struct of these",
    );
    None
}

/// The key or a plain struct, by name.
fn record<'m>(module: &'m Module, name: &str) -> Option<&'m Record> {
    let key = module.key.iter().filter(|record| record.name == name);
    key.chain(module.plain.iter().map(|(_, record)| record).filter(|record| record.name == name)).next()
}

/// Numbers that exist in Rust but not on a switch have an explanation of their own.
fn is_number(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(['u', 'i', 'f'])
        && (name.ends_with("size") || name[1..].bytes().all(|b| b.is_ascii_digit()))
}

fn report_kind(tokens: impl quote::ToTokens, name: &str, diagnostics: &mut Diagnostics) {
    diagnostics.report(
        codes::TABLE_KIND,
        tokens,
        "a table matches exactly, by longest prefix, or by value and mask, as match units do",
        words::suggest(name, "kinds of table", KINDS),
    );
}
