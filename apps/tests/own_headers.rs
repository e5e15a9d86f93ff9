//! An app with headers of its own, on a switch and a store, frame by frame.

use std::net::Ipv4Addr;

use apps::demo::place::{self, INSIDE, OUTSIDE, Place};
use redplane_sdk::app;

use super::agreement::cache_app::cache::{App, Tables};
use super::checksums::wrong;
use super::frames::ethernet;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const PORT: u16 = 4800;
const GET: u8 = 0;
const PUT: u8 = 1;
const ANSWER: u8 = 2;

fn message(kind: u8, key: u32, value: u32) -> Vec<u8> {
    let request = [&[kind, 0x10, 0][..], &key.to_be_bytes(), &[0]].concat();
    let payload = [&request[..], &value.to_be_bytes(), b"and more"].concat();
    let mut frame = Vec::new();
    ethernet(CLIENT, SERVER).udp(99, PORT).write(&mut frame, &payload).unwrap();
    frame
}

/// Kind, version and value.
fn read(frame: &[u8]) -> (u8, u8, u32) {
    assert!(wrong(frame).is_empty(), "{:?}", wrong(frame));
    assert_eq!(&frame[54..], b"and more", "what follows the headers stays");
    (frame[42], frame[44], u32::from_be_bytes(frame[50..54].try_into().unwrap()))
}

fn cache() -> Place<App> {
    let routes = place::routes(&[(Ipv4Addr::new(10, 0, 0, 0), 8)]);
    Place::new(2, Tables::default(), routes, Box::new(|| app::creator::<App>(()))).unwrap()
}

#[test]
fn fields_of_own_headers_are_read_and_written_with_the_checksum() {
    let mut cache = cache();
    let (port, put) = cache.pass(0, INSIDE, &message(PUT, 7, 70)).unwrap();
    assert_eq!((port, read(&put)), (OUTSIDE, (PUT, 1, 70)));
    let (port, unknown) = cache.pass(0, INSIDE, &message(GET, 8, 0)).unwrap();
    assert_eq!((port, read(&unknown)), (OUTSIDE, (GET, 0, 0)), "the server may know");
    cache.reboot(0).unwrap();
    let (port, answer) = cache.pass(1, INSIDE, &message(GET, 7, 0)).unwrap();
    assert_eq!((port, read(&answer)), (INSIDE, (ANSWER, 1, 70)), "another switch answers");
}

#[test]
fn a_frame_that_ends_within_an_own_header_is_dropped() {
    let mut cache = cache();
    let whole = message(PUT, 7, 70);
    for len in 43..54 {
        assert_eq!(cache.process(0, INSIDE, &whole[..len]), [], "{len}");
    }
    assert_eq!(cache.dropped(0), [("parse_error".to_owned(), 11)].into());
    let mut other_port = whole[..43].to_vec();
    other_port[36..38].copy_from_slice(&4801u16.to_be_bytes());
    cache.process(0, INSIDE, &other_port);
    assert_eq!(cache.dropped(0)["parse_error"], 11, "it is payload there");
}

/// An app whose packet has a header of its own, and whose key is of the library.
#[redplane_sdk::app(id = 9)]
#[expect(unreachable_pub, reason = "an app's items are public, wherever it stands")]
mod marked {
    use redplane_sdk::prelude::*;

    /// How many of a conversation are marked.
    #[state(key = FiveTuple, slots = 16)]
    pub struct Marked {
        pub packets: u16,
    }

    #[header]
    pub struct Mark {
        pub value: u16,
    }

    #[packet]
    pub struct Message {
        #[after(udp, dst_port = 4800)]
        pub mark: Option<Mark>,
    }

    #[handler]
    pub fn number(pkt: &mut Message, cx: &mut Context) -> Handled {
        let mut marked = cx.marked.lease(five_tuple(pkt))?;
        marked.packets += 1;
        if let Some(mark) = &mut pkt.mark {
            mark.value = marked.packets;
        }
        set_destination(pkt, Ipv4Addr::new(198, 51, 100, 2), 4801);
        cx.to(0)
    }
}

#[test]
fn the_library_takes_the_packet_of_the_app() {
    let mut place: Place<marked::App> = Place::new(
        1,
        marked::Tables::default(),
        place::routes(&[]),
        Box::new(|| app::creator::<marked::App>(())),
    )
    .unwrap();
    for number in 1..3 {
        let (_, frame) = place.pass(0, INSIDE, &message(0, 0, 0)).unwrap();
        assert!(wrong(&frame).is_empty(), "{:?}", wrong(&frame));
        assert_eq!(
            (&frame[30..34], &frame[36..38], &frame[42..44]),
            (&[198, 51, 100, 2][..], &4801u16.to_be_bytes()[..], &[0, number][..])
        );
    }
}
