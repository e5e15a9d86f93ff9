//! What is done to the network, and when.

use anyhow::{Context as _, Result};
use redplane_sdk::protocol::NodeId;

use super::connection::Micros;
use super::scenario::Scenario;
use super::store::Store;
use super::topology::Topology;
use super::workload::SPAN;

/// Something that is done at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The operator changes the app's configuration.
    ChangeConfig,
    /// The switch that has sent most dies.
    KillSwitch,
    /// It is there again, with nothing in its slots.
    ReviveSwitch,
    /// The head of the store's chain dies.
    KillHead,
    /// It is there again, without records.
    JoinStore,
}

/// In the middle of the transfers, with time to recover in between.
const STEPS: [(Micros, Action); 5] = [
    (SPAN / 10, Action::ChangeConfig),
    (SPAN * 5 / 16, Action::KillSwitch),
    (SPAN * 9 / 16, Action::ReviveSwitch),
    (SPAN * 11 / 16, Action::KillHead),
    (SPAN * 13 / 16, Action::JoinStore),
];

/// Goes through the steps as their time comes.
pub struct Script {
    done: usize,
    switch: usize,
    node: NodeId,
}

impl Script {
    /// From the beginning.
    #[must_use]
    pub fn new() -> Script {
        Script { done: 0, switch: 0, node: NodeId(0) }
    }

    /// When the next step is due.
    #[must_use]
    pub fn next(&self) -> Option<Micros> {
        STEPS.get(self.done).map(|(at, _)| *at)
    }

    /// Does the next step, whose time has come; gives it in words, if there was anything to do.
    ///
    /// # Errors
    /// Never in a network that was built for it.
    pub fn step<S: Scenario>(&mut self, topology: &mut Topology<S>) -> Result<Option<String>> {
        let Some((_, action)) = STEPS.get(self.done) else { return Ok(None) };
        self.done += 1;
        match action {
            Action::ChangeConfig => Ok(topology.change_config()),
            Action::KillSwitch => {
                self.switch = topology.busiest_switch();
                topology.network.kill(topology.switches[self.switch]);
                Ok(Some(format!("switch {} fails", 1 + self.switch)))
            }
            Action::ReviveSwitch => {
                topology.revive_switch(self.switch)?;
                Ok(Some(format!("switch {} returns, empty", 1 + self.switch)))
            }
            Action::KillHead => {
                let Some(store) = topology.store else { return Ok(None) };
                let kill = |store: &mut Store, now, _: &mut _| {
                    let head = store.nodes().head(0)?;
                    store.nodes_mut().kill(head, now);
                    Some(head)
                };
                self.node = topology.network.act(store, kill).flatten().context("the store has no head")?;
                Ok(Some(format!("store {} fails (head)", self.node)))
            }
            Action::JoinStore => {
                let Some(store) = topology.store else { return Ok(None) };
                let node = self.node;
                let join = |store: &mut Store, now, _: &mut _| store.nodes_mut().join(node, now);
                topology.network.act(store, join).context("the store is gone")??;
                Ok(Some(format!("store {node} is back")))
            }
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Script::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Options;
    use crate::demo::workload::plans;
    use redplane_sdk::protocol::Time;

    #[test]
    fn the_store_is_whole_again_at_the_end() {
        let options = Options {
            replication: true,
            seed: 1,
            connections: 8,
            lease: std::time::Duration::from_millis(100),
            loss: 0.0,
            capture: None,
        };
        let mut topology = Topology::<crate::demo::scenario::Nat>::new(&options, &plans(8, 1)).unwrap();
        let mut script = Script::new();
        let mut done = Vec::new();
        while let Some(next) = script.next() {
            topology.network.run_until(Time(next));
            done.extend(script.step(&mut topology).unwrap());
        }
        assert_eq!(done.len(), STEPS.len() - 1, "the NAT does not change its configuration");
        topology.network.run_until(Time(SPAN));
        let store = topology.network.device::<Store>(topology.store.unwrap()).unwrap().nodes();
        assert_eq!(store.members(0), [NodeId(1), NodeId(2), NodeId(0)]);
        assert!(store.is_settled());
        let statistics = store.statistics();
        assert_eq!((statistics.nodes_alive, statistics.promotions, statistics.copies_completed), (3, 1, 1));
        assert_eq!(statistics.protocol.records, 16, "two for each connection");
    }
}
