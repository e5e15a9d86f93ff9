//! `if`, `if let`, `match`: conditions, and values that come from branches.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{BinOp, Expr, ExprIf, ExprMatch, Pat};

use super::lease::LeaseCall;
use super::stmt::{some_name, valid};
use super::{Checker, Returns, Val, Want, Which};
use crate::codes;
use crate::ir::{self, BinaryOp, ExprKind, LocalId, Place, Type, Verdict};
use crate::tree::{Node, NodeKind};
use crate::usage;

/// What decides between two branches.
enum Test<'e> {
    Condition(ir::Expr),
    /// `if let Some(x) = cx.state.find(key)?`
    Find(LeaseCall<'e>, Option<Vec<ir::Expr>>),
    Unknown,
}

impl Checker<'_> {
    pub(super) fn conditional(&mut self, item: &ExprIf, want: Want) -> Val {
        let span = item.if_token.span;
        self.scopes.push(super::Scope::new());
        let test = self.test(&item.cond);
        let (mut then, then_value) = self.sub(|checker| checker.block(&item.then_branch, want));
        self.scopes.pop();
        let other_want = hinted(want, &then_value);
        let (mut otherwise, else_value) = self.sub(|checker| match &item.else_branch {
            Some((_, branch)) => checker.expr(branch, other_want),
            None => {
                if want == Want::Verdict {
                    checker.no_verdict(item.then_branch.brace_token.span.close());
                }
                Val::Unit
            }
        });
        let value = self.join((&mut then, then_value), (&mut otherwise, else_value), want, span);
        match test {
            Test::Condition(condition) => self.emit(NodeKind::If { condition, then, otherwise }, span),
            Test::Find(call, key) => self.emit_lease(&call, key, then, otherwise),
            Test::Unknown => {
                self.emit(NodeKind::If { condition: unknown_condition(span), then, otherwise }, span);
            }
        }
        value
    }

    fn test<'e>(&mut self, expr: &'e Expr) -> Test<'e> {
        if let Expr::Let(item) = expr
            && let Some(call) = self.lease_call(&item.expr)
        {
            let key = self.lease_key(&call);
            self.expect_find(&call);
            match some_name(&item.pat) {
                Some(name) => self.bind_some(name, Val::State),
                None => self.reject_pattern(&item.pat),
            }
            return Test::Find(call, key);
        }
        self.condition(expr).map_or(Test::Unknown, Test::Condition)
    }

    /// A `bool`, or `let Some(h) = &pkt.h`, or a chain of both.
    fn condition(&mut self, expr: &Expr) -> Option<ir::Expr> {
        match expr {
            Expr::Let(item) => self.let_condition(item),
            Expr::Paren(paren) => self.condition(&paren.expr),
            Expr::Group(group) => self.condition(&group.expr),
            Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
                let left = self.condition(&binary.left);
                let (nodes, right) = self.sub(|checker| checker.condition(&binary.right));
                self.logical(BinaryOp::AndAlso, left?, nodes, right?, binary.op.span())
            }
            other => {
                let value = self.expr(other, Want::Value(Some(Type::Bool)));
                self.coerce(value, Type::Bool, other)
            }
        }
    }

    fn let_condition(&mut self, item: &syn::ExprLet) -> Option<ir::Expr> {
        let span = item.expr.span();
        if self.lease_call(&item.expr).is_some() {
            self.unsupported(&item.expr, "a lease point inside a chain of conditions", "nest the `if`s");
            self.bind_unknown(&item.pat);
            return None;
        }
        let value = self.expr(&item.expr, Want::Value(None));
        match (value, some_name(&item.pat)) {
            (Val::MaybeHeader { id, borrow }, Some(name)) => {
                let value = self.taken_header(id, borrow, name, &item.expr);
                self.bind_some(name, value);
                Some(valid(id, span))
            }
            (Val::MaybeHeader { id, .. }, None) if is_none(&item.pat) => {
                Some(ir::Expr { kind: ExprKind::Not(Box::new(valid(id, span))), ty: Type::Bool, span })
            }
            (Val::Unknown, _) => {
                self.bind_unknown(&item.pat);
                None
            }
            (Val::MaybeHeader { .. }, None) => {
                self.reject_pattern(&item.pat);
                self.bind_unknown(&item.pat);
                None
            }
            _ => {
                self.not_optional(&item.expr);
                self.bind_unknown(&item.pat);
                None
            }
        }
    }

    /// `&&` and `||`. If the right side has statements of its own, they run only when it does.
    pub(super) fn logical(
        &mut self,
        op: BinaryOp,
        left: ir::Expr,
        nodes: Vec<Node>,
        right: ir::Expr,
        span: Span,
    ) -> Option<ir::Expr> {
        if nodes.iter().all(|node| matches!(node.kind, NodeKind::Lookup { .. })) {
            self.out.extend(nodes);
            return Some(super::arithmetic::binary(op, left, right, Type::Bool, span));
        }
        let mut nodes = nodes;
        let id = self.new_fresh("condition", Type::Bool, span);
        self.emit(NodeKind::Assign { place: Place::Local(id), value: left }, span);
        let local = ir::Expr { kind: ExprKind::Local(id), ty: Type::Bool, span };
        match right.kind {
            ExprKind::Local(inner) if self.fresh.contains(&inner) => replace_local(&mut nodes, inner, id),
            _ => nodes.push(Node { kind: NodeKind::Assign { place: Place::Local(id), value: right }, span }),
        }
        let (then, otherwise) =
            if op == BinaryOp::AndAlso { (nodes, Vec::new()) } else { (Vec::new(), nodes) };
        self.emit(NodeKind::If { condition: local.clone(), then, otherwise }, span);
        Some(local)
    }

    /// The value of two branches: a local that both assign.
    fn join(
        &mut self,
        then: (&mut Vec<Node>, Val),
        otherwise: (&mut Vec<Node>, Val),
        want: Want,
        span: Span,
    ) -> Val {
        let ((then, a), (otherwise, b)) = (then, otherwise);
        let expected = match (want, &a, &b) {
            (_, Val::Never, Val::Never) => return Val::Never,
            (Want::Value(expected), ..) => expected,
            // A missing verdict has been reported in its branch.
            (Want::Verdict, ..) => return Val::Unknown,
            (Want::Unit, ..) => return Val::Unit,
        };
        match (a, b) {
            (Val::Never, value) => self.settle(value, otherwise),
            (value, Val::Never) => self.settle(value, then),
            (Val::Unknown, _) | (_, Val::Unknown) => Val::Unknown,
            (Val::Unit, Val::Unit) => Val::Unit,
            (Val::State, Val::State) => Val::State,
            (Val::Record(which, a), Val::Record(other, b)) if which == other => {
                let fields = a.into_iter().zip(b).zip(self.result_names(which));
                let merged = fields.map(|((a, b), name)| self.merge((then, a), (otherwise, b), &name, span));
                Val::Record(which, merged.collect())
            }
            (a, b) => {
                let ty = expected.or_else(|| scalar_type(&a)).or_else(|| scalar_type(&b));
                let Some(ty) = ty else {
                    self.untyped_branches(&a, &b, span);
                    return Val::Unknown;
                };
                match (self.coerce_at(a, ty, span), self.coerce_at(b, ty, span)) {
                    (Some(a), Some(b)) => {
                        let name = self.result_name();
                        Val::Scalar(self.merge((then, a), (otherwise, b), &name, span))
                    }
                    _ => Val::Unknown,
                }
            }
        }
    }

    /// What a value is called that has no name yet: as the function that gives it.
    fn result_name(&self) -> String {
        let function = self.frames.last().filter(|frame| frame.returns == Returns::Value);
        function.map_or_else(|| "value".to_owned(), |frame| frame.name.clone())
    }

    /// As [`result_name`](Self::result_name), for each field of a struct.
    fn result_names(&self, which: Which) -> Vec<String> {
        let name = self.result_name();
        let fields = self.record(which).into_iter().flat_map(|record| &record.fields);
        fields.map(|field| format!("{name}_{}", field.name)).collect()
    }

    /// The only branch that goes on: its value must outlive the branch.
    fn settle(&mut self, value: Val, nodes: &mut Vec<Node>) -> Val {
        let mut keep = |value: ir::Expr, name: &str, checker: &mut Self| match value.kind {
            ExprKind::Const(_) | ExprKind::Local(_) => value,
            _ => {
                let id = checker.new_fresh(name, value.ty, value.span);
                let (ty, span) = (value.ty, checker.seen_at(value.span));
                nodes.push(Node { kind: NodeKind::Assign { place: Place::Local(id), value }, span });
                ir::Expr { kind: ExprKind::Local(id), ty, span }
            }
        };
        match value {
            Val::Scalar(value) => {
                let name = self.result_name();
                Val::Scalar(keep(value, &name, self))
            }
            Val::Record(which, fields) => {
                let named = fields.into_iter().zip(self.result_names(which));
                Val::Record(which, named.map(|(value, name)| keep(value, &name, self)).collect())
            }
            other => other,
        }
    }

    /// Both branches assign one local. A local that only one branch knows serves as it is.
    fn merge(
        &mut self,
        (then, a): (&mut Vec<Node>, ir::Expr),
        (otherwise, b): (&mut Vec<Node>, ir::Expr),
        name: &str,
        span: Span,
    ) -> ir::Expr {
        let fresh = |value: &ir::Expr| match value.kind {
            ExprKind::Local(id) if self.fresh.contains(&id) => Some(id),
            _ => None,
        };
        let (first, second) = (fresh(&a), fresh(&b));
        let ty = a.ty;
        let id = first.or(second).unwrap_or_else(|| self.new_fresh(name, ty, span));
        if let (Some(first), Some(second)) = (first, second) {
            replace_local(otherwise, second, first);
        }
        for (nodes, value, fresh) in [(then, a, first), (otherwise, b, second)] {
            if fresh.is_none() {
                let span = self.seen_at(value.span);
                nodes.push(Node { kind: NodeKind::Assign { place: Place::Local(id), value }, span });
            }
        }
        ir::Expr { kind: ExprKind::Local(id), ty, span }
    }

    fn untyped_branches(&mut self, a: &Val, b: &Val, span: Span) {
        match (a, b) {
            (Val::Int(_, at), Val::Int(..)) => self.unknown_width(*at),
            _ => self.diagnostics.report_at(
                codes::NOT_A_VALUE,
                span,
                "the branches give something that cannot be chosen when the packet is there: a reference or nothing",
                "do the work inside the branches",
            ),
        }
    }

    pub(super) fn matching(&mut self, item: &ExprMatch, want: Want) -> Val {
        let span = item.match_token.span;
        let subject = match &*item.expr {
            Expr::Tuple(tuple) => {
                self.unsupported(
                    tuple,
                    "`match` on a tuple",
                    "match one part, and ask for the other in a guard: `Phase::Open if knock == 2 => ..`",
                );
                Val::Unknown
            }
            subject => self.expr(subject, Want::Value(None)),
        };
        let subject = match subject {
            Val::Scalar(value) => Some(self.stable(value)),
            Val::Int(_, at) => {
                self.unknown_width(at);
                None
            }
            Val::Unknown | Val::Never => None,
            Val::MaybeHeader { .. } => {
                self.unsupported(
                    &item.expr,
                    "`match` on a header",
                    "write `if let Some(h) = &pkt.h { .. } else { .. }`",
                );
                None
            }
            _ => {
                self.unsupported(&item.expr, "`match` on this", "match a field");
                None
            }
        };
        self.arms(subject.as_ref(), &item.arms, want, span)
    }

    /// A value that is the same in every arm, whatever the arms before it have evaluated.
    fn stable(&mut self, value: ir::Expr) -> ir::Expr {
        if matches!(
            value.kind,
            ExprKind::Const(_) | ExprKind::Local(_) | ExprKind::Header(_) | ExprKind::State(_)
        ) {
            return value;
        }
        let (ty, span) = (value.ty, value.span);
        let id = self.new_fresh("subject", ty, span);
        self.emit(NodeKind::Assign { place: Place::Local(id), value }, span);
        // It is read more than once: no `let` may take it over.
        self.fresh.remove(&id);
        ir::Expr { kind: ExprKind::Local(id), ty, span }
    }

    fn arms(&mut self, subject: Option<&ir::Expr>, arms: &[syn::Arm], want: Want, span: Span) -> Val {
        let Some((arm, rest)) = arms.split_first() else {
            if want == Want::Verdict {
                self.no_verdict(span);
            }
            return Val::Unit;
        };
        if let (Some(subject), Pat::Ident(name), None) = (subject, &arm.pat, &arm.guard)
            && name.subpat.is_none()
            && name.by_ref.is_none()
            && !self.is_constant(&name.ident.to_string())
        {
            return self.scoped(|checker| {
                checker.bind_value(&name.ident, name.mutability.is_some(), Val::Scalar(subject.clone()));
                checker.expr(&arm.body, want)
            });
        }
        if subject.is_none() {
            self.bind_unknown(&arm.pat);
        }
        let pattern = subject.and_then(|subject| self.arm_condition(subject, &arm.pat));
        let guard = arm.guard.as_ref().map(|(_, guard)| self.condition(guard));
        let always = subject.is_some() && is_wild(&arm.pat) && guard.is_none();
        if always || (rest.is_empty() && guard.is_none()) {
            // Rust has checked that the arms cover everything, so the last one needs no test.
            return self.expr(&arm.body, want);
        }
        let condition = match (pattern, guard) {
            (Some(pattern), None) => Some(pattern),
            (_, Some(guard)) if is_wild(&arm.pat) => guard,
            (Some(pattern), Some(Some(guard))) => {
                Some(super::arithmetic::binary(BinaryOp::AndAlso, pattern, guard, Type::Bool, span))
            }
            _ => None,
        };
        let (mut then, a) = self.sub(|checker| checker.scoped(|checker| checker.expr(&arm.body, want)));
        let other_want = hinted(want, &a);
        let (mut otherwise, b) = self.sub(|checker| checker.arms(subject, rest, other_want, span));
        let value = self.join((&mut then, a), (&mut otherwise, b), want, arm.pat.span());
        let condition = condition.unwrap_or_else(|| unknown_condition(span));
        self.emit(NodeKind::If { condition, then, otherwise }, arm.pat.span());
        value
    }

    /// What a pattern of constants asks of the subject; `_` asks nothing.
    fn arm_condition(&mut self, subject: &ir::Expr, pattern: &Pat) -> Option<ir::Expr> {
        let compare = |checker: &mut Self, op, bound: &Expr| {
            let value = checker.expr(bound, Want::Value(Some(subject.ty)));
            let value = checker.coerce(value, subject.ty, bound)?;
            Some(super::arithmetic::binary(op, subject.clone(), value, Type::Bool, bound.span()))
        };
        match pattern {
            Pat::Wild(_) => None,
            Pat::Lit(literal) => compare(self, BinaryOp::Eq, &Expr::Lit(literal.clone())),
            Pat::Path(path) => compare(self, BinaryOp::Eq, &Expr::Path(path.clone())),
            Pat::Ident(name) if name.subpat.is_none() && self.is_constant(&name.ident.to_string()) => {
                let path = syn::ExprPath { attrs: Vec::new(), qself: None, path: name.ident.clone().into() };
                compare(self, BinaryOp::Eq, &Expr::Path(path))
            }
            Pat::Paren(paren) => self.arm_condition(subject, &paren.pat),
            Pat::Or(cases) => {
                let tests: Vec<Option<ir::Expr>> =
                    cases.cases.iter().map(|case| self.arm_condition(subject, case)).collect();
                let tests: Vec<ir::Expr> = tests.into_iter().collect::<Option<_>>()?;
                tests.into_iter().reduce(|a, b| {
                    let span = a.span;
                    super::arithmetic::binary(BinaryOp::OrElse, a, b, Type::Bool, span)
                })
            }
            Pat::Range(range) => {
                let upper = match range.limits {
                    syn::RangeLimits::Closed(_) => BinaryOp::Le,
                    syn::RangeLimits::HalfOpen(_) => BinaryOp::Lt,
                };
                let low = range.start.as_ref().map(|bound| compare(self, BinaryOp::Ge, bound));
                let high = range.end.as_ref().map(|bound| compare(self, upper, bound));
                match (low, high) {
                    (Some(low), Some(high)) => Some(super::arithmetic::binary(
                        BinaryOp::AndAlso,
                        low?,
                        high?,
                        Type::Bool,
                        range.span(),
                    )),
                    (one, other) => one.or(other).flatten(),
                }
            }
            other => {
                self.reject_pattern(other);
                self.bind_unknown(other);
                None
            }
        }
    }
}

