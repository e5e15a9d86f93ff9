//! Every property, over what lies in `fuzz/seeds`, each file whole, cut and changed, and over bytes without a sense.

use std::fs;
use std::path::Path;

use super::*;

/// Bytes that nobody chose (a linear congruential generator, Knuth's MMIX).
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let len = next();
    (0..len).map(|_| next()).collect()
}

type Property = fn(&[u8]);

fn run(target: &str, property: Property) {
    (0..500).for_each(|seed| property(&noise(seed)));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        property(&bytes);
        let step = 1 + bytes.len() / 50;
        for at in (0..bytes.len()).step_by(step) {
            property(&bytes[..at]);
            for value in [0, b'"', 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                property(&changed);
            }
        }
    }
}

#[test]
fn the_properties_hold_for_the_seeds() {
    let properties: [(&str, Property); 8] = [
        ("config", config),
        ("config", report),
        ("schema", schema),
        ("dialect", dialect),
        ("table", table),
        ("state", state),
        ("journal", journal),
        ("load", load),
    ];
    properties.into_iter().for_each(|(target, property)| run(target, property));
}
