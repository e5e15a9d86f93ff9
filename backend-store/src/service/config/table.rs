//! A TOML table that knows which of its keys were asked for, and where everything is written.

use std::net::{SocketAddr, SocketAddrV4};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::Mistake;

/// A value and its place in the file, in bytes.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
}

impl<T> At<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), at: self.at }
    }
}

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// A table under its name.
pub(super) struct Section<'a> {
    /// As people call it: `[workers]`.
    pub(super) name: String,
    pub(super) at: Range<usize>,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: impl Into<String>, table: &'a DeTable<'a>, at: Range<usize>) -> Self {
        Self { name: name.into(), at, table, asked: Vec::new() }
    }

    /// The value of a key, if it is there. Each key that may be there is asked for, so that the others are unknown.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Whether there is something under a key that was asked for.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The place of a key itself.
    pub(super) fn key_at(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or(self.at.clone(), |(key, _)| key.span())
    }

    /// Says that a key is missing.
    pub(super) fn missing(&self, key: &str, help: &str, mistakes: &mut Vec<Mistake>) {
        mistakes.push(Mistake::new(self.at.clone(), format!("{} has no `{key}`", self.name)).help(help));
    }

    pub(super) fn text(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<At<&'a str>> {
        let value = self.value(key)?;
        text(key, value, mistakes)
    }

    pub(super) fn boolean(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> bool {
        let Some(value) = self.value(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            mistakes.push(wrong_type(key, value, "true or false"));
            false
        })
    }

    /// A number of the range, which is also what the message says.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<At<u64>> {
        let value = self.value(key)?;
        number(key, value, range, mistakes)
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<At<Duration>> {
        let text = self.text(key, mistakes)?;
        match duration(text.value) {
            Some(duration) => Some(text.map(|_| duration)),
            None => {
                let message = format!("`{key}` is no duration: \"{}\"", text.value);
                mistakes.push(Mistake::new(text.at, message).help(DURATION_HELP));
                None
            }
        }
    }

    pub(super) fn section(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<Section<'a>> {
        let value = self.value(key)?;
        let name = if self.name == ROOT { format!("[{key}]") } else { format!("`{key}`") };
        section(&name, value, mistakes)
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(&mut self, key: &'static str, mistakes: &mut Vec<Mistake>) -> Vec<Section<'a>> {
        let name = format!("[[{key}]]");
        let values = match self.value(key) {
            None => return Vec::new(),
            Some(value) => match value.get_ref().as_array() {
                Some(values) => values,
                None => {
                    mistakes.push(wrong_type(key, value, "a list of tables").help(format!("write {name}")));
                    return Vec::new();
                }
            },
        };
        values.iter().filter_map(|value| section(&name, value, mistakes)).collect()
    }

    /// Says which keys nobody asked for.
    pub(super) fn finish(self, mistakes: &mut Vec<Mistake>) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let message = format!("{} has no key `{name}`", self.name);
            let near = self.asked.iter().min_by_key(|known| distance(known, name));
            let help = match near.filter(|known| distance(known, name) <= 1 + name.len() / 4) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it may have: {}", self.asked.join(", ")),
            };
            mistakes.push(Mistake::new(key.span(), message).help(help));
        }
    }
}

/// Name of the outermost table.
pub(super) const ROOT: &str = "the file";

const DURATION_HELP: &str = "write a whole number and a unit: us, ms, s, m or h, as in \"100ms\"";

fn section<'a>(name: &str, value: &'a Value<'a>, mistakes: &mut Vec<Mistake>) -> Option<Section<'a>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        mistakes.push(wrong_type(name.trim_matches(['[', ']', '`']), value, "a table"));
    }
    Some(Section::new(name, table?, value.span()))
}

/// That a value is of another type than it must be.
pub(super) fn wrong_type(key: &str, value: &Value<'_>, wanted: &str) -> Mistake {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Mistake::new(value.span(), format!("`{key}` is {found}, not {wanted}"))
}

pub(super) fn text<'a>(key: &str, value: &'a Value<'a>, mistakes: &mut Vec<Mistake>) -> Option<At<&'a str>> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        mistakes.push(wrong_type(key, value, "a string"));
    }
    Some(At { value: text?, at: value.span() })
}

/// The elements of a list, or the one value that stands for itself.
pub(super) fn elements<'a>(value: &'a Value<'a>) -> Vec<&'a Value<'a>> {
    value.get_ref().as_array().map_or_else(|| vec![value], |list| list.iter().collect())
}

pub(super) fn number(
    key: &str,
    value: &Value<'_>,
    range: RangeInclusive<u64>,
    mistakes: &mut Vec<Mistake>,
) -> Option<At<u64>> {
    let Some(integer) = value.get_ref().as_integer() else {
        mistakes.push(wrong_type(key, value, "an integer"));
        return None;
    };
    let parsed = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    match parsed.filter(|number| range.contains(number)) {
        Some(number) => Some(At { value: number, at: value.span() }),
        None => {
            let message = format!("`{key}` is {integer}, not {} to {}", range.start(), range.end());
            mistakes.push(Mistake::new(value.span(), message));
            None
        }
    }
}

/// An address with a port, of IPv4.
pub(super) fn address(key: &str, value: &Value<'_>, mistakes: &mut Vec<Mistake>) -> Option<At<SocketAddrV4>> {
    let text = text(key, value, mistakes)?;
    match text.value.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(address)) if address.port() != 0 => Some(text.map(|_| address)),
        Ok(SocketAddr::V6(_)) => {
            let message = format!("`{key}` is an IPv6 address: {}", text.value);
            mistakes.push(Mistake::new(text.at, message).help("switches and nodes speak IPv4"));
            None
        }
        _ => {
            let message = format!("`{key}` is no address with a port: \"{}\"", text.value);
            mistakes.push(Mistake::new(text.at, message).help("write it as in \"10.0.0.1:21072\""));
            None
        }
    }
}

/// A whole number with a unit.
fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let micros: u64 = match unit.trim_start() {
        "us" | "µs" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(micros).map(Duration::from_micros)
}

/// How many letters must change to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, against) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = change.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("2 m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(duration("7us"), Some(Duration::from_micros(7)));
        for wrong in
            ["", "5", "s", "-5s", "1.5s", "5 fortnights", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn words_are_near_or_far() {
        assert_eq!(distance("shards", "shard"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
