//! `Context`, `Tables` and `App`: what the software switch and the store call.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::{doc, records};
use crate::ir;
use crate::syntax::Module;

/// All generated items. Without `app` there were mistakes: the names exist, so that only the mistakes are reported.
pub(super) fn items(module: &Module, app: Option<&ir::App>) -> TokenStream {
    let context = context(module);
    let tables = tables(module);
    let app = implementation(module, app);
    quote!(#context #tables #app)
}

fn table_fields(module: &Module) -> Vec<(Ident, Ident)> {
    let field =
        |table: &ir::Table| (Ident::new(&table.handle, table.span), Ident::new(&table.name, table.span));
    module.tables.iter().map(field).collect()
}

fn context(module: &Module) -> TokenStream {
    let (handles, types): (Vec<_>, Vec<_>) = table_fields(module).into_iter().unzip();
    let state = match (module.key_item, module.state_item) {
        (Some(key), Some(state)) => {
            let (handle, key, state) = (records::handle(&state.ident), &key.ident, &state.ident);
            quote!(#[doc = "The state, behind its lease."] pub #handle: ::redplane_sdk::StateHandle<'a, #key, #state>,)
        }
        _ => quote!(#[doc(hidden)] pub __state: ::core::marker::PhantomData<&'a ()>,),
    };
    quote! {
        /// What a handler works with besides the packet.
        pub struct Context<'a> {
            #state
            #(#[doc = "An operator table."] pub #handles: &'a #types,)*
            /// The port that the packet came in by.
            pub ingress_port: u16,
        }

        impl Context<'_> {
            /// By the IPv4 route table.
            #[inline]
            pub fn forward(&self) -> ::redplane_sdk::Handled {
                ::core::result::Result::Ok(::redplane_sdk::Verdict::Forward)
            }

            /// By the IPv4 route of this address, whatever the destination.
            #[inline]
            pub fn via(&self, addr: ::core::net::Ipv4Addr) -> ::redplane_sdk::Handled {
                ::core::result::Result::Ok(::redplane_sdk::Verdict::Via(addr))
            }

            /// Out of this port, as it is.
            #[inline]
            pub fn to(&self, port: u16) -> ::redplane_sdk::Handled {
                ::core::result::Result::Ok(::redplane_sdk::Verdict::To(port))
            }

            /// Back out of the port that it came in by.
            #[inline]
            pub fn reply(&self) -> ::redplane_sdk::Handled {
                ::core::result::Result::Ok(::redplane_sdk::Verdict::Reply)
            }

            /// Through the pipeline once more, as it is now.
            #[inline]
            pub fn recirculate(&self) -> ::redplane_sdk::Handled {
                ::core::result::Result::Ok(::redplane_sdk::Verdict::Recirculate)
            }

            /// Nowhere; `reason` names the counter.
            #[inline]
            pub fn drop(&self, reason: &'static str) -> ::redplane_sdk::Handled {
                ::core::result::Result::Ok(::redplane_sdk::Verdict::Drop(reason))
            }
        }
    }
}

fn tables(module: &Module) -> TokenStream {
    let (handles, types): (Vec<_>, Vec<_>) = table_fields(module).into_iter().unzip();
    let docs = module.tables.iter().map(|table| doc(table.docs.join("\n")));
    quote! {
        /// The operator's tables.
        #[derive(
            ::core::clone::Clone,
            ::core::fmt::Debug,
            ::core::default::Default,
            ::redplane_sdk::serde::Deserialize,
        )]
        #[serde(crate = "::redplane_sdk::serde", default, deny_unknown_fields)]
        pub struct Tables { #(#docs pub #handles: #types,)* }
    }
}

