//! `#[header]` structs, and the `#[packet]` struct whose `#[after]`s say where they stand.

use syn::{Attribute, Expr, Field, Fields, GenericArgument, ItemStruct, Meta, PathArguments};

use super::{Module, arguments, docs};
use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{Record, Type};
use crate::packet::{After, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, HEADERS, Header};
use crate::schema::UDP_PORT;
use crate::types;

/// Bits of the words that checksums are sums of.
const WORD: u16 = 16;
/// What the software switch has room for (`redplane_sdk::packet::OWN_MAX`).
const OWN_BITS_MAX: usize = 64 * 8;
/// EtherType of a sweep.
const ETHERTYPE_SWEEP: u64 = 0x88b5;

/// What a header may stand after, and the field that decides, with the values that mean something else already.
const PLACES: [(&str, &str, u16, &[u64]); 4] = [
    ("ethernet", "ether_type", 16, &[ETHERTYPE_IPV4, ETHERTYPE_VLAN, ETHERTYPE_IPV6, ETHERTYPE_SWEEP]),
    ("vlan", "ether_type", 16, &[ETHERTYPE_IPV4, ETHERTYPE_VLAN, ETHERTYPE_IPV6, ETHERTYPE_SWEEP]),
    ("ipv4", "protocol", 8, &[1, 6, 17]),
    ("udp", "dst_port", 16, &[UDP_PORT as u64]),
];

/// A header of the app: its struct, and where the packet has it.
#[derive(Clone, Debug)]
pub(crate) struct OwnHeader<'a> {
    /// Field of the packet.
    pub(crate) name: &'a syn::Ident,
    /// The struct.
    pub(crate) item: &'a ItemStruct,
    /// The header before it.
    pub(crate) after: String,
    /// The field that decides, and its value.
    pub(crate) when: (String, u64),
}

/// Reads a `#[header]`.
pub(super) fn read_header<'a>(item: &'a ItemStruct, module: &mut Module<'a>, diagnostics: &mut Diagnostics) {
    let record = super::records::read_header(item, &module.aliases, diagnostics);
    for field in record.iter().flat_map(|record| &record.fields) {
        if matches!(field.ty, Type::Enum(_)) {
            diagnostics.report_at(
                codes::HEADER_SHAPE,
                field.span,
                "an enum in a header: what comes from the network may be none of its variants",
                "write `u8`, and constants for its values",
            );
        }
    }
    let bits = |record: &Record| record.fields.iter().map(|field| field.ty.bits()).sum::<u16>();
    if let Some(record) = &record
        && bits(record) % WORD != 0
    {
        diagnostics.report_at(
            codes::HEADER_SHAPE,
            item.ident.span(),
            format!(
                "`{}` has {} bits: a header is a whole number of 16-bit words, of which checksums are sums",
                item.ident,
                bits(record)
            ),
            "add a field that fills it up: `pub reserved: u8`",
        );
        return;
    }
    module.header_items.extend(record.map(|record| (item, record)));
}

/// Reads the `#[packet]`: the standard headers and these.
pub(super) fn read_packet<'a>(item: &'a ItemStruct, module: &mut Module<'a>, diagnostics: &mut Diagnostics) {
    let Fields::Named(fields) = &item.fields else {
        report(&item.ident, "a packet has named fields", diagnostics);
        return;
    };
    let mut headers = HEADERS.to_vec();
    for field in &fields.named {
        let Some(name) = &field.ident else { continue };
        let Some((own, record)) = header_of(field, module) else {
            report(
                &field.ty,
                "a field of the packet is an `Option` of a `#[header]` of this module",
                diagnostics,
            );
            continue;
        };
        if headers.iter().any(|known| name == known.name) {
            report(name, "the packet has another header of this name", diagnostics);
            continue;
        }
        let Some((after, when)) = place(field, &headers, diagnostics) else { continue };
        headers.push(header(name, own, record, &after, &when));
        module.own_headers.push(OwnHeader { name, item: own, after, when });
    }
    let own = &headers[HEADERS.len()..];
    let bits: usize = own.iter().flat_map(|header| header.fields).map(|(_, ty)| usize::from(ty.bits())).sum();
    if bits > OWN_BITS_MAX {
        let message = format!("own headers have at most {} bytes together", OWN_BITS_MAX / 8);
        report(&item.ident, &message, diagnostics);
    }
    module.headers = Box::leak(headers.into_boxed_slice());
}

