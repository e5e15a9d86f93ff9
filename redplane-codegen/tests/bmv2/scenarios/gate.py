"""The gate: verdicts that are not forward(), and several shards."""

import zlib

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from bench.bench import LEFT, LONG, PORT_MACS, RIGHT, operator, scenario, store_address
from bench.check import expect_equal
from bench.message import Kind, Reason

SHARDS = 4
OPERATOR = operator(shards=SHARDS)
ETHERTYPE_UNKNOWN = 0x1234


def guest(number):
    """A MAC address."""
    return f"02:00:00:00:01:{number:02x}"


def packet_of(number, payload=None, ether_type=ETHERTYPE_UNKNOWN):
    """A frame of a guest."""
    if payload is not None:
        return Ether(bytes(Ether(src=guest(number), dst=PORT_MACS[LEFT]) / payload))
    return Ether(src=guest(number), dst=PORT_MACS[LEFT], type=ether_type) / Raw(b"whatever" * 6)


def admit(bench, number, port, **changes):
    """Makes the switch hold a guest's pass, by a packet of the guest."""
    bench.left.send(packet_of(number))
    lease = bench.store.expect(Kind.LEASE, flags=0)
    bench.store.grant(lease, {"port": port}, **changes)
    return lease


@scenario
def a_key_has_its_shard(bench):
    """The high half of the key's CRC-32 says which store is asked."""
    asked = set()
    for number in range(8):
        bench.left.send(packet_of(number))
        lease = bench.store.expect(Kind.LEASE, key={"mac": guest(number)}, flags=0)
        shard = (zlib.crc32(bench.codec.bytes("key", lease.key)) >> 16) % SHARDS
        expect_equal(f"the store of {guest(number)}", store_address(shard), bench.store.asked)
        asked.add(shard)
    expect_equal("the shards that were asked", set(range(SHARDS)), asked)


@scenario
def reply_swaps_the_addresses(bench):
    """For a guest that nobody knows: out by the port that it came in by, back to the guest."""
    packet = packet_of(16)
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE)
    bench.store.answer(lease, Kind.NACK, reason=Reason.ABSENT)
    frame = bench.left.receive()
    out = Ether(frame)
    expect_equal("link", (PORT_MACS[LEFT], guest(16)), (out.src, out.dst))
    expect_equal("payload", bytes(packet)[14:], frame[14:])


@scenario
def absent_is_said_of_one_key_only(bench):
    """Word that there is no record of one guest says nothing of another: the switch asks again."""
    bench.left.send(packet_of(18))
    lease = bench.store.expect(Kind.LEASE)
    bench.store.answer(lease, Kind.NACK, reason=Reason.ABSENT, key={"mac": guest(19)})
    again = bench.store.expect(Kind.LEASE, key=lease.key, carried=bytes(packet_of(18)))
    bench.store.answer(again, Kind.NACK, reason=Reason.ABSENT)
    expect_equal("the reply's payload", bytes(packet_of(18))[14:], bench.left.receive()[14:])


@scenario
def to_leaves_a_packet_as_it_is(bench):
    """Out by the port that the state names, not a bit changed, whatever the packet is."""
    admit(bench, 17, RIGHT)
    expect_equal("the carried packet", bytes(packet_of(17)), bench.right.receive())
    for payload in (
        IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2) / Raw(b"six"),
        IP(src="10.1.0.1", dst="10.1.0.2", ttl=1) / UDP(sport=1, dport=2) / Raw(b"four"),
    ):
        packet = packet_of(17, payload)
        bench.left.send(packet)
        expect_equal(packet.summary(), bytes(packet), bench.right.receive())


@scenario
def the_ingress_port_survives_the_store(bench):
    """The handler sees by which port the packet came in, also after the store carried it."""
    with bench.expect_drops(same_port=1):
        admit(bench, 18, LEFT)
    with bench.expect_drops(same_port=1):
        bench.left.send(packet_of(18))


@scenario
def there_is_no_such_port(bench):
    """A port beyond what the target has is no route."""
    with bench.expect_drops(no_route=1):
        admit(bench, 19, 514)


@scenario
def a_renewal_goes_to_the_keys_shard(bench):
    """RENEW leaves by the mirror session of the shard, to that shard's store."""
    bench.left.send(packet_of(20))
    lease = bench.store.expect(Kind.LEASE)
    store = bench.store.asked
    early = (lease.sent_at - LONG // 2 - 1) % 2**32
    bench.store.grant(lease, {"port": RIGHT}, generation=6, sequence=2, sent_at=early)
    bench.right.receive()
    bench.store.expect(Kind.RENEW, key=lease.key, generation=6, sequence=2, carried=b"")
    expect_equal("the store of the RENEW", store, bench.store.asked)


@scenario
def headers_that_the_app_does_not_look_at_are_checked_too(bench):
    """The standard packet is parsed whole for every app: what is malformed is dropped, wherever that is."""
    whole = bytes(packet_of(21, IP(src="10.1.0.1", dst="10.1.0.2") / UDP(sport=1, dport=2)))
    tcp = bytes(packet_of(21, IP(src="10.1.0.1", dst="10.1.0.2", proto=6) / Raw(bytes(12))))
    with bench.expect_drops(parse_error=2, ipv4_checksum=1):
        bench.left.send(whole[:-2])
        bench.left.send(tcp)
        bench.left.send(whole[:24] + bytes([whole[24] ^ 1]) + whole[25:])