fn implementation(module: &Module, app: Option<&ir::App>) -> TokenStream {
    let unit = quote! {
        /// The app, for the software switch and the store.
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        pub struct App;
    };
    let readable = module.key.is_some() && module.state.is_some();
    let (Some(key), Some(state), Some(handler), true) =
        (module.key_item, module.state_item, module.handler.filter(|_| module.handler_fits), readable)
    else {
        return unit;
    };
    let constants = constants(module, app);
    let (handles, _): (Vec<_>, Vec<_>) = table_fields(module).into_iter().unzip();
    let (key, state, handler) = (&key.ident, records_of(state), &handler.sig.ident);
    let (state_handle, state) = state;
    let config = module.config().map_or_else(
        || quote!(()),
        |config| {
            let name = &config.ident;
            quote!(#name)
        },
    );
    let (call, own_headers) = packet_parts(module, handler);
    let create = create_body(module, &state);
    let idle = idle(module);
    quote! {
        #unit

        impl ::redplane_sdk::App for App {
            type Key = #key;
            type State = #state;
            type Tables = Tables;
            type Config = #config;

            #constants

            fn handle<'a>(
                packet: &mut ::redplane_sdk::packet::Packet,
                state: ::redplane_sdk::StateHandle<'a, Self::Key, Self::State>,
                tables: &'a Self::Tables,
                ingress_port: u16,
            ) -> ::redplane_sdk::Handled {
                let _ = tables;
                let mut context =
                    Context { #state_handle: state, #(#handles: &tables.#handles,)* ingress_port };
                #call
            }

            #own_headers

            #idle

            #[allow(unused_variables, reason = "an app without `on_create` starts from zero")]
            fn create(
                key: &Self::Key,
                records: &mut ::redplane_sdk::protocol::create::Creation<'_, Self::Key, Self::State>,
                config: &Self::Config,
            ) -> ::core::result::Result<Self::State, ::redplane_sdk::protocol::create::Refusal> {
                #create
            }
        }
    }
}

/// How the handler is called, and where the app's own headers end, if it has any.
fn packet_parts(module: &Module, handler: &Ident) -> (TokenStream, TokenStream) {
    let Some(own) = module.packet.map(|packet| &packet.ident) else {
        return (quote!(#handler(packet, &mut context)), TokenStream::new());
    };
    let call = quote! {
        let mut own = #own::of(packet);
        let handled = #handler(&mut own, &mut context);
        own.put(packet);
        handled
    };
    let own_headers = quote! {
        fn own_headers(
            packet: &::redplane_sdk::packet::Packet,
            bytes: &[u8],
        ) -> ::core::option::Option<usize> {
            let (.., length) = #own::own(packet, bytes)?;
            ::core::option::Option::Some(length)
        }
    };
    (call, own_headers)
}

/// What the store calls to know how long a record is kept, if it is not the same for all.
fn idle(module: &Module) -> TokenStream {
    let name = module.state.as_ref().and_then(|state| state.idle_by.as_ref()).filter(|_| module.idle_fits);
    let Some(function) = name.and_then(|name| module.functions.get(&name.to_string())) else {
        return TokenStream::new();
    };
    let name = &function.sig.ident;
    quote! {
        fn idle(key: &Self::Key, state: &Self::State) -> ::core::time::Duration {
            #name(key, state)
        }
    }
}

/// What the store calls for a new key.
fn create_body(module: &Module, state: &Ident) -> TokenStream {
    match module.on_create.filter(|_| module.on_create_fits) {
        Some(item) => {
            let name = &item.sig.ident;
            let config = module.config().map(|_| quote!(, config));
            quote!(#name(key, records #config))
        }
        None => {
            let fixed = quote!(<#state as ::redplane_sdk::protocol::Fixed>);
            quote!(::core::result::Result::Ok(#fixed::decode(&[0; #fixed::LEN])))
        }
    }
}

fn records_of(state: &syn::ItemStruct) -> (TokenStream, Ident) {
    (records::handle(&state.ident), format_ident!("{}", state.ident))
}

fn constants(module: &Module, app: Option<&ir::App>) -> TokenStream {
    let name = module.name.to_string();
    let id = module.id.unwrap_or_default();
    let (slots, idle) = module.state.as_ref().map_or((1, 0), |state| (state.slots, state.idle_ms));
    let (fingerprint, hash) = app.map_or((0, 0), |app| (crate::fingerprint(app), crate::hash(app)));
    let reasons = app.map(|app| app.reasons.clone()).unwrap_or_default();
    quote! {
        const NAME: &'static str = #name;
        const ID: u16 = #id;
        const FINGERPRINT: u16 = #fingerprint;
        const IR_HASH: u64 = #hash;
        const SLOTS: u32 = #slots;
        const IDLE: ::core::time::Duration = ::core::time::Duration::from_millis(#idle);
        const REASONS: &'static [&'static str] = &[#(#reasons),*];
    }
}
