//! What the program says about itself while it runs: on standard error, never where answers go.

use std::io;

use tracing_subscriber::EnvFilter;

use super::output;

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// An object a line, for programs.
    Json,
}

/// Starts the log. `RUST_LOG`, if set, says what is in it; otherwise warnings of libraries, and of the store as much as
/// is asked for.
pub(super) fn start(verbose: u8, format: Format) {
    let level = match verbose {
        0 => "warn,backend_store=info",
        1 => "info,backend_store=debug",
        _ => "debug,backend_store=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(output::colors());
    // It fails only if whoever links the store in has a log already, which is as good.
    let _ = match format {
        Format::Text => log.try_init(),
        Format::Json => log.json().try_init(),
    };
}
