//! Mistakes to be put into the emitted P4, to see that they are found.

use anyhow::{Context, bail};

/// Name, the text that is replaced once, and by what. `own_*` are mistakes in the cache, the others in any app, or in the NAT.
pub const BREAKAGES: &[(&str, &str, &str)] = &[
    // A comparison the other way round.
    ("operator", "bool last_hop = hdr.ipv4.ttl <= 1;", "bool last_hop = hdr.ipv4.ttl < 1;"),
    // A checksum that does not follow.
    ("checksum", "adjust.apply(hdr.tcp.checksum, sums.ipv4_addresses + sums.ports);", ""),
    // A sum without one of its words.
    ("sum", "sums.ipv4_rest = sums.ipv4_rest + (bit<32>)(hdr.ipv4.ttl ++ hdr.ipv4.protocol);", ""),
    // Late grants are installed.
    ("ticket", "meta.slot.ticket == hdr.rp.ticket && hdr.rp.generation != 0", "hdr.rp.generation != 0"),
    // A RECALL leaves the generation.
    ("recall", "(meta.step == rp_step_t.RETURN && meta.slot.returned && held)", "false"),
    // An ACK shortens a lease.
    ("lease", "&& granted_until - expiry < RP_SERIAL_HALF", ""),
    // A drop is counted for another reason.
    ("reason", "meta.reason = rp_drop_t.LEASE_REFUSED;", "meta.reason = rp_drop_t.STORE_BUSY;"),
    // A frame too many: RENEW with each packet.
    (
        "renew",
        "if (meta.slot.renew) {
            // The packet leaves",
        "if (meta.slot.renew || meta.slot.shown) {
            // The packet leaves",
    ),
    // A field of an own header that is not written.
    ("own_field", "hdr.request.version = meta.value.version;", ""),
    // A checksum that does not follow the second own header.
    ("own_sum", "sums.own_request + sums.own_content", "sums.own_request"),
    // An own header that is looked for behind another value.
    ("own_edge", "1:       parse_content;", "2:       parse_content;"),
];

/// The P4 with one mistake.
///
/// # Errors
/// If there is no mistake of this name, or the P4 has no place for it.
pub fn broken(p4: &str, name: &str) -> anyhow::Result<String> {
    let Some((_, from, to)) = BREAKAGES.iter().find(|(known, ..)| *known == name) else {
        let names: Vec<_> = BREAKAGES.iter().map(|(name, ..)| *name).collect();
        bail!("no mistake is called `{name}`; there are {}", names.join(", "));
    };
    let at = p4.find(from).with_context(|| format!("the P4 has no place for the mistake `{name}`"))?;
    Ok(format!("{}{to}{}", &p4[..at], &p4[at + from.len()..]))
}
