//! Operators: types, widths, folding of constants.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{BinOp, Expr, ExprBinary, ExprCast};

use super::expr::operator;
use super::{Checker, Val, Want};
use crate::codes;
use crate::ir::{self, BinaryOp, ExprKind, Place, Type};
use crate::tree::NodeKind;
use crate::types;

impl Checker<'_> {
    pub(super) fn binary_expr(&mut self, item: &ExprBinary, expected: Option<Type>) -> Val {
        if matches!(item.op, BinOp::And(_) | BinOp::Or(_)) {
            let left = self.expr(&item.left, Want::Value(Some(Type::Bool)));
            let left = self.coerce(left, Type::Bool, &item.left);
            let (nodes, right) = self.sub(|checker| {
                let right = checker.expr(&item.right, Want::Value(Some(Type::Bool)));
                checker.coerce(right, Type::Bool, &item.right)
            });
            let (Some(left), Some(right), Some(op)) = (left, right, operator(&item.op)) else {
                return Val::Unknown;
            };
            return self.logical(op, left, nodes, right, item.op.span()).map_or(Val::Unknown, Val::Scalar);
        }
        let compares = is_comparison(&item.op);
        let expected = if compares { None } else { expected };
        let left = self.expr(&item.left, Want::Value(expected));
        let mark = self.out.len();
        let right = self.expr(&item.right, Want::Value(expected));
        let left = self.before_effects(left, mark);
        self.operate(&item.op, left, right, &item.right)
    }

    /// If the right side changed something, the left side is evaluated before that.
    fn before_effects(&mut self, left: Val, mark: usize) -> Val {
        let effects = self.out.get(mark..).unwrap_or_default();
        let pure = effects.iter().all(|node| matches!(node.kind, NodeKind::Lookup { .. }));
        match left {
            Val::Scalar(value) if !pure && !matches!(value.kind, ExprKind::Const(_)) => {
                let (ty, span) = (value.ty, value.span);
                let id = self.new_local("left", ty, span);
                let kind = NodeKind::Assign { place: Place::Local(id), value };
                self.out.insert(mark, crate::tree::Node { kind, span });
                Val::Scalar(ir::Expr { kind: ExprKind::Local(id), ty, span })
            }
            other => other,
        }
    }

    /// `left op right`, for `a + b` and for `a += b`.
    pub(super) fn operate(&mut self, op: &BinOp, left: Val, right: Val, right_tokens: &Expr) -> Val {
        let span = op.span();
        let Some(operation) = operator(op) else {
            self.diagnostics.report(
                codes::DIVISION,
                op,
                "a switch cannot divide: the operation does not fit into the time of one stage",
                "shift right by a constant, take bits with `&`, or let a `#[table]` hold the answers",
            );
            return Val::Unknown;
        };
        if matches!(left, Val::Unknown | Val::Never) || matches!(right, Val::Unknown | Val::Never) {
            return Val::Unknown;
        }
        for side in [&left, &right] {
            if !matches!(side, Val::Scalar(_) | Val::Int(..)) {
                self.wrong_operand(span, &quote::ToTokens::to_token_stream(op).to_string(), side);
                return Val::Unknown;
            }
        }
        if matches!(operation, BinaryOp::Shl | BinaryOp::Shr) {
            return self.shift(operation, left, right, right_tokens, span);
        }
        let (left, right) = match (left, right) {
            (Val::Int(a, at), Val::Int(b, _)) => return self.fold_untyped(operation, a, b, at, span),
            (Val::Scalar(a), b) => {
                let ty = a.ty;
                (Some(a), self.coerce(b, ty, right_tokens))
            }
            (a, Val::Scalar(b)) => (self.coerce_at(a, b.ty, span), Some(b)),
            _ => (None, None),
        };
        let (Some(left), Some(right)) = (left, right) else { return Val::Unknown };
        if !allowed(operation, left.ty) {
            self.diagnostics.report(
                codes::OPERATOR,
                op,
                format!("`{}` does not have this operator on a switch", self.shown(left.ty)),
                "convert to an integer first: `u32::from(addr)`, `u8::from(flag)`",
            );
            return Val::Unknown;
        }
        let ty = if is_comparison(op) { Type::Bool } else { left.ty };
        Val::Scalar(binary(operation, left, right, ty, span))
    }

    pub(super) fn wrong_operand(&mut self, span: Span, op: &str, value: &Val) {
        match value {
            Val::MaybeHeader { id, .. } => self.unchecked_header(*id, span),
            Val::Handle => self.no_lease(span),
            _ => self.diagnostics.report_at(
                codes::OPERATOR,
                span,
                format!("`{op}` works on numbers, addresses and `bool`, not on structs, headers or tables"),
                "use the fields",
            ),
        }
    }

    fn shift(&mut self, op: BinaryOp, left: Val, right: Val, tokens: &Expr, span: Span) -> Val {
        let by = match &right {
            Val::Int(by, _) => Some(*by),
            Val::Scalar(ir::Expr { kind: ExprKind::Const(by), .. }) => Some(*by),
            _ => None,
        };
        let Some(by) = by else {
            self.diagnostics.report(
                codes::SHIFT,
                tokens,
                "a switch shifts by wiring: the distance must be known when it is compiled",
                "shift by a constant, or choose between a few with `match`",
            );
            return Val::Unknown;
        };
        match left {
            Val::Int(value, at) => self.fold_untyped(op, value, by, at, span),
            Val::Scalar(left) if matches!(left.ty, Type::Uint(_)) => {
                if by >= u128::from(left.ty.bits()) {
                    let width = left.ty.bits();
                    self.diagnostics.report(
                        codes::SHIFT,
                        tokens,
                        format!("this shifts all {width} bits out"),
                        format!("shift by less than {width}"),
                    );
                    return Val::Unknown;
                }
                let ty = left.ty;
                let by = ir::Expr { kind: ExprKind::Const(by), ty: Type::Uint(32), span: tokens.span() };
                Val::Scalar(binary(op, left, by, ty, span))
            }
            other => {
                self.wrong_operand(span, "<<", &other);
                Val::Unknown
            }
        }
    }

    /// Two numbers that have not met a type yet.
    fn fold_untyped(&mut self, op: BinaryOp, a: u128, b: u128, at: Span, span: Span) -> Val {
        let number = match op {
            BinaryOp::Add => a.checked_add(b),
            BinaryOp::Sub => a.checked_sub(b),
            BinaryOp::Mul => a.checked_mul(b),
            BinaryOp::Shl => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)),
            BinaryOp::Shr => u32::try_from(b).ok().and_then(|b| a.checked_shr(b)),
            BinaryOp::And => Some(a & b),
            BinaryOp::Or => Some(a | b),
            BinaryOp::Xor => Some(a ^ b),
            _ => return super::expr::constant(fold(op, a, b, Type::Uint(64)).unwrap_or(0), Type::Bool, span),
        };
        match number {
            Some(number) => Val::Int(number, at),
            None => {
                self.diagnostics.report_at(
                    codes::LITERAL_RANGE,
                    span,
                    "the result of these two constants is no unsigned number",
                    "check the two numbers",
                );
                Val::Unknown
            }
        }
    }

    pub(super) fn cast(&mut self, item: &ExprCast) -> Val {
        let ty = types::read(&item.ty, &self.module.aliases, "the target of `as`", self.diagnostics);
        let value = self.expr(&item.expr, Want::Value(None));
        let Some(ty) = ty else { return Val::Unknown };
        match value {
            Val::Int(value, at) => self.sized(value, ty, at).map_or(Val::Unknown, Val::Scalar),
            Val::Scalar(value) if matches!((value.ty, ty), (Type::Uint(_) | Type::Bool, Type::Uint(_))) => {
                Val::Scalar(convert(value, ty, item.as_token.span))
            }
            Val::Unknown | Val::Never => Val::Unknown,
            _ => {
                self.diagnostics.report(
                    codes::CAST,
                    item.as_token,
                    "`as` converts between integers, and from `bool` to an integer",
                    "write `u32::from(addr)` or `Ipv4Addr::from(number)` for addresses, `x != 0` for a `bool`",
                );
                Val::Unknown
            }
        }
    }
}

