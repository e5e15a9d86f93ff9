//! A case from beginning to end: compile, rounds, branches, report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redplane_bmv2::{Entries, Program, compile};
use redplane_codegen::interpret::branches;
use redplane_codegen::ir;
use redplane_codegen::{entries, target};
use redplane_sdk::App;

use crate::breakage;
use crate::cable::Cable;
use crate::cases::Case;
use crate::emulator::Emulator;
use crate::interpreted;
use crate::reach::reachable;
use crate::round::{Difference, PORTS, Round, hex};
use crate::setting::Setting;

/// Packets of a round. Then switches and store begin anew, from the next seed: a difference is found again soon.
pub const ROUND: u64 = 10_000;

/// Packets from which on every branch must have been gone both ways.
pub const COVERING: u64 = 10_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Packets and messages in all.
    pub packets: u64,
    /// Of the first round; each has the next.
    pub seed: u64,
    /// A mistake of [`breakage`] that the P4 gets.
    pub broken: Option<String>,
    /// Whether BMv2 takes part.
    pub with_bmv2: bool,
    /// Where compiled programs are kept.
    pub cache: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Packets that were compared.
    pub packets: u64,
    /// The first difference, with the seed of its round.
    pub difference: Option<(u64, Difference)>,
    /// Reasons for which packets were dropped, and how many there are.
    pub reasons: (usize, usize),
    /// Ways of branches that were gone, and that can be gone.
    pub branches: (usize, usize),
    /// Ways that were not gone, though they can be: line of the source, and whether the condition holds.
    pub missed: Vec<(usize, bool)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Whether nothing was found.
    pub fn is_content(&self) -> bool {
        self.difference.is_none() && (self.missed.is_empty() || self.packets < COVERING)
    }
}

/// Runs a case.
///
/// # Errors
/// If the app cannot be read, or BMv2 fails.
pub fn run<A: App>(case: &Case, options: &Options) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let setting = Setting::<A>::new(case)?;
    let scratch = tempfile::tempdir()?;
    let emulation =
        if options.with_bmv2 { Some(Emulation::new(&setting, case, options, scratch.path())?) } else { None };
    let mut cables = BTreeMap::new();
    if emulation.is_some() {
        for port in PORTS {
            cables.insert(port, Cable::lay(port)?);
        }
    }
    let mut hits = vec![[false; 2]; branches(setting.app).len()];
    let (mut packets, mut difference, mut reasons) = (0, None, BTreeSet::new());
    for seed in options.seed.. {
        let these = ROUND.min(options.packets - packets);
        if these == 0 || difference.is_some() {
            break;
        }
        interpreted::install(setting.app, setting.rows.clone(), hits);
        let emulator = match &emulation {
            Some(emulation) => Some(emulation.start(&setting, &mut cables, scratch.path())?),
            None => None,
        };
        let mut round = Round::new(&setting, emulator, seed)?;
        let found = round.play(these)?;
        packets += found.as_ref().map_or(these, |found| found.packet);
        difference = found.map(|found| (seed, found));
        reasons.extend(round.reasons());
        hits = interpreted::hits();
    }
    let (branches, missed) = coverage(setting.app, &hits);
    let reasons = (reasons.len(), target::drop_reasons(setting.app).len());
    Ok(Outcome { packets, difference, reasons, branches, missed, elapsed: start.elapsed() })
}

/// How many ways were gone, of how many; and those that were missed.
fn coverage(app: &ir::App, hits: &[[bool; 2]]) -> ((usize, usize), Vec<(usize, bool)>) {
    let (mut gone, mut all, mut missed) = (0, 0, Vec::new());
    for ((stmt, hit), reachable) in branches(app).iter().zip(hits).zip(reachable(app)) {
        for taken in [false, true] {
            let way = usize::from(taken);
            gone += usize::from(hit[way]);
            all += usize::from(reachable[way] || hit[way]);
            if reachable[way] && !hit[way] {
                missed.push((stmt.span.start().line, taken));
            }
        }
    }
    ((gone, all), missed)
}

/// What is emitted, compiled.
struct Emulation {
    program: Program,
    entries: Entries,
}

impl Emulation {
    fn new<A: App>(
        setting: &Setting<A>,
        case: &Case,
        options: &Options,
        scratch: &Path,
    ) -> anyhow::Result<Self> {
        let mut p4 = target::v1model::render(setting.app, case.source);
        if let Some(name) = &options.broken {
            p4 = breakage::broken(&p4, name)?;
        }
        let path = scratch.join(format!("{}.p4", case.name));
        std::fs::write(&path, p4)?;
        let program = compile(&path, &options.cache)?;
        Ok(Emulation { program, entries: Entries::parse(&entries::render(setting.app))? })
    }

    fn start<'c, A: App>(
        &self,
        setting: &Setting<A>,
        cables: &'c mut BTreeMap<u16, Cable>,
        scratch: &Path,
    ) -> anyhow::Result<Emulator<'c>> {
        let log = scratch.join("simple_switch.log");
        Emulator::start(&self.program, &self.entries, &setting.operator, &setting.names, cables, &log)
    }
}

/// What came of a case, as lines.
pub fn report(case: &Case, options: &Options, outcome: &Outcome) -> String {
    let (gone, all) = outcome.branches;
    let seconds = outcome.elapsed.as_secs_f64();
    let against = if options.with_bmv2 { "native, IR, BMv2" } else { "native, IR" };
    let found = usize::from(outcome.difference.is_some());
    let (dropped, reasons) = outcome.reasons;
    let mut text = format!(
        "{}: {} packets through {against} in {seconds:.1} s: {found} differences; branches hit: {gone} of {all}; \
         drop reasons: {dropped} of {reasons}\n",
        case.name, outcome.packets
    );
    let covering = outcome.packets >= COVERING;
    for (line, taken) in outcome.missed.iter().filter(|_| covering) {
        let way = if *taken { "taken" } else { "passed over" };
        text += &format!("  never {way}: the condition at {}:{line}\n", case.source);
    }
    if let Some((seed, difference)) = &outcome.difference {
        text += &format!(
            "DIFFERENCE: seed {seed}, packet {}, by port {}:\n  {}\n{}",
            difference.packet,
            difference.port,
            hex(&difference.frame),
            difference.what
        );
        let broken = options.broken.as_ref().map_or_else(String::new, |name| format!(" --break {name}"));
        text += &format!(
            "again: cargo xtask differential --app {} --seed {seed} --packets {}{broken}\n",
            case.name, difference.packet
        );
    }
    text
}
