//! Network namespaces and what is in them, by `ip` (iproute2).

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, bail};

use crate::linux::sys::enter_network_namespace;

/// A network namespace with a name. It goes with all that is in it when [`Namespace::remove`] is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace of this name, which need not exist.
    #[must_use]
    pub fn named(name: String) -> Self {
        Namespace { name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes it: loopback up, no IPv6, so that Linux says nothing of its own accord.
    ///
    /// # Errors
    /// If the process may not, or the name is taken.
    pub fn create(&self) -> anyhow::Result<()> {
        run(Command::new("ip").args(["netns", "add", &self.name]))?;
        self.ip("link set lo up\n")?;
        self.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        self.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        self.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        self.sysctl("net.ipv4.conf.default.rp_filter", "0")
    }

    /// Kills what runs in it, and removes it. That it does not exist is no error.
    ///
    /// # Errors
    /// If it is there and stays.
    pub fn remove(&self) -> anyhow::Result<()> {
        if !self.exists() {
            return Ok(());
        }
        self.kill_all()?;
        run(Command::new("ip").args(["netns", "delete", &self.name]))
    }

    /// Kills what runs in it (SIGKILL).
    ///
    /// # Errors
    /// If `ip` does not say what that is.
    pub fn kill_all(&self) -> anyhow::Result<()> {
        let pids = Command::new("ip").args(["netns", "pids", &self.name]).output()?;
        let own = rustix::process::getpid();
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
            // A thread of this program may be there.
            if let Some(pid) = pid.filter(|pid| *pid != own) {
                // It may have ended by now.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        Ok(())
    }

    /// Whether it exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs commands of `ip`, a line each, within it.
    ///
    /// # Errors
    /// If one fails; the message has what `ip` said.
    pub fn ip(&self, batch: &str) -> anyhow::Result<()> {
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.name, "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = ip.stderr(Stdio::piped()).spawn().context("cannot start `ip` (Debian: iproute2)")?;
        child.stdin.take().context("a pipe was asked for")?.write_all(batch.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("in {}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Sets a kernel parameter of this namespace.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn sysctl(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.within(|| {
            std::fs::write(&path, value).with_context(|| format!("in {}: cannot set {name}", self.name))
        })?
    }

    /// Switches off what a virtual interface leaves to a card that is not there: for programs that take frames as they are.
    ///
    /// # Errors
    /// If `ethtool` is not there, or there is no such interface.
    pub fn switch_off_offloads(&self, interface: &str) -> anyhow::Result<()> {
        let features = ["tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"];
        run(self.command("ethtool").args(["-K", interface]).args(features))
    }

    /// A command that runs within it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Starts a thread within it.
    ///
    /// # Errors
    /// If the namespace is not there; later, from the thread, if it cannot be entered.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        function: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<JoinHandle<anyhow::Result<T>>> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let thread = std::thread::Builder::new().name(name.to_owned());
        Ok(thread.spawn(move || {
            enter_network_namespace(file.as_fd())?;
            function()
        })?)
    }

    /// Runs a function within it, in a thread of its own. Sockets that it opens stay there, wherever they go.
    ///
    /// # Errors
    /// If the namespace is not there.
    pub fn within<T: Send>(&self, function: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                enter_network_namespace(file.as_fd())?;
                Ok(function())
            });
            thread.join().map_err(|_| anyhow::anyhow!("a thread in {} panicked", self.name))?
        })
    }
}

/// Runs a command to its end.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let said = format!("{command:?}").replace('"', "");
    let output = command.output().with_context(|| format!("cannot start {said}"))?;
    if !output.status.success() {
        bail!("{said}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
