//! Runs a handler's IR on one packet, statement by statement.
//!
//! This is the yardstick between the two other ways to run a handler: the native code, which rustc made of the
//! author's text, and the P4, which a target made of this IR. Tests run packets through both and compare.
//!
//! Values are `u128`s that fit their type's width. A header that the packet does not have reads as zero, as in
//! BMv2; the front end refuses handlers that would look.

use crate::ir::{App, BinaryOp, Expr, ExprKind, HeaderField, Place, Stmt, StmtKind, Type, Verdict};

/// An `If` that a packet came to, and whether it went on in `then`.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// The statement, as [`branches`] lists it.
    pub stmt: &'a Stmt,
    /// The condition.
    pub taken: bool,
}

/// Every `If` of a handler: before its lease points, then what follows each of them.
pub fn branches(app: &App) -> Vec<&Stmt> {
    fn collect<'a>(block: &'a [Stmt], into: &mut Vec<&'a Stmt>) {
        for stmt in block {
            if let StmtKind::If { then, otherwise, .. } = &stmt.kind {
                into.push(stmt);
                collect(then, into);
                collect(otherwise, into);
            }
        }
    }
    let mut found = Vec::new();
    collect(&app.handler.before, &mut found);
    for point in &app.handler.points {
        collect(&point.rest, &mut found);
        collect(&point.absent, &mut found);
    }
    found
}

/// One packet at one handler: what the handler can see and change.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    app: &'a App,
    /// Every `If` that was come to, in order.
    pub branches: Vec<Branch<'a>>,
    /// Each header of [`App::headers`]: its fields in order, or `None` if the packet does not have it.
    pub headers: Vec<Option<Vec<u128>>>,
    /// The state's fields, meaningful after the lease point.
    pub state: Vec<u128>,
    /// Whether the state was assigned to.
    pub written: bool,
    ingress_port: u16,
    locals: Vec<u128>,
}

/// Where a path through a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At this lease point, with this key.
    Reached {
        /// Index into [`crate::ir::Handler::points`].
        point: usize,
        /// One value a key field.
        key: Vec<u128>,
    },
    /// By the route table.
    Forward,
    /// By the route of this IPv4 address.
    Via(u32),
    /// Out of this port.
    To(u16),
    /// Back.
    Reply,
    /// Once more.
    Recirculate,
    /// Dropped for this reason.
    Drop(String),
}

/// What the operator's tables say: table index and the key's words in, the value's words out.
pub type Lookup<'a> = &'a dyn Fn(usize, &[u128]) -> Vec<u128>;

impl<'a> Machine<'a> {
    /// A packet that just arrived.
    ///
    /// # Panics
    /// If `headers` is not one entry for each of [`App::headers`], with one value a field.
    pub fn new(app: &'a App, headers: Vec<Option<Vec<u128>>>, ingress_port: u16) -> Self {
        assert_eq!(headers.len(), app.headers.len(), "one entry a header");
        for (values, header) in headers.iter().zip(app.headers) {
            assert!(
                values.as_ref().is_none_or(|values| values.len() == header.fields.len()),
                "one value a field"
            );
        }
        Machine {
            app,
            branches: Vec::new(),
            headers,
            state: vec![0; app.state.record.fields.len()],
            written: false,
            ingress_port,
            locals: vec![0; app.handler.locals.len()],
        }
    }

    /// Runs from the packet's arrival to a lease point or a verdict.
    pub fn before(&mut self, lookup: Lookup<'_>) -> Outcome {
        self.path(&self.app.handler.before, lookup)
    }

    /// Runs what follows lease point `point` on the held `state`.
    pub fn rest(&mut self, point: usize, state: Vec<u128>, lookup: Lookup<'_>) -> Outcome {
        self.state = state;
        self.path(&self.app.handler.points[point].rest, lookup)
    }

    /// Runs what follows lease point `point` when the store has no such record.
    pub fn absent(&mut self, point: usize, lookup: Lookup<'_>) -> Outcome {
        self.path(&self.app.handler.points[point].absent, lookup)
    }

    fn path(&mut self, block: &'a [Stmt], lookup: Lookup<'_>) -> Outcome {
        self.block(block, lookup).expect("analysis: every path ends in a verdict or at a lease point")
    }

    fn block(&mut self, block: &'a [Stmt], lookup: Lookup<'_>) -> Option<Outcome> {
        block.iter().find_map(|stmt| self.stmt(stmt, lookup))
    }

