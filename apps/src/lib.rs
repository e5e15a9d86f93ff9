//! Ready RedPlane apps, and the demo that runs them through failures.

pub mod demo;
#[path = "firewall.rs"]
mod firewall_app;
#[path = "load_balancer.rs"]
mod load_balancer_app;
#[path = "nat.rs"]
mod nat_app;
pub mod trial;

pub use firewall_app::firewall;
pub use load_balancer_app::load_balancer;
pub use nat_app::nat;

/// Compiles only if `build.rs` saw the same program as the macro.
#[expect(unused_qualifications, reason = "the file names the app from where it is included")]
mod agreement {
    use super::{firewall, load_balancer, nat};

    include!(concat!(env!("OUT_DIR"), "/firewall_agreement.rs"));
    include!(concat!(env!("OUT_DIR"), "/load_balancer_agreement.rs"));
    include!(concat!(env!("OUT_DIR"), "/nat_agreement.rs"));
}
