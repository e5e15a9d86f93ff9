//! What is wrong with an app, where, and the way out.

use std::fmt;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};

use crate::codes;

/// One mistake of the author.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Its entry in [`crate::codes::CODES`]: `RP0012`.
    pub code: &'static str,
    /// First token that it is about.
    pub span: Span,
    /// Last token that it is about.
    pub end: Span,
    /// What is wrong, and why a switch cannot do it.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\nhelp: {}", self.help) }
    }
}

/// All mistakes of one app, in the order of the source.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a mistake. The same one twice (an unrolled loop, an inlined function) is kept once, and that an enum has no
    /// fixed bytes is said once, however often it is named.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let place = |d: &Diagnostic| (d.code, d.span.start(), d.end.end());
        let is_known = |old: &Diagnostic| {
            let anywhere = old.code == codes::ENUM_SHAPE;
            old.message == diagnostic.message && (anywhere || place(old) == place(&diagnostic))
        };
        let known = self.0.iter().any(is_known);
        if !known {
            self.0.push(diagnostic);
        }
    }

    /// Adds a mistake about `tokens`.
    pub fn report(
        &mut self,
        code: &'static str,
        tokens: impl ToTokens,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (span, end) = ends(tokens);
        self.push(Diagnostic { code, span, end, message: message.into(), help: help.into() });
    }

    /// Adds a mistake about one token.
    pub fn report_at(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic { code, span, end: span, message: message.into(), help: help.into() });
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Diagnostics) {
        other.0.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// Whether there is no mistake.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, sorted by place.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.0.iter().collect();
        sorted.sort_by_key(|diagnostic| diagnostic.span.start());
        sorted.into_iter()
    }

    /// One `compile_error!` each, at the author's token.
    pub fn to_compile_errors(&self) -> TokenStream {
        self.iter()
            .map(|diagnostic| {
                let message = diagnostic.to_string();
                let path = quote_spanned!(diagnostic.span=> ::core::compile_error);
                let call = quote_spanned!(diagnostic.end=> !{ #message });
                quote::quote!(#path #call)
            })
            .collect()
    }
}

/// Spans of the first and the last token.
fn ends(tokens: impl ToTokens) -> (Span, Span) {
    let mut trees = tokens.to_token_stream().into_iter();
    let first = trees.next().map_or_else(Span::call_site, |tree| first_span(&tree));
    (first, trees.last().map_or(first, |tree| last_span(&tree)))
}

/// A group without delimiters (a macro's fragment) has no place of its own: look inside.
fn first_span(tree: &TokenTree) -> Span {
    match tree {
        TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::None => {
            ends(group.stream()).0
        }
        other => other.span(),
    }
}

fn last_span(tree: &TokenTree) -> Span {
    match tree {
        TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::None => {
            ends(group.stream()).1
        }
        other => other.span(),
    }
}
