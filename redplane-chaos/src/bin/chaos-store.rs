//! The store of the drill: `redplane-store` with the drill's app linked in.

use std::process::ExitCode;

use backend_store::cli::{self, Registration};
use redplane_chaos::tally;
use redplane_sdk::app::{self, App};
use rustix::process::{Signal, set_parent_process_death_signal};

fn main() -> ExitCode {
    // Whatever becomes of the drill, even SIGKILL, none of its nodes stays behind.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let factory = Box::new(|| app::creator::<tally::App>(()));
    cli::main(vec![Registration { app: tally::App::ID, factory }])
}
