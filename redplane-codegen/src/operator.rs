//! The operator's tables, out of the file that the software switch reads too, as rows for the control plane of a target:
//! what `entries.json` calls `tables.<table>`, with `entry.key`, `entry.value` and `entry.priority`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use crate::ir::{App, Match, Shape, Table, Type};

/// One row, by role.
pub type Row = BTreeMap<String, Value>;

/// What is wrong with a file of tables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct TablesError {
    /// Which table, and which row of it, from one.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

/// The rows of every table of the app; a table that the file does not name has none.
///
/// A word is a number, or text if it has more than 64 bits. The key of a longest prefix is `"10.0.0.0/8"`, a column that
/// is matched by value and mask a list of both.
///
/// # Errors
/// [`TablesError`], the first.
pub fn rows(app: &App, tables: &Value) -> Result<BTreeMap<String, Vec<Row>>, TablesError> {
    let error = |place: &str, message: String| TablesError { place: place.to_owned(), message };
    let Value::Object(given) = tables else { return Err(error("tables", "not a table of tables".into())) };
    if let Some(unknown) = given.keys().find(|name| app.tables.iter().all(|table| table.handle != **name)) {
        return Err(error(unknown, format!("`{}` has no such table", app.name)));
    }
    let mut all = BTreeMap::new();
    for table in &app.tables {
        let rows = entries(given.get(&table.handle)).map_err(|message| error(&table.handle, message))?;
        if rows.len() > table.size as usize {
            return Err(error(&table.handle, format!("the table holds at most {} entries", table.size)));
        }
        let mut made = Vec::new();
        for (index, (cells, value)) in rows.iter().enumerate() {
            let at = |message| error(&format!("{}, row {}", table.handle, index + 1), message);
            made.push(row(app, table, cells, value, index).map_err(at)?);
        }
        all.insert(format!("tables.{}", table.handle), made);
    }
    Ok(all)
}

type Cells = BTreeMap<String, String>;

/// The entries of either form: `"key" = value`, or rows with columns.
fn entries(given: Option<&Value>) -> Result<Vec<(Cells, Value)>, String> {
    match given {
        None => Ok(Vec::new()),
        Some(Value::Object(map)) => {
            Ok(map.iter().map(|(key, value)| ([("key".into(), key.clone())].into(), value.clone())).collect())
        }
        Some(Value::Array(rows)) => rows.iter().map(cells).collect(),
        Some(_) => Err("neither entries nor rows".into()),
    }
}

fn cells(row: &Value) -> Result<(Cells, Value), String> {
    let Value::Object(row) = row else { return Err("a row is a table".into()) };
    let value = row.get("value").cloned().ok_or("a row without `value`")?;
    let mut cells = Cells::new();
    for (name, cell) in row.iter().filter(|(name, _)| *name != "value") {
        cells.insert(name.clone(), text(cell).ok_or_else(|| format!("`{name}` is no word"))?);
    }
    Ok((cells, value))
}

