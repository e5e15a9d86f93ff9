//! How long rustc and rust-analyzer wait for the macro, and `build.rs` for the compiler.

use proc_macro2::TokenStream;
use quote::ToTokens;

fn main() {
    divan::main();
}

/// Arguments and module of the reference program.
fn nat() -> (TokenStream, syn::ItemMod) {
    let file = syn::parse_file(include_str!("../../apps/src/nat.rs")).expect("the fixture is Rust");
    let module = file.items.into_iter().find_map(|item| match item {
        syn::Item::Mod(module) => Some(module),
        _ => None,
    });
    let mut module = module.expect("the fixture has a module");
    module.attrs.retain(|attribute| attribute.path().segments.last().is_none_or(|last| last.ident != "app"));
    (quote::quote!(id = 1), module)
}

/// The whole macro on the NAT.
#[divan::bench]
fn expand(bencher: divan::Bencher) {
    let (arguments, module) = nat();
    let tokens = module.to_token_stream();
    bencher
        .with_inputs(|| (arguments.clone(), tokens.clone()))
        .bench_local_values(|(arguments, tokens)| redplane_codegen::expand(arguments, tokens));
}

/// Syntax to typed program.
#[divan::bench]
fn parse_app(bencher: divan::Bencher) {
    let (arguments, module) = nat();
    bencher
        .with_inputs(|| arguments.clone())
        .bench_local_values(|arguments| redplane_codegen::parse_app(arguments, &module));
}
