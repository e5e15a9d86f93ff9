//! What a drill is done to: two switches that can be killed, between an inside and an outside.

use std::net::Ipv4Addr;

use redplane::testbed::Testbed;
use redplane::testbed::namespace::Namespace;

/// Something that carries connections, and whose parts can be killed.
pub(crate) trait System {
    /// Where the clients are, and their addresses.
    fn inside(&self) -> (&Namespace, Vec<Ipv4Addr>);
    /// Where the server is, and its address.
    fn outside(&self) -> (&Namespace, Ipv4Addr);
    /// Which switch is to be struck in this turn: one that carries traffic.
    ///
    /// # Errors
    /// If none does.
    fn active(&self, turn: usize) -> anyhow::Result<usize>;
    /// Kills a switch.
    ///
    /// # Errors
    /// If it is not running.
    fn kill(&mut self, switch: usize) -> anyhow::Result<()>;
    /// Starts it again, empty.
    ///
    /// # Errors
    /// If it does not start.
    fn restart(&mut self, switch: usize) -> anyhow::Result<()>;
    /// Takes a switch out of service as its operator would.
    ///
    /// # Errors
    /// If it does not go.
    fn drain(&mut self, switch: usize) -> anyhow::Result<()>;
    /// Whether everything that should run does.
    ///
    /// # Errors
    /// What does not.
    fn check(&mut self) -> anyhow::Result<()>;
}

impl System for Testbed {
    fn inside(&self) -> (&Namespace, Vec<Ipv4Addr>) {
        (&self.network().inside, self.topology().inside.hosts())
    }

    fn outside(&self) -> (&Namespace, Ipv4Addr) {
        let hosts = self.topology().outside.hosts();
        (&self.network().outside, hosts.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED))
    }

    fn active(&self, turn: usize) -> anyhow::Result<usize> {
        Ok(turn % usize::from(self.topology().switches))
    }

    fn kill(&mut self, switch: usize) -> anyhow::Result<()> {
        self.kill_switch(switch)
    }

    fn restart(&mut self, switch: usize) -> anyhow::Result<()> {
        self.restart_switch(switch)
    }

    fn drain(&mut self, switch: usize) -> anyhow::Result<()> {
        self.drain_switch(switch)
    }

    fn check(&mut self) -> anyhow::Result<()> {
        Testbed::check(self)
    }
}
