//! The author's handler: one control up to the lease points, one for what follows each.

use std::collections::BTreeMap;

use super::{OWN_LINE, expr, names};
use crate::canonical;
use crate::ir::{App, LocalId, Match, Mode, Place, Shape, Stmt, StmtKind, Type, Verdict};
use crate::target::{DROP_REASONS, drop_reasons, first_drop, line};

/// Longest line of an `if` that stays on one.
const WIDTH: usize = 120;

/// A control made of the author's statements.
pub(super) struct ControlView {
    pub(super) name: String,
    pub(super) docs: Vec<String>,
    pub(super) locals: Vec<String>,
    pub(super) tables: Vec<TableView>,
    pub(super) has_declarations: bool,
    pub(super) body: Vec<String>,
}

/// An operator table. Each place that looks it up has a copy of its own: P4 applies a table once.
pub(super) struct TableView {
    pub(super) docs: Vec<String>,
    /// Whether something stands before it.
    pub(super) spaced: bool,
    /// Whether the handler looks at every column of the value.
    pub(super) all_used: bool,
    pub(super) name: String,
    pub(super) action: String,
    pub(super) parameters: String,
    pub(super) assignments: Vec<String>,
    /// What a miss gives.
    pub(super) zeros: String,
    pub(super) keys: Vec<String>,
    pub(super) size: String,
}

/// A control that follows a lease point.
pub(super) struct RestView {
    pub(super) condition: String,
    pub(super) instance: String,
    pub(super) control: String,
}

/// Where a table of the IR is in the P4: the control plane fills all of them alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TablePlace {
    /// Index into [`App::tables`].
    pub(crate) table: usize,
    /// The P4 table, as the control plane names it.
    pub(crate) name: String,
    /// Its one action.
    pub(crate) action: String,
}

/// One stretch of statements and its control.
struct Part<'a> {
    control: String,
    instance: String,
    docs: Vec<String>,
    body: &'a [Stmt],
    condition: String,
}

/// A lease point's name in `…_point_t`.
pub(super) fn point_name(app: &App, index: usize) -> String {
    let mode = match app.handler.points[index].mode {
        Mode::Lease => "LEASE",
        Mode::Find => "FIND",
    };
    format!("{mode}_{}", index + 1)
}

/// The controls of the handler, and those of them that follow a lease point.
pub(super) fn controls(app: &App, source: &str) -> (Vec<ControlView>, Vec<RestView>) {
    let parts = parts(app, source);
    let rests = parts.iter().skip(1).map(|part| RestView {
        condition: part.condition.clone(),
        instance: part.instance.clone(),
        control: part.control.clone(),
    });
    let rests = rests.collect();
    let controls = parts.iter().map(|part| Lowering::new(app, source).control(part)).collect();
    (controls, rests)
}

/// Every copy of every operator table.
pub(crate) fn table_places(app: &App) -> Vec<TablePlace> {
    let mut places = Vec::new();
    for part in parts(app, "") {
        let mut lowering = Lowering::new(app, "");
        let _ = lowering.control(&part);
        places.extend(lowering.places.into_iter().map(|mut place| {
            place.name = format!("{}Ingress.{}.{}", names::camel(&app.name), part.instance, place.name);
            place.action = format!("{}Ingress.{}.{}", names::camel(&app.name), part.instance, place.action);
            place
        }));
    }
    places
}

fn parts<'a>(app: &'a App, source: &str) -> Vec<Part<'a>> {
    let handler = &app.handler;
    let name = names::camel(&handler.name);
    let mut docs: Vec<String> = handler.docs.iter().map(|text| format!(" {text}")).collect();
    docs.push(format!(
        " {source}:{}: {}(), up to its lease point or to its end.",
        line(handler.span),
        handler.name
    ));
    let instance = names::safe(&handler.name);
    let before =
        Part { control: name.clone(), instance, docs, body: &handler.before, condition: String::new() };
    let mut rests: Vec<Rest> = Vec::new();
    for (index, point) in handler.points.iter().enumerate() {
        let absent = (point.mode == Mode::Find).then_some((false, &point.absent));
        for (held, body) in [(true, &point.rest)].into_iter().chain(absent) {
            let text = canonical::statements(app, body);
            match rests.iter_mut().find(|rest| rest.held == held && rest.text == text) {
                Some(rest) => rest.points.push(index),
                None => rests.push(Rest { held, points: vec![index], body, text }),
            }
        }
    }
    std::iter::once(before).chain(rests.iter().map(|rest| rest.part(app, source))).collect()
}

