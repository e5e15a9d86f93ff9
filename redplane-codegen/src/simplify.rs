//! Names that only repeat another name, taken out of the split handler.
//!
//! Inlining leaves many: each parameter is a local that copies its argument. A reader of the emitted P4 would follow them
//! all, and a switch would carry them in metadata.

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{BinaryOp, Expr, ExprKind, HeaderId, LeasePoint, LocalId, Place, Stmt, StmtKind, Type};
use crate::split::Split;
use crate::usage;

/// What is known on a path.
#[derive(Clone, Default)]
struct Known {
    /// What a local equals: something that can be read in its place.
    equal: BTreeMap<LocalId, Expr>,
    /// Whether the packet has a header. A handler neither adds nor removes one.
    valid: BTreeMap<HeaderId, bool>,
}

/// Reads the original where a local repeats it, leaves out branches that no packet takes, then assignments that nobody reads.
pub(crate) fn simplify(split: &mut Split) {
    let mut reached: BTreeMap<usize, Known> = BTreeMap::new();
    forward(&mut split.before, &mut Known::default(), &mut reached);
    for (index, point) in split.points.iter_mut().enumerate() {
        let known = reached.remove(&index).unwrap_or_default();
        forward(&mut point.rest, &mut known.clone(), &mut BTreeMap::new());
        forward(&mut point.absent, &mut known.clone(), &mut BTreeMap::new());
    }
    for point in &mut split.points {
        drop_dead(&mut point.rest, &BTreeSet::new(), &[]);
        drop_dead(&mut point.absent, &BTreeSet::new(), &[]);
    }
    let Split { before, points } = split;
    drop_dead(before, &BTreeSet::new(), points);
}

/// Goes along the paths with what is known; gives whether some path goes on behind the block.
fn forward(block: &mut Vec<Stmt>, known: &mut Known, reached: &mut BTreeMap<usize, Known>) -> bool {
    let mut goes_on = true;
    for mut statement in std::mem::take(block) {
        if !goes_on {
            break;
        }
        usage::statement_exprs_mut(&mut statement.kind, &mut |expr| known.read(expr));
        match &mut statement.kind {
            StmtKind::Assign { place, value } => known.assign(place, value),
            StmtKind::Lookup { into, .. } => into.iter().for_each(|id| known.forget(&Place::Local(*id))),
            StmtKind::If { condition, then, otherwise } => {
                if let ExprKind::Const(truth) = condition.kind {
                    let mut taken = std::mem::take(if truth == 1 { then } else { otherwise });
                    goes_on = forward(&mut taken, known, reached);
                    block.extend(taken);
                    continue;
                }
                goes_on = known.branch(condition, then, otherwise, reached);
            }
            StmtKind::Reach { point, .. } => {
                reached.insert(*point, std::mem::take(known));
                goes_on = false;
            }
            StmtKind::Finish(_) => goes_on = false,
        }
        block.push(statement);
    }
    goes_on
}

impl Known {
    fn assign(&mut self, place: &Place, value: &Expr) {
        self.forget(place);
        if let Place::Local(id) = place
            && is_readable(value)
            && !reads(value, place)
        {
            self.equal.insert(*id, value.clone());
        }
    }

    fn forget(&mut self, place: &Place) {
        if let Place::Local(id) = place {
            self.equal.remove(id);
        }
        self.equal.retain(|_, value| !reads(value, place));
    }

    fn branch(
        &mut self,
        condition: &Expr,
        then: &mut Vec<Stmt>,
        otherwise: &mut Vec<Stmt>,
        reached: &mut BTreeMap<usize, Known>,
    ) -> bool {
        let (mut yes, mut no) = (self.clone(), self.clone());
        yes.learn(condition, true);
        no.learn(condition, false);
        let goes_on = (forward(then, &mut yes, reached), forward(otherwise, &mut no, reached));
        *self = match goes_on {
            (true, true) => yes.and(&no),
            (true, false) => yes,
            (false, _) => no,
        };
        goes_on.0 || goes_on.1
    }

    /// What both paths know.
    fn and(mut self, other: &Self) -> Self {
        self.equal.retain(|id, value| other.equal.get(id).is_some_and(|other| same(value, other)));
        self.valid.retain(|id, valid| other.valid.get(id) == Some(valid));
        self
    }

    /// What follows for headers if a condition is true, or false.
    fn learn(&mut self, condition: &Expr, truth: bool) {
        match &condition.kind {
            ExprKind::Valid(id) => drop(self.valid.insert(*id, truth)),
            ExprKind::Not(inner) => self.learn(inner, !truth),
            ExprKind::Binary(BinaryOp::AndAlso, left, right) if truth => {
                self.learn(left, truth);
                self.learn(right, truth);
            }
            ExprKind::Binary(BinaryOp::OrElse, left, right) if !truth => {
                self.learn(left, truth);
                self.learn(right, truth);
            }
            _ => {}
        }
    }

