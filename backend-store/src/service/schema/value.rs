//! Bytes of keys and values as JSON, by their layout.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::{FieldLayout, Layout};

impl Layout {
    /// The fields that the bytes hold, by name. A record that is shorter than the layout has no more than its own.
    /// Numbers of more than 64 bits, and types that this program does not know, are hex digits.
    #[must_use]
    pub fn decode(&self, bytes: &[u8]) -> Map<String, Value> {
        let place = |field: &FieldLayout| {
            let start = usize::from(field.offset);
            start..start + usize::from(field.bytes)
        };
        let fields = self.fields.iter().map_while(|field| Some((field, bytes.get(place(field))?)));
        fields.map(|(field, bytes)| (field.name.clone(), value(field, bytes))).collect()
    }
}

fn value(field: &FieldLayout, bytes: &[u8]) -> Value {
    let number =
        (bytes.len() <= 8).then(|| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)));
    let number = number.map(|number| if field.bits < 64 { number & ((1 << field.bits) - 1) } else { number });
    match (field.type_name.as_str(), number) {
        ("bool", Some(number)) => Value::Bool(number != 0),
        ("ipv4", _) => match <[u8; 4]>::try_from(bytes) {
            Ok(octets) => Value::String(Ipv4Addr::from(octets).to_string()),
            Err(_) => Value::String(hex(bytes)),
        },
        ("ipv6", _) => match <[u8; 16]>::try_from(bytes) {
            Ok(octets) => Value::String(Ipv6Addr::from(octets).to_string()),
            Err(_) => Value::String(hex(bytes)),
        },
        ("mac", _) => {
            let octets: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Value::String(octets.join(":"))
        }
        (name, Some(number)) if name.starts_with('u') => Value::from(number),
        _ => Value::String(hex(bytes)),
    }
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
