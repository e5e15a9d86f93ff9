//! `redplane`: the operator's command, with the ready apps linked in.

use std::process::ExitCode;

use redplane::{Emitted, program};

fn main() -> ExitCode {
    redplane::cli::main(vec![program::<apps::nat::App>(Emitted {
        schema: include_str!("../../p4-out/nat/schema.json"),
        v1model: include_str!("../../p4-out/nat/v1model/nat.p4"),
        entries: include_str!("../../p4-out/nat/v1model/entries.json"),
    })])
}
