//! Which ways of a handler's branches can be gone at all.
//!
//! Every path is followed for every shape of packet that the parse graph has, with what is known of it: the headers that
//! are there, the fields that decide what follows, constants, and each condition as it was assumed before. So a branch
//! that is called unreachable is; one that is called reachable may not be.

use std::collections::BTreeMap;

use redplane_codegen::interpret::branches;
use redplane_codegen::ir::{App, BinaryOp, Expr, ExprKind, HeaderField, Place, Stmt, StmtKind};
use redplane_codegen::packet::Header;

use crate::graph::{Fields, choices, follows};

/// Paths that are followed at most; a handler with more has all its branches called reachable.
const PATHS_MAX: usize = 200_000;

/// Of each branch of [`branches`]: whether it can be not taken, and whether it can be taken.
pub fn reachable(app: &App) -> Vec<[bool; 2]> {
    let branches = branches(app);
    let mut search = Search { app, branches, found: Vec::new(), paths: 0 };
    search.found = vec![[false; 2]; search.branches.len()];
    for shape in shapes(app.headers) {
        let known = Known { shape, locals: vec![None; app.handler.locals.len()], assumed: BTreeMap::new() };
        search.block(&[&app.handler.before], known);
    }
    if search.paths > PATHS_MAX {
        search.found.fill([true; 2]);
    }
    search.found
}

/// A packet's shape: for each header the fields that are known of it, or `None` if it is not there.
pub type Shape = Vec<Option<Fields>>;

/// Every shape that the parse graph of these headers has.
pub fn shapes(headers: &[Header]) -> Vec<Shape> {
    let mut shapes = vec![Shape::new()];
    for (index, header) in headers.iter().enumerate() {
        let mut next = Vec::new();
        for shape in shapes {
            if !header.always && !comes_next(headers, index, &shape) {
                next.push([shape, vec![None]].concat());
                continue;
            }
            for choice in choices(headers, index) {
                next.push([shape.clone(), vec![Some(choice)]].concat());
            }
        }
        shapes = next;
    }
    shapes
}

/// Whether a header comes next after what is there.
pub fn comes_next(headers: &[Header], header: usize, before: &[Option<Fields>]) -> bool {
    let at = |header: usize| before.get(header).and_then(Option::as_ref);
    follows(headers, header, |header| at(header).is_some(), |header, field| at(header)?.get(&field).copied())
}

/// What is known on a path.
#[derive(Clone)]
struct Known {
    shape: Shape,
    /// What a local was set to, if that says something.
    locals: Vec<Option<Expr>>,
    /// Conditions as text, and what they are.
    assumed: BTreeMap<String, bool>,
}

struct Search<'a> {
    app: &'a App,
    branches: Vec<&'a Stmt>,
    found: Vec<[bool; 2]>,
    paths: usize,
}

impl<'a> Search<'a> {
    /// Follows the blocks one after the other: those that are left of the blocks around.
    fn block(&mut self, blocks: &[&'a [Stmt]], mut known: Known) {
        if self.paths > PATHS_MAX {
            return;
        }
        let Some((first, around)) = blocks.split_first() else {
            self.paths += 1;
            return;
        };
        for (index, stmt) in first.iter().enumerate() {
            match &stmt.kind {
                StmtKind::Assign { place, value } => known.assign(place, value),
                StmtKind::Lookup { into, .. } => into.iter().for_each(|local| known.forget_local(*local)),
                StmtKind::Finish(_) => {
                    self.paths += 1;
                    return;
                }
                StmtKind::Reach { point, .. } => {
                    let app = self.app;
                    let point = &app.handler.points[*point];
                    self.block(&[&point.rest], known.clone());
                    return self.block(&[&point.absent], known);
                }
                StmtKind::If { condition, then, otherwise } => {
                    let condition = known.resolve(condition);
                    let decided = known.eval(&condition);
                    let at = self.branches.iter().position(|branch| std::ptr::eq(*branch, stmt));
                    for (taken, block) in [(false, otherwise), (true, then)] {
                        if decided.is_some_and(|value| (value == 1) != taken) {
                            continue;
                        }
                        if let Some(at) = at {
                            self.found[at][usize::from(taken)] = true;
                        }
                        let mut next = known.clone();
                        next.assume(&condition, taken);
                        let rest = [&[block.as_slice(), &first[index + 1..]], around].concat();
                        self.block(&rest, next);
                    }
                    return;
                }
            }
        }
        self.block(around, known);
    }
}

impl Known {
    fn assign(&mut self, place: &Place, value: &Expr) {
        match place {
            Place::Local(local) => {
                let value = self.resolve(value);
                self.forget_local(*local);
                self.locals[*local] = Some(value);
            }
            Place::Header(at) => {
                if let Some(fields) = &mut self.shape[at.header] {
                    fields.remove(&at.field);
                }
                self.forget(&header_text(*at));
            }
            Place::State(field) => self.forget(&format!("s{field};")),
        }
    }

