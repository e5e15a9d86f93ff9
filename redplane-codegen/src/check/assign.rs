//! Assignments: to locals, to headers, to the state.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Expr, ExprAssign, ExprBinary, Member, UnOp};

use super::access::plain_name;
use super::expr::compound;
use super::{Binding, Checker, Val, Want, Which};
use crate::codes;
use crate::ir::{self, ExprKind, Place, Type};
use crate::tree::NodeKind;

/// What stands left of `=`.
enum Target {
    Place(Place, Type),
    /// The whole state, or a local struct.
    Record(Which, Vec<Place>),
    /// A mistake was reported.
    Unknown,
    /// It cannot be assigned at all, so the value does not matter.
    Refused,
    /// `_ = value`
    Nothing,
}

impl Checker<'_> {
    pub(super) fn assign(&mut self, item: &ExprAssign) -> Val {
        let target = self.target(&item.left);
        let span = item.left.span();
        match target {
            Target::Place(place, ty) => {
                let value = self.expr(&item.right, Want::Value(Some(ty)));
                if let Some(value) = self.coerce(value, ty, &item.right) {
                    self.emit(NodeKind::Assign { place, value }, span);
                }
            }
            Target::Record(which, places) => match self.expr(&item.right, Want::Value(None)) {
                Val::Record(found, values) if found == which => self.assign_fields(places, values, span),
                Val::Unknown | Val::Never => {}
                _ => {
                    let name = self.record(which).map(|record| record.name.clone()).unwrap_or_default();
                    self.mismatch(item.right.span(), &name, "something else");
                }
            },
            Target::Unknown | Target::Nothing => {
                self.expr(&item.right, Want::Value(None));
            }
            Target::Refused => {}
        }
        Val::Unit
    }

    /// `a += b`
    pub(super) fn assign_with(&mut self, item: &ExprBinary) -> Val {
        let target = self.target(&item.left);
        let (Target::Place(place, ty), Some(op)) = (target, compound(&item.op)) else {
            self.expr(&item.right, Want::Value(None));
            return Val::Unit;
        };
        let right = self.expr(&item.right, Want::Value(Some(ty)));
        let kind = match place {
            Place::Local(id) => ExprKind::Local(id),
            Place::Header(field) => ExprKind::Header(field),
            Place::State(index) => ExprKind::State(index),
        };
        let left = Val::Scalar(ir::Expr { kind, ty, span: item.left.span() });
        let value = self.operate(&op, left, right, &item.right);
        if let Some(value) = self.coerce(value, ty, &item.right) {
            self.emit(NodeKind::Assign { place, value }, item.left.span());
        }
        Val::Unit
    }

    /// All values are read before the first field changes.
    fn assign_fields(&mut self, places: Vec<Place>, values: Vec<ir::Expr>, span: Span) {
        let values: Vec<ir::Expr> = values
            .into_iter()
            .map(|value| {
                if matches!(value.kind, ExprKind::Const(_) | ExprKind::Header(_)) {
                    return value;
                }
                let (ty, at) = (value.ty, value.span);
                let id = self.new_local("value", ty, at);
                self.emit(NodeKind::Assign { place: Place::Local(id), value }, span);
                ir::Expr { kind: ExprKind::Local(id), ty, span: at }
            })
            .collect();
        for (place, value) in places.into_iter().zip(values) {
            self.emit(NodeKind::Assign { place, value }, span);
        }
    }

    fn target(&mut self, expr: &Expr) -> Target {
        match expr {
            Expr::Paren(paren) => self.target(&paren.expr),
            Expr::Group(group) => self.target(&group.expr),
            Expr::Infer(_) => Target::Nothing,
            Expr::Path(_) => match plain_name(expr) {
                Some(name) => self.named_target(name, expr),
                None => self.not_assignable(expr, "this"),
            },
            Expr::Field(field) => self.field_target(field),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Deref(_)) => {
                match self.expr(&unary.expr, Want::Value(None)) {
                    Val::State => {
                        let count = self.record(Which::State).map_or(0, |record| record.fields.len());
                        Target::Record(Which::State, (0..count).map(Place::State).collect())
                    }
                    Val::Unknown | Val::Never => Target::Unknown,
                    _ => self.not_assignable(expr, "a whole header"),
                }
            }
            other => match self.expr(other, Want::Value(None)) {
                Val::Unknown | Val::Never => Target::Unknown,
                _ => self.not_assignable(expr, "this"),
            },
        }
    }

    fn named_target(&mut self, name: &syn::Ident, expr: &Expr) -> Target {
        match self.find(&name.to_string()).cloned() {
            Some(Binding::Local { id, mutable: true }) => Target::Place(Place::Local(id), self.locals[id].ty),
            Some(Binding::Record { which, locals, mutable: true }) => {
                Target::Record(which, locals.into_iter().map(Place::Local).collect())
            }
            Some(
                Binding::Local { .. } | Binding::Record { .. } | Binding::Constant(..) | Binding::Int(_),
            ) => {
                self.immutable(name, &format!("`let mut {name}`"));
                Target::Unknown
            }
            Some(Binding::Unknown) => Target::Unknown,
            Some(Binding::State) => self.not_assignable(expr, "the handle of the state"),
            Some(Binding::Header { .. } | Binding::MaybeHeader { .. }) => {
                self.not_assignable(expr, "a whole header")
            }
            Some(Binding::Packet { .. } | Binding::Context) => self.not_assignable(expr, "this"),
            None if self.module.constants.contains_key(&name.to_string()) => {
                self.immutable(name, "a local instead of a constant");
                Target::Unknown
            }
            None => {
                self.expr(expr, Want::Value(None));
                Target::Unknown
            }
        }
    }

    fn immutable(&mut self, name: &syn::Ident, instead: &str) {
        self.diagnostics.report_at(
            codes::IMMUTABLE,
            name.span(),
            format!("`{name}` was not declared to change"),
            format!("write {instead}"),
        );
    }

    fn not_assignable(&mut self, tokens: impl quote::ToTokens, what: &str) -> Target {
        self.diagnostics.report(
            codes::NOT_ASSIGNABLE,
            tokens,
            format!("{what} cannot be assigned: only locals, header fields and state fields change"),
            "assign the fields one by one; a switch adds and removes no standard headers",
        );
        Target::Refused
    }

    fn field_target(&mut self, item: &syn::ExprField) -> Target {
        let Member::Named(name) = &item.member else {
            self.field(item);
            return Target::Unknown;
        };
        let (text, span) = (name.to_string(), name.span());
        if let Some(base) = plain_name(&item.base)
            && let Some(Binding::Record { which, locals, mutable }) = self.find(&base.to_string()).cloned()
        {
            if !mutable {
                self.immutable(base, &format!("`let mut {base}`"));
            }
            return match self.record_field(which, &text, span) {
                Some((index, ty)) if mutable => Target::Place(Place::Local(locals[index]), ty),
                _ => Target::Unknown,
            };
        }
        match self.expr(&item.base, Want::Value(None)) {
            Val::Header { id, mutable } => self.header_target(id, mutable, name, item),
            Val::State => match self.record_field(Which::State, &text, span) {
                Some((index, ty)) => Target::Place(Place::State(index), ty),
                None => Target::Unknown,
            },
            Val::MaybeHeader { id, .. } => {
                self.unchecked_header(id, span);
                Target::Unknown
            }
            Val::Handle => {
                self.no_lease(span);
                Target::Unknown
            }
            Val::Unknown | Val::Never => Target::Unknown,
            Val::Packet { .. } => self.not_assignable(item, "a whole header"),
            Val::Context => self.not_assignable(item, "the context"),
            _ => self.not_assignable(item, "this"),
        }
    }

    fn header_target(
        &mut self,
        id: usize,
        mutable: bool,
        name: &syn::Ident,
        item: &syn::ExprField,
    ) -> Target {
        let Some((field, ty)) = self.header_field(id, &name.to_string(), name.span()) else {
            return Target::Unknown;
        };
        if name == "checksum" {
            self.diagnostics.report_at(
                codes::CHECKSUM,
                name.span(),
                format!(
                    "the checksum of `{}` is kept right by the deparser, from what changed",
                    self.module.headers[id].name
                ),
                "remove the assignment",
            );
            return Target::Unknown;
        }
        if !mutable {
            let header = self.module.headers[id].name;
            self.diagnostics.report(
                codes::IMMUTABLE,
                &item.base,
                format!("`{header}` was borrowed to read only"),
                format!("borrow it with `&mut pkt.{header}`"),
            );
            return Target::Unknown;
        }
        Target::Place(Place::Header(field), ty)
    }
}
