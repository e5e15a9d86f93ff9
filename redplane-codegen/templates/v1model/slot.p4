/* ---- the slot: one control a station */

/// Finds the slot of a key, and its shard: the low bits and the high half of one CRC-32 over the key as it is
/// on the wire, so that the one says nothing about the other.
control RpLocate(in headers_t hdr, inout metadata_t meta) {
    apply {
        bit<32> crc;
        hash(crc, HashAlgorithm.crc32, 32w0, { {{ app.key.hashed }} }, 64w1 << 32);
        if (meta.step == rp_step_t.SWEEP) {
            crc = hdr.rp_sweep.slot;
        }
        meta.slot.index = crc & ({{ app.upper }}_SLOTS - 1);
        // `identity` is here for its modulus: v1model has no other by a number that is not constant.
        hash(meta.shard, HashAlgorithm.identity, 16w0, { crc[31:16] }, meta.config.shards);
    }
}

/// Counts what was ever installed in the slot. A GRANT brings back the count that its LEASE saw, and installs
/// only if it is still that: late, doubled and crossing grants find another.
control RpTicket(in headers_t hdr, inout metadata_t meta) {
    register<bit<32>>({{ app.upper }}_SLOTS) rp_ticket;

    apply {
        @atomic {
            rp_ticket.read(meta.slot.ticket, meta.slot.index);
            if (meta.step == rp_step_t.INSTALL && meta.slot.ticket == hdr.rp.ticket && hdr.rp.generation != 0) {
                rp_ticket.write(meta.slot.index, meta.slot.ticket + 1);
                meta.slot.granted = true;
            }
        }
    }
}

/// Whose slot it is.
control RpKey(inout metadata_t meta) {
{%- for field in app.key.fields %}
    register<bit<{{ field.bits }}>>({{ app.upper }}_SLOTS) {{ app.key.prefix }}_{{ field.name }};
{%- endfor %}

    apply {
        {{ app.key.structure }} key;
        @atomic {
{%- for field in app.key.fields %}
            {{ app.key.prefix }}_{{ field.name }}.read(key.{{ field.name }}, meta.slot.index);
{%- endfor %}
            if (meta.slot.granted) {
{%- for field in app.key.fields %}
                {{ app.key.prefix }}_{{ field.name }}.write(meta.slot.index, meta.key.{{ field.name }});
{%- endfor %}
            }
        }
        meta.slot.matches = {{ app.key.equality }};
{%- if app.finds %}

        // What the store said of another key says nothing of this one.
        key = meta.absent_key;
        if (!({{ app.key.equality }})) {
            meta.pass.absent = 0;
        }
{%- endif %}
    }
}

/// The generation of the lease; zero is an empty slot. Whatever a message says about another generation is
/// about the past.
control RpGeneration(in headers_t hdr, inout metadata_t meta) {
    register<bit<32>>({{ app.upper }}_SLOTS) rp_generation;

    apply {
        @atomic {
            rp_generation.read(meta.slot.generation, meta.slot.index);
            bit<32> ahead = meta.slot.generation - hdr.rp.generation;
            bool    mine  = hdr.rp.incarnation == meta.config.incarnation;
            bool    held  = meta.slot.matches && meta.slot.generation != 0;
            meta.slot.holds = held && mine && ahead == 0;
            // A RECALL is about this generation, or about a grant that can never be installed: its ticket is
            // out of date, or it was meant for this switch before it booted. Not so if the slot went on to a
            // later generation of the key.
            meta.slot.returned = (meta.slot.holds || !mine || meta.slot.ticket != hdr.rp.ticket)
                && !(held && ahead != 0 && ahead < RP_SERIAL_HALF);
            if (meta.slot.granted) {
                rp_generation.write(meta.slot.index, hdr.rp.generation);
            } else if ((meta.step == rp_step_t.FENCE && meta.slot.holds)
                       || (meta.step == rp_step_t.RETURN && meta.slot.returned && held)
                       || (meta.step == rp_step_t.SWEEP && meta.slot.generation == hdr.rp_sweep.generation)) {
                // Cleared, not merely expired: an ACK that is still on its way must find nothing to extend.
                rp_generation.write(meta.slot.index, 0);
            }
        }
    }
}

