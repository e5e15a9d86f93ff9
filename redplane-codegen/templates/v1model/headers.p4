/* ---- headers */
{% for header in app.headers %}
/// {{ header.source }}
header {{ header.name }} {
{%- for field in header.fields %}
    {{ field }}
{%- endfor %}
}
{% endfor %}
/// RFC 768, whole: around a message.
header rp_udp_h {
    bit<16> src;
    bit<16> dst;
    bit<16> length;             // bytes
    bit<16> checksum;           // zero: none
}

/// A message of the replication protocol (guide, "The protocol").
header rp_h {
    bit<8>    version;
    rp_kind_t kind;
    bit<8>    flags;
    rp_nack_t reason;
    bit<16>   app;
    bit<16>   fingerprint;
    bit<16>   switch_id;
    bit<16>   incarnation;      // changes at each boot: a rebooted switch is another owner
    bit<32>   generation;       // of the lease; fences writes
    bit<32>   sequence;         // of the write, within the generation
    bit<32>   ticket;           // LEASE: the slot's, as it stands; GRANT, RECALL: as it stood
    bit<32>   sent_at;          // ticks of the switch's clock; the store only echoes it
    bit<16>   port;             // LEASE: by which the packet came in; WRITE, READ: by which it leaves
}

/// Goes through the slots for the CPU. A slot takes two passes if its lease is over, as its generation comes before
/// its expiry: the first one finds it, the second one clears it.
header rp_sweep_h {
    bit<32> slot;
    bit<32> generation;         // to be cleared; 0: to be looked at
}
{% for record in app.records() %}
{%- for line in record.docs %}
///{{ line }}
{%- endfor %}
/// {{ record.location }}: `{{ record.rust }}` on the wire
header {{ record.header }} {
{%- for field in record.wire %}
    {{ field }}
{%- endfor %}
}
{% endfor %}
/// All headers, in wire order: first what is wrapped around a frame on its way to the store, then the frame.
struct headers_t {
{%- for instance in app.instances %}
    {{ instance }}
{%- endfor %}
}
