//! What a run looks like.

use std::cell::RefCell;
use std::rc::Rc;

use pcap_file::pcapng::{Block, PcapNgReader};
use redplane_sdk::app::schema;
use redplane_simulation::capture::Capture;
use redplane_simulation::counter;
use redplane_simulation::describe::describe;
use redplane_simulation::event::Event;
use redplane_simulation::history::Micros;
use redplane_simulation::picture::Picture;
use redplane_simulation::run::{AppName, Setting, run_one};

/// Shows every event of a short seed of the counter.
fn watch(see: impl FnMut(Micros, &Event<'_>) + 'static) {
    watch_app(AppName::Counter, see);
}

fn watch_app(app: AppName, see: impl FnMut(Micros, &Event<'_>) + 'static) {
    let setting = Setting { app: Some(app), ..Setting::default() };
    assert_eq!(run_one(&setting, 1, Some(Box::new(see))).finding, None);
}

#[test]
fn every_frame_that_arrives_is_described() {
    let kinds = Rc::new(RefCell::new(std::collections::BTreeMap::<String, u32>::new()));
    let seen = kinds.clone();
    watch(move |_, event| {
        if let Event::Frame { from, to, loss: None, frame, .. } = *event {
            let description = describe(from, to, frame, &schema::<counter::App>());
            *seen.borrow_mut().entry(description.kind).or_default() += 1;
        }
    });
    for kind in ["data", "LEASE", "WRITE", "READ", "GRANT", "ACK", "update"] {
        assert!(kinds.borrow().contains_key(kind), "no {kind} among {:?}", kinds.borrow());
    }
}

#[test]
fn packets_of_every_app_are_described() {
    for (app, words) in [
        (AppName::Counter, "shows 1"),
        (AppName::Nat, "203.0.113.1:4000"),
        (AppName::Firewall, "SYN+ACK"),
        (AppName::LoadBalancer, "10.0.0.1:8080 SYN"),
    ] {
        let seen = Rc::new(RefCell::new(String::new()));
        let (said, schema) = (seen.clone(), app.schema());
        watch_app(app, move |_, event| {
            if let Event::Frame { from, to, loss: None, frame, .. } = *event {
                *said.borrow_mut() += &describe(from, to, frame, &schema).text;
            }
        });
        assert!(seen.borrow().contains(words), "no {words} in what {} says", app.name());
    }
}

#[test]
fn a_capture_has_every_frame_with_a_comment() {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let frames = Rc::new(RefCell::new(0));
    let capture =
        Capture::new(Shared(bytes.clone()), schema::<counter::App>()).expect("it is written to memory");
    let (capture, counted) = (RefCell::new(capture), frames.clone());
    watch(move |now, event| {
        *counted.borrow_mut() += u32::from(matches!(event, Event::Frame { .. }));
        capture.borrow_mut().write(now, event).expect("it is written to memory");
    });
    let bytes = bytes.borrow();
    let mut reader = PcapNgReader::new(&bytes[..]).expect("a pcapng file");
    let mut read = 0;
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a whole block") {
            assert_eq!(packet.options.len(), 1, "a comment");
            read += 1;
        }
    }
    assert_eq!(read, *frames.borrow());
}

struct Shared(Rc<RefCell<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_picture_is_well_formed_and_bounded() {
    let picture = Picture::new(schema::<counter::App>(), 0, 1_000_000, 3, 3);
    let picture = Rc::new(RefCell::new(picture));
    let seen = picture.clone();
    watch(move |now, event| seen.borrow_mut().add(now, event));
    let svg = picture.borrow().to_svg("a < b & c");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("a &lt; b &amp; c"));
    let arrows = svg.matches("<line x1").count() - 7;
    assert!((100..=redplane_simulation::picture::MARKS_MAX).contains(&arrows), "{arrows} arrows");
    let open = svg.matches("<text").count();
    assert_eq!(open, svg.matches("</text>").count());
}