/// Until when this switch may act on the key. Counted from the moment at which the request left, never from the
/// answer's arrival.
control RpLease(in headers_t hdr, inout metadata_t meta) {
    register<bit<32>>({{ app.upper }}_SLOTS) rp_expiry;

    apply {
        bit<32> expiry;
        bit<32> granted_until = hdr.rp.sent_at + meta.config.lease;
        @atomic {
            rp_expiry.read(expiry, meta.slot.index);
            bit<32> left  = expiry - meta.now;
            bool    ended = left == 0 || left >= RP_SERIAL_HALF;
            bool    held  = meta.slot.generation != 0;
            meta.slot.live = meta.step == rp_step_t.LOOKUP && meta.slot.matches && held && !ended;
            meta.slot.over = held && ended;
            if (meta.slot.granted || (meta.step == rp_step_t.CONFIRM && meta.slot.holds
                                      && granted_until - expiry < RP_SERIAL_HALF)) {
                rp_expiry.write(meta.slot.index, granted_until);
            }
        }
    }
}

/// The state, which RpValueLoad reads and RpValueStore writes. The rest of the handler runs between the two:
/// on v1model ingress takes one packet at a time, so the three are one step.
{%- for field in app.value.fields %}
register<bit<{{ field.bits }}>>({{ app.upper }}_SLOTS) {{ app.value.prefix }}_{{ field.name }};
{%- endfor %}

control RpValueLoad(inout metadata_t meta) {
    apply {
{%- for field in app.value.fields %}
        {{ app.value.prefix }}_{{ field.name }}.read(meta.value.{{ field.name }}, meta.slot.index);
{%- endfor %}
    }
}

control RpValueStore(in headers_t hdr, inout metadata_t meta) {
    apply {
        if (meta.slot.granted) {
{%- for field in app.value.fields %}
            meta.value.{{ field.name }} = hdr.rp_value.{{ field.name }};
{%- endfor %}
        }
        if (meta.slot.granted || meta.wrote) {
{%- for field in app.value.fields %}
            {{ app.value.prefix }}_{{ field.name }}.write(meta.slot.index, meta.value.{{ field.name }});
{%- endfor %}
        }
    }
}

/// Counts the writes of this generation. A new owner goes on where the last one stopped.
control RpSequence(in headers_t hdr, inout metadata_t meta) {
    register<bit<32>>({{ app.upper }}_SLOTS) rp_sequence;

    apply {
        @atomic {
            rp_sequence.read(meta.slot.sequence, meta.slot.index);
            if (meta.slot.granted) {
                rp_sequence.write(meta.slot.index, hdr.rp.sequence);
            } else if (meta.wrote) {
                meta.slot.sequence = meta.slot.sequence + 1;
                rp_sequence.write(meta.slot.index, meta.slot.sequence);
            }
        }
    }
}

/// Up to which write the state is durable on the whole chain. What was granted is.
control RpAcknowledged(in headers_t hdr, inout metadata_t meta) {
    register<bit<32>>({{ app.upper }}_SLOTS) rp_acknowledged;

    apply {
        @atomic {
            rp_acknowledged.read(meta.slot.acknowledged, meta.slot.index);
            if (meta.slot.granted
                || (meta.step == rp_step_t.CONFIRM && meta.slot.holds
                    && hdr.rp.sequence - meta.slot.acknowledged < RP_SERIAL_HALF)) {
                rp_acknowledged.write(meta.slot.index, hdr.rp.sequence);
            }
        }
    }
}

/// When to ask for more of the lease: at half of it, and again each quarter, each time with a packet that leaves. A
/// packet that goes to the store renews by itself, with the ACK.
control RpRenewal(in headers_t hdr, inout metadata_t meta) {
    register<bit<32>>({{ app.upper }}_SLOTS) rp_renew_at;

    apply {
        bit<32> renew_at;
        bit<32> half_time = hdr.rp.sent_at + (meta.config.lease >> 1);
        @atomic {
            rp_renew_at.read(renew_at, meta.slot.index);
            meta.slot.renew = meta.slot.shown && meta.now - renew_at < RP_SERIAL_HALF;
            if (meta.slot.renew) {
                rp_renew_at.write(meta.slot.index, meta.now + (meta.config.lease >> 2));
            } else if (meta.slot.granted || (meta.step == rp_step_t.CONFIRM && meta.slot.holds
                                             && half_time - renew_at < RP_SERIAL_HALF)) {
                rp_renew_at.write(meta.slot.index, half_time);
            }
        }
    }
}

