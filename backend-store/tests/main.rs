//! The store under failures: nothing that was acknowledged is lost. Its service over real sockets, and its command line.

#[cfg(feature = "service")]
mod cluster;
#[cfg(feature = "service")]
mod command_line;
#[cfg(feature = "service")]
mod coordination;
#[cfg(feature = "etcd")]
mod etcd;
mod failures;
#[cfg(feature = "service")]
mod rolling;
mod switch;
