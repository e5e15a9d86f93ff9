//! Seeded runs of the [`pair`](crate::pair). `SEED=n` runs that seed alone; a failure names its seed.

use std::collections::BTreeMap;

use crate::pair::{COMPANION, Faults, Operation, World};

const KEYS: u64 = 4;
const ROUGH: Faults = Faults { packet_loss_per_mille: 30, duplicate_per_mille: 30, straggler_per_mille: 40 };
const SMOOTH: Faults = Faults { packet_loss_per_mille: 2, duplicate_per_mille: 2, straggler_per_mille: 2 };

/// What happens to whom in a run.
#[derive(Clone, Copy, Debug)]
struct Plan {
    faults: Faults,
    /// Chances per packet.
    reboot_per_mille: u64,
    crash_per_mille: u64,
    move_per_mille: u64,
    packets: u64,
    gap_us: u64,
}

/// A packet every 300 µs for a fifth of a second, keys that wander from switch to switch, crashes as far as the
/// chain can bear them; then quiet, and everything must still be there and answer.
fn run(seed: u64, plan: Plan) -> BTreeMap<&'static str, u64> {
    let mut world = World::new(seed, plan.faults);
    let mut switch_of = [0; KEYS as usize];
    for _ in 0..plan.packets {
        let gap = world.random.below(2 * plan.gap_us);
        world.run_until(world.now + gap);
        let key = world.random.below(KEYS);
        if world.random.chance(plan.move_per_mille) {
            switch_of[key as usize] ^= 1;
        }
        if world.random.chance(plan.reboot_per_mille) {
            let switch = world.random.below(2) as usize;
            world.reboot(switch);
        }
        if world.random.chance(plan.crash_per_mille) && world.is_whole() {
            if world.configuration.members.len() > 1 {
                let at = world.random.below(world.configuration.members.len() as u64) as usize;
                if world.random.chance(250) { world.suspect(at) } else { world.crash(at) }
            }
            if world.random.chance(300) && world.configuration.members.len() < 4 && world.is_whole() {
                world.join();
            }
        } else if world.configuration.members.len() < 3 && world.is_whole() && world.random.chance(20) {
            world.join();
        }
        let (operation, key) = match world.random.below(10) {
            0..5 => (Operation::Increment, key as u16),
            5..9 => (Operation::Read, key as u16),
            _ => (Operation::FindCompanion, key as u16 + COMPANION),
        };
        world.inject(switch_of[key as usize % KEYS as usize], key, operation);
    }
    check_after_the_storm(&mut world);
    world.seen
}

fn check_after_the_storm(world: &mut World) {
    world.faults = Faults::NONE;
    world.run_until(world.now + 100_000);
    for round in 0..3 {
        for key in 0..KEYS as u16 {
            for switch in 0..2 {
                let before = world.largest_released(key);
                let packet = world.inject(switch, key, Operation::Increment);
                // A lease to wait for, if RECALL finds nobody, and then a few round trips.
                world.run_until(world.now + 60_000);
                assert!(world.released.contains(&packet), "{round}: {key} by switch {switch} got no answer");
                assert!(world.largest_released(key) > before, "{round}: {key} went back");
            }
        }
    }
}

fn run_seeds(seeds: std::ops::Range<u64>, plan: Plan, expected: &[&str]) {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, plan);
        return;
    }
    let mut seen = BTreeMap::<_, u64>::new();
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed, plan));
        let Ok(run_seen) = result else { panic!("seed {seed} failed: SEED={seed} runs it alone") };
        for (what, count) in run_seen {
            *seen.entry(what).or_default() += count;
        }
    }
    println!("{seen:?}");
    for what in expected {
        assert!(seen.contains_key(what), "in all these runs there was no {what}: {seen:?}");
    }
}

const PLAN: Plan = Plan {
    faults: ROUGH,
    reboot_per_mille: 4,
    crash_per_mille: 6,
    move_per_mille: 60,
    packets: 500,
    gap_us: 300,
};

#[test]
fn survives_a_rough_network() {
    let plan = Plan { reboot_per_mille: 0, crash_per_mille: 0, ..PLAN };
    let expected =
        ["grant", "recall", "stale", "absent", "held read", "held write", "renewal", "retransmission"];
    run_seeds(0..100, plan, &expected);
}

#[test]
fn survives_crashes_and_reboots() {
    let expected =
        ["reboot", "crash of the head", "crash of the tail", "crash in the middle", "join", "recall"];
    run_seeds(1000..1150, PLAN, &expected);
}

#[test]
fn survives_crashes_on_a_good_network() {
    let plan = Plan { faults: SMOOTH, crash_per_mille: 10, move_per_mille: 150, ..PLAN };
    run_seeds(2000..2100, plan, &["crash of the head", "join", "false suspicion"]);
}
