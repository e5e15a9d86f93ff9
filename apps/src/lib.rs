//! Ready RedPlane apps, and the demo that runs them through failures.

pub mod demo;
#[path = "firewall.rs"]
mod firewall_app;
#[path = "nat.rs"]
mod nat_app;

pub use firewall_app::firewall;
pub use nat_app::nat;

/// Compiles only if `build.rs` saw the same program as the macro.
#[expect(unused_qualifications, reason = "the file names the app from where it is included")]
mod agreement {
    use super::{firewall, nat};

    include!(concat!(env!("OUT_DIR"), "/firewall_agreement.rs"));
    include!(concat!(env!("OUT_DIR"), "/nat_agreement.rs"));
}
