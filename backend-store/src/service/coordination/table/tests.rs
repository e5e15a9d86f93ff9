use super::*;

const HEARTBEAT: Duration = Duration::from_millis(50);
const DETECTION: Duration = Duration::from_millis(500);

/// A node that says that it is alive as long as it runs, and takes up what it hears.
#[derive(Default)]
struct Life {
    incarnation: u64,
    epoch: u64,
    members: Vec<NodeId>,
    restored: bool,
    inherited: bool,
    /// It has a copy under way that does not come to an end.
    copies: bool,
    /// Nodes that it does not hear, by bit.
    silent: u16,
    /// Answers do not reach it.
    deaf: bool,
    runs: bool,
}

/// One shard, three nodes, and a virtual clock.
struct World {
    table: Table,
    lives: BTreeMap<NodeId, Life>,
    now: Time,
}

impl World {
    fn new(durable: bool) -> Self {
        let lives = (0..3).map(|node| (NodeId(node), Life { incarnation: 1, runs: true, ..Life::default() }));
        Self { table: Table::new(settings(durable)), lives: lives.collect(), now: Time(1_000_000) }
    }

    /// A world whose chain is complete.
    fn formed(durable: bool) -> Self {
        let mut world = Self::new(durable);
        world.run(HEARTBEAT * 2);
        assert_eq!(world.members(), [0, 1, 2]);
        world
    }

    fn life(&mut self, node: u16) -> &mut Life {
        self.lives.get_mut(&NodeId(node)).unwrap()
    }

    /// Another process of the node, with or without what the journal had.
    fn restart(&mut self, node: u16, restored: bool) {
        let incarnation = self.life(node).incarnation + 1;
        *self.life(node) = Life { incarnation, restored, inherited: restored, runs: true, ..Life::default() };
    }

    fn kill(&mut self, nodes: &[u16]) {
        nodes.iter().for_each(|node| self.life(*node).runs = false);
    }

    /// One heartbeat of each node that runs, one after the other, and the deadlines in between.
    fn run(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while self.now < end {
            for (node, life) in self.lives.iter_mut().filter(|(_, life)| life.runs) {
                self.now = self.now.plus(Duration::from_millis(1));
                heartbeat(&mut self.table, *node, life, self.now);
            }
            let next = self.now.plus(HEARTBEAT);
            while let Some(due) = self.table.poll_timeout().filter(|due| *due <= next) {
                assert!(due >= self.now, "a deadline that is over must have been dealt with");
                self.table.handle_timeout(due);
                assert!(self.table.poll_timeout().is_none_or(|again| again > due), "it does not spin");
                self.now = due;
            }
            self.now = next;
        }
    }

    fn status(&self) -> crate::service::coordination::ShardStatus {
        self.table.status(0, self.now).shards[0].clone()
    }

    fn members(&self) -> Vec<u16> {
        self.status().members
    }

    /// What the node's replica was told last.
    fn told(&self, node: u16) -> (u64, Vec<u16>) {
        let life = &self.lives[&NodeId(node)];
        (life.epoch, life.members.iter().map(|node| node.0).collect())
    }
}

fn settings(durable: bool) -> TableSettings {
    TableSettings {
        cluster: "lab".to_owned(),
        nodes: (0..3).map(NodeId).collect(),
        shards: 1,
        durable: durable.then_some(0).into_iter().collect(),
        detection: DETECTION,
    }
}

fn heartbeat(table: &mut Table, node: NodeId, life: &mut Life, now: Time) -> Standing {
    let Life { epoch, restored, inherited, copies, silent, .. } = *life;
    let report = ShardReport { shard: 0, epoch, copied: !copies, restored, inherited, silent };
    let standing = table.handle_heartbeat(node, life.incarnation, life.deaf, &[report], now);
    if life.deaf {
        return standing;
    }
    for (_, configuration) in table.configurations_for(node, life.incarnation) {
        if configuration.epoch > life.epoch {
            life.epoch = configuration.epoch;
            life.members.clone_from(&configuration.members);
            life.restored &= configuration.members.contains(&node) && configuration.joining != Some(node);
        }
    }
    standing
}

