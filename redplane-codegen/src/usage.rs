//! What the handler reads and writes, and which locals cross a lease point.

use std::collections::BTreeSet;

use crate::ir::{
    Expr, ExprKind, Handler, HeaderField, HeaderId, Local, LocalId, Place, Stmt, StmtKind, Type, Verdict,
};
use crate::split::Split;

/// What all statements together use.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) reads: BTreeSet<HeaderField>,
    pub(crate) writes: BTreeSet<HeaderField>,
    pub(crate) headers: BTreeSet<HeaderId>,
    pub(crate) writes_state: bool,
}

/// Collects the usage of both parts.
pub(crate) fn usage(split: &Split) -> Usage {
    let mut usage = Usage::default();
    usage.block(&split.before);
    for point in &split.points {
        usage.block(&point.rest);
        usage.block(&point.absent);
    }
    usage.headers.extend(usage.reads.iter().chain(&usage.writes).map(|field| field.header));
    usage
}

/// Whether some statement reads the local.
pub(crate) fn is_read(handler: &Handler, local: LocalId) -> bool {
    fn block_reads(block: &[Stmt], local: LocalId) -> bool {
        block.iter().any(|statement| {
            let mut read = BTreeSet::new();
            statement_exprs(&statement.kind, &mut |expr| read_locals(expr, &mut read));
            let within = match &statement.kind {
                StmtKind::If { then, otherwise, .. } => {
                    block_reads(then, local) || block_reads(otherwise, local)
                }
                _ => false,
            };
            within || read.contains(&local)
        })
    }
    let rests = handler.points.iter().flat_map(|point| [&point.rest, &point.absent]);
    std::iter::once(&handler.before).chain(rests).any(|block| block_reads(block, local))
}

