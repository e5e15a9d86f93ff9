//! Names and types of the handler: from `syn::` to the typed tree.
//!
//! A mistake is reported where it is found and gives [`Val::Unknown`], which nobody complains about again.

mod access;
mod arithmetic;
mod assign;
mod branch;
mod call;
mod constant;
mod expr;
mod inline;
mod lease;
mod method;
mod stmt;

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::Span;

use crate::codes;
use crate::diagnostic::Diagnostics;
use crate::ir::{self, ExprKind, HeaderId, Local, LocalId, Place, Type};
use crate::syntax::Module;
use crate::tree::{Node, NodeKind};

/// Most statements after unrolling and inlining: p4c and a reader both have to get through them.
const STATEMENTS_MAX: usize = 4096;
/// Most turns of one unrolled loop: a pipeline has about a dozen stages, so more is surely a misunderstanding.
const UNROLL_MAX: u128 = 64;

/// The checked handler.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) nodes: Vec<Node>,
    pub(crate) locals: Vec<Local>,
    pub(crate) reasons: Vec<String>,
}

/// Checks the handler of a module whose signature fits.
pub(crate) fn check(module: &Module, item: &syn::ItemFn, diagnostics: &mut Diagnostics) -> Checked {
    let mut checker = Checker {
        module,
        diagnostics,
        scopes: vec![Scope::new()],
        locals: Vec::new(),
        fresh: BTreeSet::new(),
        out: Vec::new(),
        emitted: 0,
        called_at: None,
        reasons: Vec::new(),
        frames: vec![Frame { name: item.sig.ident.to_string(), returns: Returns::Verdict }],
        open_constants: Vec::new(),
    };
    let bindings = [Binding::Packet { mutable: true }, Binding::Context];
    for (input, binding) in item.sig.inputs.iter().zip(bindings) {
        if let Some((name, _)) = crate::syntax::argument(input) {
            checker.bind(&name.ident.to_string(), binding);
        }
    }
    checker.block(&item.block, Want::Verdict);
    Checked { nodes: checker.out, locals: checker.locals, reasons: checker.reasons }
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Binding {
    Packet {
        mutable: bool,
    },
    Context,
    Header {
        id: HeaderId,
        mutable: bool,
    },
    State,
    Local {
        id: LocalId,
        mutable: bool,
    },
    Record {
        which: Which,
        locals: Vec<LocalId>,
        mutable: bool,
    },
    Constant(u128, Type),
    Int(u128),
    /// A parameter that is a header which may be there.
    MaybeHeader {
        id: HeaderId,
        borrow: Borrow,
    },
    /// A mistake was reported already.
    Unknown,
}

/// Which struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Key,
    State,
    /// By index into the module's plain structs.
    Plain(usize),
}

/// What an expression gives.
#[derive(Clone, Debug)]
enum Val {
    Scalar(ir::Expr),
    /// An integer that has not met its type yet.
    Int(u128, Span),
    Record(Which, Vec<ir::Expr>),
    Packet {
        mutable: bool,
    },
    Context,
    /// A header that is there.
    Header {
        id: HeaderId,
        mutable: bool,
    },
    /// `pkt.ipv4`: a header that may be there.
    MaybeHeader {
        id: HeaderId,
        borrow: Borrow,
    },
    /// `cx.binding` before its lease.
    Handle,
    /// The held state.
    State,
    Table(usize),
    Unit,
    /// The path has ended.
    Never,
    /// A mistake was reported already.
    Unknown,
}

/// How an optional header is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Borrow {
    Not,
    Shared,
    Mutable,
}

/// What an expression is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Unit,
    Value(Option<Type>),
    /// It is what the handler returns.
    Verdict,
}

/// The function whose body is being checked.
#[derive(Clone, Debug)]
struct Frame {
    name: String,
    returns: Returns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Returns {
    Verdict,
    Value,
}

type Scope = BTreeMap<String, Binding>;

struct Checker<'a> {
    module: &'a Module<'a>,
    diagnostics: &'a mut Diagnostics,
    scopes: Vec<Scope>,
    locals: Vec<Local>,
    /// Locals that no name stands for yet: the next `let` takes them over instead of copying.
    fresh: BTreeSet<LocalId>,
    out: Vec<Node>,
    emitted: usize,
    /// The call that the library's code stands for.
    called_at: Option<Span>,
    reasons: Vec<String>,
    frames: Vec<Frame>,
    open_constants: Vec<String>,
}