#[test]
fn a_chain_forms_from_all_nodes_or_from_those_that_are_there_in_time() {
    let mut world = World::new(false);
    world.life(1).runs = false;
    world.run(HEARTBEAT * 4);
    assert_eq!((world.status().state, world.status().epoch), (ChainState::Forming, 0));
    world.run(DETECTION);
    assert_eq!((world.members(), world.told(0)), (vec![0, 2], (1, vec![0, 2])));
    world.life(1).runs = true;
    world.run(HEARTBEAT * 3);
    assert_eq!((world.members(), world.status().joining), (vec![0, 2, 1], None));
}

#[test]
fn a_paused_node_is_out_within_the_detection_time_and_joins_as_new() {
    let mut world = World::formed(false);
    let heard = world.now;
    world.kill(&[1]);
    while world.members().len() == 3 {
        world.run(HEARTBEAT);
    }
    assert!(world.now.since(heard) <= DETECTION + HEARTBEAT * 2, "{:?}", world.now.since(heard));
    assert_eq!(world.told(1), (1, vec![0, 1, 2]), "who is paused hears nothing");
    world.life(1).runs = true;
    let life = world.lives.get_mut(&NodeId(1)).unwrap();
    heartbeat(&mut world.table, NodeId(1), life, world.now);
    assert_eq!(world.told(1), (3, vec![0, 2, 1]));
    assert_eq!(world.status().joining, Some(1), "it has heard, and its copy has not begun");
    world.run(HEARTBEAT * 2);
    assert_eq!(world.status().joining, None);
}

#[test]
fn a_live_node_is_never_out() {
    let mut world = World::formed(false);
    world.run(DETECTION * 20);
    assert_eq!((world.status().epoch, world.members()), (1, vec![0, 1, 2]));
}

#[test]
fn a_copy_counts_only_when_both_ends_have_heard_of_the_epoch() {
    let mut world = World::formed(false);
    world.kill(&[2]);
    world.run(DETECTION * 2);
    // It asks to join, and hears nothing from then on: all that its predecessor has to send may be nothing.
    world.life(2).runs = true;
    let epoch = world.status().epoch;
    let report = ShardReport { shard: 0, epoch, copied: true, restored: false, inherited: false, silent: 0 };
    world.table.handle_heartbeat(NodeId(2), 1, false, &[report], world.now);
    world.life(2).runs = false;
    world.run(HEARTBEAT * 4);
    assert_eq!((world.members(), world.status().joining), (vec![0, 1, 2], Some(2)));
    world.life(2).runs = true;
    world.run(HEARTBEAT * 2);
    assert_eq!(world.status().joining, None);
}

#[test]
fn who_has_no_full_copy_does_not_bring_the_shard_back() {
    let mut world = World::formed(true);
    world.kill(&[2]);
    world.run(DETECTION * 2);
    world.life(1).copies = true;
    world.restart(2, true);
    world.run(HEARTBEAT * 4);
    assert_eq!((world.members(), world.status().joining), (vec![0, 1, 2], Some(2)));
    world.kill(&[0, 1, 2]);
    world.run(DETECTION * 3);
    assert_eq!((world.status().state, world.status().waits_for), (ChainState::Down, vec![0, 1]));
}

#[test]
fn another_life_is_dead_and_joins_and_the_former_one_is_not_heard() {
    let mut world = World::formed(true);
    world.restart(1, true);
    assert_eq!(world.told(1), (0, vec![]));
    world.run(HEARTBEAT);
    world.run(HEARTBEAT * 2);
    assert_eq!((world.members(), world.status().joining), (vec![0, 2, 1], None));
    assert!(!world.lives[&NodeId(1)].restored, "it was emptied");
    let mut former = Life { incarnation: 1, epoch: 1, ..Life::default() };
    assert_eq!(heartbeat(&mut world.table, NodeId(1), &mut former, world.now), Standing::Former);
    assert_eq!(former.epoch, 1, "it hears nothing");
    assert_eq!(heartbeat(&mut world.table, NodeId(9), &mut former, world.now), Standing::Stranger);
    world.run(HEARTBEAT);
    assert_eq!(world.members(), [0, 2, 1]);
}

