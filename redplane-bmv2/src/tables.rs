//! The app's tables as an operator writes them: the same file that the software switch reads.

use serde_json::Value;

use crate::entries::Table;
use crate::load::{Given, Item, LoadError};

/// The entries of a table, with the roles that each brings: `entry.key`, `entry.value`, or those of a struct's fields
/// (`entry.key.port`), and `entry.priority`. A column that a row leaves out is not there.
///
/// # Errors
/// [`LoadError`] if they are neither `"key" = value` nor rows of this table's columns.
pub(crate) fn items(table: &Table, given: Option<&Value>) -> Result<Vec<Item>, LoadError> {
    let mut items = match given {
        None => Vec::new(),
        Some(Value::Array(rows)) => rows.iter().map(|given| row(table, given)).collect::<Result<_, _>>()?,
        Some(entries) => match (entries, table.key.as_slice()) {
            (Value::Object(entries), [column]) => {
                let entry = |(key, given): (&String, &Value)| {
                    let mut item = Item::from([(column.from.clone(), Given::Text(key.clone()))]);
                    put_value(table, given, &mut item)?;
                    Ok(item)
                };
                entries.iter().map(entry).collect::<Result<_, LoadError>>()?
            }
            _ => return Err(wrong(table, entries, "list of rows")),
        },
    };
    for (item, priority) in items.iter_mut().zip(1..) {
        item.insert("entry.priority".to_owned(), Given::Number(priority));
    }
    Ok(items)
}

fn row(table: &Table, row: &Value) -> Result<Item, LoadError> {
    let cells = row.as_object().ok_or_else(|| wrong(table, row, "row"))?;
    let mut item = Item::new();
    let given = cells.get("value").ok_or_else(|| wrong(table, row, "row with a `value`"))?;
    put_value(table, given, &mut item)?;
    for (name, cell) in cells.iter().filter(|(name, _)| *name != "value") {
        let called = |from: &str| from.rsplit('.').next() == Some(name);
        let column = table.key.iter().find(|column| called(&column.from));
        let column = column.ok_or_else(|| LoadError::Column {
            place: table.table.clone(),
            column: name.clone(),
            known: table
                .key
                .iter()
                .filter_map(|column| column.from.rsplit('.').next())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        item.insert(column.from.clone(), word(cell).ok_or_else(|| wrong(table, cell, "word"))?);
    }
    Ok(item)
}

fn put_value(table: &Table, given: &Value, item: &mut Item) -> Result<(), LoadError> {
    let read = |given: &Value| word(given).ok_or_else(|| wrong(table, given, "word"));
    match given {
        Value::Object(fields) => {
            for (name, field) in fields {
                item.insert(format!("entry.value.{name}"), read(field)?);
            }
        }
        given => drop(item.insert("entry.value".to_owned(), read(given)?)),
    }
    Ok(())
}

fn word(given: &Value) -> Option<Given> {
    match given {
        Value::String(text) => Some(Given::Text(text.clone())),
        Value::Bool(value) => Some(Given::Number(u128::from(*value))),
        Value::Number(number) => number.as_u64().map(|number| Given::Number(number.into())),
        _ => None,
    }
}

fn wrong(table: &Table, found: &Value, expected: &'static str) -> LoadError {
    LoadError::Text { place: table.table.clone(), text: found.to_string(), expected }
}
