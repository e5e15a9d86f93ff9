//! `redplane`: the operator's command, with the ready apps linked in.

use std::process::ExitCode;

use redplane::{Emitted, program};

fn main() -> ExitCode {
    redplane::cli::main(vec![
        program::<apps::nat::App>(Emitted {
            schema: include_str!("../../p4-out/nat/schema.json"),
            v1model: include_str!("../../p4-out/nat/v1model/nat.p4"),
            entries: include_str!("../../p4-out/nat/v1model/entries.json"),
        }),
        program::<apps::firewall::App>(Emitted {
            schema: include_str!("../../p4-out/firewall/schema.json"),
            v1model: include_str!("../../p4-out/firewall/v1model/firewall.p4"),
            entries: include_str!("../../p4-out/firewall/v1model/entries.json"),
        }),
        program::<apps::load_balancer::App>(Emitted {
            schema: include_str!("../../p4-out/load_balancer/schema.json"),
            v1model: include_str!("../../p4-out/load_balancer/v1model/load_balancer.p4"),
            entries: include_str!("../../p4-out/load_balancer/v1model/entries.json"),
        }),
    ])
}