/// The values of enums that the handler names, each with the enum.
pub(crate) fn variants(handler: &Handler) -> BTreeSet<(usize, u128)> {
    fn in_expr(expr: &Expr, found: &mut BTreeSet<(usize, u128)>) {
        match (&expr.kind, expr.ty) {
            (ExprKind::Const(value), Type::Enum(index)) => {
                found.insert((index, *value));
            }
            (ExprKind::Not(inner) | ExprKind::Cast(inner), _) => in_expr(inner, found),
            (ExprKind::Binary(_, left, right), _) => {
                in_expr(left, found);
                in_expr(right, found);
            }
            _ => {}
        }
    }
    fn in_block(block: &[Stmt], found: &mut BTreeSet<(usize, u128)>) {
        for statement in block {
            statement_exprs(&statement.kind, &mut |expr| in_expr(expr, found));
            if let StmtKind::If { then, otherwise, .. } = &statement.kind {
                in_block(then, found);
                in_block(otherwise, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    in_block(&handler.before, &mut found);
    let rests = handler.points.iter().flat_map(|point| [&point.rest, &point.absent]);
    rests.for_each(|block| in_block(block, &mut found));
    found
}

/// Marks the locals that are read after a lease point before they are set again there.
pub(crate) fn mark_crossing(split: &Split, locals: &mut [Local]) {
    for block in split.points.iter().flat_map(|point| [&point.rest, &point.absent]) {
        for id in live_in(block, &BTreeSet::new()) {
            locals[id].crosses = true;
        }
    }
}

/// Drops the locals that nothing uses (what was inlined or dead may leave some) and closes the gaps.
pub(crate) fn drop_unused(split: &mut Split, locals: Vec<Local>) -> Vec<Local> {
    let mut used = BTreeSet::new();
    let mut note = |id: &mut LocalId| {
        used.insert(*id);
    };
    split.blocks().for_each(|block| each_local(block, &mut note));
    let places: Vec<LocalId> = used.iter().copied().collect();
    let mut renumber = |id: &mut LocalId| *id = places.binary_search(id).unwrap_or(*id);
    split.blocks().for_each(|block| each_local(block, &mut renumber));
    locals.into_iter().enumerate().filter(|(id, _)| used.contains(id)).map(|(_, local)| local).collect()
}

impl Split {
    fn blocks(&mut self) -> impl Iterator<Item = &mut Vec<Stmt>> {
        let points = self.points.iter_mut().flat_map(|point| [&mut point.rest, &mut point.absent]);
        std::iter::once(&mut self.before).chain(points)
    }
}

impl Usage {
    fn block(&mut self, block: &[Stmt]) {
        for statement in block {
            statement_exprs(&statement.kind, &mut |expr| self.expr(expr));
            match &statement.kind {
                StmtKind::Assign { place: Place::Header(field), .. } => {
                    self.writes.insert(*field);
                }
                StmtKind::Assign { place: Place::State(_), .. } => self.writes_state = true,
                StmtKind::If { then, otherwise, .. } => {
                    self.block(then);
                    self.block(otherwise);
                }
                _ => {}
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Header(field) => {
                self.reads.insert(*field);
            }
            ExprKind::Valid(id) => {
                self.headers.insert(*id);
            }
            ExprKind::Not(inner) | ExprKind::Cast(inner) => self.expr(inner),
            ExprKind::Binary(_, left, right) => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::Const(_) | ExprKind::Local(_) | ExprKind::State(_) | ExprKind::IngressPort => {}
        }
    }
}

/// The expressions of a statement itself, without those of its branches.
pub(crate) fn statement_exprs(kind: &StmtKind, f: &mut impl FnMut(&Expr)) {
    match kind {
        StmtKind::Assign { value, .. } => f(value),
        StmtKind::Lookup { key, .. } => key.iter().for_each(f),
        StmtKind::If { condition, .. } => f(condition),
        StmtKind::Reach { key, .. } => key.iter().for_each(f),
        StmtKind::Finish(Verdict::To(word) | Verdict::Via(word)) => f(word),
        StmtKind::Finish(_) => {}
    }
}

/// Locals whose value at the start of the block matters.
pub(crate) fn live_in(block: &[Stmt], live_out: &BTreeSet<LocalId>) -> BTreeSet<LocalId> {
    let mut live = live_out.clone();
    for statement in block.iter().rev() {
        match &statement.kind {
            StmtKind::Assign { place: Place::Local(id), .. } => {
                live.remove(id);
            }
            StmtKind::Lookup { into, .. } => live.retain(|id| !into.contains(id)),
            StmtKind::If { then, otherwise, .. } => {
                let mut both = live_in(then, &live);
                both.extend(live_in(otherwise, &live));
                live = both;
            }
            StmtKind::Finish(_) | StmtKind::Reach { .. } => live.clear(),
            StmtKind::Assign { .. } => {}
        }
        statement_exprs(&statement.kind, &mut |expr| read_locals(expr, &mut live));
    }
    live
}

pub(crate) fn read_locals(expr: &Expr, live: &mut BTreeSet<LocalId>) {
    match &expr.kind {
        ExprKind::Local(id) => {
            live.insert(*id);
        }
        ExprKind::Not(inner) | ExprKind::Cast(inner) => read_locals(inner, live),
        ExprKind::Binary(_, left, right) => {
            read_locals(left, live);
            read_locals(right, live);
        }
        _ => {}
    }
}

/// As [`statement_exprs`], to change them.
pub(crate) fn statement_exprs_mut(kind: &mut StmtKind, f: &mut impl FnMut(&mut Expr)) {
    match kind {
        StmtKind::Assign { value, .. } => f(value),
        StmtKind::Lookup { key, .. } | StmtKind::Reach { key, .. } => key.iter_mut().for_each(f),
        StmtKind::If { condition, .. } => f(condition),
        StmtKind::Finish(Verdict::To(word) | Verdict::Via(word)) => f(word),
        StmtKind::Finish(_) => {}
    }
}

/// The parts of an expression that have no parts.
pub(crate) fn each_leaf_mut(expr: &mut Expr, f: &mut impl FnMut(&mut Expr)) {
    match &mut expr.kind {
        ExprKind::Not(inner) | ExprKind::Cast(inner) => each_leaf_mut(inner, f),
        ExprKind::Binary(_, left, right) => {
            each_leaf_mut(left, f);
            each_leaf_mut(right, f);
        }
        _ => f(expr),
    }
}

fn each_local(block: &mut [Stmt], f: &mut impl FnMut(&mut LocalId)) {
    for statement in block {
        statement_exprs_mut(&mut statement.kind, &mut |expr| {
            each_leaf_mut(expr, &mut |leaf| {
                if let ExprKind::Local(id) = &mut leaf.kind {
                    f(id);
                }
            });
        });
        match &mut statement.kind {
            StmtKind::Assign { place: Place::Local(id), .. } => f(id),
            StmtKind::Lookup { into, .. } => into.iter_mut().for_each(&mut *f),
            StmtKind::If { then, otherwise, .. } => {
                each_local(then, f);
                each_local(otherwise, f);
            }
            _ => {}
        }
    }
}