#[test]
fn another_life_hears_nothing_of_its_former_ones_chain() {
    let mut world = World::formed(true);
    world.restart(0, false);
    let life = world.lives.get_mut(&NodeId(0)).unwrap();
    heartbeat(&mut world.table, NodeId(0), life, world.now);
    assert_eq!(world.told(0), (0, vec![]), "empty, it would be head");
    assert_eq!(world.members(), [0, 1, 2], "it is open who else died");
    world.run(HEARTBEAT * 4);
    assert_eq!(world.members(), [1, 2, 0]);
}

#[test]
fn who_dies_at_once_is_taken_out_at_once_and_any_of_them_brings_the_shard_back() {
    for back in 0..3 {
        let mut world = World::formed(true);
        world.kill(&[0, 1, 2]);
        world.run(DETECTION * 3);
        let status = world.status();
        assert_eq!((status.state, status.waits_for), (ChainState::Down, vec![0, 1, 2]), "{back}");
        world.restart(back, true);
        world.run(HEARTBEAT * 2);
        assert_eq!((world.members(), world.status().state), (vec![back], ChainState::Serving));
        assert!(world.lives[&NodeId(back)].restored, "it was not emptied");
        for node in 0..3 {
            if node != back {
                world.restart(node, true);
            }
        }
        world.run(HEARTBEAT * 8);
        assert_eq!((world.members().len(), world.members()[0], world.status().joining), (3, back, None));
        assert!(
            (0..3).all(|node| world.lives[&NodeId(node)].restored == (node == back)),
            "later ones join as new"
        );
    }
}

#[test]
fn all_nodes_restarted_before_their_death_is_noticed_lose_nothing() {
    let mut world = World::formed(true);
    (0..3).for_each(|node| world.restart(node, true));
    world.run(HEARTBEAT * 10);
    assert_eq!((world.members().len(), world.status().state), (3, ChainState::Serving));
    let kept = world.lives.values().filter(|life| life.restored).count();
    assert!(kept >= 1, "somebody still has what the journal had");
    assert!(world.lives[&NodeId(world.members()[0])].restored, "and it is the head");
}

#[test]
fn a_shard_that_is_down_waits_for_a_node_that_was_full_and_has_it_all() {
    let mut world = World::formed(true);
    world.kill(&[0]);
    world.run(DETECTION * 2);
    assert_eq!(world.members(), [1, 2]);
    world.kill(&[1, 2]);
    world.run(DETECTION * 2);
    assert_eq!(world.status().waits_for, [1, 2]);
    world.restart(0, true);
    world.restart(1, false);
    world.run(DETECTION * 2);
    assert_eq!(world.status().state, ChainState::Down, "node 0 missed writes, node 1 lost its journal");
    assert!(world.lives[&NodeId(0)].restored, "nobody is emptied meanwhile");
    world.restart(2, true);
    world.run(HEARTBEAT * 8);
    assert_eq!((world.members()[0], world.members().len()), (2, 3));
}

#[test]
fn without_journals_a_shard_is_lost_until_it_is_reset_or_its_node_was_only_out_of_reach() {
    let mut world = World::formed(false);
    world.kill(&[0, 1, 2]);
    world.run(DETECTION * 3);
    assert_eq!(world.status().state, ChainState::Lost);
    world.restart(0, true);
    world.run(HEARTBEAT * 2);
    assert_eq!(world.status().state, ChainState::Lost);
    let mut reachable = World::formed(false);
    reachable.kill(&[0, 1, 2]);
    reachable.run(DETECTION * 3);
    (0..3).for_each(|node| reachable.life(node).runs = true);
    reachable.run(HEARTBEAT);
    assert_eq!((reachable.members()[0], reachable.told(0).1[0]), (0, 0), "it never heard that it was out");
    assert_eq!(world.table.reset(7, world.now), Err(ResetError::NoShard { shard: 7, last: 0 }));
    assert_eq!(reachable.table.reset(0, world.now), Err(ResetError::Serving { shard: 0 }));
    let epoch = world.status().epoch;
    world.restart(1, true);
    assert_eq!(world.table.reset(0, world.now), Ok(()));
    world.run(DETECTION * 2);
    assert_eq!((world.status().state, world.members()), (ChainState::Serving, vec![0, 1]));
    assert!(world.status().epoch > epoch + 1, "first all hear that nothing is left");
    assert!(world.lives.values().all(|life| !life.restored || !life.runs), "and forget");
}

