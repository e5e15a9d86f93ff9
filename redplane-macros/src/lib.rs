//! The attributes of an app. All the work is in `redplane_codegen`.

use proc_macro::TokenStream;

/// Makes a module an app: `#[redplane_sdk::app(id = 1)] pub mod nat { .. }`.
///
/// The module gets `Context`, `Tables` and `App`; its mistakes are reported at their tokens, all at once.
#[proc_macro_attribute]
pub fn app(arguments: TokenStream, item: TokenStream) -> TokenStream {
    redplane_codegen::expand(arguments.into(), item.into()).into()
}

macro_rules! role {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[proc_macro_attribute]
        pub fn $name(_: TokenStream, item: TokenStream) -> TokenStream {
            redplane_codegen::outside(stringify!($name), item.into()).into()
        }
    )*};
}

role! {
    /// Inside an app: the flow key.
    key;
    /// Inside an app: the replicated state of a key.
    state;
    /// Inside an app: an operator table.
    table;
    /// Inside an app: what the operator tells `on_create`.
    config;
    /// Inside an app: a header of its own.
    header;
    /// Inside an app: the packet with its own headers.
    packet;
    /// Inside an app: the packet handler.
    handler;
    /// Inside an app: chooses the state of a new key.
    on_create;
}
