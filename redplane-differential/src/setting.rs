//! What stays the same in all rounds of a case: the app, its configuration, and where values come from.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use redplane_bmv2::{Operator, TableValue};
use redplane_codegen::build;
use redplane_codegen::ir::{self, Match, Type};
use redplane_sdk::App;
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{NextHop, Route, StorePath, SwitchConfig};
use redplane_sdk::protocol::wire::UDP_PORT;
use redplane_sdk::protocol::{Lease, SwitchIdentity};

use crate::cases::Case;
use crate::generate::Pool;
use crate::interpreted::Rows;
use crate::round::STORE_PORT;
use crate::store::Store;
use crate::subject::register_names;

/// The lease: the longest that there is, so that none ends by itself within a round.
const LEASE: Duration = Duration::from_secs(3600);

/// Largest IPv4 packet to the store.
const STORE_MTU: u16 = 1600;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 255, 254);
const STORE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 255, 200);
const STORE_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0xaa]);

/// Shards of the store, all at its port. Three: no power of two divides the hash.
const SHARDS: u32 = 3;

/// What all rounds share.
pub struct Setting<A: App> {
    /// The IR.
    pub app: &'static ir::App,
    /// The software switches' configuration.
    pub config: SwitchConfig,
    /// BMv2's, with the app's tables.
    pub operator: Operator,
    /// The app's tables, as the software switch has them.
    pub tables: A::Tables,
    /// The same, as the interpreter looks them up.
    pub rows: Vec<Rows>,
    /// Where values come from.
    pub pool: Pool,
    /// A slot's registers.
    pub names: Vec<(String, u16)>,
}

impl<A: App> Setting<A> {
    /// The setting of a case.
    ///
    /// # Errors
    /// If the app is not there, or its tables cannot be read.
    pub fn new(case: &Case) -> anyhow::Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace is around this crate")?;
        let apps = build::read(&root.join(case.source))?;
        let app = apps.into_iter().find(|app| app.name == case.name);
        let app: &'static ir::App =
            Box::leak(Box::new(app.with_context(|| format!("no app {}", case.name))?));
        ensure!(redplane_codegen::hash(app) == A::IR_HASH, "{} was built from another source", case.name);
        let config = config()?;
        let mut operator = Operator::of_switch(&config, config.lease.ticks());
        operator.tables = serde_json::from_str(case.tables)?;
        let rows = app.tables.iter().map(|table| rows(table, &operator)).collect::<Result<Vec<_>, _>>()?;
        let addresses = addresses(app, &rows, &config);
        let message = 28 + 30 + usize::from(wire_bytes(&app.key) + wire_bytes(&app.state.record));
        let pool = Pool::new(app, likely(app, &rows), addresses, usize::from(STORE_MTU) - message - 20);
        let tables = serde_json::from_str(case.tables)?;
        Ok(Setting { app, config, operator, tables, rows, pool, names: register_names(app) })
    }

    /// A store that knows nothing.
    pub fn store(&self) -> Store {
        let mut envelope = self.config.mac.octets().to_vec();
        envelope.extend(STORE_MAC.octets());
        envelope.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
        envelope.extend(STORE_ADDRESS.octets());
        envelope.extend(ADDRESS.octets());
        let port = UDP_PORT.to_be_bytes();
        envelope.extend([port, port].concat());
        envelope.extend([0; 4]);
        let schema = redplane_sdk::app::schema::<A>();
        Store::new(self.app, schema, self.config.identity, envelope, self.config.lease.ticks())
    }
}

/// The way to a shard.
fn store_path(shard: u32) -> StorePath {
    let address = Ipv4Addr::from_bits(STORE_ADDRESS.to_bits() + shard);
    StorePath { address, mac: STORE_MAC, port: STORE_PORT }
}

fn wire_bytes(record: &ir::Record) -> u16 {
    record.fields.iter().map(|field| field.ty.wire_bytes()).sum()
}