/// What follows lease points: those after which the same happens share it.
struct Rest<'a> {
    /// With the state, or because there is none.
    held: bool,
    points: Vec<usize>,
    body: &'a [Stmt],
    text: String,
}

impl<'a> Rest<'a> {
    fn part(&self, app: &App, source: &str) -> Part<'a> {
        let handler = &app.handler;
        let (camel, number) = (names::camel(&handler.name), self.points[0] + 1);
        let mut lines: Vec<String> =
            self.points.iter().map(|at| line(handler.points[*at].span).to_string()).collect();
        lines.dedup();
        let place = format!("{source}:{}", lines.join(" and "));
        let here = self
            .points
            .iter()
            .map(|at| format!("meta.point == {}_point_t.{}", app.name, point_name(app, *at)));
        let mut here = here.collect::<Vec<_>>().join(" || ");
        let mut and = " && ";
        if self.points.len() > 1 {
            (here, and) = (format!("({here})"), "\n                && ");
        }
        let (control, instance, doc, condition) = if self.held {
            let doc = format!(" {place}: the rest of {}(), with the state in `meta.value`.", handler.name);
            ("Held", "held", doc, format!("meta.slot.live{and}{here}"))
        } else {
            let doc = format!(" {place}: what {}() does if there is no such record.", handler.name);
            ("Absent", "absent", doc, format!("!meta.slot.live && meta.pass.absent == 1{and}{here}"))
        };
        Part {
            control: format!("{camel}{control}{number}"),
            instance: format!("{}_{instance}_{number}", handler.name),
            docs: vec![doc],
            body: self.body,
            condition,
        }
    }
}

struct Lowering<'a> {
    app: &'a App,
    source: &'a str,
    locals: BTreeMap<LocalId, Vec<usize>>,
    tables: Vec<TableView>,
    places: Vec<TablePlace>,
    /// Each with the author's line, if it is the author's.
    lines: Vec<(Option<usize>, String)>,
    indent: usize,
    /// Whether the block, or one around it, has said that the state is written.
    wrote: bool,
}

impl<'a> Lowering<'a> {
    fn new(app: &'a App, source: &'a str) -> Self {
        let (locals, tables, places, lines) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Lowering { app, source, locals, tables, places, lines, indent: 2, wrote: false }
    }

    fn control(&mut self, part: &Part<'_>) -> ControlView {
        self.block(part.body, true);
        let locals: Vec<String> =
            self.locals.iter().map(|(id, depths)| self.declaration(*id, depths)).collect();
        let mut tables = std::mem::take(&mut self.tables);
        if let Some(first) = tables.first_mut().filter(|_| locals.is_empty()) {
            first.spaced = false;
        }
        ControlView {
            name: part.control.clone(),
            docs: part.docs.clone(),
            has_declarations: !locals.is_empty() || !tables.is_empty(),
            locals,
            tables,
            body: self.with_line_numbers(),
        }
    }

    /// The declaration of a local. One that each branch of an `if` assigns starts as zero: p4c does not follow every
    /// path that ends early, and would warn.
    fn declaration(&self, id: LocalId, depths: &[usize]) -> String {
        let ty = self.app.handler.locals[id].ty;
        let name = names::local(self.app, id);
        let dominated =
            depths.split_first().is_some_and(|(first, rest)| rest.iter().all(|depth| depth > first));
        let zero = match ty {
            _ if dominated => "",
            Type::Bool => " = false",
            _ => " = 0",
        };
        format!("{} {name}{zero};", expr::local_type(ty))
    }

