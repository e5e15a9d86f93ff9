//! The fabric between hosts and switches: all of a flow goes by one switch, until the fabric thinks again.

use redplane_sdk::net::Random;

/// Flows that the fabric tells apart.
const FLOWS: usize = 64;

/// Equal-cost paths by flow. It hears late of a dead switch, and moves flows for no reason as well.
pub(super) struct Fabric {
    alive: Vec<bool>,
    choice: [u64; FLOWS],
}

impl Fabric {
    pub(super) fn new(switches: usize) -> Fabric {
        Fabric { alive: vec![true; switches], choice: std::array::from_fn(|flow| flow as u64) }
    }

    pub(super) fn switch_of(&self, flow: u32) -> usize {
        let live: Vec<usize> = (0..self.alive.len()).filter(|at| self.alive[*at]).collect();
        let choice = self.choice[flow as usize % FLOWS];
        live.get((choice % live.len().max(1) as u64) as usize).copied().unwrap_or(0)
    }

    /// When it hears that a switch is there, or is not.
    pub(super) fn hear(&mut self, switch: usize, alive: bool) {
        self.alive[switch] = alive;
    }

    /// Some flows move, or all.
    pub(super) fn rehash(&mut self, random: &mut Random) {
        let all = random.chance(0.3);
        for choice in &mut self.choice {
            if all || random.chance(0.3) {
                *choice = random.next_u64();
            }
        }
    }
}
