//! Packet sockets (packet(7)), by batches. The only module here with `unsafe` code: the standard library has no batch
//! calls and no packet sockets, and one system call a frame costs more than the switch itself.
//!
//! Invariant of every block: a pointer that is handed to the kernel points into an array that outlives the call, with the
//! length that stands beside it.
#![allow(unsafe_code, reason = "system calls that nobody has wrapped; see above")]

use std::ffi::CString;
use std::io::{self, IoSlice};
use std::mem::{self, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::offload::{self, VnetHeader};

/// Frames that one call receives or sends at most.
pub const BATCH: usize = 64;

/// Longest frame that comes in: a segmentation-offloaded packet is at most 65,535 bytes of IP, with Ethernet and a VLAN tag.
pub const FRAME_LEN_MAX: usize = 65_535 + 14 + 4;

/// What the kernel may hold for a socket in either direction: some milliseconds of small frames at full rate, so that a
/// thread that waits for its turn on the processor loses nothing.
const SOCKET_BUFFER: libc::c_int = 16 << 20;

/// Bytes of the two MAC addresses, behind which a VLAN tag stands.
const MACS_LEN: usize = 12;

/// Bytes of a VLAN tag.
const TAG_LEN: usize = 4;

/// Room for one ancillary message, the auxiliary data of a packet.
const CONTROL_LEN: usize = 64;

/// A packet socket on one interface: whole Ethernet frames in and out.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    name: String,
    frames: Vec<u8>,
}

/// What became of frames that were to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames that the interface took.
    pub sent: u64,
    /// Frames that it did not take: its queue was full, or it is down.
    pub refused: u64,
}

impl PacketSocket {
    /// Opens a socket on an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// If there is no such interface, or the process lacks `CAP_NET_RAW`.
    pub fn open(name: &str) -> io::Result<Self> {
        let c_name = CString::new(name).map_err(io::Error::other)?;
        // SAFETY: the name ends with a zero byte.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0: nothing comes in before all options are set and the socket is bound.
        // SAFETY: no pointers.
        let socket = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: a socket that was just made and that nobody else has.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let packet = |option, value: libc::c_int| set(&socket, libc::SOL_PACKET, option, &value);
        packet(libc::PACKET_VNET_HDR, 1)?;
        packet(libc::PACKET_AUXDATA, 1)?;
        packet(libc::PACKET_IGNORE_OUTGOING, 1)?;
        packet(libc::PACKET_QDISC_BYPASS, 1)?;
        for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
            set(&socket, libc::SOL_SOCKET, option, &SOCKET_BUFFER)?;
        }
        let member = libc::packet_mreq {
            mr_ifindex: index as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &member)?;
        bind(&socket, index)?;
        Ok(PacketSocket { socket, name: name.to_owned(), frames: vec![0; BATCH * (FRAME_LEN_MAX + TAG_LEN)] })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes what came in, at most a batch, and shows each frame as it was on the cable: with its VLAN tag, whole checksums,
    /// and segmented. Returns how many the kernel handed over; none if there is none now.
    ///
    /// # Errors
    /// If the interface is gone. That it is down is no error.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut headers = [[0u8; VnetHeader::LEN]; BATCH];
        let mut controls = [Control([0; CONTROL_LEN]); BATCH];
        // SAFETY: all zero is a valid value of these plain C structures.
        let mut vectors: [[libc::iovec; 2]; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let slots = self.frames.chunks_exact_mut(FRAME_LEN_MAX + TAG_LEN);
        for ((((message, vector), header), control), slot) in
            messages.iter_mut().zip(&mut vectors).zip(&mut headers).zip(&mut controls).zip(slots)
        {
            // Room for a tag is left in front.
            let frame = &mut slot[TAG_LEN..];
            *vector = [part(header), part(frame)];
            message.msg_hdr.msg_iov = vector.as_mut_ptr();
            message.msg_hdr.msg_iovlen = vector.len();
            message.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL_LEN as _;
        }
        // SAFETY: the arrays live until the end of this function.
        let received = unsafe {
            let flags = libc::MSG_DONTWAIT;
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as _,
                flags,
                std::ptr::null_mut(),
            )
        };
        let received = match check(received) {
            Ok(received) => received as usize,
            Err(error) if is_for_now(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        for (at, message) in messages[..received].iter().enumerate() {
            let start = at * (FRAME_LEN_MAX + TAG_LEN);
            let len = (message.msg_len as usize).saturating_sub(VnetHeader::LEN);
            let slot = &mut self.frames[start..start + TAG_LEN + len];
            let frame = match tag(&message.msg_hdr) {
                None => &mut slot[TAG_LEN..],
                Some(tag) if len >= MACS_LEN => {
                    slot.copy_within(TAG_LEN..TAG_LEN + MACS_LEN, 0);
                    slot[MACS_LEN..MACS_LEN + TAG_LEN].copy_from_slice(&tag);
                    slot
                }
                Some(_) => continue,
            };
            offload::undo(&VnetHeader::parse(&headers[at]), frame, &mut each);
        }
        Ok(received)
    }

    /// Sends frames, in order. What the interface does not take now is lost, as in a switch whose queue is full.
    pub fn send<'a>(&self, frames: impl Iterator<Item = &'a [u8]>) -> Sent {
        let mut sent = Sent::default();
        let mut batch: [&[u8]; BATCH] = [&[]; BATCH];
        let mut count = 0;
        for frame in frames {
            batch[count] = frame;
            count += 1;
            if count == BATCH {
                self.send_batch(&batch, &mut sent);
                count = 0;
            }
        }
        self.send_batch(&batch[..count], &mut sent);
        sent
    }

