/* ---- metadata */

/// What this packet is to the switch, in this pass.
enum bit<8> rp_role_t {
    NONE    = 0,        // dropped at the door
    TRAFFIC = 1,        // the app's
    MESSAGE = 2,        // from the store
    COPY    = 3,        // of a WRITE that waits for its ACK
    SWEEP   = 4         // from the CPU: goes from slot to slot
}

/// What a pass does to the slot.
enum bit<8> rp_step_t {
    NONE    = 0,
    LOOKUP  = 1,        // traffic: is the key held, and what is its value?
    INSTALL = 2,        // GRANT: take the slot, if the ticket is still the one that asked
    CONFIRM = 3,        // ACK: durable up to a sequence, lease extended
    FENCE   = 4,        // NACK STALE: another switch owns the key
    RETURN  = 5,        // RECALL: another switch asks for the key
    INSPECT = 6,        // copy of a WRITE: still unanswered?
    SWEEP   = 7         // is the lease over, and still the one that was?
}

/// What the handler said.
enum bit<8> rp_verdict_t {
    NONE        = 0,    // nothing yet: it came to its lease point
    FORWARD     = 1,
    TO          = 2,
    REPLY       = 3,
    RECIRCULATE = 4,
    DROP        = 5
}

/// What becomes of the packet at the end of ingress.
enum bit<8> rp_fate_t {
    DROP        = 0,
    PORT        = 1,    // leaves as it is
    STORE       = 2,    // leaves inside a message
    RESEND      = 3,    // a copy goes to the store once more
    CIRCLE      = 4,    // a copy, or a sweep, goes round once more
    RECIRCULATE = 5     // processed anew
}

/// What `@field_list` keeps on the way through a clone or a recirculation.
enum bit<8> rp_keep_t {
    PASS  = 1,
    RENEW = 2
}

/// What a packet remembers from pass to pass.
struct rp_pass_t {
    bit<16> port;               // by which it came in
    bit<48> since;              // when this pass began, in microseconds
    bit<8>  count;              // passes as traffic
    bit<1>  absent;             // the store has just said that it knows no such record
    bit<1>  circling;           // this is a copy of a WRITE
    bit<1>  sweeping;           // this is a sweep
}

/// What the operator tells the switch.
struct rp_config_t {
    bit<16> switch_id;
    bit<16> incarnation;
    bit<32> address;            // of this switch, towards the store
    bit<32> lease;              // ticks, margin for drift already taken off
    bit<32> resend;             // ticks until a WRITE is sent again
    bit<16> shards;             // of the store
    bit<16> store_mtu;          // bytes of an IPv4 packet on the links to the store
    bit<9>  circle_port;        // queue of the circling copies
    bit<9>  recirculate_port;   // queue of packets that are processed anew
}

/// The way to the shard of a key.
struct rp_store_t {
    bit<9>  port;
    bit<32> address;
    bit<48> mac;
    bit<48> own_mac;            // of the port
}

/// The message that egress wraps around the packet.
struct rp_message_t {
    rp_kind_t kind;
    bit<8>    flags;
    bit<32>   generation;
    bit<32>   sequence;
    bit<32>   ticket;
    bit<32>   sent_at;
    bit<16>   port;
    bit<16>   frame_bytes;      // of the packet that it carries; 0: none
}

/// The slot, as this pass saw it.
struct rp_slot_t {
    bit<32> index;
    bit<32> ticket;
    bit<32> generation;         // 0: empty
    bit<32> sequence;
    bit<32> acknowledged;
    bool    granted;            // the ticket matched: this pass installs
    bool    matches;            // the slot's key is the packet's
    bool    holds;              // key and generation are the message's
    bool    returned;           // what the RECALL asks for is not held, or not any more
    bool    live;               // the key is held and its lease is not over
    bool    over;               // a key is held and its lease is over
    bool    shown;              // the packet shows the state, and may leave
    bool    renew;              // and past half of the lease
}
{% for record in app.records() %}
/// {{ record.location }}: `{{ record.rust }}`
struct {{ record.structure }} {
{%- for field in record.plain %}
    {{ field }}
{%- endfor %}
}
{% endfor %}
{%- if !app.points.is_empty() %}
/// Where the handler needs its state. `lease` creates the record if it is absent, `find` does not.
enum bit<8> {{ app.name }}_point_t {
{%- for point in app.points %}
    {{ point }}
{%- endfor %}
}
{% endif %}
{%- if !app.locals.is_empty() %}
/// Locals of {{ app.handler.name }}() that are set before a lease point and read after it.
struct {{ app.name }}_locals_t {
{%- for local in app.locals %}
    {{ local }}
{%- endfor %}
}
{% endif %}
{%- if !app.checksums.groups.is_empty() %}
/// How the ones' complement sums of rewritten words changed, before folding (RFC 1624).
struct rp_sums_t {
{%- for group in app.checksums.groups %}
    bit<32> {{ group.name }};
{%- endfor %}
}
{% endif %}
struct metadata_t {
    @field_list(rp_keep_t.PASS)
    rp_pass_t    pass;
{%- if app.finds %}
    @field_list(rp_keep_t.PASS)
    {{ app.key.structure }} absent_key;    // of which the store has just said so
{%- endif %}
    @field_list(rp_keep_t.RENEW)
    rp_config_t  config;
    @field_list(rp_keep_t.RENEW)
    rp_store_t   store;
    @field_list(rp_keep_t.RENEW)
    rp_message_t message;
    @field_list(rp_keep_t.RENEW)
{%- for line in app.metadata %}
    {{ line }}
{%- endfor %}
}
