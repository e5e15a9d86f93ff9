//! Expressions. A `bool` of the IR is a `bool` in P4, except where it lies in a header, in the key or in the state:
//! there it is one bit.

use super::names;
use crate::ir::{App, BinaryOp, Expr, ExprKind, Type};

/// How tightly text binds; what binds less than its place asks for gets parentheses. Coarser than P4's own order on
/// purpose: nobody should have to know that one to read this.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Binding {
    Or,
    And,
    Comparison,
    Arithmetic,
    Unary,
    Atom,
}

struct Text {
    text: String,
    binding: Binding,
}

impl Text {
    fn atom(text: String) -> Self {
        Text { text, binding: Binding::Atom }
    }

    /// This text where at least `binding` is asked for.
    fn within(self, binding: Binding) -> String {
        if self.binding >= binding { self.text } else { format!("({})", self.text) }
    }
}

/// The type that a local has.
pub(super) fn local_type(ty: Type) -> String {
    if ty == Type::Bool { "bool".to_owned() } else { bits_type(ty) }
}

/// The type that a field or a control plane parameter has.
pub(super) fn bits_type(ty: Type) -> String {
    format!("bit<{}>", ty.bits())
}

/// A value, `bool` or bits by its type.
pub(super) fn value(app: &App, expr: &Expr) -> String {
    lower(app, expr).text
}

/// A value as bits, to be stored in a header, in the key or in the state.
pub(super) fn bits(app: &App, expr: &Expr) -> String {
    match &expr.kind {
        _ if expr.ty != Type::Bool => value(app, expr),
        ExprKind::Const(constant) => constant.to_string(),
        _ => {
            place(app, expr).unwrap_or_else(|| format!("(bit<1>){}", lower(app, expr).within(Binding::Atom)))
        }
    }
}

/// Where a stored value lies, if it is one.
fn place(app: &App, expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Header(field) => Some(names::field(*field)),
        ExprKind::State(index) => Some(names::state(app, *index)),
        _ => None,
    }
}

fn lower(app: &App, expr: &Expr) -> Text {
    match &expr.kind {
        ExprKind::Const(constant) => Text::atom(literal(*constant, expr.ty)),
        ExprKind::Local(local) => Text::atom(names::local(app, *local)),
        ExprKind::Header(_) | ExprKind::State(_) => stored(app, expr, 1),
        ExprKind::Valid(header) => {
            Text::atom(format!("hdr.{}.isValid()", crate::packet::HEADERS[*header].name))
        }
        ExprKind::IngressPort => Text::atom("meta.pass.port".to_owned()),
        ExprKind::Not(inner) => not(app, inner),
        ExprKind::Binary(op, left, right) => binary(app, *op, left, right),
        ExprKind::Cast(inner) => cast(app, expr.ty, inner),
    }
}

/// A stored value; a stored `bool` compared with what it should be.
fn stored(app: &App, expr: &Expr, expected: u8) -> Text {
    let path = place(app, expr).expect("only called for stored values");
    if expr.ty == Type::Bool {
        Text { text: format!("{path} == {expected}"), binding: Binding::Comparison }
    } else {
        Text::atom(path)
    }
}

fn literal(constant: u128, ty: Type) -> String {
    match ty {
        Type::Bool => (constant != 0).to_string(),
        Type::Ipv4 => format!("0x{constant:08x}"),
        Type::Mac => format!("0x{constant:012x}"),
        Type::Ipv6 => format!("0x{constant:032x}"),
        Type::Uint(_) if constant > 0xffff => format!("{constant:#x}"),
        Type::Uint(_) => constant.to_string(),
    }
}

/// An operand whose width P4 cannot take from its neighbour.
fn sized(app: &App, expr: &Expr) -> Text {
    match &expr.kind {
        ExprKind::Const(constant) if expr.ty != Type::Bool => {
            Text::atom(format!("{}w{}", expr.ty.bits(), literal(*constant, expr.ty)))
        }
        _ => lower(app, expr),
    }
}

