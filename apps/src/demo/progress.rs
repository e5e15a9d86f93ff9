//! Live progress on standard error while a run is under way: a bar on a terminal, else a line each second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::connection::Micros;

/// How often a line is written where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// What there is to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// Virtual time.
    pub now: Micros,
    /// Connections opened so far.
    pub opened: u64,
    /// Connections completed so far.
    pub completed: u64,
    /// Connections reset so far.
    pub reset: u64,
    /// Payload bytes verified so far.
    pub verified: u64,
}

/// Shows how far a run is. Nothing in it changes the run.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    began: Instant,
    line: Instant,
}

impl Progress {
    /// Begins to show a run that will verify about `bytes` of payload.
    #[must_use]
    pub fn new(bytes: u64) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let template = "{bar:30} {bytes}/{total_bytes} verified  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Progress { bar, terminal, began: now, line: now }
    }

    /// Shows the state of the run.
    pub fn show(&mut self, snapshot: &Snapshot) {
        let Snapshot { now, opened, completed, reset, verified } = *snapshot;
        let time = now as f64 / 1e6;
        self.bar.set_position(verified);
        self.bar.set_message(format!(
            "t={time:.1} s  open {}  done {completed}  reset {reset}",
            opened - completed - reset
        ));
        if !self.terminal && self.line.elapsed() >= LINE_INTERVAL {
            self.line = Instant::now();
            eprintln!(
                "t={time:.1} s: {opened} opened, {completed} completed, {reset} reset, {verified} bytes verified"
            );
        }
    }

    /// Says that something was done to the network.
    pub fn event(&self, at: Micros, what: &str) {
        let line = format!("t={:.1} s: {what}", at as f64 / 1e6);
        if self.terminal {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Ends the show with the wall time that the run took.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        eprintln!("took {:.1} s", self.began.elapsed().as_secs_f64());
    }
}
