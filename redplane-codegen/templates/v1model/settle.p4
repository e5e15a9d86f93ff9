/* ---- settle */

/// Decides whether traffic may leave. What shows a change of state waits for the store in a WRITE, what shows
/// a change that is not durable yet in a READ, what found no state in a LEASE. All else is released.
control RpSettle(inout metadata_t meta) {
    action rp_hold(rp_kind_t kind) {
        meta.message.kind = kind;
        meta.fate = rp_fate_t.STORE;
    }

    apply {
        bool    dropped = meta.verdict == rp_verdict_t.DROP;
        bit<32> ahead   = meta.slot.sequence - meta.slot.acknowledged;
        bool    durable = ahead == 0 || ahead >= RP_SERIAL_HALF;

        meta.message.port = meta.out_port;
        if (meta.wrote) {
            rp_hold(rp_kind_t.WRITE);
            if (dropped) {
                // The change counts, whatever became of the packet.
                meta.message.frame_bytes = 0;
                meta.message.port = 0;
            }
        } else if (dropped) {
            meta.fate = rp_fate_t.DROP;
        } else if (meta.verdict == rp_verdict_t.NONE) {
            // The lease point, and the state is not here: the packet is as it came in.
            rp_hold(rp_kind_t.LEASE);
            meta.message.port = meta.pass.port;
        } else if (meta.slot.live && !durable) {
            rp_hold(rp_kind_t.READ);
        } else {
            meta.slot.shown = meta.slot.live;
            if (meta.verdict != rp_verdict_t.RECIRCULATE) {
                meta.fate = rp_fate_t.PORT;
            } else if (meta.pass.count < RP_PASSES_MAX) {
                meta.fate = rp_fate_t.RECIRCULATE;
                meta.pass.absent = 0;
                meta.pass.port = RP_PORT_RECIRCULATE;
            } else {
                meta.reason = rp_drop_t.RECIRCULATION_LIMIT;
            }
        }

        if (meta.fate == rp_fate_t.STORE && meta.message.frame_bytes > meta.config.store_mtu - RP_MESSAGE_BYTES) {
            meta.reason = rp_drop_t.STORE_MTU;
            meta.message.frame_bytes = 0;
            meta.message.port = 0;
            if (!meta.wrote) {
                meta.fate = rp_fate_t.DROP;
            }
        }
    }
}

/// Fills in the message, and finds the store's port.
control RpStore(inout metadata_t meta) {
    action rp_to_store(bit<9> port, bit<32> address, bit<48> mac, bit<48> own_mac) {
        meta.store.port    = port;
        meta.store.address = address;
        meta.store.mac     = mac;
        meta.store.own_mac = own_mac;
    }
    /// Where the head of each shard's chain is reached.
    table rp_store {
        key            = { meta.shard : exact @name("shard"); }    // 16 bits
        actions        = { rp_to_store; @defaultonly NoAction; }
        const default_action = NoAction();
        size           = RP_SHARDS;
    }

    apply {
        if (!rp_store.apply().hit) {
            meta.reason = rp_drop_t.NOT_CONFIGURED;
            meta.fate = rp_fate_t.DROP;
            meta.slot.renew = false;
        }
        meta.message.sent_at = meta.now;
        if (meta.slot.renew) {
            meta.message.kind = rp_kind_t.RENEW;
            meta.message.port = 0;
            meta.message.frame_bytes = 0;
        }
        if (meta.message.kind == rp_kind_t.LEASE) {
            meta.message.ticket = meta.slot.ticket;
            if (meta.create) {
                meta.message.flags = RP_FLAG_CREATE;
            }
        } else if (meta.message.kind != rp_kind_t.RELEASE) {
            meta.message.generation = meta.slot.generation;
            meta.message.sequence   = meta.slot.sequence;
        }
    }
}

/// Sends the packet to where it was decided that it goes, and counts what is dropped.
control RpDispatch(in metadata_t meta, inout standard_metadata_t standard_metadata) {
    /// One counter for each reason of `rp_drop_t`.
    counter(RP_DROPS, CounterType.packets_and_bytes) rp_drops;

    apply {
        if (meta.reason != rp_drop_t.NONE) {
            rp_drops.count((bit<32>)(bit<8>)meta.reason);
        }
        if (meta.fate == rp_fate_t.PORT) {
            standard_metadata.egress_spec = (bit<9>)meta.out_port;
        } else if (meta.fate == rp_fate_t.STORE || meta.fate == rp_fate_t.RESEND) {
            standard_metadata.egress_spec = meta.store.port;
        } else if (meta.fate == rp_fate_t.CIRCLE) {
            standard_metadata.egress_spec = meta.config.circle_port;
        } else if (meta.fate == rp_fate_t.RECIRCULATE) {
            standard_metadata.egress_spec = meta.config.recirculate_port;
        } else {
            mark_to_drop(standard_metadata);
        }
        if (meta.slot.renew) {
            // The packet leaves by itself; its clone becomes the RENEW.
            clone_preserving_field_list(CloneType.I2E, RP_SESSION_RENEW + (bit<32>)meta.shard, rp_keep_t.RENEW);
        }
    }
}