    fn forget_local(&mut self, local: usize) {
        self.locals[local] = None;
        self.forget(&format!("l{local};"));
    }

    /// Nothing that mentions this is known any more.
    fn forget(&mut self, name: &str) {
        self.assumed.retain(|text, _| !text.contains(name));
        for local in &mut self.locals {
            if local.as_ref().is_some_and(|value| text(value).contains(name)) {
                *local = None;
            }
        }
    }

    /// The expression with what its locals were set to.
    fn resolve(&self, expr: &Expr) -> Expr {
        let kind = match &expr.kind {
            ExprKind::Local(local) => match &self.locals[*local] {
                Some(value) => return value.clone(),
                None => ExprKind::Local(*local),
            },
            ExprKind::Not(inner) => ExprKind::Not(Box::new(self.resolve(inner))),
            ExprKind::Cast(inner) => ExprKind::Cast(Box::new(self.resolve(inner))),
            ExprKind::Binary(op, left, right) => {
                ExprKind::Binary(*op, Box::new(self.resolve(left)), Box::new(self.resolve(right)))
            }
            other => other.clone(),
        };
        Expr { kind, ..expr.clone() }
    }

    fn eval(&self, expr: &Expr) -> Option<u128> {
        if let Some(known) = self.assumed.get(&text(expr)) {
            return Some(u128::from(*known));
        }
        let mask = u128::MAX >> (128 - expr.ty.bits());
        match &expr.kind {
            ExprKind::Const(value) => Some(*value),
            ExprKind::Valid(header) => Some(u128::from(self.shape[*header].is_some())),
            ExprKind::Header(at) => self.shape[at.header].as_ref()?.get(&at.field).copied(),
            ExprKind::Not(inner) => Some(!self.eval(inner)? & mask),
            ExprKind::Cast(inner) => Some(self.eval(inner)? & mask),
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right),
            ExprKind::Local(_) | ExprKind::State(_) | ExprKind::IngressPort => None,
        }
    }

    fn binary(&self, op: BinaryOp, left: &Expr, right: &Expr) -> Option<u128> {
        let (a, b) = (self.eval(left), self.eval(right));
        match (op, a, b) {
            (BinaryOp::AndAlso, Some(0), _) | (BinaryOp::AndAlso, _, Some(0)) => return Some(0),
            (BinaryOp::OrElse, Some(1), _) | (BinaryOp::OrElse, _, Some(1)) => return Some(1),
            _ => {}
        }
        let (a, b) = (a?, b?);
        Some(u128::from(match op {
            BinaryOp::AndAlso => a & b == 1,
            BinaryOp::OrElse => a | b == 1,
            BinaryOp::Eq => a == b,
            BinaryOp::Ne => a != b,
            BinaryOp::Lt => a < b,
            BinaryOp::Le => a <= b,
            BinaryOp::Gt => a > b,
            BinaryOp::Ge => a >= b,
            _ => return None,
        }))
    }

    fn assume(&mut self, condition: &Expr, value: bool) {
        self.assumed.insert(text(condition), value);
        match (&condition.kind, value) {
            (ExprKind::Not(inner), _) => self.assume(inner, !value),
            (ExprKind::Binary(BinaryOp::AndAlso, left, right), true)
            | (ExprKind::Binary(BinaryOp::OrElse, left, right), false) => {
                self.assume(left, value);
                self.assume(right, value);
            }
            (ExprKind::Binary(BinaryOp::AndAlso, left, right), false)
            | (ExprKind::Binary(BinaryOp::OrElse, left, right), true) => {
                // One side is known not to be why.
                for (side, other) in [(left, right), (right, left)] {
                    if self.eval(side) == Some(u128::from(!value)) {
                        self.assume(other, value);
                    }
                }
            }
            (ExprKind::Binary(BinaryOp::Eq, left, right), true)
            | (ExprKind::Binary(BinaryOp::Ne, left, right), false) => {
                if let (ExprKind::Header(at), Some(value)) = (&left.kind, self.eval(right))
                    && let Some(fields) = &mut self.shape[at.header]
                {
                    fields.insert(at.field, value);
                }
            }
            _ => {}
        }
    }
}

fn header_text(at: HeaderField) -> String {
    format!("h{}.{};", at.header, at.field)
}

/// An expression as text, without where it stands.
fn text(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Const(value) => format!("{value}"),
        ExprKind::Local(local) => format!("l{local};"),
        ExprKind::Header(at) => header_text(*at),
        ExprKind::State(field) => format!("s{field};"),
        ExprKind::Valid(header) => format!("v{header};"),
        ExprKind::IngressPort => "port".to_owned(),
        ExprKind::Not(inner) => format!("!({})", text(inner)),
        ExprKind::Cast(inner) => format!("({}:{})", text(inner), expr.ty.bits()),
        ExprKind::Binary(op, left, right) => format!("({} {op:?} {})", text(left), text(right)),
    }
}
