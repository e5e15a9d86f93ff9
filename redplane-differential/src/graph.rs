//! The parse graph of an app's packet: what follows what.

use std::collections::BTreeMap;

use redplane_codegen::packet::{After, Header};

/// The fields of a header that are known, by their index.
pub type Fields = BTreeMap<usize, u128>;

/// Whether a header comes next: `is_there` says so of the ones before it, `value` what is known of their fields.
pub fn follows(
    headers: &[Header],
    header: usize,
    is_there: impl Fn(usize) -> bool,
    value: impl Fn(usize, usize) -> Option<u128>,
) -> bool {
    headers[header].after.iter().any(|edge| {
        let (Some(before), Some(decides)) = (named(headers, edge.header), decides(headers, edge)) else {
            return false;
        };
        let holds = |(name, legal): &(&str, &[u64])| {
            let known = field(headers, decides, name).and_then(|field| value(decides, field));
            known.is_some_and(|known| legal.iter().any(|legal| u128::from(*legal) == known))
        };
        is_there(before) && is_there(decides) && edge.when.iter().all(holds)
    })
}

/// What the fields of a header that decide can be: for each thing that may follow each way to it, and nothing known.
pub fn choices(headers: &[Header], header: usize) -> Vec<Fields> {
    let mut choices = vec![Fields::new()];
    let edges = headers.iter().flat_map(|next| next.after);
    for edge in edges.filter(|edge| decides(headers, edge) == Some(header)) {
        let mut these = vec![Fields::new()];
        for (name, legal) in edge.when {
            let Some(field) = field(headers, header, name) else { continue };
            let with = |choice: &Fields| {
                let choice = choice.clone();
                legal.iter().map(move |legal| {
                    let mut choice = choice.clone();
                    choice.insert(field, u128::from(*legal));
                    choice
                })
            };
            these = these.iter().flat_map(with).collect();
        }
        choices.extend(these.into_iter().filter(|choice| !choice.is_empty()));
    }
    choices.sort();
    choices.dedup();
    choices
}

fn named(headers: &[Header], name: &str) -> Option<usize> {
    headers.iter().position(|header| header.name == name)
}

/// The header whose fields an edge is about: the ports of UDP are a header of their own.
fn decides(headers: &[Header], edge: &After) -> Option<usize> {
    named(headers, if edge.header == "udp" { "ports" } else { edge.header })
}

fn field(headers: &[Header], header: usize, name: &str) -> Option<usize> {
    headers[header].fields.iter().position(|(field, _)| *field == name)
}
