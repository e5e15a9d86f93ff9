//! Lease points: `cx.state.lease(key)?` and `cx.state.find(key)?`.

use proc_macro2::Span;
use syn::{Expr, ExprMethodCall, Member};

use super::access::plain_name;
use super::{Binding, Checker, Val, Want, Which};
use crate::codes;
use crate::ir::{self, Mode};
use crate::tree::{Node, NodeKind};

/// A lease point as the author wrote it.
pub(super) struct LeaseCall<'e> {
    mode: Mode,
    call: &'e ExprMethodCall,
    has_question_mark: bool,
}

impl LeaseCall<'_> {
    fn span(&self) -> Span {
        self.call.method.span()
    }
}

impl Checker<'_> {
    /// Whether the expression is a lease point.
    pub(super) fn lease_call<'e>(&self, expr: &'e Expr) -> Option<LeaseCall<'e>> {
        match expr {
            Expr::Paren(paren) => self.lease_call(&paren.expr),
            Expr::Group(group) => self.lease_call(&group.expr),
            Expr::Try(question) => {
                self.lease_call(&question.expr).map(|call| LeaseCall { has_question_mark: true, ..call })
            }
            Expr::MethodCall(call) => {
                let mode = match call.method.to_string().as_str() {
                    "lease" => Mode::Lease,
                    "find" => Mode::Find,
                    _ => return None,
                };
                let Expr::Field(field) = &*call.receiver else { return None };
                let Member::Named(name) = &field.member else { return None };
                let base = plain_name(&field.base)?;
                let is_context = matches!(self.find(&base.to_string()), Some(Binding::Context));
                let known = is_context && self.is_state_handle(&name.to_string());
                known.then_some(LeaseCall { mode, call, has_question_mark: false })
            }
            _ => None,
        }
    }

    /// Checks the key; `None` if a mistake was reported.
    pub(super) fn lease_key(&mut self, call: &LeaseCall) -> Option<Vec<ir::Expr>> {
        if !call.has_question_mark {
            self.diagnostics.report(
                codes::QUESTION_MARK,
                &call.call.method,
                "the packet may have to wait here, and nothing says so",
                "add `?` after the call",
            );
        }
        let key_name =
            self.module.key_item.map_or_else(|| "the key".to_owned(), |item| format!("`{}`", item.ident));
        if call.call.args.len() != 1 {
            self.diagnostics.report(
                codes::LEASE_KEY,
                &call.call.method,
                format!("a lease point takes one key, {key_name}"),
                "write `cx.binding.lease(Endpoint { .. })?`",
            );
            return None;
        }
        let argument = call.call.args.first()?;
        match self.expr(argument, Want::Value(None)) {
            Val::Record(Which::Key, fields) => Some(fields),
            Val::Unknown | Val::Never => None,
            _ => {
                self.diagnostics.report(
                    codes::LEASE_KEY,
                    argument,
                    format!("the state belongs to {key_name}; this is something else"),
                    format!("give a {key_name} with all its fields"),
                );
                None
            }
        }
    }

    /// Where the author takes the result apart, the call must be `find`.
    pub(super) fn expect_find(&mut self, call: &LeaseCall) {
        if call.mode == Mode::Lease {
            self.diagnostics.report_at(
                codes::LEASE_PATTERN,
                call.span(),
                "`lease` creates what is not there, so it gives the state itself, not an `Option`",
                "write `let state = cx.binding.lease(key)?;`, or use `find`",
            );
        }
    }

    /// A lease point whose result is used as it is: right for `lease`, a mistake for `find`.
    pub(super) fn lease_always(&mut self, call: &LeaseCall) -> Val {
        let key = self.lease_key(call);
        if call.mode == Mode::Find {
            self.diagnostics.report_at(
                codes::LEASE_PATTERN,
                call.span(),
                "`find` gives an `Option`: the store may know no such record, and the path must say what then",
                "write `let Some(state) = cx.binding.find(key)? else { return cx.drop(\"unknown\") };`",
            );
        }
        self.emit_lease(call, key, Vec::new(), Vec::new());
        if call.mode == Mode::Find { Val::Unknown } else { Val::State }
    }

    /// A key with a mistake still makes a lease point, so that a second one on the path is found.
    pub(super) fn emit_lease(
        &mut self,
        call: &LeaseCall,
        key: Option<Vec<ir::Expr>>,
        held: Vec<Node>,
        absent: Vec<Node>,
    ) {
        let key = key.unwrap_or_default();
        self.emit(NodeKind::Lease { mode: call.mode, key, held, absent }, call.span());
    }
}
