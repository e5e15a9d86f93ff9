//! The NAT as its neighbours see it: frames in, frames out.

use std::net::Ipv4Addr;

use apps::demo::translate::Nat;
use apps::nat::Pool;
use etherparse::{IcmpEchoHeader, Icmpv4Type, Ipv4Header};

use super::checksums::wrong;
use super::frames::{End, ends, icmp, ping, tcp, udp, unreachable};

const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const X: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const Y: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const SECOND: u64 = 1_000_000;

fn nat() -> Nat {
    with_ports(1024, 65_535)
}

fn with_ports(first_port: u16, last_port: u16) -> Nat {
    let pool = Pool { addresses: vec![PUBLIC], first_port, last_port };
    Nat::new(&[(Ipv4Addr::new(10, 0, 0, 0), 8)], pool).unwrap()
}

/// The one frame that comes out, with all its checksums right.
fn one(nat: &mut Nat, frame: &[u8]) -> Vec<u8> {
    let out = nat.translate(frame);
    assert_eq!(out.len(), 1, "dropped: {:?}", nat.dropped());
    assert_eq!(wrong(&out[0]), [] as [String; 0]);
    assert_eq!(out[0].len(), frame.len());
    out[0].clone()
}

fn dropped(nat: &mut Nat, frame: &[u8], reason: &str) {
    let before = nat.dropped().get(reason).copied().unwrap_or(0);
    assert_eq!(nat.translate(frame), [] as [Vec<u8>; 0], "should be dropped as {reason}");
    let after = nat.dropped();
    assert_eq!(after.get(reason).copied().unwrap_or(0), before + 1, "not dropped as {reason}: {after:?}");
}

/// RFC 4787 REQ-1: one mapping, whatever the destination.  RFC 5382 REQ-1 the same for TCP.
#[test]
fn mapping_is_endpoint_independent() {
    for make in [udp, tcp] {
        let mut nat = nat();
        let (first, to) = ends(&one(&mut nat, &make((A, 5000), (X, 53))));
        assert_eq!((first.0, to), (PUBLIC, (X, 53)));
        assert_eq!(ends(&one(&mut nat, &make((A, 5000), (Y, 99)))), (first, (Y, 99)));
        let (other, _) = ends(&one(&mut nat, &make((B, 5000), (X, 53))));
        assert_ne!(other, first, "two inside ends never share a public one (REQ-3)");
    }
}

/// RFC 4787 REQ-8: endpoint-independent filtering.
#[test]
fn whoever_knows_the_public_end_gets_in_and_nobody_else() {
    let mut nat = nat();
    let (public, _) = ends(&one(&mut nat, &udp((A, 5000), (X, 53))));
    assert_eq!(ends(&one(&mut nat, &udp((X, 53), public))), ((X, 53), (A, 5000)));
    assert_eq!(ends(&one(&mut nat, &udp((Y, 99), public))), ((Y, 99), (A, 5000)));
    dropped(&mut nat, &udp((X, 53), (PUBLIC, 6000)), "unsolicited");
    dropped(&mut nat, &tcp((X, 53), public), "unsolicited");
    dropped(&mut nat, &udp((X, 53), (Y, 53)), "not_ours");
}

/// RFC 4787 REQ-9: hairpinning, with the public source (REQ-9a: "External source IP address and port").
#[test]
fn two_inside_hosts_talk_through_their_public_ends() {
    for make in [udp, tcp] {
        let mut nat = nat();
        let (a, _) = ends(&one(&mut nat, &make((A, 5000), (X, 53))));
        let (b, _) = ends(&one(&mut nat, &make((B, 7001), (X, 53))));
        let there = one(&mut nat, &make((A, 5000), b));
        assert_eq!(ends(&there), (a, (B, 7001)));
        assert_eq!(ends(&one(&mut nat, &make((B, 7001), a))), (b, (A, 5000)));
    }
}

/// RFC 5508 REQ-1: echo queries are mapped by their identifier.
#[test]
fn ping_goes_out_and_comes_back() {
    let mut nat = nat();
    let (a, _) = ends(&one(&mut nat, &ping(A, X, 4000)));
    let (b, _) = ends(&one(&mut nat, &ping(B, X, 4000)));
    assert_ne!(a, b);
    for (public, inside) in [(a, A), (b, B)] {
        let answer = Icmpv4Type::EchoReply(IcmpEchoHeader { id: public.1, seq: 1 });
        assert_eq!(ends(&one(&mut nat, &icmp(X, PUBLIC, answer, b"ping"))).1, (inside, 4000));
    }
    dropped(&mut nat, &ping(X, PUBLIC, 9), "unsolicited");
}

/// RFC 5508 REQ-3, REQ-4: errors about a translated packet, from outside, with the quote translated back.
#[test]
fn an_error_from_outside_finds_the_host() {
    let mut nat = nat();
    for sent in [udp((A, 5000), (X, 53)), tcp((A, 5000), (X, 53)), ping(A, X, 77)] {
        let left = one(&mut nat, &sent);
        let router = Ipv4Addr::new(192, 0, 2, 9);
        let error = one(&mut nat, &unreachable(router, &left));
        let (from, to) = addresses(&error);
        assert_eq!((from, to), (router, A));
        let quote = [&error[..14], &error[14 + 28..]].concat();
        assert_eq!(ends(&quote).0, ends(&sent).0, "the host recognises its own packet");
    }
    let stray = unreachable(X, &udp((PUBLIC, 999), (X, 53)));
    dropped(&mut nat, &stray, "unsolicited");
}

