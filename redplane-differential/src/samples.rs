//! Apps that are of no use but to be compared: they write, and use what the ready apps do not.

#[path = "../../apps/tests/agreement/arithmetic_app.rs"]
mod arithmetic_app;
#[path = "../../redplane-codegen/tests/fixtures/cache/input.rs"]
#[expect(unreachable_pub, reason = "written for the compiler's tests")]
mod cache_app;
#[path = "../../redplane-codegen/tests/fixtures/gate/input.rs"]
#[expect(unreachable_pub, reason = "written for the compiler's tests")]
mod gate_app;
#[expect(unreachable_pub, reason = "an app is written as a library would write it")]
mod labels_app;
#[path = "../../redplane-codegen/tests/fixtures/meter/input.rs"]
#[expect(unreachable_pub, reason = "written for the compiler's tests")]
mod meter_app;
#[path = "../../apps/tests/agreement/puzzle_app.rs"]
mod puzzle_app;

pub(crate) use arithmetic_app::arithmetic;
pub(crate) use cache_app::cache;
pub(crate) use gate_app::gate;
pub(crate) use labels_app::labels;
pub(crate) use meter_app::meter;
pub(crate) use puzzle_app::puzzle;
