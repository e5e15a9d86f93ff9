//! The compiler: a Rust module in, a typed program out, and from it the text of every target.
//!
//! [`library`] adds what the module takes from it, `syntax` reads the module's items, `check` gives names and types, `split`
//! cuts at the lease points, `simplify` takes out what only repeats, [`ir`] is the result. `expand` is the attribute macro's
//! body, [`build`] what a `build.rs` calls.
//!
//! **Invariant**: only [`build`] touches files.

pub mod build;
pub mod codes;
pub mod diagnostic;
pub mod dissector;
pub mod entries;
pub mod interpret;
pub mod ir;
pub mod library;
pub mod operator;
pub mod packet;
pub mod schema;
pub mod target;

mod canonical;
mod check;
mod expand;
mod simplify;
mod split;
mod syntax;
mod tree;
mod types;
mod usage;
mod words;

use proc_macro2::TokenStream;

pub use crate::canonical::{canonical, fingerprint, hash};
pub use crate::diagnostic::{Diagnostic, Diagnostics};
pub use crate::expand::{expand, outside};
use crate::syntax::Module;

/// Compiles the module of `#[redplane_sdk::app(arguments)]`.
///
/// # Errors
/// All mistakes of the module, if there are any.
pub fn parse_app(arguments: TokenStream, item: &syn::ItemMod) -> Result<ir::App, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let item = library::complete(item.clone());
    let module = syntax::read(arguments, &item, &mut diagnostics);
    compile(&module, &mut diagnostics).ok_or(diagnostics)
}

/// The app, if the module has no mistake.
fn compile(module: &Module, diagnostics: &mut Diagnostics) -> Option<ir::App> {
    let item = module.handler.filter(|_| module.handler_fits)?;
    let checked = check::check(module, item, diagnostics);
    let mut split = split::split(&checked.nodes, module, diagnostics);
    if !diagnostics.is_empty() {
        return None;
    }
    simplify::simplify(&mut split);
    let mut locals = check::unique_names(usage::drop_unused(&mut split, checked.locals));
    usage::mark_crossing(&split, &mut locals);
    let usage = usage::usage(&split);
    Some(ir::App {
        name: module.name.to_string(),
        id: module.id?,
        docs: module.docs.clone(),
        key: module.key.clone()?,
        state: module.state.clone()?,
        enums: module.aliases.enums.clone(),
        headers: module.headers,
        tables: module.tables.clone(),
        handler: ir::Handler {
            name: item.sig.ident.to_string(),
            docs: syntax::docs(&item.attrs),
            span: item.sig.ident.span(),
            locals,
            before: split.before,
            points: split.points,
            reads: usage.reads.into_iter().collect(),
            writes: usage.writes.into_iter().collect(),
            headers: usage.headers.into_iter().collect(),
            writes_state: usage.writes_state,
        },
        reasons: checked.reasons,
        on_create: module.on_create.map(|item| item.sig.ident.to_string()),
    })
}
