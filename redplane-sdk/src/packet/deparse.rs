//! From the headers back to a frame: what changed is patched into a copy, and the checksums follow it (RFC 1624).
//!
//! The frame as it came is the snapshot that the headers are compared with, so a packet that nobody changed costs a
//! copy and a few comparisons. A checksum is never computed afresh: the payload is not read.

use super::{Icmp, Ipv4, Ipv6, OWN_MAX, Packet, Udp, Vlan};
use crate::checksum::Delta;

/// Where each checksum lies in its header, in bytes.
mod checksum_at {
    pub(super) const IPV4: usize = 10;
    pub(super) const TCP: usize = 12;
    pub(super) const UDP: usize = 2;
    pub(super) const ICMP: usize = 2;
}

impl Packet {
    /// Appends to `out` the frame from which this packet was parsed, with the headers as they are now.
    ///
    /// Checksums that cover a changed word are updated: IPv4, TCP and UDP with their pseudo-header, ICMP, and IPv4, UDP and
    /// ICMP in the packet that an ICMP error quotes (of quoted TCP only the ports are sure to be there). A wrong
    /// checksum stays wrong by as much as it was.
    pub fn deparse(&self, frame: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(frame);
        let headers = self.header_len().min(frame.len());
        let own = self.deparse_own(&mut out[start + headers..]);
        let mut patch = Patch { headers: &mut out[start..start + headers], at: 0 };
        patch.plain(self.ethernet.emit());
        if let Some(vlan) = &self.vlan {
            patch.plain(Vlan::emit(vlan));
        }
        patch.at = self.network_at();
        if let Some(ipv4) = &self.ipv4 {
            let changed = patch.ipv4(ipv4);
            self.deparse_transport(&mut patch, changed.pseudo, own);
        } else if let Some(ipv6) = &self.ipv6 {
            let pseudo = patch.ipv6(ipv6);
            self.deparse_transport(&mut patch, pseudo, own);
        }
    }

    fn deparse_transport(&self, patch: &mut Patch<'_>, pseudo: Pseudo, own: Delta) {
        if let Some(ports) = &self.ports {
            let ports = patch.plain(ports.emit());
            if let Some(tcp) = &self.tcp {
                let covered = pseudo.covered.and(pseudo.length).and(ports);
                patch.summed(tcp.emit(), checksum_at::TCP, covered);
            } else if let Some(udp) = &self.udp {
                patch.udp(udp, pseudo.covered.and(ports).and(own));
            }
        } else if let Some(icmp) = &self.icmp {
            // The quote first: the outer checksum covers it.
            let at = patch.at;
            patch.at += Icmp::LEN;
            let quote = self.deparse_quote(patch);
            patch.at = at;
            patch.summed(icmp.emit(), checksum_at::ICMP, quote);
        }
    }

    /// The app's own headers, at the start of the payload.
    fn deparse_own(&self, payload: &mut [u8]) -> Delta {
        let len = self.own().len();
        if len == 0 || len > payload.len() {
            return Delta::default();
        }
        let mut old = [0; OWN_MAX];
        old[..len].copy_from_slice(&payload[..len]);
        payload[..len].copy_from_slice(self.own());
        Delta::between(&old, &self.own.bytes)
    }

    fn deparse_quote(&self, patch: &mut Patch<'_>) -> Delta {
        let Some(ipv4) = &self.inner_ipv4 else { return Delta::default() };
        let ipv4 = patch.ipv4(ipv4);
        if let Some(ports) = &self.inner_ports {
            let ports = patch.plain(ports.emit());
            let udp = match &self.inner_udp {
                Some(udp) => patch.udp(udp, ipv4.pseudo.covered.and(ports)),
                None => Delta::default(),
            };
            ipv4.total.and(ports).and(udp)
        } else if let Some(icmp) = &self.inner_icmp {
            ipv4.total.and(patch.summed(icmp.emit(), checksum_at::ICMP, Delta::default()))
        } else {
            ipv4.total
        }
    }
}

/// How an IPv4 header changed.
struct Ipv4Delta {
    /// All its words, the checksum too.
    total: Delta,
    /// What transport checksums cover of it.
    pseudo: Pseudo,
}

/// How a pseudo-header changed.
#[derive(Clone, Copy)]
struct Pseudo {
    /// Addresses and protocol.
    covered: Delta,
    /// The transport length, which UDP takes from its own header instead.
    length: Delta,
}