/// All ones of a type's width.
pub(super) fn mask(ty: Type) -> u128 {
    u128::MAX >> (128 - u32::from(ty.bits().clamp(1, 128)))
}

/// A change of type that keeps or cuts bits; constants are folded.
pub(super) fn convert(value: ir::Expr, ty: Type, span: Span) -> ir::Expr {
    if value.ty == ty {
        return value;
    }
    let kind = match value.kind {
        ExprKind::Const(number) => ExprKind::Const(number & mask(ty)),
        _ => ExprKind::Cast(Box::new(value)),
    };
    ir::Expr { kind, ty, span }
}

/// A binary operation; constants are folded.
pub(super) fn binary(op: BinaryOp, left: ir::Expr, right: ir::Expr, ty: Type, span: Span) -> ir::Expr {
    let folded = match (&left.kind, &right.kind) {
        (ExprKind::Const(a), ExprKind::Const(b)) => fold(op, *a, *b, left.ty),
        _ => None,
    };
    let kind = match folded {
        Some(value) => ExprKind::Const(value & mask(ty)),
        None => ExprKind::Binary(op, Box::new(left), Box::new(right)),
    };
    ir::Expr { kind, ty, span }
}

/// Logical or bitwise not; constants are folded.
pub(super) fn not(value: ir::Expr, span: Span) -> ir::Expr {
    let ty = value.ty;
    let kind = match value.kind {
        ExprKind::Const(number) => ExprKind::Const(!number & mask(ty)),
        _ => ExprKind::Not(Box::new(value)),
    };
    ir::Expr { kind, ty, span }
}

/// The value at the width of `ty`, wrapping.
fn fold(op: BinaryOp, a: u128, b: u128, ty: Type) -> Option<u128> {
    let value = match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => a.checked_shl(u32::try_from(b).ok()?)?,
        BinaryOp::Shr => a.checked_shr(u32::try_from(b).ok()?)?,
        BinaryOp::Eq => u128::from(a == b),
        BinaryOp::Ne => u128::from(a != b),
        BinaryOp::Lt => u128::from(a < b),
        BinaryOp::Le => u128::from(a <= b),
        BinaryOp::Gt => u128::from(a > b),
        BinaryOp::Ge => u128::from(a >= b),
        BinaryOp::AndAlso => u128::from(a != 0 && b != 0),
        BinaryOp::OrElse => u128::from(a != 0 || b != 0),
    };
    Some(value & mask(ty))
}

fn is_comparison(op: &BinOp) -> bool {
    matches!(op, BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_))
}

fn allowed(op: BinaryOp, ty: Type) -> bool {
    match op {
        BinaryOp::Eq | BinaryOp::Ne => true,
        BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => ty != Type::Bool,
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => matches!(ty, Type::Bool | Type::Uint(_)),
        BinaryOp::AndAlso | BinaryOp::OrElse => ty == Type::Bool,
        _ => matches!(ty, Type::Uint(_)),
    }
}
