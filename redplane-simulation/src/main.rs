//! Runs seeds.
use redplane_simulation::workload::Count;
use redplane_simulation::{Assumptions, Mutation, Plan, Simulation};
fn main() {
    let mut events = 0;
    let start = std::time::Instant::now();
    for seed in 0..100 {
        let (outcome, _) = Simulation::<Count>::new(Plan::new(seed, Assumptions::Kept), Mutation::default()).run();
        events += outcome.events;
        if let Some(finding) = outcome.finding { println!("{seed} {finding}"); }
    }
    println!("{events} {:?}", start.elapsed());
}
