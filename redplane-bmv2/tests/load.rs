//! The NAT's entries with an operator's configuration, as the switch is told of them.

use std::path::Path;

use redplane_bmv2::{Entries, LoadError, Operator, Runtime, load};
use redplane_sdk::pipeline::StorePath;
use serde_json::json;

use crate::fake::{Call, Fake, Reply};

const OPERATOR: &str = r#"{
    "switch": 7, "incarnation": 3, "address": "10.0.0.254", "mac": "02:00:00:00:00:03",
    "lease_ticks": 600000, "resend_ticks": 1000, "store_mtu": 1600,
    "stores": [{"address": "10.0.0.200", "mac": "02:00:00:00:00:aa", "port": 3}],
    "store_facing_ports": [3], "cpu_ports": [],
    "routes": [{"prefix": "10.0.0.0", "length": 8,
        "next_hop": {"port": 1, "source": "02:00:00:00:00:01", "destination": "02:00:00:00:00:b1"}}],
    "tables": {"inside": {"10.0.0.0/8": true}, "public": {"203.0.113.1": true}}
}"#;

pub(crate) fn text() -> String {
    read("p4-out/nat/v1model/entries.json")
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// The entries of an app, and an operator with the file of tables that the software switch reads too.
fn with_tables(app: &str) -> (Entries, Operator) {
    let tables = toml::from_str(&read(&format!("apps/tables/{app}.toml"))).unwrap();
    let entries = read(&format!("p4-out/{app}/v1model/entries.json"));
    (Entries::parse(&entries).unwrap(), Operator { tables, ..operator() })
}

pub(crate) fn operator() -> Operator {
    serde_json::from_str(OPERATOR).unwrap()
}

/// Handles count up from 40.
fn handles() -> impl Fn(&Call) -> Reply + Send + 'static {
    let next = std::sync::atomic::AtomicU8::new(40);
    move |call| match call.name.as_str() {
        "standard:bm_mt_add_entry" => {
            let handle = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Reply::Success(vec![0x08, 0, 0, 0, 0, 0, handle])
        }
        _ => Reply::Success(Vec::new()),
    }
}

#[test]
fn everything_is_filled_in() {
    let fake = Fake::start(handles());
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    load(&mut runtime, &Entries::parse(&text()).unwrap(), &operator()).unwrap();
    let configure = "[0x0007, 0x0003, 0x0a0000fe, 0x000927c0, 0x000003e8, 0x0001, 0x0640, 0x01fc, 0x01fd]";
    let to_store = "[0x0003, 0x0a0000c8, 0x0200000000aa, 0x020000000003]";
    let next_hop = "[0x0001, 0x020000000001, 0x0200000000b1]";
    let table = |table: &str, key: &str, action: &str, data: &str| {
        format!("bm_mt_add_entry 0 NatIngress.{table} [{key}] NatIngress.{action} {data} {{}}")
    };
    let expected = [
        format!(
            "bm_mt_set_default_action 0 NatIngress.rp_intake.rp_config NatIngress.rp_intake.rp_configure {configure}"
        ),
        table("rp_store.rp_store", "{0, {0x0000}}", "rp_store.rp_to_store", to_store),
        table("rp_route.rp_routes", "{1, {0x0a000000, 8}}", "rp_route.rp_next_hop", next_hop),
        table("translate.inside", "{1, {0x0a000000, 8}}", "translate.set_inside", "[0x01]"),
        table("translate.public", "{1, {0xcb007101, 32}}", "translate.set_public", "[0x01]"),
        "bm_parse_vset_add 0 NatParser.rp_addresses 0x00030a0000fe".to_owned(),
        "set_egress_queue_rate 508 1000".to_owned(),
        "mirroring_session_add 1 {508}".to_owned(),
        "mirroring_session_add 16 {3}".to_owned(),
    ];
    assert_eq!(fake.lines(), expected);
}

