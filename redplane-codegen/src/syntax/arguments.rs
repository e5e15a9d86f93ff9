//! Attribute options: `id = 1`, `slots = 65_536`, `idle = "300s"`.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, Lit, Token};

use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::words;

/// One `name = value`.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) value: Expr,
}

/// All options of one attribute, known and given once.
pub(crate) struct Arguments(Vec<Argument>);

impl Arguments {
    /// The value of an option.
    pub(crate) fn value(&self, name: &str) -> Option<&Expr> {
        self.0.iter().find(|argument| argument.name == name).map(|argument| &argument.value)
    }
}

/// Reads `name = value, ..`; unknown and repeated names are mistakes.
pub(crate) fn parse(tokens: TokenStream, known: &[&str], diagnostics: &mut Diagnostics) -> Arguments {
    let parser = Punctuated::<Raw, Token![,]>::parse_terminated;
    let mut arguments = Arguments(Vec::new());
    let parsed = match parser.parse2(tokens) {
        Ok(parsed) => parsed,
        Err(error) => {
            diagnostics.report_at(
                codes::UNKNOWN_OPTION,
                error.span(),
                format!("options are written `name = value` here ({error})"),
                words::suggest("", "options", known.iter().copied()),
            );
            return arguments;
        }
    };
    for Raw { name, value } in parsed {
        if !known.contains(&name.to_string().as_str()) {
            diagnostics.report_at(
                codes::UNKNOWN_OPTION,
                name.span(),
                format!("there is no option `{name}` here"),
                words::suggest(&name.to_string(), "options", known.iter().copied()),
            );
        } else if arguments.value(&name.to_string()).is_some() {
            diagnostics.report_at(
                codes::DUPLICATE_OPTION,
                name.span(),
                format!("the option `{name}` is given twice"),
                "remove one of them",
            );
        } else {
            arguments.0.push(Argument { name, value });
        }
    }
    arguments
}

/// Options in an attribute's parentheses; none if there are no parentheses.
pub(crate) fn of(attribute: &Attribute, known: &[&str], diagnostics: &mut Diagnostics) -> Arguments {
    let tokens = match &attribute.meta {
        syn::Meta::Path(_) => TokenStream::new(),
        syn::Meta::List(list) => list.tokens.clone(),
        syn::Meta::NameValue(meta) => meta.to_token_stream(),
    };
    parse(tokens, known, diagnostics)
}

/// For attributes that take no options.
pub(crate) fn expect_none(attribute: &Attribute, diagnostics: &mut Diagnostics) {
    of(attribute, &[], diagnostics);
}

/// `id = N` of the app.
pub(crate) fn read_id(tokens: TokenStream, module: &Ident, diagnostics: &mut Diagnostics) -> Option<u16> {
    let before = diagnostics.iter().count();
    let arguments = parse(tokens, &["id"], diagnostics);
    let help = "give it a number of its own, from 1 to 65535: `#[redplane_sdk::app(id = 1)]`";
    let Some(value) = arguments.value("id") else {
        if diagnostics.iter().count() == before {
            diagnostics.report_at(
                codes::APP_ID,
                module.span(),
                format!("the app `{module}` has no id; the wire header tells apps apart by it"),
                help,
            );
        }
        return None;
    };
    let id = integer(value).and_then(|id| u16::try_from(id).ok()).filter(|&id| id != 0);
    if id.is_none() {
        let message = "an app's id is 16 bits on the wire, and 0 stands for no app";
        diagnostics.report(codes::APP_ID, value, message, help);
    }
    id
}

/// An integer literal.
pub(crate) fn integer(value: &Expr) -> Option<u64> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(int) => int.base10_parse().ok(),
            _ => None,
        },
        Expr::Group(group) => integer(&group.expr),
        _ => None,
    }
}

/// A duration such as `"300s"`, in milliseconds.
pub(crate) fn duration_ms(value: &Expr) -> Option<u64> {
    let Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) = value else { return None };
    let text = text.value();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "min" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// An option before it is judged.
struct Raw {
    name: Ident,
    value: Expr,
}

impl syn::parse::Parse for Raw {
    fn parse(input: syn::parse::ParseStream) -> syn::Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Raw { name, value: input.parse()? })
    }
}
