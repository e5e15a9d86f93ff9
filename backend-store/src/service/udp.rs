//! Datagrams in batches: many per system call, and with segmentation offload many per walk through the kernel.
//!
//! A [`BatchSocket`] receives, an [`Outgoing`] collects and sends. Neither allocates per datagram, neither waits.
//! Before working on this file read udp(7): `UDP_SEGMENT` (GSO) and `UDP_GRO`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Bytes of the kernel's receive buffer and of its send buffer, by default: the most that Debian's kernels grant to a
/// process without privileges once `net.core.rmem_max` is raised as the guide asks. A short datagram is charged about
/// 800 bytes, so this is some 10,000 datagrams: what arrives while a thread is off its core for a few milliseconds.
pub const BUFFER_BYTES: usize = 4 << 20;

/// Longest UDP payload over IPv4 (RFC 768, RFC 791): 65,535 without both headers. Also most bytes of one GSO send.
pub const PAYLOAD_LEN_MAX: usize = 65_535 - 20 - 8;

/// Longest datagram that is sent as a segment of a longer send: a whole Ethernet frame. Beyond, a route's MTU may be
/// smaller than the segment; kernels before 6.14 answer that with EINVAL, which means "no GSO at all" to quinn-udp.
pub const SEGMENT_LEN_MAX: usize = 1500 - 20 - 8;

/// Segments of one send: `UDP_MAX_SEGMENTS` in linux/udp.h, before it was doubled.
const SEGMENTS_MAX: usize = 64;

/// From one receive buffer to the next. A buffer holds the longest list of datagrams that GRO makes, 65,536 bytes; some
/// cache lines more, so that short datagrams in neighbouring buffers do not fall into the same set of the first cache.
const RECEIVE_STRIDE: usize = (64 << 10) + 192;

/// Destinations whose datagrams are coalesced however they alternate, between two flushes: a store answers some tens of
/// switches. The datagrams to all others are sent in the order they came.
const LANES: usize = 32;

/// Bytes that are collected at most between two flushes: the answers to two full batches of receive buffers.
pub const COLLECTED_BYTES_MAX: usize = 2 * BATCH_SIZE * (64 << 10);

/// Datagrams in one sendmmsg, which takes 30 % less time than as many sendmsg. More save little: the call itself is then
/// a hundredth of their cost.
const SINGLES_MAX: usize = 64;

/// Datagrams of one sender, one after the other.
pub type Run<'a> = std::slice::Chunks<'a, u8>;

/// Hands over the datagrams of a run; a run of none is an empty datagram.
fn each(from: SocketAddrV4, run: Run<'_>, f: &mut impl FnMut(SocketAddrV4, &[u8])) {
    if run.len() == 0 {
        f(from, &[]);
    }
    run.for_each(|bytes| f(from, bytes));
}

/// How a socket is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketOptions {
    /// Whether runs of equally long datagrams leave as one send which the kernel, or the network card, segments. On by
    /// default; without effect if the kernel cannot.
    pub gso: bool,
    /// Bytes of the kernel's receive buffer and of its send buffer, [`BUFFER_BYTES`] by default. The kernel grants no
    /// more than `net.core.rmem_max` and `net.core.wmem_max`.
    pub buffer_bytes: usize,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { gso: true, buffer_bytes: BUFFER_BYTES }
    }
}

