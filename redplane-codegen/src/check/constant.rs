//! Values that are known when the handler is compiled.

use proc_macro2::Span;
use syn::{Expr, ExprPath, ItemConst};

use super::{Binding, Checker, Frame, Returns, Val, Want};
use crate::codes;
use crate::ir::{ExprKind, Type};
use crate::types;
use crate::words;

impl Checker<'_> {
    /// A `const` of the module.
    pub(super) fn named_constant(&mut self, name: &str, span: Span) -> Val {
        let Some(item) = self.module.constants.get(name).copied() else { return Val::Unknown };
        if self.open_constants.iter().any(|open| open == name) {
            let message = format!("the constant `{name}` is defined by itself");
            self.diagnostics.report_at(codes::CONSTANT, span, message, "give it a value");
            return Val::Unknown;
        }
        self.open_constants.push(name.to_owned());
        let scopes = std::mem::take(&mut self.scopes);
        let value = self.constant_item(item);
        self.scopes = scopes;
        self.open_constants.pop();
        value.map_or(Val::Unknown, |(value, ty)| super::expr::constant(value, ty, span))
    }

    /// Value and type of a `const` item.
    pub(super) fn constant_item(&mut self, item: &ItemConst) -> Option<(u128, Type)> {
        let ty = types::read(&item.ty, &self.module.aliases, "a constant of a handler", self.diagnostics)?;
        self.frames.push(Frame { name: item.ident.to_string(), returns: Returns::Value });
        let (nodes, value) = self.sub(|checker| {
            let value = checker.expr(&item.expr, Want::Value(Some(ty)));
            checker.coerce(value, ty, &item.expr)
        });
        self.frames.pop();
        let value = value?;
        match value.kind {
            ExprKind::Const(value) if nodes.is_empty() => Some((value, ty)),
            _ => {
                self.diagnostics.report(
                    codes::CONSTANT,
                    &item.expr,
                    "the value of this constant is not known to the app's compiler",
                    "write a number, or an expression of numbers and other constants",
                );
                None
            }
        }
    }

    /// A number that is known now; silent if it is not.
    pub(super) fn constant_value(&mut self, expr: &Expr) -> Option<u128> {
        match self.expr(expr, Want::Value(None)) {
            Val::Int(value, _) => Some(value),
            Val::Scalar(value) => match value.kind {
                ExprKind::Const(value) => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn is_constant(&self, name: &str) -> bool {
        matches!(self.find(name), Some(Binding::Constant(..))) || self.module.constants.contains_key(name)
    }

    /// `Phase::Open`
    fn variant(&mut self, index: usize, name: &str, span: Span) -> Val {
        let known = &self.module.aliases.enums[index];
        if let Some(variant) = known.variants.iter().find(|variant| variant.name == name) {
            return super::expr::constant(variant.value.into(), Type::Enum(index), span);
        }
        let message = format!("`{}` has no variant `{name}`", known.name);
        let help =
            words::suggest(name, "variants", known.variants.iter().map(|variant| variant.name.as_str()));
        self.diagnostics.report_at(codes::UNKNOWN_NAME, span, message, help);
        Val::Unknown
    }

    /// `u16::MAX`, `Ipv4Addr::UNSPECIFIED`.
    pub(super) fn associated_constant(&mut self, item: &ExprPath) -> Val {
        let segments: Vec<String> = item.path.segments.iter().map(|s| s.ident.to_string()).collect();
        let span = item.path.segments.last().map_or_else(Span::call_site, |last| last.ident.span());
        if let [.., owner, name] = &segments[..] {
            if let Some(index) = self.module.aliases.enumeration(owner) {
                return self.variant(index, name, span);
            }
            if self.module.aliases.odd_enums.contains_key(owner) {
                // Reported where it is stored, or by the type that it stands for here.
                let path = syn::TypePath { qself: None, path: syn::Ident::new(owner, span).into() };
                types::read(&path.into(), &self.module.aliases, "a value", self.diagnostics);
                return Val::Unknown;
            }
            if let Some(ty) = types::named(owner) {
                let value = match (ty, name.as_str()) {
                    (Type::Uint(_), "MAX") | (Type::Ipv4, "BROADCAST") => Some(super::arithmetic::mask(ty)),
                    (Type::Uint(_), "MIN") | (Type::Ipv4 | Type::Ipv6, "UNSPECIFIED") => Some(0),
                    (Type::Uint(width), "BITS") => {
                        return super::expr::constant(width.into(), Type::Uint(32), span);
                    }
                    (Type::Ipv4, "LOCALHOST") => Some(0x7f00_0001),
                    (Type::Ipv6, "LOCALHOST") => Some(1),
                    _ => None,
                };
                if let Some(value) = value {
                    return super::expr::constant(value, ty, span);
                }
            } else if matches!(owner.as_str(), "self" | "Self") && self.module.constants.contains_key(name) {
                return self.named_constant(name, span);
            }
        }
        self.diagnostics.report(
            codes::UNKNOWN_NAME,
            item,
            format!("`{}` is not known in this handler", segments.join("::")),
            "a handler sees its locals, and the constants and `#[inline]` functions of its module",
        );
        Val::Unknown
    }
}
