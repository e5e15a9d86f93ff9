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

/// What is true if this is not.
pub(super) fn negated(app: &App, expr: &Expr) -> String {
    not(app, expr).text
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
        ExprKind::Header(field) => Some(names::field(app.headers, *field)),
        ExprKind::State(index) => Some(names::state(app, *index)),
        _ => None,
    }
}

fn lower(app: &App, expr: &Expr) -> Text {
    match &expr.kind {
        ExprKind::Const(constant) => Text::atom(literal(app, *constant, expr.ty)),
        ExprKind::Local(local) => Text::atom(names::local(app, *local)),
        ExprKind::Header(_) | ExprKind::State(_) => stored(app, expr, 1),
        ExprKind::Valid(header) => Text::atom(format!("{}.isValid()", names::header(app.headers, *header))),
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

fn literal(app: &App, constant: u128, ty: Type) -> String {
    match ty {
        Type::Enum(index) => names::variant(&app.enums[index], constant),
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
        ExprKind::Const(constant) if !matches!(expr.ty, Type::Bool | Type::Enum(_)) => {
            Text::atom(format!("{}w{}", expr.ty.bits(), literal(app, *constant, expr.ty)))
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
            literal(app, kept, to)
        } else {
            format!("{}w{}", to.bits(), literal(app, kept, to))
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

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;
    use crate::ir::HeaderField;
    use crate::packet::{HEADERS, header};

    /// Any app will do: nothing here looks into it.
    fn app() -> App {
        let file = syn::parse_file(include_str!("../../../tests/fixtures/gate/input.rs")).expect("Rust");
        let syn::Item::Mod(mut module) = file.items.into_iter().next().expect("a module") else {
            panic!("the fixture is a module")
        };
        let attribute = module.attrs.pop().expect("the module is an app");
        let arguments = attribute.meta.require_list().expect("`app(id = …)`").tokens.clone();
        crate::parse_app(arguments, &module).unwrap_or_else(|errors| panic!("{}", errors.to_compile_errors()))
    }

    fn expr(kind: ExprKind, ty: Type) -> Expr {
        Expr { kind, ty, span: Span::call_site() }
    }

    fn ipv4(name: &str) -> Expr {
        let id = header("ipv4").expect("a standard header");
        let field = HEADERS[id].fields.iter().position(|(known, _)| *known == name).expect("a field of it");
        expr(ExprKind::Header(HeaderField { header: id, field }), HEADERS[id].fields[field].1)
    }

    fn number(constant: u128, ty: Type) -> Expr {
        expr(ExprKind::Const(constant), ty)
    }

    fn binary(op: BinaryOp, left: Expr, right: Expr, ty: Type) -> Expr {
        expr(ExprKind::Binary(op, Box::new(left), Box::new(right)), ty)
    }

    fn check(expression: &Expr, value_text: &str, bits_text: &str) {
        let app = app();
        assert_eq!(value(&app, expression), value_text);
        assert_eq!(bits(&app, expression), bits_text);
    }

    #[test]
    fn a_stored_bool_is_a_bit() {
        let flag = ipv4("more_fragments");
        check(&flag, "hdr.ipv4.more_fragments == 1", "hdr.ipv4.more_fragments");
        let not = expr(ExprKind::Not(Box::new(flag.clone())), Type::Bool);
        check(&not, "hdr.ipv4.more_fragments == 0", "(bit<1>)(hdr.ipv4.more_fragments == 0)");
        check(&number(1, Type::Bool), "true", "1");
        let widened = expr(ExprKind::Cast(Box::new(flag)), Type::Uint(8));
        check(&widened, "(bit<8>)hdr.ipv4.more_fragments", "(bit<8>)hdr.ipv4.more_fragments");
    }

    #[test]
    fn parentheses_stand_where_readers_differ() {
        let byte = Type::Uint(8);
        let sum = binary(BinaryOp::Add, ipv4("ttl"), ipv4("protocol"), byte);
        let longer = binary(BinaryOp::Add, sum.clone(), number(1, byte), byte);
        check(&longer, "hdr.ipv4.ttl + hdr.ipv4.protocol + 1", "hdr.ipv4.ttl + hdr.ipv4.protocol + 1");
        let right = binary(BinaryOp::Sub, number(9, byte), sum, byte);
        let small = binary(BinaryOp::Lt, right, number(3, byte), Type::Bool);
        let text = "(9 - (hdr.ipv4.ttl + hdr.ipv4.protocol)) < 3";
        check(&small, text, &format!("(bit<1>)({text})"));
        let either = binary(BinaryOp::OrElse, small.clone(), small.clone(), Type::Bool);
        let both = binary(BinaryOp::AndAlso, either, small, Type::Bool);
        assert_eq!(value(&app(), &both), format!("({text} || {text}) && {text}"));
    }

    #[test]
    fn constants_have_a_width_where_p4_asks_for_one() {
        let word = Type::Uint(16);
        let shifted = binary(BinaryOp::Shl, number(1, word), number(3, Type::Uint(32)), word);
        assert_eq!(value(&app(), &shifted), "16w1 << 3");
        let cast = expr(ExprKind::Cast(Box::new(number(0x1_2345, Type::Uint(32)))), word);
        assert_eq!(value(&app(), &cast), format!("16w{}", 0x2345));
        assert_eq!(value(&app(), &number(0x0a00_0001, Type::Ipv4)), "0x0a000001");
    }
}
