//! The firewall on two switches and a store, frame by frame.

use std::net::Ipv4Addr;

use apps::demo::place::{self, INSIDE, OUTSIDE, Place};
use apps::firewall::{App, FiveTuple, Phase, Tables, Track};
use etherparse::{IcmpEchoHeader, Icmpv4Type};
use redplane_sdk::protocol::Fixed;
use redplane_sdk::{App as _, app};

use super::frames::{End, icmp, ping, segment, udp, unreachable};

const A: End = (Ipv4Addr::new(10, 0, 0, 1), 40_000);
const WEB: End = (Ipv4Addr::new(10, 0, 0, 80), 443);
const X: End = (Ipv4Addr::new(198, 51, 100, 1), 80);
const Y: End = (Ipv4Addr::new(198, 51, 100, 2), 80);
const TCP: u8 = 6;
const SECOND: u64 = 1_000_000;

struct Firewall(Place<App>);

fn firewall() -> Firewall {
    let mut tables = Tables::default();
    tables.inside.insert(INSIDE, true).unwrap();
    tables.blocked.add(&[("dst", "203.0.113.0/24"), ("dst_port", "25"), ("protocol", "6")], true).unwrap();
    tables.published.add(&[("dst", "10.0.0.80"), ("dst_port", "443"), ("protocol", "6")], true).unwrap();
    let routes = place::routes(&[(Ipv4Addr::new(10, 0, 0, 0), 8)]);
    Firewall(Place::new(2, tables, routes, Box::new(|| app::creator::<App>(()))).unwrap())
}

impl Firewall {
    /// What leaves, at a switch, for one that comes from an end.
    fn at(&mut self, switch: usize, frame: &[u8]) -> usize {
        let from_inside = frame[26] == 10;
        let port = if from_inside { INSIDE } else { OUTSIDE };
        let now = self.0.now();
        let mut left = self.0.process(switch, port, frame);
        // Another switch may hold the lease: until it is over.
        left.extend(self.0.advance(now + 2 * SECOND));
        assert!(left.iter().all(|(out, _)| *out == OUTSIDE - port), "it leaves by the other side");
        left.len()
    }

    #[track_caller]
    fn passes(&mut self, frame: &[u8]) {
        assert_eq!(self.at(0, frame), 1);
    }

    #[track_caller]
    fn stays_out(&mut self, frame: &[u8], reason: &str) {
        let before = self.0.dropped(0).get(reason).copied().unwrap_or_default();
        assert_eq!(self.at(0, frame), 0);
        assert_eq!(self.0.dropped(0).get(reason).copied(), Some(before + 1), "{:?}", self.0.dropped(0));
    }

    /// What the store knows.
    fn phase(&self, inside: End, outside: End) -> Option<Phase> {
        let flow = FiveTuple {
            src: inside.0,
            src_port: inside.1,
            dst: outside.0,
            dst_port: outside.1,
            protocol: TCP,
        };
        let mut key = [0; FiveTuple::LEN];
        flow.encode(&mut key);
        let store = self.0.store();
        Some(Track::decode(&store.record(store.head(0)?, App::ID, &key)?.value).phase)
    }
}

#[test]
fn a_connection_is_followed_from_its_handshake_to_its_end() {
    let mut wall = firewall();
    for (from, to, flags, phase) in [
        (A, X, "S", Phase::InsideAsked),
        (A, X, "S", Phase::InsideAsked),
        (X, A, "SA", Phase::Open),
        (A, X, "A", Phase::Open),
        (X, A, "A", Phase::Open),
        (X, A, "FA", Phase::OutsideDone),
        (X, A, "FA", Phase::OutsideDone),
        (A, X, "A", Phase::OutsideDone),
        (A, X, "FA", Phase::Closed),
        (X, A, "A", Phase::Closed),
        (A, X, "S", Phase::InsideAsked),
        (X, A, "SA", Phase::Open),
        (A, X, "FA", Phase::InsideDone),
        (X, A, "FA", Phase::Closed),
    ] {
        wall.passes(&segment(from, to, flags));
        assert_eq!(wall.phase(A, X), Some(phase), "{from:?} {flags}");
    }
}

#[test]
fn what_was_not_asked_for_stays_out_and_makes_no_state() {
    let mut wall = firewall();
    for flags in ["S", "A", "SA", "FA", "R", "RA", ""] {
        wall.stays_out(&segment(X, A, flags), "unsolicited");
    }
    wall.stays_out(&udp(X, A), "unsolicited");
    wall.stays_out(&ping(X.0, A.0, 5), "unsolicited");
    wall.stays_out(&unreachable(X.0, &udp(A, X)), "unsolicited");
    // Nor does an inside end open anything in the middle of a connection.
    wall.stays_out(&segment(A, X, "A"), "unsolicited");
    assert_eq!(wall.0.records_created(), 0);
    // Once there is a flow, others between the same hosts stay out all the same.
    wall.passes(&segment(A, X, "S"));
    for stranger in [(X.0, 81), Y] {
        wall.stays_out(&segment(stranger, A, "SA"), "unsolicited");
    }
    wall.stays_out(&udp(X, A), "unsolicited");
    assert_eq!(wall.0.records_created(), 1);
}

