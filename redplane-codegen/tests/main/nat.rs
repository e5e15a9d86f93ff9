//! The NAT, the reference program.

use redplane_codegen::{canonical, ir};

use crate::common::compile;

/// The source of the reference program.
pub(crate) const NAT: &str = include_str!("../../../apps/src/nat.rs");

fn nat() -> ir::App {
    match compile(NAT) {
        Ok(app) => app,
        Err(diagnostics) => panic!("{}", diagnostics.iter().map(|d| format!("{d}\n")).collect::<String>()),
    }
}

#[test]
fn its_program() {
    let app = nat();
    let expected = include_str!("../fixtures/nat.ir");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nat.ir"), canonical(&app))
            .unwrap();
    } else {
        assert_eq!(canonical(&app), expected, "run with UPDATE_GOLDEN=1 to accept");
    }
}
