//! How many events a second one core simulates: `cargo bench -p redplane-simulation`.

use divan::Bencher;
use divan::counter::ItemsCount;
use redplane_simulation::run::{AppName, Setting, run_one};

/// Seeds of one measurement.
const SEEDS: u64 = 20;

fn main() {
    divan::main();
}

#[divan::bench(args = ["counter", "nat"])]
fn events(bencher: Bencher<'_, '_>, app: &str) {
    let app = if app == AppName::Nat.name() { AppName::Nat } else { AppName::Counter };
    let setting = Setting { app: Some(app), ..Setting::default() };
    let run = |setting: &Setting| (0..SEEDS).map(|seed| run_one(setting, seed, None).events).sum::<u64>();
    bencher.counter(ItemsCount::new(run(&setting))).bench(|| run(divan::black_box(&setting)));
}