    fn stmt(&mut self, stmt: &'a Stmt, lookup: Lookup<'_>) -> Option<Outcome> {
        match &stmt.kind {
            StmtKind::Assign { place, value } => {
                let value = self.eval(value);
                match *place {
                    Place::Local(local) => self.locals[local] = value,
                    Place::Header(at) => self.set_header(at, value),
                    Place::State(field) => {
                        self.state[field] = value;
                        self.written = true;
                    }
                }
                None
            }
            StmtKind::Lookup { table, key, into } => {
                let key: Vec<u128> = key.iter().map(|word| self.eval(word)).collect();
                let value = lookup(*table, &key);
                assert_eq!(value.len(), into.len(), "one value a column");
                into.iter().zip(value).for_each(|(local, word)| self.locals[*local] = word);
                None
            }
            StmtKind::If { condition, then, otherwise } => {
                let taken = self.eval(condition) == 1;
                self.branches.push(Branch { stmt, taken });
                self.block(if taken { then } else { otherwise }, lookup)
            }
            StmtKind::Reach { point, key } => {
                let key = key.iter().map(|field| self.eval(field)).collect();
                Some(Outcome::Reached { point: *point, key })
            }
            StmtKind::Finish(verdict) => Some(self.verdict(verdict)),
        }
    }

    fn verdict(&self, verdict: &Verdict) -> Outcome {
        match verdict {
            Verdict::Forward => Outcome::Forward,
            Verdict::Via(addr) => Outcome::Via(self.eval(addr) as u32),
            Verdict::To(port) => Outcome::To(self.eval(port) as u16),
            Verdict::Reply => Outcome::Reply,
            Verdict::Recirculate => Outcome::Recirculate,
            Verdict::Drop(reason) => Outcome::Drop(self.app.reasons[*reason].clone()),
        }
    }

    fn set_header(&mut self, at: HeaderField, value: u128) {
        if let Some(fields) = &mut self.headers[at.header] {
            fields[at.field] = value;
        }
    }

    fn eval(&self, expr: &Expr) -> u128 {
        match &expr.kind {
            ExprKind::Const(value) => *value,
            ExprKind::Local(local) => self.locals[*local],
            ExprKind::Header(at) => self.headers[at.header].as_ref().map_or(0, |fields| fields[at.field]),
            ExprKind::State(field) => self.state[*field],
            ExprKind::Valid(header) => u128::from(self.headers[*header].is_some()),
            ExprKind::IngressPort => u128::from(self.ingress_port),
            ExprKind::Not(inner) => !self.eval(inner) & mask(expr.ty),
            ExprKind::Cast(inner) => self.eval(inner) & mask(expr.ty),
            ExprKind::Binary(op, left, right) => self.binary(*op, left, right, expr.ty),
        }
    }

    fn binary(&self, op: BinaryOp, left: &Expr, right: &Expr, ty: Type) -> u128 {
        let a = self.eval(left);
        // `&&` and `||` look at the right side only if they must.
        match (op, a) {
            (BinaryOp::AndAlso, 0) => return 0,
            (BinaryOp::OrElse, 1) => return 1,
            _ => {}
        }
        let b = self.eval(right);
        let value = match op {
            BinaryOp::Add => a.wrapping_add(b),
            BinaryOp::Sub => a.wrapping_sub(b),
            BinaryOp::Mul => a.wrapping_mul(b),
            BinaryOp::And => a & b,
            BinaryOp::Or => a | b,
            BinaryOp::Xor => a ^ b,
            BinaryOp::Shl => a.checked_shl(b as u32).unwrap_or(0),
            BinaryOp::Shr => a.checked_shr(b as u32).unwrap_or(0),
            BinaryOp::Eq => u128::from(a == b),
            BinaryOp::Ne => u128::from(a != b),
            BinaryOp::Lt => u128::from(a < b),
            BinaryOp::Le => u128::from(a <= b),
            BinaryOp::Gt => u128::from(a > b),
            BinaryOp::Ge => u128::from(a >= b),
            BinaryOp::AndAlso | BinaryOp::OrElse => b,
        };
        value & mask(ty)
    }
}

/// The bits of a type.
fn mask(ty: Type) -> u128 {
    u128::MAX >> (128 - ty.bits())
}
