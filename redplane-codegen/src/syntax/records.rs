//! `#[key]` and `#[state]` structs.

use syn::{Attribute, Fields, Ident, ItemStruct};

use super::arguments::{self, Arguments};
use super::{INGRESS_PORT, Module, docs};
use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{Field, Record, State, Type};
use crate::types::{self, Aliases};
use crate::words;

/// Most bytes of a key or a state value on the wire: with the header and an input packet of 1,400 bytes a message
/// still fits a frame of 1,600 bytes, and a P4 parser extracts it in one state.
const RECORD_BYTES_MAX: u16 = 64;
/// Most slots in a switch: 2^20 slots of 64 bytes are half the SRAM of a Tofino pipe's stages together.
const SLOTS_MAX: u64 = 1 << 20;
/// Shortest idle time: under a lease (1 s by default) a record would be forgotten while it is used.
const IDLE_MS_MIN: u64 = 1_000;
/// Longest idle time, 30 days: the store's deadlines stay far from any overflow.
const IDLE_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// Slots if nothing is said.
const SLOTS_DEFAULT: u32 = 65_536;
/// Idle time if nothing is said.
const IDLE_MS_DEFAULT: u64 = 300_000;

pub(crate) fn read_key(
    item: &ItemStruct,
    aliases: &Aliases,
    diagnostics: &mut Diagnostics,
) -> Option<Record> {
    read_record(item, "a key field", aliases, diagnostics)
}

/// A struct all of whose fields are words; nothing is reported of any other.
pub(crate) fn read_plain(item: &ItemStruct, aliases: &Aliases) -> Option<Record> {
    let mut unheard = Diagnostics::default();
    read_record(item, "a field", aliases, &mut unheard).filter(|_| unheard.is_empty())
}

/// The fields of a `#[header]`.
pub(crate) fn read_header(
    item: &ItemStruct,
    aliases: &Aliases,
    diagnostics: &mut Diagnostics,
) -> Option<Record> {
    read_record(item, "a header field", aliases, diagnostics)
}

pub(crate) fn read_state(
    attribute: &Attribute,
    item: &ItemStruct,
    module: &Module,
    diagnostics: &mut Diagnostics,
) -> Option<State> {
    let options = arguments::of(attribute, &["key", "slots", "idle"], diagnostics);
    if options.value("key").is_none() {
        diagnostics.report(
            codes::STATE_KEY,
            attribute.path(),
            "the state does not say whose it is",
            "name the key struct: `#[state(key = Endpoint)]`",
        );
    }
    let slots = read_slots(&options, diagnostics);
    let idle_by = options.value("idle").and_then(path);
    let idle_ms = if idle_by.is_some() { IDLE_MS_DEFAULT } else { read_idle(&options, diagnostics) };
    let record = read_record(item, "a state field", &module.aliases, diagnostics)?;
    for (field, syntax) in record.fields.iter().zip(&item.fields) {
        if field.ty == Type::Ipv6 {
            diagnostics.report(
                codes::TOO_WIDE,
                &syntax.ty,
                format!(
                    "a state field cannot be `Ipv6Addr`: its 128 bits are wider than a register of {} bits",
                    types::UINT_BITS_MAX
                ),
                "store it as two `u64`",
            );
        }
    }
    Some(State { handle: words::snake_case(&record.name), record, slots, idle_ms, idle_by })
}

/// What needs both structs: the state names the key, and does not take the name of another context field.
pub(crate) fn check_pair(module: &mut Module, diagnostics: &mut Diagnostics) {
    if let (Some(item), Some(key)) = (module.state_item, module.key_item) {
        let attribute = item.attrs.iter().find(|attribute| super::role(attribute) == Some("state"));
        let named = attribute.and_then(state_key);
        if let Some(named) = named.filter(|named| path(named).is_none_or(|name| name != key.ident)) {
            diagnostics.report(
                codes::STATE_KEY,
                &named,
                "the state's key must be the app's `#[key]` struct",
                format!("write `key = {}`", key.ident),
            );
        }
    }
    let Some(state) = &module.state else { return };
    if state.handle == INGRESS_PORT || module.tables.iter().any(|table| table.handle == state.handle) {
        diagnostics.report_at(
            codes::HANDLE_TAKEN,
            state.record.span,
            format!("the context has another field `{}`", state.handle),
            "rename one of the two types",
        );
    }
}

