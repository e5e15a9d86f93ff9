//! The embedded store under failures: nothing that was acknowledged is lost. The store's service over real sockets.

#[cfg(feature = "service")]
mod coordination;
#[cfg(feature = "etcd")]
mod etcd;
mod failures;
mod switch;
