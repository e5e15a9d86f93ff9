//! Names and fields: locals, headers, the context, the state.

use proc_macro2::Span;
use syn::{Expr, ExprField, ExprPath, ExprStruct, Member};

use super::{Binding, Borrow, Checker, Val, Want, Which};
use crate::codes;
use crate::ir::{self, ExprKind, HeaderField, Type};
use crate::syntax::INGRESS_PORT;
use crate::words;

impl Checker<'_> {
    pub(super) fn path(&mut self, item: &ExprPath) -> Val {
        let Some(name) = item.path.get_ident() else {
            return self.associated_constant(item);
        };
        let (text, span) = (name.to_string(), name.span());
        match self.find(&text).cloned() {
            Some(Binding::Packet { mutable }) => Val::Packet { mutable },
            Some(Binding::Context) => Val::Context,
            Some(Binding::Header { id, mutable }) => Val::Header { id, mutable },
            Some(Binding::State) => Val::State,
            Some(Binding::Local { id, .. }) => Val::Scalar(self.read_local(id, span)),
            Some(Binding::Record { which, locals, .. }) => {
                Val::Record(which, locals.into_iter().map(|id| self.read_local(id, span)).collect())
            }
            Some(Binding::Constant(value, ty)) => super::expr::constant(value, ty, span),
            Some(Binding::Int(value)) => Val::Int(value, span),
            Some(Binding::MaybeHeader { id, borrow }) => Val::MaybeHeader { id, borrow },
            Some(Binding::Unknown) => Val::Unknown,
            None if self.module.constants.contains_key(&text) => self.named_constant(&text, span),
            None => {
                self.unknown_name(&text, span);
                Val::Unknown
            }
        }
    }

    fn unknown_name(&mut self, text: &str, span: Span) {
        let known: Vec<&str> = self
            .scopes
            .iter()
            .flat_map(|scope| scope.keys())
            .chain(self.module.constants.keys())
            .map(String::as_str)
            .collect();
        let help = match words::nearest(text, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "a handler sees its locals, and the constants and `#[inline]` functions of its module".into()
            }
        };
        self.diagnostics.report_at(
            codes::UNKNOWN_NAME,
            span,
            format!("`{text}` is not known in this handler"),
            help,
        );
    }

    pub(super) fn read_local(&self, id: usize, span: Span) -> ir::Expr {
        ir::Expr { kind: ExprKind::Local(id), ty: self.locals[id].ty, span }
    }

    pub(super) fn field(&mut self, item: &ExprField) -> Val {
        let base = self.expr(&item.base, Want::Value(None));
        let Member::Named(name) = &item.member else {
            if !matches!(base, Val::Unknown | Val::Never) {
                self.unsupported(item, "a tuple", "use a named field");
            }
            return Val::Unknown;
        };
        let (text, span) = (name.to_string(), name.span());
        match base {
            Val::Packet { mutable } => self.packet_field(&text, mutable, span),
            Val::Context => self.context_field(&text, span),
            Val::Header { id, .. } => match self.header_field(id, &text, span) {
                Some((field, ty)) => Val::Scalar(ir::Expr { kind: ExprKind::Header(field), ty, span }),
                None => Val::Unknown,
            },
            Val::MaybeHeader { id, .. } => {
                self.unchecked_header(id, span);
                Val::Unknown
            }
            Val::State => match self.record_field(Which::State, &text, span) {
                Some((index, ty)) => Val::Scalar(ir::Expr { kind: ExprKind::State(index), ty, span }),
                None => Val::Unknown,
            },
            Val::Record(which, fields) => match self.record_field(which, &text, span) {
                Some((index, _)) => fields.into_iter().nth(index).map_or(Val::Unknown, Val::Scalar),
                None => Val::Unknown,
            },
            Val::Handle => {
                self.no_lease(span);
                Val::Unknown
            }
            Val::Unknown | Val::Never => Val::Unknown,
            Val::Scalar(_) | Val::Int(..) | Val::Table(_) | Val::Unit => {
                self.diagnostics.report_at(
                    codes::UNKNOWN_FIELD,
                    span,
                    format!("there is no field `{text}` here: this is a plain value"),
                    "fields belong to headers, keys and state",
                );
                Val::Unknown
            }
        }
    }

    fn packet_field(&mut self, name: &str, mutable: bool, span: Span) -> Val {
        let Some(id) = self.module.headers.iter().position(|header| header.name == name) else {
            self.diagnostics.report_at(
                codes::UNKNOWN_HEADER,
                span,
                format!("the packet has no header `{name}`"),
                words::suggest(name, "headers", self.module.headers.iter().map(|header| header.name)),
            );
            return Val::Unknown;
        };
        if self.module.headers[id].always {
            return Val::Header { id, mutable };
        }
        Val::MaybeHeader { id, borrow: Borrow::Not }
    }

    /// Index and type of a header's field.
    pub(super) fn header_field(&mut self, id: usize, name: &str, span: Span) -> Option<(HeaderField, Type)> {
        let header = &self.module.headers[id];
        if let Some(field) = header.fields.iter().position(|(field, _)| *field == name) {
            return Some((HeaderField { header: id, field }, header.fields[field].1));
        }
        self.diagnostics.report_at(
            codes::UNKNOWN_FIELD,
            span,
            format!("the header `{}` has no field `{name}`", header.name),
            words::suggest(name, "fields", header.fields.iter().map(|(field, _)| *field)),
        );
        None
    }

    /// Index and type of a key's or the state's field.
    pub(super) fn record_field(&mut self, which: Which, name: &str, span: Span) -> Option<(usize, Type)> {
        let record = self.record(which)?;
        if let Some(index) = record.fields.iter().position(|field| field.name == name) {
            return Some((index, record.fields[index].ty));
        }
        let message = format!("`{}` has no field `{name}`", record.name);
        let names: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
        let help = words::suggest(name, "fields", names);
        self.diagnostics.report_at(codes::UNKNOWN_FIELD, span, message, help);
        None
    }

    fn context_field(&mut self, name: &str, span: Span) -> Val {
        if name == INGRESS_PORT {
            let kind = ExprKind::IngressPort;
            return Val::Scalar(ir::Expr { kind, ty: Type::Uint(16), span });
        }
        if self.is_state_handle(name) {
            return if self.module.state.is_some() { Val::Handle } else { Val::Unknown };
        }
        if let Some(index) = self.module.tables.iter().position(|table| table.handle == name) {
            return Val::Table(index);
        }
        if self.module.broken_tables.iter().any(|table| table == name) {
            return Val::Unknown;
        }
        let mut known: Vec<&str> = self.module.tables.iter().map(|table| table.handle.as_str()).collect();
        known.extend(self.module.state.as_ref().map(|state| state.handle.as_str()));
        known.push(INGRESS_PORT);
        self.diagnostics.report_at(
            codes::CONTEXT_FIELD,
            span,
            format!(
                "the context has no field `{name}`; its fields are the state, the tables and the ingress port"
            ),
            words::suggest(name, "fields", known),
        );
        Val::Unknown
    }

    pub(super) fn is_state_handle(&self, name: &str) -> bool {
        self.module.state_item.is_some_and(|item| words::snake_case(&item.ident.to_string()) == name)
    }

    /// A header that may not be there is used as if it were.
    pub(super) fn unchecked_header(&mut self, id: usize, span: Span) {
        let name = self.module.headers[id].name;
        self.diagnostics.report_at(
            codes::HEADER_UNCHECKED,
            span,
            format!("not every packet has `{name}`, and nothing here makes sure that this one does"),
            format!("take it first: `let Some({name}) = &mut pkt.{name} else {{ return cx.drop(\"no_{name}\") }};`"),
        );
    }

    /// The state is used before a lease.
    pub(super) fn no_lease(&mut self, span: Span) {
        self.diagnostics.report_at(
            codes::NO_LEASE,
            span,
            "the state is used without a lease: another switch may own it now",
            "take it first: `let state = cx.binding.lease(key)?;`",
        );
    }

    /// `Endpoint { addr, port: 80, .. }`
    pub(super) fn struct_literal(&mut self, item: &ExprStruct) -> Val {
        let name = item.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let Some(which) = self.which(&name) else {
            let help =
                "the key, the state, and structs of this module whose fields are words are what there is";
            self.unsupported(&item.path, "struct like this", help);
            return Val::Unknown;
        };
        let Some(record) = self.record(which).cloned() else { return Val::Unknown };
        if let Some(rest) = &item.rest {
            let message = "a struct is written with all its fields: what `..` adds is not seen here";
            self.diagnostics.report(codes::STRUCT_FIELDS, rest, message, "name every field");
        }
        let mut values: Vec<Option<ir::Expr>> = vec![None; record.fields.len()];
        let mut complete = item.rest.is_none();
        for field in &item.fields {
            complete &= self.literal_field(which, field, &mut values);
        }
        let missing: Vec<String> = record
            .fields
            .iter()
            .zip(&values)
            .filter(|(field, value)| value.is_none() && !names_field(item, &field.name))
            .map(|(field, _)| format!("`{}`", field.name))
            .collect();
        if !missing.is_empty() && item.rest.is_none() {
            self.diagnostics.report(
                codes::STRUCT_FIELDS,
                &item.path,
                format!("`{name}` is missing {}", missing.join(", ")),
                "give every field a value",
            );
        }
        match values.into_iter().collect::<Option<Vec<_>>>() {
            Some(values) if complete => Val::Record(which, values),
            _ => Val::Unknown,
        }
    }

    fn literal_field(
        &mut self,
        which: Which,
        field: &syn::FieldValue,
        values: &mut [Option<ir::Expr>],
    ) -> bool {
        let Member::Named(name) = &field.member else { return false };
        let known = self.record_field(which, &name.to_string(), name.span());
        let expected = known.map(|(_, ty)| ty);
        let value = self.expr(&field.expr, Want::Value(expected));
        let Some((index, ty)) = known else { return false };
        let value = self.coerce(value, ty, &field.expr);
        if values[index].is_some() {
            let message = format!("the field `{name}` is given twice");
            self.diagnostics.report_at(codes::STRUCT_FIELDS, name.span(), message, "remove one of them");
            return false;
        }
        let known = value.is_some();
        values[index] = value;
        known
    }
}

fn names_field(item: &ExprStruct, name: &str) -> bool {
    item.fields.iter().any(|field| matches!(&field.member, Member::Named(member) if member == name))
}

/// The plain name of an expression.
pub(super) fn plain_name(expr: &Expr) -> Option<&syn::Ident> {
    match expr {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident(),
        Expr::Paren(paren) => plain_name(&paren.expr),
        Expr::Group(group) => plain_name(&group.expr),
        _ => None,
    }
}