    /// An expression by what is known.
    fn read(&self, expr: &mut Expr) {
        match &mut expr.kind {
            ExprKind::Local(id) => {
                if let Some(original) = self.equal.get(id) {
                    expr.kind = original.kind.clone();
                }
            }
            ExprKind::Not(inner) | ExprKind::Cast(inner) => self.read(inner),
            ExprKind::Binary(_, left, right) => {
                self.read(left);
                self.read(right);
            }
            _ => {}
        }
        if let ExprKind::Valid(id) = expr.kind
            && let Some(valid) = self.valid.get(&id)
        {
            expr.kind = ExprKind::Const((*valid).into());
        }
        fold(expr);
    }
}

/// Truth values and double negations, as far as they are plain.
fn fold(expr: &mut Expr) {
    let truth = |expr: &Expr| match expr.kind {
        ExprKind::Const(value) if expr.ty == Type::Bool => Some(value == 1),
        _ => None,
    };
    expr.kind = match &expr.kind {
        ExprKind::Not(inner) => match (&inner.kind, truth(inner)) {
            (_, Some(value)) => ExprKind::Const((!value).into()),
            (ExprKind::Not(innermost), _) => innermost.kind.clone(),
            _ => return,
        },
        ExprKind::Binary(op @ (BinaryOp::AndAlso | BinaryOp::OrElse), left, right) => {
            let neutral = *op == BinaryOp::AndAlso;
            match (truth(left), truth(right)) {
                (Some(value), _) if value == neutral => right.kind.clone(),
                (_, Some(value)) if value == neutral => left.kind.clone(),
                (Some(_), _) | (_, Some(_)) => ExprKind::Const((!neutral).into()),
                _ => return,
            }
        }
        _ => return,
    };
}

/// Something that costs a switch nothing to read again, or its negation. Numbers stay behind their names.
fn is_readable(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Not(inner) => !matches!(inner.kind, ExprKind::Not(_)) && is_readable(inner),
        ExprKind::Local(_)
        | ExprKind::Header(_)
        | ExprKind::State(_)
        | ExprKind::Valid(_)
        | ExprKind::IngressPort => true,
        ExprKind::Const(_) | ExprKind::Binary(..) | ExprKind::Cast(_) => false,
    }
}

/// Whether a readable expression reads what is assigned.
fn reads(expr: &Expr, place: &Place) -> bool {
    match (&expr.kind, place) {
        (ExprKind::Not(inner), _) => reads(inner, place),
        (ExprKind::Local(id), Place::Local(other)) => id == other,
        (ExprKind::Header(field), Place::Header(other)) => field == other,
        (ExprKind::State(index), Place::State(other)) => index == other,
        _ => false,
    }
}

fn same(a: &Expr, b: &Expr) -> bool {
    match (&a.kind, &b.kind) {
        (ExprKind::Not(a), ExprKind::Not(b)) => same(a, b),
        (ExprKind::Local(a), ExprKind::Local(b)) => a == b,
        (ExprKind::Header(a), ExprKind::Header(b)) => a == b,
        (ExprKind::State(a), ExprKind::State(b)) => a == b,
        (ExprKind::Valid(a), ExprKind::Valid(b)) => a == b,
        (ExprKind::IngressPort, ExprKind::IngressPort) => true,
        _ => false,
    }
}

/// Goes backward, and leaves out assignments to locals that are not read on any path; gives what is read from here on.
fn drop_dead(
    block: &mut Vec<Stmt>,
    live_out: &BTreeSet<LocalId>,
    points: &[LeasePoint],
) -> BTreeSet<LocalId> {
    let mut live = live_out.clone();
    let mut kept = Vec::with_capacity(block.len());
    for mut statement in std::mem::take(block).into_iter().rev() {
        match &mut statement.kind {
            StmtKind::Assign { place: Place::Local(id), .. } if !live.remove(id) => continue,
            StmtKind::Assign { .. } => {}
            StmtKind::Lookup { into, .. } => live.retain(|id| !into.contains(id)),
            StmtKind::If { then, otherwise, .. } => {
                let (yes, no) = (drop_dead(then, &live, points), drop_dead(otherwise, &live, points));
                if then.is_empty() && otherwise.is_empty() {
                    continue;
                }
                live = &yes | &no;
            }
            StmtKind::Reach { point, .. } => {
                live.clear();
                if let Some(point) = points.get(*point) {
                    live.extend(usage::live_in(&point.rest, &BTreeSet::new()));
                    live.extend(usage::live_in(&point.absent, &BTreeSet::new()));
                }
            }
            StmtKind::Finish(_) => live.clear(),
        }
        usage::statement_exprs(&statement.kind, &mut |expr| usage::read_locals(expr, &mut live));
        kept.push(statement);
    }
    kept.reverse();
    *block = kept;
    live
}
