/* ---- checksums: RFC 1624, from the words that may be rewritten, as they were and as they are */

{%- if app.checksums.groups.is_empty() %}
{%- else %}

/// Takes the rewritten words out of the sums, before anything is rewritten: adding a word's complement
/// subtracts it.
control RpChecksumsBefore(in headers_t hdr, inout rp_sums_t sums) {
    apply {
{%- for block in app.checksums.before %}
        if (hdr.{{ block.header }}.isValid()) {
{%- for line in block.lines %}
            {{ line }}
{%- endfor %}
        }
{%- endfor %}
    }
}

/// Puts a change into a checksum: HC' = ~(~HC + ~m + m'). A change that sums to zero leaves the checksum as
/// it is.
control RpAdjust(inout bit<16> checksum, in bit<32> change) {
    apply {
        bit<32> sum = (change & 0xffff) + (change >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        if (sum != 0 && sum != 0xffff) {
            sum = sum + (bit<32>)~checksum;
            sum = (sum & 0xffff) + (sum >> 16);
            checksum = ~sum[15:0];
        }
    }
}
{% if app.checksums.has_udp %}
/// The same for UDP, where zero says that there is no checksum, and a sum of zero is sent as all ones (RFC
/// 768).
control RpAdjustUdp(inout bit<16> checksum, in bit<32> change) {
    RpAdjust() adjust;

    apply {
        if (checksum != 0) {
            adjust.apply(checksum, change);
            if (checksum == 0) {
                checksum = 0xffff;
            }
        }
    }
}
{% endif %}
/// Puts the rewritten words back into the sums, as they are now, and the sums into the checksums: the quoted
/// packet's first, as the checksum of the ICMP error covers them.
control RpChecksumsAfter(inout headers_t hdr, inout rp_sums_t sums) {
{%- for adjust in app.checksums.adjusts %}
    {{ adjust.declaration }}
{%- endfor %}

    apply {
{%- for block in app.checksums.after %}
        if (hdr.{{ block.header }}.isValid()) {
{%- for line in block.lines %}
            {{ line }}
{%- endfor %}
        }
{%- endfor %}
    }
}
{%- endif %}
