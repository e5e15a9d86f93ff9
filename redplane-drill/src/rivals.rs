//! What Linux has for it: two routers with nftables NAT and keepalived, with conntrackd or without. The hosts, the routers
//! around them and the cables are those of the testbed; only that the routers in the middle share a network on each side,
//! for VRRP moves an address between them (RFC 5798).

use std::fmt::Write;
use std::fs::Permissions;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use redplane::testbed::Process;
use redplane::testbed::namespace::Namespace;

use crate::system::System;

/// The programs that a rival needs.
pub(crate) const PROGRAMS: [&str; 4] = ["keepalived", "nft", "conntrack", "conntrackd"];

/// Seconds between two VRRP advertisements: a master is gone after three that are missed and a part of one (RFC 5798, section
/// 6.1), a third of a second. The usual interval is a second; a third of this one, which would be as fast as a lease, made
/// the routers take each other for dead whenever the machine was busy.
const ADVERTISEMENT_INTERVAL: &str = "0.1";

/// The public address of the NAT.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The address of the server.
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Hosts inside.
const HOSTS: u8 = 3;

/// How long the first router may take to become master.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Two Linux routers.
#[derive(Debug)]
pub(crate) struct Linux {
    inside: Namespace,
    outside: Namespace,
    inner: Namespace,
    outer: Namespace,
    routers: [Namespace; 2],
    processes: [Vec<Process>; 2],
    replicates: bool,
    folder: PathBuf,
}

impl Linux {
    /// Builds and starts it. With `replicates` conntrackd takes the connections over.
    ///
    /// # Errors
    /// If a part does not start.
    pub(crate) fn start(replicates: bool) -> anyhow::Result<Self> {
        let named = |what: &str| Namespace::named(format!("rival-{what}"));
        let folder = PathBuf::from("/run/redplane/rival");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut linux = Linux {
            inside: named("inside"),
            outside: named("outside"),
            inner: named("inner"),
            outer: named("outer"),
            routers: [named("s1"), named("s2")],
            processes: [Vec::new(), Vec::new()],
            replicates,
            folder,
        };
        linux.remove()?;
        linux.build()?;
        for router in 0..2 {
            linux.start_router(router)?;
        }
        linux.await_master()?;
        Ok(linux)
    }

    /// Where packets go into a router, and where they come out.
    pub(crate) fn ends(&self) -> [&Namespace; 2] {
        [&self.inner, &self.outer]
    }

    /// The Ethernet address of a router on its inside.
    ///
    /// # Errors
    /// If `ip` does not say it.
    pub(crate) fn mac(&self, router: usize) -> anyhow::Result<[u8; 6]> {
        let output = self.routers[router].command("ip").args(["-j", "link", "show", "inside"]).output()?;
        let links: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let text = links[0]["address"].as_str().context("the router has no interface `inside`")?;
        let mac: redplane_sdk::packet::MacAddr =
            text.parse().map_err(|_| anyhow::anyhow!("`{text}` is no Ethernet address"))?;
        Ok(mac.octets())
    }

    fn all(&self) -> impl Iterator<Item = &Namespace> {
        [&self.inside, &self.outside, &self.inner, &self.outer].into_iter().chain(&self.routers)
    }

    fn remove(&self) -> anyhow::Result<()> {
        self.all().try_for_each(Namespace::remove)
    }

    fn build(&self) -> anyhow::Result<()> {
        self.all().try_for_each(Namespace::create)?;
        self.side(&self.inside, &self.inner, "10.7.0", HOSTS, ("169.254.10", "default"))?;
        self.side(&self.outside, &self.outer, "198.51.100", 1, ("169.254.20", "203.0.113.0/24"))?;
        cable(&self.routers[0], "sync", &self.routers[1], "sync")?;
        for (index, router) in self.routers.iter().enumerate() {
            for (interface, peer) in [("inside", &self.inner), ("outside", &self.outer)] {
                let end = format!("s{}", index + 1);
                cable(router, interface, peer, &end)?;
                peer.ip(&format!("link set {end} master lan\nlink set {end} up\n"))?;
            }
            let host = index + 11;
            router.ip(&format!(
                "addr add 169.254.10.{host}/24 dev inside\naddr add 169.254.20.{host}/24 dev outside\n\
                 addr add 169.254.30.{host}/24 dev sync\naddr add {PUBLIC}/32 dev lo\nlink set sync up\n"
            ))?;
            router.sysctl("net.ipv4.ip_forward", "1")?;
            let rules = format!(
                "table ip nat {{\n  chain post {{\n    type nat hook postrouting priority 100;\n    oifname \"outside\" \
                 ip saddr 10.7.0.0/24 snat to {PUBLIC}\n  }}\n}}\n"
            );
            let path = self.folder.join("nat.nft");
            std::fs::write(&path, rules)?;
            succeed(router.command("nft").arg("-f").arg(&path))?;
        }
        Ok(())
    }