#[test]
fn nothing_is_formed_from_nodes_that_have_a_history() {
    let mut world = World::new(true);
    world.restart(2, true);
    world.run(DETECTION * 4);
    assert_eq!((world.status().state, world.status().epoch), (ChainState::Forming, 0));
    assert!(world.lives[&NodeId(2)].restored);
    assert_eq!(world.table.reset(0, world.now), Ok(()));
    assert!(world.members().is_empty(), "first all have to forget");
    world.run(DETECTION * 2);
    assert_eq!((world.members().len(), world.lives[&NodeId(2)].restored), (3, false));
}

#[test]
fn a_restarted_coordinator_gives_everybody_the_full_detection_time() {
    let mut world = World::formed(true);
    world.kill(&[2]);
    world.run(DETECTION - HEARTBEAT * 2);
    let record = serde_json::to_string(&world.table.to_record()).unwrap();
    let record: TableRecord = serde_json::from_str(&record).unwrap();
    world.now = world.now.plus(DETECTION * 100);
    let started = world.now;
    world.table = Table::from_record(settings(true), &record, started).unwrap();
    world.run(DETECTION - HEARTBEAT * 2);
    assert_eq!((world.members(), world.status().epoch), (vec![0, 1, 2], 1));
    world.run(HEARTBEAT * 4);
    assert_eq!((world.members(), world.told(0)), (vec![0, 1], (2, vec![0, 1])));
    // What it wrote before the last change is an honest past, and everybody who is gone since then is found out.
    let other = TableSettings { shards: 2, ..settings(true) };
    assert!(Table::from_record(other, &record, started).is_err_and(|why| why.contains("1 shards")));
    let other = TableSettings { cluster: "bal".to_owned(), ..settings(true) };
    assert!(Table::from_record(other, &record, started).is_err_and(|why| why.contains("bal")));
}

#[test]
fn a_restart_of_a_node_while_the_coordinator_is_away_is_noticed() {
    let mut world = World::formed(false);
    let record = world.table.to_record();
    world.restart(0, false);
    world.table = Table::from_record(settings(false), &record, world.now).unwrap();
    world.run(HEARTBEAT * 5);
    assert_eq!(world.members(), [1, 2, 0]);
}

#[test]
fn a_coordinator_that_stood_still_takes_nobody_for_dead() {
    let mut world = World::formed(false);
    let revision = world.table.revision();
    world.now = world.now.plus(DETECTION * 3);
    world.table.handle_timeout(world.now);
    assert_eq!(world.table.revision(), revision);
    world.run(HEARTBEAT);
    assert_eq!(world.members(), [0, 1, 2]);
    world.kill(&[0]);
    world.run(DETECTION * 2);
    assert_eq!(world.members(), [1, 2], "but later it does");
}

#[test]
fn a_planned_leave_is_acted_on_at_once_and_late_heartbeats_do_not_undo_it() {
    let mut world = World::formed(false);
    world.kill(&[0]);
    world.table.handle_leave(NodeId(0), 1, world.now);
    assert_eq!(world.members(), [1, 2]);
    let mut late = Life { incarnation: 1, ..Life::default() };
    assert_eq!(heartbeat(&mut world.table, NodeId(0), &mut late, world.now), Standing::Former);
    world.run(HEARTBEAT * 2);
    assert_eq!(world.members(), [1, 2]);
    world.table.handle_leave(NodeId(1), 77, world.now);
    world.table.handle_leave(NodeId(900), 1, world.now);
    assert_eq!(world.members(), [1, 2], "another life cannot leave for it");
    world.restart(0, false);
    world.run(HEARTBEAT * 3);
    assert_eq!(world.members(), [1, 2, 0]);
}

