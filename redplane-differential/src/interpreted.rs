//! The IR as an app: the software switch runs it through the interpreter, instead of the native code.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::time::Duration;

use redplane_codegen::interpret::{Lookup, Machine, Outcome, branches};
use redplane_codegen::ir::{self, Match, Mode, Stmt};
use redplane_codegen::packet::HEADERS;
use redplane_sdk::packet::Packet;
use redplane_sdk::protocol::create::{Creation, Refusal};
use redplane_sdk::protocol::{Fixed, fixed};
use redplane_sdk::{App, Handled, StateHandle, Verdict};

use crate::values;

/// What an operator's table has, read apart from the software switch's own tables.
#[derive(Clone, Debug)]
pub struct Rows {
    /// How they match.
    pub matching: Match,
    /// What a miss gives: a zero a column of the value.
    pub miss: Vec<u128>,
    /// The rows, in the operator's order.
    pub rows: Vec<Row>,
}

/// One row of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Value and mask of each column of the key.
    pub key: Vec<(u128, u128)>,
    /// Each column of the value.
    pub value: Vec<u128>,
}

impl Rows {
    fn lookup(&self, key: &[u128]) -> Vec<u128> {
        let matches = |row: &&Row| row.key.iter().zip(key).all(|((value, mask), word)| word & mask == *value);
        let mut matching = self.rows.iter().filter(matches);
        let found = match self.matching {
            Match::Exact | Match::Ternary => matching.next(),
            Match::Lpm => matching.max_by_key(|row| row.key[0].1),
        };
        found.map_or_else(|| self.miss.clone(), |row| row.value.clone())
    }
}

/// What runs on this thread, and what it has seen.
struct Program {
    app: &'static ir::App,
    branches: Vec<&'static Stmt>,
    tables: Vec<Rows>,
    /// Of each branch: whether it was not taken, and whether it was taken.
    hits: Vec<[bool; 2]>,
    /// Slots of the keys that were reached since the last look.
    slots: Vec<u32>,
}

thread_local! {
    static PROGRAM: RefCell<Option<Program>> = const { RefCell::new(None) };
}

/// Lets [`Interpreted`] on this thread run this program, whose branches have been seen so far.
pub fn install(app: &'static ir::App, tables: Vec<Rows>, hits: Vec<[bool; 2]>) {
    let fresh = Program { app, branches: branches(app), tables, hits, slots: Vec::new() };
    PROGRAM.with(|program| *program.borrow_mut() = Some(fresh));
}

/// Which branches have been seen, each not taken and taken.
pub fn hits() -> Vec<[bool; 2]> {
    PROGRAM.with(|program| program.borrow().as_ref().map_or_else(Vec::new, |program| program.hits.clone()))
}

/// Slots of the keys that were reached since the last call.
pub fn take_slots() -> Vec<u32> {
    PROGRAM.with(|program| {
        program.borrow_mut().as_mut().map_or_else(Vec::new, |program| std::mem::take(&mut program.slots))
    })
}

/// The slot of the key that a packet reaches, if it comes to a lease point.
pub fn reached_slot<A: App>(packet: &Packet, port: u16) -> Option<u32> {
    PROGRAM.with(|program| {
        let program = program.borrow();
        let program = program.as_ref()?;
        let mut machine = Machine::new(program.app, values::headers(program.app.headers, packet), port);
        match machine.before(&|table, key| program.tables[table].lookup(key)) {
            Outcome::Reached { key, .. } => {
                let key = A::Key::decode(&values::wire(&program.app.key, &key));
                Some(fixed::slot_of(fixed::key_hash(&key), A::SLOTS))
            }
            _ => None,
        }
    })
}

/// The app `A`, whose handler is not the native one but the IR that [`install`] set.
pub struct Interpreted<A>(PhantomData<A>);

impl<A: App> App for Interpreted<A> {
    type Key = A::Key;
    type State = A::State;
    type Tables = A::Tables;
    type Config = A::Config;

    const NAME: &'static str = A::NAME;
    const ID: u16 = A::ID;
    const FINGERPRINT: u16 = A::FINGERPRINT;
    const IR_HASH: u64 = A::IR_HASH;
    const SLOTS: u32 = A::SLOTS;
    const REASONS: &'static [&'static str] = A::REASONS;

    fn handle<'a>(
        packet: &mut Packet,
        state: StateHandle<'a, A::Key, A::State>,
        _: &'a A::Tables,
        ingress_port: u16,
    ) -> Handled {
        PROGRAM.with(|program| {
            let mut program = program.borrow_mut();
            let program = program.as_mut().expect("a program is installed before a switch runs it");
            let tables = &program.tables;
            let lookup = |table: usize, key: &[u128]| tables[table].lookup(key);
            let headers = program.app.headers;
            let mut machine = Machine::new(program.app, values::headers(headers, packet), ingress_port);
            let handled = run::<A>(&mut machine, program.app, state, &lookup, &mut program.slots);
            for branch in &machine.branches {
                let index = program.branches.iter().position(|stmt| std::ptr::eq(*stmt, branch.stmt));
                if let Some(index) = index {
                    program.hits[index][usize::from(branch.taken)] = true;
                }
            }
            values::set_headers(headers, packet, &machine.headers);
            handled
        })
    }

    fn own_headers(packet: &Packet, bytes: &[u8]) -> Option<usize> {
        PROGRAM.with(|program| {
            let program = program.borrow();
            let headers =
                program.as_ref().expect("a program is installed before a switch runs it").app.headers;
            let found = values::own(headers, packet, bytes)?;
            let own = headers.iter().zip(&found).skip(HEADERS.len()).filter(|(_, fields)| fields.is_some());
            Some(own.map(|(header, _)| values::len(header)).sum())
        })
    }

    fn idle(key: &A::Key, state: &A::State) -> Duration {
        A::idle(key, state)
    }

    fn create(
        key: &A::Key,
        records: &mut Creation<'_, A::Key, A::State>,
        config: &A::Config,
    ) -> Result<A::State, Refusal> {
        A::create(key, records, config)
    }
}

fn run<A: App>(
    machine: &mut Machine<'_>,
    app: &ir::App,
    mut state: StateHandle<'_, A::Key, A::State>,
    lookup: Lookup<'_>,
    slots: &mut Vec<u32>,
) -> Handled {
    let outcome = match machine.before(lookup) {
        Outcome::Reached { point, key } => {
            let key = A::Key::decode(&values::wire(&app.key, &key));
            slots.push(fixed::slot_of(fixed::key_hash(&key), A::SLOTS));
            let held = match app.handler.points[point].mode {
                Mode::Lease => Some(state.lease(key)?),
                Mode::Find => state.find(key)?,
            };
            match held {
                None => machine.absent(point, lookup),
                Some(mut held) => {
                    let record = &app.state.record;
                    let outcome = machine.rest(point, values::fields(record, &*held), lookup);
                    if machine.written {
                        *held = A::State::decode(&values::wire(record, &machine.state));
                    }
                    outcome
                }
            }
        }
        outcome => outcome,
    };
    Ok(match outcome {
        Outcome::Forward => Verdict::Forward,
        Outcome::Via(address) => Verdict::Via(Ipv4Addr::from_bits(address)),
        Outcome::To(port) => Verdict::To(port),
        Outcome::Reply => Verdict::Reply,
        Outcome::Recirculate => Verdict::Recirculate,
        Outcome::Drop(name) => {
            let known = A::REASONS.iter().find(|reason| **reason == name);
            Verdict::Drop(known.expect("macro and build script saw the same reasons"))
        }
        Outcome::Reached { .. } => unreachable!("a path passes at most one lease point"),
    })
}