    /// Hosts, and their router with a network to the routers in the middle.
    fn side(
        &self,
        hosts: &Namespace,
        router: &Namespace,
        network: &str,
        count: u8,
        (middle, route): (&str, &str),
    ) -> anyhow::Result<()> {
        cable(hosts, "eth0", router, "hosts")?;
        let mut batch = String::from("link set eth0 up\n");
        for host in 1..=count {
            let _ = writeln!(batch, "addr add {network}.{host}/24 dev eth0");
        }
        let _ = writeln!(batch, "route add default via {network}.254");
        router.ip(&format!(
            "addr add {network}.254/24 dev hosts\nlink set hosts up\nlink add lan type bridge\n\
             addr add {middle}.254/24 dev lan\nlink set lan up\nroute add {route} via {middle}.1\n"
        ))?;
        router.sysctl("net.ipv4.ip_forward", "1")?;
        hosts.ip(&batch)
    }

    fn start_router(&mut self, index: usize) -> anyhow::Result<()> {
        let router = &self.routers[index];
        router
            .ip("link set inside up\nlink set outside up\nroute replace 10.7.0.0/24 via 169.254.10.254\n\
             route replace default via 169.254.20.254\n")?;
        let file = |name: &str| self.folder.join(format!("{name}-{index}"));
        for name in ["conntrackd.lock", "keepalived.pid", "vrrp.pid"] {
            // Of one that was killed.
            let _ = std::fs::remove_file(file(name));
        }
        if self.replicates {
            std::fs::write(
                file("conntrackd"),
                conntrackd(index, &file("conntrackd.lock"), &file("conntrackd.sock")),
            )?;
            let mut command = router.command("conntrackd");
            self.processes[index]
                .push(Process::start(command.arg("-C").arg(file("conntrackd")), &file("conntrackd.log"))?);
        }
        let hook = self.replicates.then(|| file("hook"));
        if let Some(hook) = &hook {
            std::fs::write(hook, HOOK.replace("CONFIG", &file("conntrackd").display().to_string()))?;
            std::fs::set_permissions(hook, Permissions::from_mode(0o755))?;
        }
        std::fs::write(file("keepalived"), keepalived(index, hook.as_deref()))?;
        let mut command = router.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(file("keepalived"));
        command.arg("--pid").arg(file("keepalived.pid")).arg("--vrrp_pid").arg(file("vrrp.pid"));
        let process = Process::start(&mut command, &file("keepalived.log"))?;
        self.processes[index].push(process);
        Ok(())
    }

