//! A hundred hosts speak through a NAT, and its switch dies. At the other switch each has the public end that it had.

use std::error::Error;
use std::net::Ipv4Addr;

use project::nat::{App, Pool, Tables};
use redplane_lab::frame::{self, End};
use redplane_lab::{INSIDE, Place};

const HOSTS: u8 = 100;
const HOSTS_PREFIX: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 0, 0), 24);
const SERVER: End = (Ipv4Addr::new(198, 51, 100, 1), 53);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

fn main() -> Result<(), Box<dyn Error>> {
    let mut place = place()?;
    let before: Vec<Option<End>> = (0..HOSTS).map(|host| speak(&mut place, 0, host)).collect();
    place.reboot(0)?;
    println!("{HOSTS} hosts spoke through switch 1, and it died");
    let same = before.iter().zip(0..HOSTS).filter(|(end, host)| {
        let now = speak(&mut place, 1, *host);
        now.is_some() && now == **end
    });
    let same = same.count();
    println!("{same} of them have the same public end at switch 2");
    if same == usize::from(HOSTS) { Ok(()) } else { Err("a host lost its public end".into()) }
}

// ANCHOR: place
/// Two switches and a store that gives away the ports of one public address.
fn place() -> Result<Place<App>, Box<dyn Error>> {
    let mut tables = Tables::default();
    tables.inside.insert(HOSTS_PREFIX.0, HOSTS_PREFIX.1, true)?;
    tables.public.insert(PUBLIC, 32, true)?;
    let pool = Pool { addresses: vec![PUBLIC], first_port: 1024, last_port: 65_535 };
    Ok(Place::of_two(tables, &[HOSTS_PREFIX], pool)?)
}

/// A host sends a datagram through a switch; gives the public end that it left with.
fn speak(place: &mut Place<App>, switch: usize, host: u8) -> Option<End> {
    let from = (Ipv4Addr::new(10, 0, 0, host), 5000);
    let (_, left) = place.pass(switch, INSIDE, &frame::datagram(from, SERVER))?;
    Some(frame::ends(&left).0)
}
// ANCHOR_END: place

// ANCHOR: tests
#[cfg(test)]
mod tests {
    use redplane_lab::OUTSIDE;

    use super::*;

    #[test]
    fn an_answer_comes_back_to_the_host_even_at_the_other_switch() {
        let mut place = place().unwrap();
        let public = speak(&mut place, 0, 7).unwrap();
        assert_eq!(public.0, PUBLIC);
        place.reboot(0).unwrap();
        let (port, answer) = place.pass(1, OUTSIDE, &frame::datagram(SERVER, public)).unwrap();
        assert_eq!((port, frame::ends(&answer).1), (INSIDE, (Ipv4Addr::new(10, 0, 0, 7), 5000)));
    }

    #[test]
    fn what_nobody_asked_for_stays_out() {
        let mut place = place().unwrap();
        assert_eq!(place.pass(0, OUTSIDE, &frame::datagram(SERVER, (PUBLIC, 6000))), None);
        assert_eq!(place.dropped(0)["unsolicited"], 1);
    }

    #[test]
    fn the_p4_is_there() {
        assert!(include_str!("../p4-out/nat/v1model/nat.p4").contains("control Translate("));
    }
}
// ANCHOR_END: tests
