//! The checker must accept what is linearizable and nothing else; the slow search says what is.

use redplane_sdk::net::Random;
use redplane_simulation::checker::check;
use redplane_simulation::frame::PacketId;
use redplane_simulation::history::{History, Intent, Micros, Shown};
use redplane_simulation::search::{Operation, is_linearizable};

/// Nothing is ever deleted.
const NEVER: Micros = 1 << 40;

const COUNT: Intent = Intent { creates: true, writes: true };
const SHOW: Intent = Intent { creates: true, writes: false };
const PEEK: Intent = Intent { creates: false, writes: false };

/// One packet: what it may do, when it came in, when it left and what it showed; -1: that there is no record.
type Line = (Intent, Micros, Option<(Micros, i64)>);

fn history(lines: &[Line]) -> History {
    let mut history = History::default();
    for (number, (intent, entered, left)) in lines.iter().enumerate() {
        let packet = PacketId(number as u32);
        history.enter(packet, *entered, *intent);
        if let Some((at, value)) = left {
            history.show(Shown { packet, at: *at, value: u32::try_from(*value).ok(), wrote: intent.writes });
        }
    }
    history
}

#[track_caller]
fn accepts(lines: &[Line]) {
    assert_eq!(check(&history(lines), NEVER), Ok(()), "{lines:?}");
    assert!(searched(lines), "the search says no to {lines:?}");
}

#[track_caller]
fn refuses(lines: &[Line], word: &str) {
    let violation = check(&history(lines), NEVER).expect_err("it is not linearizable");
    assert!(violation.text.contains(word), "{violation:?}");
    assert!(!searched(lines), "the search says yes to {lines:?}");
}

#[test]
fn one_after_the_other() {
    accepts(&[(COUNT, 0, Some((10, 1))), (SHOW, 20, Some((30, 1))), (COUNT, 40, Some((50, 2)))]);
    accepts(&[(PEEK, 0, Some((5, -1))), (SHOW, 6, Some((9, 0))), (COUNT, 10, Some((20, 1)))]);
    accepts(&[]);
}

#[test]
fn what_overlaps_may_swap() {
    accepts(&[(COUNT, 0, Some((100, 2))), (COUNT, 10, Some((50, 1)))]);
    accepts(&[(COUNT, 0, Some((100, 1))), (SHOW, 10, Some((20, 0))), (SHOW, 30, Some((90, 1)))]);
    refuses(&[(COUNT, 0, Some((20, 2))), (COUNT, 30, Some((50, 1)))], "too early");
}

#[test]
fn a_lost_packet_may_have_counted_or_not() {
    accepts(&[(COUNT, 0, None), (COUNT, 10, Some((20, 2)))]);
    accepts(&[(COUNT, 0, None), (COUNT, 10, Some((20, 1)))]);
    accepts(&[(COUNT, 0, None), (COUNT, 10, Some((20, 1))), (SHOW, 30, Some((40, 2)))]);
    refuses(&[(COUNT, 30, None), (COUNT, 10, Some((20, 2)))], "too early");
    refuses(&[(COUNT, 10, Some((20, 2)))], "no packet is left");
}

#[test]
fn a_lost_write_is_found() {
    refuses(&[(COUNT, 0, Some((10, 1))), (COUNT, 20, Some((30, 1)))], "both counted");
}

#[test]
fn a_stale_read_is_found() {
    refuses(
        &[(COUNT, 0, Some((10, 1))), (COUNT, 20, Some((30, 2))), (SHOW, 40, Some((50, 1)))],
        "packet 2 goes before",
    );
    refuses(&[(COUNT, 0, Some((10, 1))), (PEEK, 20, Some((30, -1)))], "packet 1 goes before");
    refuses(&[(SHOW, 0, Some((10, 1))), (COUNT, 20, None)], "not there");
}

#[test]
fn two_reads_must_agree_on_the_order() {
    let write = (COUNT, 0, Some((100, 1)));
    accepts(&[write, (SHOW, 10, Some((20, 0))), (SHOW, 30, Some((40, 1)))]);
    refuses(&[write, (SHOW, 10, Some((20, 1))), (SHOW, 30, Some((40, 0)))], "");
}

