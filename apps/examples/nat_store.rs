//! The state store with the NAT in it: `redplane-store`, which runs the NAT's `on_create` for each new connection.
//!
//! ```sh
//! cargo run -p apps --example nat_store -- check-config store.toml
//! ```

// ANCHOR: main
use std::process::ExitCode;

use apps::nat;
use backend_store::cli::{self, Registration};
use redplane_sdk::App;

fn main() -> ExitCode {
    // All nodes must be given the same.
    let pool = nat::Pool { addresses: vec![[203, 0, 113, 1].into()], first_port: 1024, last_port: 65535 };
    let factory = Box::new(move || redplane_sdk::app::creator::<nat::App>(pool.clone()));
    cli::main(vec![Registration { app: nat::App::ID, factory }])
}
// ANCHOR_END: main
