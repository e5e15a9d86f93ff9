//! Whatever bytes come in: parsing ends with a packet or an error, and a packet goes out as it came or, changed, with
//! the same length and payload. So too with the headers of an app.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redplane_sdk::App;
use redplane_sdk::packet::{OWN_MAX, Packet};

#[path = "../../redplane-codegen/tests/fixtures/cache/input.rs"]
mod cache_app;
mod mend;

use cache_app::cache;

fuzz_target!(|frame: &[u8]| {
    check(frame);
    let mut mended = frame.to_vec();
    mend::mend(&mut mended);
    check(&mended);
    check_own(frame);
    check_own(&mended);
});

fn check(frame: &[u8]) {
    let Ok(mut packet) = Packet::parse(frame) else { return };
    assert!(packet.header_len() <= frame.len());
    let mut out = Vec::new();
    packet.deparse(frame, &mut out);
    assert_eq!(out, frame, "nobody changed it");

    if let Some(ports) = &mut packet.ports {
        std::mem::swap(&mut ports.src, &mut ports.dst);
    }
    for ipv4 in [&mut packet.ipv4, &mut packet.inner_ipv4].into_iter().flatten() {
        std::mem::swap(&mut ipv4.src, &mut ipv4.dst);
        ipv4.ttl ^= 1;
    }
    out.clear();
    packet.deparse(frame, &mut out);
    let payload = packet.header_len()..;
    assert_eq!(out[payload.clone()], frame[payload], "the payload is untouched");
    let again = Packet::parse(&out).expect("the IPv4 checksum followed the change");
    assert_eq!(again.header_len(), packet.header_len());
}

/// Every own header's field may change, and nothing else does but the checksums.
fn check_own(frame: &[u8]) {
    let Ok(mut packet) = Packet::parse_with(frame, cache::App::own_headers) else { return };
    let (start, len) = (packet.header_len(), packet.own().len());
    assert!(len <= OWN_MAX && start + len <= frame.len());
    assert_eq!(packet.own(), &frame[start..start + len]);
    let mut out = Vec::new();
    packet.deparse(frame, &mut out);
    assert_eq!(out, frame, "nobody changed it");

    // Not the flags: they say what follows.
    let changed = |at: usize| at != 1;
    packet
        .own_mut()
        .iter_mut()
        .enumerate()
        .filter(|(at, _)| changed(*at))
        .for_each(|(_, byte)| *byte = !*byte);
    out.clear();
    packet.deparse(frame, &mut out);
    assert_eq!(out[start..start + len], *packet.own());
    assert_eq!(out[start + len..], frame[start + len..], "the payload is untouched");
    let again = Packet::parse_with(&out, cache::App::own_headers).expect("its shape is the same");
    assert_eq!(again.own(), packet.own());
}
