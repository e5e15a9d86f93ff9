//! A real switch, without ports: nobody needs to be root.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use redplane_bmv2::{Entries, Launch, Process, ProcessError, Program, compile};

use crate::load::{operator, text};

/// A port where nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it has one").port()
}

fn launch(program: Program, folder: &Path) -> Launch {
    let log = folder.join("simple_switch.log");
    Launch { program, interfaces: BTreeMap::new(), thrift_port: free_port(), log }
}

/// What keeps it from running here, said if so.
fn skipped() -> bool {
    let missing = redplane_bmv2::missing();
    if let Some(missing) = &missing {
        // Not by `println!`: the harness shows that of failed tests only.
        writeln!(std::io::stderr(), "SKIPPED: {missing}").expect("there is somewhere to say it");
    }
    missing.is_some()
}

#[test]
fn a_switch_is_compiled_started_filled_and_read() {
    if skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let p4 = root.join("p4-out/nat/v1model/nat.p4");
    let program = compile(&p4, folder.path()).unwrap();
    assert_eq!(compile(&p4, folder.path()).unwrap(), program, "the second time it is there");
    let mut process = Process::start(&launch(program, folder.path())).unwrap();
    let entries = Entries::parse(&text()).unwrap();
    let mut loaded = process.load(&entries, &operator()).unwrap();

    assert_eq!(process.runtime().entries("NatIngress.rp_route.rp_routes").unwrap(), 1);
    loaded.remove_route(process.runtime(), [10, 0, 0, 0].into(), 8).unwrap();
    assert_eq!(process.runtime().entries("NatIngress.rp_route.rp_routes").unwrap(), 0);
    assert_eq!(process.runtime().config_md5().unwrap().len(), 16);

    process.runtime().write_register("NatIngress.rp_ticket.rp_ticket", 9, 0xffff_fffe).unwrap();
    let slot = process.slot(9).unwrap();
    assert_eq!((slot["rp_ticket"], slot["endpoint_addr"], slot.len()), (0xffff_fffe, 0, 11));
    let all = process.runtime().read_register_array("NatIngress.rp_ticket.rp_ticket").unwrap();
    assert_eq!((all.len(), all[9], all[8]), (65_536, 0xffff_fffe, 0));
    let drops = process.drops(&entries).unwrap();
    assert_eq!((drops["fragment"], drops.len()), (0, 21));

    let error = process.runtime().clear_entries("no.such", false).unwrap_err();
    assert_eq!(error.to_string(), "bm_mt_clear_entries(no.such): INVALID_TABLE_NAME");
    assert!(!process.has_ended());
    process.stop();
}

#[test]
fn a_switch_that_ends_says_why() {
    if skipped() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = Program { path: folder.path().join("none.json"), registers: Vec::new() };
    let error = Process::start(&launch(program, folder.path())).unwrap_err();
    assert!(matches!(&error, ProcessError::Ended { said } if said.contains("none.json")), "{error}");
}