impl Checker<'_> {
    fn emit(&mut self, kind: NodeKind, span: Span) {
        self.emitted += 1;
        if self.emitted == STATEMENTS_MAX {
            let name = self.module.handler.map_or(span, |handler| handler.sig.ident.span());
            self.diagnostics.report_at(
                codes::TOO_LARGE,
                name,
                format!(
                    "the handler unfolds to more than {STATEMENTS_MAX} statements; no pipeline is that long"
                ),
                "shorten the unrolled loops and the inlined functions",
            );
        }
        if self.emitted < STATEMENTS_MAX {
            let span = self.seen_at(span);
            self.out.push(Node { kind, span });
        }
    }

    /// Where the author sees it: what the library does is done by the call.
    fn seen_at(&self, span: Span) -> Span {
        self.called_at.unwrap_or(span)
    }

    fn exhausted(&self) -> bool {
        self.emitted >= STATEMENTS_MAX
    }

    /// Runs `f` with an empty list of statements and gives what it emitted.
    fn sub<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> (Vec<Node>, R) {
        let saved = std::mem::take(&mut self.out);
        let result = f(self);
        (std::mem::replace(&mut self.out, saved), result)
    }

    /// Runs `f` in a scope of its own.
    fn scoped<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        self.scopes.push(Scope::new());
        let result = f(self);
        self.scopes.pop();
        result
    }

    fn bind(&mut self, name: &str, binding: Binding) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), binding);
        }
    }

    fn find(&self, name: &str) -> Option<&Binding> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    fn new_local(&mut self, name: &str, ty: Type, span: Span) -> LocalId {
        self.locals.push(Local { name: name.to_owned(), ty, span, crosses: false });
        self.locals.len() - 1
    }

    /// A local that no name stands for yet.
    fn new_fresh(&mut self, name: &str, ty: Type, span: Span) -> LocalId {
        let id = self.new_local(name, ty, span);
        self.fresh.insert(id);
        id
    }

    /// Puts a value into a local under the author's name.
    fn keep(&mut self, name: &str, value: ir::Expr, span: Span) -> LocalId {
        if let ExprKind::Local(id) = value.kind
            && self.fresh.remove(&id)
        {
            name.clone_into(&mut self.locals[id].name);
            self.locals[id].span = span;
            return id;
        }
        let id = self.new_local(name, value.ty, span);
        self.emit(NodeKind::Assign { place: Place::Local(id), value }, span);
        id
    }

    /// Binds `name` to what an expression gave.
    fn bind_value(&mut self, name: &syn::Ident, mutable: bool, value: Val) {
        let (text, span) = (name.to_string(), name.span());
        let binding = match value {
            Val::Scalar(ir::Expr { kind: ExprKind::Const(value), ty, .. }) if !mutable => {
                Binding::Constant(value, ty)
            }
            Val::Scalar(value) => Binding::Local { id: self.keep(&text, value, span), mutable },
            Val::Record(which, fields) => {
                let names: Vec<String> = self
                    .record(which)
                    .map(|r| r.fields.iter().map(|f| f.name.clone()).collect())
                    .unwrap_or_default();
                let locals = fields
                    .into_iter()
                    .zip(names)
                    .map(|(value, field)| self.keep(&format!("{text}_{field}"), value, span))
                    .collect();
                Binding::Record { which, locals, mutable }
            }
            Val::Packet { mutable } => Binding::Packet { mutable },
            Val::Context => Binding::Context,
            Val::Header { id, mutable } => Binding::Header { id, mutable },
            Val::State => Binding::State,
            Val::Int(value, at) => {
                if mutable {
                    self.unknown_width(at);
                    Binding::Unknown
                } else {
                    Binding::Int(value)
                }
            }
            Val::MaybeHeader { .. } | Val::Handle | Val::Table(_) | Val::Unit => {
                self.diagnostics.report_at(
                    codes::NOT_A_VALUE,
                    span,
                    format!("`{name}` would stand for something that is not a value on a switch"),
                    "use it where it is, without giving it a name of its own",
                );
                Binding::Unknown
            }
            Val::Never | Val::Unknown => Binding::Unknown,
        };
        self.bind(&text, binding);
    }

    fn record(&self, which: Which) -> Option<&ir::Record> {
        match which {
            Which::Key => self.module.key.as_ref(),
            Which::State => self.module.state.as_ref().map(|state| &state.record),
            Which::Plain(index) => self.module.plain.get(index).map(|(_, record)| record),
        }
    }

    /// The struct of this name.
    fn which(&self, name: &str) -> Option<Which> {
        let is = |item: Option<&syn::ItemStruct>| item.is_some_and(|item| item.ident == name);
        if is(self.module.key_item) {
            Some(Which::Key)
        } else if is(self.module.state_item) {
            Some(Which::State)
        } else {
            self.module.plain.iter().position(|(item, _)| item.ident == name).map(Which::Plain)
        }
    }

    /// How the author writes the type.
    fn shown(&self, ty: Type) -> String {
        crate::types::display(ty, &self.module.aliases.enums)
    }

    fn unknown_width(&mut self, span: Span) {
        self.diagnostics.report_at(
            codes::LITERAL_WIDTH,
            span,
            "how many bits has this number? Nothing nearby says so, and a switch must know",
            "add the type: `0u16`, or `let x: u16 = ..`",
        );
    }
}

/// A second `port` becomes `port_2`, a third `port_3`; no name is taken twice.
pub(crate) fn unique_names(mut locals: Vec<Local>) -> Vec<Local> {
    let authored: BTreeSet<String> = locals.iter().map(|local| local.name.clone()).collect();
    let mut taken = BTreeSet::new();
    for local in &mut locals {
        if !taken.insert(local.name.clone()) {
            let candidates = (2..).map(|n| format!("{}_{n}", local.name));
            let free = candidates.filter(|name| !taken.contains(name) && !authored.contains(name)).take(1);
            if let Some(name) = free.last() {
                taken.insert(name.clone());
                local.name = name;
            }
        }
    }
    locals
}
