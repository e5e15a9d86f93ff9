//! Reading fixtures, and what is said of tests that cannot run.

use std::io::Write;

use redplane_codegen::{Diagnostics, ir};

/// Says that a test has nothing to run with. Not by `println!`: the harness shows that of failed tests only.
pub(crate) fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("there is somewhere to say it");
}

/// Arguments and module of the first app in `source`.
pub(crate) fn app_item(source: &str) -> (proc_macro2::TokenStream, syn::ItemMod) {
    let file = syn::parse_file(source).expect("the fixture is Rust");
    let module = file.items.into_iter().find_map(|item| match item {
        syn::Item::Mod(module) => Some(module),
        _ => None,
    });
    let mut module = module.expect("the fixture has a module");
    let is_app =
        |attribute: &syn::Attribute| attribute.path().segments.last().is_some_and(|s| s.ident == "app");
    let index = module.attrs.iter().position(is_app).expect("the module is an app");
    let attribute = module.attrs.remove(index);
    let arguments = match attribute.meta {
        syn::Meta::List(list) => list.tokens,
        _ => proc_macro2::TokenStream::new(),
    };
    (arguments, module)
}

/// Compiles the app in `source`.
pub(crate) fn compile(source: &str) -> Result<ir::App, Diagnostics> {
    let (arguments, module) = app_item(source);
    redplane_codegen::parse_app(arguments, &module)
}
