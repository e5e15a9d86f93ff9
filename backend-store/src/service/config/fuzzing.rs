//! Whatever text: a configuration, or mistakes whose places are in the text and which can be shown.

use std::path::Path;

use miette::Diagnostic;

use super::{Config, ConfigError};

/// Digits in a row from which on they may be a secret.
const SECRET_DIGITS_MIN: usize = 16;

/// Reads bytes as a configuration file.
///
/// # Panics
/// If what comes out is wrong.
pub fn config(bytes: &[u8]) {
    let Some((text, error)) = refused(bytes) else { return };
    let ConfigError::Mistakes { text: shown, mistakes, .. } = &error else { panic!("{error}") };
    assert!(!mistakes.is_empty(), "no configuration, and nothing wrong");
    for mistake in mistakes {
        for label in mistake.labels().into_iter().flatten() {
            let (start, end) = (label.offset(), label.offset() + label.len());
            assert!(text.get(start..end).is_some(), "{mistake}: {start}..{end} of {}", text.len());
        }
    }
    let shown = shown.inner();
    assert_eq!(shown.len(), text.len(), "places stay where they are");
    let longest = shown.split(|letter: char| !letter.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest < Some(SECRET_DIGITS_MIN), "a key is shown");
}

/// Reads bytes as a configuration file, and shows what is wrong with it.
///
/// # Panics
/// If that cannot be shown.
pub fn report(bytes: &[u8]) {
    let Some((text, error)) = refused(bytes) else { return };
    assert!(error.render(text.len() % 2 == 0).contains("store.toml"), "a report names its file");
}

fn refused(bytes: &[u8]) -> Option<(&str, ConfigError)> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some((text, Config::parse(text, Path::new("lab/store.toml")).err()?))
}
