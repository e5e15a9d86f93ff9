//! Targets: what the IR becomes. A target lowers the IR into lines and columns; its templates print and loop.
//!
//! **Invariant**: a target decides nothing about the protocol.

pub mod v1model;

use proc_macro2::Span;

use crate::ir::{App, Stmt, StmtKind, Verdict};

/// The line of a span, counted from one; zero if it has none.
pub(crate) fn line(span: Span) -> usize {
    span.start().line
}

/// Every verdict of the handler, and where it stands.
pub(crate) fn verdicts(app: &App) -> Vec<(&Verdict, Span)> {
    let rests = app.handler.points.iter().flat_map(|point| [&point.rest, &point.absent]);
    let mut found = Vec::new();
    for block in std::iter::once(&app.handler.before).chain(rests) {
        collect(block, &mut found);
    }
    found
}

/// Where a reason of the app is first given.
pub(crate) fn first_drop(app: &App, reason: usize) -> Option<Span> {
    let is_it = |verdict: &Verdict| matches!(verdict, Verdict::Drop(index) if *index == reason);
    verdicts(app).into_iter().find(|(verdict, _)| is_it(verdict)).map(|(_, span)| span)
}

fn collect<'a>(block: &'a [Stmt], found: &mut Vec<(&'a Verdict, Span)>) {
    for statement in block {
        match &statement.kind {
            StmtKind::Finish(verdict) => found.push((verdict, statement.span)),
            StmtKind::If { then, otherwise, .. } => {
                collect(then, found);
                collect(otherwise, found);
            }
            _ => {}
        }
    }
}

/// Drop reasons of the machinery, in the order of their counters, each with what it means. The software switch has
/// the same (`redplane_sdk::Reason`).
pub const DROP_REASONS: &[(&str, &str)] = &[
    ("parse_error", "shorter than its headers say"),
    ("ipv4_malformed", "version, header length or total length is wrong"),
    ("ipv4_checksum", "the IPv4 header's checksum is wrong"),
    ("no_route", "no route, or no such port"),
    ("ttl_expired", "forward() with one hop left"),
    ("store_mtu", "does not fit into a message to the store"),
    ("protocol_malformed", "a message that cannot be read"),
    ("protocol_stranger", "a message for another app, schema, switch or boot"),
    ("lease_stale", "another switch owns the key by now"),
    ("lease_refused", "the store would not create the record"),
    ("store_busy", "a queue of the store is full"),
    ("recirculation_limit", "went round too often"),
    ("no_lease", "a RECALL of what is not held"),
    ("not_configured", "the operator has not configured the switch, or not this shard"),
    ("protocol_unauthenticated", "never counted here: only the software switch looks at codes"),
];

/// All drop reasons of an app, each with what it means: the machinery's, then the app's own. A reason's counter is its
/// position, from one.
pub fn drop_reasons(app: &App) -> Vec<(String, String)> {
    let machinery = DROP_REASONS.iter().map(|(name, meaning)| ((*name).to_owned(), (*meaning).to_owned()));
    let own = app.reasons.iter().filter(|own| DROP_REASONS.iter().all(|(name, _)| name != own));
    machinery.chain(own.map(|name| (name.clone(), format!("{}() says so", app.handler.name)))).collect()
}
