//! Which expression is it?

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{BinOp, Expr, ExprReturn, Lit, UnOp};

use super::{Borrow, Checker, Returns, Val, Want, Which};
use crate::codes;
use crate::ir::{self, BinaryOp, ExprKind, Type, Verdict};
use crate::tree::NodeKind;
use crate::types;

impl Checker<'_> {
    pub(super) fn expr(&mut self, expr: &Expr, want: Want) -> Val {
        match expr {
            Expr::Paren(inner) => return self.expr(&inner.expr, want),
            Expr::Group(inner) => return self.expr(&inner.expr, want),
            Expr::Block(inner) if inner.label.is_none() => return self.block(&inner.block, want),
            Expr::If(inner) => return self.conditional(inner, want),
            Expr::Match(inner) => return self.matching(inner, want),
            Expr::Return(inner) => return self.give_back(inner),
            _ => {}
        }
        let value = match expr {
            Expr::MethodCall(call) => self.method(call, want),
            Expr::Call(call) => self.call(call, want),
            Expr::ForLoop(inner) => self.for_loop(inner),
            Expr::Assign(inner) => self.assign(inner),
            Expr::Binary(inner) if compound(&inner.op).is_some() => self.assign_with(inner),
            other => self.plain(other, want),
        };
        match (want, value) {
            (Want::Verdict, Val::Never) => Val::Never,
            (Want::Verdict, value) => {
                if !matches!(value, Val::Unknown) {
                    let end =
                        expr.to_token_stream().into_iter().last().map_or(expr.span(), |token| token.span());
                    self.no_verdict(end);
                }
                // The mistake is reported, and the path ends here as the author meant it to.
                self.emit(NodeKind::Finish(Verdict::Forward), expr.span());
                Val::Never
            }
            (_, value) => value,
        }
    }

    fn plain(&mut self, expr: &Expr, want: Want) -> Val {
        let expected = match want {
            Want::Value(expected) => expected,
            _ => None,
        };
        match expr {
            Expr::Lit(literal) => self.literal(&literal.lit, literal.span()),
            Expr::Path(path) => self.path(path),
            Expr::Field(field) => self.field(field),
            Expr::Reference(reference) => self.reference(reference),
            Expr::Unary(unary) => match unary.op {
                UnOp::Not(_) => self.not(unary, expected),
                UnOp::Neg(op) => {
                    self.diagnostics.report(
                        codes::SIGNED,
                        op,
                        "there are no negative numbers on a switch: arithmetic here is unsigned and wraps",
                        "subtract instead: `a - b`",
                    );
                    Val::Unknown
                }
                _ => self.dereference(unary),
            },
            Expr::Binary(binary) => self.binary_expr(binary, expected),
            Expr::Cast(cast) => self.cast(cast),
            Expr::Struct(literal) => self.struct_literal(literal),
            Expr::Try(question) => self.question(question),
            other => self.impossible(other),
        }
    }

    /// Expressions that no switch has.
    fn impossible(&mut self, expr: &Expr) -> Val {
        match expr {
            Expr::While(item) => {
                self.reject_loop(item.while_token.span);
                self.sub(|checker| checker.block(&item.body, Want::Unit));
            }
            Expr::Loop(item) => {
                self.reject_loop(item.loop_token.span);
                self.sub(|checker| checker.block(&item.body, Want::Unit));
            }
            Expr::Break(item) => self.reject_loop(item.break_token.span),
            Expr::Continue(item) => self.reject_loop(item.continue_token.span),
            Expr::Closure(item) => self.diagnostics.report(
                codes::CLOSURE,
                item.or1_token,
                "a closure is a function with memory of its own: there is none on a switch",
                "write the code in place, or an `#[inline]` function",
            ),
            Expr::Macro(item) => return self.reject_macro(&item.mac),
            Expr::Unsafe(item) => self.unsupported(item.unsafe_token, "`unsafe`", "remove it"),
            Expr::Async(item) => self.unsupported(item.async_token, "`async`", "remove it"),
            Expr::Await(item) => self.unsupported(item.await_token, "`.await`", "remove it"),
            Expr::Array(item) => self.unsupported(item, "an array", "use one local for each element"),
            Expr::Index(item) => self.unsupported(item, "indexing", "use a `#[table]`"),
            Expr::Tuple(item) => self.unsupported(item, "a tuple", "use one local for each part"),
            Expr::Range(item) => self.unsupported(item, "a range", "compare with `<` and `>=`"),
            Expr::Let(item) => self.unsupported(item, "`let` in this place", "use `if let`"),
            other => {
                self.unsupported(other, "this expression", "use fields, locals, constants and operators");
            }
        }
        Val::Unknown
    }

    fn reject_loop(&mut self, span: Span) {
        self.diagnostics.report_at(
            codes::LOOP,
            span,
            "a packet passes the pipeline once: there is nothing to jump back to",
            "use `for i in 0..4`, which is unrolled, or `return cx.recirculate()` for another pass",
        );
    }

    pub(super) fn unsupported(&mut self, tokens: impl ToTokens, what: &str, help: &str) {
        self.diagnostics.report(codes::UNSUPPORTED, tokens, format!("a switch has no {}", bare(what)), help);
    }

    fn give_back(&mut self, item: &ExprReturn) -> Val {
        let returns = self.frames.last().map_or(Returns::Verdict, |frame| frame.returns);
        if returns == Returns::Value {
            self.diagnostics.report(
                codes::HELPER_RETURN,
                item.return_token,
                "an inlined function cannot return early: its code becomes part of the handler",
                "give the value as the last expression: `if .. { a } else { b }`",
            );
            return Val::Never;
        }
        match &item.expr {
            Some(expr) => {
                self.expr(expr, Want::Verdict);
            }
            None => {
                self.no_verdict(item.return_token.span);
                self.emit(NodeKind::Finish(Verdict::Forward), item.return_token.span);
            }
        }
        Val::Never
    }

    fn literal(&mut self, literal: &Lit, span: Span) -> Val {
        match literal {
            Lit::Bool(value) => constant(u128::from(value.value), Type::Bool, span),
            Lit::Byte(value) => constant(u128::from(value.value()), Type::Uint(8), span),
            Lit::Int(value) => self.integer(value),
            Lit::Float(value) => {
                self.diagnostics.report_at(
                    codes::FLOAT,
                    value.span(),
                    "a switch has no floating point",
                    "scale to an integer, for example count thousandths",
                );
                Val::Unknown
            }
            other => {
                self.unsupported(other, "text", "text is only for the reason in `cx.drop(\"reason\")`");
                Val::Unknown
            }
        }
    }

    fn integer(&mut self, literal: &syn::LitInt) -> Val {
        let Ok(value) = literal.base10_parse::<u128>() else {
            self.out_of_range(literal.span(), "any type");
            return Val::Unknown;
        };
        if literal.suffix().is_empty() {
            return Val::Int(value, literal.span());
        }
        let suffix = syn::Ident::new(literal.suffix(), literal.span());
        let named = syn::Type::Path(syn::TypePath { qself: None, path: suffix.into() });
        match types::read(&named, &self.module.aliases, "a number", self.diagnostics) {
            Some(ty) => self.sized(value, ty, literal.span()).map_or(Val::Unknown, Val::Scalar),
            None => Val::Unknown,
        }
    }

    /// A constant of a type, if it fits.
    pub(super) fn sized(&mut self, value: u128, ty: Type, span: Span) -> Option<ir::Expr> {
        if !matches!(ty, Type::Uint(_)) {
            self.mismatch(span, &self.shown(ty), "a number");
            return None;
        }
        if value > super::arithmetic::mask(ty) {
            self.out_of_range(span, &format!("`{}`", self.shown(ty)));
            return None;
        }
        Some(ir::Expr { kind: ExprKind::Const(value), ty, span })
    }

    fn out_of_range(&mut self, span: Span, ty: &str) {
        self.diagnostics.report_at(
            codes::LITERAL_RANGE,
            span,
            format!("this number does not fit {ty}"),
            "use a wider type or a smaller number",
        );
    }

    pub(super) fn mismatch(&mut self, span: Span, expected: &str, found: &str) {
        if let Some(known) = self.module.aliases.enums.iter().find(|known| known.name == expected) {
            let variant = known.variants.first().map(|variant| variant.name.as_str()).unwrap_or_default();
            let help = format!("name a variant, as in `{expected}::{variant}`");
            let message = format!("expected `{expected}`, found {found}: an enum is not its byte");
            return self.diagnostics.report_at(codes::WIDTH, span, message, help);
        }
        self.diagnostics.report_at(
            codes::WIDTH,
            span,
            format!(
                "expected `{expected}`, found {found}: a switch adds no bits and takes none away by itself"
            ),
            "convert it: `u32::from(x)` to widen, `x as u16` to cut",
        );
    }

    /// The value as this type; reports a mismatch.
    pub(super) fn coerce(&mut self, value: Val, ty: Type, tokens: &Expr) -> Option<ir::Expr> {
        self.coerce_at(value, ty, tokens.span())
    }

    pub(super) fn coerce_at(&mut self, value: Val, ty: Type, span: Span) -> Option<ir::Expr> {
        match value {
            Val::Scalar(value) if value.ty == ty => Some(value),
            Val::Scalar(value) => {
                self.mismatch(value.span, &self.shown(ty), &format!("`{}`", self.shown(value.ty)));
                None
            }
            Val::Int(value, at) => self.sized(value, ty, at),
            Val::Unknown | Val::Never => None,
            Val::MaybeHeader { id, .. } => {
                self.unchecked_header(id, span);
                None
            }
            Val::Handle => {
                self.no_lease(span);
                None
            }
            Val::Record(Which::Key, _) => self.mismatched(span, ty, "the key struct"),
            Val::Record(Which::State, _) | Val::State => self.mismatched(span, ty, "the state struct"),
            Val::Record(Which::Plain(_), _) => self.mismatched(span, ty, "a struct"),
            Val::Header { .. } => self.mismatched(span, ty, "a header"),
            Val::Packet { .. } => self.mismatched(span, ty, "the packet"),
            Val::Context => self.mismatched(span, ty, "the context"),
            Val::Table(_) => self.mismatched(span, ty, "a table"),
            Val::Unit => self.mismatched(span, ty, "nothing"),
        }
    }

    fn mismatched(&mut self, span: Span, ty: Type, found: &str) -> Option<ir::Expr> {
        self.mismatch(span, &self.shown(ty), found);
        None
    }

    pub(super) fn coerce_value(&mut self, value: Val, ty: Type, tokens: &Expr) -> Val {
        self.coerce(value, ty, tokens).map_or(Val::Unknown, Val::Scalar)
    }

    fn reference(&mut self, item: &syn::ExprReference) -> Val {
        let wanted = if item.mutability.is_some() { Borrow::Mutable } else { Borrow::Shared };
        match self.expr(&item.expr, Want::Value(None)) {
            Val::MaybeHeader { id, .. } => Val::MaybeHeader { id, borrow: wanted },
            Val::Header { id, mutable } => Val::Header { id, mutable: mutable && wanted == Borrow::Mutable },
            Val::Packet { mutable } => Val::Packet { mutable: mutable && wanted == Borrow::Mutable },
            Val::Context => Val::Context,
            // Natively `&mut` of it would count as a write.
            Val::State if wanted == Borrow::Shared => Val::State,
            Val::Unknown | Val::Never => Val::Unknown,
            _ => {
                self.diagnostics.report(
                    codes::REFERENCE,
                    item.and_token,
                    "a reference to a value: there is no memory on a switch that it could point to",
                    "take the value itself: remove the `&`",
                );
                Val::Unknown
            }
        }
    }

    fn dereference(&mut self, item: &syn::ExprUnary) -> Val {
        match self.expr(&item.expr, Want::Value(None)) {
            Val::State => {
                let span = item.span();
                let fields = self.record(Which::State).map(|r| r.fields.clone()).unwrap_or_default();
                let read = |(index, field): (usize, &ir::Field)| ir::Expr {
                    kind: ExprKind::State(index),
                    ty: field.ty,
                    span,
                };
                Val::Record(Which::State, fields.iter().enumerate().map(read).collect())
            }
            Val::Unknown | Val::Never => Val::Unknown,
            Val::Header { .. } => {
                self.diagnostics.report(
                    codes::HEADER_COPY,
                    item,
                    "this takes a copy of the whole header",
                    "use its fields one by one",
                );
                Val::Unknown
            }
            _ => {
                self.diagnostics.report(
                    codes::REFERENCE,
                    item.op,
                    "there is no reference here to follow",
                    "remove the `*`",
                );
                Val::Unknown
            }
        }
    }

    fn question(&mut self, item: &syn::ExprTry) -> Val {
        let expr = Expr::Try(item.clone());
        if let Some(call) = self.lease_call(&expr) {
            return self.lease_always(&call);
        }
        match self.expr(&item.expr, Want::Value(None)) {
            Val::Unknown | Val::Never => {}
            _ => self.diagnostics.report(
                codes::QUESTION_MARK,
                item.question_token,
                "`?` waits for state, so it stands after `lease` and `find` only",
                "remove it",
            ),
        }
        Val::Unknown
    }

    pub(super) fn not(&mut self, item: &syn::ExprUnary, expected: Option<Type>) -> Val {
        match self.expr(&item.expr, Want::Value(expected)) {
            Val::Scalar(value) if matches!(value.ty, Type::Bool | Type::Uint(_)) => {
                Val::Scalar(super::arithmetic::not(value, item.span()))
            }
            Val::Int(value, at) => match expected.and_then(|ty| self.sized(value, ty, at)) {
                Some(value) => Val::Scalar(super::arithmetic::not(value, item.span())),
                None => {
                    if expected.is_none() {
                        self.unknown_width(at);
                    }
                    Val::Unknown
                }
            },
            Val::Unknown | Val::Never => Val::Unknown,
            other => {
                self.wrong_operand(item.op.span(), "!", &other);
                Val::Unknown
            }
        }
    }
}