    /// The lines, with `#line` where the author's numbering does not follow from the line before. Of what one line of the
    /// author's became, only the first line has its number.
    fn with_line_numbers(&self) -> Vec<String> {
        let mut body = Vec::new();
        let (mut next, mut last) = (None, None);
        for (author, text) in &self.lines {
            let is_more = *author == last;
            last = author.or(last);
            if author.is_some() && *author != next && !is_more {
                next = *author;
                body.extend(author.map(|number| format!("#line {number} \"{}\"", self.source)));
            }
            body.push(text.clone());
            next = next.map(|number| number + 1);
        }
        body.extend(next.map(|_| OWN_LINE.to_owned()));
        body
    }

    fn push(&mut self, author: Option<usize>, text: impl AsRef<str>) {
        self.lines.push((author, format!("{}{}", "    ".repeat(self.indent), text.as_ref())));
    }

    /// Statements; `tail` if nothing comes after them in the control.
    fn block(&mut self, block: &[Stmt], tail: bool) {
        for (index, statement) in block.iter().enumerate() {
            self.statement(statement, tail && index + 1 == block.len());
        }
    }

    fn statement(&mut self, statement: &Stmt, tail: bool) {
        let here = Some(line(statement.span));
        match &statement.kind {
            StmtKind::Assign { place, value } => {
                if matches!(place, Place::State(_)) && !std::mem::replace(&mut self.wrote, true) {
                    self.push(None, "meta.wrote = true;");
                }
                let text = self.assignment(place, value);
                self.push(here, text);
            }
            StmtKind::Lookup { table, key, into } => {
                let name = self.table(*table, key, into, here);
                self.push(here, format!("{name}.apply();"));
            }
            StmtKind::If { condition, then, otherwise } => {
                // Where nothing is to be done, what else is to be done comes first.
                let (condition, then, otherwise) = match then[..] {
                    [] if !otherwise.is_empty() => (expr::negated(self.app, condition), otherwise, then),
                    _ => (expr::value(self.app, condition), then, otherwise),
                };
                let declared = self.locals.clone();
                if let Some(text) = self.one_line(&condition, statement, then, otherwise, tail) {
                    return self.push(here, text);
                }
                self.locals = declared;
                self.push(here, format!("if ({condition}) {{"));
                self.branches(then, otherwise, tail, false);
            }
            StmtKind::Reach { point, key } => {
                let key: Vec<String> = key.iter().map(|value| expr::bits(self.app, value)).collect();
                self.push(here, format!("meta.key = {{ {} }};", key.join(", ")));
                let create = self.app.handler.points[*point].mode == Mode::Lease;
                let name = point_name(self.app, *point);
                self.push(None, format!("rp_reach(meta, {}_point_t.{name}, {create});", self.app.name));
                self.leave(tail);
            }
            StmtKind::Finish(verdict) => {
                let text = self.verdict(verdict);
                self.push(here, text);
                self.leave(tail);
            }
        }
    }

    /// An `if` that the author wrote on one line, on one line.
    fn one_line(
        &mut self,
        condition: &str,
        whole: &Stmt,
        then: &[Stmt],
        otherwise: &[Stmt],
        tail: bool,
    ) -> Option<String> {
        let same = |branch: &[Stmt]| branch.iter().all(|inner| line(inner.span) == line(whole.span));
        let [first] = then else { return None };
        let first = self.simple(first, tail).filter(|_| same(then) && same(otherwise))?;
        let text = match otherwise {
            [] => format!("if ({condition}) {{ {first} }}"),
            [second] => {
                let second = self.simple(second, tail)?;
                format!("if ({condition}) {{ {first} }} else {{ {second} }}")
            }
            _ => return None,
        };
        (text.len() + 4 * self.indent <= WIDTH).then_some(text)
    }

