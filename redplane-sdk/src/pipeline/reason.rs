//! Why the machinery drops a packet. The app's own reasons come on top.

use redplane_protocol::DropReason;

macro_rules! reasons {
    ($($(#[$docs:meta])* $variant:ident = $name:literal,)*) => {
        /// A drop reason of the machinery. The emitted P4 has the same, under the same names, in this order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$docs])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of its counter.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];

            /// Name of the counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// The frame ends within a header.
    ParseError = "parse_error",
    /// An IPv4 header that contradicts itself or the frame.
    Ipv4Malformed = "ipv4_malformed",
    /// A wrong IPv4 header checksum.
    Ipv4Checksum = "ipv4_checksum",
    /// No route, not IPv4, no such port, or a reply to a packet that came from nowhere.
    NoRoute = "no_route",
    /// No hop left.
    TtlExpired = "ttl_expired",
    /// Too large for the links to the store once it is carried in a message.
    StoreMtu = "store_mtu",
    /// A protocol message that is none: too short, or of an unknown version, kind or reason.
    ProtocolMalformed = "protocol_malformed",
    /// A protocol message for another app, schema, switch, or life of this switch.
    ProtocolStranger = "protocol_stranger",
    /// The store has granted the key anew: this switch's write is void.
    LeaseStale = "lease_stale",
    /// The app's creation refused the key.
    LeaseRefused = "lease_refused",
    /// A queue of the store was full.
    StoreBusy = "store_busy",
    /// More passes than [`super::PASSES_MAX`].
    RecirculationLimit = "recirculation_limit",
    /// A message about a slot that is not held.
    NoLease = "no_lease",
    /// The operator has not configured the switch. Never counted here: a [`super::Switch`] has its configuration from the
    /// start. It keeps the counters in step with the emitted P4.
    NotConfigured = "not_configured",
    /// A protocol message whose code is missing or wrong. Only a switch with
    /// [`super::SwitchConfig::authentication`] looks; the emitted P4 never does.
    ProtocolUnauthenticated = "protocol_unauthenticated",
}

impl From<DropReason> for Reason {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::Stranger => Reason::ProtocolStranger,
            DropReason::Malformed => Reason::ProtocolMalformed,
            DropReason::LeaseStale => Reason::LeaseStale,
            DropReason::LeaseRefused => Reason::LeaseRefused,
            DropReason::StoreBusy => Reason::StoreBusy,
            DropReason::NoLease => Reason::NoLease,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_names_its_reasons_alike() {
        for reason in DropReason::ALL {
            assert_eq!(Reason::from(reason).name(), reason.name());
        }
    }
}
