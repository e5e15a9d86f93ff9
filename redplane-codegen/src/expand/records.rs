//! Key, state, configuration, tables: derives, wire layout, sizes.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, Item, ItemEnum, ItemStruct, ItemType, Path, PathArguments};

use crate::ir::{Enum, Shape, Variant};
use crate::syntax::Module;
use crate::words;

/// What [`redplane_protocol::Fixed`] asks for, each as path and name.
const RECORD_DERIVES: [(&str, &str); 8] = [
    ("::core::clone::Clone", "Clone"),
    ("::core::marker::Copy", "Copy"),
    ("::core::cmp::PartialEq", "PartialEq"),
    ("::core::cmp::Eq", "Eq"),
    ("::core::cmp::PartialOrd", "PartialOrd"),
    ("::core::cmp::Ord", "Ord"),
    ("::core::hash::Hash", "Hash"),
    ("::core::fmt::Debug", "Debug"),
];

/// An ordinary struct that the operator fills from a file.
const CONFIG_DERIVES: [(&str, &str); 3] = [
    ("::core::clone::Clone", "Clone"),
    ("::core::fmt::Debug", "Debug"),
    ("::redplane_sdk::serde::Deserialize", "Deserialize"),
];

/// Derives on the key and the state, if their fields can have them.
pub(super) fn derive_record(item: &mut ItemStruct, module: &Module) {
    let readable = if module.key_item.is_some_and(|key| key.ident == item.ident) {
        module.key.is_some()
    } else {
        module.state.is_some()
    };
    if readable {
        derive(&mut item.attrs, &RECORD_DERIVES);
    }
}

/// Derives on an enum that a switch stores.
pub(super) fn derive_enum(item: &mut ItemEnum) {
    derive(&mut item.attrs, &RECORD_DERIVES);
}

/// Derives on a header.
pub(super) fn derive_header(item: &mut ItemStruct) {
    derive(&mut item.attrs, &RECORD_DERIVES);
}

/// Whether the struct is the key or the value of a table.
pub(super) fn is_column(item: &ItemStruct, module: &Module) -> bool {
    let shapes = module.tables.iter().flat_map(|table| [&table.key, &table.value]);
    let mut records = shapes.filter_map(|shape| match shape {
        Shape::Record(record) => Some(&record.name),
        Shape::Word(_) => None,
    });
    records.any(|name| item.ident == name)
}

/// Derives on the key or the value of a table.
pub(super) fn derive_columns(item: &mut ItemStruct) {
    derive_config(item);
    derive(&mut item.attrs, &RECORD_DERIVES);
}

/// Derives on the configuration.
pub(super) fn derive_config(item: &mut ItemStruct) {
    let written = derived(&item.attrs).iter().any(|name| name == "Deserialize");
    derive(&mut item.attrs, &CONFIG_DERIVES);
    if !written {
        item.attrs.push(syn::parse_quote!(#[serde(crate = "::redplane_sdk::serde")]));
    }
}

/// The table's size as third argument of its type.
pub(super) fn size_table(item: &mut ItemType, module: &Module) {
    let name = item.ident.to_string();
    let Some(table) = module.tables.iter().find(|table| table.name == name) else { return };
    let size = proc_macro2::Literal::usize_unsuffixed(table.size as usize);
    if let syn::Type::Path(path) = &mut *item.ty
        && let Some(last) = path.path.segments.last_mut()
        && let PathArguments::AngleBracketed(arguments) = &mut last.arguments
    {
        arguments.args.push(syn::parse_quote!(#size));
    }
}

/// The wire layout of key and state.
pub(super) fn fixed(module: &Module) -> Vec<Item> {
    let key = module.key_item.filter(|_| module.key.is_some());
    let state = module.state_item.filter(|_| module.state.is_some());
    let implement = |item: &ItemStruct| {
        let name = &item.ident;
        let fields = item.fields.iter().map(|field| {
            let (name, ty) = (&field.ident, &field.ty);
            quote!(#name: #ty)
        });
        Item::Verbatim(quote_spanned!(name.span()=> ::redplane_sdk::impl_fixed!(#name { #(#fields),* });))
    };
    key.into_iter().chain(state).map(implement).collect()
}

/// What tables have to know of the structs in them.
pub(super) fn columns(module: &Module) -> Vec<Item> {
    let plain = module.plain.iter().map(|(item, _)| *item);
    let records = module.key_item.into_iter().chain(plain).filter(|item| is_column(item, module));
    let implement = |item: &ItemStruct| {
        let name = &item.ident;
        let fields = item.fields.iter().map(|field| {
            let (name, ty) = (&field.ident, &field.ty);
            quote!(#name: #ty)
        });
        Item::Verbatim(quote_spanned!(name.span()=> ::redplane_sdk::impl_columns!(#name { #(#fields),* });))
    };
    records.map(implement).collect()
}

/// What makes a byte of an enum.
pub(super) fn enums(module: &Module) -> Vec<Item> {
    let implement = |known: &Enum| {
        let name = syn::Ident::new(&known.name, known.span);
        let zero = known.variants.iter().find(|variant| variant.value == 0);
        let others = known.variants.iter().filter(|variant| variant.value != 0);
        let ident = |variant: &Variant| syn::Ident::new(&variant.name, known.span);
        let (zero, others) = (zero.map(ident), others.map(ident));
        Item::Verbatim(
            quote_spanned!(known.span=> ::redplane_sdk::impl_enum!(#name { #zero #(, #others)* });),
        )
    };
    module.aliases.enums.iter().map(implement).collect()
}

/// Adds derives that the author has not written.
fn derive(attributes: &mut Vec<Attribute>, wanted: &[(&str, &str)]) {
    let written = derived(attributes);
    let missing: Vec<Path> = wanted
        .iter()
        .filter(|(_, name)| !written.iter().any(|known| known == name))
        .filter_map(|(path, _)| syn::parse_str(path).ok())
        .collect();
    let attribute: Attribute = syn::parse_quote!(#[derive(#(#missing),*)]);
    if !missing.is_empty() {
        attributes.push(attribute);
    }
}

/// Names that the author derives.
fn derived(attributes: &[Attribute]) -> Vec<String> {
    let mut names = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        // A derive that cannot be read is rustc's to report.
        let _ = attribute.parse_nested_meta(|meta| {
            names.extend(meta.path.segments.last().map(|last| last.ident.to_string()));
            Ok(())
        });
    }
    names
}

/// Field of the context for a type: `Inside` as `inside`, at the type's place.
pub(super) fn handle(name: &syn::Ident) -> TokenStream {
    syn::Ident::new(&words::snake_case(&name.to_string()), name.span()).to_token_stream()
}