/// Name of the key that `#[state(key = ..)]` names.
pub(crate) fn key_of(attribute: &Attribute) -> Option<Ident> {
    state_key(attribute).as_ref().and_then(path)
}

fn state_key(attribute: &Attribute) -> Option<syn::Expr> {
    // Its mistakes have been reported already.
    arguments::of(attribute, &["key", "slots", "idle"], &mut Diagnostics::default()).value("key").cloned()
}

/// The last name of a path.
fn path(expr: &syn::Expr) -> Option<Ident> {
    match expr {
        syn::Expr::Path(path) => path.path.segments.last().map(|last| last.ident.clone()),
        syn::Expr::Group(group) => path(&group.expr),
        _ => None,
    }
}

fn read_slots(options: &Arguments, diagnostics: &mut Diagnostics) -> u32 {
    let Some(value) = options.value("slots") else { return SLOTS_DEFAULT };
    match arguments::integer(value) {
        Some(slots) if slots.is_power_of_two() && slots <= SLOTS_MAX => slots as u32,
        _ => {
            diagnostics.report(
                codes::SLOTS,
                value,
                format!("slots is a power of two up to {SLOTS_MAX}: the low bits of the key's hash choose the slot"),
                "write for example `slots = 65_536`",
            );
            SLOTS_DEFAULT
        }
    }
}

fn read_idle(options: &Arguments, diagnostics: &mut Diagnostics) -> u64 {
    let Some(value) = options.value("idle") else { return IDLE_MS_DEFAULT };
    match arguments::duration_ms(value) {
        Some(idle) if (IDLE_MS_MIN..=IDLE_MS_MAX).contains(&idle) => idle,
        _ => {
            diagnostics.report(
                codes::IDLE,
                value,
                "idle is how long the store keeps an unused record, from one second to 30 days, as text with its unit",
                "write for example `idle = \"300s\"` (units: ms, s, min, h), or name a function of the module",
            );
            IDLE_MS_DEFAULT
        }
    }
}

fn read_record(
    item: &ItemStruct,
    what: &str,
    aliases: &Aliases,
    diagnostics: &mut Diagnostics,
) -> Option<Record> {
    let Fields::Named(named) = &item.fields else {
        report_shape(&item.ident, "has no named fields", diagnostics);
        return None;
    };
    if named.named.is_empty() {
        report_shape(&item.ident, "has no fields", diagnostics);
        return None;
    }
    if !item.generics.params.is_empty() {
        report_shape(&item.generics, "is generic", diagnostics);
        return None;
    }
    let fields: Vec<Option<Field>> = named
        .named
        .iter()
        .map(|field| {
            let ty = types::read(&field.ty, aliases, what, diagnostics)?;
            let name = field.ident.as_ref()?;
            Some(Field { name: name.to_string(), ty, docs: docs(&field.attrs), span: name.span() })
        })
        .collect();
    let fields: Vec<Field> = fields.into_iter().collect::<Option<_>>()?;
    let bytes: u16 = fields.iter().map(|field| field.ty.wire_bytes()).fold(0, u16::saturating_add);
    if bytes > RECORD_BYTES_MAX {
        diagnostics.report_at(
            codes::RECORD_SIZE,
            item.ident.span(),
            format!(
                "`{}` takes {bytes} bytes on the wire; at most {RECORD_BYTES_MAX} fit a message",
                item.ident
            ),
            "keep what the handler needs, and let the control plane keep the rest",
        );
    }
    let span = item.ident.span();
    Some(Record { name: item.ident.to_string(), docs: docs(&item.attrs), fields, span })
}

fn report_shape(tokens: impl quote::ToTokens, problem: &str, diagnostics: &mut Diagnostics) {
    diagnostics.report(
        codes::RECORD_SHAPE,
        tokens,
        format!("this struct {problem}: a record has a fixed layout of named fields"),
        "write `pub struct Name { pub field: u16 }`",
    );
}