/// What the compiler keeps of it: for as long as it runs, like the standard headers.
fn header(
    name: &syn::Ident,
    item: &ItemStruct,
    record: &Record,
    after: &str,
    when: &(String, u64),
) -> Header {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let fields: Vec<(&'static str, Type)> =
        record.fields.iter().map(|field| (leak(field.name.clone()), field.ty)).collect();
    let value: &'static [u64] = Box::leak(Box::new([when.1]));
    let conditions: Vec<(&'static str, &'static [u64])> = match after {
        "ipv4" => vec![("version", &[4]), ("ihl", &[5]), ("fragment_offset", &[0]), ("protocol", value)],
        "udp" => vec![("dst", value)],
        _ => vec![(leak(when.0.clone()), value)],
    };
    let edge = After { header: leak(after.to_owned()), when: Box::leak(conditions.into_boxed_slice()) };
    Header {
        name: leak(name.to_string()),
        ty: leak(record.name.clone()),
        source: leak(docs(&item.attrs).join(" ")),
        always: false,
        fields: Box::leak(fields.into_boxed_slice()),
        after: Box::leak(Box::new([edge])),
    }
}

/// The header in `Option<Header>`.
fn header_of<'m, 'a>(field: &Field, module: &'m Module<'a>) -> Option<(&'a ItemStruct, &'m Record)> {
    let syn::Type::Path(path) = &field.ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(list) = &last.arguments else { return None };
    let [GenericArgument::Type(inner)] = &list.args.iter().collect::<Vec<_>>()[..] else { return None };
    let name = types::simple_name(inner)?;
    let found = module.header_items.iter().find(|(item, _)| item.ident == name);
    found.map(|(item, record)| (*item, record))
}

/// `#[after(udp, dst_port = 4800)]`
fn place(
    field: &Field,
    headers: &[Header],
    diagnostics: &mut Diagnostics,
) -> Option<(String, (String, u64))> {
    let attributes: Vec<&Attribute> =
        field.attrs.iter().filter(|attribute| attribute.path().is_ident("after")).collect();
    let [attribute] = attributes[..] else {
        report(&field.ident, "the field does not say what its header stands after", diagnostics);
        return None;
    };
    let Some((before, name, value)) = parts(attribute) else {
        report(attribute, "this does not name a header and the value of its field", diagnostics);
        return None;
    };
    let own = headers[HEADERS.len()..].iter().find(|header| before == header.name);
    let (bits, taken): (u16, &[u64]) = match (PLACES.iter().find(|place| before == place.0), own) {
        (Some((_, decides, bits, taken)), _) if name == decides => (*bits, taken),
        (Some((_, decides, ..)), _) => {
            report(&name, &format!("what follows `{before}` is decided by `{decides}`"), diagnostics);
            return None;
        }
        (None, Some(header)) => match header.fields.iter().find(|(field, _)| name == field) {
            Some((_, ty)) if decides_alone(headers, header.name, &name.to_string()) => (ty.bits(), &[]),
            Some(_) => {
                report(&name, &format!("another field of `{before}` decides already"), diagnostics);
                return None;
            }
            None => {
                report(&name, &format!("`{before}` has no field `{name}`"), diagnostics);
                return None;
            }
        },
        (None, None) => {
            report(
                &before,
                "an own header stands after `ethernet`, `vlan`, `ipv4`, `udp` or an own one before it",
                diagnostics,
            );
            return None;
        }
    };
    let used = |known: &Header| {
        known
            .after
            .iter()
            .any(|edge| before == edge.header && edge.when.iter().any(|(_, values)| values == &[value]))
    };
    if value >> bits.min(63) != 0 || taken.contains(&value) || headers[HEADERS.len()..].iter().any(used) {
        report(attribute, "this value does not fit the field, or something else follows then", diagnostics);
        return None;
    }
    Some((before.to_string(), (name.to_string(), value)))
}

/// Whether all that follows a header is decided by this field.
fn decides_alone(headers: &[Header], before: &str, field: &str) -> bool {
    let mut edges = headers.iter().flat_map(|header| header.after).filter(|edge| edge.header == before);
    edges.all(|edge| edge.when.iter().all(|(known, _)| *known == field))
}

fn parts(attribute: &Attribute) -> Option<(syn::Ident, syn::Ident, u64)> {
    let Meta::List(list) = &attribute.meta else { return None };
    let parser = |input: syn::parse::ParseStream<'_>| {
        let before: syn::Ident = input.parse()?;
        input.parse::<syn::Token![,]>()?;
        let name: syn::Ident = input.parse()?;
        input.parse::<syn::Token![=]>()?;
        let value: Expr = input.parse()?;
        Ok((before, name, value))
    };
    let (before, name, value) = list.parse_args_with(parser).ok()?;
    Some((before, name, arguments::integer(&value)?))
}

fn report(tokens: impl quote::ToTokens, message: &str, diagnostics: &mut Diagnostics) {
    diagnostics.report(
        codes::PACKET_FIELD,
        tokens,
        message,
        "write for example `#[after(udp, dst_port = 4800)] pub kv: Option<Kv>`",
    );
}
