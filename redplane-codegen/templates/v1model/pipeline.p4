/* ---- egress stations */

/// Wraps a message around the packet: Ethernet, IPv4, UDP, header, key, value. With nothing to carry, the
/// packet behind it is cut off when it leaves.
control RpWrap(inout headers_t hdr, in metadata_t meta) {
    apply {
        hdr.rp_ethernet.setValid();
        hdr.rp_ethernet.dst         = meta.store.mac;
        hdr.rp_ethernet.src         = meta.store.own_mac;
        hdr.rp_ethernet.ether_type  = ETHERTYPE_IPV4;

        hdr.rp_ipv4.setValid();
        hdr.rp_ipv4.version         = 4;
        hdr.rp_ipv4.ihl             = 5;
        hdr.rp_ipv4.dscp            = 0;
        hdr.rp_ipv4.ecn             = 0;
        hdr.rp_ipv4.total_len       = RP_MESSAGE_BYTES + meta.message.frame_bytes;
        hdr.rp_ipv4.identification  = 0;
        hdr.rp_ipv4.reserved_flag   = 0;
        hdr.rp_ipv4.dont_fragment   = 1;
        hdr.rp_ipv4.more_fragments  = 0;
        hdr.rp_ipv4.fragment_offset = 0;
        hdr.rp_ipv4.ttl             = 64;
        hdr.rp_ipv4.protocol        = PROTOCOL_UDP;
        hdr.rp_ipv4.src             = meta.config.address;
        hdr.rp_ipv4.dst             = meta.store.address;

        hdr.rp_udp.setValid();
        hdr.rp_udp.src              = RP_UDP_PORT;
        hdr.rp_udp.dst              = RP_UDP_PORT;
        hdr.rp_udp.length           = RP_MESSAGE_UDP_BYTES + meta.message.frame_bytes;
        hdr.rp_udp.checksum         = 0;

        hdr.rp.setValid();
        hdr.rp.version              = RP_VERSION;
        hdr.rp.kind                 = meta.message.kind;
        hdr.rp.flags                = meta.message.flags;
        hdr.rp.reason               = rp_nack_t.NONE;
        hdr.rp.app                  = {{ app.upper }}_APP;
        hdr.rp.fingerprint          = {{ app.upper }}_FINGERPRINT;
        hdr.rp.switch_id            = meta.config.switch_id;
        hdr.rp.incarnation          = meta.config.incarnation;
        hdr.rp.generation           = meta.message.generation;
        hdr.rp.sequence             = meta.message.sequence;
        hdr.rp.ticket               = meta.message.ticket;
        hdr.rp.sent_at              = meta.message.sent_at;
        hdr.rp.port                 = meta.message.port;

        hdr.rp_key.setValid();
{%- for line in app.key.fill %}
        {{ line }}
{%- endfor %}

        hdr.rp_value.setValid();
{%- for line in app.value.clear %}
        {{ line }}
{%- endfor %}
        if (meta.message.kind == rp_kind_t.WRITE) {
{%- for line in app.value.fill %}
            {{ line }}
{%- endfor %}
        }
    }
}

/// Makes the clone of a WRITE into the copy that circles: it carries nothing, so nobody can release its
/// packet twice.
control RpCopy(inout headers_t hdr, inout metadata_t meta) {
    apply {
        hdr.rp_ipv4.total_len = RP_MESSAGE_BYTES;
        hdr.rp_udp.length     = RP_MESSAGE_UDP_BYTES;
        hdr.rp.port           = 0;
        meta.pass.circling    = 1;
    }
}

/* ---- ingress: the table of contents */

