//! From the emitted entries and an operator's configuration to a switch that works.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{Route, StorePath};

use crate::entries::{Column, Entries, Matching, Parameter, Source, Table};
use crate::error::RuntimeError;
use crate::operator::{Operator, mac_number, number as number_of};
use crate::runtime::{EntryHandle, MatchKey, Runtime};
use crate::tables;

/// Why a switch was not filled, or not changed. `place` is the table, value set, or session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The switch refused.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The entries ask for a list of which an operator knows nothing.
    #[error("{place} has a row for each of `{list}`, which is no list of an operator's configuration")]
    List {
        /// Where.
        place: String,
        /// The list.
        list: String,
    },
    /// The entries ask for a number of which an operator knows nothing.
    #[error("{place}: `{name}` comes from `{role}`, which is not there")]
    Role {
        /// Where.
        place: String,
        /// The parameter or column.
        name: String,
        /// The role.
        role: String,
    },
    /// A number does not fit.
    #[error("{place}: `{name}` has {bits} bits, {value:#x} has more")]
    Width {
        /// Where.
        place: String,
        /// The parameter or column.
        name: String,
        /// Its width.
        bits: u16,
        /// The number.
        value: u128,
    },
    /// A key or value that cannot be read.
    #[error("{place}: `{text}` is no {expected}")]
    Text {
        /// Where.
        place: String,
        /// What is there.
        text: String,
        /// What should be.
        expected: &'static str,
    },
    /// A row with a column that its table does not have.
    #[error("{place} has no column `{column}`; the columns are: {known}")]
    Column {
        /// The table.
        place: String,
        /// The column.
        column: String,
        /// Those that there are.
        known: String,
    },
    /// More rows than the table takes.
    #[error("{place} takes {size} rows, not {found}")]
    Size {
        /// The table.
        place: String,
        /// Rows that it takes.
        size: usize,
        /// Rows that the configuration has.
        found: usize,
    },
    /// The configuration fills a table that the app does not have.
    #[error("{app} has no table `{table}`")]
    NoTable {
        /// The app.
        app: String,
        /// The table.
        table: String,
    },
    /// A shard that the configuration does not have.
    #[error("no shard {shard}: there are {shards}")]
    NoShard {
        /// The shard.
        shard: u16,
        /// How many there are.
        shards: usize,
    },
}

/// What a role stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given {
    Number(u128),
    /// A prefix, and its length.
    Prefix(u128, u8),
    /// An operator's text, to be read as the column or parameter asks for.
    Text(String),
}

/// An item of a list: what its roles stand for.
pub(crate) type Item = BTreeMap<String, Given>;

/// Fills a switch that has just started.
///
/// # Errors
/// [`LoadError`]; the switch is then filled in part.
pub fn load(runtime: &mut Runtime, entries: &Entries, operator: &Operator) -> Result<Loaded, LoadError> {
    let mut loaded =
        Loaded { entries: entries.clone(), operator: operator.clone(), handles: BTreeMap::new() };
    for table in operator.tables.keys() {
        let list = format!("tables.{table}");
        if !entries.tables.iter().any(|known| known.for_each.as_ref() == Some(&list)) {
            return Err(LoadError::NoTable { app: entries.app.clone(), table: table.clone() });
        }
    }
    loaded.configure(runtime)?;
    for table in &entries.tables {
        let rows = rows(table, operator)?;
        if let Some(size) = table.size.filter(|size| rows.len() > *size) {
            return Err(LoadError::Size { place: table.table.clone(), size, found: rows.len() });
        }
        for row in rows {
            loaded.set_row(runtime, table, &row)?;
        }
    }
    for set in &entries.value_sets {
        for item in items(&set.value_set, &set.for_each, operator)? {
            let (mut member, mut bits) = (0u128, 0);
            for field in &set.members {
                member = member << field.bits | number(&set.value_set, field, operator, &item)?;
                bits += field.bits;
            }
            runtime.add_to_value_set(&set.value_set, &big_endian(member, bits))?;
        }
    }
    for queue in &entries.queues {
        runtime.set_queue_rate(queue.port, queue.packets_per_second)?;
    }
    loaded.set_mirrors(runtime)?;
    Ok(loaded)
}

/// A switch that was filled: what it has, and which entry is where. It must be told of every change.
#[derive(Clone, Debug)]
pub struct Loaded {
    entries: Entries,
    operator: Operator,
    handles: BTreeMap<Place, EntryHandle>,
}

/// A table, a key in it, and its priority.
type Place = (String, Vec<MatchKey>, Option<i32>);

