//! The apps of a cluster: schemas, idle times, admission.

use std::path::{Path, PathBuf};

use super::mistake::Mistake;
use super::table::{self, Section};
use super::{Admission, AppConfig, PrefixAdmission};

/// Most apps in a store: far more than a network runs, few enough to be listed at every scrape.
const APPS_MAX: usize = 64;

/// Most schemas of an app: the one in use, and the ones that a slow rollout has not replaced yet.
const SCHEMAS_MAX: usize = 8;

/// Longest prefix in bits: the whole of the longest key.
const PREFIX_BITS_MAX: u64 = redplane_protocol::fixed::KEY_LEN_MAX as u64 * 8;

pub(super) fn read(root: &mut Section<'_>, folder: &Path, mistakes: &mut Vec<Mistake>) -> Vec<AppConfig> {
    let sections = root.sections("app", mistakes);
    if sections.is_empty() && !root.has("app") {
        root.missing("app", "an [[app]] with the schema that `cargo build` emitted", mistakes);
    }
    if sections.len() > APPS_MAX {
        let at = sections[APPS_MAX].at.clone();
        mistakes.push(Mistake::new(at, format!("{} apps, at most {APPS_MAX}", sections.len())));
    }
    sections.into_iter().map(|section| app(section, folder, mistakes)).collect()
}

fn app(mut section: Section<'_>, folder: &Path, mistakes: &mut Vec<Mistake>) -> AppConfig {
    let schemas = schemas(&mut section, folder, mistakes);
    let idle = section.duration("idle", mistakes);
    if let Some(idle) = idle.as_ref().filter(|idle| idle.value.is_zero()) {
        mistakes.push(Mistake::new(idle.at.clone(), "`idle` is zero: every record would be deleted at once"));
    }
    let admission = section.section("admission", mistakes).map(|section| admission(section, mistakes));
    section.finish(mistakes);
    AppConfig { schemas, idle: idle.map(|idle| idle.value), admission }
}

fn schemas(section: &mut Section<'_>, folder: &Path, mistakes: &mut Vec<Mistake>) -> Vec<PathBuf> {
    let Some(list) = section.value("schema") else {
        section.missing("schema", "what `cargo build` emitted: schema = [\"nat/schema.json\"]", mistakes);
        return Vec::new();
    };
    let values = table::elements(list);
    if !(1..=SCHEMAS_MAX).contains(&values.len()) {
        mistakes.push(Mistake::new(list.span(), format!("{} schemas, not 1 to {SCHEMAS_MAX}", values.len())));
    }
    let texts = values.iter().filter_map(|value| table::text("schema", value, mistakes));
    texts.map(|path| folder.join(path.value)).collect()
}

fn admission(mut section: Section<'_>, mistakes: &mut Vec<Mistake>) -> Admission {
    let rates = 1..=u64::from(u32::MAX);
    let per_switch = section.number("per_switch", rates.clone(), mistakes);
    if per_switch.is_none() && !section.has("per_switch") {
        section.missing("per_switch", "new keys per second from one switch", mistakes);
    }
    let rate = section.number("per_prefix", rates, mistakes);
    let field = section.text("prefix_field", mistakes);
    let bits = section.number("prefix_bits", 1..=PREFIX_BITS_MAX, mistakes);
    let keys = ["per_prefix", "prefix_field", "prefix_bits"];
    let missing: Vec<&str> = keys.into_iter().filter(|key| !section.has(key)).collect();
    if missing.len() == 1 || missing.len() == 2 {
        let present = keys.into_iter().find(|key| section.has(key)).unwrap_or_default();
        let message = format!("`{present}` without `{}`", missing.join("` and `"));
        let help = "admission by prefix takes all three: per_prefix, prefix_field, prefix_bits";
        mistakes.push(Mistake::new(section.key_at(present), message).help(help));
    }
    section.finish(mistakes);
    let per_prefix = rate.zip(field).zip(bits).map(|((rate, field), bits)| PrefixAdmission {
        rate: rate.value as u32,
        field: field.value.to_owned(),
        bits: bits.value as u16,
    });
    Admission { per_switch: per_switch.map_or(u32::MAX, |rate| rate.value as u32), per_prefix }
}