/// The headers of a frame that are being replaced, one after another.
struct Patch<'a> {
    headers: &'a mut [u8],
    at: usize,
}

impl Patch<'_> {
    /// Replaces the header here, unless there is no room for one: then it was not parsed from this frame.
    #[inline(always)]
    fn replace<const N: usize>(&mut self, with: impl FnOnce(&[u8; N]) -> [u8; N]) {
        if let Some(bytes) = self.headers.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            *bytes = with(bytes);
        }
        self.at += N;
    }

    /// Replaces a header that has no checksum.
    #[inline(always)]
    fn plain<const N: usize>(&mut self, new: [u8; N]) -> Delta {
        let mut delta = Delta::default();
        self.replace(|old| {
            delta = Delta::between(old, &new);
            new
        });
        delta
    }

    /// Replaces a header whose checksum covers it and `also`.
    #[inline(always)]
    fn summed<const N: usize>(&mut self, mut new: [u8; N], checksum_at: usize, also: Delta) -> Delta {
        let mut total = Delta::default();
        self.replace(|old| {
            if *old == new && also.is_none() {
                return new;
            }
            let checksum = word(&new, checksum_at);
            let words = Delta::between(&without(old, checksum_at), &without(&new, checksum_at));
            set_word(&mut new, checksum_at, words.and(also).update(checksum));
            total = Delta::between(old, &new);
            new
        });
        total
    }

    /// Replaces a UDP header after its ports: the pseudo-header repeats its length, and its checksum has two zeros.
    #[inline(always)]
    fn udp(&mut self, udp: &Udp, also: Delta) -> Delta {
        let mut new = udp.emit();
        let mut total = Delta::default();
        self.replace(|old| {
            let length = Delta::word(word(old, 0), udp.length);
            set_word(&mut new, checksum_at::UDP, length.and(length).and(also).update_udp(udp.checksum));
            total = Delta::between(old, &new);
            new
        });
        total
    }

    #[inline(always)]
    fn ipv4(&mut self, ipv4: &Ipv4) -> Ipv4Delta {
        let new = ipv4.emit();
        let mut pseudo = Pseudo { covered: Delta::default(), length: Delta::default() };
        let old = self.headers.get(self.at..).and_then(<[u8]>::first_chunk::<{ Ipv4::LEN }>);
        if let Some(old) = old.filter(|old| **old != new) {
            let addresses = Delta::between(addresses(old), addresses(&new));
            pseudo.covered = addresses.and(Delta::word(u16::from(old[9]), u16::from(new[9])));
            pseudo.length = Delta::word(transport_len(old), transport_len(&new));
        }
        Ipv4Delta { total: self.summed(new, checksum_at::IPV4, Delta::default()), pseudo }
    }

    fn ipv6(&mut self, ipv6: &Ipv6) -> Pseudo {
        let new = ipv6.emit();
        let mut pseudo = Pseudo { covered: Delta::default(), length: Delta::default() };
        self.replace(|old: &[u8; Ipv6::LEN]| {
            let (old_addresses, new_addresses) = (old.last_chunk::<32>(), new.last_chunk::<32>());
            let addresses = old_addresses.zip(new_addresses).map(|(old, new)| Delta::between(old, new));
            let next_header = Delta::word(u16::from(old[6]), u16::from(new[6]));
            pseudo.covered = addresses.unwrap_or_default().and(next_header);
            pseudo.length = Delta::word(word(old, 4), word(&new, 4));
            new
        });
        pseudo
    }
}

/// Source and destination of an IPv4 header.
#[inline(always)]
fn addresses(header: &[u8; Ipv4::LEN]) -> &[u8; 8] {
    header.last_chunk().expect("an ipv4 header ends with its addresses")
}

/// Bytes after an IPv4 header, as TCP's pseudo-header has them.
#[inline(always)]
fn transport_len(header: &[u8; Ipv4::LEN]) -> u16 {
    word(header, 2).wrapping_sub(u16::from(header[0] & 0x0f) * 4)
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
fn set_word(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// A header with its checksum zeroed.
#[inline(always)]
fn without<const N: usize>(header: &[u8; N], checksum_at: usize) -> [u8; N] {
    let mut header = *header;
    set_word(&mut header, checksum_at, 0);
    header
}