impl Loaded {
    /// The configuration as it is now.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// What was loaded.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// When a shard has a new head: where its requests go from now on.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn set_store(&mut self, runtime: &mut Runtime, shard: u16, path: StorePath) -> Result<(), LoadError> {
        let shards = self.operator.stores.len();
        let store = self.operator.stores.get_mut(usize::from(shard));
        *store.ok_or(LoadError::NoShard { shard, shards })? = path;
        self.refresh(runtime, "shards")?;
        self.set_mirrors(runtime)
    }

    /// Adds a route, or changes the next hop of its prefix.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn set_route(&mut self, runtime: &mut Runtime, route: Route) -> Result<(), LoadError> {
        self.operator.routes.retain(|known| (known.prefix, known.length) != (route.prefix, route.length));
        self.operator.routes.push(route);
        self.refresh(runtime, "routes")
    }

    /// Takes a route away, if it is there.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn remove_route(
        &mut self,
        runtime: &mut Runtime,
        prefix: Ipv4Addr,
        length: u8,
    ) -> Result<(), LoadError> {
        self.operator.routes.retain(|known| (known.prefix, known.length) != (prefix, length));
        self.refresh(runtime, "routes")
    }

    /// Gives a table of the app these entries, as [`Operator::tables`] has them.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn set_table(
        &mut self,
        runtime: &mut Runtime,
        table: &str,
        entries: serde_json::Value,
    ) -> Result<(), LoadError> {
        self.operator.tables.insert(table.to_owned(), entries);
        self.refresh(runtime, &format!("tables.{table}"))
    }

    /// Changes what is one number for the whole switch: identity, address, lease, store MTU. Lists stay as they are.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn set_configuration(
        &mut self,
        runtime: &mut Runtime,
        change: impl FnOnce(&mut Operator),
    ) -> Result<(), LoadError> {
        let mut changed = self.operator.clone();
        change(&mut changed);
        self.operator = Operator {
            stores: self.operator.stores.clone(),
            store_facing_ports: self.operator.store_facing_ports.clone(),
            cpu_ports: self.operator.cpu_ports.clone(),
            routes: self.operator.routes.clone(),
            tables: self.operator.tables.clone(),
            ..changed
        };
        self.configure(runtime)
    }

    fn configure(&self, runtime: &mut Runtime) -> Result<(), LoadError> {
        for table in &self.entries.defaults {
            let data = data(table, &self.operator, &Item::new())?;
            runtime.set_default_action(&table.table, &table.action, &data)?;
        }
        Ok(())
    }

    /// Brings the tables of a list in step with the configuration.
    fn refresh(&mut self, runtime: &mut Runtime, list: &str) -> Result<(), LoadError> {
        let tables = self.entries.tables.iter().filter(|table| table.for_each.as_deref() == Some(list));
        for table in tables.cloned().collect::<Vec<_>>() {
            let wanted = rows(&table, &self.operator)?;
            let gone = |((name, key, priority), _): &(&Place, &EntryHandle)| {
                let is_it = |row: &Row| row.key == *key && row.priority == *priority;
                *name == table.table && !wanted.iter().any(is_it)
            };
            let gone: Vec<_> =
                self.handles.iter().filter(gone).map(|(key, handle)| (key.clone(), *handle)).collect();
            for (key, handle) in gone {
                runtime.delete_entry(&table.table, handle)?;
                self.handles.remove(&key);
            }
            for row in &wanted {
                self.set_row(runtime, &table, row)?;
            }
        }
        Ok(())
    }

    fn set_row(&mut self, runtime: &mut Runtime, table: &Table, row: &Row) -> Result<(), LoadError> {
        let place = (table.table.clone(), row.key.clone(), row.priority);
        if let Some(handle) = self.handles.get(&place) {
            return Ok(runtime.modify_entry(&table.table, *handle, &table.action, &row.data)?);
        }
        let handle = runtime.add_entry(&table.table, &row.key, &table.action, &row.data, row.priority)?;
        self.handles.insert(place, handle);
        Ok(())
    }

    fn set_mirrors(&self, runtime: &mut Runtime) -> Result<(), LoadError> {
        for mirror in &self.entries.mirror_sessions {
            let place = format!("mirror session {}", mirror.session);
            let items = match &mirror.for_each {
                Some(list) => items(&place, list, &self.operator)?,
                None => vec![Item::new()],
            };
            let (from, value) = match &mirror.port {
                Source::From(role) => (Some(role.clone()), None),
                Source::Value(value) => (None, Some(*value)),
            };
            let port = Parameter { name: "port".to_owned(), bits: 9, from, value, names: BTreeMap::new() };
            for (item, session) in items.iter().zip(mirror.session..) {
                let port = number(&place, &port, &self.operator, item)?;
                runtime.set_mirror_session(session, port as u16)?;
            }
        }
        Ok(())
    }
}