#[test]
fn whoever_is_out_of_its_peers_reach_is_out_until_they_hear_each_other() {
    // Of each node whom it does not hear: node 1 is cut off, in both directions or in one.
    for (at, silent) in [[0b010, 0b101, 0b010], [0b010, 0, 0b010], [0, 0b101, 0]].into_iter().enumerate() {
        let mut world = World::formed(false);
        let start = world.now;
        // The first that says something says it of the wrong one.
        world.life(0).silent = silent[0];
        world.run(HEARTBEAT);
        (0..3).for_each(|node| world.life(node).silent = silent[usize::from(node)]);
        while world.members().len() == 3 {
            world.run(HEARTBEAT);
        }
        assert!(world.now.since(start) <= HEARTBEAT * 6, "case {at}: {:?}", world.now.since(start));
        world.run(HEARTBEAT * 6);
        assert_eq!(world.members(), [0, 2], "case {at}");
        assert_eq!(
            world.told(1).1,
            [0, 2],
            "case {at}: it has heard that it is out, and forgets what it has"
        );
        (0..3).for_each(|node| world.life(node).silent = 0);
        world.run(HEARTBEAT * 3);
        assert_eq!((world.members(), world.status().joining), (vec![0, 2, 1], None), "case {at}");
    }
}

#[test]
fn of_two_that_do_not_hear_each_other_the_one_with_all_records_stays() {
    let mut world = World::formed(false);
    world.kill(&[1, 2]);
    world.run(DETECTION * 2);
    world.life(0).copies = true;
    world.life(2).runs = true;
    world.run(HEARTBEAT * 2);
    assert_eq!((world.members(), world.status().joining), (vec![0, 2], Some(2)));
    world.life(2).silent = 0b001;
    world.run(HEARTBEAT * 6);
    assert_eq!((world.members(), world.status().state), (vec![0], ChainState::Serving));
}

#[test]
fn a_silent_node_that_is_dead_concerns_nobody() {
    let mut world = World::formed(false);
    world.kill(&[2]);
    world.run(DETECTION * 2);
    world.life(0).silent = 0b100;
    world.life(1).silent = 0b100;
    let epoch = world.status().epoch;
    world.run(DETECTION * 2);
    assert_eq!((world.members(), world.status().epoch), (vec![0, 1], epoch));
}

#[test]
fn a_node_that_hears_no_answers_is_out_soon_and_back_when_it_does() {
    let mut world = World::formed(false);
    let start = world.now;
    world.life(0).deaf = true;
    while world.members().len() == 3 {
        world.run(HEARTBEAT);
    }
    assert!(world.now.since(start) <= HEARTBEAT * 4, "{:?}", world.now.since(start));
    world.run(DETECTION * 2);
    assert_eq!(world.members(), [1, 2], "it is not let in as long as it is deaf");
    world.life(0).deaf = false;
    world.run(HEARTBEAT * 3);
    assert_eq!((world.members(), world.status().joining), (vec![1, 2, 0], None));
}

#[test]
fn who_says_once_that_it_hears_nothing_may_hear_the_answer_to_that() {
    let mut world = World::formed(false);
    world.life(0).deaf = true;
    world.run(HEARTBEAT / 10);
    world.life(0).deaf = false;
    world.run(DETECTION);
    assert_eq!((world.members(), world.status().epoch), (vec![0, 1, 2], 1));
}

#[test]
fn nodes_that_all_hear_nothing_go_on_with_what_they_have() {
    let mut world = World::formed(false);
    (0..3).for_each(|node| world.life(node).deaf = true);
    world.run(DETECTION * 2);
    assert_eq!(world.status().state, ChainState::Lost);
    (0..3).for_each(|node| world.life(node).deaf = false);
    world.run(HEARTBEAT * 6);
    assert_eq!((world.members().len(), world.status().state), (3, ChainState::Serving));
}

#[test]
fn a_life_that_hears_nothing_ends_the_one_before_it_at_once() {
    let mut world = World::formed(false);
    assert_eq!(world.table.configurations_for(NodeId(1), 1).count(), 1);
    world.restart(1, false);
    world.table.handle_heartbeat(NodeId(1), 2, true, &[], world.now);
    assert_eq!(world.table.configurations_for(NodeId(1), 1).count(), 0);
    assert_eq!(world.table.poll_timeout().map(|due| due > world.now), Some(true));
    world.life(1).deaf = true;
    world.run(HEARTBEAT * 2);
    assert_eq!(world.members(), [0, 2]);
}
