//! What stays the same in all rounds of a case: the app, its configuration, and where values come from.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use redplane_bmv2::Operator;
use redplane_codegen::ir::{self, Type};
use redplane_codegen::{build, operator};
use redplane_sdk::App;
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{NextHop, Route, StorePath, SwitchConfig};
use redplane_sdk::protocol::wire::UDP_PORT;
use redplane_sdk::protocol::{Lease, SwitchIdentity};
use serde_json::Value;

use crate::cases::Case;
use crate::generate::Pool;
use crate::interpreted::{Row, Rows};
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
        let given = operator::rows(app, &serde_json::from_str(case.tables)?)?;
        let rows = |table: &ir::Table| {
            rows(table, given.get(&format!("tables.{}", table.handle)).map_or(&[], Vec::as_slice))
        };
        let rows = app.tables.iter().map(rows).collect::<Result<Vec<_>, _>>()?;
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
fn rows(table: &ir::Table, given: &[operator::Row]) -> anyhow::Result<Rows> {
    let mut rows = Vec::new();
    for given in given {
        let cell = |part: &str, shape: &ir::Shape, column: &str| {
            let role = match shape {
                ir::Shape::Word(_) => format!("entry.{part}"),
                ir::Shape::Record(_) => format!("entry.{part}.{column}"),
            };
            given.get(&role).with_context(|| format!("{}: no {role}", table.name))
        };
        let key = table.key.columns("key").into_iter();
        let key = key.map(|(column, ty)| pattern(cell("key", &table.key, column)?, ty));
        let value = table.value.columns("value").into_iter();
        let value = value.map(|(column, _)| number(cell("value", &table.value, column)?));
        rows.push(Row {
            key: key.collect::<anyhow::Result<_>>()?,
            value: value.collect::<anyhow::Result<_>>()?,
        });
    }
    let miss = vec![0; table.value.columns("value").len()];
    Ok(Rows { matching: table.matching, miss, rows })
}

/// Value and mask of a column.
fn pattern(cell: &Value, ty: Type) -> anyhow::Result<(u128, u128)> {
    let all = u128::MAX >> (128 - ty.bits());
    if let Some([value, mask]) = cell.as_array().map(Vec::as_slice) {
        return Ok((number(value)?, number(mask)?));
    }
    match cell.as_str().and_then(|text| text.split_once('/')) {
        Some((address, length)) => {
            let host = all.checked_shr(length.parse()?).unwrap_or(0);
            Ok((number(&Value::from(address))?, all & !host))
        }
        None => Ok((number(cell)?, all)),
    }
}

fn number(cell: &Value) -> anyhow::Result<u128> {
    let number = match cell {
        Value::String(text) => redplane_bmv2::number(text),
        cell => cell.as_u64().map(u128::from),
    };
    number.with_context(|| format!("`{cell}` is no number or address"))
}

/// IPv4 addresses that a table has a row for: value and mask.
fn prefixes<'a>(app: &'a ir::App, rows: &'a [Rows]) -> impl Iterator<Item = (u32, u32, &'a Row)> {
    app.tables.iter().zip(rows).flat_map(|(table, rows)| {
        let columns = table.key.columns("key").into_iter().enumerate();
        let columns = columns.filter(|(_, (_, ty))| *ty == Type::Ipv4).map(|(column, _)| column);
        columns.flat_map(|column| {
            let cell = move |row: &'a Row| (row.key[column].0 as u32, row.key[column].1 as u32, row);
            rows.rows.iter().map(cell).filter(|(_, mask, _)| *mask != 0)
        })
    })
}

/// Two addresses of each prefix that a table says something of: most flows shall come about.
fn likely(app: &ir::App, rows: &[Rows]) -> Vec<u32> {
    let prefixes = prefixes(app, rows).filter(|(.., row)| row.value.iter().any(|word| *word != 0));
    prefixes.flat_map(|(value, mask, _)| [value | (!mask & 1), value | (!mask & 0x0203)]).collect()
}

/// Addresses that make a difference: at the ends of each prefix and beside it, in each table and route, and some that are
/// nowhere.
fn addresses(app: &ir::App, rows: &[Rows], config: &SwitchConfig) -> Vec<u32> {
    let host = |length: u8| u32::MAX.checked_shr(length.into()).unwrap_or(0);
    let routes = config.routes.iter().map(|route| (route.prefix.to_bits(), !host(route.length)));
    let prefixes = prefixes(app, rows).map(|(value, mask, _)| (value, mask));
    let mut addresses = Vec::new();
    for (prefix, mask) in prefixes.chain(routes) {
        let last = prefix | !mask;
        addresses.extend([prefix | (last & 0x0000_0001), prefix | (last & 0x0000_0203), last]);
        addresses.push(if prefix == 0 { 1 } else { last.wrapping_add(1) });
    }
    addresses.extend([Ipv4Addr::new(192, 0, 2, 9).to_bits(), Ipv4Addr::new(198, 51, 100, 7).to_bits()]);
    addresses.extend([config.address.to_bits()]);
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