/// RFC 5508 REQ-5: and from inside, about a packet that came in.
#[test]
fn an_error_from_inside_reaches_the_sender() {
    let mut nat = nat();
    let (public, _) = ends(&one(&mut nat, &udp((A, 5000), (X, 53))));
    let sent = udp((Y, 99), public);
    let arrived = one(&mut nat, &sent);
    let error = one(&mut nat, &unreachable(A, &arrived));
    assert_eq!(addresses(&error), (PUBLIC, Y));
    let quote = [&error[..14], &error[14 + 28..]].concat();
    assert_eq!(ends(&quote), ends(&sent), "the sender recognises its own packet");
}

/// RFC 5508 REQ-7: errors about hairpinned packets.
#[test]
fn an_error_about_a_hairpinned_packet_comes_back_hairpinned() {
    let mut nat = nat();
    let (_, _) = ends(&one(&mut nat, &udp((A, 5000), (X, 53))));
    let (b, _) = ends(&one(&mut nat, &udp((B, 7001), (X, 53))));
    let sent = udp((A, 5000), b);
    let arrived = one(&mut nat, &sent);
    let error = one(&mut nat, &unreachable(B, &arrived));
    assert_eq!(addresses(&error), (PUBLIC, A));
    let quote = [&error[..14], &error[14 + 28..]].concat();
    assert_eq!(ends(&quote), ends(&sent));
}

#[test]
fn an_exhausted_pool_refuses_cleanly() {
    let mut nat = with_ports(2000, 2003);
    for port in 5000..5004 {
        one(&mut nat, &udp((A, port), (X, 53)));
    }
    dropped(&mut nat, &udp((A, 5004), (X, 53)), "lease_refused");
    one(&mut nat, &udp((A, 5000), (X, 53)));
    one(&mut nat, &tcp((A, 5004), (X, 53)));
}

/// RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2.
#[test]
fn a_mapping_stays_for_its_idle_time_and_then_goes() {
    type Make = fn(End, End) -> Vec<u8>;
    let cases: [(Make, u64); 2] = [(udp, 300), (tcp, 2 * 3600 + 240)];
    for (make, idle) in cases {
        let mut nat = nat();
        let (public, _) = ends(&one(&mut nat, &make((A, 5000), (X, 53))));
        nat.advance((idle - 10) * SECOND);
        one(&mut nat, &make((X, 53), public));
        nat.advance((2 * idle - 30) * SECOND);
        one(&mut nat, &make((X, 53), public));
        nat.advance((4 * idle) * SECOND);
        dropped(&mut nat, &make((X, 53), public), "unsolicited");
    }
}

#[test]
fn what_cannot_be_translated_is_dropped_for_a_reason() {
    let mut nat = nat();
    let good = udp((A, 5000), (X, 53));
    let mut arp = good.clone();
    arp[13] = 0x06;
    dropped(&mut nat, &arp, "not_ipv4");
    for (offset, more) in [(0, true), (185, false), (185, true)] {
        let fragment = with_header(&good, |header| {
            header.fragment_offset = offset.try_into().unwrap();
            header.more_fragments = more;
        });
        dropped(&mut nat, &fragment, "fragment");
    }
    let sctp = with_header(&good, |header| header.protocol = 132.into());
    dropped(&mut nat, &sctp, "not_translatable");
    let options = {
        let mut header = Ipv4Header::from_slice(&good[14..]).unwrap().0;
        header.options = [1, 1, 1, 0].into();
        header.total_len += 4;
        header.header_checksum = header.calc_header_checksum();
        [&good[..14], &header.to_bytes(), &good[34..]].concat()
    };
    dropped(&mut nat, &options, "not_translatable");
    let timestamp = icmp(A, X, Icmpv4Type::Unknown { type_u8: 13, code_u8: 0, bytes5to8: [0; 4] }, &[0; 12]);
    dropped(&mut nat, &timestamp, "not_translatable");
    dropped(&mut nat, &udp((A, 5000), (B, 53))[..30], "parse_error");
    let last_hop = with_header(&good, |header| header.time_to_live = 1);
    dropped(&mut nat, &last_hop, "ttl_expired");
}

#[test]
fn no_damaged_frame_panics() {
    let mut nat = nat();
    let error = unreachable(X, &one(&mut nat, &udp((A, 5000), (X, 53))));
    for frame in [udp((A, 5000), (X, 53)), tcp((A, 5000), (X, 53)), ping(A, X, 7), error] {
        for len in 0..frame.len() {
            nat.translate(&frame[..len]);
        }
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut damaged = frame.clone();
                damaged[at] ^= 1 << bit;
                nat.translate(&damaged);
            }
        }
    }
}

fn addresses(frame: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let header = Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    (header.source.into(), header.destination.into())
}

fn with_header(frame: &[u8], change: impl Fn(&mut Ipv4Header)) -> Vec<u8> {
    let mut header = Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    [&frame[..14], &header.to_bytes(), &frame[34..]].concat()
}