#[test]
fn a_packet_counts_once_for_each_time_it_came() {
    let mut twice = history(&[(COUNT, 0, Some((10, 1)))]);
    twice.show(Shown { packet: PacketId(0), at: 11, value: Some(1), wrote: true });
    assert_eq!(check(&twice, NEVER), Ok(()), "the same output twice");
    twice.show(Shown { packet: PacketId(0), at: 12, value: Some(2), wrote: true });
    assert!(check(&twice, NEVER).expect_err("it came once").text.contains("came 1 times"));
    twice.repeat(PacketId(0));
    assert_eq!(check(&twice, NEVER), Ok(()));
}

#[test]
fn an_idle_record_may_begin_anew_and_no_other() {
    let lines = [(COUNT, 0, Some((10, 1))), (COUNT, 20, Some((30, 2))), (COUNT, 1000, Some((1010, 1)))];
    assert_eq!(check(&history(&lines), 500), Ok(()));
    assert!(check(&history(&lines), 2000).is_err());
    let kept = [(COUNT, 0, Some((10, 1))), (COUNT, 1000, Some((1010, 2)))];
    assert_eq!(check(&history(&kept), 500), Ok(()), "it need not be deleted");
    let peeked = [(COUNT, 0, Some((10, 1))), (PEEK, 1000, Some((1010, -1))), (SHOW, 1020, Some((1030, 0)))];
    assert_eq!(check(&history(&peeked), 500), Ok(()));
    let skipped = [(COUNT, 0, Some((10, 1))), (COUNT, 1000, Some((1010, 1))), (SHOW, 1020, Some((1030, 2)))];
    assert!(check(&history(&skipped), 500).is_err());
}

/// What an operation does to the count, in which -1 is that there is no record.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(Option<i64>),
    /// The first packet that came makes the record, though it may do nothing more.
    Create,
    Read(i64),
}

fn apply(state: &i64, step: &Step) -> Option<i64> {
    match step {
        Step::Create => Some((*state).max(0)),
        Step::Read(value) => (state == value).then_some(*state),
        Step::Write(value) => {
            let next = (*state).max(0) + 1;
            value.is_none_or(|value| value == next).then_some(next)
        }
    }
}

fn searched(lines: &[Line]) -> bool {
    let mut operations = Vec::new();
    for (intent, entered, left) in lines {
        let shown = left.map(|(_, value)| value);
        if intent.creates {
            operations.push(Operation { entered: *entered, left: None, what: Step::Create });
        }
        let what = match (intent.writes, shown) {
            (true, shown) => Step::Write(shown),
            (false, Some(value)) => Step::Read(value),
            (false, None) => continue,
        };
        operations.push(Operation { entered: *entered, left: left.map(|(at, _)| at), what });
    }
    is_linearizable(&operations, -1, apply)
}

/// A history as some system could have made it, or nearly.
fn random_lines(random: &mut Random) -> Vec<Line> {
    let count = 1 + random.below(6);
    (0..count)
        .map(|_| {
            let intent = [COUNT, COUNT, SHOW, PEEK][random.below(4) as usize];
            let entered = random.below(40);
            let shown = random.below(5) as i64 - i64::from(!intent.creates);
            let shown = if intent.writes { shown.max(1) } else { shown };
            let left = random.chance(0.7).then(|| (entered + 1 + random.below(30), shown));
            (intent, entered, left)
        })
        .collect()
}

#[test]
fn it_agrees_with_the_search() {
    let (mut yes, mut no) = (0, 0);
    for seed in 0..30_000 {
        let lines = random_lines(&mut Random::new(seed));
        let fast = check(&history(&lines), NEVER);
        assert_eq!(fast.is_ok(), searched(&lines), "seed {seed}: {fast:?} for {lines:?}");
        if fast.is_ok() { yes += 1 } else { no += 1 }
    }
    assert!(yes > 3000 && no > 3000, "{yes} linearizable, {no} not");
}