/// A constant with its type.
pub(super) fn constant(value: u128, ty: Type, span: Span) -> Val {
    Val::Scalar(ir::Expr { kind: ExprKind::Const(value), ty, span })
}

/// The operation of `+=` and its kin.
pub(super) fn compound(op: &BinOp) -> Option<BinOp> {
    let op = match op {
        BinOp::AddAssign(token) => BinOp::Add(syn::Token![+](token.spans[0])),
        BinOp::SubAssign(token) => BinOp::Sub(syn::Token![-](token.spans[0])),
        BinOp::MulAssign(token) => BinOp::Mul(syn::Token![*](token.spans[0])),
        BinOp::DivAssign(token) => BinOp::Div(syn::Token![/](token.spans[0])),
        BinOp::RemAssign(token) => BinOp::Rem(syn::Token![%](token.spans[0])),
        BinOp::BitAndAssign(token) => BinOp::BitAnd(syn::Token![&](token.spans[0])),
        BinOp::BitOrAssign(token) => BinOp::BitOr(syn::Token![|](token.spans[0])),
        BinOp::BitXorAssign(token) => BinOp::BitXor(syn::Token![^](token.spans[0])),
        BinOp::ShlAssign(token) => BinOp::Shl(syn::Token![<<]([token.spans[0], token.spans[1]])),
        BinOp::ShrAssign(token) => BinOp::Shr(syn::Token![>>]([token.spans[0], token.spans[1]])),
        _ => return None,
    };
    Some(op)
}

