//! How many events a second one core simulates: `cargo bench -p redplane-simulation`.

use divan::Bencher;
use divan::counter::ItemsCount;
use redplane_simulation::run::{AppName, Setting, run_one};

/// Seeds of one measurement.
const SEEDS: u64 = 20;

fn main() {
    divan::main();
}

#[divan::bench(args = AppName::ALL.map(AppName::name))]
fn events(bencher: Bencher<'_, '_>, app: &str) {
    let setting = Setting { app: AppName::by_name(app), ..Setting::default() };
    let run = |setting: &Setting| (0..SEEDS).map(|seed| run_one(setting, seed, None).events).sum::<u64>();
    bencher.counter(ItemsCount::new(run(&setting))).bench(|| run(divan::black_box(&setting)));
}
