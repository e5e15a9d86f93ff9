//! Methods: verdicts, look-ups, headers, numbers.

use syn::spanned::Spanned;
use syn::{BinOp, Expr, ExprMethodCall, Lit};

use super::arithmetic::convert;
use super::stmt::valid;
use super::{Borrow, Checker, Val, Want};
use crate::codes;
use crate::ir::{self, Shape, Type, Verdict};
use crate::tree::NodeKind;
use crate::types;
use crate::words;

const VERDICTS: [&str; 6] = ["forward", "via", "to", "reply", "recirculate", "drop"];

impl Checker<'_> {
    pub(super) fn method(&mut self, item: &ExprMethodCall, want: Want) -> Val {
        let whole = Expr::MethodCall(item.clone());
        if let Some(call) = self.lease_call(&whole) {
            // Without `?`; with it, `question` is on the way.
            return self.lease_always(&call);
        }
        let name = item.method.to_string();
        let receiver = self.expr(&item.receiver, Want::Value(None));
        match receiver {
            Val::Context => self.verdict(&name, item, want),
            Val::Table(table) => self.lookup(table, &name, item),
            Val::MaybeHeader { id, .. } => self.header_method(id, &name, item),
            Val::Scalar(value) => self.number_method(value, &name, item),
            Val::Int(_, at) => {
                self.unknown_width(at);
                Val::Unknown
            }
            Val::Unknown | Val::Never => {
                for argument in &item.args {
                    self.expr(argument, Want::Value(None));
                }
                Val::Unknown
            }
            Val::Handle => self.unknown_method(item, "the state", &["lease", "find"]),
            Val::Header { .. } => self.unknown_method(item, "a header", &[]),
            Val::State | Val::Record(..) => self.unknown_method(item, "a record", &[]),
            Val::Packet { .. } => self.unknown_method(item, "the packet", &[]),
            Val::Unit => self.unknown_method(item, "nothing", &[]),
        }
    }

    fn unknown_method(&mut self, item: &ExprMethodCall, what: &str, known: &[&str]) -> Val {
        let name = item.method.to_string();
        let help = match name.as_str() {
            "into" => "say the type: `u32::from(x)`".to_owned(),
            "clone" | "to_owned" => "values are copied by themselves: leave it out".to_owned(),
            "checked_add" | "saturating_add" | "overflowing_add" => {
                "compare first: `if a > u16::MAX - b { .. }`; `+` wraps here".to_owned()
            }
            "checked_sub" | "saturating_sub" | "overflowing_sub" => {
                "compare first: `if a < b { 0 } else { a - b }`; `-` wraps here".to_owned()
            }
            "min" | "max" => "write `if a < b { a } else { b }`".to_owned(),
            _ if known.is_empty() => "use its fields".to_owned(),
            _ => words::suggest(&name, "methods", known.iter().copied()),
        };
        self.diagnostics.report_at(
            codes::METHOD,
            item.method.span(),
            format!("{what} has no method `{name}` on a switch"),
            help,
        );
        Val::Unknown
    }

    fn verdict(&mut self, name: &str, item: &ExprMethodCall, want: Want) -> Val {
        if !VERDICTS.contains(&name) {
            return self.unknown_method(item, "the context", &VERDICTS);
        }
        let span = item.method.span();
        let verdict = match (name, item.args.len()) {
            ("forward", 0) => Some(Verdict::Forward),
            ("reply", 0) => Some(Verdict::Reply),
            ("recirculate", 0) => Some(Verdict::Recirculate),
            ("via", 1) => {
                let addr = self.expr(&item.args[0], Want::Value(Some(Type::Ipv4)));
                self.coerce(addr, Type::Ipv4, &item.args[0]).map(Verdict::Via)
            }
            ("to", 1) => {
                let port = self.expr(&item.args[0], Want::Value(Some(Type::Uint(16))));
                self.coerce(port, Type::Uint(16), &item.args[0]).map(Verdict::To)
            }
            ("drop", _) => self.reason(item).map(Verdict::Drop),
            _ => {
                self.diagnostics.report_at(
                    codes::ARGUMENTS,
                    span,
                    format!("`{name}` is called with the wrong number of arguments"),
                    match name {
                        "to" => "write `cx.to(port)`".to_owned(),
                        "via" => "write `cx.via(addr)`".to_owned(),
                        _ => format!("write `cx.{name}()`"),
                    },
                );
                None
            }
        };
        if want != Want::Verdict {
            self.diagnostics.report_at(
                codes::UNUSED_VERDICT,
                span,
                "this verdict is not returned, so it would not be carried out",
                match name {
                    "to" | "via" | "drop" => format!("write `return cx.{name}(..)`"),
                    _ => format!("write `return cx.{name}()`"),
                },
            );
            return Val::Unknown;
        }
        let Some(verdict) = verdict else { return Val::Unknown };
        self.emit(NodeKind::Finish(verdict), span);
        Val::Never
    }

    /// Index of the reason in the app's list.
    fn reason(&mut self, item: &ExprMethodCall) -> Option<usize> {
        let literal = match item.args.first() {
            Some(Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. })) if item.args.len() == 1 => text,
            other => {
                let message = "a dropped packet is counted under a reason, and this names none";
                let help = "write it as a literal: `cx.drop(\"not_ours\")`";
                match other {
                    Some(argument) => self.diagnostics.report(codes::DROP_REASON, argument, message, help),
                    None => self.diagnostics.report_at(codes::DROP_REASON, item.method.span(), message, help),
                }
                return None;
            }
        };
        let reason = literal.value();
        if !words::is_snake_case(&reason) {
            self.diagnostics.report(
                codes::REASON_CASE,
                literal,
                "a reason names a counter in every target, so it is `snake_case`",
                format!("write `\"{}\"`", spelled(&reason)),
            );
            return None;
        }
        Some(self.reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
            self.reasons.push(reason);
            self.reasons.len() - 1
        }))
    }

    fn lookup(&mut self, table: usize, name: &str, item: &ExprMethodCall) -> Val {
        if name != "lookup" {
            return self.unknown_method(item, "a table", &["lookup"]);
        }
        let span = item.method.span();
        if item.args.len() != 1 {
            let message = "`lookup` takes one key";
            self.diagnostics.report_at(codes::ARGUMENTS, span, message, "write `cx.table.lookup(key)`");
            return Val::Unknown;
        }
        let Some(key) = self.lookup_key(table, &item.args[0]) else { return Val::Unknown };
        let found = &self.module.tables[table];
        let (handle, value) = (found.handle.clone(), found.value.clone());
        match value {
            Shape::Word(ty) => {
                let into = self.new_fresh(&handle, ty, span);
                self.emit(NodeKind::Lookup { table, key, into: vec![into] }, span);
                Val::Scalar(self.read_local(into, span))
            }
            Shape::Record(record) => {
                let Some(which) = self.which(&record.name) else { return Val::Unknown };
                let fields = record.fields.iter();
                let into: Vec<_> = fields
                    .map(|field| self.new_fresh(&format!("{handle}_{}", field.name), field.ty, span))
                    .collect();
                self.emit(NodeKind::Lookup { table, key, into: into.clone() }, span);
                Val::Record(which, into.into_iter().map(|local| self.read_local(local, span)).collect())
            }
        }
    }

    /// One expression for each column.
    fn lookup_key(&mut self, table: usize, argument: &Expr) -> Option<Vec<ir::Expr>> {
        match self.module.tables[table].key.clone() {
            Shape::Word(ty) => {
                let key = self.expr(argument, Want::Value(Some(ty)));
                self.coerce(key, ty, argument).map(|key| vec![key])
            }
            Shape::Record(record) => match self.expr(argument, Want::Value(None)) {
                Val::Record(which, fields) if self.which(&record.name) == Some(which) => Some(fields),
                Val::Unknown | Val::Never => None,
                _ => {
                    self.mismatch(argument.span(), &record.name, "something else");
                    None
                }
            },
        }
    }

    fn header_method(&mut self, id: usize, name: &str, item: &ExprMethodCall) -> Val {
        let span = item.span();
        match name {
            "is_some" => Val::Scalar(valid(id, span)),
            "is_none" => Val::Scalar(super::arithmetic::not(valid(id, span), span)),
            "as_ref" => Val::MaybeHeader { id, borrow: Borrow::Shared },
            "as_mut" => Val::MaybeHeader { id, borrow: Borrow::Mutable },
            "unwrap" | "expect" | "unwrap_or_default" | "unwrap_or" => {
                self.unchecked_header(id, item.method.span());
                Val::Unknown
            }
            _ => self.unknown_method(item, "an optional header", &["is_some", "is_none", "as_ref", "as_mut"]),
        }
    }

    fn number_method(&mut self, value: ir::Expr, name: &str, item: &ExprMethodCall) -> Val {
        const KNOWN: [&str; 5] = ["wrapping_add", "wrapping_sub", "wrapping_mul", "value", "to_bits"];
        let span = item.method.span();
        let ty = value.ty;
        let arguments: Vec<&Expr> = item.args.iter().collect();
        match (ty, name, &arguments[..]) {
            (Type::Uint(_), "wrapping_add", [other]) => {
                self.wrapping(BinOp::Add(syn::Token![+](span)), value, other)
            }
            (Type::Uint(_), "wrapping_sub", [other]) => {
                self.wrapping(BinOp::Sub(syn::Token![-](span)), value, other)
            }
            (Type::Uint(_), "wrapping_mul", [other]) => {
                self.wrapping(BinOp::Mul(syn::Token![*](span)), value, other)
            }
            (Type::Uint(width), "value", []) if !types::is_primitive(ty) => {
                Val::Scalar(convert(value, Type::Uint(primitive(width)), span))
            }
            (Type::Uint(_), "as_u8", []) => Val::Scalar(convert(value, Type::Uint(8), span)),
            (Type::Uint(_), "as_u16", []) => Val::Scalar(convert(value, Type::Uint(16), span)),
            (Type::Uint(_), "as_u32", []) => Val::Scalar(convert(value, Type::Uint(32), span)),
            (Type::Uint(_), "as_u64", []) => Val::Scalar(convert(value, Type::Uint(64), span)),
            (Type::Ipv4, "to_bits", []) => Val::Scalar(convert(value, Type::Uint(32), span)),
            _ => {
                for argument in arguments {
                    self.expr(argument, Want::Value(Some(ty)));
                }
                self.unknown_method(item, &format!("`{}`", self.shown(ty)), &KNOWN)
            }
        }
    }

    fn wrapping(&mut self, op: BinOp, left: ir::Expr, right: &Expr) -> Val {
        let value = self.expr(right, Want::Value(Some(left.ty)));
        self.operate(&op, Val::Scalar(left), value, right)
    }
}

/// The primitive integer that holds an odd width.
fn primitive(width: u16) -> u16 {
    width.next_power_of_two().max(8)
}

/// A `snake_case` word near to what was written.
fn spelled(reason: &str) -> String {
    let spaced: String = reason.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let word = words::snake_case(&spaced);
    let word = word.trim_matches('_');
    if words::is_snake_case(word) { word.to_owned() } else { format!("reason_{word}") }
}
