//! The module's items: which is the key, the state, a table, the handler.
//!
//! Everything is optional in here: a half-written module still gives what it has.

mod arguments;
mod enums;
mod functions;
mod packets;
mod records;
mod tables;

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use syn::{Attribute, Ident, Item, ItemConst, ItemFn, ItemMod, ItemStruct};

use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{Record, State, Table};
use crate::packet::{HEADERS, Header};
use crate::types::Aliases;

pub(crate) use functions::{argument, check_plain, last_name};
pub(crate) use packets::OwnHeader;
pub(crate) use records::key_of;

/// The attributes that mean something inside an app.
pub(crate) const ROLES: [&str; 8] =
    ["key", "state", "table", "config", "header", "packet", "handler", "on_create"];

/// Name of the context field that no state or table may take.
pub(crate) const INGRESS_PORT: &str = "ingress_port";

/// What the module says, as far as it can be read.
#[derive(Debug)]
pub(crate) struct Module<'a> {
    pub(crate) name: Ident,
    pub(crate) id: Option<u16>,
    pub(crate) docs: Vec<String>,
    pub(crate) key: Option<Record>,
    /// The key struct is there, readable or not.
    pub(crate) key_item: Option<&'a ItemStruct>,
    pub(crate) state: Option<State>,
    pub(crate) state_item: Option<&'a ItemStruct>,
    pub(crate) tables: Vec<Table>,
    /// Context fields of tables that could not be read: using them is not a second mistake.
    pub(crate) broken_tables: Vec<String>,
    /// The configuration, and the structs in it.
    pub(crate) configs: Vec<&'a ItemStruct>,
    /// Structs without a role whose fields are all words: values of a handler, keys and values of tables.
    pub(crate) plain: Vec<(&'a ItemStruct, Record)>,
    /// `#[header]` structs.
    pub(crate) header_items: Vec<(&'a ItemStruct, Record)>,
    pub(crate) packet: Option<&'a ItemStruct>,
    /// The headers of the `#[packet]`.
    pub(crate) own_headers: Vec<OwnHeader<'a>>,
    /// All headers of the packet, the standard ones first.
    pub(crate) headers: &'static [Header],
    pub(crate) handler: Option<&'a ItemFn>,
    /// The handler's signature is as it must be.
    pub(crate) handler_fits: bool,
    pub(crate) on_create: Option<&'a ItemFn>,
    pub(crate) on_create_fits: bool,
    pub(crate) idle_fits: bool,
    pub(crate) functions: BTreeMap<String, &'a ItemFn>,
    pub(crate) constants: BTreeMap<String, &'a ItemConst>,
    pub(crate) aliases: Aliases<'a>,
}

/// Reads the module. Always gives one; mistakes go to `diagnostics`.
pub(crate) fn read<'a>(
    arguments: TokenStream,
    item: &'a ItemMod,
    diagnostics: &mut Diagnostics,
) -> Module<'a> {
    let mut module = Module {
        name: item.ident.clone(),
        id: arguments::read_id(arguments, &item.ident, diagnostics),
        docs: docs(&item.attrs),
        key: None,
        key_item: None,
        state: None,
        state_item: None,
        tables: Vec::new(),
        broken_tables: Vec::new(),
        configs: Vec::new(),
        header_items: Vec::new(),
        packet: None,
        own_headers: Vec::new(),
        headers: HEADERS,
        plain: Vec::new(),
        handler: None,
        handler_fits: false,
        on_create: None,
        on_create_fits: false,
        idle_fits: false,
        functions: BTreeMap::new(),
        constants: BTreeMap::new(),
        aliases: Aliases::default(),
    };
    let Some((_, items)) = &item.content else {
        diagnostics.report(
            codes::WRONG_ITEM,
            item,
            "an app is a module with its body in place; the attribute cannot see into another file",
            format!("write `mod {} {{ .. }}`", item.ident),
        );
        return module;
    };
    collect_plain(items, &mut module);
    // Tables last: their keys and values may be structs of the module. The packet after its headers.
    let turn = |item: &Item| match item {
        Item::Type(_) => 2,
        Item::Struct(item) if item.attrs.iter().any(|attribute| role(attribute) == Some("packet")) => 1,
        _ => 0,
    };
    for now in 0..3 {
        for item in items.iter().filter(|item| turn(item) == now) {
            collect_role(item, &mut module, diagnostics);
        }
    }
    records::check_pair(&mut module, diagnostics);
    require(&module, item, diagnostics);
    module.handler_fits = module.handler.is_some_and(|f| functions::check_handler(f, &module, diagnostics));
    module.on_create_fits = functions::check_on_create(&module, diagnostics);
    module.idle_fits = functions::check_idle(&module, diagnostics);
    module
}

