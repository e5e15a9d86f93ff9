//! The software switch with the NAT, against a store that says what each test tells it to.

mod authentication;
pub(crate) mod counter;
mod hostile;
mod local;
mod paths;
pub(crate) mod rig;