    fn send_batch(&self, frames: &[&[u8]], result: &mut Sent) {
        // Whole checksums, no segmentation.
        const HEADER: [u8; VnetHeader::LEN] = [0; VnetHeader::LEN];
        let mut vectors = [[IoSlice::new(&[]), IoSlice::new(&[])]; BATCH];
        // SAFETY: all zero is a valid value of this plain C structure.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for ((message, vector), frame) in messages.iter_mut().zip(&mut vectors).zip(frames) {
            *vector = [IoSlice::new(&HEADER), IoSlice::new(frame)];
            // `IoSlice` has the layout of an `iovec` on Unix, and the kernel only reads what a sent one points to.
            message.msg_hdr.msg_iov = vector.as_mut_ptr().cast();
            message.msg_hdr.msg_iovlen = vector.len();
        }
        let mut rest = &mut messages[..frames.len()];
        while !rest.is_empty() {
            // SAFETY: the arrays live until the end of this function.
            let taken = unsafe {
                libc::sendmmsg(
                    self.socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as _,
                    libc::MSG_DONTWAIT,
                )
            };
            // The first frame of the rest was not taken, whatever the reason; the next one may be.
            let (taken, refused) = if taken > 0 { (taken as usize, 0) } else { (0, 1) };
            result.sent += taken as u64;
            result.refused += refused as u64;
            rest = &mut rest[taken + refused..];
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Puts the calling thread into the network namespace behind this file.
///
/// # Errors
/// If it is none, or the process lacks `CAP_SYS_ADMIN`.
pub fn enter_network_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Ancillary data is aligned as a `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

fn part(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

/// The VLAN tag that Linux took out of a frame, as it stood there.
fn tag(message: &libc::msghdr) -> Option<[u8; TAG_LEN]> {
    // SAFETY: the kernel filled `msg_control`, up to the length that it wrote beside it.
    let auxiliary = unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            return None;
        }
        libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned()
    };
    let has = |flag| auxiliary.tp_status & flag != 0;
    has(libc::TP_STATUS_VLAN_VALID).then(|| {
        let kind = if has(libc::TP_STATUS_VLAN_TPID_VALID) {
            auxiliary.tp_vlan_tpid
        } else {
            offload::ETHERTYPE_VLAN
        };
        let ([a, b], [c, d]) = (kind.to_be_bytes(), auxiliary.tp_vlan_tci.to_be_bytes());
        [a, b, c, d]
    })
}

fn bind(socket: &OwnedFd, index: libc::c_uint) -> io::Result<()> {
    // SAFETY: all zero is a valid value of this plain C structure.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as _;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as _;
    // SAFETY: the address is as long as is said.
    let bound = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as _)
    };
    check(bound).map(drop)
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is as long as is said.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as _,
        )
    };
    check(done).map(drop)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Nothing there now, or the link is down and may come back.
fn is_for_now(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN))
}
