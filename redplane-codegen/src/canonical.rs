//! The app as text without positions and comments, and the hashes of it.
//!
//! rustc's macro and `build.rs` read the same source in different ways; that both saw the same program is what these
//! hashes show.

use std::fmt::Write;

use crate::ir::{
    App, Enum, Expr, ExprKind, HeaderField, Match, Mode, Place, Record, Shape, Stmt, StmtKind, Type, Verdict,
};
use crate::packet::{HEADERS, Header};
use crate::types::display;

/// The whole program, one line a statement. Equal programs give equal text.
pub fn canonical(app: &App) -> String {
    let mut printer = Printer { app, out: layout(app), depth: 0 };
    for header in &app.headers[HEADERS.len()..] {
        printer.line(format_args!("{}", own_header(app, header)));
    }
    for table in &app.tables {
        let kind = match table.matching {
            Match::Exact => "exact",
            Match::Lpm => "lpm",
            Match::Ternary => "ternary",
        };
        let (key, value) = (printer.shape(&table.key), printer.shape(&table.value));
        printer.line(format_args!("table {} {kind} {key} {value} {}", table.handle, table.size));
    }
    let idle = app.state.idle_by.as_ref().map_or_else(|| app.state.idle_ms.to_string(), ToString::to_string);
    printer.line(format_args!("slots {} idle {idle}", app.state.slots));
    printer.line(format_args!("create {}", app.on_create.as_deref().unwrap_or("zero")));
    for (id, local) in app.handler.locals.iter().enumerate() {
        let crosses = if local.crosses { " crosses" } else { "" };
        printer.line(format_args!("local {id} {} {}{crosses}", local.name, display(local.ty, &app.enums)));
    }
    printer.line(format_args!("before"));
    printer.block(&app.handler.before);
    for (index, point) in app.handler.points.iter().enumerate() {
        let mode = if point.mode == Mode::Lease { "lease" } else { "find" };
        printer.line(format_args!("point {index} {mode}"));
        printer.block(&point.rest);
        if point.mode == Mode::Find {
            printer.line(format_args!("absent {index}"));
            printer.block(&point.absent);
        }
    }
    printer.out
}

/// Statements as text: equal text, equal statements.
pub(crate) fn statements(app: &App, block: &[Stmt]) -> String {
    let mut printer = Printer { app, out: String::new(), depth: 0 };
    printer.block(block);
    printer.out
}

/// FNV-1a of [`canonical`]: the same on every machine and with every version of Rust.
pub fn hash(app: &App) -> u64 {
    fnv(&canonical(app))
}