    /// A statement that can stand on a line with others.
    fn simple(&mut self, statement: &Stmt, tail: bool) -> Option<String> {
        match &statement.kind {
            StmtKind::Assign { place: Place::State(_), .. } => None,
            StmtKind::Assign { place, value } => Some(self.assignment(place, value)),
            StmtKind::Finish(verdict) if tail => Some(self.verdict(verdict)),
            StmtKind::Finish(verdict) => Some(format!("{} return;", self.verdict(verdict))),
            _ => None,
        }
    }

    /// Both branches of an `if` whose head is written. A branch that always ends needs no `else` behind it, except
    /// within a chain of them.
    fn branches(&mut self, then: &[Stmt], otherwise: &[Stmt], tail: bool, in_chain: bool) {
        let flat = !in_chain && ends(then) && !otherwise.is_empty();
        self.nested(then, tail && !flat);
        match otherwise {
            [] => self.push(None, "}"),
            _ if flat => {
                self.push(None, "}");
                self.block(otherwise, tail);
            }
            [Stmt { kind: StmtKind::If { condition, then, otherwise }, span }] => {
                let condition = expr::value(self.app, condition);
                self.push(Some(line(*span)), format!("}} else if ({condition}) {{"));
                self.branches(then, otherwise, tail, true);
            }
            _ => {
                self.push(None, "} else {");
                self.nested(otherwise, tail);
                self.push(None, "}");
            }
        }
    }

    fn nested(&mut self, block: &[Stmt], tail: bool) {
        let wrote = self.wrote;
        self.indent += 1;
        self.block(block, tail);
        self.indent -= 1;
        self.wrote = wrote;
    }

    fn leave(&mut self, tail: bool) {
        if !tail {
            self.push(None, "return;");
        }
    }

    fn assignment(&mut self, place: &Place, value: &crate::ir::Expr) -> String {
        match place {
            Place::Local(local) => {
                self.declare(*local);
                format!("{} = {};", names::local(self.app, *local), expr::value(self.app, value))
            }
            Place::Header(field) => {
                format!("{} = {};", names::field(self.app.headers, *field), expr::bits(self.app, value))
            }
            Place::State(index) => {
                format!("{} = {};", names::state(self.app, *index), expr::bits(self.app, value))
            }
        }
    }

    fn declare(&mut self, local: LocalId) {
        if !self.app.handler.locals[local].crosses {
            self.locals.entry(local).or_default().push(self.indent);
        }
    }

    fn verdict(&self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Forward => "rp_forward(meta);".to_owned(),
            Verdict::Via(addr) => format!("rp_via(meta, {});", expr::value(self.app, addr)),
            Verdict::To(port) => format!("rp_to(meta, {});", expr::value(self.app, port)),
            Verdict::Reply => "rp_reply(meta);".to_owned(),
            Verdict::Recirculate => "rp_recirculate(meta);".to_owned(),
            Verdict::Drop(reason) => {
                format!("rp_drop(meta, rp_drop_t.{});", self.app.reasons[*reason].to_uppercase())
            }
        }
    }

    fn table(
        &mut self,
        index: usize,
        key: &[crate::ir::Expr],
        into: &[LocalId],
        here: Option<usize>,
    ) -> String {
        into.iter().for_each(|local| self.declare(*local));
        let table = &self.app.tables[index];
        let copy = 1 + self.places.iter().filter(|place| place.table == index).count();
        let suffix = if copy == 1 { String::new() } else { format!("_{copy}") };
        let name = format!("{}{suffix}", names::safe(&table.handle));
        let action = format!("set_{}{suffix}", table.handle);
        let values = table.value.columns("value");
        let assigned = into.iter().zip(&values).map(|(local, (column, ty))| {
            let is_one = if *ty == Type::Bool { " == 1" } else { "" };
            (names::local(self.app, *local), format!("= {}{is_one};", parameter_name(&table.value, column)))
        });
        let assigned = super::packet::aligned(assigned.collect());
        let parameters: Vec<String> = values
            .iter()
            .map(|(column, ty)| format!("{} {}", expr::bits_type(*ty), parameter_name(&table.value, column)))
            .collect();
        let mut docs: Vec<String> = table.docs.iter().map(|text| format!(" {text}")).collect();
        let declared = line(table.span);
        docs.push(format!(
            " {}:{declared}: `{}`, looked up in line {}.",
            self.source,
            table.name,
            here.unwrap_or(0)
        ));
        self.places.push(TablePlace { table: index, name: name.clone(), action: action.clone() });
        self.tables.push(TableView {
            docs,
            spaced: true,
            all_used: into.iter().all(|local| crate::usage::is_read(&self.app.handler, *local)),
            name: name.clone(),
            parameters: parameters.join(", "),
            assignments: assigned,
            zeros: vec!["0"; values.len()].join(", "),
            action,
            keys: self.key_columns(index, key),
            size: size_name(self.app, index),
        });
        name
    }

    /// The rows of a table's key.
    fn key_columns(&self, index: usize, key: &[crate::ir::Expr]) -> Vec<String> {
        let table = &self.app.tables[index];
        let matching = matching(table.matching);
        let columns = table.key.columns("key");
        let rows = key.iter().zip(columns).map(|(value, (column, ty))| {
            let unit = if ty.bits() == 1 { "bit" } else { "bits" };
            let matched = format!(": {matching} @name(\"{}\");", column_name(&table.key, column));
            (expr::bits(self.app, value), matched, format!("{} {unit}", ty.bits()))
        });
        super::records::commented(rows.collect())
    }
}

