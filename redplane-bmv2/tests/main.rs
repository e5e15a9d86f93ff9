//! The runtime interface against a server that is none: what goes over the wire, and what is made of answers.

mod fake;
mod load;
mod real;

use fake::{Fake, Reply};
use redplane_bmv2::{MatchKey, Runtime, RuntimeError};

#[test]
fn an_entry_is_added_by_these_bytes() {
    let fake = Fake::start(|_| Reply::Success(vec![0x08, 0, 0, 0, 0, 0, 5])); // field 0: i32 5
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let key = [MatchKey::Lpm(vec![10, 0, 0, 0], 8)];
    assert_eq!(runtime.add_entry("t", &key, "a", &[vec![1, 2]], None).unwrap().0, 5);
    let mut expected = vec![0x80, 1, 0, 1, 0, 0, 0, 24]; // version 1, call, name
    expected.extend(b"standard:bm_mt_add_entry");
    expected.extend([0, 0, 0, 0]); // sequence number
    expected.extend([0x08, 0, 1, 0, 0, 0, 0]); // 1: i32 context
    expected.extend([0x0b, 0, 2, 0, 0, 0, 1, b't']); // 2: table
    expected.extend([0x0f, 0, 3, 0x0c, 0, 0, 0, 1]); // 3: list of one struct
    expected.extend([0x08, 0, 1, 0, 0, 0, 1]); // type LPM
    expected.extend([0x0c, 0, 3, 0x0b, 0, 1, 0, 0, 0, 4, 10, 0, 0, 0, 0x08, 0, 2, 0, 0, 0, 8, 0]); // key, length
    expected.push(0);
    expected.extend([0x0b, 0, 4, 0, 0, 0, 1, b'a']); // 4: action
    expected.extend([0x0f, 0, 5, 0x0b, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2]); // 5: list of one binary
    expected.extend([0x0c, 0, 6, 0]); // 6: no options
    expected.push(0);
    assert_eq!(fake.calls()[0].bytes, expected);
}

#[test]
fn a_refusal_names_call_table_and_code_and_the_connection_goes_on() {
    let fake = Fake::start(|call| match call.name.as_str() {
        "standard:bm_mt_delete_entry" => {
            Reply::Success(vec![0x0c, 0, 1, 0x08, 0, 1, 0, 0, 0, 2, 0]) // field 1: exception with code 2
        }
        _ => Reply::Success(vec![0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]), // field 0: i64
    });
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let error = runtime.delete_entry("Ingress.t", redplane_bmv2::EntryHandle(9)).unwrap_err();
    assert_eq!(error.to_string(), "bm_mt_delete_entry(Ingress.t): INVALID_HANDLE");
    assert_eq!(runtime.read_registers(&[("r", 1), ("s", 2)]).unwrap(), [0x102, 0x102]);
}

#[test]
fn an_unknown_method_is_an_error_and_so_is_an_answer_of_another_shape() {
    let fake = Fake::start(|call| match call.name.as_str() {
        "standard:bm_counter_read" => Reply::Exception("no such method".to_owned()),
        _ => Reply::Success(Vec::new()),
    });
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let error = runtime.read_counter("c", 3).unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Transport { source, .. }
        if source.to_string().contains("no such method")),
        "{error}"
    );
    drop(runtime);
    let mut runtime = Runtime::connect(fake.address()).unwrap();
    let error = runtime.read_register("r", 3).unwrap_err();
    assert_eq!(error.to_string(), "bm_register_read(r[3]): the answer should be a number");
}

#[test]
fn nobody_there_is_an_error() {
    let fake = Fake::start(|_| Reply::Success(Vec::new()));
    let address = fake.address();
    drop(fake);
    let error = Runtime::connect(address).unwrap_err();
    assert!(error.to_string().starts_with("no runtime interface at 127.0.0.1:"), "{error}");
}