#[test]
fn what_changes_later_changes_these_entries_only() {
    let fake = Fake::start(handles());
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let mut loaded = load(&mut runtime, &Entries::parse(&text()).unwrap(), &operator()).unwrap();
    fake.lines();

    let path =
        StorePath { address: [10, 0, 0, 201].into(), mac: "02:00:00:00:00:ab".parse().unwrap(), port: 4 };
    loaded.set_store(&mut runtime, 0, path).unwrap();
    let modify = "bm_mt_modify_entry 0 NatIngress.rp_store.rp_store 40 NatIngress.rp_store.rp_to_store";
    let expected = [
        format!("{modify} [0x0004, 0x0a0000c9, 0x0200000000ab, 0x020000000003]"),
        "mirroring_session_add 1 {508}".to_owned(),
        "mirroring_session_add 16 {4}".to_owned(),
    ];
    assert_eq!(fake.lines(), expected);
    let error = loaded.set_store(&mut runtime, 1, path).unwrap_err();
    assert_eq!(error.to_string(), "no shard 1: there are 1");

    loaded.remove_route(&mut runtime, [10, 0, 0, 0].into(), 8).unwrap();
    loaded.set_table(&mut runtime, "inside", json!({"10.1.0.0/16": true})).unwrap();
    let expected = [
        "bm_mt_delete_entry 0 NatIngress.rp_route.rp_routes 41".to_owned(),
        "bm_mt_delete_entry 0 NatIngress.translate.inside 42".to_owned(),
        "bm_mt_add_entry 0 NatIngress.translate.inside [{1, {0x0a010000, 16}}] NatIngress.translate.set_inside \
         [0x01] {}"
            .to_owned(),
    ];
    assert_eq!(fake.lines(), expected);

    loaded.set_configuration(&mut runtime, |operator| operator.incarnation = 4).unwrap();
    let lines = fake.lines();
    assert!(lines.len() == 1 && lines[0].contains("rp_configure [0x0007, 0x0004,"), "{lines:?}");
}

#[test]
fn mistakes_name_their_place() {
    let fake = Fake::start(handles());
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let mut said = |text: &str, change: fn(&mut Operator)| {
        let mut operator = operator();
        change(&mut operator);
        let error: LoadError = load(&mut runtime, &Entries::parse(text).unwrap(), &operator).unwrap_err();
        error.to_string()
    };
    let changed = |from: &str, to: &str| text().replacen(from, to, 1);
    assert_eq!(
        said(&changed("\"store.mtu\"", "\"store.mut\""), |_| ()),
        "NatIngress.rp_intake.rp_config: `store_mtu` comes from `store.mut`, which is not there"
    );
    assert_eq!(
        said(&changed("\"for_each\": \"routes\"", "\"for_each\": \"roads\""), |_| ()),
        "NatIngress.rp_route.rp_routes has a row for each of `roads`, which is no list of an operator's configuration"
    );
    assert_eq!(
        said(&text(), |operator| operator.stores[0].port = 512),
        "NatIngress.rp_store.rp_store: `port` has 9 bits, 0x200 has more"
    );
    assert_eq!(
        said(&text(), |operator| {
            operator.tables.insert("outside".to_owned(), json!({}));
        }),
        "nat has no table `outside`"
    );
    assert_eq!(
        said(&text(), |operator| {
            let entries = (0..65).map(|i| (format!("10.{i}.0.0/16"), json!(true)));
            operator.tables.insert("inside".to_owned(), entries.collect());
        }),
        "NatIngress.translate.inside takes 64 rows, not 65"
    );
    assert_eq!(
        said(&text(), |operator| {
            operator.tables.insert("inside".to_owned(), json!({"10.0.0.0/40": true}));
        }),
        "NatIngress.translate.inside: `10.0.0.0/40` is no prefix"
    );
}

