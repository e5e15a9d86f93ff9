//! What the control plane of a v1model switch has to fill in: tables, value sets, mirror sessions, queues.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ir::{App, Match, Shape, Table as OperatorTable, Type};
use crate::schema::json;
use crate::target::{drop_reasons, v1model};

/// Queue of the circling copies: a port that no interface is bound to.
const CIRCLE_PORT: u64 = 508;
/// Queue of packets that are processed anew; likewise.
const RECIRCULATE_PORT: u64 = 509;
/// Packets a second that the circling copies may make, all together: enough for a retransmission of each of a thousand
/// writes in flight every second, and little beside the traffic.
const CIRCLE_RATE: u64 = 1_000;

#[derive(Serialize)]
struct Entries {
    app: String,
    target: &'static str,
    program: String,
    defaults: Vec<Table>,
    tables: Vec<Table>,
    value_sets: Vec<ValueSet>,
    mirror_sessions: Vec<MirrorSession>,
    multicast_groups: [(); 0],
    queues: Vec<Queue>,
    counters: Vec<Counter>,
}

/// A table and the rows that it gets: one for each item of `for_each`, or one row, its default.
#[derive(Serialize)]
struct Table {
    table: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_each: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key: Vec<Key>,
    /// Of the rows that match, the one with the least number counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    action: String,
    parameters: Vec<Parameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
}

#[derive(Serialize)]
struct Key {
    name: String,
    matching: &'static str,
    bits: u16,
    from: String,
    /// What an operator may write for a number, of an enum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, u8>,
}

#[derive(Serialize)]
struct Parameter {
    name: String,
    bits: u16,
    #[serde(flatten)]
    source: Source,
    /// What an operator may write for a number, of an enum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, u8>,
}

/// Where a number comes from: the operator's configuration, by role, or the compiler.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    From(String),
    Value(u64),
}

#[derive(Serialize)]
struct ValueSet {
    value_set: String,
    for_each: &'static str,
    members: Vec<Parameter>,
}

#[derive(Serialize)]
struct MirrorSession {
    /// With `for_each`, of its first item; the following ones count up.
    session: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_each: Option<&'static str>,
    port: Source,
}

#[derive(Serialize)]
struct Queue {
    port: u64,
    packets_per_second: u64,
}

#[derive(Serialize)]
struct Counter {
    counter: String,
    /// By index.
    names: Vec<String>,
}

/// The entries as JSON. What the operator decides is named by its role (`"from": "switch.address"`), what the compiler
/// decides is there as a number.
pub fn render(app: &App) -> String {
    let ingress = v1model::ingress_name(app);
    let mut counters = vec!["none".to_owned()];
    counters.extend(drop_reasons(app).into_iter().map(|(name, _)| name));
    json(&Entries {
        app: app.name.clone(),
        target: "v1model",
        program: format!("{}.p4", app.name),
        defaults: vec![configuration(&ingress)],
        tables: tables(app, &ingress),
        value_sets: value_sets(&v1model::parser_name(app)),
        mirror_sessions: vec![
            MirrorSession {
                session: v1model::SESSION_CIRCLE,
                for_each: None,
                port: Source::Value(CIRCLE_PORT),
            },
            MirrorSession {
                session: v1model::SESSION_RENEW,
                for_each: Some("shards"),
                port: Source::From("shard.port".to_owned()),
            },
        ],
        multicast_groups: [],
        queues: vec![Queue { port: CIRCLE_PORT, packets_per_second: CIRCLE_RATE }],
        counters: vec![Counter { counter: format!("{ingress}.rp_dispatch.rp_drops"), names: counters }],
    })
}

fn value_sets(parser: &str) -> Vec<ValueSet> {
    let addresses = ValueSet {
        value_set: format!("{parser}.rp_addresses"),
        for_each: "store_facing_ports",
        members: vec![from("port", 9, "port"), from("address", 32, "switch.address")],
    };
    let cpu = ValueSet {
        value_set: format!("{parser}.rp_cpu_ports"),
        for_each: "cpu_ports",
        members: vec![from("port", 9, "port")],
    };
    vec![addresses, cpu]
}

fn from(name: &str, bits: u16, role: &str) -> Parameter {
    let source = Source::From(role.to_owned());
    Parameter { name: name.to_owned(), bits, source, names: BTreeMap::new() }
}

