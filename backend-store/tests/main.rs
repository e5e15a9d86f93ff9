//! The embedded store under failures: nothing that was acknowledged is lost. The store's service over real sockets.

#[cfg(feature = "service")]
mod coordination;
mod failures;
mod switch;
