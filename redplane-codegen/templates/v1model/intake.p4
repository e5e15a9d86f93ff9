/* ---- intake */

/// Decides what a packet is: traffic, a message, or a copy of a WRITE. What is malformed ends here, with a
/// reason. It does not look at the slot, and changes no header.
control RpIntake(in headers_t hdr, inout metadata_t meta, in standard_metadata_t standard_metadata) {
    action rp_configure(bit<16> switch_id, bit<16> incarnation, bit<32> address, bit<32> lease, bit<32> resend,
                        bit<16> shards, bit<16> store_mtu, bit<9> circle_port, bit<9> recirculate_port) {
        meta.config.switch_id        = switch_id;
        meta.config.incarnation      = incarnation;
        meta.config.address          = address;
        meta.config.lease            = lease;
        meta.config.resend           = resend;
        meta.config.shards           = shards;
        meta.config.store_mtu        = store_mtu;
        meta.config.circle_port      = circle_port;
        meta.config.recirculate_port = recirculate_port;
    }
    /// One row, its default: the operator's configuration.
    table rp_config {
        actions        = { rp_configure; @defaultonly NoAction; }
        default_action = NoAction();
    }

    apply {
        bit<16> frame_bytes = (bit<16>)standard_metadata.packet_length;
        bit<16> ip_bytes    = frame_bytes - RP_ETHERNET_BYTES;
        if (hdr.vlan.isValid()) {
            ip_bytes = ip_bytes - RP_VLAN_BYTES;
        }
        bool cut       = standard_metadata.parser_error != error.NoError;
        bool malformed = hdr.ipv4.isValid()
            && (hdr.ipv4.version != 4 || hdr.ipv4.ihl < 5
                || hdr.ipv4.total_len < ((bit<16>)hdr.ipv4.ihl << 2) || hdr.ipv4.total_len > ip_bytes);

        // Of no kind, or a NACK for no reason, that this version has.
        bit<8>  kind    = (bit<8>)hdr.rp.kind;
        bit<8>  why     = (bit<8>)hdr.rp.reason;
        bool    unknown = kind == 0 || (kind > 6 && kind < 17) || kind > 20
            || (hdr.rp.kind == rp_kind_t.NACK && (why == 0 || why > 4));

        rp_config.apply();
        // BMv2 stamps a packet when it comes in, not when it comes round: egress has left its own time then.
        if (standard_metadata.instance_type != RP_INSTANCE_RECIRCULATED) {
            meta.pass.port  = (bit<16>)standard_metadata.ingress_port;
            meta.pass.since = standard_metadata.ingress_global_timestamp;
        }
        meta.now = (bit<32>)(meta.pass.since >> RP_TICK_SHIFT);

        if (meta.config.shards == 0) {
            meta.reason = rp_drop_t.NOT_CONFIGURED;
        } else if (cut && !meta.is_message) {
            meta.reason = rp_drop_t.PARSE_ERROR;
        } else if (malformed) {
            meta.reason = rp_drop_t.IPV4_MALFORMED;
        } else if (standard_metadata.checksum_error == 1) {
            meta.reason = rp_drop_t.IPV4_CHECKSUM;
        } else if (cut) {
            meta.reason = rp_drop_t.PROTOCOL_MALFORMED;
        } else if (hdr.rp_sweep.isValid()) {
            meta.role = rp_role_t.SWEEP;
            meta.step = rp_step_t.SWEEP;
        } else if (!meta.is_message) {
            meta.role = rp_role_t.TRAFFIC;
            meta.pass.count = meta.pass.count + 1;
            meta.message.frame_bytes = frame_bytes;
        } else if (meta.pass.circling == 1) {
            meta.role = rp_role_t.COPY;
            meta.step = rp_step_t.INSPECT;
        } else if (hdr.rp.version != RP_VERSION || unknown || hdr.ipv4.total_len != ip_bytes
                   || hdr.udp.length != ip_bytes - RP_IPV4_BYTES) {
            meta.reason = rp_drop_t.PROTOCOL_MALFORMED;
        } else if (hdr.rp.app != {{ app.upper }}_APP || hdr.rp.fingerprint != {{ app.upper }}_FINGERPRINT
                   || hdr.rp.switch_id != meta.config.switch_id
                   || (hdr.rp.incarnation != meta.config.incarnation && hdr.rp.kind != rp_kind_t.RECALL)) {
            meta.reason = rp_drop_t.PROTOCOL_STRANGER;
        } else {
            meta.role = rp_role_t.MESSAGE;
        }

        // Which step a message takes.
        if (meta.role == rp_role_t.MESSAGE) {
            if (hdr.rp.kind == rp_kind_t.GRANT) {
                meta.step = rp_step_t.INSTALL;
            } else if (hdr.rp.kind == rp_kind_t.ACK) {
                meta.step = rp_step_t.CONFIRM;
            } else if (hdr.rp.kind == rp_kind_t.RECALL) {
                meta.step = rp_step_t.RETURN;
            } else if (hdr.rp.kind == rp_kind_t.NACK && hdr.rp.reason == rp_nack_t.STALE) {
                meta.step = rp_step_t.FENCE;
            } else if (hdr.rp.kind != rp_kind_t.NACK
                       || (hdr.rp.reason != rp_nack_t.ABSENT && hdr.rp.reason != rp_nack_t.REFUSED
                           && hdr.rp.reason != rp_nack_t.BUSY)) {
                meta.role = rp_role_t.NONE;
                meta.reason = rp_drop_t.PROTOCOL_MALFORMED;
            }
        }

        if (hdr.rp_key.isValid()) {
{%- for field in app.key.fields %}
            meta.key.{{ field.name }} = hdr.rp_key.{{ field.name }};
{%- endfor %}
        }
    }
}