/// 16 bits over what two sides must agree on to exchange records: id, key, state.
pub fn fingerprint(app: &App) -> u16 {
    let hash = fnv(&layout(app));
    (hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16
}

fn fnv(text: &str) -> u64 {
    // FNV-1a, 64 bits: offset basis and prime of draft-eastlake-fnv, section 5.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What the wire format depends on.
fn layout(app: &App) -> String {
    let record = |role: &str, record: &Record| {
        let fields: Vec<String> = record
            .fields
            .iter()
            .map(|field| format!("{}: {}", field.name, display(field.ty, &app.enums)))
            .collect();
        format!("{role} {} {{ {} }}\n", record.name, fields.join(", "))
    };
    let stored = |index: &usize| {
        let records = [&app.key, &app.state.record];
        records.iter().any(|record| record.fields.iter().any(|field| field.ty == Type::Enum(*index)))
    };
    let enums: String =
        (0..app.enums.len()).filter(stored).map(|index| enumeration(&app.enums[index])).collect();
    let (key, state) = (record("key", &app.key), record("state", &app.state.record));
    format!("app {} {}\n{key}{state}{enums}", app.name, app.id)
}

fn enumeration(known: &Enum) -> String {
    let variants = known.variants.iter().map(|variant| format!("{} = {}", variant.name, variant.value));
    format!("enum {} {{ {} }}\n", known.name, variants.collect::<Vec<_>>().join(", "))
}

struct Printer<'a> {
    app: &'a App,
    out: String,
    depth: usize,
}

impl Printer<'_> {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let indent = self.depth * 2;
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{:indent$}{text}", "");
    }

    fn block(&mut self, block: &[Stmt]) {
        self.depth += 1;
        for statement in block {
            self.statement(&statement.kind);
        }
        self.depth -= 1;
    }

    fn statement(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::Assign { place, value } => {
                let place = match place {
                    Place::Local(id) => self.app.handler.locals[*id].name.clone(),
                    Place::Header(field) => self.header(*field),
                    Place::State(index) => self.state_field(*index),
                };
                self.line(format_args!("{place} = {}", self.expr(value)));
            }
            StmtKind::Lookup { table, key, into } => {
                let into = into.iter().map(|local| self.app.handler.locals[*local].name.clone());
                let into = into.collect::<Vec<_>>().join(", ");
                let key = key.iter().map(|word| self.expr(word)).collect::<Vec<_>>().join(", ");
                self.line(format_args!("{into} = lookup {}({key})", self.app.tables[*table].handle));
            }
            StmtKind::If { condition, then, otherwise } => {
                self.line(format_args!("if {}", self.expr(condition)));
                self.block(then);
                if !otherwise.is_empty() {
                    self.line(format_args!("else"));
                    self.block(otherwise);
                }
            }
            StmtKind::Reach { point, key } => {
                let key: Vec<String> = key.iter().map(|expr| self.expr(expr)).collect();
                self.line(format_args!("reach {point} ({})", key.join(", ")));
            }
            StmtKind::Finish(verdict) => {
                let text = match verdict {
                    Verdict::Forward => "forward".to_owned(),
                    Verdict::Via(addr) => format!("via {}", self.expr(addr)),
                    Verdict::To(port) => format!("to {}", self.expr(port)),
                    Verdict::Reply => "reply".to_owned(),
                    Verdict::Recirculate => "recirculate".to_owned(),
                    Verdict::Drop(reason) => format!("drop {}", self.app.reasons[*reason]),
                };
                self.line(format_args!("{text}"));
            }
        }
    }

    fn header(&self, field: HeaderField) -> String {
        let header = &self.app.headers[field.header];
        format!("{}.{}", header.name, header.fields[field.field].0)
    }

    fn shape(&self, shape: &Shape) -> String {
        let word = |(name, ty): (&str, Type)| match shape {
            Shape::Word(_) => display(ty, &self.app.enums),
            Shape::Record(_) => format!("{name}: {}", display(ty, &self.app.enums)),
        };
        let words: Vec<String> = shape.columns("").into_iter().map(word).collect();
        match shape {
            Shape::Word(_) => words.concat(),
            Shape::Record(record) => format!("{} {{ {} }}", record.name, words.join(", ")),
        }
    }

    fn state_field(&self, index: usize) -> String {
        format!("state.{}", self.app.state.record.fields[index].name)
    }

    fn expr(&self, expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Const(value) => format!("{value}:{}", display(expr.ty, &self.app.enums)),
            ExprKind::Local(id) => self.app.handler.locals[*id].name.clone(),
            ExprKind::Header(field) => self.header(*field),
            ExprKind::State(index) => self.state_field(*index),
            ExprKind::Valid(id) => format!("valid({})", self.app.headers[*id].name),
            ExprKind::IngressPort => "ingress_port".to_owned(),
            ExprKind::Not(inner) => format!("not({})", self.expr(inner)),
            ExprKind::Cast(inner) => format!("{}({})", display(expr.ty, &self.app.enums), self.expr(inner)),
            ExprKind::Binary(op, left, right) => {
                format!("{op:?}({}, {})", self.expr(left), self.expr(right))
            }
        }
    }
}

/// A header of the app's own, and where it stands.
fn own_header(app: &App, header: &Header) -> String {
    let fields: Vec<String> =
        header.fields.iter().map(|(name, ty)| format!("{name}: {}", display(*ty, &app.enums))).collect();
    let after: Vec<String> =
        header.after.iter().map(|edge| format!("{} {:?}", edge.header, edge.when)).collect();
    format!("header {} {} {{ {} }} after {}", header.name, header.ty, fields.join(", "), after.join(", "))
}
