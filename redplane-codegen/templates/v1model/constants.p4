/* ---- the protocol */

/// Version of the wire format.
const bit<8>  RP_VERSION          = 1;
/// UDP port of the protocol, at both ends: "RP".
const bit<16> RP_UDP_PORT         = 21072;
/// Stands where a port would: process the carried packet anew.
const bit<16> RP_PORT_RECIRCULATE = 0xfffe;
/// EtherType of a sweep, between the CPU and the switch only (IEEE 802, local experimental 1).
const bit<16> RP_ETHERTYPE_SWEEP  = 0x88b5;
/// Flag of LEASE: make the record if it is absent.
const bit<8>  RP_FLAG_CREATE      = 1;

/// What a message is. 1 to 15 go to the store, 17 to 31 come from it.
enum bit<8> rp_kind_t {
    NONE     = 0,
    LEASE    = 1,
    WRITE    = 2,
    READ     = 3,
    RENEW    = 4,
    RELEASE  = 5,
    SNAPSHOT = 6,
    GRANT    = 17,
    ACK      = 18,
    NACK     = 19,
    RECALL   = 20
}

/// Why a NACK.
enum bit<8> rp_nack_t {
    NONE    = 0,
    ABSENT  = 1,        // the store knows no such record
    REFUSED = 2,        // it would not create one
    STALE   = 3,        // the generation is fenced: another switch owns the key
    BUSY    = 4         // the store's queue is full
}

{% for constant in app.constants %}
{{- constant }}
{% endfor %}
/// This app, in every message.
const bit<16> {{ app.upper }}_APP         = {{ app.id }};
const bit<16> {{ app.upper }}_FINGERPRINT = {{ app.fingerprint }};

{%- for known in app.enums %}
{% for line in known.docs %}
///{{ line }}
{%- endfor %}
/// {{ known.location }}: `{{ known.rust }}`
{%- for constant in known.constants %}
{{ constant }}
{%- endfor %}
{% endfor %}
/* ---- sizes */
{% for size in app.sizes %}
{{ size }}
{%- endfor %}
/// IPv4 routes of forward().
const bit<32> RP_ROUTES       = {{ app.routes_max }};
/// Shards of the store.
const bit<32> RP_SHARDS       = {{ app.shards_max }};
/// Pairs of store-facing port and own address.
const int     RP_ADDRESSES    = 16;
/// Ports that face the switch's CPU.
const int     RP_CPU_PORTS    = 4;
/// Passes of one packet through the pipeline, so that a handler's recirculate() cannot circle for ever.
const bit<8>  RP_PASSES_MAX   = 4;
/// The last port number of v1model; 511 is its way to say "drop".
const bit<16> RP_PORT_LAST    = 510;

/// Bytes of a message, by part.
const bit<16> RP_ETHERNET_BYTES = 14;
const bit<16> RP_VLAN_BYTES     = 4;
const bit<16> RP_IPV4_BYTES     = 20;
const bit<16> RP_UDP_BYTES      = 8;
const bit<16> RP_HEADER_BYTES   = 30;
const bit<16> RP_KEY_BYTES      = {{ app.key.bytes }};
const bit<16> RP_VALUE_BYTES    = {{ app.value.bytes }};
/// A message that carries no packet, by its UDP length and by its IPv4 length.
const bit<16> RP_MESSAGE_UDP_BYTES = RP_UDP_BYTES + RP_HEADER_BYTES + RP_KEY_BYTES + RP_VALUE_BYTES;
const bit<16> RP_MESSAGE_BYTES     = RP_IPV4_BYTES + RP_MESSAGE_UDP_BYTES;

/// The switch's clock counts ticks of 1.024 ms: v1model's microseconds, shifted. 32 bits of them wrap after
/// 50 days.
const bit<8>  RP_TICK_SHIFT = 10;
/// Half of the number circle: one number is later than another if it is less than this ahead (RFC 1982).
const bit<32> RP_SERIAL_HALF = 1 << 31;

/// Mirror sessions. A copy of a WRITE goes to the circling port; a RENEW to the port of its shard, one
/// session a shard.
const bit<32> RP_SESSION_CIRCLE = {{ app.session_circle }};
const bit<32> RP_SESSION_RENEW  = {{ app.session_renew }};

/// `instance_type` of BMv2 (targets/simple_switch/simple_switch.h, PktInstanceType).
const bit<32> RP_INSTANCE_NORMAL        = 0;
const bit<32> RP_INSTANCE_INGRESS_CLONE = 1;
const bit<32> RP_INSTANCE_EGRESS_CLONE  = 2;
const bit<32> RP_INSTANCE_RECIRCULATED  = 4;

/* ---- drop reasons */

/// Why a packet went no further: each has its counter, `rp_drops[reason]`.
enum bit<8> rp_drop_t {
{%- for reason in app.reasons %}
    {{ reason }}
{%- endfor %}
}
const bit<32> RP_DROPS = {{ app.reason_count }};