control {{ app.camel }}Ingress(inout headers_t hdr, inout metadata_t meta,
{{ app.ingress_indent }}inout standard_metadata_t standard_metadata) {
{%- for instance in app.ingress %}
    {{ instance }}
{%- endfor %}

    apply {
        rp_intake.apply(hdr, meta, standard_metadata);

        if (meta.role == rp_role_t.TRAFFIC) {
{%- if !app.checksums.groups.is_empty() %}
            rp_checksums_before.apply(hdr, meta.sums);
{%- endif %}
            {{ app.handler.instance }}.apply(hdr, meta);
        }

        // The order is that of the slot's registers, and each is touched once.
        if (meta.step != rp_step_t.NONE) {
            rp_locate.apply(hdr, meta);
            rp_ticket.apply(hdr, meta);
            rp_key.apply(meta);
            rp_generation.apply(hdr, meta);
            rp_lease.apply(hdr, meta);
            rp_value_load.apply(meta);
{%- for rest in app.rests %}
            if ({{ rest.condition }}) {
                {{ rest.instance }}.apply(hdr, meta);
            }
{%- endfor %}
            rp_value_store.apply(hdr, meta);
            rp_sequence.apply(hdr, meta);
            rp_acknowledged.apply(hdr, meta);
        }

        if (meta.role == rp_role_t.TRAFFIC) {
            rp_route.apply(hdr, meta);
{%- if !app.checksums.groups.is_empty() %}
            rp_checksums_after.apply(hdr, meta.sums);
{%- endif %}
            rp_settle.apply(meta);
        }

        // The slot's last register: only now it is known whether the packet leaves.
        if (meta.step != rp_step_t.NONE) {
            rp_renewal.apply(hdr, meta);
        }

        if (meta.role == rp_role_t.MESSAGE) {
            rp_message.apply(hdr, meta);
        } else if (meta.role == rp_role_t.COPY) {
            rp_retransmit.apply(hdr, meta);
        } else if (meta.role == rp_role_t.SWEEP) {
            rp_sweep.apply(hdr, meta);
        }

        if (meta.fate == rp_fate_t.STORE || meta.fate == rp_fate_t.RESEND || meta.slot.renew) {
            rp_store.apply(meta);
        }
        rp_dispatch.apply(meta, standard_metadata);
    }
}

/* ---- egress */

control {{ app.camel }}Egress(inout headers_t hdr, inout metadata_t meta,
{{ app.egress_indent }}inout standard_metadata_t standard_metadata) {
    RpWrap() rp_wrap;
    RpCopy() rp_copy;

    apply {
        if (meta.fate == rp_fate_t.STORE || standard_metadata.instance_type == RP_INSTANCE_INGRESS_CLONE) {
            rp_wrap.apply(hdr, meta);
        }
        if (standard_metadata.instance_type == RP_INSTANCE_EGRESS_CLONE) {
            rp_copy.apply(hdr, meta);
        }

        // Each WRITE that leaves, the first time or again, starts a copy. BMv2 forgets a truncation when it
        // recirculates (src/bm_sim/packet.cpp, clone_choose_context), so that the copy is cut each time it
        // leaves and not once.
        if ((meta.fate == rp_fate_t.STORE || meta.fate == rp_fate_t.RESEND) && hdr.rp.kind == rp_kind_t.WRITE) {
            clone_preserving_field_list(CloneType.E2E, RP_SESSION_CIRCLE, rp_keep_t.PASS);
        }
        if (hdr.rp.isValid() && hdr.rp_ipv4.total_len == RP_MESSAGE_BYTES) {
            truncate((bit<32>)(RP_ETHERNET_BYTES + RP_MESSAGE_BYTES));
        }

        if (meta.fate == rp_fate_t.RECIRCULATE || meta.fate == rp_fate_t.CIRCLE
            || standard_metadata.instance_type == RP_INSTANCE_EGRESS_CLONE) {
            meta.pass.since = standard_metadata.egress_global_timestamp;
            recirculate_preserving_field_list(rp_keep_t.PASS);
        }
    }
}

/* ---- whole checksums, and the deparser */

control {{ app.camel }}VerifyChecksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,
            {
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.dscp, hdr.ipv4.ecn, hdr.ipv4.total_len,
                hdr.ipv4.identification, hdr.ipv4.reserved_flag, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments,
                hdr.ipv4.fragment_offset, hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src, hdr.ipv4.dst
            },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control {{ app.camel }}ComputeChecksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.rp_ipv4.isValid(),
            {
                hdr.rp_ipv4.version, hdr.rp_ipv4.ihl, hdr.rp_ipv4.dscp, hdr.rp_ipv4.ecn, hdr.rp_ipv4.total_len,
                hdr.rp_ipv4.identification, hdr.rp_ipv4.reserved_flag, hdr.rp_ipv4.dont_fragment,
                hdr.rp_ipv4.more_fragments, hdr.rp_ipv4.fragment_offset, hdr.rp_ipv4.ttl, hdr.rp_ipv4.protocol,
                hdr.rp_ipv4.src, hdr.rp_ipv4.dst
            },
            hdr.rp_ipv4.checksum, HashAlgorithm.csum16);
    }
}

/// What is wrapped around comes first, then the frame, in wire order.
control {{ app.camel }}Deparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr);
    }
}

V1Switch(
    {{ app.camel }}Parser(),
    {{ app.camel }}VerifyChecksum(),
    {{ app.camel }}Ingress(),
    {{ app.camel }}Egress(),
    {{ app.camel }}ComputeChecksum(),
    {{ app.camel }}Deparser()
) main;
