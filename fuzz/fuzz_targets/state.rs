//! The coordinator's state file, and how the coordinator goes on from it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| backend_store::fuzzing::state(bytes));
