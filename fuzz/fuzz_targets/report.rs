//! What is wrong with a configuration file can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| backend_store::fuzzing::report(bytes));
