//! What the templates print.

use super::checksums::{ChecksumsView, checksums};
use super::handler::{ControlView, RestView, controls, point_name, reasons, size_name};
use super::packet::{HeaderType, State, after_udp, aligned, constants, instances, messages, states, types};
use super::records::{RecordView, commented};
use super::{ROUTES_MAX, SESSION_CIRCLE, SESSION_RENEW, SHARDS_MAX, expr, names};
use crate::ir::{App, Enum, Mode, Variant, Verdict};
use crate::target::{drop_reasons, line, verdicts};

/// One app, lowered.
pub(super) struct View {
    pub(super) file: String,
    pub(super) source: String,
    pub(super) name: String,
    pub(super) camel: String,
    pub(super) upper: String,
    pub(super) id: u16,
    pub(super) fingerprint: String,
    pub(super) hash: String,
    pub(super) docs: Vec<String>,
    pub(super) routes_max: u32,
    pub(super) shards_max: u32,
    pub(super) session_circle: u32,
    pub(super) session_renew: u32,
    pub(super) sizes: Vec<String>,
    pub(super) enums: Vec<EnumView>,
    /// Whether the handler has `via`.
    pub(super) goes_via: bool,
    pub(super) reasons: Vec<String>,
    pub(super) reason_count: usize,
    pub(super) constants: Vec<String>,
    pub(super) headers: Vec<HeaderType>,
    pub(super) key: RecordView,
    pub(super) value: RecordView,
    pub(super) instances: Vec<String>,
    pub(super) locals: Vec<String>,
    pub(super) metadata: Vec<String>,
    /// Whether the handler asks for state that may not be there.
    pub(super) finds: bool,
    pub(super) states: Vec<State>,
    /// What follows UDP, by name, and its state.
    pub(super) after_udp: (&'static str, Option<State>),
    /// Which messages are of this app and layout.
    pub(super) messages: Vec<String>,
    pub(super) handler: HandlerName,
    pub(super) verdicts: Vec<ActionView>,
    pub(super) points: Vec<String>,
    pub(super) handlers: Vec<ControlView>,
    pub(super) rests: Vec<RestView>,
    pub(super) checksums: ChecksumsView,
    pub(super) ingress: Vec<String>,
    pub(super) parser_indent: String,
    pub(super) ingress_indent: String,
    pub(super) egress_indent: String,
}

/// How the handler is called, and where it is.
pub(super) struct HandlerName {
    pub(super) name: String,
    pub(super) instance: String,
    pub(super) location: String,
}

/// The names of an enum's values.
pub(super) struct EnumView {
    pub(super) docs: Vec<String>,
    pub(super) location: String,
    pub(super) rust: String,
    pub(super) constants: Vec<String>,
}

/// A verdict as an action.
pub(super) struct ActionView {
    pub(super) name: &'static str,
    pub(super) parameters: &'static str,
    pub(super) lines: &'static [&'static str],
}

impl View {
    pub(super) fn new(app: &App, source: &str) -> Self {
        let key = RecordView::new(&app.key, source, "key", "rp_key");
        let value = RecordView::new(&app.state.record, source, "value", "rp_value");
        let checksums = checksums(app);
        let (handlers, rests) = controls(app, source);
        let camel = names::camel(&app.name);
        View {
            file: format!("{}.p4", app.name),
            source: source.to_owned(),
            name: app.name.clone(),
            upper: app.name.to_uppercase(),
            id: app.id,
            fingerprint: format!("0x{:04x}", crate::fingerprint(app)),
            hash: format!("0x{:016x}", crate::hash(app)),
            docs: app.docs.iter().map(|text| format!(" {text}")).collect(),
            routes_max: ROUTES_MAX,
            shards_max: SHARDS_MAX,
            session_circle: SESSION_CIRCLE,
            session_renew: SESSION_RENEW,
            sizes: sizes(app),
            enums: enums(app, source),
            goes_via: verdicts(app).iter().any(|(verdict, _)| matches!(verdict, Verdict::Via(_))),
            reasons: reasons(app, source),
            reason_count: drop_reasons(app).len() + 1,
            constants: constants(app.headers),
            headers: types(app.headers),
            instances: instances(app.headers, &key.header, &value.header),
            locals: crossing(app),
            metadata: metadata(app, &key, &value, !checksums.groups.is_empty()),
            finds: app.handler.points.iter().any(|point| point.mode == Mode::Find),
            states: states(app.headers),
            after_udp: after_udp(app.headers),
            messages: messages(&app.name.to_uppercase()),
            handler: HandlerName {
                name: app.handler.name.clone(),
                instance: names::safe(&app.handler.name),
                location: format!("{source}:{}", line(app.handler.span)),
            },
            verdicts: actions(app),
            points: points(app, source),
            ingress: ingress(app, &rests, !checksums.groups.is_empty()),
            handlers,
            rests,
            checksums,
            parser_indent: " ".repeat("parser Parser(".len() + camel.len()),
            ingress_indent: " ".repeat("control Ingress(".len() + camel.len()),
            egress_indent: " ".repeat("control Egress(".len() + camel.len()),
            key,
            value,
            camel,
        }
    }

