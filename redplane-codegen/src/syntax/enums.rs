//! Enums that a switch can store: names for the values of a byte.

use syn::{Expr, Fields, ItemEnum};

use super::{arguments, docs};
use crate::ir::{Enum, Variant};

/// The enum, or what keeps it from being stored.
pub(super) fn read(item: &ItemEnum) -> Result<Enum, &'static str> {
    let repr = item.attrs.iter().find(|attribute| attribute.path().is_ident("repr"));
    if !repr.is_some_and(|repr| repr.parse_args::<syn::Ident>().is_ok_and(|name| name == "u8")) {
        return Err("it is not `#[repr(u8)]`");
    }
    if !item.generics.params.is_empty() {
        return Err("it is generic");
    }
    let mut variants: Vec<Variant> = Vec::new();
    let mut next = Some(0_u8);
    for variant in &item.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err("a variant has fields");
        }
        let value = match &variant.discriminant {
            None => next.ok_or("it has a variant beyond 255")?,
            Some((_, value)) => number(value).ok_or("a value is not a number from 0 to 255")?,
        };
        variants.push(Variant { name: variant.ident.to_string(), value, docs: docs(&variant.attrs) });
        next = value.checked_add(1);
    }
    if variants.iter().all(|variant| variant.value != 0) {
        return Err("no variant is zero, as an entry that is not there and a new record are");
    }
    Ok(Enum { name: item.ident.to_string(), docs: docs(&item.attrs), variants, span: item.ident.span() })
}

fn number(value: &Expr) -> Option<u8> {
    arguments::integer(value).and_then(|value| u8::try_from(value).ok())
}
