//! Whatever bytes come in: parsing ends with a packet or an error, and a packet goes out as it came or, changed, with
//! the same length and payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redplane_sdk::packet::Packet;

mod mend;

fuzz_target!(|frame: &[u8]| {
    check(frame);
    let mut mended = frame.to_vec();
    mend::mend(&mut mended);
    check(&mended);
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