    /// The key and the state, in the order in which a message has them.
    pub(super) fn records(&self) -> [&RecordView; 2] {
        [&self.key, &self.value]
    }
}

fn sizes(app: &App) -> Vec<String> {
    let slots =
        (format!("{}_SLOTS", app.name.to_uppercase()), format!("1 << {}", app.state.slots.trailing_zeros()));
    let tables = app.tables.iter().enumerate();
    let tables = tables.map(|(index, table)| (size_name(app, index), table.size.to_string()));
    let row = |(name, size): (String, String)| (format!("const bit<32> {name}"), format!("= {size};"));
    aligned(std::iter::once(slots).chain(tables).map(row).collect())
}

fn enums(app: &App, source: &str) -> Vec<EnumView> {
    let named = crate::usage::variants(&app.handler);
    let view = |(index, known): (usize, &Enum)| {
        let row = |variant: &Variant| {
            let name = names::variant(known, variant.value.into());
            let is_named = named.contains(&(index, variant.value.into()));
            let quiet = if is_named { "" } else { "@noWarn(\"unused\") " };
            (format!("{quiet}const bit<8> {name}"), format!("= {};", variant.value), variant.docs.join(" "))
        };
        EnumView {
            docs: known.docs.iter().map(|text| format!(" {text}")).collect(),
            location: format!("{source}:{}", line(known.span)),
            rust: known.name.clone(),
            constants: commented(known.variants.iter().map(row).collect()),
        }
    };
    app.enums.iter().enumerate().map(view).collect()
}

fn points(app: &App, source: &str) -> Vec<String> {
    if app.handler.points.is_empty() {
        return Vec::new();
    }
    let last = app.handler.points.len();
    let row = |(index, point): (usize, &crate::ir::LeasePoint)| {
        let comma = if index + 1 == last { "" } else { "," };
        let value = format!("= {}{comma}", index + 1);
        (point_name(app, index), value, format!("{source}:{}", line(point.span)))
    };
    let rows = std::iter::once(("NONE".to_owned(), "= 0,".to_owned(), String::new()));
    commented(rows.chain(app.handler.points.iter().enumerate().map(row)).collect())
}

fn crossing(app: &App) -> Vec<String> {
    let crossing = app.handler.locals.iter().filter(|local| local.crosses);
    aligned(
        crossing
            .map(|local| (expr::local_type(local.ty), format!("{};", names::safe(&local.name))))
            .collect(),
    )
}

