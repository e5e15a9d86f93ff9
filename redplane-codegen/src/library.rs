//! The language's library: structs, functions and constants that most apps would write again, in the language itself.
//!
//! What a module names and does not define is added to it before anything else looks at it. So the library needs no rules
//! of its own, and native code, P4 and store see one program.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item, ItemMod, parse_quote};

use crate::syntax;

/// All of it, as the guide shows it.
pub const SOURCE: &str = include_str!("library/conversation.rs");

/// The module with what it takes from the library.
pub(crate) fn complete(mut module: ItemMod) -> ItemMod {
    let Some((_, items)) = &mut module.content else { return module };
    let packet = packet(items);
    let mut library = syn::parse_file(SOURCE).map(|file| file.items).unwrap_or_default();
    let defined: BTreeSet<Ident> = items.iter().filter_map(name).cloned().chain(imported(items)).collect();
    library.retain(|item| name(item).is_some_and(|name| !defined.contains(name)));
    let mut added = 0;
    // What is added may name more.
    while added < items.len() {
        let tokens: Vec<TokenStream> = items[added..].iter().map(ToTokens::to_token_stream).collect();
        added = items.len();
        let mut uses = Uses::default();
        tokens.into_iter().for_each(|tokens| uses.collect(tokens));
        library.retain(|item| {
            let Some(span) = uses.of(item) else { return true };
            items.extend(at(item, span, &packet));
            false
        });
    }
    take_as_key(items);
    module
}

/// Whether an item came from here.
pub(crate) fn is_mark(attribute: &Attribute) -> bool {
    attribute.path().is_ident("library")
}

/// Name of the module's packet.
fn packet(items: &[Item]) -> String {
    let is_packet =
        |item: &&Item| syntax::attributes(item).iter().any(|found| syntax::role(found) == Some("packet"));
    items.iter().find(is_packet).and_then(name).map_or_else(|| "Packet".to_owned(), ToString::to_string)
}

/// An item as if it stood where it is first named, with the module's packet: a line of the library would say nothing to
/// the author.
fn at(item: &Item, span: Span, packet: &str) -> Option<Item> {
    let mut item: Item = syn::parse2(moved(item.to_token_stream(), span, packet)).ok()?;
    let attributes = match &mut item {
        Item::Const(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        _ => return None,
    };
    // How it is written is not the author's to mend.
    let quiet: Attribute = parse_quote!(#[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]);
    attributes.extend([parse_quote!(#[library]), quiet]);
    Some(item)
}

fn moved(tokens: TokenStream, span: Span, packet: &str) -> TokenStream {
    let move_one = |mut tree: TokenTree| {
        match &tree {
            TokenTree::Group(group) => {
                tree = Group::new(group.delimiter(), moved(group.stream(), span, packet)).into();
            }
            TokenTree::Ident(ident) if ident == "Packet" => tree = Ident::new(packet, span).into(),
            _ => {}
        }
        tree.set_span(span);
        tree
    };
    tokens.into_iter().map(move_one).collect()
}

/// A struct of the library that the state names as its key is the app's key.
fn take_as_key(items: &mut [Item]) {
    let attributes = items.iter().flat_map(syntax::attributes);
    let state = attributes.filter(|attribute| syntax::role(attribute) == Some("state"));
    let named: Vec<Ident> = state.filter_map(syntax::key_of).collect();
    for item in items {
        if let Item::Struct(item) = item
            && item.attrs.iter().any(is_mark)
            && named.contains(&item.ident)
        {
            item.attrs.push(parse_quote!(#[key]));
        }
    }
}

/// What the module takes by `use`, and the names on the way there.
fn imported(items: &[Item]) -> Vec<Ident> {
    let mut uses = Uses::default();
    let imports = items.iter().filter(|item| matches!(item, Item::Use(_)));
    imports.for_each(|item| uses.collect(item.to_token_stream()));
    uses.named
}

fn name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        _ => None,
    }
}

/// Names in code, and where each stands first.
#[derive(Default)]
struct Uses {
    called: Vec<Ident>,
    named: Vec<Ident>,
}

impl Uses {
    fn collect(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut is_field = false;
        while let Some(tree) = tokens.next() {
            match &tree {
                TokenTree::Ident(ident) => {
                    let is_call = |next: &TokenTree| match next {
                        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
                        _ => false,
                    };
                    let is_called = !is_field && tokens.peek().is_some_and(is_call);
                    if is_called { &mut self.called } else { &mut self.named }.push(ident.clone());
                }
                TokenTree::Group(group) => self.collect(group.stream()),
                _ => {}
            }
            is_field = matches!(&tree, TokenTree::Punct(punct) if punct.as_char() == '.');
        }
    }

    fn of(&self, item: &Item) -> Option<Span> {
        let uses = if matches!(item, Item::Fn(_)) { &self.called } else { &self.named };
        let name = name(item)?;
        uses.iter().find(|ident| *ident == name).map(Ident::span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(module: &ItemMod) -> Vec<String> {
        let items = module.content.as_ref().map(|(_, items)| &items[..]).unwrap_or_default();
        items.iter().filter_map(name).map(ToString::to_string).collect()
    }

    #[test]
    fn a_module_gets_what_it_names_and_what_that_names() {
        let module = complete(parse_quote! {
            mod app {
                fn f(pkt: &Packet) { let reversed = source_of(pkt.five_tuple()); }
            }
        });
        assert_eq!(names(&module), ["f", "source_of", "FiveTuple", "Endpoint"]);
    }

    #[test]
    fn a_function_takes_the_packet_of_the_module() {
        let module = complete(parse_quote! {
            mod app {
                #[packet]
                struct Message {}
                fn f(pkt: &Message) { is_error(pkt); }
            }
        });
        assert!(module.to_token_stream().to_string().contains("fn is_error (pkt : & Message)"));
    }

    #[test]
    fn what_a_module_defines_is_its_own() {
        let module =
            complete(parse_quote! { mod app { struct Endpoint { port: u16 } fn f(end: Endpoint) {} } });
        assert_eq!(names(&module), ["Endpoint", "f"]);
        let module =
            complete(parse_quote! { mod app { use super::net::{Endpoint}; fn f(end: Endpoint) {} } });
        assert_eq!(names(&module), ["f"]);
    }

    #[test]
    fn the_key_of_the_state_may_be_of_the_library() {
        let module =
            complete(parse_quote! { mod app { #[state(key = FiveTuple)] struct Count { packets: u32 } } });
        let (_, items) = module.content.unwrap();
        assert!(syntax::attributes(&items[1]).iter().any(|attribute| syntax::role(attribute) == Some("key")));
    }

    #[test]
    fn every_item_is_marked_and_named() {
        let library = syn::parse_file(SOURCE).unwrap().items;
        assert!(library.len() > 8);
        assert!(library.iter().all(|item| matches!(item, Item::Const(_) | Item::Fn(_) | Item::Struct(_))));
    }
}