fn value(name: &str, bits: u16, number: u64) -> Parameter {
    Parameter { name: name.to_owned(), bits, source: Source::Value(number), names: BTreeMap::new() }
}

fn configuration(ingress: &str) -> Table {
    Table {
        table: format!("{ingress}.rp_intake.rp_config"),
        for_each: None,
        key: Vec::new(),
        priority: None,
        action: format!("{ingress}.rp_intake.rp_configure"),
        parameters: vec![
            from("switch_id", 16, "switch.id"),
            from("incarnation", 16, "switch.incarnation"),
            from("address", 32, "switch.address"),
            from("lease", 32, "lease.ticks"),
            from("resend", 32, "resend.ticks"),
            from("shards", 16, "shards.count"),
            from("store_mtu", 16, "store.mtu"),
            value("circle_port", 9, CIRCLE_PORT),
            value("recirculate_port", 9, RECIRCULATE_PORT),
        ],
        size: None,
    }
}

fn tables(app: &App, ingress: &str) -> Vec<Table> {
    let key = |name: &str, matching, bits, from: &str| {
        vec![Key { name: name.to_owned(), matching, bits, from: from.to_owned(), names: BTreeMap::new() }]
    };
    let mut tables = vec![
        Table {
            table: format!("{ingress}.rp_store.rp_store"),
            for_each: Some("shards".to_owned()),
            key: key("shard", "exact", 16, "shard.index"),
            priority: None,
            action: format!("{ingress}.rp_store.rp_to_store"),
            parameters: vec![
                from("port", 9, "shard.port"),
                from("address", 32, "shard.address"),
                from("mac", 48, "shard.mac"),
                from("own_mac", 48, "port.mac"),
            ],
            size: Some(v1model::SHARDS_MAX),
        },
        Table {
            table: format!("{ingress}.rp_route.rp_routes"),
            for_each: Some("routes".to_owned()),
            key: key("dst", "lpm", 32, "route.prefix"),
            priority: None,
            action: format!("{ingress}.rp_route.rp_next_hop"),
            parameters: vec![
                from("port", 9, "route.port"),
                from("src", 48, "port.mac"),
                from("dst", 48, "route.mac"),
            ],
            size: Some(v1model::ROUTES_MAX),
        },
    ];
    for place in v1model::table_places(app) {
        let table = &app.tables[place.table];
        tables.push(Table {
            table: place.name,
            for_each: Some(format!("tables.{}", table.handle)),
            key: key_columns(app, table),
            priority: (table.matching == Match::Ternary).then_some("entry.priority"),
            action: place.action,
            parameters: parameters(app, table),
            size: Some(table.size),
        });
    }
    tables
}

fn key_columns(app: &App, table: &OperatorTable) -> Vec<Key> {
    let matching = v1model::matching(table.matching);
    let column = |(name, ty, from): (&str, Type, _)| Key {
        name: v1model::column_name(&table.key, name),
        matching,
        bits: ty.bits(),
        from,
        names: names(app, ty),
    };
    columns(&table.key, "key").into_iter().map(column).collect()
}

fn parameters(app: &App, table: &OperatorTable) -> Vec<Parameter> {
    let column = |(name, ty, role): (&str, Type, String)| {
        let parameter = from(&v1model::parameter_name(&table.value, name), ty.bits(), &role);
        Parameter { names: names(app, ty), ..parameter }
    };
    columns(&table.value, "value").into_iter().map(column).collect()
}

/// The variants of an enum, none of another type.
fn names(app: &App, ty: Type) -> BTreeMap<String, u8> {
    let Type::Enum(index) = ty else { return BTreeMap::new() };
    app.enums[index].variants.iter().map(|variant| (variant.name.clone(), variant.value)).collect()
}

/// Name, type and role of each word: `entry.key`, or `entry.key.addr` of a struct.
fn columns<'a>(shape: &'a Shape, word: &'a str) -> Vec<(&'a str, Type, String)> {
    let role = |name: &str| match shape {
        Shape::Word(_) => format!("entry.{word}"),
        Shape::Record(_) => format!("entry.{word}.{name}"),
    };
    shape.columns(word).into_iter().map(|(name, ty)| (name, ty, role(name))).collect()
}
