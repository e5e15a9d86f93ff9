/* ---- parser */

/// A store-facing port, and the address by which the store reaches this switch there.
struct rp_address_t {
    bit<9>  port;
    bit<32> address;
}

/// Takes a packet apart. Every app has the same headers, so that what is malformed for one is malformed for all. A
/// packet is a message only if it came in by a store-facing port and is addressed to this switch; whatever else has the
/// same UDP port is traffic.
parser {{ app.camel }}Parser(packet_in packet, out headers_t hdr, inout metadata_t meta,
{{ app.parser_indent }}inout standard_metadata_t standard_metadata) {
    value_set<rp_address_t>(RP_ADDRESSES) rp_addresses;
    value_set<bit<9>>(RP_CPU_PORTS)       rp_cpu_ports;

    state start {
        transition select(meta.pass.circling, meta.pass.sweeping) {
            (1, 0):  parse_rp_copy;
            (0, 1):  parse_rp_sweep;
            default: parse_ethernet;
        }
    }
{% for state in app.states %}
    state {{ state.name }} {
{%- for line in state.lines %}
        {{ line }}
{%- endfor %}
    }
{% endfor %}
    // Only what comes in from outside can be a message: not a packet on a later pass, and not a fragment.
    state parse_rp_candidate {
        packet.extract(hdr.ports);
        packet.extract(hdr.udp);
        transition select(standard_metadata.instance_type, hdr.ipv4.more_fragments, hdr.ports.dst) {
            (RP_INSTANCE_NORMAL, 0, RP_UDP_PORT): parse_rp_address;
            default:                              {{ app.after_udp.0 }};
        }
    }

    state parse_rp_address {
        transition select(standard_metadata.ingress_port, hdr.ipv4.dst) {
            rp_addresses: parse_rp;
            default:      {{ app.after_udp.0 }};
        }
    }

{%- if let Some(state) = app.after_udp.1 %}

    state {{ state.name }} {
{%- for line in state.lines %}
        {{ line }}
{%- endfor %}
    }
{%- endif %}

    state parse_rp_sweep_candidate {
        transition select(standard_metadata.instance_type) {
            RP_INSTANCE_NORMAL: parse_rp_sweep_port;
            default:            accept;
        }
    }

    state parse_rp_sweep_port {
        transition select(standard_metadata.ingress_port) {
            rp_cpu_ports: parse_rp_sweep_first;
            default:      accept;
        }
    }

    state parse_rp_sweep_first {
        packet.extract(hdr.rp_sweep);
        transition accept;
    }

    state parse_rp_sweep {
        packet.extract(hdr.ethernet);
        packet.extract(hdr.rp_sweep);
        transition accept;
    }

    state parse_rp_copy {
        packet.extract(hdr.rp_ethernet);
        packet.extract(hdr.rp_ipv4);
        packet.extract(hdr.rp_udp);
        transition parse_rp;
    }

    // How long key and value are is known of this app's own only.
    state parse_rp {
        meta.is_message = true;
        packet.extract(hdr.rp);
        transition select(hdr.rp.app, hdr.rp.fingerprint) {
{%- for case in app.messages %}
            {{ case }}
{%- endfor %}
        }
    }

    // The carried frame stays payload.
    state parse_rp_record {
        packet.extract(hdr.rp_key);
        packet.extract(hdr.rp_value);
        transition accept;
    }
}