/// A UDP socket that receives a batch per system call. Some 2 MiB of buffers, of which memory is used as far as they
/// were once filled.
pub struct BatchSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    gso: bool,
    buffers: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl BatchSocket {
    /// Opens a socket at this address; port zero is any free one. Datagrams are sent with "do not fragment".
    ///
    /// # Errors
    /// Those of the kernel: the address is taken, or not of this machine.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(address: SocketAddrV4, options: SocketOptions) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        let reference = SockRef::from(&socket);
        reference.set_recv_buffer_size(options.buffer_bytes)?;
        reference.set_send_buffer_size(options.buffer_bytes)?;
        let state = UdpSocketState::new((&socket).into())?;
        // What QUIC needs and nobody asks for here: a fifth of the time that receiving a short datagram takes.
        setsockopt(&socket, sockopt::ReceiveTimestampns, &false)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &false)?;
        setsockopt(&socket, sockopt::IpRecvTos, &false)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            state,
            gso: options.gso,
            buffers: vec![0; RECEIVE_STRIDE * BATCH_SIZE].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
        })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn local_address(&self) -> io::Result<SocketAddrV4> {
        match self.socket.local_addr()? {
            SocketAddr::V4(address) => Ok(address),
            SocketAddr::V6(address) => Err(io::Error::other(format!("{address} is not an IPv4 address"))),
        }
    }

    /// When something may have arrived.
    ///
    /// # Errors
    /// Those of the runtime, when it shuts down.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Hands over what has arrived, one system call's worth: up to 32 receive buffers of up to 64 datagrams each. How
    /// many datagrams; zero if there were none, or if [`BatchSocket::readable`] was not awaited since.
    ///
    /// # Errors
    /// Those of the kernel. The socket remains usable.
    pub fn receive(&mut self, mut f: impl FnMut(SocketAddrV4, &[u8])) -> io::Result<usize> {
        self.receive_runs(|from, run| each(from, run, &mut f))
    }

    /// The same, but all datagrams of one receive buffer at a time: of one sender, and of one length but for the last. Who
    /// takes them can look ahead.
    ///
    /// # Errors
    /// As [`BatchSocket::receive`].
    pub fn receive_runs(&mut self, mut f: impl FnMut(SocketAddrV4, Run<'_>)) -> io::Result<usize> {
        let mut filled = 0;
        let outcome = self.socket.try_io(Interest::READABLE, || {
            filled = fill(&self.socket, &self.state, &mut self.buffers, &mut self.metas)?;
            // A batch that is not full has emptied the socket. To say so now spares the call that would find out.
            if filled < BATCH_SIZE { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(self.hand_over(filled, &mut f)),
        }
    }

    /// As [`BatchSocket::receive`], but asks the kernel whatever the runtime knows: for a loop that polls by itself, and
    /// never awaits [`BatchSocket::readable`].
    ///
    /// # Errors
    /// As there.
    pub fn receive_now(&mut self, mut f: impl FnMut(SocketAddrV4, &[u8])) -> io::Result<usize> {
        match fill(&self.socket, &self.state, &mut self.buffers, &mut self.metas) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
            Ok(filled) => Ok(self.hand_over(filled, &mut |from, run| each(from, run, &mut f))),
        }
    }

    /// Hands over so many receive buffers.
    fn hand_over(&self, filled: usize, f: &mut impl FnMut(SocketAddrV4, Run<'_>)) -> usize {
        let mut datagrams = 0;
        for (meta, buffer) in self.metas.iter().zip(self.buffers.chunks_exact(RECEIVE_STRIDE)).take(filled) {
            let SocketAddr::V4(from) = meta.addr else { continue };
            let received = &buffer[..meta.len.min(buffer.len())];
            // An empty datagram is a run of none.
            let run = received.chunks(meta.stride.max(1));
            datagrams += run.len().max(1);
            f(from, run);
        }
        datagrams
    }

    fn segments_max(&self) -> usize {
        if self.gso { self.state.max_gso_segments().min(SEGMENTS_MAX) } else { 1 }
    }

    fn send(&self, to: SocketAddrV4, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let transmit = Transmit { destination: to.into(), ecn: None, contents, segment_size, src_ip: None };
        // Past the runtime, whose idea of "writable" starts as "no". The socket never blocks.
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }
}

impl AsFd for BatchSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One system call: how many receive buffers it filled.
fn fill(
    socket: &UdpSocket,
    state: &UdpSocketState,
    buffers: &mut [u8],
    metas: &mut [RecvMeta; BATCH_SIZE],
) -> io::Result<usize> {
    let mut chunks = buffers.chunks_exact_mut(RECEIVE_STRIDE);
    let mut slices: [_; BATCH_SIZE] =
        std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
    state.recv(UdpSockRef::from(socket), &mut slices, metas)
}

/// What became of collected datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flushed {
    /// How many the kernel took.
    pub sent: usize,
    /// How many it did not take, or were too long or too many to be collected.
    pub dropped: usize,
}

/// Datagrams to be sent. Those to one destination keep their order; equally long ones in a row leave as one send.
pub struct Outgoing {
    /// One for each of the first destinations since the last flush; the last one for all further destinations.
    lanes: Box<[Lane]>,
    /// How many lanes have a destination.
    assigned: usize,
    /// Where the last datagram went: most often the next one goes there too.
    latest: usize,
    /// Bytes in all lanes.
    collected: usize,
    /// Datagrams in all lanes.
    datagrams: usize,
    refused: usize,
}

struct Lane {
    to: SocketAddrV4,
    bytes: Vec<u8>,
    runs: Vec<SendRun>,
}

/// Datagrams to one destination, one after the other in their lane: all of one length, but the last may be shorter.
struct SendRun {
    to: SocketAddrV4,
    start: usize,
    len: usize,
    segment_len: usize,
    segments: usize,
}

impl SendRun {
    /// Whether a datagram may be its next one.
    fn takes(&self, to: SocketAddrV4, len: usize) -> bool {
        self.to == to
            && (1..=self.segment_len).contains(&len)
            && self.segment_len <= SEGMENT_LEN_MAX
            // The last one is not a shorter one.
            && self.len == self.segment_len * self.segments
            && self.segments < SEGMENTS_MAX
            && self.len + len <= PAYLOAD_LEN_MAX
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

impl Outgoing {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let nowhere = SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0);
        // Room for one full run each; a lane that needs more keeps it.
        let lane = || Lane { to: nowhere, bytes: Vec::with_capacity(64 << 10), runs: Vec::with_capacity(64) };
        Self {
            lanes: (0..=LANES).map(|_| lane()).collect(),
            assigned: 0,
            latest: 0,
            collected: 0,
            datagrams: 0,
            refused: 0,
        }
    }

    /// Datagrams that wait for [`Outgoing::flush`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.datagrams
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// Takes in a datagram. One that is longer than [`PAYLOAD_LEN_MAX`], beyond [`COLLECTED_BYTES_MAX`], or to port zero
    /// is dropped, and counted by the next flush.
    pub fn push(&mut self, to: SocketAddrV4, bytes: &[u8]) {
        // Anybody can send from port zero. The kernel's EINVAL to the answer would end GSO for all others.
        let is_refused = to.port() == 0
            || bytes.len() > PAYLOAD_LEN_MAX
            || self.collected + bytes.len() > COLLECTED_BYTES_MAX;
        if is_refused {
            self.refused += 1;
            return;
        }
        self.collected += bytes.len();
        self.datagrams += 1;
        let lane = self.lane(to);
        let start = lane.bytes.len();
        lane.bytes.extend_from_slice(bytes);
        match lane.runs.last_mut() {
            Some(run) if run.takes(to, bytes.len()) => {
                run.len += bytes.len();
                run.segments += 1;
            }
            _ => {
                lane.runs.push(SendRun {
                    to,
                    start,
                    len: bytes.len(),
                    segment_len: bytes.len(),
                    segments: 1,
                });
            }
        }
    }

    /// Sends everything, and is empty again. Does not wait: if the kernel's send buffer is full, what is left is dropped
    /// and counted. That buffer is milliseconds of traffic, so a network that let it fill up is congested; keeping
    /// datagrams back would only delay all later ones, and who misses an answer asks again. Any other error concerns
    /// one datagram or run, which is dropped.
    pub fn flush(&mut self, socket: &BatchSocket) -> Flushed {
        let dropped = std::mem::take(&mut self.refused);
        let total = std::mem::take(&mut self.datagrams);
        let mut sender = Sender { socket, singles: SmallVec::new(), sent: 0, is_full: false };
        let segments_max = socket.segments_max();
        for lane in self.lanes.iter().filter(|lane| !lane.runs.is_empty()) {
            for run in &lane.runs {
                let bytes = &lane.bytes[run.start..run.start + run.len];
                sender.send_run(run, bytes, segments_max);
            }
        }
        let sent = sender.finish();
        for lane in &mut self.lanes {
            lane.bytes.clear();
            lane.runs.clear();
        }
        (self.assigned, self.latest, self.collected) = (0, 0, 0);
        Flushed { sent, dropped: dropped + total - sent }
    }

    /// The lane of a destination: the same from flush to flush, since order is kept only within a lane.
    fn lane(&mut self, to: SocketAddrV4) -> &mut Lane {
        let is_latest = self.latest < self.assigned && self.lanes[self.latest].to == to;
        if !is_latest {
            let known = self.lanes[..self.assigned].iter().position(|lane| lane.to == to);
            self.latest = known.unwrap_or(self.assigned);
            if known.is_none() && self.assigned < LANES {
                self.lanes[self.assigned].to = to;
                self.assigned += 1;
            }
        }
        &mut self.lanes[self.latest]
    }
}

/// One flush.
struct Sender<'a> {
    socket: &'a BatchSocket,
    /// Datagrams that leave on their own, until they are worth a system call.
    singles: SmallVec<[(SocketAddrV4, &'a [u8]); SINGLES_MAX]>,
    sent: usize,
    /// Whether the kernel's buffer is.
    is_full: bool,
}

impl<'a> Sender<'a> {
    fn send_run(&mut self, run: &SendRun, bytes: &'a [u8], segments_max: usize) {
        if run.segments == 1 || segments_max == 1 {
            return self.send_separately(run, bytes);
        }
        // What came before to the same destination goes before.
        self.send_singles();
        for part in bytes.chunks(run.segment_len * segments_max) {
            if self.is_full {
                return;
            }
            match self.socket.send(run.to, part, Some(run.segment_len)) {
                Ok(()) => self.sent += part.len().div_ceil(run.segment_len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_full = true,
                // Perhaps this network card cannot segment. Then quinn-udp knows by now, and the next flush.
                Err(_) => self.send_separately(run, part),
            }
        }
    }

    fn send_separately(&mut self, run: &SendRun, bytes: &'a [u8]) {
        if bytes.is_empty() {
            self.send_single(run.to, bytes);
        }
        for datagram in bytes.chunks(run.segment_len.max(1)) {
            self.send_single(run.to, datagram);
        }
    }

    fn finish(mut self) -> usize {
        self.send_singles();
        self.sent
    }

    fn send_single(&mut self, to: SocketAddrV4, datagram: &'a [u8]) {
        self.singles.push((to, datagram));
        if self.singles.len() == SINGLES_MAX {
            self.send_singles();
        }
    }

    fn send_singles(&mut self) {
        let singles = std::mem::take(&mut self.singles);
        let addresses: SmallVec<[_; SINGLES_MAX]> = singles.iter().map(|(to, _)| to.as_any()).collect();
        let slices: SmallVec<[_; SINGLES_MAX]> =
            singles.iter().map(|(_, datagram)| [IoSlice::new(datagram)]).collect();
        let mut controls: SmallVec<[_; SINGLES_MAX]> =
            singles.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: SmallVec<[_; SINGLES_MAX]> = addresses
            .iter()
            .zip(&slices)
            .zip(&mut controls)
            .map(|((address, slice), control)| MMsgHdr::new_with_addr(address, slice, control))
            .collect();
        let mut rest = &mut messages[..];
        while !rest.is_empty() && !self.is_full {
            let done = match sendmmsg(&self.socket.socket, rest, SendFlags::DONTWAIT) {
                Ok(sent) => {
                    self.sent += sent;
                    sent
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    0
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                // The call fails with its first message only: that one cannot be sent.
                Err(_) => 1,
            };
            rest = &mut rest[done..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const GSO_AND_NOT: [bool; 2] = [true, false];

    fn bind(gso: bool) -> BatchSocket {
        let options = SocketOptions { gso, ..SocketOptions::default() };
        BatchSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), options).unwrap()
    }

    /// So many datagrams, with the port they came from.
    async fn receive(socket: &mut BatchSocket, count: usize) -> Vec<(u16, Vec<u8>)> {
        let mut received = Vec::new();
        while received.len() < count {
            let ready = tokio::time::timeout(Duration::from_secs(5), socket.readable()).await;
            ready.expect("datagrams are missing").unwrap();
            let before = received.len();
            let told = socket.receive(|from, bytes| received.push((from.port(), bytes.to_vec()))).unwrap();
            assert_eq!(told, received.len() - before);
        }
        received
    }

    /// A datagram that tells its place, and is recognisably intact.
    fn numbered(number: u32, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|at| (at as u32 ^ number) as u8).collect();
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    #[tokio::test]
    async fn every_length_crosses_unchanged() {
        for gso in GSO_AND_NOT {
            let (sender, mut receiver) = (bind(gso), bind(gso));
            let to = receiver.local_address().unwrap();
            let lengths =
                [0, 0, 1, 60, 60, 60, 59, 60, 0, 61, 61, 1473, 1473, 9216, 9216, PAYLOAD_LEN_MAX, 7];
            let datagrams: Vec<_> = lengths.iter().map(|len| vec![*len as u8; *len]).collect();
            let mut outgoing = Outgoing::new();
            datagrams.iter().for_each(|datagram| outgoing.push(to, datagram));
            assert_eq!(outgoing.len(), lengths.len());
            assert_eq!(outgoing.flush(&sender), Flushed { sent: lengths.len(), dropped: 0 });
            assert!(outgoing.is_empty());
            let received = receive(&mut receiver, lengths.len()).await;
            let port = sender.local_address().unwrap().port();
            let expected: Vec<_> = datagrams.into_iter().map(|bytes| (port, bytes)).collect();
            assert!(received == expected, "gso {gso}");
        }
    }

    #[tokio::test]
    async fn order_is_kept_for_each_of_many_destinations() {
        for gso in GSO_AND_NOT {
            let sender = bind(gso);
            let small = SocketOptions { buffer_bytes: 1 << 20, gso };
            let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
            let mut receivers: Vec<_> =
                (0..LANES + 5).map(|_| BatchSocket::bind(any, small).unwrap()).collect();
            let addresses: Vec<_> = receivers.iter().map(|socket| socket.local_address().unwrap()).collect();
            let mut outgoing = Outgoing::new();
            let mut expected: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
            let mut random = 1_u32;
            for number in 0..6000 {
                random = random.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
                let at = (random >> 24) as usize % addresses.len();
                let len = if random & 0xf00 == 0 { 4 + (random >> 16) as usize % 2000 } else { 60 };
                let datagram = numbered(number, len);
                outgoing.push(addresses[at], &datagram);
                expected.entry(at).or_default().push(datagram);
            }
            assert_eq!(outgoing.flush(&sender), Flushed { sent: 6000, dropped: 0 });
            for (at, expected) in expected {
                let received = receive(&mut receivers[at], expected.len()).await;
                assert!(received.into_iter().map(|(_, bytes)| bytes).eq(expected), "gso {gso}");
            }
        }
    }

    #[tokio::test]
    async fn alternating_destinations_are_coalesced() {
        let sockets = [bind(true), bind(true), bind(true)];
        let addresses = sockets.each_ref().map(|socket| socket.local_address().unwrap());
        let mut outgoing = Outgoing::new();
        for number in 0..300 {
            outgoing.push(addresses[number % 3], &numbered(number as u32, 60));
        }
        let runs: Vec<_> =
            outgoing.lanes.iter().flat_map(|lane| &lane.runs).map(|run| run.segments).collect();
        assert_eq!(runs, [64, 36, 64, 36, 64, 36]);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_counted_and_harms_nothing_else() {
        for gso in GSO_AND_NOT {
            let (sender, mut receiver) = (bind(gso), bind(gso));
            let to = receiver.local_address().unwrap();
            let nobody = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
            let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 9);
            let mut outgoing = Outgoing::new();
            outgoing.push(to, b"first");
            outgoing.push(to, &vec![0; PAYLOAD_LEN_MAX + 1]);
            outgoing.push(everybody, b"alone");
            (0..3).for_each(|_| outgoing.push(nobody, b"port zero"));
            outgoing.push(to, b"second");
            assert_eq!(outgoing.flush(&sender), Flushed { sent: 2, dropped: 5 });
            (0..3).for_each(|_| outgoing.push(everybody, b"a run"));
            outgoing.push(to, b"third");
            assert_eq!(outgoing.flush(&sender), Flushed { sent: 1, dropped: 3 });
            assert_eq!(sender.segments_max(), if gso { SEGMENTS_MAX } else { 1 });
            let received: Vec<_> =
                receive(&mut receiver, 3).await.into_iter().map(|(_, bytes)| bytes).collect();
            assert_eq!(received, [&b"first"[..], b"second", b"third"]);
            assert_eq!(receiver.receive(|_, _| ()).unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn what_is_collected_is_bounded() {
        let socket = bind(true);
        let to = socket.local_address().unwrap();
        let mut outgoing = Outgoing::new();
        let datagram = vec![0; 60_000];
        let fitting = COLLECTED_BYTES_MAX / datagram.len();
        (0..fitting + 2).for_each(|_| outgoing.push(to, &datagram));
        assert_eq!(outgoing.len(), fitting);
        let flushed = outgoing.flush(&socket);
        assert_eq!(flushed.sent + flushed.dropped, fitting + 2);
        assert!(flushed.dropped >= 2);
    }
}