/* ---- what becomes of messages and of copies */

/// Ends the way of a message: takes it off the packet that it carries, and lets that go on.
control RpMessage(inout headers_t hdr, inout metadata_t meta) {
    action rp_reprocess(bit<16> port) {
        meta.pass.port  = port;
        meta.pass.count = 0;
        meta.fate       = rp_fate_t.RECIRCULATE;
    }
    action rp_unwrap() {
        hdr.ethernet.setInvalid();
        hdr.vlan.setInvalid();
        hdr.ipv4.setInvalid();
        hdr.ports.setInvalid();
        hdr.udp.setInvalid();
        hdr.rp.setInvalid();
        hdr.rp_key.setInvalid();
        hdr.rp_value.setInvalid();
    }

    apply {
        bool carries = hdr.ipv4.total_len > RP_MESSAGE_BYTES;

        if (hdr.rp.kind == rp_kind_t.RECALL) {
            if (meta.slot.returned) {
                meta.message.kind       = rp_kind_t.RELEASE;
                meta.message.generation = hdr.rp.generation;
                meta.message.sequence   = hdr.rp.sequence;
                if (meta.slot.holds) {
                    meta.message.sequence = meta.slot.sequence;
                }
                meta.config.incarnation = hdr.rp.incarnation;
                meta.fate               = rp_fate_t.STORE;
            } else {
                meta.reason = rp_drop_t.NO_LEASE;
            }
        } else if (hdr.rp.kind == rp_kind_t.NACK && hdr.rp.reason == rp_nack_t.REFUSED) {
            meta.reason = rp_drop_t.LEASE_REFUSED;
        } else if (hdr.rp.kind == rp_kind_t.NACK && hdr.rp.reason == rp_nack_t.STALE) {
            meta.reason = rp_drop_t.LEASE_STALE;
        } else if (hdr.rp.kind == rp_kind_t.NACK && hdr.rp.reason == rp_nack_t.BUSY) {
            meta.reason = rp_drop_t.STORE_BUSY;
        } else if (!carries) {
            // An answer to RENEW, or to a copy: the slot has taken what it says.
        } else if (hdr.rp.kind == rp_kind_t.ACK && hdr.rp.port <= RP_PORT_LAST) {
            meta.out_port = hdr.rp.port;
            meta.fate = rp_fate_t.PORT;
        } else if (hdr.rp.kind == rp_kind_t.ACK && hdr.rp.port != RP_PORT_RECIRCULATE) {
            meta.reason = rp_drop_t.NO_ROUTE;
        } else {
            if (hdr.rp.kind == rp_kind_t.NACK) {
                meta.pass.absent = 1;
{%- if app.finds %}
                meta.absent_key = meta.key;
{%- endif %}
            }
            rp_reprocess(hdr.rp.port);
        }
        rp_unwrap();
    }
}

/// Ends the round of a copy: it dies when its WRITE is acknowledged, or when the slot holds its key and
/// generation no more. Until then it goes round, and to the store each time the timeout has passed.
control RpRetransmit(inout headers_t hdr, inout metadata_t meta) {
    apply {
        bit<32> ahead = hdr.rp.sequence - meta.slot.acknowledged;

        if (!meta.slot.holds || ahead == 0 || ahead >= RP_SERIAL_HALF) {
            meta.fate = rp_fate_t.DROP;
        } else if (meta.now - hdr.rp.sent_at < meta.config.resend) {
            meta.fate = rp_fate_t.CIRCLE;
        } else {
            hdr.rp.sent_at = meta.now;
            meta.fate = rp_fate_t.RESEND;
        }
    }
}

/// Ends a sweep's pass: on to the same slot, to clear it, or to the next one. The clock wraps after 50 days; a lease
/// that was over would come back to life then, had no sweep come by.
control RpSweep(inout headers_t hdr, inout metadata_t meta) {
    apply {
        meta.pass.sweeping = 1;
        if (meta.slot.over && hdr.rp_sweep.generation == 0) {
            hdr.rp_sweep.generation = meta.slot.generation;
        } else {
            hdr.rp_sweep.generation = 0;
            hdr.rp_sweep.slot       = hdr.rp_sweep.slot + 1;
        }
        if (hdr.rp_sweep.slot < {{ app.upper }}_SLOTS) {
            meta.fate = rp_fate_t.CIRCLE;
        }
    }
}
