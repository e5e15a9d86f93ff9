"""The cache: headers of the app's own, in UDP, the second by a field of the first."""

import struct

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from bench import checksum
from bench.bench import HOST_MACS, LEFT, PORT_MACS, RIGHT, operator, route, scenario
from bench.check import expect_equal
from bench.message import CREATE, Kind

OPERATOR = operator(routes=[route("0.0.0.0/0", RIGHT)])
PORT = 4800
GET, PUT, ANSWER = range(3)


def message(kind, key, value, flags=1, port=PORT):
    """A request with its content, and something behind it."""
    payload = struct.pack("!BHIBI", kind, flags << 12, key, 0, value) + b"and more"
    link = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT])
    return Ether(bytes(link / IP(src="10.1.0.1", dst="10.9.0.1") / UDP(sport=99, dport=port) / Raw(payload)))


def read(frame):
    """Kind, version and value, with right checksums."""
    checksum.expect_right(frame)
    kind, version, _, _, value = struct.unpack("!BHIBI", frame[42:54])
    expect_equal("what follows the headers", b"and more", frame[54:62])
    return kind, version & 0xFFF, value


@scenario
def a_field_of_an_own_header_is_the_key_and_the_state(bench):
    """A PUT is written with its value; what it is told goes into the packet, with the checksum."""
    bench.left.send(message(PUT, 7, 70))
    lease = bench.store.expect(Kind.LEASE, key={"key": 7}, flags=CREATE)
    bench.store.grant(lease, {"value": 1, "version": 4095})
    request = bench.store.expect(Kind.WRITE, value={"value": 70, "version": 0})
    expect_equal("the PUT", (PUT, 0, 70), read(request.carried))
    bench.store.answer(request, Kind.ACK)
    expect_equal("the PUT", request.carried, bench.right.receive())
    bench.left.send(message(GET, 7, 0))
    expect_equal("the answer", (ANSWER, 0, 70), read(bench.left.receive()))


@scenario
def own_headers_are_where_the_graph_says(bench):
    """Not at another port, and no content without its flag."""
    for frame in (message(PUT, 8, 80, port=PORT + 1), message(PUT, 8, 80, flags=0)):
        bench.left.send(frame)
        out = bench.right.receive()
        expect_equal("payload", bytes(frame)[42:], out[42:])


@scenario
def a_frame_that_ends_within_one_is_dropped(bench):
    """As within any other header."""
    whole = bytes(message(PUT, 9, 90))
    with bench.expect_drops(parse_error=2):
        bench.left.send(whole[:46])
        bench.left.send(whole[:52])
