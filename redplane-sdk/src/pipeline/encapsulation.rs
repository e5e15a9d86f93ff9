//! Protocol messages to the store: Ethernet, IPv4, UDP, header, key, value, carried frame, code.

use redplane_protocol::fixed::{KEY_LEN_MAX, VALUE_LEN_MAX, key_hash, shard_of};
use redplane_protocol::wire::{HEADER_LEN, UDP_PORT};
use redplane_protocol::{Fixed, Header};

use super::{Output, SwitchConfig};
use crate::checksum::checksum;
use crate::packet::{ETHERTYPE_IPV4, Ethernet, Ipv4, PROTOCOL_UDP, Packet, Ports, Udp};

/// Bytes of IPv4 and UDP around a message.
pub(super) const OVERHEAD: usize = Ipv4::LEN + Ports::LEN + Udp::LEN;

/// Hops that a message may take.
const TTL: u8 = 64;

/// A message without its packet.
pub(super) struct Parts<K, V> {
    pub(super) header: Header,
    pub(super) key: K,
    pub(super) value: V,
}

/// The packet in a message.
#[derive(Clone, Copy)]
pub(super) enum Carried<'a> {
    Nothing,
    /// As it came in.
    Input(&'a [u8]),
    /// As it would go out: the headers, and the frame that they were parsed from.
    Output(&'a Packet, &'a [u8]),
}

impl Carried<'_> {
    fn len(&self) -> usize {
        match self {
            Carried::Nothing => 0,
            Carried::Input(frame) | Carried::Output(_, frame) => frame.len(),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>) {
        match self {
            Carried::Nothing => {}
            Carried::Input(frame) => out.extend_from_slice(frame),
            Carried::Output(packet, frame) => packet.deparse(frame, out),
        }
    }
}

/// The message would not fit the links to the store.
pub(super) struct TooLarge;

/// Puts messages into frames for the stores of a configuration.
pub(super) struct Encapsulation<'a> {
    config: &'a SwitchConfig,
}

impl<'a> Encapsulation<'a> {
    pub(super) fn new(config: &'a SwitchConfig) -> Self {
        Encapsulation { config }
    }

    /// Whether a message with this packet is within the MTU of the links to the stores.
    pub(super) fn fits<K: Fixed, V: Fixed>(&self, _: &Parts<K, V>, carried: Carried<'_>) -> bool {
        self.total_len::<K, V>(carried) <= usize::from(self.config.store_mtu)
    }

    /// Appends the frame that takes a message to the shard of its key.
    pub(super) fn send<K: Fixed, V: Fixed>(
        &self,
        message: &Parts<K, V>,
        carried: Carried<'_>,
        out: &mut Output,
    ) -> Result<(), TooLarge> {
        let Parts { header, key, value } = message;
        let shard = shard_of(key_hash(key), self.config.stores.len() as u16);
        let store = self.config.stores.get(usize::from(shard)).ok_or(TooLarge)?;
        if !self.fits(message, carried) {
            return Err(TooLarge);
        }
        let total_len = self.total_len::<K, V>(carried) as u16;
        let ethernet = Ethernet { dst: store.mac, src: self.config.mac, ether_type: ETHERTYPE_IPV4 };
        let mut ipv4 = Ipv4 {
            dont_fragment: true,
            ttl: TTL,
            protocol: PROTOCOL_UDP,
            total_len,
            src: self.config.address,
            dst: store.address,
            ..Ipv4::parse(&FIRST_BYTE)
        };
        ipv4.checksum = checksum(&ipv4.emit());
        let bytes = out.start();
        bytes.extend_from_slice(&ethernet.emit());
        bytes.extend_from_slice(&ipv4.emit());
        bytes.extend_from_slice(&Ports { src: UDP_PORT, dst: UDP_PORT }.emit());
        bytes.extend_from_slice(&Udp { length: total_len - Ipv4::LEN as u16, checksum: 0 }.emit());
        let start = bytes.len();
        let mut buffer = [0; HEADER_LEN + KEY_LEN_MAX + VALUE_LEN_MAX];
        let message = &mut buffer[..HEADER_LEN + K::LEN + V::LEN];
        header.emit(message);
        key.encode(&mut message[HEADER_LEN..HEADER_LEN + K::LEN]);
        value.encode(&mut message[HEADER_LEN + K::LEN..]);
        bytes.extend_from_slice(message);
        carried.append(bytes);
        if let Some(keys) = &self.config.authentication {
            let code = keys.code(self.config.link(), &bytes[start..]);
            bytes.extend_from_slice(&code);
        }
        out.finish(store.port);
        Ok(())
    }

    /// Bytes of the IPv4 packet around a message.
    fn total_len<K: Fixed, V: Fixed>(&self, carried: Carried<'_>) -> usize {
        OVERHEAD + HEADER_LEN + K::LEN + V::LEN + carried.len() + self.config.code_len()
    }
}

/// An IPv4 header of version 4 without options, else zero.
const FIRST_BYTE: [u8; Ipv4::LEN] = {
    let mut bytes = [0; Ipv4::LEN];
    bytes[0] = 0x45;
    bytes
};
