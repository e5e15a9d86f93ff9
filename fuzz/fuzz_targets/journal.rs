//! The journal's files: what was written so is found, and nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| backend_store::fuzzing::journal(bytes));