fn config() -> anyhow::Result<SwitchConfig> {
    let mac = |port: u8| MacAddr::new([2, 0, 0, 0, 0, port]);
    let route = |prefix: [u8; 4], length, port: u16| Route {
        prefix: prefix.into(),
        length,
        next_hop: NextHop { port, source: mac(port as u8), destination: mac(0xb0 + port as u8) },
    };
    Ok(SwitchConfig {
        identity: SwitchIdentity { switch: 7, incarnation: 3 },
        mac: mac(STORE_PORT as u8),
        address: ADDRESS,
        lease: Lease::new(LEASE, 10)?,
        stores: (0..SHARDS).map(store_path).collect(),
        store_facing_ports: vec![STORE_PORT],
        routes: vec![
            route([10, 0, 0, 0], 8, 1),
            route([198, 51, 100, 0], 24, 2),
            route([203, 0, 113, 0], 24, 2),
            route([203, 0, 113, 128], 25, 1),
        ],
        store_mtu: STORE_MTU,
        authentication: None,
    })
}

/// The rows of a table, read apart from both switches' own reading.
fn rows(table: &ir::Table, operator: &Operator) -> anyhow::Result<Rows> {
    let bits = table.key.bits();
    let mut rows = Vec::new();
    for (key, value) in operator.tables.get(&table.handle).into_iter().flatten() {
        let (key, length) = match key.split_once('/') {
            Some((key, length)) => (key, length.parse()?),
            None => (key.as_str(), bits),
        };
        let value = match value {
            TableValue::Bool(value) => u128::from(*value),
            TableValue::Number(value) => u128::from(*value),
            TableValue::Text(text) => number(text)?,
        };
        rows.push((number(key)?, length, value));
    }
    ensure!(table.matching != Match::Ternary, "{}: ternary tables are not compared", table.name);
    Ok(Rows { matching: table.matching, bits, rows })
}

fn number(text: &str) -> anyhow::Result<u128> {
    redplane_bmv2::number(text).with_context(|| format!("`{text}` is no number or address"))
}

/// Two addresses of each prefix that a table says something of: most flows shall come about.
fn likely(app: &ir::App, rows: &[Rows]) -> Vec<u32> {
    let tables = app.tables.iter().zip(rows).filter(|(table, _)| table.key == Type::Ipv4);
    let rows = tables.flat_map(|(_, rows)| &rows.rows).filter(|row| row.2 != 0);
    rows.flat_map(|(key, length, _)| {
        let host = u32::MAX.checked_shr((*length).into()).unwrap_or(0);
        [*key as u32 | (host & 1), *key as u32 | (host & 0x0203)]
    })
    .collect()
}

/// Addresses that make a difference: at the ends of each prefix and beside it, in each table and route, and some that are
/// nowhere.
fn addresses(app: &ir::App, rows: &[Rows], config: &SwitchConfig) -> Vec<u32> {
    let tables = app.tables.iter().zip(rows).filter(|(table, _)| table.key == Type::Ipv4);
    let prefixes =
        tables.flat_map(|(_, rows)| rows.rows.iter().map(|(key, length, _)| (*key as u32, *length)));
    let routes = config.routes.iter().map(|route| (route.prefix.to_bits(), u16::from(route.length)));
    let mut addresses = Vec::new();
    for (prefix, length) in prefixes.chain(routes) {
        let last = prefix | u32::MAX.checked_shr(length.into()).unwrap_or(0);
        addresses.extend([prefix | (last & 0x0000_0001), prefix | (last & 0x0000_0203), last]);
        addresses.push(if prefix == 0 { 1 } else { last.wrapping_add(1) });
    }
    addresses.extend([Ipv4Addr::new(192, 0, 2, 9).to_bits(), Ipv4Addr::new(198, 51, 100, 7).to_bits()]);
    addresses.extend([config.address.to_bits()]);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