#[test]
fn rows_have_columns_masks_and_an_order() {
    let fake = Fake::start(handles());
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let (entries, operator) = with_tables("firewall");
    let mut loaded = load(&mut runtime, &entries, &operator).unwrap();
    let lines = fake.lines();
    let any = |bytes: usize| format!("{{2, {{0x{0}, 0x{0}}}}}", "00".repeat(bytes));
    let row = |table: &str, columns: [&str; 5], value: &str, priority: usize| {
        let key = columns.join(", ");
        format!(
            "bm_mt_add_entry 0 FirewallIngress.guard.{table} [{key}] FirewallIngress.guard.set_{table} [{value}] \
             {{{priority}}}"
        )
    };
    let (any32, any16, any8) = (any(4), any(2), any(1));
    let host = "{2, {0x0a000019, 0xffffffff}}";
    let expected = [
        row("blocked", [host, &any16, &any32, &any16, &any8], "0x00", 1),
        row("blocked", [&any32, &any16, &any32, "{2, {0x0019, 0xffff}}", "{2, {0x06, 0xff}}"], "0x01", 2),
    ];
    let blocked: Vec<_> = lines.iter().filter(|line| line.contains("guard.blocked")).collect();
    assert_eq!(blocked, expected.iter().collect::<Vec<_>>());
    let range =
        [&any32, &any16, "{2, {0x0a000100, 0xffffff00}}", "{2, {0x6980, 0xfff0}}", "{2, {0x11, 0xff}}"];
    assert!(lines.contains(&row("published", range, "0x01", 2)), "{lines:#?}");

    // The order is part of an entry; behind another of the same key, a row never counts.
    let rows = json!([
        {"dst_port": 25, "protocol": 6, "value": true},
        {"dst_port": "0x19/0xffff", "protocol": 6, "value": false},
        {"src": "10.0.0.25", "value": false},
    ]);
    loaded.set_table(&mut runtime, "blocked", rows).unwrap();
    let lines = fake.lines();
    let adds: Vec<_> = lines.iter().filter(|line| line.starts_with("bm_mt_add")).collect();
    assert_eq!((lines.len(), adds.len()), (4, 2), "{lines:#?}");
    assert!(adds[0].ends_with("[0x01] {1}") && adds[1].ends_with("[0x00] {3}"), "{lines:#?}");
    let mut wrong = |rows| loaded.set_table(&mut runtime, "blocked", rows).unwrap_err().to_string();
    let place = "FirewallIngress.guard.blocked";
    assert_eq!(
        wrong(json!([{"port": 1, "value": true}])),
        format!("{place} has no column `port`; the columns are: src, src_port, dst, dst_port, protocol")
    );
    assert_eq!(
        wrong(json!([{"src": "10.0.0.1/8", "value": true}])),
        format!("{place}: `10.0.0.1/8` is no value and mask")
    );
    assert!(wrong(json!([{"src_port": 1}])).ends_with("is no row with a `value`"));
    assert!(wrong(json!({"10.0.0.1": true})).ends_with("is no list of rows"));
}

#[test]
fn keys_and_values_may_be_structs() {
    let fake = Fake::start(handles());
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let (entries, operator) = with_tables("load_balancer");
    let mut loaded = load(&mut runtime, &entries, &operator).unwrap();
    let lines = fake.lines();
    let add = |table: &str| format!("bm_mt_add_entry 0 LoadBalancerIngress.balance.{table} [");
    let found: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(&add("fronts"))).collect();
    let key = |address: &str| format!("{{0, {{{address}}}}}, {{0, {{0x1f90}}}}, {{0, {{0x06}}}}]");
    let action = "LoadBalancerIngress.balance.set_fronts [0xcb00710a, 0x0050, 0x06] {}";
    let expected = ["0x0a000101", "0x0a000102"].map(|address| format!("{} {action}", key(address)));
    assert_eq!(found, expected);
    assert_eq!(lines.iter().filter(|line| line.starts_with(&add("services"))).count(), 2);

    let error = loaded.set_table(&mut runtime, "services", json!([{"addr": "10.0.0.1", "value": true}]));
    let place = "LoadBalancerIngress.balance.services";
    assert!(error.unwrap_err().to_string().starts_with(place), "a column is missing");
}
