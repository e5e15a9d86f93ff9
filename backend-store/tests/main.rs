//! The embedded store under failures: nothing that was acknowledged is lost.

mod failures;
mod switch;
