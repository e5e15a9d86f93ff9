//! A hundred hosts ask something, and the switch dies that let their questions out. At the other switch the answers get in,
//! and a stranger does not.

use std::error::Error;
use std::net::Ipv4Addr;

use project::firewall::{App, Tables};
use redplane_lab::frame::{self, End};
use redplane_lab::{INSIDE, OUTSIDE, Place};

const HOSTS: u8 = 100;
const HOSTS_PREFIX: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 0, 0), 24);
const SERVER: End = (Ipv4Addr::new(198, 51, 100, 1), 53);
const STRANGER: End = (Ipv4Addr::new(198, 51, 100, 66), 53);

fn main() -> Result<(), Box<dyn Error>> {
    let mut place = place()?;
    let asked = (0..HOSTS).filter(|host| ask(&mut place, 0, *host)).count();
    place.reboot(0)?;
    println!("{asked} hosts asked through switch 1, and it died");
    let answered = (0..HOSTS).filter(|host| gets_in(&mut place, 1, SERVER, *host)).count();
    println!("{answered} of them got their answer through switch 2");
    let intrusions = (0..HOSTS).filter(|host| gets_in(&mut place, 1, STRANGER, *host)).count();
    println!("{intrusions} packets of a stranger got in");
    if answered == usize::from(HOSTS) && intrusions == 0 { Ok(()) } else { Err("the firewall failed".into()) }
}

/// Two switches, and a store.
fn place() -> Result<Place<App>, Box<dyn Error>> {
    let mut tables = Tables::default();
    tables.inside.insert(INSIDE, true)?;
    Ok(Place::of_two(tables, &[HOSTS_PREFIX], ())?)
}

/// Whether a host's question to the server leaves.
fn ask(place: &mut Place<App>, switch: usize, host: u8) -> bool {
    place.pass(switch, INSIDE, &frame::datagram(end_of(host), SERVER)).is_some()
}

/// Whether a datagram from outside gets to a host.
fn gets_in(place: &mut Place<App>, switch: usize, from: End, host: u8) -> bool {
    place.pass(switch, OUTSIDE, &frame::datagram(from, end_of(host))).is_some()
}

fn end_of(host: u8) -> End {
    (Ipv4Addr::new(10, 0, 0, host), 5000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gets_in_even_at_the_other_switch() {
        let mut place = place().unwrap();
        assert!(ask(&mut place, 0, 7));
        place.reboot(0).unwrap();
        assert!(gets_in(&mut place, 1, SERVER, 7));
    }

    #[test]
    fn a_stranger_stays_out() {
        let mut place = place().unwrap();
        assert!(ask(&mut place, 0, 7));
        assert!(!gets_in(&mut place, 0, STRANGER, 7));
        assert!(!gets_in(&mut place, 1, SERVER, 8));
    }

    #[test]
    fn the_p4_is_there() {
        assert!(include_str!("../p4-out/firewall/v1model/firewall.p4").contains("control Guard("));
    }
}
