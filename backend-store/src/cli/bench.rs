//! `bench`: measures a store under load.

use std::ffi::OsString;

use super::{Failure, Outcome};

pub(super) fn run(arguments: Vec<OsString>) -> Result<Outcome, Failure> {
    load::bench(arguments)
}

/// Holds the place of `crate::load` until that has the load generator.
mod load {
    use super::{Failure, OsString, Outcome};

    pub(super) fn bench(_arguments: Vec<OsString>) -> Result<Outcome, Failure> {
        Err(Failure::Other("the load generator is not built yet".to_owned()))
    }
}