/// The operator of the IR; division has none.
pub(super) fn operator(op: &BinOp) -> Option<BinaryOp> {
    Some(match op {
        BinOp::Add(_) => BinaryOp::Add,
        BinOp::Sub(_) => BinaryOp::Sub,
        BinOp::Mul(_) => BinaryOp::Mul,
        BinOp::BitAnd(_) => BinaryOp::And,
        BinOp::BitOr(_) => BinaryOp::Or,
        BinOp::BitXor(_) => BinaryOp::Xor,
        BinOp::Shl(_) => BinaryOp::Shl,
        BinOp::Shr(_) => BinaryOp::Shr,
        BinOp::Eq(_) => BinaryOp::Eq,
        BinOp::Ne(_) => BinaryOp::Ne,
        BinOp::Lt(_) => BinaryOp::Lt,
        BinOp::Le(_) => BinaryOp::Le,
        BinOp::Gt(_) => BinaryOp::Gt,
        BinOp::Ge(_) => BinaryOp::Ge,
        BinOp::And(_) => BinaryOp::AndAlso,
        BinOp::Or(_) => BinaryOp::OrElse,
        _ => return None,
    })
}

/// "a range" as "range": for "a switch has no range".
fn bare(what: &str) -> &str {
    what.strip_prefix("a ").or_else(|| what.strip_prefix("an ")).unwrap_or(what)
}
