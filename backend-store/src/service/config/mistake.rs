//! What is wrong with a configuration, and where.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Report};
use toml::de::DeTable;

use super::table::elements;

/// Columns of a rendered report: what a terminal has that nobody made wider, and a mail still shows.
const REPORT_WIDTH: usize = 100;

/// Digits in a row from which on they may be a secret: half of an authentication key.
const SECRET_DIGITS_MIN: usize = 16;

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says something that cannot be: all of it at once.
    #[error("{}: {}", path.display(), count(mistakes.len()))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// Its text, keys blackened, so that a report can go anywhere.
        #[source_code]
        text: NamedSource<String>,
        /// In order of their places.
        #[related]
        mistakes: Vec<Mistake>,
    },
}

fn count(mistakes: usize) -> String {
    if mistakes == 1 { "one mistake".to_owned() } else { format!("{mistakes} mistakes") }
}

/// One thing that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct Mistake {
    message: String,
    #[help]
    help: Option<String>,
    #[label(collection, "here")]
    labels: Vec<LabeledSpan>,
}

impl Mistake {
    /// What is wrong, and with which bytes of the file.
    #[must_use]
    pub fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        let label = LabeledSpan::new_primary_with_span(Some("here".to_owned()), at);
        Self { message: message.into(), help: None, labels: vec![label] }
    }

    /// With the way out.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// With another place that has to do with it.
    #[must_use]
    pub fn see(mut self, at: Range<usize>, label: &str) -> Self {
        self.labels.push(LabeledSpan::new_with_span(Some(label.to_owned()), at));
        self
    }

    /// Where it is, in bytes from the start of the file.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.labels.first().map_or(0, LabeledSpan::offset)
    }
}

impl ConfigError {
    /// The report, with carets below the places, in colours or not.
    #[must_use]
    pub fn render(&self, colors: bool) -> String {
        let Self::Mistakes { text, mistakes, .. } = self else { return format!("{self}\n") };
        let with_text = |mistake: &Mistake| Report::new(mistake.clone()).with_source_code(text.clone());
        let reports = mistakes.iter().map(|mistake| render(with_text(mistake).as_ref(), colors));
        reports.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn new(
        path: PathBuf,
        text: &str,
        secrets: &[Range<usize>],
        mut mistakes: Vec<Mistake>,
    ) -> Self {
        mistakes.sort_by_key(Mistake::offset);
        let text = NamedSource::new(path.to_string_lossy(), blacken(text, secrets));
        Self::Mistakes { path, text, mistakes }
    }
}

/// A diagnostic as text for people.
fn render(diagnostic: &dyn Diagnostic, colors: bool) -> String {
    let theme = if colors { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(REPORT_WIDTH).with_links(false);
    let mut report = String::new();
    if handler.render_report(&mut report, diagnostic).is_err() {
        // A place that is not in the text must not hide what is wrong.
        report.clear();
        let _ = writeln!(report, "{diagnostic}");
    }
    report
}

/// The text of a file, its own or that of a switch or a testbed, with stars instead of the keys of its `[authentication]`:
/// so that a report about it can go anywhere.
#[must_use]
pub fn without_keys(text: &str) -> String {
    let (root, _) = DeTable::parse_recoverable(text);
    let section = root.get_ref().get("authentication").and_then(|section| section.get_ref().as_table());
    let keys = section.and_then(|section| section.get("keys"));
    let secrets: Vec<_> = keys.map(elements).unwrap_or_default().iter().map(|key| key.span()).collect();
    blacken(text, &secrets)
}

/// The text with stars instead of what may be a key, byte for byte, so that places stay where they are.
fn blacken(text: &str, secrets: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut start = 0;
    for end in 0..=bytes.len() {
        if bytes.get(end).is_some_and(u8::is_ascii_hexdigit) {
            continue;
        }
        if end - start >= SECRET_DIGITS_MIN {
            bytes[start..end].fill(b'*');
        }
        start = end + 1;
    }
    for secret in secrets {
        for byte in bytes.get_mut(secret.clone()).unwrap_or_default() {
            if !matches!(byte, b'"' | b'\'' | b'\n') {
                *byte = b'*';
            }
        }
    }
    // Whole ranges between quotes and whole runs of ASCII are replaced, so it is text still.
    String::from_utf8(bytes).unwrap_or_default()
}