fn text(cell: &Value) -> Option<String> {
    match cell {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn row(app: &App, table: &Table, cells: &Cells, value: &Value, index: usize) -> Result<Row, String> {
    let columns = table.key.columns("key");
    if let Some(unknown) = cells.keys().find(|name| columns.iter().all(|(column, _)| column != name)) {
        let known: Vec<&str> = columns.iter().map(|(column, _)| *column).collect();
        return Err(format!("there is no column `{unknown}`; the columns are: {}", known.join(", ")));
    }
    let mut row = Row::new();
    for (column, ty) in columns {
        let cell = cells.get(column).map(String::as_str);
        let key = match (table.matching, cell) {
            (Match::Exact, Some(cell)) => shown(word(app, ty, cell).ok_or_else(|| not_a_key(cell))?),
            (Match::Lpm, Some(cell)) => prefix(app, ty, cell)?,
            (Match::Ternary, cell) => {
                let (value, mask) = cell.map_or(Ok((0, 0)), |cell| pattern(app, ty, cell))?;
                Value::Array(vec![shown(value), shown(mask)])
            }
            (_, None) => return Err(format!("a row without `{column}`")),
        };
        row.insert(role("key", &table.key, column), key);
    }
    for (column, ty) in table.value.columns("value") {
        let given = match &table.value {
            Shape::Word(_) => Some(value),
            Shape::Record(_) => value.as_object().and_then(|fields: &Map<_, _>| fields.get(column)),
        };
        let given = given.and_then(text).ok_or_else(|| format!("the value has no `{column}`"))?;
        let found = word(app, ty, &given).ok_or_else(|| format!("`{given}` is no value of this table"))?;
        row.insert(role("value", &table.value, column), shown(found));
    }
    if table.matching == Match::Ternary {
        row.insert("entry.priority".into(), Value::from(index + 1));
    }
    Ok(row)
}

fn role(part: &str, shape: &Shape, column: &str) -> String {
    match shape {
        Shape::Word(_) => format!("entry.{part}"),
        Shape::Record(_) => format!("entry.{part}.{column}"),
    }
}

fn not_a_key(cell: &str) -> String {
    format!("`{cell}` is not a key of this table")
}

fn shown(word: u128) -> Value {
    u64::try_from(word).map_or_else(|_| Value::from(format!("{word:#x}")), Value::from)
}

/// Decimal, or hexadecimal after `0x`.
fn number(text: &str) -> Option<u128> {
    match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A word as an operator writes it.
fn word(app: &App, ty: Type, text: &str) -> Option<u128> {
    match ty {
        Type::Bool => text.parse::<bool>().ok().map(u128::from),
        Type::Uint(_) => number(text).filter(|word| *word <= all(ty)),
        Type::Ipv4 => text.parse::<Ipv4Addr>().ok().map(|addr| u32::from(addr).into()),
        Type::Ipv6 => text.parse::<Ipv6Addr>().ok().map(u128::from),
        Type::Mac => {
            let octets: Vec<&str> = text.split(':').collect();
            let octet = |octet: &&str| (octet.len() == 2).then(|| u8::from_str_radix(octet, 16).ok())?;
            let octets: Vec<u8> = octets.iter().map(octet).collect::<Option<_>>()?;
            (octets.len() == 6).then(|| octets.iter().fold(0, |word, octet| word << 8 | u128::from(*octet)))
        }
        Type::Enum(index) => {
            let variant = app.enums[index].variants.iter().find(|variant| variant.name == text)?;
            Some(variant.value.into())
        }
    }
}

fn all(ty: Type) -> u128 {
    u128::MAX >> (128 - ty.bits())
}

/// Value and mask: `80`, `10.0.0.0/8` with the length of a prefix, `0x50/0xf0` with a mask.
fn pattern(app: &App, ty: Type, text: &str) -> Result<(u128, u128), String> {
    let all = all(ty);
    let (value, mask) = match text.split_once('/') {
        None => (text, Some(all)),
        Some((value, mask)) if mask.starts_with("0x") => (value, number(mask)),
        Some((value, length)) => {
            let length = length.parse::<u32>().ok().filter(|length| *length <= u32::from(ty.bits()));
            let shifted = |length| match u32::from(ty.bits()) - length {
                128 => 0,
                host => all << host & all,
            };
            (value, length.map(shifted))
        }
    };
    match (word(app, ty, value), mask) {
        (Some(value), Some(mask)) if value & !mask == 0 && mask <= all => Ok((value, mask)),
        _ => Err(not_a_key(text)),
    }
}

/// An address and the length of its prefix; without one, the whole address.
fn prefix(app: &App, ty: Type, text: &str) -> Result<Value, String> {
    let (_, mask) = pattern(app, ty, text)?;
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    Ok(Value::from(format!("{address}/{}", mask.count_ones())))
}