/// The name of an action's parameter: `value`, or with the field's name, so that it is no local's.
pub(crate) fn parameter_name(shape: &Shape, column: &str) -> String {
    match shape {
        Shape::Word(_) => column.to_owned(),
        Shape::Record(_) => format!("value_{column}"),
    }
}

/// The name of a column: a field's may be one that P4 keeps for itself.
pub(crate) fn column_name(shape: &Shape, column: &str) -> String {
    match shape {
        Shape::Word(_) => column.to_owned(),
        Shape::Record(_) => names::safe(column),
    }
}

/// How P4 calls it.
pub(crate) fn matching(matching: Match) -> &'static str {
    match matching {
        Match::Exact => "exact",
        Match::Lpm => "lpm",
        Match::Ternary => "ternary",
    }
}

/// The constant that says how many entries a table has.
pub(super) fn size_name(app: &App, table: usize) -> String {
    format!("{}_{}_SIZE", app.name.to_uppercase(), app.tables[table].handle.to_uppercase())
}

/// Whether every path through these statements ends in a verdict or at a lease point.
fn ends(block: &[Stmt]) -> bool {
    block.iter().any(|statement| match &statement.kind {
        StmtKind::Reach { .. } | StmtKind::Finish(_) => true,
        StmtKind::If { then, otherwise, .. } => ends(then) && ends(otherwise),
        StmtKind::Assign { .. } | StmtKind::Lookup { .. } => false,
    })
}

/// The members of `rp_drop_t`.
pub(super) fn reasons(app: &App, source: &str) -> Vec<String> {
    let mut reasons = drop_reasons(app);
    for (index, name) in app.reasons.iter().enumerate() {
        let own = reasons.iter_mut().skip(DROP_REASONS.len()).find(|(known, _)| known == name);
        if let (Some((_, why)), Some(span)) = (own, first_drop(app, index)) {
            *why = format!("{source}:{}", line(span));
        }
    }
    let last = reasons.len();
    let none = ("NONE".to_owned(), String::new());
    let all: Vec<(String, String)> = std::iter::once(none)
        .chain(reasons.into_iter().map(|(name, why)| (name.to_uppercase(), why)))
        .collect();
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let row = |(index, (name, why)): (usize, (String, String))| {
        let number = format!("{index}{}", if index == last { "" } else { "," });
        let row = format!("{name:width$} = {number:4}");
        if why.is_empty() { row } else { format!("{row}    // {why}") }
    };
    all.into_iter().enumerate().map(row).collect()
}