/// The members of `metadata_t` after those of the machinery alone.
fn metadata(app: &App, key: &RecordView, value: &RecordView, sums: bool) -> Vec<String> {
    let mut rows = vec![
        (key.structure.clone(), "key;", ""),
        (value.structure.clone(), "value;", ""),
        ("rp_slot_t".to_owned(), "slot;", ""),
    ];
    if sums {
        rows.push(("rp_sums_t".to_owned(), "sums;", ""));
    }
    if app.handler.locals.iter().any(|local| local.crosses) {
        rows.push((format!("{}_locals_t", app.name), "local;", ""));
    }
    if !app.handler.points.is_empty() {
        rows.push((format!("{}_point_t", app.name), "point;", "that the handler reached"));
    }
    if verdicts(app).iter().any(|(verdict, _)| matches!(verdict, Verdict::Via(_))) {
        rows.push(("bit<32>".to_owned(), "via;", "whose route is taken, if not the destination's"));
        rows.push(("bool".to_owned(), "goes_via;", ""));
    }
    rows.extend([
        ("rp_role_t".to_owned(), "role;", ""),
        ("rp_step_t".to_owned(), "step;", ""),
        ("rp_verdict_t".to_owned(), "verdict;", ""),
        ("rp_fate_t".to_owned(), "fate;", ""),
        ("rp_drop_t".to_owned(), "reason;", ""),
        ("bit<32>".to_owned(), "now;", "ticks"),
        ("bit<16>".to_owned(), "shard;", "of the key"),
        ("bit<16>".to_owned(), "out_port;", ""),
        ("bool".to_owned(), "create;", "the lease point makes the record if it is absent"),
        ("bool".to_owned(), "wrote;", "the handler wrote the state"),
        ("bool".to_owned(), "is_message;", "the parser took it for one of the protocol"),
    ]);
    commented(rows.into_iter().map(|(ty, name, why)| (ty, name.to_owned(), why.to_owned())).collect())
}

/// The instances of the ingress control, in the order of its stations.
fn ingress(app: &App, rests: &[RestView], sums: bool) -> Vec<String> {
    let mut rows: Vec<(String, String)> = vec![("RpIntake()".to_owned(), "rp_intake;".to_owned())];
    let mut own = |ty: &str, name: &str| rows.push((format!("{ty}()"), format!("{name};")));
    if sums {
        own("RpChecksumsBefore", "rp_checksums_before");
    }
    own(&names::camel(&app.handler.name), &names::safe(&app.handler.name));
    own("RpLocate", "rp_locate");
    own("RpTicket", "rp_ticket");
    own("RpKey", "rp_key");
    own("RpGeneration", "rp_generation");
    own("RpLease", "rp_lease");
    own("RpValueLoad", "rp_value_load");
    for rest in rests {
        own(&rest.control, &rest.instance);
    }
    own("RpValueStore", "rp_value_store");
    own("RpSequence", "rp_sequence");
    own("RpAcknowledged", "rp_acknowledged");
    own("RpRoute", "rp_route");
    if sums {
        own("RpChecksumsAfter", "rp_checksums_after");
    }
    own("RpSettle", "rp_settle");
    own("RpRenewal", "rp_renewal");
    own("RpMessage", "rp_message");
    own("RpRetransmit", "rp_retransmit");
    own("RpSweep", "rp_sweep");
    own("RpStore", "rp_store");
    own("RpDispatch", "rp_dispatch");
    aligned(rows)
}

/// The verdicts that this handler has; a drop is always one of them.
fn actions(app: &App) -> Vec<ActionView> {
    let verdicts = verdicts(app);
    let has = |wanted: fn(&Verdict) -> bool| verdicts.iter().any(|(verdict, _)| wanted(verdict));
    let mut actions = Vec::new();
    let mut add = |name, parameters, lines| actions.push(ActionView { name, parameters, lines });
    if has(|verdict| matches!(verdict, Verdict::Forward)) {
        add("rp_forward", "", &["meta.verdict = rp_verdict_t.FORWARD;"][..]);
    }
    if has(|verdict| matches!(verdict, Verdict::Via(_))) {
        const VIA: &[&str] =
            &["meta.verdict = rp_verdict_t.FORWARD;", "meta.via = addr;", "meta.goes_via = true;"];
        add("rp_via", ", in bit<32> addr", VIA);
    }
    if has(|verdict| matches!(verdict, Verdict::To(_))) {
        add("rp_to", ", in bit<16> port", &["meta.verdict = rp_verdict_t.TO;", "meta.out_port = port;"]);
    }
    if has(|verdict| matches!(verdict, Verdict::Reply)) {
        add("rp_reply", "", &["meta.verdict = rp_verdict_t.REPLY;"]);
    }
    if has(|verdict| matches!(verdict, Verdict::Recirculate)) {
        add("rp_recirculate", "", &["meta.verdict = rp_verdict_t.RECIRCULATE;"]);
    }
    add("rp_drop", ", in rp_drop_t reason", &["meta.verdict = rp_verdict_t.DROP;", "meta.reason = reason;"]);
    actions
}