#[test]
fn an_answer_must_be_one() {
    let mut wall = firewall();
    wall.passes(&segment(A, X, "S"));
    wall.stays_out(&segment(X, A, "S"), "unsolicited");
    for flags in ["A", "FA"] {
        wall.stays_out(&segment(X, A, flags), "out_of_state");
    }
    wall.stays_out(&segment(A, X, "A"), "out_of_state");
    wall.passes(&segment(X, A, "SA"));
    wall.passes(&segment(X, A, "A"));
}

#[test]
fn a_reset_ends_a_flow_unless_anybody_could_have_sent_it() {
    let mut wall = firewall();
    // The answer to a SYN.
    wall.passes(&segment(A, X, "S"));
    wall.passes(&segment(X, A, "RA"));
    wall.stays_out(&segment(X, A, "SA"), "out_of_state");
    // Of an open connection: the end inside judges by its sequence number.
    for flags in ["S", "A"] {
        wall.passes(&segment(A, Y, flags));
        wall.passes(&segment(Y, A, "SA"));
    }
    wall.passes(&segment(Y, A, "R"));
    wall.passes(&segment(Y, A, "A"));
    wall.passes(&segment(A, Y, "R"));
    wall.stays_out(&segment(Y, A, "A"), "out_of_state");
    wall.stays_out(&segment(A, Y, "A"), "out_of_state");
}

#[test]
fn a_closed_connection_is_opened_anew_from_inside_only() {
    let mut wall = firewall();
    for (from, to, flags) in [(A, X, "S"), (X, A, "SA"), (A, X, "FA"), (X, A, "FA")] {
        wall.passes(&segment(from, to, flags));
    }
    wall.stays_out(&segment(X, A, "S"), "unsolicited");
    wall.passes(&segment(A, X, "S"));
}

#[test]
fn udp_and_echo_have_flows_too() {
    let mut wall = firewall();
    wall.passes(&udp(A, X));
    wall.passes(&udp(X, A));
    wall.passes(&udp(X, A));
    wall.passes(&ping(A.0, X.0, 5));
    let reply = |id| icmp(X.0, A.0, Icmpv4Type::EchoReply(IcmpEchoHeader { id, seq: 1 }), b"ping");
    wall.passes(&reply(5));
    wall.stays_out(&reply(6), "unsolicited");
    wall.stays_out(&ping(X.0, A.0, 5), "unsolicited");
    let timestamp =
        icmp(A.0, X.0, Icmpv4Type::Unknown { type_u8: 13, code_u8: 0, bytes5to8: [0; 4] }, &[0; 12]);
    wall.stays_out(&timestamp, "not_followed");
}

#[test]
fn errors_pass_that_are_about_a_flow() {
    let mut wall = firewall();
    wall.passes(&udp(A, X));
    wall.passes(&unreachable(Y.0, &udp(A, X)));
    wall.stays_out(&unreachable(Y.0, &udp(A, Y)), "unsolicited");
    wall.passes(&udp(X, A));
    wall.passes(&unreachable(A.0, &udp(X, A)));
}

#[test]
fn rules_say_what_is_different() {
    let mut wall = firewall();
    let mail = (Ipv4Addr::new(203, 0, 113, 9), 25);
    wall.stays_out(&segment(A, mail, "S"), "unsolicited");
    wall.passes(&segment(A, (mail.0, 26), "S"));
    wall.passes(&segment(X, WEB, "S"));
    assert_eq!(wall.phase(WEB, X), Some(Phase::OutsideAsked));
    wall.stays_out(&segment(X, WEB, "A"), "out_of_state");
    wall.passes(&segment(WEB, X, "SA"));
    wall.passes(&segment(X, WEB, "A"));
    wall.stays_out(&segment(X, (WEB.0, 22), "S"), "unsolicited");
    // A rule that goes leaves what is open open.
    for switch in 0..2 {
        wall.0.switch_mut(switch).tables_mut().published.clear();
    }
    wall.passes(&segment(X, WEB, "A"));
    wall.stays_out(&segment(Y, WEB, "S"), "unsolicited");
}

#[test]
fn both_directions_meet_and_the_state_survives_the_switch() {
    let mut wall = firewall();
    assert_eq!(wall.at(0, &segment(A, X, "S")), 1);
    assert_eq!(wall.at(1, &segment(X, A, "SA")), 1, "at another switch");
    wall.0.reboot(1).unwrap();
    assert_eq!(wall.at(0, &segment(X, A, "A")), 1);
    wall.0.reboot(0).unwrap();
    wall.0.replace_head().unwrap();
    assert_eq!(wall.at(0, &segment(A, X, "A")), 1);
    assert_eq!(wall.at(1, &segment(X, A, "FA")), 1);
    assert_eq!(wall.at(1, &segment(Y, A, "SA")), 0);
    assert_eq!(wall.phase(A, X), Some(Phase::OutsideDone));
}
