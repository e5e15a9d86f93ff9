//! A place to try an app: switches that run it and the store behind them in one process, frames in and frames out, in
//! virtual time.
//!
//! [`Place`] has no links and no hosts; what a switch sends arrives at once. [`mod@frame`] makes the frames. For links that
//! lose and hosts that answer there is [`redplane_sdk::net`].

#![forbid(unsafe_code)]

pub mod datagram;
pub mod frame;
pub mod place;

pub use place::{INSIDE, OUTSIDE, Place, PlaceError, Share, routes};