/// One row of a table, as the switch takes it.
struct Row {
    key: Vec<MatchKey>,
    data: Vec<Vec<u8>>,
    /// Of a ternary key: of the rows that match, the one with the least counts.
    priority: Option<i32>,
}

fn rows(table: &Table, operator: &Operator) -> Result<Vec<Row>, LoadError> {
    let list = table.for_each.as_deref().unwrap_or_default();
    let items = match list.strip_prefix("tables.") {
        Some(name) => tables::items(table, operator.tables.get(name))?,
        None => items(&table.table, list, operator)?,
    };
    let mut rows: Vec<Row> = Vec::new();
    for item in &items {
        let key = table.key.iter().map(|column| key(&table.table, column, operator, item));
        let key = key.collect::<Result<Vec<_>, LoadError>>()?;
        let priority = match &table.priority {
            Some(role) => Some(priority(&table.table, role, operator, item)?),
            None => None,
        };
        // Behind a row of the same key, one that has a priority never counts.
        if priority.is_none() || rows.iter().all(|row| row.key != key) {
            rows.push(Row { key, data: data(table, operator, item)?, priority });
        }
    }
    Ok(rows)
}

fn priority(place: &str, role: &str, operator: &Operator, item: &Item) -> Result<i32, LoadError> {
    let (name, from) = ("priority".to_owned(), Some(role.to_owned()));
    let parameter = Parameter { name, bits: 31, from, value: None, names: BTreeMap::new() };
    Ok(number(place, &parameter, operator, item)? as i32)
}

fn data(table: &Table, operator: &Operator, item: &Item) -> Result<Vec<Vec<u8>>, LoadError> {
    let value = |parameter: &Parameter| {
        Ok(big_endian(number(&table.table, parameter, operator, item)?, parameter.bits))
    };
    table.parameters.iter().map(value).collect()
}

/// The items of a list, with the roles that each brings.
fn items(place: &str, list: &str, operator: &Operator) -> Result<Vec<Item>, LoadError> {
    let ports = |ports: &[u16]| ports.iter().map(|port| item([("port", from(*port))])).collect();
    Ok(match list {
        "shards" => {
            operator.stores.iter().zip(0u16..).map(|(path, shard)| store(path, shard, operator)).collect()
        }
        "routes" => operator.routes.iter().map(route).collect(),
        "store_facing_ports" => ports(&operator.store_facing_ports),
        "cpu_ports" => ports(&operator.cpu_ports),
        _ => return Err(LoadError::List { place: place.to_owned(), list: list.to_owned() }),
    })
}

fn item<const N: usize>(roles: [(&str, Given); N]) -> Item {
    roles.into_iter().map(|(role, given)| (role.to_owned(), given)).collect()
}

fn store(path: &StorePath, shard: u16, operator: &Operator) -> Item {
    item([
        ("shard.index", from(shard)),
        ("shard.port", from(path.port)),
        ("shard.address", Given::Number(path.address.to_bits().into())),
        ("shard.mac", mac(path.mac)),
        ("port.mac", mac(operator.mac)),
    ])
}

fn route(route: &Route) -> Item {
    item([
        ("route.prefix", Given::Prefix(route.prefix.to_bits().into(), route.length)),
        ("route.port", from(route.next_hop.port)),
        ("port.mac", mac(route.next_hop.source)),
        ("route.mac", mac(route.next_hop.destination)),
    ])
}

fn from(number: u16) -> Given {
    Given::Number(number.into())
}

fn mac(mac: MacAddr) -> Given {
    Given::Number(mac_number(mac))
}

/// What is one number for the whole switch.
fn of_switch(role: &str, operator: &Operator) -> Option<Given> {
    Some(Given::Number(match role {
        "switch.id" => operator.switch.into(),
        "switch.incarnation" => operator.incarnation.into(),
        "switch.address" => operator.address.to_bits().into(),
        "lease.ticks" => operator.lease_ticks.into(),
        "resend.ticks" => operator.resend_ticks.into(),
        "shards.count" => operator.stores.len() as u128,
        "store.mtu" => operator.store_mtu.into(),
        _ => return None,
    }))
}

fn given(place: &str, name: &str, role: &str, operator: &Operator, item: &Item) -> Result<Given, LoadError> {
    let given = item.get(role).cloned().or_else(|| of_switch(role, operator));
    given.ok_or_else(|| LoadError::Role {
        place: place.to_owned(),
        name: name.to_owned(),
        role: role.to_owned(),
    })
}

