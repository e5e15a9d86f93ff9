//! The standard headers, in wire order. Each is a plain struct; `parse` and `emit` know nothing of its neighbours.

use std::net::{Ipv4Addr, Ipv6Addr};

use arbitrary_int::{u1, u2, u3, u4, u6, u12, u13, u20};

use super::MacAddr;

/// Name and width in bits of each field of a header, in wire order.
pub type Layout = &'static [(&'static str, usize)];

macro_rules! header {
    ($(#[$docs:meta])* $name:ident { $($(#[$field_docs:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            $($(#[$field_docs])* pub $field: $ty,)*
        }

        impl Default for $name {
            /// All zero.
            fn default() -> Self {
                $name::parse(&[0; Self::LEN])
            }
        }

        $crate::impl_header!($name { $($field: $ty),* });
    };
}

/// Implements what a header is for a struct of fields: `LEN`, `LAYOUT`, `parse`, `emit`.
#[macro_export]
macro_rules! impl_header {
    ($name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        impl $name {
            /// Bytes on the wire.
            pub const LEN: usize = (0 $(+ <$ty as $crate::Field>::WIDTH)*) / 8;
            /// Name and width in bits of each field, in wire order.
            pub const LAYOUT: $crate::packet::Layout = &[$((stringify!($field), <$ty as $crate::Field>::WIDTH)),*];

            /// Reads the header; any bytes are one.
            #[inline]
            pub fn parse(bytes: &[u8; Self::LEN]) -> Self {
                let mut at = 0;
                $(
                    let $field = <$ty as $crate::Field>::read_at(bytes, at);
                    at += <$ty as $crate::Field>::WIDTH;
                )*
                debug_assert_eq!(at, Self::LEN * 8, "a header is a whole number of bytes");
                $name { $($field),* }
            }

            /// Writes the header, its fields as they are.
            #[inline]
            pub fn emit(&self) -> [u8; Self::LEN] {
                let mut bytes = [0; Self::LEN];
                let mut at = 0;
                $(
                    $crate::Field::write_at(self.$field, &mut bytes, at);
                    at += <$ty as $crate::Field>::WIDTH;
                )*
                debug_assert_eq!(at, Self::LEN * 8, "a header is a whole number of bytes");
                bytes
            }
        }
    };
}

header! {
    /// Ethernet (IEEE 802.3).
    Ethernet {
        /// Receiver on this link.
        dst: MacAddr,
        /// Sender on this link.
        src: MacAddr,
        /// What follows (IEEE 802 numbers).
        ether_type: u16,
    }
}

header! {
    /// VLAN tag (IEEE 802.1Q), after its EtherType 0x8100.
    Vlan {
        /// Priority code point.
        pcp: u3,
        /// Drop eligible indicator.
        dei: u1,
        /// VLAN identifier.
        vid: u12,
        /// What follows.
        ether_type: u16,
    }
}

header! {
    /// IPv4 without options (RFC 791, RFC 2474, RFC 3168).
    Ipv4 {
        /// 4.
        version: u4,
        /// Length of the header with its options, in 32-bit words.
        ihl: u4,
        /// Differentiated services code point.
        dscp: u6,
        /// Explicit congestion notification.
        ecn: u2,
        /// Bytes of header and payload.
        total_len: u16,
        /// Which fragments belong together.
        identification: u16,
        /// Zero.
        reserved_flag: bool,
        /// Drop it rather than fragment it.
        dont_fragment: bool,
        /// This is not the last fragment.
        more_fragments: bool,
        /// Where this fragment belongs, in 8-byte units.
        fragment_offset: u13,
        /// Hops left.
        ttl: u8,
        /// What follows (IANA protocol numbers).
        protocol: u8,
        /// Over the header; kept right by the deparser.
        checksum: u16,
        /// Sender.
        src: Ipv4Addr,
        /// Receiver.
        dst: Ipv4Addr,
    }
}

header! {
    /// IPv6 (RFC 8200).
    Ipv6 {
        /// 6.
        version: u4,
        /// Differentiated services and congestion notification.
        traffic_class: u8,
        /// Which packets belong together.
        flow_label: u20,
        /// Bytes after this header.
        payload_len: u16,
        /// What follows (IANA protocol numbers).
        next_header: u8,
        /// Hops left.
        hop_limit: u8,
        /// Sender.
        src: Ipv6Addr,
        /// Receiver.
        dst: Ipv6Addr,
    }
}

header! {
    /// The first four bytes of TCP and of UDP (RFC 9293, RFC 768).
    Ports {
        /// Sender's port.
        src: u16,
        /// Receiver's port.
        dst: u16,
    }
}

header! {
    /// TCP after its ports, without options (RFC 9293).
    Tcp {
        /// Sequence number.
        sequence: u32,
        /// Acknowledgement number.
        acknowledgement: u32,
        /// Length of the header with its options, in 32-bit words.
        data_offset: u4,
        /// Zero.
        reserved: u4,
        /// Congestion window reduced.
        cwr: bool,
        /// ECN echo.
        ece: bool,
        /// The urgent pointer counts.
        urg: bool,
        /// The acknowledgement counts.
        ack: bool,
        /// Push.
        psh: bool,
        /// Reset.
        rst: bool,
        /// First of a connection.
        syn: bool,
        /// Last of a connection.
        fin: bool,
        /// Bytes that the sender will take.
        window: u16,
        /// Over pseudo-header, header and payload; kept right by the deparser.
        checksum: u16,
        /// Where urgent data ends.
        urgent_pointer: u16,
    }
}

header! {
    /// UDP after its ports (RFC 768).
    Udp {
        /// Bytes of header and payload.
        length: u16,
        /// Over pseudo-header, header and payload, or zero for none; kept right by the deparser.
        checksum: u16,
    }
}

header! {
    /// ICMP (RFC 792).
    Icmp {
        /// Type of the message.
        kind: u8,
        /// What more the type says.
        code: u8,
        /// Over the message; kept right by the deparser.
        checksum: u16,
        /// First half of the second word: an echo's identifier.
        identifier: u16,
        /// Second half of the second word: an echo's sequence number.
        sequence: u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_quartet() {
        let bytes = [
            0x46, 0xb9, 0x01, 0x02, 0x03, 0x04, 0xb2, 0x34, 0x40, 0x11, 0xaa, 0xbb, 10, 0, 0, 1, 192, 0, 2, 7,
        ];
        let header = Ipv4 {
            version: u4::new(4),
            ihl: u4::new(6),
            dscp: u6::new(0x2e),
            ecn: u2::new(1),
            total_len: 0x0102,
            identification: 0x0304,
            reserved_flag: true,
            dont_fragment: false,
            more_fragments: true,
            fragment_offset: u13::new(0x1234),
            ttl: 64,
            protocol: 17,
            checksum: 0xaabb,
            src: Ipv4Addr::new(10, 0, 0, 1),
            dst: Ipv4Addr::new(192, 0, 2, 7),
        };
        assert_eq!(Ipv4::parse(&bytes), header);
        assert_eq!(header.emit(), bytes);
    }
}