/// The `///` lines of an item.
pub(crate) fn docs(attributes: &[Attribute]) -> Vec<String> {
    attributes.iter().filter_map(doc).map(|line| line.trim().to_owned()).collect()
}

/// The role that an attribute gives to its item: `handler`.
pub(crate) fn role(attribute: &Attribute) -> Option<&'static str> {
    let segments = &attribute.path().segments;
    let last = segments.last()?;
    let ours = segments.len() == 1 || segments.first()?.ident.to_string().starts_with("redplane");
    ROLES.into_iter().find(|role| ours && last.ident == role)
}

/// The attributes of an item, if items of this kind can have a role or hide one.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'a> Module<'a> {
    /// The struct that `on_create` is given: the one that it names, or the first.
    pub(crate) fn config(&self) -> Option<&'a ItemStruct> {
        let last = self.on_create.and_then(|item| item.sig.inputs.iter().nth(2));
        let named = last.and_then(argument).and_then(|(_, ty)| match ty {
            syn::Type::Reference(reference) => last_name(&reference.elem),
            _ => None,
        });
        let wanted = self.configs.iter().find(|item| named.as_ref().is_some_and(|name| item.ident == name));
        wanted.or(self.configs.first()).copied()
    }

    /// Whether a name is that of the key, of the state or of a plain struct.
    pub(crate) fn is_record(&self, name: &str) -> bool {
        let roles = [self.key_item, self.state_item].into_iter().flatten();
        roles.chain(self.plain.iter().map(|(item, _)| *item)).any(|item| item.ident == name)
    }
}

fn doc(attribute: &Attribute) -> Option<String> {
    let syn::Meta::NameValue(meta) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &meta.value else { return None };
    meta.path.is_ident("doc").then(|| text.value())
}

/// Functions, constants and aliases first: attributes and types refer to them.
fn collect_plain<'a>(items: &'a [Item], module: &mut Module<'a>) {
    for item in items {
        match item {
            Item::Fn(item) => {
                module.functions.insert(item.sig.ident.to_string(), item);
            }
            Item::Const(item) => {
                module.constants.insert(item.ident.to_string(), item);
            }
            Item::Type(item) if !item.attrs.iter().any(|a| role(a) == Some("table")) => {
                module.aliases.types.insert(item.ident.to_string(), &item.ty);
            }
            Item::Enum(item) => match enums::read(item) {
                Ok(read) => module.aliases.enums.push(read),
                Err(why) => drop(module.aliases.odd_enums.insert(item.ident.to_string(), why)),
            },
            _ => {}
        }
    }
    for item in items {
        if let Item::Struct(item) = item
            && !item.attrs.iter().any(|attribute| matches!(role(attribute), Some("key" | "state" | "header" | "packet")))
            // A struct that is not plain is no mistake, until a handler uses it.
            && let Some(record) = records::read_plain(item, &module.aliases)
        {
            module.plain.push((item, record));
        }
    }
}

fn collect_role<'a>(item: &'a Item, module: &mut Module<'a>, diagnostics: &mut Diagnostics) {
    let mut first: Option<&Attribute> = None;
    for attribute in attributes(item) {
        let Some(role) = role(attribute) else { continue };
        if let Some(before) = first {
            let before = before.path().segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
            diagnostics.report(
                codes::DUPLICATE_ROLE,
                attribute.path(),
                format!("this item is `#[{before}]` already; one item has one role"),
                "remove one of the two attributes",
            );
            continue;
        }
        first = Some(attribute);
        take_role(role, attribute, item, module, diagnostics);
    }
}

