//! The types that a switch knows, read from Rust's.

use std::collections::BTreeMap;

use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{Enum, Type};
use crate::words;

/// Widest unsigned integer: the widest word that a register, and Rust's `arbitrary-int` in one word, holds.
pub(crate) const UINT_BITS_MAX: u16 = 64;

/// Names of the module that stand for types: `type` items that are not tables, and enums.
#[derive(Debug, Default)]
pub(crate) struct Aliases<'a> {
    pub(crate) types: BTreeMap<String, &'a syn::Type>,
    pub(crate) enums: Vec<Enum>,
    /// Enums that a switch cannot store, each with what keeps it from that.
    pub(crate) odd_enums: BTreeMap<String, &'static str>,
}

impl Aliases<'_> {
    /// The enum of this name.
    pub(crate) fn enumeration(&self, name: &str) -> Option<usize> {
        self.enums.iter().position(|known| known.name == name)
    }

    /// Whether the name stands for a type here, even for one that cannot be stored.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.types.contains_key(name) || self.enumeration(name).is_some() || self.odd_enums.contains_key(name)
    }
}

/// A type alias may name another, but not endlessly.
const ALIAS_DEPTH_MAX: usize = 8;

/// Reads a type; `what` says whose: "a key field".
pub(crate) fn read(
    ty: &syn::Type,
    aliases: &Aliases,
    what: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Type> {
    let mut ty = ty;
    for _ in 0..ALIAS_DEPTH_MAX {
        let Some(name) = simple_name(ty) else { break };
        if let Some(found) = named(&name) {
            return Some(found);
        }
        if let Some(index) = aliases.enumeration(&name) {
            return Some(Type::Enum(index));
        }
        if let Some(why) = aliases.odd_enums.get(&name) {
            odd_enum(ty, &name, why, diagnostics);
            return None;
        }
        let Some(alias) = aliases.types.get(&name) else { break };
        ty = alias;
    }
    explain(ty, what, diagnostics);
    None
}

/// The type of this name.
pub(crate) fn named(name: &str) -> Option<Type> {
    match name {
        "bool" => Some(Type::Bool),
        "Ipv4Addr" => Some(Type::Ipv4),
        "Ipv6Addr" => Some(Type::Ipv6),
        "MacAddr" => Some(Type::Mac),
        _ => uint_width(name).filter(|width| (1..=UINT_BITS_MAX).contains(width)).map(Type::Uint),
    }
}

/// How the author writes the type.
pub(crate) fn display(ty: Type, enums: &[Enum]) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::Uint(width) => format!("u{width}"),
        Type::Ipv4 => "Ipv4Addr".into(),
        Type::Ipv6 => "Ipv6Addr".into(),
        Type::Mac => "MacAddr".into(),
        Type::Enum(index) => enums.get(index).map_or_else(|| "enum".into(), |known| known.name.clone()),
    }
}

/// Whether Rust has this integer itself: `as` converts between these.
pub(crate) fn is_primitive(ty: Type) -> bool {
    matches!(ty, Type::Uint(8 | 16 | 32 | 64))
}

/// The last segment of a path without generic arguments.
pub(crate) fn simple_name(ty: &syn::Type) -> Option<String> {
    match ty {
        syn::Type::Path(path) if path.qself.is_none() => {
            let last = path.path.segments.last()?;
            last.arguments.is_none().then(|| last.ident.to_string())
        }
        syn::Type::Paren(inner) => simple_name(&inner.elem),
        syn::Type::Group(inner) => simple_name(&inner.elem),
        _ => None,
    }
}

fn uint_width(name: &str) -> Option<u16> {
    let digits = name.strip_prefix('u')?;
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

fn is_signed(name: &str) -> bool {
    name.strip_prefix('i').is_some_and(|rest| rest == "size" || rest.parse::<u16>().is_ok())
}

fn odd_enum(ty: &syn::Type, name: &str, why: &str, diagnostics: &mut Diagnostics) {
    diagnostics.report(
        codes::ENUM_SHAPE,
        ty,
        format!("the enum `{name}` has no fixed byte for each variant: {why}"),
        format!("write `#[repr(u8)] pub enum {name} {{ First, Second }}`: the first one is zero"),
    );
}

fn explain(ty: &syn::Type, what: &str, diagnostics: &mut Diagnostics) {
    let name = simple_name(ty).unwrap_or_default();
    let article = |text: &str| format!("{what} cannot be {text}");
    let (code, message, help) = match name.as_str() {
        "usize" => (
            codes::MACHINE_WORD,
            article("`usize`: its width depends on the machine, a switch needs to know it"),
            "write `u32` or `u64`".to_owned(),
        ),
        "f32" | "f64" => (
            codes::FLOAT,
            article(&format!("`{name}`: a switch has no floating point")),
            "scale to an integer, for example count thousandths in a `u32`".to_owned(),
        ),
        name if is_signed(name) => (
            codes::SIGNED,
            article(&format!("`{name}`: switch arithmetic here is unsigned")),
            "write the unsigned type of the same width and store an offset".to_owned(),
        ),
        name if uint_width(name).is_some_and(|width| width > UINT_BITS_MAX) => (
            codes::TOO_WIDE,
            article(&format!("`{name}`: it is wider than a register of {UINT_BITS_MAX} bits")),
            "split it into fields of at most 64 bits".to_owned(),
        ),
        _ => unknown_type(ty, &name, what),
    };
    diagnostics.report(code, ty, message, help);
}

fn unknown_type(ty: &syn::Type, name: &str, what: &str) -> (&'static str, String, String) {
    const KNOWN: [&str; 9] = ["bool", "u8", "u16", "u32", "u64", "Ipv4Addr", "Ipv6Addr", "MacAddr", "u13"];
    let shown = quote::ToTokens::to_token_stream(ty).to_string().replace(' ', "");
    let why = match ty {
        syn::Type::Reference(_) | syn::Type::Ptr(_) => {
            "is a reference: there is no memory on a switch that it could point to"
        }
        syn::Type::Path(path) if path.path.segments.last().is_some_and(|last| !last.arguments.is_none()) => {
            "grows or has a shape of its own: a switch stores fixed words"
        }
        _ if name == "String" || name == "str" => "grows: a switch stores fixed words",
        _ => "is not a type that a switch stores",
    };
    let help = match words::nearest(name, KNOWN).filter(|_| !name.is_empty()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "use `bool`, `u1` to `u64`, `Ipv4Addr`, `Ipv6Addr` or `MacAddr`".to_owned(),
    };
    (codes::FIELD_TYPE, format!("{what} cannot be `{shown}`, which {why}"), help)
}
