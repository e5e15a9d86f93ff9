//! Calls of functions: conversions, and functions of the module.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Expr, ExprCall};

use super::arithmetic::convert;
use super::{Checker, Val, Want};
use crate::codes;
use crate::ir::{self, ExprKind, Type};
use crate::types;

impl Checker<'_> {
    pub(super) fn call(&mut self, item: &ExprCall, want: Want) -> Val {
        let Expr::Path(path) = &*item.func else {
            self.arguments_only(item);
            self.unknown_call(&item.func, "this");
            return Val::Unknown;
        };
        let segments: Vec<String> = path.path.segments.iter().map(|s| s.ident.to_string()).collect();
        match &segments[..] {
            [name] if self.module.functions.contains_key(name) => {
                let span = path.path.segments[0].ident.span();
                self.inline(name, item, want, span)
            }
            [.., owner, name] => match types::named(owner) {
                Some(ty) => self.conversion(ty, name, item, path.span()),
                None => {
                    self.arguments_only(item);
                    self.unknown_call(path, &segments.join("::"));
                    Val::Unknown
                }
            },
            _ => {
                self.arguments_only(item);
                self.unknown_call(path, &segments.join("::"));
                Val::Unknown
            }
        }
    }

    /// The call is not understood; its arguments may still have mistakes of their own.
    fn arguments_only(&mut self, item: &ExprCall) {
        for argument in &item.args {
            self.expr(argument, Want::Value(None));
        }
    }

    fn unknown_call(&mut self, tokens: impl quote::ToTokens, name: &str) {
        let help = match name {
            "Ok" | "Err" => "return the verdict as it is: `cx.forward()`",
            "Some" | "None" => "headers are there or not; use `if let Some(h) = &pkt.h`",
            _ => {
                "call an `#[inline]` function of this module, one of the library such as `five_tuple(pkt)`, or a conversion \
                 such as `u32::from(x)`"
            }
        };
        self.diagnostics.report(
            codes::CALL,
            tokens,
            format!("`{name}` cannot be called on a switch: its code is not part of the app"),
            help,
        );
    }

    /// `u13::new(0)`, `u16::from(x)`, `Ipv4Addr::new(10, 0, 0, 1)`.
    fn conversion(&mut self, ty: Type, name: &str, item: &ExprCall, span: Span) -> Val {
        let arguments: Vec<&Expr> = item.args.iter().collect();
        match (ty, name, &arguments[..]) {
            (Type::Uint(_), "new" | "from_u8" | "from_u16" | "from_u32" | "from_u64", [value]) => {
                self.checked_new(ty, name, value)
            }
            (Type::Uint(_), "masked_new", [value]) => self.converted(ty, value, span, |_| true),
            (Type::Uint(width), "from", [value]) => self.converted(ty, value, span, |from| match from {
                Type::Bool => true,
                Type::Uint(bits) => bits <= width,
                Type::Ipv4 => width == 32,
                _ => false,
            }),
            (Type::Ipv4, "from" | "from_bits", [value]) => {
                self.converted(ty, value, span, |from| from == Type::Uint(32) || from == Type::Ipv4)
            }
            (Type::Ipv4, "new", [a, b, c, d]) => self.dotted([a, b, c, d], span),
            _ => {
                self.arguments_only(item);
                self.unknown_call(&item.func, &format!("{}::{name}", self.shown(ty)));
                Val::Unknown
            }
        }
    }

    /// Natively `new` panics on what does not fit, so it must be known to fit.
    fn checked_new(&mut self, ty: Type, name: &str, argument: &Expr) -> Val {
        let value = self.expr(argument, Want::Value(None));
        match value {
            Val::Int(value, at) => self.sized(value, ty, at).map_or(Val::Unknown, Val::Scalar),
            Val::Scalar(ir::Expr { kind: ExprKind::Const(value), span, .. }) => {
                self.sized(value, ty, span).map_or(Val::Unknown, Val::Scalar)
            }
            Val::Unknown | Val::Never => Val::Unknown,
            _ => {
                let shown = self.shown(ty);
                self.diagnostics.report(
                    codes::CAST,
                    argument,
                    format!("`{shown}::{name}` stops the program when the number does not fit; a switch cannot stop"),
                    format!("cut it: `x as {shown}`"),
                );
                Val::Unknown
            }
        }
    }

    fn converted(&mut self, ty: Type, argument: &Expr, span: Span, fits: impl Fn(Type) -> bool) -> Val {
        let value = self.expr(argument, Want::Value(None));
        match value {
            Val::Int(value, at) => {
                let number = match ty {
                    Type::Uint(_) => self.sized(value, ty, at),
                    _ => self.sized(value, Type::Uint(32), at).map(|value| convert(value, ty, span)),
                };
                number.map_or(Val::Unknown, Val::Scalar)
            }
            Val::Scalar(value) if fits(value.ty) => Val::Scalar(convert(value, ty, span)),
            Val::Scalar(value) => {
                let (from, to) = (self.shown(value.ty), self.shown(ty));
                self.diagnostics.report(
                    codes::CAST,
                    argument,
                    format!("`{from}` does not always fit `{to}`"),
                    format!("cut it with `x as {to}` if that is meant"),
                );
                Val::Unknown
            }
            other => self.coerce_value(other, ty, argument),
        }
    }

    fn dotted(&mut self, parts: [&Expr; 4], span: Span) -> Val {
        let mut address = Some(0);
        for part in parts {
            let value = self.expr(part, Want::Value(Some(Type::Uint(8))));
            let value = self.coerce(value, Type::Uint(8), part);
            address = match value.map(|value| value.kind) {
                Some(ExprKind::Const(octet)) => address.map(|address| address << 8 | octet),
                Some(_) => {
                    self.diagnostics.report(
                        codes::CONSTANT,
                        part,
                        "the parts of an address are constants here",
                        "compute with `u32::from(addr)`",
                    );
                    None
                }
                None => None,
            };
        }
        address.map_or(Val::Unknown, |address| super::expr::constant(address, Type::Ipv4, span))
    }
}
