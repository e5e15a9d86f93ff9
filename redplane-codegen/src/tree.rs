//! The checked handler before it is split: statements in the author's order, names and types resolved.

use proc_macro2::Span;

use crate::ir::{Expr, LocalId, Mode, Place, Verdict};

/// A checked statement.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// What it does.
    pub(crate) kind: NodeKind,
    /// Where the author wrote it.
    pub(crate) span: Span,
}

/// What a checked statement does.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    /// `place = value`.
    Assign { place: Place, value: Expr },
    /// `into = table.lookup(key)`.
    Lookup { table: usize, key: Vec<Expr>, into: Vec<LocalId> },
    /// `if`.
    If { condition: Expr, then: Vec<Node>, otherwise: Vec<Node> },
    /// A lease point: `held` runs with the state, `absent` (of `find`) without; both may fall through.
    Lease { mode: Mode, key: Vec<Expr>, held: Vec<Node>, absent: Vec<Node> },
    /// The verdict.
    Finish(Verdict),
}
