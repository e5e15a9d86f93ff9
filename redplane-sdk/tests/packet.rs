//! The packet against the compiler's table, against etherparse, and against full checksum sums.

mod checksums;
mod graph;
pub(crate) mod oracle;
