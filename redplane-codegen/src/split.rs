//! Splits the checked handler at its lease points, and checks what depends on the path.
//!
//! `before` keeps the author's structure: a path that is at an end returns, the others go on. What follows a lease
//! point is copied behind it, so each lease point knows all that can still happen.

use std::collections::BTreeMap;

use proc_macro2::Span;

use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{LeasePoint, Mode, Place, Stmt, StmtKind, Table};
use crate::packet::Header;
use crate::syntax::Module;
use crate::tree::{Node, NodeKind};

/// Most lease points: the point's number travels in the packet's metadata, and each carries a copy of what follows.
const POINTS_MAX: usize = 16;

/// The two parts.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) before: Vec<Stmt>,
    pub(crate) points: Vec<LeasePoint>,
}

/// Splits; mistakes go to `diagnostics`.
pub(crate) fn split(nodes: &[Node], module: &Module, diagnostics: &mut Diagnostics) -> Split {
    check_writes(nodes, module.headers, &mut Vec::new(), diagnostics);
    check_lookups(nodes, &module.tables, &mut BTreeMap::new(), diagnostics);
    let mut splitter = Splitter { points: Vec::new(), diagnostics };
    let mut before = Vec::new();
    splitter.before(nodes, None, &mut before);
    Split { before, points: splitter.points }
}

/// What comes after the statements at hand.
#[derive(Clone, Copy)]
struct Next<'a> {
    nodes: &'a [Node],
    then: Option<&'a Next<'a>>,
}

struct Splitter<'d> {
    points: Vec<LeasePoint>,
    diagnostics: &'d mut Diagnostics,
}

impl Splitter<'_> {
    /// Whether some path goes on after `nodes`.
    fn before(&mut self, nodes: &[Node], next: Option<&Next>, out: &mut Vec<Stmt>) -> bool {
        for (index, node) in nodes.iter().enumerate() {
            let rest = Next { nodes: &nodes[index + 1..], then: next };
            let kind = match &node.kind {
                NodeKind::If { condition, then, otherwise } => {
                    let (mut yes, mut no) = (Vec::new(), Vec::new());
                    let goes_on = self.before(then, Some(&rest), &mut yes);
                    let goes_on = self.before(otherwise, Some(&rest), &mut no) || goes_on;
                    let kind = StmtKind::If { condition: condition.clone(), then: yes, otherwise: no };
                    out.push(Stmt { kind, span: node.span });
                    if goes_on {
                        continue;
                    }
                    return false;
                }
                NodeKind::Lease { mode, key, held, absent } => {
                    let point = self.point(*mode, held, absent, &rest, node.span);
                    StmtKind::Reach { point, key: key.clone() }
                }
                plain => statement(plain),
            };
            let ends = matches!(kind, StmtKind::Reach { .. } | StmtKind::Finish(_));
            out.push(Stmt { kind, span: node.span });
            if ends {
                return false;
            }
        }
        true
    }

    fn point(&mut self, mode: Mode, held: &[Node], absent: &[Node], rest: &Next, span: Span) -> usize {
        let point = self.points.len();
        if point == POINTS_MAX {
            self.diagnostics.report_at(
                codes::TOO_LARGE,
                span,
                format!("a handler has at most {POINTS_MAX} lease points"),
                "compute the key first, then lease in one place",
            );
        }
        self.points.push(LeasePoint { mode, span, rest: Vec::new(), absent: Vec::new() });
        if point < POINTS_MAX {
            let held = self.after_chain(held, rest, span);
            let absent = if mode == Mode::Find { self.after_chain(absent, rest, span) } else { Vec::new() };
            self.points[point].rest = held;
            self.points[point].absent = absent;
        }
        point
    }

    /// `nodes` and all that comes after them, with the state in hand.
    fn after_chain(&mut self, nodes: &[Node], rest: &Next, lease: Span) -> Vec<Stmt> {
        let mut out = Vec::new();
        let mut goes_on = self.after(nodes, lease, &mut out);
        let mut next = Some(rest);
        while let Some(Next { nodes, then }) = next.filter(|_| goes_on) {
            goes_on = self.after(nodes, lease, &mut out);
            next = *then;
        }
        out
    }

    fn after(&mut self, nodes: &[Node], lease: Span, out: &mut Vec<Stmt>) -> bool {
        for node in nodes {
            let kind = match &node.kind {
                NodeKind::If { condition, then, otherwise } => {
                    let (mut yes, mut no) = (Vec::new(), Vec::new());
                    let goes_on = self.after(then, lease, &mut yes);
                    let goes_on = self.after(otherwise, lease, &mut no) || goes_on;
                    let kind = StmtKind::If { condition: condition.clone(), then: yes, otherwise: no };
                    out.push(Stmt { kind, span: node.span });
                    if goes_on {
                        continue;
                    }
                    return false;
                }
                NodeKind::Lease { held, .. } => {
                    self.second_lease(node.span, lease);
                    if self.after(held, lease, out) {
                        continue;
                    }
                    return false;
                }
                plain => statement(plain),
            };
            let ends = matches!(kind, StmtKind::Finish(_));
            out.push(Stmt { kind, span: node.span });
            if ends {
                return false;
            }
        }
        true
    }

    fn second_lease(&mut self, span: Span, first: Span) {
        self.diagnostics.report_at(
            codes::SECOND_LEASE,
            span,
            format!(
                "a path comes to a second lease point; the first is in line {}. A packet waits for one state at a time",
                first.start().line
            ),
            "choose the key first and lease once, or `return cx.recirculate()` and lease on the next pass",
        );
    }
}

