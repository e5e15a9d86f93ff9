//! Own headers and the packet that has them: reading, writing, and the way between it and the standard packet.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Fields, Item, ItemStruct};

use crate::packet::HEADERS;
use crate::syntax::{Module, OwnHeader};

/// Puts the standard headers before the author's in the packet struct, and takes `#[after]` off.
pub(super) fn complete(item: &mut ItemStruct, module: &Module) {
    item.attrs.push(
        syn::parse_quote!(#[derive(::core::clone::Clone, ::core::fmt::Debug, ::core::default::Default)]),
    );
    let Fields::Named(fields) = &mut item.fields else { return };
    let own = std::mem::take(&mut fields.named);
    for header in HEADERS {
        let name = Ident::new(header.name, Span::call_site());
        let ty = format_ident!("{}", header.ty);
        let ty = if header.always {
            quote!(::redplane_sdk::packet::#ty)
        } else {
            quote!(::core::option::Option<::redplane_sdk::packet::#ty>)
        };
        let doc = header.source;
        fields.named.push(syn::parse_quote!(#[doc = #doc] pub #name: #ty));
    }
    for mut field in own {
        field.attrs.retain(|attribute| !attribute.path().is_ident("after"));
        if module.own_headers.iter().any(|known| Some(known.name) == field.ident.as_ref()) {
            fields.named.push(field);
        }
    }
}

/// What reads and writes own headers.
pub(super) fn items(module: &Module) -> Vec<Item> {
    let implement = |item: &ItemStruct| {
        let name = &item.ident;
        let fields = item.fields.iter().map(|field| {
            let (name, ty) = (&field.ident, &field.ty);
            quote!(#name: #ty)
        });
        Item::Verbatim(quote!(::redplane_sdk::impl_header!(#name { #(#fields),* });))
    };
    let mut items: Vec<Item> = module.header_items.iter().map(|(item, _)| implement(item)).collect();
    items.extend(module.packet.map(|packet| Item::Verbatim(conversions(packet, module))));
    items
}

/// From the standard packet and the bytes behind it to the app's, and back.
fn conversions(packet: &ItemStruct, module: &Module) -> TokenStream {
    let name = &packet.ident;
    let standard: Vec<Ident> =
        HEADERS.iter().map(|header| Ident::new(header.name, Span::call_site())).collect();
    let own: Vec<&Ident> = module.own_headers.iter().map(|own| own.name).collect();
    let types: Vec<&Ident> = module.own_headers.iter().map(|own| &own.item.ident).collect();
    let conditions: Vec<TokenStream> = module.own_headers.iter().map(condition).collect();
    quote! {
        impl #name {
            /// The own headers among these bytes, which follow the standard ones, and how long they are together; `None` if
            /// they end within one.
            #[allow(unused_variables, unused_mut, unused_assignments, reason = "there may be none")]
            fn own(packet: &::redplane_sdk::packet::Packet, bytes: &[u8])
                -> ::core::option::Option<(#(::core::option::Option<#types>,)* usize,)> {
                let mut at = 0;
                #(
                    let #own = if #conditions {
                        let header = bytes.get(at..)?.first_chunk()?;
                        at += #types::LEN;
                        ::core::option::Option::Some(#types::parse(header))
                    } else {
                        ::core::option::Option::None
                    };
                )*
                ::core::option::Option::Some((#(#own,)* at,))
            }

            fn of(packet: &::redplane_sdk::packet::Packet) -> Self {
                let (#(#own,)* _,) = Self::own(packet, packet.own()).unwrap_or_default();
                #name { #(#standard: packet.#standard,)* #(#own),* }
            }

            #[allow(unused_variables, unused_mut, unused_assignments, reason = "there may be none")]
            fn put(self, packet: &mut ::redplane_sdk::packet::Packet) {
                #(packet.#standard = self.#standard;)*
                let mut at = 0;
                #(
                    if let ::core::option::Option::Some(header) = self.#own {
                        let bytes = header.emit();
                        packet.own_mut()[at..at + bytes.len()].copy_from_slice(&bytes);
                        at += bytes.len();
                    }
                )*
            }
        }
    }
}

fn condition(own: &OwnHeader) -> TokenStream {
    let field = format_ident!("{}", own.when.0);
    let value = proc_macro2::Literal::u64_unsuffixed(own.when.1);
    match own.after.as_str() {
        "ethernet" => quote!(packet.vlan.is_none() && packet.ethernet.ether_type == #value),
        "vlan" => quote!(packet.vlan.as_ref().is_some_and(|vlan| vlan.ether_type == #value)),
        "ipv4" => quote!(packet.ipv4.as_ref().is_some_and(|ipv4| ipv4.leads_on() && ipv4.protocol == #value)),
        "udp" => {
            quote!(packet.udp.is_some() && packet.ports.as_ref().is_some_and(|ports| ports.dst == #value))
        }
        before => {
            let before = format_ident!("{before}");
            quote! {
                #before.as_ref().is_some_and(|before| ::redplane_sdk::table::to_word(before.#field) == #value)
            }
        }
    }
}
