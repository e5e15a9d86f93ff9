//! What a card would have done.

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use redplane::linux::offload::{VnetHeader, undo};

const TCPV4: u8 = 1;
const UDP_L4: u8 = 5;

fn shown(header: &VnetHeader, frame: &mut [u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    undo(header, frame, &mut |frame: &[u8]| frames.push(frame.to_vec()));
    frames
}

fn tcp(payload: &[u8], sequence: u32) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 80, sequence, 4096)
        .psh()
        .fin()
        .ack(7);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).expect("a vector takes it");
    frame
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .single_vlan(7.try_into().expect("a VLAN's number"))
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1000, 80);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).expect("a vector takes it");
    frame
}

/// Every checksum of a frame is right, as an implementation that is not ours computes it.
fn assert_checksums(frame: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a frame");
    let Some(etherparse::NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4") };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(usize::from(header.total_len), frame.len() - ip_start(frame), "the length is the frame's");
    match sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let computed = tcp.calc_checksum_ipv4(header.source, header.destination).expect("not too long");
            assert_eq!(tcp.checksum(), computed);
        }
        Some(TransportSlice::Udp(udp)) => {
            let header_of = udp.to_header();
            let computed = header_of.calc_checksum_ipv4(&header, udp.payload()).expect("not too long");
            assert_eq!(udp.checksum(), computed);
        }
        _ => panic!("neither TCP nor UDP"),
    }
}

fn ip_start(frame: &[u8]) -> usize {
    if frame[12..14] == [0x81, 0] { 18 } else { 14 }
}

#[test]
fn a_frame_that_needs_nothing_is_shown_as_it_is() {
    let mut frame = tcp(b"abc", 5);
    let before = frame.clone();
    assert_eq!(shown(&VnetHeader::default(), &mut frame), [before]);
}

#[test]
fn a_checksum_is_completed() {
    let whole = tcp(b"abc", 5);
    let mut frame = whole.clone();
    // The kernel leaves the folded sum of the pseudo-header there.
    let pseudo: u32 = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 6 + 23;
    frame[50..52].copy_from_slice(&(pseudo as u16).to_be_bytes());
    let header =
        VnetHeader { needs_checksum: true, csum_start: 34, csum_offset: 16, ..VnetHeader::default() };
    assert_eq!(shown(&header, &mut frame), [whole]);
}

/// A checksum that is zero stays zero in TCP, and is the other zero in UDP, to which zero says that there is none.
#[test]
fn zero_is_a_checksum() {
    type Build = fn(&[u8]) -> Vec<u8>;
    let transports: [(Build, _, _, _, _); 2] =
        [(|payload| tcp(payload, 0), TCPV4, 34, 16, 0), (udp, UDP_L4, 38, 6, 0xffff)];
    for (frame, gso_type, csum_start, csum_offset, zero) in transports {
        let header = VnetHeader { needs_checksum: true, gso_type, gso_size: 2, csum_start, csum_offset };
        let at = usize::from(csum_start + csum_offset);
        let checksum_of = |payload: u16| {
            let segment = shown(&header, &mut frame(&payload.to_be_bytes())).remove(0);
            u16::from_be_bytes([segment[at], segment[at + 1]])
        };
        // What the checksum is without a payload, as the payload, leaves nothing.
        assert_eq!(checksum_of(checksum_of(0)), zero);
    }
}

#[test]
fn what_makes_no_sense_is_shown_as_it_is() {
    let header =
        VnetHeader { needs_checksum: true, gso_type: TCPV4, gso_size: 0, csum_start: 9000, csum_offset: 1 };
    let mut frame = tcp(b"abc", 5);
    let before = frame.clone();
    assert_eq!(shown(&header, &mut frame), [before]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tcp_segments_are_what_a_card_would_send(
        payload in prop::collection::vec(any::<u8>(), 1..4000), size in 1u16..1500, sequence: u32,
    ) {
        let mut frame = tcp(&payload, sequence);
        let header =
            VnetHeader { needs_checksum: true, gso_type: TCPV4, gso_size: size, csum_start: 34, csum_offset: 16 };
        let segments = shown(&header, &mut frame);
        let (mut put_together, mut next) = (Vec::new(), sequence);
        for (index, segment) in segments.iter().enumerate() {
            assert_checksums(segment);
            let sliced = SlicedPacket::from_ethernet(segment).expect("a frame");
            let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
            prop_assert_eq!(tcp.sequence_number(), next);
            let is_last = index + 1 == segments.len();
            prop_assert_eq!((tcp.fin(), tcp.psh(), tcp.ack()), (is_last, is_last, true));
            prop_assert!(tcp.payload().len() == usize::from(size) || is_last);
            next = next.wrapping_add(tcp.payload().len() as u32);
            put_together.extend_from_slice(tcp.payload());
        }
        prop_assert_eq!(put_together, payload);
    }

    #[test]
    fn udp_segments_are_datagrams(payload in prop::collection::vec(any::<u8>(), 1..4000), size in 1u16..1400) {
        let mut frame = udp(&payload);
        let header =
            VnetHeader { needs_checksum: true, gso_type: UDP_L4, gso_size: size, csum_start: 38, csum_offset: 6 };
        let mut put_together = Vec::new();
        for segment in shown(&header, &mut frame) {
            assert_checksums(&segment);
            put_together.extend_from_slice(&segment[46..]);
        }
        prop_assert_eq!(put_together, payload);
    }

    /// Nothing that the kernel could say about a frame makes it panic.
    #[test]
    fn any_header_and_frame_are_taken(
        bytes: [u8; VnetHeader::LEN], mut frame in prop::collection::vec(any::<u8>(), 0..200), looks_like_ip: bool,
    ) {
        if looks_like_ip && frame.len() > 14 {
            frame[12..14].copy_from_slice(&[8, 0]);
        }
        let count = shown(&VnetHeader::parse(&bytes), &mut frame).len();
        prop_assert!(count >= 1);
    }
}
