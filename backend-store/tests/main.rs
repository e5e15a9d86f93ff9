//! The store under failures: nothing that was acknowledged is lost. And its command line.

#[cfg(feature = "service")]
mod cluster;
#[cfg(feature = "service")]
mod command_line;
mod failures;
mod switch;
