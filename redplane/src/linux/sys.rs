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
use std::sync::atomic::{AtomicU32, Ordering};

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
    ring: Ring,
    /// Room for a frame that is longer than a slot, with a tag in front.
    long: Vec<u8>,
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
    /// If there is no such interface, or the process lacks `CAP_NET_RAW` or `CAP_NET_ADMIN`.
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
        packet(libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as _)?;
        packet(libc::PACKET_VNET_HDR, 1)?;
        packet(libc::PACKET_COPY_THRESH, FRAME_LEN_MAX as _)?;
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
        let ring = Ring::new(&socket)?;
        bind(&socket, index)?;
        Ok(PacketSocket { socket, name: name.to_owned(), ring, long: vec![0; FRAME_LEN_MAX + TAG_LEN] })
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
        for count in 0..BATCH {
            let Some(mut slot) = self.ring.next() else {
                return if count == 0 { self.is_there().map(|()| 0) } else { Ok(count) };
            };
            match slot.state() {
                State::Whole => {
                    if let Some((header, frame)) = slot.frame() {
                        offload::undo(&header, frame, &mut each);
                    }
                }
                State::InQueue => {
                    drop(slot);
                    self.receive_long(&mut each);
                }
                // As in a switch whose queue is full.
                State::Lost => {}
            }
        }
        Ok(BATCH)
    }

    /// A frame that is longer than a slot of the ring: the kernel has it in the socket's queue, whole.
    fn receive_long(&mut self, each: &mut impl FnMut(&[u8])) {
        let mut header = [0; VnetHeader::LEN];
        let mut control = Control([0; CONTROL_LEN]);
        let mut vector = [part(&mut header), part(&mut self.long[TAG_LEN..])];
        // SAFETY: all zero is a valid value of this plain C structure.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = vector.as_mut_ptr();
        message.msg_iovlen = vector.len();
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_LEN as _;
        // SAFETY: all that the message points to lives until the end of this function.
        let received =
            unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        let Some(len) = usize::try_from(received).ok().and_then(|len| len.checked_sub(VnetHeader::LEN))
        else {
            return;
        };
        let frame = with_tag(&mut self.long[..TAG_LEN + len], tag(&message));
        offload::undo(&VnetHeader::parse(&header), frame, each);
    }

    /// Whether the interface is still there.
    fn is_there(&self) -> io::Result<()> {
        match rustix::net::sockopt::socket_error(&self.socket)? {
            Ok(()) | Err(rustix::io::Errno::NETDOWN) => Ok(()),
            Err(error) => Err(error.into()),
        }
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

/// Slots that the kernel writes frames into, and this process reads: no call and no copy a frame. Of the versions of this
/// ring TPACKET_V2 shows a frame when it has come; TPACKET_V3 shows blocks of them, up to a millisecond late, and what waits
/// here are not captures but packets on their way.
#[derive(Debug)]
struct Ring {
    start: std::ptr::NonNull<u8>,
    next: usize,
}

/// Bytes of a slot: a frame of 1,500 bytes of IP with all that the kernel puts in front.
const SLOT_LEN: usize = 2048;

/// Slots of a ring: as many frames as come in eight milliseconds at half a million a second, a turn of another thread.
const SLOTS: usize = 4096;

/// Bytes that the kernel allocates in one piece.
const BLOCK_LEN: usize = 1 << 16;

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for Ring {}

impl Ring {
    fn new(socket: &OwnedFd) -> io::Result<Self> {
        let request = libc::tpacket_req {
            tp_block_size: BLOCK_LEN as _,
            tp_block_nr: (SLOTS * SLOT_LEN / BLOCK_LEN) as _,
            tp_frame_size: SLOT_LEN as _,
            tp_frame_nr: SLOTS as _,
        };
        set(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping of a ring that was just made, of its whole length.
        let start = unsafe {
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            libc::mmap(std::ptr::null_mut(), SLOTS * SLOT_LEN, access, kind, socket.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = std::ptr::NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Ring { start, next: 0 })
    }

    /// The next slot, if a frame is in it.
    fn next(&mut self) -> Option<FilledSlot<'_>> {
        // SAFETY: `next` is below `SLOTS`, so the slot is within the mapping. The kernel does not touch one whose status
        // says that it is the user's, and `FilledSlot` borrows the ring: there is one at a time.
        let slot = unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr().add(self.next * SLOT_LEN), SLOT_LEN)
        };
        // SAFETY: a slot begins with its status, aligned; the kernel writes it when all else is written.
        let status = unsafe { AtomicU32::from_ptr(slot.as_mut_ptr().cast()) };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        self.next = (self.next + 1) % SLOTS;
        Some(FilledSlot(slot))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), SLOTS * SLOT_LEN) };
    }
}