fn number(place: &str, parameter: &Parameter, operator: &Operator, item: &Item) -> Result<u128, LoadError> {
    let value = match (&parameter.from, parameter.value) {
        (None, Some(value)) => value.into(),
        (role, _) => {
            let role = role.as_deref().unwrap_or_default();
            match given(place, &parameter.name, role, operator, item)? {
                Given::Number(number) | Given::Prefix(number, _) => number,
                Given::Text(text) => read(place, &parameter.names, &text)?,
            }
        }
    };
    fits(place, &parameter.name, parameter.bits, value)
}

fn key(place: &str, column: &Column, operator: &Operator, item: &Item) -> Result<MatchKey, LoadError> {
    let bits = column.bits;
    let number = |value| Ok::<_, LoadError>(big_endian(fits(place, &column.name, bits, value)?, bits));
    if column.matching == Matching::Ternary && !item.contains_key(&column.from) {
        return Ok(MatchKey::Ternary(number(0)?, number(0)?));
    }
    let given = given(place, &column.name, &column.from, operator, item)?;
    let (value, mask) = match (given, column.matching) {
        (Given::Number(value), _) => (value, ones(bits)),
        (Given::Prefix(value, length), _) => (value, ones(bits) & !ones(bits.saturating_sub(length.into()))),
        (Given::Text(text), Matching::Exact) => (read(place, &column.names, &text)?, ones(bits)),
        (Given::Text(text), _) => pattern(place, column, &text)?,
    };
    Ok(match column.matching {
        Matching::Exact => MatchKey::Exact(number(value)?),
        Matching::Lpm => MatchKey::Lpm(number(value)?, mask.count_ones() as u8),
        Matching::Ternary => MatchKey::Ternary(number(value)?, number(mask)?),
    })
}

/// Value and mask: `80`, `10.0.0.0/8` with the length of a prefix, and of a ternary column `0x50/0xf0` with a mask.
fn pattern(place: &str, column: &Column, text: &str) -> Result<(u128, u128), LoadError> {
    let all = ones(column.bits);
    let ternary = column.matching == Matching::Ternary;
    let (value, mask) = match text.split_once('/') {
        None => (text, Some(all)),
        Some((value, mask)) if ternary && mask.starts_with("0x") => (value, number_of(mask)),
        Some((value, length)) => {
            let length = length.parse().ok().filter(|length: &u16| *length <= column.bits);
            (value, length.map(|length| all & !ones(column.bits - length)))
        }
    };
    let value = read(place, &column.names, value)?;
    let mask = mask.filter(|mask| value <= all && value & !mask == 0);
    let expected = if ternary { "value and mask" } else { "prefix" };
    let mask =
        mask.ok_or_else(|| LoadError::Text { place: place.to_owned(), text: text.to_owned(), expected })?;
    Ok((value, mask))
}

/// A number, one by its name, or an address as one.
fn read(place: &str, names: &BTreeMap<String, u64>, text: &str) -> Result<u128, LoadError> {
    let named = names.get(text).map(|number| u128::from(*number));
    named.or_else(|| number_of(text)).ok_or_else(|| LoadError::Text {
        place: place.to_owned(),
        text: text.to_owned(),
        expected: "number or address",
    })
}

fn ones(bits: u16) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0)
}

fn fits(place: &str, name: &str, bits: u16, value: u128) -> Result<u128, LoadError> {
    if value > ones(bits) {
        return Err(LoadError::Width { place: place.to_owned(), name: name.to_owned(), bits, value });
    }
    Ok(value)
}

/// As many bytes as the bits need, in network byte order.
fn big_endian(value: u128, bits: u16) -> Vec<u8> {
    let bytes = usize::from(bits.div_ceil(8));
    value.to_be_bytes()[16 - bytes..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_an_operator_writes_them() {
        let names = BTreeMap::from([("Calm".to_owned(), 3)]);
        for (text, number) in [
            ("443", 443),
            ("0x1f", 31),
            ("10.0.0.1", 0x0a00_0001),
            ("::2", 2),
            ("02:00:00:00:00:01", 0x0200_0000_0001),
            ("true", 1),
            ("Calm", 3),
        ] {
            assert_eq!(read("t", &names, text).ok(), Some(number), "{text}");
        }
        assert_eq!(
            read("t", &names, "10.0.0").unwrap_err().to_string(),
            "t: `10.0.0` is no number or address"
        );
        assert_eq!(big_endian(0x1_0203, 17), [1, 2, 3]);
        assert!(fits("t", "n", 9, 511).is_ok() && fits("t", "n", 9, 512).is_err());
    }
}
