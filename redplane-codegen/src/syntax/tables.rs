//! `#[table(size = N)] pub type Inside = Lpm<Ipv4Addr, bool>;`

use syn::{Attribute, GenericArgument, ItemType, PathArguments};

use super::{INGRESS_PORT, Module, arguments, docs};
use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{Match, Table, Type};
use crate::types;
use crate::words;

/// Most entries of one table: a switch of the Tofino class holds about a million in TCAM and SRAM for all tables.
const TABLE_SIZE_MAX: u64 = 1 << 20;

const KINDS: [&str; 2] = ["Exact", "Lpm"];

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
) -> Option<(Match, Type, Type)> {
    let syn::Type::Path(path) = &*item.ty else {
        report_kind(&item.ty, "", diagnostics);
        return None;
    };
    let last = path.path.segments.last()?;
    let matching = match last.ident.to_string().as_str() {
        "Exact" => Match::Exact,
        "Lpm" => Match::Lpm,
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
    let key_type = read_part(key, "a table's key", module, diagnostics);
    let value_type = read_part(value, "a table's value", module, diagnostics);
    if matching == Match::Lpm && !matches!(key_type, Some(Type::Ipv4 | Type::Ipv6) | None) {
        let message = "longest prefix match is for addresses";
        diagnostics.report(codes::TABLE_TYPE, key, message, "write `Exact<..>`, or give `Lpm` an address");
        return None;
    }
    Some((matching, key_type?, value_type?))
}

fn read_part(ty: &syn::Type, what: &str, module: &Module, diagnostics: &mut Diagnostics) -> Option<Type> {
    let simple = types::simple_name(ty).is_some_and(|name| {
        types::named(&name).is_some() || module.aliases.contains_key(&name) || is_number(&name)
    });
    if simple {
        return types::read(ty, &module.aliases, what, diagnostics);
    }
    diagnostics.report(
        codes::TABLE_TYPE,
        ty,
        format!("{what} is one word that a match unit compares or an action passes on"),
        "use `bool`, `u1` to `u64` or an address; make two tables of two values",
    );
    None
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
        "a table matches exactly or by longest prefix, as match units do",
        words::suggest(name, "kinds of table", KINDS),
    );
}
