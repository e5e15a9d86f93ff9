//! The operators' files: what the software switch reads in them is what a control plane is told.

use std::collections::BTreeMap;

use redplane_codegen::interpret::Lookup;
use redplane_codegen::ir::{self, Match, Type};
use redplane_codegen::operator::{self, Row};
use redplane_sdk::App;
use serde_json::Value;

use super::agreement::compile;

/// A file of tables, in both forms.
fn both<A: App>(text: &str, source: &str) -> (A::Tables, ir::App, BTreeMap<String, Vec<Row>>) {
    let ir = compile(source, A::NAME);
    let native = toml::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", A::NAME));
    let value: Value = toml::from_str(text).unwrap();
    let rows = operator::rows(&ir, &value).unwrap_or_else(|error| panic!("{}: {error}", A::NAME));
    (native, ir, rows)
}

fn number(value: &Value) -> u128 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number")).into()
}

/// Value and mask of a column, and how long the prefix is, if that counts.
fn column(matching: Match, ty: Type, key: &Value) -> (u128, u128) {
    let all = u128::MAX >> (128 - ty.bits());
    match matching {
        Match::Exact => (number(key), all),
        Match::Ternary => (number(&key[0]), number(&key[1])),
        Match::Lpm => {
            let (address, length) = key.as_str().unwrap().split_once('/').unwrap();
            let address: std::net::Ipv4Addr = address.parse().unwrap();
            (address.to_bits().into(), all & !(all >> length.parse::<u32>().unwrap()))
        }
    }
}

/// What a match unit with these rows gives.
fn matched(ir: &ir::App, rows: &BTreeMap<String, Vec<Row>>, table: usize, key: &[u128]) -> Vec<u128> {
    let table = &ir.tables[table];
    let role = |part: &str, name: &str, word: bool| {
        if word { format!("entry.{part}") } else { format!("entry.{part}.{name}") }
    };
    let mut best: Option<(u128, &Row)> = None;
    for row in &rows[&format!("tables.{}", table.handle)] {
        let columns = table.key.columns("key");
        let is_word = matches!(table.key, ir::Shape::Word(_));
        let cells =
            columns.iter().map(|(name, ty)| column(table.matching, *ty, &row[&role("key", name, is_word)]));
        let cells: Vec<(u128, u128)> = cells.collect();
        if key.iter().zip(&cells).any(|(word, (value, mask))| word & mask != *value) {
            continue;
        }
        let rank = match table.matching {
            Match::Exact => 0,
            Match::Lpm => cells[0].1,
            Match::Ternary => u128::MAX - number(&row["entry.priority"]),
        };
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, row));
        }
    }
    let is_word = matches!(table.value, ir::Shape::Word(_));
    let columns = table.value.columns("value");
    columns
        .iter()
        .map(|(name, _)| best.map_or(0, |(_, row)| number(&row[&role("value", name, is_word)])))
        .collect()
}

/// Keys made of what rows ask for, and of what is beside it.
fn keys(ir: &ir::App, rows: &BTreeMap<String, Vec<Row>>, table: usize) -> Vec<Vec<u128>> {
    let known = &ir.tables[table];
    let is_word = matches!(known.key, ir::Shape::Word(_));
    let mut keys: Vec<Vec<u128>> = vec![vec![]];
    for (name, ty) in known.key.columns("key") {
        let role = if is_word { "entry.key".to_owned() } else { format!("entry.key.{name}") };
        let all = u128::MAX >> (128 - ty.bits());
        let mut words: Vec<u128> = vec![0, all];
        for row in &rows[&format!("tables.{}", known.handle)] {
            let (value, mask) = column(known.matching, ty, &row[&role]);
            words.extend([value, value | all & !mask, value ^ 1 << (ty.bits() - 1), value ^ 1]);
        }
        words.sort_unstable();
        words.dedup();
        keys = keys.iter().flat_map(|key| words.iter().map(|word| [&key[..], &[*word]].concat())).collect();
    }
    keys
}

