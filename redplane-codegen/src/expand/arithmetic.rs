//! `a + b` in a handler as `::redplane_sdk::ops::add(a, b)`: it wraps at its width, as on a switch.
//!
//! The call has the operator's span, so rustc's type errors point at the author's line.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Expr, ExprBinary, ExprCast, Item};

use crate::types;

/// Rewrites all arithmetic of a block.
pub(super) struct Wrapping;

impl VisitMut for Wrapping {
    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        visit_mut::visit_expr_mut(self, expr);
        let rewritten = match expr {
            Expr::Binary(item) => binary(item),
            Expr::Cast(item) => cast(item),
            _ => None,
        };
        if let Some(tokens) = rewritten {
            *expr = Expr::Verbatim(tokens);
        }
    }

    // Constants of their own: evaluated by rustc, which reports an overflow.
    fn visit_item_mut(&mut self, _: &mut Item) {}

    fn visit_type_mut(&mut self, _: &mut syn::Type) {}

    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
}

fn binary(item: &ExprBinary) -> Option<TokenStream> {
    let (function, assigns) = function(&item.op)?;
    let span = item.op.span();
    let function = Ident::new(function, span);
    let (left, right) = (bare(&item.left), bare(&item.right));
    if !assigns {
        return Some(quote_spanned!(span=> ::redplane_sdk::ops::#function(#left, #right)));
    }
    if is_plain_place(left) {
        return Some(quote_spanned!(span=> #left = ::redplane_sdk::ops::#function(#left, #right)));
    }
    // The place is evaluated once, after the value, as Rust does with primitive operands.
    let (value, place) =
        (format_ident!("__value", span = mixed(span)), format_ident!("__place", span = mixed(span)));
    Some(quote_spanned!(span=> {
        let #value = #right;
        let #place = &mut #left;
        *#place = ::redplane_sdk::ops::#function(*#place, #value);
    }))
}

/// Without parentheses, which an argument does not need: rustc would warn about them.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => bare(&paren.expr),
        other => other,
    }
}

fn mixed(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

fn function(op: &BinOp) -> Option<(&'static str, bool)> {
    Some(match op {
        BinOp::Add(_) => ("add", false),
        BinOp::Sub(_) => ("sub", false),
        BinOp::Mul(_) => ("mul", false),
        BinOp::Shl(_) => ("shl", false),
        BinOp::Shr(_) => ("shr", false),
        BinOp::AddAssign(_) => ("add", true),
        BinOp::SubAssign(_) => ("sub", true),
        BinOp::MulAssign(_) => ("mul", true),
        BinOp::ShlAssign(_) => ("shl", true),
        BinOp::ShrAssign(_) => ("shr", true),
        _ => return None,
    })
}

/// A place whose second evaluation does nothing: `x`, `ip.ttl`, `*count`.
fn is_plain_place(expr: &Expr) -> bool {
    match expr {
        Expr::Path(_) => true,
        Expr::Field(field) => is_plain_place(&field.base),
        Expr::Paren(paren) => is_plain_place(&paren.expr),
        Expr::Group(group) => is_plain_place(&group.expr),
        Expr::Unary(unary) => matches!(unary.op, syn::UnOp::Deref(_)) && is_plain_place(&unary.expr),
        _ => false,
    }
}

/// `a as T` between any two integer widths. A literal has the type that `as` gives it.
fn cast(item: &ExprCast) -> Option<TokenStream> {
    let (value, ty) = (bare(&item.expr), &item.ty);
    let span = item.as_token.span;
    let target = types::simple_name(ty).and_then(|name| types::named(&name));
    match (value, target) {
        (Expr::Lit(_), Some(target)) if types::is_primitive(target) => None,
        (Expr::Lit(_), Some(_)) => Some(quote_spanned!(span=> ::redplane_sdk::ops::cast::<u64, #ty>(#value))),
        (_, Some(_)) => Some(quote_spanned!(span=> ::redplane_sdk::ops::cast::<_, #ty>(#value))),
        (_, None) => None,
    }
    .map(|call| quote!(#call))
}
