//! What rustc shows to an author, and what it makes of the reference program.

#[path = "pass/arithmetic.rs"]
#[expect(dead_code, unreachable_pub, reason = "the program is a case of its own below")]
mod arithmetic_app;
mod differential;
#[path = "pass/nat.rs"]
#[expect(dead_code, unreachable_pub, reason = "the program is a case of its own below")]
mod program;

use std::path::Path;

use redplane_sdk::App;

#[test]
fn mistakes() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}

/// The macro reads tokens, `build.rs` a file; both must see one program.
#[test]
fn macro_and_build_agree() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pass/nat.rs");
    let apps = redplane_codegen::build::read(&source).expect("the program has no mistake");
    let [app] = &apps[..] else { panic!("the file has one app") };
    type Native = program::nat::App;
    assert_eq!(Native::IR_HASH, redplane_codegen::hash(app));
    assert_eq!(Native::FINGERPRINT, redplane_codegen::fingerprint(app));
    assert_eq!((Native::NAME, Native::ID, Native::SLOTS), (app.name.as_str(), app.id, app.state.slots));
    assert_eq!(Native::IDLE.as_millis(), u128::from(app.state.idle_ms));
    assert_eq!(Native::REASONS, app.reasons);
    let agreement = redplane_codegen::build::agreement(app);
    assert!(agreement.contains(&format!("{:#018x}", Native::IR_HASH)), "{agreement}");
}
