//! What the attribute macro gives back: the author's module, and what makes it an app.
//!
//! The module is re-emitted whatever is wrong with it, so that rust-analyzer and rustc see the author's code.

mod arithmetic;
mod packets;
mod records;
mod runtime;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::visit_mut::VisitMut;
use syn::{Attribute, Item, ItemMod};

use crate::codes;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::library;
use crate::syntax::{self, Module, ROLES};

/// The body of `#[redplane_sdk::app(arguments)] mod ..`.
pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let parsed = match syn::parse2::<ItemMod>(item.clone()) {
        Ok(parsed) => library::complete(parsed),
        Err(error) => return unreadable(item, &error),
    };
    let mut diagnostics = Diagnostics::default();
    let module = syntax::read(arguments, &parsed, &mut diagnostics);
    let app = crate::compile(&module, &mut diagnostics);
    let mut emitted = parsed.clone();
    if let Some((_, items)) = &mut emitted.content {
        items.iter_mut().for_each(|item| emit_item(item, &module));
        items.extend(records::fixed(&module));
        items.extend(records::columns(&module));
        items.extend(packets::items(&module));
        items.extend(records::enums(&module));
        let runtime = runtime::items(&module, app.as_ref());
        items.push(Item::Verbatim(runtime));
    }
    let errors = diagnostics.to_compile_errors();
    quote!(#emitted #errors)
}

/// The error for an attribute such as `#[key]` outside of an app, and the item as it was.
pub fn outside(role: &str, item: TokenStream) -> TokenStream {
    let mut diagnostics = Diagnostics::default();
    diagnostics.report_at(
        codes::OUTSIDE,
        Span::call_site(),
        format!("`#[{role}]` stands outside of an app, where it means nothing"),
        "put the item into a module `#[redplane_sdk::app(id = 1)] pub mod name { .. }`",
    );
    let errors = diagnostics.to_compile_errors();
    quote!(#item #errors)
}

/// Half-typed code that is no module yet: as it is, without the attributes that only an app has.
fn unreadable(item: TokenStream, error: &syn::Error) -> TokenStream {
    let mut diagnostics = Diagnostics::default();
    for error in error.clone() {
        diagnostics.push(Diagnostic {
            code: codes::NOT_A_MODULE,
            span: error.span(),
            end: error.span(),
            message: format!("this cannot be read as an app's module: {error}"),
            help: "an app is `#[redplane_sdk::app(id = 1)] pub mod name { .. }`".to_owned(),
        });
    }
    let (item, errors) = (strip_roles(item), diagnostics.to_compile_errors());
    quote!(#item #errors)
}

/// Removes `#[key]`, `#[state(..)]` and the others, wherever they stand.
fn strip_roles(tokens: TokenStream) -> TokenStream {
    let mut out: Vec<TokenTree> = Vec::new();
    for tree in tokens {
        match tree {
            TokenTree::Group(group)
                if is_role(&group) && matches!(out.last(), Some(tree) if is_hash(tree)) =>
            {
                out.pop();
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), strip_roles(group.stream()));
                inner.set_span(group.span());
                out.push(inner.into());
            }
            other => out.push(other),
        }
    }
    out.into_iter().collect()
}

fn is_role(group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    let named = matches!(first, Some(TokenTree::Ident(name)) if ROLES.contains(&name.to_string().as_str()));
    named && group.delimiter() == Delimiter::Bracket
}

fn is_hash(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == '#')
}

/// The author's item: attributes of ours taken off, derives added, arithmetic made to wrap.
fn emit_item(item: &mut Item, module: &Module) {
    let roles: Vec<&str> = syntax::attributes(item).iter().filter_map(syntax::role).collect();
    match item {
        Item::Struct(item) => {
            if roles.contains(&"key") || roles.contains(&"state") {
                records::derive_record(item, module);
            } else if records::is_column(item, module) {
                records::derive_columns(item);
            } else if roles.contains(&"header") {
                records::derive_header(item);
            } else if roles.contains(&"packet") {
                packets::complete(item, module);
            } else if roles.contains(&"config") {
                records::derive_config(item);
            }
        }
        Item::Enum(item) if module.aliases.enumeration(&item.ident.to_string()).is_some() => {
            records::derive_enum(item);
        }
        Item::Type(item) if roles.contains(&"table") => records::size_table(item, module),
        Item::Fn(item) => {
            let inlined = item.attrs.iter().any(|attribute| attribute.path().is_ident("inline"));
            if inlined || roles.contains(&"handler") {
                arithmetic::Wrapping.visit_block_mut(&mut item.block);
            }
        }
        _ => {}
    }
    if let Some(attributes) = attributes_mut(item) {
        attributes.retain(|attribute| syntax::role(attribute).is_none() && !library::is_mark(attribute));
    }
}

fn attributes_mut(item: &mut Item) -> Option<&mut Vec<Attribute>> {
    Some(match item {
        Item::Const(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        Item::Impl(item) => &mut item.attrs,
        Item::Macro(item) => &mut item.attrs,
        Item::Mod(item) => &mut item.attrs,
        Item::Static(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        Item::Trait(item) => &mut item.attrs,
        Item::Type(item) => &mut item.attrs,
        Item::Union(item) => &mut item.attrs,
        Item::Use(item) => &mut item.attrs,
        _ => return None,
    })
}

/// A doc comment on what is generated.
fn doc(text: impl ToTokens) -> TokenStream {
    quote!(#[doc = #text])
}
