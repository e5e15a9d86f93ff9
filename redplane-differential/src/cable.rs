//! The cables of BMv2: veth pairs in a network namespace of this process.
//!
//! The namespace has no name, so that it clashes with nobody's, and the kernel removes it with its last process.

use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg,
    sendmsg, setsockopt, socket, sockopt,
};

/// Set in the process that runs within the namespace.
const INSIDE: &str = "REDPLANE_DIFFERENTIAL_INSIDE";

/// Bytes of an IPv4 packet that a cable takes: more than the switch lets through to the store.
const MTU: u32 = 4000;

/// <linux/if_packet.h>: that a VLAN tag was taken out of a frame, and is told beside it.
const SOL_PACKET: i32 = 263;
const PACKET_AUXDATA: i32 = 8;
const PACKET_OUTGOING: u8 = 4;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;

/// What keeps a network namespace from being made here, if anything does.
pub fn missing() -> Option<String> {
    let succeeds = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !succeeds("ip", &["-V"]) {
        return Some("ip not found".to_owned());
    }
    if !succeeds("unshare", &["--version"]) {
        return Some("unshare not found".to_owned());
    }
    (!succeeds("unshare", &["--net", "true"])).then(|| "root not found".to_owned())
}

/// Starts this program again within a network namespace of its own, unless it is there already.
///
/// # Errors
/// If it cannot be started.
pub fn enter_namespace() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return command(&["ip", "link", "set", "lo", "up"]);
    }
    let mut arguments: Vec<OsString> = vec!["--net".into(), "--".into()];
    arguments.push(std::env::current_exe()?.into());
    arguments.extend(std::env::args_os().skip(1));
    let error = Command::new("unshare").args(arguments).env(INSIDE, "1").exec();
    Err(error).context("unshare")
}

fn command(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).output().context(words[0].to_owned())?;
    if !output.status.success() {
        bail!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// `PACKET_AUXDATA`, which nix does not have.
#[derive(Clone, Copy, Debug)]
struct PacketAuxdata;
nix::setsockopt_impl!(PacketAuxdata, SOL_PACKET, PACKET_AUXDATA, bool, sockopt::SetBool);

/// The far end of a port of the switch.
#[derive(Debug)]
pub struct Cable {
    /// The switch's end.
    pub interface: String,
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Cable {
    /// Lays a cable to this port. IPv6 is off, so that Linux says nothing of its own accord.
    ///
    /// # Errors
    /// If the kernel does not let it.
    pub fn lay(port: u16) -> anyhow::Result<Self> {
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").context("IPv6 stays on")?;
        let (near, far) = (format!("switch{port}"), format!("host{port}"));
        command(&["ip", "link", "add", &near, "type", "veth", "peer", "name", &far])?;
        for end in [&near, &far] {
            command(&["ip", "link", "set", end, "mtu", &MTU.to_string(), "up"])?;
        }
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll)?;
        setsockopt(&socket, PacketAuxdata, &true)?;
        setsockopt(&socket, sockopt::RcvBuf, &(8 << 20))?;
        let address = getifaddrs()?.filter(|address| address.interface_name == far);
        let address = address.filter_map(|address| address.address?.as_link_addr().copied()).next();
        bind(socket.as_raw_fd(), &address.with_context(|| format!("no address of {far}"))?)?;
        Ok(Cable { interface: near, socket, buffer: vec![0; 1 << 16] })
    }

    /// Sends a frame to the switch.
    ///
    /// # Errors
    /// If the kernel does not take it.
    pub fn send(&self, frame: &[u8]) -> anyhow::Result<()> {
        let fd = self.socket.as_raw_fd();
        sendmsg::<()>(fd, &[IoSlice::new(frame)], &[], MsgFlags::empty(), None)
            .with_context(|| format!("{} takes no frame of {} bytes", self.interface, frame.len()))?;
        Ok(())
    }

    /// The next frame that came out of the switch; `None` if none came until then.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn receive(&mut self, deadline: Instant) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            if let Some(frame) = self.poll()? {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Ok(None);
            }
            let timeout = PollTimeout::try_from(left.min(Duration::from_secs(1))).unwrap_or(PollTimeout::MAX);
            poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout)?;
        }
    }

    /// The next frame that has come out of the switch already. What this end sent is passed over.
    fn poll(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            let mut control = nix::cmsg_space!([u8; 64]);
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let fd = self.socket.as_raw_fd();
            let received = recvmsg::<LinkAddr>(fd, &mut parts, Some(&mut control), MsgFlags::empty());
            let received = match received {
                Err(nix::Error::EAGAIN) => return Ok(None),
                received => received?,
            };
            if received.address.is_some_and(|address| address.pkttype() == PACKET_OUTGOING) {
                continue;
            }
            let tag = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::Unknown(message)
                    if (message.cmsg_header.cmsg_level, message.cmsg_header.cmsg_type)
                        == (SOL_PACKET, PACKET_AUXDATA) =>
                {
                    tag(&message.data_bytes)
                }
                _ => None,
            });
            let bytes = received.bytes;
            let mut frame = self.buffer[..bytes].to_vec();
            if let Some(tag) = tag {
                frame.splice(12..12, tag);
            }
            return Ok(Some(frame));
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // With one end goes the other. If it stays, the next one of this name says so.
        let _ = command(&["ip", "link", "del", &self.interface]);
    }
}

/// The four bytes of the VLAN tag that `struct tpacket_auxdata` tells, if it tells one.
fn tag(auxdata: &[u8]) -> Option<[u8; 4]> {
    let word = |at: usize| Some(u16::from_ne_bytes(auxdata.get(at..at + 2)?.try_into().ok()?));
    let status = u32::from_ne_bytes(auxdata.get(..4)?.try_into().ok()?);
    let ([a, b], [c, d]) = (word(18)?.to_be_bytes(), word(16)?.to_be_bytes());
    (status & TP_STATUS_VLAN_VALID != 0).then_some([a, b, c, d])
}

const _: () = assert!(libc::AF_PACKET == 17, "<linux/if_packet.h> is Linux's");
