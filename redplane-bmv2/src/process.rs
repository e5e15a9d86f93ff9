//! A running `simple_switch`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::compile::Program;
use crate::entries::Entries;
use crate::error::RuntimeError;
use crate::load::{LoadError, Loaded, load};
use crate::operator::Operator;
use crate::runtime::Runtime;

/// The switch. It is started through util-linux's `setpriv`, which makes it die with the thread that started it.
const SWITCH: &str = "simple_switch";
const SETPRIV: &str = "setpriv";

/// How long a switch may take until it listens, on a machine that is busy otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether it does.
const START_POLL: Duration = Duration::from_millis(10);

/// How to start a switch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it runs.
    pub program: Program,
    /// The network interface of each port.
    pub interfaces: BTreeMap<u16, String>,
    /// Where it listens on loopback. Of switches in one network namespace each needs its own.
    pub thrift_port: u16,
    /// Where it writes what it has to say.
    pub log: PathBuf,
}

/// No switch runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It could not be started, or its log could not be made.
    #[error("{what}: {source}")]
    Start {
        /// What could not be done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it listened.
    #[error("simple_switch ended: {said}")]
    Ended {
        /// What it said last.
        said: String,
    },
    /// It runs, but does not listen.
    #[error("simple_switch does not listen on port {port}")]
    Deaf {
        /// The port.
        port: u16,
    },
    /// Its runtime interface failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// A switch that runs until this is dropped, or until the thread that started it ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
    runtime: Runtime,
    program: Program,
}

/// What keeps a switch from running here, if anything does: a program that is not there.
pub fn missing() -> Option<String> {
    let programs = [("p4c-bm2-ss", "--version"), (SWITCH, "--version"), (SETPRIV, "--version")];
    let is_there = |program: &str, argument: &str| {
        Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
    };
    let missing = programs.iter().find(|(program, argument)| !is_there(program, argument));
    missing.map(|(program, _)| format!("{program} not found"))
}

impl Process {
    /// Starts a switch, and waits until it listens.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub fn start(launch: &Launch) -> Result<Self, ProcessError> {
        let failed = |what: String| move |source| ProcessError::Start { what, source };
        let log = File::create(&launch.log).map_err(failed(launch.log.display().to_string()))?;
        let errors = log.try_clone().map_err(failed(launch.log.display().to_string()))?;
        let mut command = Command::new(SETPRIV);
        command.args(["--pdeathsig", "KILL", "--", SWITCH]);
        command.arg("--thrift-port").arg(launch.thrift_port.to_string());
        // The number names what some builds leave in /tmp: of switches side by side each has its own.
        command.arg("--device-id").arg(launch.thrift_port.to_string());
        for (port, interface) in &launch.interfaces {
            command.arg("-i").arg(format!("{port}@{interface}"));
        }
        command.arg(&launch.program.path).stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child = command.spawn().map_err(failed(format!("{SETPRIV} {SWITCH}")))?;
        match wait(&mut child, launch) {
            Ok(runtime) => Ok(Process { child, runtime, program: launch.program.clone() }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Its control interface.
    pub fn runtime(&mut self) -> &mut Runtime {
        &mut self.runtime
    }

    /// What it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Fills it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&mut self, entries: &Entries, operator: &Operator) -> Result<Loaded, LoadError> {
        load(&mut self.runtime, entries, operator)
    }

    /// How many packets it dropped, by reason.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn drops(&mut self, entries: &Entries) -> Result<BTreeMap<String, u64>, RuntimeError> {
        entries.drops(&mut self.runtime)
    }

    /// What the registers have at an index, each by its name within its control: of an app's slot, all that it holds.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn slot(&mut self, index: u32) -> Result<BTreeMap<String, u64>, RuntimeError> {
        let registers = self.program.registers.iter().filter(|register| index < register.size);
        let registers: Vec<_> = registers.collect();
        let cells: Vec<_> = registers.iter().map(|register| (register.name.as_str(), index)).collect();
        let values = self.runtime.read_registers(&cells)?;
        let names = registers.iter().map(|register| register.short_name().to_owned());
        Ok(names.zip(values).collect())
    }

    /// Ends it.
    pub fn stop(mut self) {
        end(&mut self.child);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits until the switch listens and serves what it has of its own, which comes a moment later.
fn wait(child: &mut Child, launch: &Launch) -> Result<Runtime, ProcessError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, launch.thrift_port));
    let end = Instant::now() + START_TIMEOUT;
    while Instant::now() < end {
        if !matches!(child.try_wait(), Ok(None)) {
            return Err(ProcessError::Ended { said: tail(&launch.log) });
        }
        if let Ok(mut runtime) = Runtime::connect(address)
            && runtime.elapsed_us().is_ok()
        {
            return Ok(runtime);
        }
        thread::sleep(START_POLL);
    }
    Err(ProcessError::Deaf { port: launch.thrift_port })
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let said = std::fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
