//! Whatever nodes, the clock and an operator do: the chains stay what a chain must be.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| backend_store::fuzzing::table(bytes));
