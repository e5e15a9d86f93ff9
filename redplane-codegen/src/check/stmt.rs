//! Blocks, `let`, loops.

use syn::spanned::Spanned;
use syn::{Block, Expr, ExprForLoop, Pat, RangeLimits, Stmt};

use super::{Binding, Borrow, Checker, UNROLL_MAX, Val, Want};
use crate::codes;
use crate::ir::{self, ExprKind, Type};
use crate::tree::NodeKind;
use crate::types;

impl Checker<'_> {
    pub(super) fn block(&mut self, block: &Block, want: Want) -> Val {
        self.scoped(|checker| checker.statements(block, want))
    }

    fn statements(&mut self, block: &Block, want: Want) -> Val {
        let mut result = Val::Unit;
        let mut ended = None;
        for (index, statement) in block.stmts.iter().enumerate() {
            if self.exhausted() {
                return Val::Unknown;
            }
            let last = index + 1 == block.stmts.len();
            result = match statement {
                Stmt::Local(local) => self.local(local),
                Stmt::Item(item) => self.inner_item(item),
                Stmt::Expr(expr, None) if last && !(want == Want::Verdict && is_statement(expr)) => {
                    self.expr(expr, want)
                }
                Stmt::Expr(expr, _) => match self.expr(expr, Want::Unit) {
                    Val::Never => Val::Never,
                    _ => Val::Unit,
                },
                Stmt::Macro(item) => self.reject_macro(&item.mac),
            };
            if matches!(result, Val::Never) && ended.is_none() {
                ended = Some(self.out.len());
            }
        }
        if let Some(length) = ended {
            // What follows is dead; its mistakes have been reported.
            self.out.truncate(length);
            return Val::Never;
        }
        let tail = matches!(block.stmts.last(), Some(Stmt::Expr(expr, None)) if !is_statement(expr));
        if want == Want::Verdict && !tail && !matches!(result, Val::Unknown) {
            self.no_verdict(block.brace_token.span.close());
        }
        result
    }

    pub(super) fn no_verdict(&mut self, span: proc_macro2::Span) {
        self.diagnostics.report_at(
            codes::NO_VERDICT,
            span,
            "a path ends here without a verdict: the switch would not know what to do with the packet",
            "end it with `cx.forward()`, `via(addr)`, `to(port)`, `reply()`, `recirculate()` or `drop(\"reason\")`",
        );
    }

    pub(super) fn reject_macro(&mut self, mac: &syn::Macro) -> Val {
        let name = mac.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        let help = match name.as_str() {
            "println" | "print" | "eprintln" | "dbg" => {
                "count with `cx.drop(\"reason\")`, or print in a test, which sees frames and state"
            }
            "assert" | "assert_eq" | "panic" | "unreachable" | "todo" | "unimplemented" => {
                "test it with `if` and return `cx.drop(\"reason\")`"
            }
            "matches" => "write `match` or a comparison",
            _ => "write out what it would expand to",
        };
        self.diagnostics.report(
            codes::MACRO,
            &mac.path,
            format!("`{name}!` cannot be compiled for a switch: the compiler does not look into macros"),
            help,
        );
        Val::Unknown
    }

    fn inner_item(&mut self, item: &syn::Item) -> Val {
        match item {
            syn::Item::Const(item) => {
                let binding = match self.constant_item(item) {
                    Some((value, ty)) => Binding::Constant(value, ty),
                    None => Binding::Unknown,
                };
                self.bind(&item.ident.to_string(), binding);
            }
            syn::Item::Use(_) => {}
            other => self.unsupported(other, "an item inside a handler", "move it out of the function"),
        }
        Val::Unit
    }

    fn local(&mut self, local: &syn::Local) -> Val {
        let (pattern, ty) = match &local.pat {
            Pat::Type(typed) => (&*typed.pat, Some(&*typed.ty)),
            other => (other, None),
        };
        let expected = ty.and_then(|ty| self.local_type(ty));
        let Some(init) = &local.init else {
            self.declare(pattern, ty, expected);
            return Val::Unit;
        };
        if let (Pat::Tuple(names), Expr::Tuple(values), None, None) =
            (pattern, &*init.expr, ty, &init.diverge)
            && names.elems.len() == values.elems.len()
        {
            return self.tuple(names, values);
        }
        if let Some((_, otherwise)) = &init.diverge {
            return self.let_else(pattern, &init.expr, otherwise);
        }
        let value = if let Some(call) = self.lease_call(&init.expr) {
            self.lease_always(&call)
        } else {
            self.expr(&init.expr, Want::Value(expected))
        };
        if matches!(value, Val::Never) {
            return Val::Never;
        }
        let value = match expected {
            Some(ty) => self.coerce_value(value, ty, &init.expr),
            None => value,
        };
        self.bind_pattern(pattern, value);
        Val::Unit
    }

    /// `let (a, b) = (x, y);`: no name is known before all values are.
    fn tuple(&mut self, names: &syn::PatTuple, values: &syn::ExprTuple) -> Val {
        let mut bound = super::Scope::new();
        for (name, value) in names.elems.iter().zip(&values.elems) {
            let value = self.expr(value, Want::Value(None));
            if matches!(value, Val::Never) {
                return Val::Never;
            }
            self.scopes.push(super::Scope::new());
            self.bind_pattern(name, value);
            bound.extend(self.scopes.pop().into_iter().flatten());
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.extend(bound);
        }
        Val::Unit
    }

    /// A scalar type; the types of records and references need no help from the author.
    fn local_type(&mut self, ty: &syn::Type) -> Option<Type> {
        let is_record = types::simple_name(ty).is_some_and(|name| self.module.is_record(&name));
        if is_record || matches!(ty, syn::Type::Reference(_) | syn::Type::Infer(_)) {
            return None;
        }
        types::read(ty, &self.module.aliases, "a local", self.diagnostics)
    }

    /// `let x: u16;`
    fn declare(&mut self, pattern: &Pat, ty: Option<&syn::Type>, expected: Option<Type>) {
        let Pat::Ident(name) = pattern else {
            self.reject_pattern(pattern);
            return;
        };
        let binding = match expected {
            Some(ty) => {
                let id = self.new_local(&name.ident.to_string(), ty, name.ident.span());
                Binding::Local { id, mutable: true }
            }
            None => {
                if ty.is_none() {
                    self.unknown_width(name.ident.span());
                }
                Binding::Unknown
            }
        };
        self.bind(&name.ident.to_string(), binding);
    }

    fn bind_pattern(&mut self, pattern: &Pat, value: Val) {
        match pattern {
            Pat::Ident(name) if name.subpat.is_none() => {
                self.bind_value(&name.ident, name.mutability.is_some(), value);
            }
            Pat::Wild(_) => {}
            Pat::Paren(paren) => self.bind_pattern(&paren.pat, value),
            other => {
                self.reject_pattern(other);
                self.bind_unknown(other);
            }
        }
    }

    /// `let Some(x) = .. else { .. };`
    fn let_else(&mut self, pattern: &Pat, source: &Expr, otherwise: &Expr) -> Val {
        let span = source.span();
        if let Some(call) = self.lease_call(source) {
            let key = self.lease_key(&call);
            self.expect_find(&call);
            let (absent, _) = self.sub(|checker| checker.expr(otherwise, Want::Unit));
            self.emit_lease(&call, key, Vec::new(), absent);
            match some_name(pattern) {
                Some(name) => self.bind_some(name, Val::State),
                None => self.reject_pattern(pattern),
            }
            return Val::Unit;
        }
        let value = self.expr(source, Want::Value(None));
        let (nodes, _) = self.sub(|checker| checker.expr(otherwise, Want::Unit));
        match (some_name(pattern), value) {
            (Some(name), Val::MaybeHeader { id, borrow }) => {
                let missing =
                    ir::Expr { kind: ExprKind::Not(Box::new(valid(id, span))), ty: Type::Bool, span };
                self.emit(NodeKind::If { condition: missing, then: nodes, otherwise: Vec::new() }, span);
                let value = self.taken_header(id, borrow, name, source);
                self.bind_some(name, value);
            }
            (name, value) => {
                match value {
                    Val::Unknown => {}
                    Val::MaybeHeader { .. } if name.is_none() => self.reject_pattern(pattern),
                    _ => self.not_optional(source),
                }
                let condition = super::branch::unknown_condition(span);
                self.emit(NodeKind::If { condition, then: nodes, otherwise: Vec::new() }, span);
                self.bind_unknown(pattern);
            }
        }
        Val::Unit
    }

    pub(super) fn not_optional(&mut self, source: &Expr) {
        self.diagnostics.report(
            codes::PATTERN,
            source,
            "only a header of the packet or the result of `find` may be there or not",
            "write `let Some(ip) = &mut pkt.ipv4 else { return cx.drop(\"not_ipv4\") };`",
        );
    }

    /// The header as the pattern takes it; a copy would lose what is written to it.
    pub(super) fn taken_header(&mut self, id: usize, borrow: Borrow, name: &Pat, source: &Expr) -> Val {
        let by_reference = match name {
            Pat::Ident(name) if name.by_ref.is_some() => {
                if name.mutability.is_some() {
                    Borrow::Mutable
                } else {
                    Borrow::Shared
                }
            }
            _ => borrow,
        };
        if by_reference == Borrow::Not && !matches!(name, Pat::Wild(_)) {
            self.diagnostics.report(
                codes::HEADER_COPY,
                source,
                "this takes a copy of the header; what is written to the copy never reaches the packet",
                "borrow it: `&mut pkt.ipv4`, or `&pkt.ipv4` to read only",
            );
            return Val::Unknown;
        }
        Val::Header { id, mutable: by_reference == Borrow::Mutable }
    }

    /// Binds what is in `Some(..)`.
    pub(super) fn bind_some(&mut self, name: &Pat, value: Val) {
        match name {
            Pat::Ident(name) if name.subpat.is_none() => {
                let mutable = name.mutability.is_some() && name.by_ref.is_none();
                self.bind_value(&name.ident, mutable, value);
            }
            Pat::Wild(_) => {}
            other => {
                self.reject_pattern(other);
                self.bind_unknown(other);
            }
        }
    }

    /// Every name of a pattern that was not understood stands for something unknown.
    pub(super) fn bind_unknown(&mut self, pattern: &Pat) {
        struct Names(Vec<String>);
        impl<'ast> syn::visit::Visit<'ast> for Names {
            fn visit_pat_ident(&mut self, name: &'ast syn::PatIdent) {
                self.0.push(name.ident.to_string());
            }
        }
        let mut names = Names(Vec::new());
        syn::visit::Visit::visit_pat(&mut names, pattern);
        for name in names.0 {
            self.bind(&name, Binding::Unknown);
        }
    }

    pub(super) fn reject_pattern(&mut self, pattern: &Pat) {
        self.diagnostics.report(
            codes::PATTERN,
            pattern,
            "this pattern has no meaning on a switch",
            "take one name, or `Some(name)` of one header; in `match`: constants, ranges, `|` and `_`",
        );
    }

    pub(super) fn for_loop(&mut self, item: &ExprForLoop) -> Val {
        let bounds = self.bounds(&item.expr);
        let Some((first, end)) = bounds else {
            self.sub(|checker| {
                checker.scoped(|checker| {
                    checker.bind_unknown(&item.pat);
                    checker.block(&item.body, Want::Unit)
                })
            });
            return Val::Unknown;
        };
        for turn in first..end {
            if self.exhausted() {
                break;
            }
            let result = self.scoped(|checker| {
                match &*item.pat {
                    Pat::Ident(name) if name.subpat.is_none() => {
                        checker.bind(&name.ident.to_string(), Binding::Int(turn));
                    }
                    Pat::Wild(_) => {}
                    other => checker.reject_pattern(other),
                }
                checker.block(&item.body, Want::Unit)
            });
            if matches!(result, Val::Never) {
                return Val::Never;
            }
        }
        Val::Unit
    }

    /// First and one past the last; reports ranges that cannot be unrolled.
    fn bounds(&mut self, expr: &Expr) -> Option<(u128, u128)> {
        let mut inner = expr;
        while let Expr::Paren(paren) = inner {
            inner = &paren.expr;
        }
        let mut known = None;
        if let Expr::Range(syn::ExprRange { start: Some(start), end: Some(end), limits, .. }) = inner {
            let inclusive = u128::from(matches!(limits, RangeLimits::Closed(_)));
            let (start, end) = (self.constant_value(start), self.constant_value(end));
            if let (Some(start), Some(end)) = (start, end) {
                known = Some((start, end.saturating_add(inclusive)));
            }
        }
        match known {
            Some((start, end)) if end.saturating_sub(start) <= UNROLL_MAX => return Some((start, end)),
            Some(_) => self.diagnostics.report(
                codes::LOOP,
                expr,
                format!(
                    "a `for` is unrolled into the pipeline, and this one has more than {UNROLL_MAX} turns"
                ),
                "do with fewer turns",
            ),
            None => self.diagnostics.report(
                codes::LOOP,
                expr,
                "a `for` is unrolled when it is compiled; this range is not known then",
                "use a constant range: `for i in 0..4`",
            ),
        }
        None
    }
}

/// An expression that gives nothing: the path goes on behind it.
fn is_statement(expr: &Expr) -> bool {
    match expr {
        Expr::If(item) => match &item.else_branch {
            None => true,
            Some((_, branch)) => matches!(**branch, Expr::If(_)) && is_statement(branch),
        },
        Expr::ForLoop(_) | Expr::While(_) | Expr::Assign(_) => true,
        _ => false,
    }
}

/// What stands in `Some(..)`.
pub(super) fn some_name(pattern: &Pat) -> Option<&Pat> {
    match pattern {
        Pat::TupleStruct(tuple) if tuple.elems.len() == 1 && tuple.path.segments.last()?.ident == "Some" => {
            tuple.elems.first()
        }
        Pat::Paren(paren) => some_name(&paren.pat),
        _ => None,
    }
}

/// Whether a header is there.
pub(super) fn valid(id: usize, span: proc_macro2::Span) -> ir::Expr {
    ir::Expr { kind: ExprKind::Valid(id), ty: Type::Bool, span }
}
