//! Headers and records as the interpreter has them, one number a field, and back.

use redplane_codegen::ir::Record;
use redplane_codegen::packet::{HEADERS, Header};
use redplane_sdk::packet::{Ethernet, Icmp, Ipv4, Ipv6, Packet, Ports, Tcp, Udp, Vlan};
use redplane_sdk::protocol::Fixed;
use redplane_sdk::protocol::fixed::VALUE_LEN_MAX;

use crate::graph::follows;

/// Each header of the app, the standard ones first: its fields, or `None` if the packet does not have it.
pub type Headers = Vec<Option<Vec<u128>>>;

/// The bits of `bytes` from `at`, as one number.
pub fn bits(bytes: &[u8], at: usize, width: usize) -> u128 {
    (at..at + width).fold(0, |value, bit| value << 1 | u128::from(bytes[bit / 8] >> (7 - bit % 8) & 1))
}

/// Sets the bits of `bytes` from `at` to the low bits of a number.
pub fn set_bits(bytes: &mut [u8], at: usize, width: usize, value: u128) {
    for (bit, shift) in (at..at + width).zip((0..width).rev()) {
        let mask = 1 << (7 - bit % 8);
        if value >> shift & 1 == 1 { bytes[bit / 8] |= mask } else { bytes[bit / 8] &= !mask }
    }
}

/// The bytes of a header.
pub fn len(header: &Header) -> usize {
    header.fields.iter().map(|(_, ty)| usize::from(ty.bits())).sum::<usize>() / 8
}

/// The fields of a header from its bytes.
pub fn unpack(header: &Header, bytes: &[u8]) -> Vec<u128> {
    let mut at = 0;
    let take = |(_, ty): &(&str, redplane_codegen::ir::Type)| {
        let width = usize::from(ty.bits());
        at += width;
        bits(bytes, at - width, width)
    };
    header.fields.iter().map(take).collect()
}

/// The bytes of a header from its fields.
pub fn pack(header: &Header, values: &[u128]) -> Vec<u8> {
    let widths = header.fields.iter().map(|(_, ty)| usize::from(ty.bits()));
    let mut bytes = vec![0; len(header)];
    let mut at = 0;
    for (width, value) in widths.zip(values) {
        set_bits(&mut bytes, at, width, *value);
        at += width;
    }
    bytes
}

/// A packet's headers.
pub fn headers(headers: &[Header], packet: &Packet) -> Headers {
    own(headers, packet, packet.own()).unwrap_or_else(|| standard(packet))
}

/// The standard headers of a packet, and those of the app among the bytes that follow them; `None` if they end within one.
pub fn own(headers: &[Header], packet: &Packet, bytes: &[u8]) -> Option<Headers> {
    let mut found = standard(packet);
    let mut rest = bytes;
    for (index, header) in headers.iter().enumerate().skip(HEADERS.len()) {
        let at = |header: usize| found[header].as_ref();
        let is_there =
            follows(headers, index, |header| at(header).is_some(), |header, field| Some(at(header)?[field]));
        let fields = if is_there {
            let (these, after) = rest.split_at_checked(len(header))?;
            rest = after;
            Some(unpack(header, these))
        } else {
            None
        };
        found.push(fields);
    }
    Some(found)
}

fn standard(packet: &Packet) -> Headers {
    let p = packet;
    let emitted = [
        Some(p.ethernet.emit().to_vec()),
        p.vlan.map(|header| header.emit().to_vec()),
        p.ipv4.map(|header| header.emit().to_vec()),
        p.ipv6.map(|header| header.emit().to_vec()),
        p.ports.map(|header| header.emit().to_vec()),
        p.tcp.map(|header| header.emit().to_vec()),
        p.udp.map(|header| header.emit().to_vec()),
        p.icmp.map(|header| header.emit().to_vec()),
        p.inner_ipv4.map(|header| header.emit().to_vec()),
        p.inner_ports.map(|header| header.emit().to_vec()),
        p.inner_udp.map(|header| header.emit().to_vec()),
        p.inner_icmp.map(|header| header.emit().to_vec()),
    ];
    emitted.into_iter().zip(HEADERS).map(|(bytes, header)| Some(unpack(header, &bytes?))).collect()
}

/// Gives a packet the headers' values. What it does not have it does not get.
pub fn set_headers(headers: &[Header], packet: &mut Packet, values: &Headers) {
    macro_rules! set {
        ($($index:literal $field:ident $ty:ident)*) => {$(
            if let (Some(header), Some(values)) = (&mut packet.$field, &values[$index])
                && let Ok(bytes) = pack(&HEADERS[$index], values).as_slice().try_into()
            {
                *header = $ty::parse(bytes);
            }
        )*};
    }
    if let Some(values) = &values[0]
        && let Ok(bytes) = pack(&HEADERS[0], values).as_slice().try_into()
    {
        packet.ethernet = Ethernet::parse(bytes);
    }
    set!(1 vlan Vlan 2 ipv4 Ipv4 3 ipv6 Ipv6 4 ports Ports 5 tcp Tcp 6 udp Udp 7 icmp Icmp);
    set!(8 inner_ipv4 Ipv4 9 inner_ports Ports 10 inner_udp Udp 11 inner_icmp Icmp);
    let own = headers.iter().zip(values).skip(HEADERS.len());
    let bytes: Vec<u8> =
        own.filter_map(|(header, values)| Some(pack(header, values.as_ref()?))).flatten().collect();
    for (byte, value) in packet.own_mut().iter_mut().zip(bytes) {
        *byte = value;
    }
}

/// A record's fields, out of its wire form.
pub fn fields(record: &Record, value: &impl Fixed) -> Vec<u128> {
    let mut bytes = [0; VALUE_LEN_MAX];
    let len = record.fields.iter().map(|field| usize::from(field.ty.wire_bytes())).sum();
    value.encode(&mut bytes[..len]);
    let mut at = 0;
    let take = |field: &redplane_codegen::ir::Field| {
        let width = usize::from(field.ty.wire_bytes()) * 8;
        at += width;
        bits(&bytes, at - width, width)
    };
    record.fields.iter().map(take).collect()
}

/// A record's wire form, from its fields.
pub fn wire(record: &Record, values: &[u128]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (field, value) in record.fields.iter().zip(values) {
        let width = usize::from(field.ty.wire_bytes());
        bytes.extend_from_slice(&value.to_be_bytes()[16 - width..]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let bytes: Vec<u8> = (1..=20).collect();
        assert_eq!(pack(&HEADERS[2], &unpack(&HEADERS[2], &bytes)), bytes);
        let mut set = [0xff; 3];
        set_bits(&mut set, 3, 13, 0x0123);
        assert_eq!((bits(&set, 3, 13), set), (0x0123, [0xe1, 0x23, 0xff]));
    }
}