fn not(app: &App, inner: &Expr) -> Text {
    match &inner.kind {
        ExprKind::Header(_) | ExprKind::State(_) if inner.ty == Type::Bool => stored(app, inner, 0),
        _ => {
            let sign = if inner.ty == Type::Bool { '!' } else { '~' };
            let text = format!("{sign}{}", sized(app, inner).within(Binding::Unary));
            Text { text, binding: Binding::Unary }
        }
    }
}

fn binary(app: &App, op: BinaryOp, left: &Expr, right: &Expr) -> Text {
    let (sign, binding) = sign(op, left.ty);
    let both_constant = matches!((&left.kind, &right.kind), (ExprKind::Const(_), ExprKind::Const(_)));
    let shift = matches!(op, BinaryOp::Shl | BinaryOp::Shr);
    let first = if both_constant || shift { sized(app, left) } else { lower(app, left) };
    // A chain of one operator reads without parentheses, as `&&` and `||` do and `+` does.
    let same =
        matches!(&left.kind, ExprKind::Binary(inner, ..) if *inner == op) && binding != Binding::Comparison;
    let first = if same { first.text } else { first.within(above(binding)) };
    let second = lower(app, right).within(above(binding));
    Text { text: format!("{first} {sign} {second}"), binding }
}

/// What an operand must bind like to stand beside an operator without parentheses.
fn above(binding: Binding) -> Binding {
    match binding {
        Binding::Or | Binding::And => Binding::Comparison,
        Binding::Comparison | Binding::Arithmetic | Binding::Unary | Binding::Atom => Binding::Unary,
    }
}

fn sign(op: BinaryOp, operands: Type) -> (&'static str, Binding) {
    let logical = operands == Type::Bool;
    match op {
        BinaryOp::Add => ("+", Binding::Arithmetic),
        BinaryOp::Sub => ("-", Binding::Arithmetic),
        BinaryOp::Mul => ("*", Binding::Arithmetic),
        BinaryOp::And if logical => ("&&", Binding::And),
        BinaryOp::Or if logical => ("||", Binding::Or),
        BinaryOp::Xor if logical => ("!=", Binding::Comparison),
        BinaryOp::And => ("&", Binding::Arithmetic),
        BinaryOp::Or => ("|", Binding::Arithmetic),
        BinaryOp::Xor => ("^", Binding::Arithmetic),
        BinaryOp::Shl => ("<<", Binding::Arithmetic),
        BinaryOp::Shr => (">>", Binding::Arithmetic),
        BinaryOp::Eq => ("==", Binding::Comparison),
        BinaryOp::Ne => ("!=", Binding::Comparison),
        BinaryOp::Lt => ("<", Binding::Comparison),
        BinaryOp::Le => ("<=", Binding::Comparison),
        BinaryOp::Gt => (">", Binding::Comparison),
        BinaryOp::Ge => (">=", Binding::Comparison),
        BinaryOp::AndAlso => ("&&", Binding::And),
        BinaryOp::OrElse => ("||", Binding::Or),
    }
}

fn cast(app: &App, to: Type, inner: &Expr) -> Text {
    if let ExprKind::Const(constant) = inner.kind {
        let kept = if to.bits() < 128 { constant & ((1 << to.bits()) - 1) } else { constant };
        return Text::atom(if to == Type::Bool {
            literal(kept, to)
        } else {
            format!("{}w{}", to.bits(), literal(kept, to))
        });
    }
    match (inner.ty, to) {
        (from, to) if from.bits() == to.bits() && (from == Type::Bool) == (to == Type::Bool) => {
            lower(app, inner)
        }
        (_, Type::Bool) => Text {
            text: format!("(bit<1>){} == 1", lower(app, inner).within(Binding::Unary)),
            binding: Binding::Comparison,
        },
        (Type::Bool, _) => {
            let bit = place(app, inner)
                .unwrap_or_else(|| format!("(bit<1>){}", lower(app, inner).within(Binding::Unary)));
            Text { text: format!("({}){bit}", bits_type(to)), binding: Binding::Unary }
        }
        _ => Text {
            text: format!("({}){}", bits_type(to), lower(app, inner).within(Binding::Unary)),
            binding: Binding::Unary,
        },
    }
}
