//! Two `schema.json`: legal or refused, and what continues another can stand in for it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| backend_store::fuzzing::schema(bytes));
