//! `iperf3` through the switches while they are killed: a program that is not ours, over one connection.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;

use crate::system::System;

/// The program.
pub(crate) const PROGRAM: &str = "iperf3";

/// What iperf3 says at its end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Iperf {
    /// Megabits a second that arrived.
    pub(crate) megabits: f64,
    /// TCP segments that were sent again.
    pub(crate) retransmits: u64,
    /// Why it did not come to its end, if it did not.
    pub(crate) error: Option<String>,
}

/// A run that is under way.
#[derive(Debug)]
pub(crate) struct Run {
    server: Child,
    client: Child,
}

impl Run {
    /// Starts it, for so long, at so many megabits a second.
    ///
    /// # Errors
    /// If iperf3 cannot be started.
    pub(crate) fn start(system: &dyn System, duration: Duration, megabits: u32) -> anyhow::Result<Self> {
        let ((inside, _), (outside, address)) = (system.inside(), system.outside());
        let start = |command: &mut Command| {
            let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            piped.spawn().context("cannot start iperf3")
        };
        let server = start(outside.command(PROGRAM).args(["-s", "-1", "-J"]))?;
        // It has nothing to say when it listens.
        std::thread::sleep(Duration::from_millis(300));
        let mut client = inside.command(PROGRAM);
        client.args(["-J", "-c", &address.to_string(), "-t", &duration.as_secs().to_string()]);
        let client = start(client.args(["-b", &format!("{megabits}M")]));
        let run = client.map(|client| Run { server, client });
        run.context("the client")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If what it says cannot be read.
    pub(crate) fn finish(mut self) -> anyhow::Result<Iperf> {
        let output = self.client.wait_with_output()?;
        // Without its client it would wait for ever.
        let _ = self.server.kill();
        let _ = self.server.wait();
        ensure!(!output.stdout.is_empty(), "iperf3 said nothing");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).context("iperf3")?;
        let end = &said["end"];
        Ok(Iperf {
            megabits: end["sum_received"]["bits_per_second"].as_f64().unwrap_or_default() / 1e6,
            retransmits: end["sum_sent"]["retransmits"].as_u64().unwrap_or_default(),
            error: said["error"].as_str().map(str::to_owned),
        })
    }
}
