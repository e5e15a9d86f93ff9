//! A host sends a thousand packets, and half-way the switch dies that counts them. No packet is counted twice or not at all.

use std::error::Error;
use std::net::Ipv4Addr;

use project::counter::{App, Host, Tables};
use redplane_lab::frame::{self, End};
use redplane_lab::{INSIDE, Place};

const HOST: End = (Ipv4Addr::new(10, 0, 0, 1), 5000);
const SERVER: End = (Ipv4Addr::new(198, 51, 100, 1), 53);
const PACKETS: u32 = 1000;

// ANCHOR: main
fn main() -> Result<(), Box<dyn Error>> {
    let mut place = place()?;
    send(&mut place, 0, PACKETS / 2)?;
    place.reboot(0)?;
    println!("switch 1 dies after {} packets; switch 2 goes on", PACKETS / 2);
    send(&mut place, 1, PACKETS / 2)?;
    println!("{} sent {PACKETS} packets, {} are counted", HOST.0, counted(&place));
    if counted(&place) == PACKETS { Ok(()) } else { Err("the count is wrong".into()) }
}

// ANCHOR: place
/// Two switches, and a store.
fn place() -> Result<Place<App>, Box<dyn Error>> {
    Ok(Place::of_two(Tables::default(), &[(HOST.0, 32)], ())?)
}
// ANCHOR_END: place

/// Sends packets of the host through a switch.
fn send(place: &mut Place<App>, switch: usize, packets: u32) -> Result<(), &'static str> {
    for _ in 0..packets {
        place.pass(switch, INSIDE, &frame::datagram(HOST, SERVER)).ok_or("a packet was lost")?;
    }
    Ok(())
}

/// The count of the host, as the store has it.
fn counted(place: &Place<App>) -> u32 {
    place.state(&Host { addr: HOST.0 }).map_or(0, |sent| sent.packets)
}
// ANCHOR_END: main

// ANCHOR: tests
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_counted_once() {
        let mut place = place().unwrap();
        for expected in 1..=10 {
            send(&mut place, 0, 1).unwrap();
            assert_eq!(counted(&place), expected);
        }
    }

    #[test]
    fn the_count_outlives_both_switches() {
        let mut place = place().unwrap();
        for turn in 0..10 {
            send(&mut place, turn % 2, 10).unwrap();
            place.reboot(turn % 2).unwrap();
        }
        assert_eq!(counted(&place), 100);
    }

    #[test]
    fn the_p4_is_there() {
        let p4 = include_str!("../p4-out/counter/v1model/counter.p4");
        assert!(p4.contains("control Count("));
    }
}
// ANCHOR_END: tests
