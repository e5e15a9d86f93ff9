//! One seed once more, for somebody who looks.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use clap::Args;
use redplane_simulation::capture::Capture;
use redplane_simulation::describe::describe;
use redplane_simulation::event::Event;
use redplane_simulation::history::Micros;
use redplane_simulation::picture::Picture;
use redplane_simulation::plan::NODES;
use redplane_simulation::run::{Setting, run_one};
use redplane_simulation::{Outcome, Plan};

/// Microseconds that a picture shows, if not told otherwise: most of them before the failure.
const WINDOW: Micros = 20_000;

/// How a run is shown. Each of these wants one seed.
#[derive(Args)]
pub(crate) struct Options {
    /// Print every frame and fault.
    #[arg(long)]
    trace: bool,
    /// Write every frame to a capture file, with what became of it as comment.
    #[arg(long, value_name = "FILE")]
    pcapng: Option<PathBuf>,
    /// Draw who sent what to whom.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Where the picture begins, in microseconds. By default shortly before the failure.
    #[arg(long, value_name = "MICROSECONDS")]
    svg_from: Option<Micros>,
    /// How many microseconds it shows.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = WINDOW)]
    svg_window: Micros,
}

impl Options {
    pub(crate) fn is_asked(&self) -> bool {
        self.trace || self.pcapng.is_some() || self.svg.is_some()
    }

    /// Runs a seed, and writes what was asked for.
    pub(crate) fn run(&self, setting: &Setting, seed: u64) -> anyhow::Result<Outcome> {
        let schema = setting.app_of(seed).schema();
        let plan = Plan::new(seed, setting.assumptions);
        let failed_at = if self.svg.is_some() {
            run_one(setting, seed, None).finding.map_or(WINDOW, |finding| finding.at)
        } else {
            0
        };
        let from = self.svg_from.unwrap_or(failed_at.saturating_sub(self.svg_window * 3 / 4));
        let until = from + self.svg_window;
        let picture =
            Rc::new(RefCell::new(Picture::new(schema, from, until, plan.switches as u8, NODES as u8)));
        let capture = match &self.pcapng {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
                Some(Capture::new(BufWriter::new(file), schema)?)
            }
            None => None,
        };
        let capture = Rc::new(RefCell::new(capture));
        let broken = Rc::new(RefCell::new(None));
        if self.trace {
            println!("{plan:#?}");
        }
        let tap = {
            let (picture, capture, broken, trace) =
                (picture.clone(), capture.clone(), broken.clone(), self.trace);
            Box::new(move |now: Micros, event: &Event<'_>| {
                picture.borrow_mut().add(now, event);
                let written = capture.borrow_mut().as_mut().map(|capture| capture.write(now, event));
                if let Some(Err(error)) = written {
                    broken.borrow_mut().get_or_insert(error);
                }
                if trace {
                    print(now, event, &schema);
                }
            })
        };
        let outcome = run_one(setting, seed, Some(tap));
        if let Some(error) = broken.borrow_mut().take() {
            return Err(error.context("the capture is incomplete"));
        }
        if let Some(path) = &self.svg {
            let title = format!("seed {seed}, {from} to {until} µs");
            let svg = picture.borrow().to_svg(&title);
            fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(outcome)
    }
}

fn print(now: Micros, event: &Event<'_>, schema: &redplane_protocol::Schema) {
    let line = match *event {
        Event::Fault { place, text } => format!("{now:>10}  *** {place} {text}"),
        Event::Frame { sent, from, to, loss, frame } => {
            let description = describe(from, to, frame, schema);
            let fate = loss.map(|loss| format!(" [{}]", loss.name())).unwrap_or_default();
            let took = now - sent;
            format!("{now:>10}  {from} → {to} (+{took}){fate}: {} {}", description.kind, description.text)
        }
    };
    // Whoever closed the pipe has seen enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}
