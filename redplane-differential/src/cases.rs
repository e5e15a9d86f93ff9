//! The apps that are compared, each with what an operator would put into its tables.

use crate::run::{Options, Outcome, run};
use crate::samples;

/// An app and its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Name of the app.
    pub name: &'static str,
    /// Its source, from the workspace's root.
    pub source: &'static str,
    /// Its tables, as an operator writes them. Hosts are in 10.0.0.0/8 behind port 1, and in 198.51.100.0/24 and
    /// 203.0.113.0/24 behind port 2.
    pub tables: &'static str,
}

/// Runs a case.
pub type Run = fn(&Case, &Options) -> anyhow::Result<Outcome>;

/// Every app.
pub const CASES: &[(Case, Run)] = &[
    (
        Case {
            name: "nat",
            source: "apps/src/nat.rs",
            tables: r#"{"inside": {"10.0.0.0/8": true, "10.9.0.0/16": false}, "public": {"203.0.113.1": true}}"#,
        },
        run::<apps::nat::App>,
    ),
    (
        Case {
            name: "firewall",
            source: "apps/src/firewall.rs",
            tables: r#"{
                "inside": {"1": true, "3": false},
                "blocked": [
                    {"src": "10.0.0.1", "value": false},
                    {"dst_port": 53, "protocol": 17, "value": true},
                    {"src": "10.0.0.0/15", "src_port": "0x400/0xfc00", "protocol": 6, "value": true}
                ],
                "published": [
                    {"src": "198.51.100.7", "protocol": "0x10/0x10", "value": false},
                    {"dst": "10.0.2.0/23", "dst_port": 443, "value": true},
                    {"dst_port": "0x1/0x3", "protocol": 6, "value": true},
                    {"dst": "10.0.0.1", "protocol": 1, "value": true}
                ]
            }"#,
        },
        run::<apps::firewall::App>,
    ),
    (
        Case {
            name: "load_balancer",
            source: "apps/src/load_balancer.rs",
            tables: r#"{
                "services": [
                    {"addr": "203.0.113.1", "port": 443, "protocol": 6, "value": true},
                    {"addr": "203.0.113.1", "port": 1111, "protocol": 6, "value": true},
                    {"addr": "203.0.113.1", "port": 53, "protocol": 17, "value": true},
                    {"addr": "203.0.113.1", "port": 53, "protocol": 1, "value": true},
                    {"addr": "203.0.113.1", "port": 0, "protocol": 6, "value": true},
                    {"addr": "203.0.113.1", "port": 0, "protocol": 17, "value": true},
                    {"addr": "198.51.100.9", "port": 2222, "protocol": 17, "value": false}
                ],
                "fronts": [
                    {"addr": "10.0.0.1", "port": 1111, "protocol": 6,
                        "value": {"addr": "203.0.113.1", "port": 443, "protocol": 6}},
                    {"addr": "10.0.0.1", "port": 2222, "protocol": 1,
                        "value": {"addr": "203.0.113.1", "port": 443, "protocol": 6}},
                    {"addr": "10.0.0.1", "port": 0, "protocol": 6,
                        "value": {"addr": "203.0.113.1", "port": 443, "protocol": 6}},
                    {"addr": "10.0.0.1", "port": 0, "protocol": 17,
                        "value": {"addr": "203.0.113.1", "port": 443, "protocol": 6}},
                    {"addr": "10.0.0.2", "port": 0, "protocol": 6,
                        "value": {"addr": "203.0.113.1", "port": 443, "protocol": 6}},
                    {"addr": "10.0.0.2", "port": 53, "protocol": 17,
                        "value": {"addr": "203.0.113.1", "port": 53, "protocol": 17}},
                    {"addr": "10.0.0.2", "port": 2222, "protocol": 17,
                        "value": {"addr": "203.0.113.1", "port": 0, "protocol": 17}}
                ]
            }"#,
        },
        run::<apps::load_balancer::App>,
    ),
    (
        Case {
            name: "puzzle",
            source: "apps/tests/agreement/puzzle_app.rs",
            tables: r#"{
                "class": {"10.0.0.1": 1, "10.0.0.0/16": 4, "203.0.113.1": 3, "198.51.100.0/24": 9},
                "next": [
                    {"mood": "Wary", "part": "0x1/0x1", "value": {"mood": "Angry", "part": 3}},
                    {"mood": "Calm", "value": {"mood": "Wary", "part": 200}},
                    {"part": "0x80/0x80", "value": {"mood": "Calm", "part": 5}}
                ]
            }"#,
        },
        run::<samples::puzzle::App>,
    ),
    (
        Case {
            name: "meter",
            source: "redplane-codegen/tests/fixtures/meter/input.rs",
            tables: r#"{"quota": {"10.0.0.1": 1000, "10.0.2.3": 200, "203.0.113.1": 5000}}"#,
        },
        run::<samples::meter::App>,
    ),
    (
        Case { name: "gate", source: "redplane-codegen/tests/fixtures/gate/input.rs", tables: "{}" },
        run::<samples::gate::App>,
    ),
    (
        Case { name: "cache", source: "redplane-codegen/tests/fixtures/cache/input.rs", tables: "{}" },
        run::<samples::cache::App>,
    ),
    (
        Case { name: "labels", source: "redplane-differential/src/samples/labels_app.rs", tables: "{}" },
        run::<samples::labels::App>,
    ),
    (
        Case { name: "arithmetic", source: "apps/tests/agreement/arithmetic_app.rs", tables: "{}" },
        run::<samples::arithmetic::App>,
    ),
];