fn agree<A: App>(ir: &ir::App, rows: &BTreeMap<String, Vec<Row>>, native: Lookup<'_>) {
    let mut hits = 0;
    for table in 0..ir.tables.len() {
        for key in keys(ir, rows, table) {
            let expected = matched(ir, rows, table, &key);
            hits += usize::from(expected.iter().any(|word| *word != 0));
            assert_eq!(native(table, &key), expected, "{}: {} of {key:x?}", A::NAME, ir.tables[table].handle);
        }
    }
    assert!(hits > 3, "{}: the keys find something", A::NAME);
}

#[test]
fn the_file_of_the_firewall() {
    use apps::firewall::{App as Firewall, FiveTuple};
    use redplane_sdk::table::Columns;
    let (tables, ir, rows) =
        both::<Firewall>(include_str!("../tables/firewall.toml"), include_str!("../src/firewall.rs"));
    let lookup = |table: usize, key: &[u128]| {
        let tuple = || FiveTuple::from_words(key.try_into().unwrap());
        vec![u128::from(match ir.tables[table].handle.as_str() {
            "inside" => tables.inside.lookup(key[0] as u16),
            "blocked" => tables.blocked.lookup(tuple()),
            _ => tables.published.lookup(tuple()),
        })]
    };
    agree::<Firewall>(&ir, &rows, &lookup);
}

#[test]
fn the_file_of_the_load_balancer() {
    use apps::load_balancer::{App as LoadBalancer, Endpoint};
    use redplane_sdk::table::Columns;
    let (tables, ir, rows) = both::<LoadBalancer>(
        include_str!("../tables/load_balancer.toml"),
        include_str!("../src/load_balancer.rs"),
    );
    let lookup = |table: usize, key: &[u128]| {
        let end = Endpoint::from_words(key.try_into().unwrap());
        match ir.tables[table].handle.as_str() {
            "services" => vec![u128::from(tables.services.lookup(end))],
            _ => tables.fronts.lookup(end).words().to_vec(),
        }
    };
    agree::<LoadBalancer>(&ir, &rows, &lookup);
}

#[test]
fn the_file_of_the_nat() {
    use apps::nat::App as Nat;
    let (tables, ir, rows) = both::<Nat>(include_str!("../tables/nat.toml"), include_str!("../src/nat.rs"));
    let lookup = |table: usize, key: &[u128]| {
        let addr = std::net::Ipv4Addr::from_bits(key[0] as u32);
        vec![u128::from(match ir.tables[table].handle.as_str() {
            "inside" => tables.inside.lookup(addr),
            _ => tables.public.lookup(addr),
        })]
    };
    agree::<Nat>(&ir, &rows, &lookup);
}

#[test]
fn both_refuse_the_same_files() {
    use apps::firewall::{App as Firewall, Tables};
    let ir = compile(include_str!("../src/firewall.rs"), Firewall::NAME);
    for bad in [
        "nowhere = { \"1\" = true }",
        "inside = { \"65536\" = true }",
        "inside = { \"1\" = 7 }",
        "blocked = [{ src = \"10.0.0.0/8\" }]",
        "blocked = [{ src = \"10.0.0.1/8\", value = true }]",
        "blocked = [{ src = \"10.0.0.0/33\", value = true }]",
        "blocked = [{ src_port = \"0x51/0xfff0\", value = true }]",
        "blocked = [{ src_port = 70000, value = true }]",
        "blocked = [{ port = 7, value = true }]",
        "blocked = { \"7\" = true }",
    ] {
        assert!(toml::from_str::<Tables>(bad).is_err(), "{bad}");
        let value: Value = toml::from_str(bad).unwrap();
        assert!(operator::rows(&ir, &value).is_err(), "{bad}");
    }
}

/// Every table that the language's page shows is one of the firewall's, in both readers.
#[test]
fn the_guide_shows_tables_of_the_firewall() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../guide/src/language.md");
    let page = std::fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    for block in &blocks {
        let (_, _, rows) = both::<apps::firewall::App>(block, include_str!("../src/firewall.rs"));
        assert_eq!((rows["tables.inside"].len(), rows["tables.published"].len()), (1, 1));
    }
    assert!(!blocks.is_empty());
}