fn take_role<'a>(
    role: &'static str,
    attribute: &'a Attribute,
    item: &'a Item,
    module: &mut Module<'a>,
    diagnostics: &mut Diagnostics,
) {
    match (role, item) {
        ("key", Item::Struct(item)) => {
            arguments::expect_none(attribute, diagnostics);
            if once(role, attribute, module.key_item.map(|i| &i.ident), diagnostics) {
                module.key_item = Some(item);
                module.key = records::read_key(item, &module.aliases, diagnostics);
            }
        }
        ("state", Item::Struct(item)) => {
            if once(role, attribute, module.state_item.map(|i| &i.ident), diagnostics) {
                module.state_item = Some(item);
                module.state = records::read_state(attribute, item, module, diagnostics);
            }
        }
        ("table", Item::Type(item)) => tables::read(attribute, item, module, diagnostics),
        ("config", Item::Struct(item)) => {
            arguments::expect_none(attribute, diagnostics);
            module.configs.push(item);
        }
        ("header", Item::Struct(item)) => {
            arguments::expect_none(attribute, diagnostics);
            packets::read_header(item, module, diagnostics);
        }
        ("packet", Item::Struct(item)) => {
            arguments::expect_none(attribute, diagnostics);
            if once(role, attribute, module.packet.map(|i| &i.ident), diagnostics) {
                module.packet = Some(item);
                packets::read_packet(item, module, diagnostics);
            }
        }
        ("handler", Item::Fn(item)) => {
            arguments::expect_none(attribute, diagnostics);
            if once(role, attribute, module.handler.map(|i| &i.sig.ident), diagnostics) {
                module.handler = Some(item);
            }
        }
        ("on_create", Item::Fn(item)) => {
            arguments::expect_none(attribute, diagnostics);
            if once(role, attribute, module.on_create.map(|i| &i.sig.ident), diagnostics) {
                module.on_create = Some(item);
            }
        }
        _ => wrong_item(role, attribute, diagnostics),
    }
}

fn wrong_item(role: &str, attribute: &Attribute, diagnostics: &mut Diagnostics) {
    let belongs = match role {
        "table" => "a type alias: `pub type Inside = Lpm<Ipv4Addr, bool>;`",
        "handler" | "on_create" => "a function",
        _ => "a struct with named fields",
    };
    diagnostics.report(
        codes::WRONG_ITEM,
        attribute.path(),
        format!("`#[{role}]` does not belong on this item"),
        format!("put it on {belongs}"),
    );
}

fn once(role: &str, attribute: &Attribute, first: Option<&Ident>, diagnostics: &mut Diagnostics) -> bool {
    let Some(first) = first else { return true };
    diagnostics.report(
        codes::DUPLICATE_ROLE,
        attribute.path(),
        format!("a second `#[{role}]`; the first is `{first}`. An app has one, as its wire format has one"),
        "make a second app of it, or join the two",
    );
    false
}

fn require(module: &Module, item: &ItemMod, diagnostics: &mut Diagnostics) {
    let missing = [
        (module.key_item.is_none(), codes::NO_KEY, "key", "#[key] pub struct Flow { pub addr: Ipv4Addr }"),
        (
            module.state_item.is_none(),
            codes::NO_STATE,
            "state",
            "#[state(key = Flow, slots = 65_536, idle = \"300s\")] pub struct Count { pub packets: u64 }",
        ),
        (
            module.handler.is_none(),
            codes::NO_HANDLER,
            "handler",
            "#[handler] pub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled { cx.forward() }",
        ),
    ];
    for (is_missing, code, role, example) in missing {
        if is_missing {
            diagnostics.report_at(
                code,
                item.ident.span(),
                format!("the app `{}` has no `#[{role}]`", item.ident),
                format!("add for example `{example}`"),
            );
        }
    }
}