/// What the other branch should give, now that one is known.
fn hinted(want: Want, known: &Val) -> Want {
    match want {
        Want::Value(None) => Want::Value(scalar_type(known)),
        other => other,
    }
}

/// Stands for a condition with a mistake: the paths through its branches are checked all the same.
pub(super) fn unknown_condition(span: Span) -> ir::Expr {
    ir::Expr { kind: ExprKind::Const(0), ty: Type::Bool, span }
}

/// One local becomes another, where it is assigned and where it is read.
fn replace_local(nodes: &mut [Node], from: LocalId, to: LocalId) {
    let replace = |id: &mut LocalId| {
        if *id == from {
            *id = to;
        }
    };
    for node in nodes {
        each_expr_mut(&mut node.kind, &mut |expr| {
            usage::each_leaf_mut(expr, &mut |leaf| {
                if let ExprKind::Local(id) = &mut leaf.kind {
                    replace(id);
                }
            });
        });
        match &mut node.kind {
            NodeKind::Assign { place: Place::Local(id), .. } => replace(id),
            NodeKind::Lookup { into, .. } => into.iter_mut().for_each(replace),
            NodeKind::If { then, otherwise, .. } | NodeKind::Lease { held: then, absent: otherwise, .. } => {
                replace_local(then, from, to);
                replace_local(otherwise, from, to);
            }
            NodeKind::Assign { .. } | NodeKind::Finish(_) => {}
        }
    }
}

/// The expressions of a statement itself, without those of its branches.
fn each_expr_mut(kind: &mut NodeKind, f: &mut impl FnMut(&mut ir::Expr)) {
    match kind {
        NodeKind::Assign { value, .. } => f(value),
        NodeKind::Lookup { key, .. } | NodeKind::Lease { key, .. } => key.iter_mut().for_each(f),
        NodeKind::If { condition, .. } => f(condition),
        NodeKind::Finish(Verdict::To(word) | Verdict::Via(word)) => f(word),
        NodeKind::Finish(_) => {}
    }
}

fn is_wild(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Or(cases) => cases.cases.iter().any(is_wild),
        Pat::Paren(paren) => is_wild(&paren.pat),
        _ => false,
    }
}

fn is_none(pattern: &Pat) -> bool {
    match pattern {
        Pat::Ident(name) => name.ident == "None",
        Pat::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "None"),
        _ => false,
    }
}

fn scalar_type(value: &Val) -> Option<Type> {
    match value {
        Val::Scalar(value) => Some(value.ty),
        _ => None,
    }
}