    fn await_master(&self) -> anyhow::Result<usize> {
        let end = Instant::now() + STARTS_WITHIN;
        loop {
            if let Some(master) = self.master() {
                return Ok(master);
            }
            ensure!(Instant::now() < end, "no router became master within {STARTS_WITHIN:?}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The router that has the addresses that move.
    fn master(&self) -> Option<usize> {
        let is_master = |router: &Namespace| {
            router.command("ip").args(["-4", "-o", "address", "show"]).output().is_ok_and(|output| {
                let text = String::from_utf8_lossy(&output.stdout);
                text.contains(" 169.254.10.1/") && text.contains(" 169.254.20.1/")
            })
        };
        self.routers.iter().position(is_master)
    }
}

impl System for Linux {
    fn inside(&self) -> (&Namespace, Vec<Ipv4Addr>) {
        (&self.inside, (1..=HOSTS).map(|host| Ipv4Addr::new(10, 7, 0, host)).collect())
    }

    fn outside(&self) -> (&Namespace, Ipv4Addr) {
        (&self.outside, SERVER)
    }

    fn active(&self, _turn: usize) -> anyhow::Result<usize> {
        self.await_master()
    }

    fn kill(&mut self, switch: usize) -> anyhow::Result<()> {
        let router = &self.routers[switch];
        // The cables first: what dies without power says no farewell.
        router.ip("link set inside down\nlink set outside down\nlink set sync down\n")?;
        router.kill_all()?;
        self.processes[switch].clear();
        succeed(router.command("conntrack").arg("-F"))
    }

    fn restart(&mut self, switch: usize) -> anyhow::Result<()> {
        self.routers[switch].ip("link set sync up\n")?;
        self.start_router(switch)
    }

    fn drain(&mut self, switch: usize) -> anyhow::Result<()> {
        // keepalived tells the other one that it goes (priority 0).
        if let Some(keepalived) = self.processes[switch].last_mut() {
            keepalived.terminate(STARTS_WITHIN)?;
        }
        self.kill(switch)
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.processes.iter_mut().flatten().any(Process::has_ended);
        ensure!(!ended, "a process ended by itself: see the logs in {}", self.folder.display());
        Ok(())
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Vec::clear);
        if let Err(error) = self.remove() {
            eprintln!("the rival's network is not gone: {error:#}");
        }
    }
}

fn cable(a: &Namespace, a_end: &str, b: &Namespace, b_end: &str) -> anyhow::Result<()> {
    let mut ip = Command::new("ip");
    ip.args([
        "link",
        "add",
        a_end,
        "netns",
        a.name(),
        "type",
        "veth",
        "peer",
        "name",
        b_end,
        "netns",
        b.name(),
    ]);
    succeed(&mut ip)
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// What a router does with the connections when its part changes: as `primary-backup.sh` of conntrack-tools, by which a master
/// takes over what it was told, and tells the other one all that it has.
const HOOK: &str = "#!/bin/sh
case $1 in
primary) for do in -c -f -R -B; do conntrackd -C CONFIG $do; done ;;
backup) for do in -t -n; do conntrackd -C CONFIG $do; done ;;
esac
";

fn keepalived(index: usize, hook: Option<&Path>) -> String {
    let priority = 150 - 50 * index;
    let mut text = String::from(
        "global_defs {\n  vrrp_rt_priority 50\n  script_user root\n}\nvrrp_sync_group nat {\n  group { inside outside }\n",
    );
    for (event, part) in [("master", "primary"), ("backup", "backup"), ("fault", "backup")] {
        if let Some(hook) = hook {
            let _ = writeln!(text, "  notify_{event} \"{} {part}\"", hook.display());
        }
    }
    text += "}\n";
    for (side, number) in [("inside", 10), ("outside", 20)] {
        let _ = write!(
            text,
            "vrrp_instance {side} {{\n  state BACKUP\n  nopreempt\n  version 3\n  interface {side}\n  \
             virtual_router_id {number}\n  priority {priority}\n  advert_int {ADVERTISEMENT_INTERVAL}\n  \
             virtual_ipaddress {{\n    169.254.{number}.1/24\n  }}\n}}\n",
        );
    }
    text
}

fn conntrackd(index: usize, lock: &Path, socket: &Path) -> String {
    let (own, other) = (11 + index, 12 - index);
    format!(
        "Sync {{\n  Mode FTFW {{\n  }}\n  UDP {{\n    IPv4_address 169.254.30.{own}\n    \
         IPv4_Destination_Address 169.254.30.{other}\n    Port 3780\n    Interface sync\n    SndSocketBuffer 1249280\n    \
         RcvSocketBuffer 1249280\n    Checksum on\n  }}\n}}\nGeneral {{\n  HashSize 32768\n  HashLimit 131072\n  \
         LogFile off\n  LockFile {}\n  UNIX {{\n    Path {}\n  }}\n  NetlinkBufferSize 2097152\n  \
         NetlinkBufferSizeMaxGrowth 8388608\n  Filter From Userspace {{\n    Protocol Accept {{\n      TCP\n      UDP\n    \
         }}\n    Address Ignore {{\n      IPv4_address 127.0.0.1\n      IPv4_address 169.254.30.{own}\n      \
         IPv4_address 169.254.30.{other}\n    }}\n  }}\n}}\n",
        lock.display(),
        socket.display(),
    )
}

/// A bridge between two cables, and nothing else: what the kernel does with a packet at the least.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// What is at the ends.
    pub(crate) ends: [Namespace; 2],
    bridge: Namespace,
}

impl Bridge {
    /// Builds it.
    ///
    /// # Errors
    /// If a part cannot be.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let named = |what: &str| Namespace::named(format!("bridge-{what}"));
        let bridge = Bridge { ends: [named("in"), named("out")], bridge: named("mid") };
        bridge.all().try_for_each(Namespace::remove)?;
        bridge.all().try_for_each(Namespace::create)?;
        bridge.bridge.ip("link add lan type bridge\nlink set lan up\n")?;
        for (end, name) in bridge.ends.iter().zip(["inside", "outside"]) {
            cable(&bridge.bridge, name, end, "eth0")?;
            end.ip("link set eth0 up\n")?;
            bridge.bridge.ip(&format!("link set {name} master lan\nlink set {name} up\n"))?;
        }
        Ok(bridge)
    }

    fn all(&self) -> impl Iterator<Item = &Namespace> {
        self.ends.iter().chain([&self.bridge])
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.all().try_for_each(Namespace::remove);
    }
}