fn statement(kind: &NodeKind) -> StmtKind {
    match kind {
        NodeKind::Assign { place, value } => StmtKind::Assign { place: place.clone(), value: value.clone() },
        NodeKind::Lookup { table, key, into } => {
            StmtKind::Lookup { table: *table, key: key.clone(), into: into.clone() }
        }
        NodeKind::Finish(verdict) => StmtKind::Finish(verdict.clone()),
        // Both callers take these themselves.
        NodeKind::If { .. } | NodeKind::Lease { .. } => {
            unreachable!("branches and leases are split, not copied")
        }
    }
}

/// Header writes from which a path comes to a lease point. `written` is what the paths so far have written.
fn check_writes(
    nodes: &[Node],
    headers: &[Header],
    written: &mut Vec<(Span, usize)>,
    diagnostics: &mut Diagnostics,
) -> bool {
    for node in nodes {
        match &node.kind {
            NodeKind::Assign { place: Place::Header(field), .. } => written.push((node.span, field.header)),
            NodeKind::If { then, otherwise, .. } => {
                let (mut yes, mut no) = (written.clone(), written.clone());
                let goes_on = [
                    (check_writes(then, headers, &mut yes, diagnostics), yes),
                    (check_writes(otherwise, headers, &mut no, diagnostics), no),
                ];
                if !goes_on.iter().any(|(goes_on, _)| *goes_on) {
                    return false;
                }
                written.clear();
                for (_, spans) in goes_on.into_iter().filter(|(goes_on, _)| *goes_on) {
                    for entry in spans {
                        if !written.iter().any(|(span, _)| span.start() == entry.0.start()) {
                            written.push(entry);
                        }
                    }
                }
            }
            NodeKind::Lease { held, absent, mode, .. } => {
                for (span, header) in written.drain(..) {
                    early_write(span, &headers[header], node.span, diagnostics);
                }
                let held = check_writes(held, headers, &mut Vec::new(), diagnostics);
                let absent =
                    check_writes(absent, headers, &mut Vec::new(), diagnostics) && *mode == Mode::Find;
                if !held && !absent {
                    return false;
                }
            }
            NodeKind::Finish(_) => return false,
            NodeKind::Assign { .. } | NodeKind::Lookup { .. } => {}
        }
    }
    true
}

fn early_write(span: Span, header: &Header, lease: Span, diagnostics: &mut Diagnostics) {
    diagnostics.report_at(
        codes::EARLY_WRITE,
        span,
        format!(
            "`{}` is written before the lease point in line {}: if the packet has to wait, the handler starts anew, \
             on a packet that must be as it came",
            header.name,
            lease.start().line
        ),
        "keep the value in a local and write the header after the lease",
    );
}

type Seen = BTreeMap<usize, Span>;

/// Tables that a path looks up twice.
fn check_lookups(nodes: &[Node], tables: &[Table], seen: &mut Seen, diagnostics: &mut Diagnostics) -> bool {
    for node in nodes {
        match &node.kind {
            NodeKind::Lookup { table, .. } => {
                if let Some(first) = seen.insert(*table, node.span) {
                    second_lookup(&tables[*table], node.span, first, diagnostics);
                }
            }
            NodeKind::If { then, otherwise, .. } | NodeKind::Lease { held: then, absent: otherwise, .. } => {
                let (mut yes, mut no) = (seen.clone(), seen.clone());
                let first = check_lookups(then, tables, &mut yes, diagnostics);
                let second = check_lookups(otherwise, tables, &mut no, diagnostics);
                if !first && !second {
                    return false;
                }
                seen.extend(first.then_some(yes).into_iter().flatten());
                seen.extend(second.then_some(no).into_iter().flatten());
            }
            NodeKind::Finish(_) => return false,
            NodeKind::Assign { .. } => {}
        }
    }
    true
}

fn second_lookup(table: &Table, span: Span, first: Span, diagnostics: &mut Diagnostics) {
    diagnostics.report_at(
        codes::SECOND_LOOKUP,
        span,
        format!(
            "a path looks `{}` up twice, first in line {}; a table sits in one stage, which a packet passes once",
            table.handle,
            first.start().line
        ),
        "declare a second `#[table]` with the same entries, or keep the first answer in a local",
    );
}
