//! How long a flow may be silent.

use std::time::Duration;

use crate::packet::{PROTOCOL_TCP, PROTOCOL_UDP};

/// How long a device in the middle keeps a flow of this IP protocol that says nothing: TCP two hours and four minutes
/// (RFC 5382 REQ-5), UDP five minutes (RFC 4787 REQ-5), others, ICMP among them, one minute (RFC 5508 REQ-2).
#[must_use]
pub fn idle_of(protocol: u8) -> Duration {
    Duration::from_secs(match protocol {
        PROTOCOL_TCP => 2 * 3600 + 4 * 60,
        PROTOCOL_UDP => 5 * 60,
        _ => 60,
    })
}
