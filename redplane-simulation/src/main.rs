//! Runs seeds.
use redplane_protocol::mutant::{self, Mutant};
use redplane_simulation::outcome::Sometimes;
use redplane_simulation::workload::{Count, Translate, Workload};
use redplane_simulation::{Assumptions, Mutation, Plan, Simulation};
fn runs<W: Workload>(seeds: u64, assume: Assumptions) {
    let mut events = 0;
    let mut stale = 0;
    let mut sometimes = Sometimes::default();
    let start = std::time::Instant::now();
    let mut found = 0;
    for seed in 0..seeds {
        let (outcome, _) = Simulation::<W>::new(Plan::new(seed, assume), Mutation::default()).run();
        events += outcome.events;
        stale += u64::from(outcome.stale_read.is_some());
        sometimes.add(&outcome.sometimes);
        if let Some(finding) = outcome.finding { found += 1; if found < 10 { println!("{seed} {finding}"); } }
    }
    println!("{} {assume:?} found {found} stale {stale} {events} {:?} {sometimes:?}", W::NAME, start.elapsed());
}
fn trace(seed: u64, assume: Assumptions) {
    let schema = redplane_sdk::app::schema::<redplane_simulation::counter_app::App>();
    let tap = Box::new(move |now, event: &redplane_simulation::event::Event<'_>| match event {
        redplane_simulation::event::Event::Frame { sent, from, to, loss, frame } => {
            let d = redplane_simulation::describe::describe(*from, *to, frame, &schema);
            println!("{now:>9} {sent:>9} {from} -> {to} {} {} {}", loss.map_or("", |l| l.name()), d.kind, d.text);
        }
        redplane_simulation::event::Event::Fault { place, text } => println!("{now:>9} ---- {place} {text}"),
    });
    let plan = Plan::new(seed, assume);
    println!("{plan:?}");
    let (o, _) = Simulation::<Count>::new(plan, Mutation::default()).with_tap(tap).run();
    println!("{o:?}");
}
fn main() {
    if let Some(seed) = std::env::args().nth(1) { return trace(seed.parse().unwrap(), Assumptions::Kept); }
    runs::<Count>(10000, Assumptions::Kept);
    runs::<Count>(3000, Assumptions::ClocksBroken);
    runs::<Count>(1000, Assumptions::BitsFlipped);
    runs::<Translate>(5000, Assumptions::Kept);
    runs::<Translate>(1000, Assumptions::ClocksBroken);
    runs::<Translate>(1000, Assumptions::BitsFlipped);
    for m in Mutant::ALL {
        let mut by = String::from("-");
        let mut n = 0;
        for seed in 0..3000 {
            n = seed;
            let mutation = Mutation { incarnation_kept: m == Mutant::IncarnationKept };
            let f = mutant::with(Some(m), || {
                let (a, _) = Simulation::<Count>::new(Plan::new(seed, Assumptions::Kept), mutation).run();
                a.finding.map(|f| ("counter", f)).or_else(|| Simulation::<Translate>::new(Plan::new(seed, Assumptions::Kept), mutation).run().0.finding.map(|f| ("nat", f)))
            });
            if let Some((w, f)) = f { by = format!("{w} {f}"); break; }
        }
        println!("{:32} {n:5} {}", m.name(), by.chars().take(160).collect::<String>());
    }
}
