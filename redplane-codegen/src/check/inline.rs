//! Functions of the module that the handler calls: their code takes the place of the call.

use proc_macro2::Span;
use syn::{Expr, ExprCall, FnArg, ItemFn, ReturnType};

use super::{Binding, Checker, Frame, Returns, Scope, Val, Want, Which};
use crate::codes;
use crate::library;
use crate::syntax;
use crate::types;

impl Checker<'_> {
    pub(super) fn inline(&mut self, name: &str, item: &ExprCall, want: Want, span: Span) -> Val {
        let Some(function) = self.module.functions.get(name).copied() else { return Val::Unknown };
        if self.frames.iter().any(|frame| frame.name == name) {
            self.diagnostics.report_at(
                codes::RECURSION,
                span,
                format!("`{name}` calls itself: a pipeline has no stack, and cannot be unrolled without end"),
                "use `for i in 0..4`, which is unrolled, or `return cx.recirculate()` for another pass",
            );
            return Val::Unknown;
        }
        if !function.attrs.iter().any(|attribute| attribute.path().is_ident("inline")) {
            self.diagnostics.report_at(
                codes::NOT_INLINE,
                span,
                format!("`{name}` is called from a handler, and so its code becomes part of it; nothing says so there"),
                format!("write `#[inline]` above `fn {name}`"),
            );
        }
        let values: Vec<Val> =
            item.args.iter().map(|argument| self.expr(argument, Want::Value(None))).collect();
        if !syntax::check_plain(&function.sig, "a function of a handler", self.diagnostics) {
            return Val::Unknown;
        }
        if function.sig.inputs.len() != values.len() {
            self.diagnostics.report_at(
                codes::ARGUMENTS,
                span,
                format!("`{name}` is called with the wrong number of arguments"),
                format!("it takes {}", function.sig.inputs.len()),
            );
            return Val::Unknown;
        }
        let outer = self.called_at;
        if function.attrs.iter().any(library::is_mark) {
            self.called_at = outer.or(Some(span));
        }
        let result = self.body(function, values, item, want, span);
        self.called_at = outer;
        result
    }

    fn body(&mut self, function: &ItemFn, values: Vec<Val>, item: &ExprCall, want: Want, span: Span) -> Val {
        let verdict = match &function.sig.output {
            ReturnType::Type(_, ty) => syntax::last_name(ty).is_some_and(|name| name == "Handled"),
            ReturnType::Default => false,
        };
        if verdict && want != Want::Verdict {
            let message = "the verdict of this function is not returned";
            self.diagnostics.report_at(
                codes::UNUSED_VERDICT,
                span,
                message,
                "write `return` before the call",
            );
            return Val::Unknown;
        }
        let outer = std::mem::replace(&mut self.scopes, vec![Scope::new()]);
        let returns = if verdict { Returns::Verdict } else { Returns::Value };
        self.frames.push(Frame { name: function.sig.ident.to_string(), returns });
        for ((input, value), argument) in function.sig.inputs.iter().zip(values).zip(&item.args) {
            self.parameter(input, value, argument);
        }
        let result =
            if verdict { self.block(&function.block, Want::Verdict) } else { self.value_body(function) };
        self.frames.pop();
        self.scopes = outer;
        result
    }

    fn value_body(&mut self, function: &ItemFn) -> Val {
        let ReturnType::Type(_, ty) = &function.sig.output else {
            self.block(&function.block, Want::Unit);
            return Val::Unit;
        };
        let named = types::simple_name(ty).unwrap_or_default();
        if self.module.is_record(&named) {
            return self.block(&function.block, Want::Value(None));
        }
        let ty = types::read(ty, &self.module.aliases, "the result of an inlined function", self.diagnostics);
        let value = self.block(&function.block, Want::Value(ty));
        match ty {
            Some(ty) => {
                let end = function.block.brace_token.span.close();
                self.coerce_at(value, ty, end).map_or(Val::Unknown, Val::Scalar)
            }
            None => Val::Unknown,
        }
    }

    /// Whether a value is of this struct, or a mistake that was reported.
    fn is_of(&self, value: &Val, which: Which) -> bool {
        match value {
            Val::Record(given, _) => *given == which,
            Val::State => which == Which::State,
            Val::Unknown | Val::Never => true,
            _ => false,
        }
    }

    fn parameter(&mut self, input: &FnArg, value: Val, argument: &Expr) {
        let Some((name, ty)) = syntax::argument(input) else {
            if let FnArg::Typed(typed) = input {
                self.reject_pattern(&typed.pat);
                self.bind_unknown(&typed.pat);
            }
            return;
        };
        if let Some(named) = types::simple_name(ty)
            && let Some(which) = self.which(&named)
            && !self.is_of(&value, which)
        {
            self.diagnostics.report(
                codes::ARGUMENTS,
                argument,
                format!("the parameter `{}` is a `{named}`, and this is not", name.ident),
                format!("pass a `{named}`"),
            );
            self.bind(&name.ident.to_string(), Binding::Unknown);
            return;
        }
        let scalar = types::simple_name(ty)
            .is_some_and(|name| types::named(&name).is_some() || self.module.aliases.knows(&name));
        let value = match value {
            Val::Scalar(_) | Val::Int(..) if scalar => {
                match types::read(ty, &self.module.aliases, "a parameter", self.diagnostics) {
                    Some(ty) => self.coerce_value(value, ty, argument),
                    None => Val::Unknown,
                }
            }
            Val::Int(_, at) => {
                self.unknown_width(at);
                Val::Unknown
            }
            Val::MaybeHeader { id, borrow } => {
                self.bind(&name.ident.to_string(), Binding::MaybeHeader { id, borrow });
                return;
            }
            other => other,
        };
        self.bind_value(&name.ident, name.mutability.is_some(), value);
    }
}
