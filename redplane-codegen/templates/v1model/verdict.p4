/* ---- verdict */

/// Carries out what the handler said: finds the port, and rewrites what a router rewrites. Checksums come
/// after.
control RpRoute(inout headers_t hdr, inout metadata_t meta) {
    action rp_next_hop(bit<9> port, bit<48> src, bit<48> dst) {
        meta.out_port    = (bit<16>)port;
        hdr.ethernet.src = src;
        hdr.ethernet.dst = dst;
        hdr.ipv4.ttl     = hdr.ipv4.ttl - 1;
    }
    action rp_swap() {
        bit<48> dst      = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = dst;
    }
{%- if app.goes_via %}
    bit<32> next_hop;
    /// Where forward() and via() send a packet.
{%- else %}
    /// Where forward() sends a packet.
{%- endif %}
    table rp_routes {
        key            = { {% if app.goes_via %}next_hop{% else %}hdr.ipv4.dst{% endif %} : lpm @name("dst"); }    // 32 bits
        actions        = { rp_next_hop; @defaultonly NoAction; }
        const default_action = NoAction();
        size           = RP_ROUTES;
    }

    apply {
        if (meta.verdict == rp_verdict_t.FORWARD) {
            bool last_hop = hdr.ipv4.ttl <= 1;
{%- if app.goes_via %}
            next_hop = hdr.ipv4.dst;
            if (meta.goes_via) { next_hop = meta.via; }
{%- endif %}
            if (!hdr.ipv4.isValid()) {
                rp_drop(meta, rp_drop_t.NO_ROUTE);
            } else if (!rp_routes.apply().hit) {
                rp_drop(meta, rp_drop_t.NO_ROUTE);
            } else if (last_hop) {
                rp_drop(meta, rp_drop_t.TTL_EXPIRED);
            }
        } else if (meta.verdict == rp_verdict_t.REPLY) {
            rp_swap();
            meta.out_port = meta.pass.port;
        } else if (meta.verdict == rp_verdict_t.RECIRCULATE) {
            meta.out_port = RP_PORT_RECIRCULATE;
        }
        if (meta.out_port > RP_PORT_LAST && meta.verdict != rp_verdict_t.RECIRCULATE) {
            rp_drop(meta, rp_drop_t.NO_ROUTE);
        }
    }
}