/// Where the frame of a slot is.
enum State {
    /// In the slot.
    Whole,
    /// It is longer than a slot, and in the socket's queue.
    InQueue,
    /// It is longer than a slot, and the queue was full.
    Lost,
}

/// A slot with a frame in it; it is the kernel's again when this is dropped.
struct FilledSlot<'a>(&'a mut [u8]);

impl FilledSlot<'_> {
    fn header(&self) -> libc::tpacket2_hdr {
        // SAFETY: the kernel writes this structure at the start of each slot.
        unsafe { self.0.as_ptr().cast::<libc::tpacket2_hdr>().read_unaligned() }
    }

    fn state(&self) -> State {
        let header = self.header();
        if header.tp_snaplen >= header.tp_len {
            State::Whole
        } else if header.tp_status & libc::TP_STATUS_COPY != 0 {
            State::InQueue
        } else {
            State::Lost
        }
    }

    /// What is still to be done to the frame, and the frame with its VLAN tag.
    fn frame(&mut self) -> Option<(VnetHeader, &mut [u8])> {
        let header = self.header();
        let (start, len) = (usize::from(header.tp_mac), header.tp_snaplen as usize);
        let before = start.checked_sub(VnetHeader::LEN)?;
        let vnet = VnetHeader::parse(self.0.get(before..start)?.try_into().ok()?);
        let tag = tag_of(header.tp_status, header.tp_vlan_tpid, header.tp_vlan_tci);
        // What stood in front of the frame was read; a tag has room there.
        Some((vnet, with_tag(self.0.get_mut(start - TAG_LEN..start + len)?, tag)))
    }
}

impl Drop for FilledSlot<'_> {
    fn drop(&mut self) {
        // SAFETY: a slot begins with its status, aligned; whoever had the slot is done with it.
        let status = unsafe { AtomicU32::from_ptr(self.0.as_mut_ptr().cast()) };
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

/// The frame behind [`TAG_LEN`] bytes of room, with its tag where that belongs.
fn with_tag(slot: &mut [u8], tag: Option<[u8; TAG_LEN]>) -> &mut [u8] {
    match tag {
        Some(tag) if slot.len() >= TAG_LEN + MACS_LEN => {
            slot.copy_within(TAG_LEN..TAG_LEN + MACS_LEN, 0);
            slot[MACS_LEN..MACS_LEN + TAG_LEN].copy_from_slice(&tag);
            slot
        }
        _ => &mut slot[TAG_LEN..],
    }
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
    tag_of(auxiliary.tp_status, auxiliary.tp_vlan_tpid, auxiliary.tp_vlan_tci)
}

fn tag_of(status: u32, kind: u16, control: u16) -> Option<[u8; TAG_LEN]> {
    let kind = if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { kind } else { offload::ETHERTYPE_VLAN };
    let ([a, b], [c, d]) = (kind.to_be_bytes(), control.to_be_bytes());
    (status & libc::TP_STATUS_VLAN_VALID != 0).then_some([a, b, c, d])
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
