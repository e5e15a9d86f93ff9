"""The firewall: an enum as state, rules by value and mask, and one key for both directions."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from bench import checksum
from bench.bench import HOST_MACS, LEFT, PORT_MACS, RIGHT, operator, route, scenario
from bench.check import expect_equal
from bench.message import CREATE, Kind, Reason

# Inside is left. The rules are those of apps/tables/firewall.toml.
OPERATOR = operator(routes=[route("10.0.0.0/8", LEFT), route("0.0.0.0/0", RIGHT)])
SERVER = "198.51.100.7"
NEW, INSIDE_ASKED, OUTSIDE_ASKED, OPEN, INSIDE_DONE = range(5)


def outward(source, payload, destination=SERVER):
    """A frame of a host inside."""
    link = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT])
    return Ether(bytes(link / IP(src=source, dst=destination) / payload))


def inward(destination, payload, source=SERVER):
    """A frame from outside."""
    link = Ether(src=HOST_MACS[RIGHT], dst=PORT_MACS[RIGHT])
    return Ether(bytes(link / IP(src=source, dst=destination) / payload))


def tcp(source, destination, flags):
    """A segment."""
    return TCP(sport=source, dport=destination, flags=flags) / Raw(b"data")


def flow(inside, inside_port, outside_port, protocol=6, outside=SERVER):
    """A key."""
    return {
        "src": inside,
        "src_port": inside_port,
        "dst": outside,
        "dst_port": outside_port,
        "protocol": protocol,
    }


def released(bench, port, request):
    """Acknowledges a WRITE; its packet leaves by a port, with right checksums."""
    bench.store.answer(request, Kind.ACK)
    frame = port.receive()
    expect_equal("what an ACK releases", request.carried, frame)
    checksum.expect_right(frame)


def absent(bench, port, frame, key):
    """A packet whose flow is looked for, and not known."""
    port.send(frame)
    lease = bench.store.expect(Kind.LEASE, key=key, flags=0)
    bench.store.answer(lease, Kind.NACK, reason=Reason.ABSENT)


@scenario
def a_handshake_is_written_and_data_is_not(bench):
    """Two changes of state, both held until they are durable; then packets pass without the store."""
    key = flow("10.0.0.1", 1111, 80)
    bench.left.send(outward("10.0.0.1", tcp(1111, 80, "S")))
    lease = bench.store.expect(Kind.LEASE, key=key, flags=CREATE)
    bench.store.grant(lease, {"phase": NEW})
    released(bench, bench.right, bench.store.expect(Kind.WRITE, key=key, value={"phase": INSIDE_ASKED}))
    bench.right.send(inward("10.0.0.1", tcp(80, 1111, "SA")))
    released(bench, bench.left, bench.store.expect(Kind.WRITE, key=key, value={"phase": OPEN}))
    bench.left.send(outward("10.0.0.1", tcp(1111, 80, "A")))
    checksum.expect_right(bench.right.receive())
    bench.right.send(inward("10.0.0.1", tcp(80, 1111, "R")))
    checksum.expect_right(bench.left.receive())
    bench.left.send(outward("10.0.0.1", tcp(1111, 80, "FA")))
    released(bench, bench.right, bench.store.expect(Kind.WRITE, key=key, value={"phase": INSIDE_DONE}))


@scenario
def an_answer_must_be_one(bench):
    """Data from outside is none, nor is a SYN."""
    bench.left.send(outward("10.0.0.2", tcp(1111, 80, "S")))
    lease = bench.store.expect(Kind.LEASE)
    bench.store.grant(lease, {"phase": INSIDE_ASKED})
    bench.right.receive()
    with bench.expect_drops(out_of_state=1, unsolicited=1):
        bench.right.send(inward("10.0.0.2", tcp(80, 1111, "A")))
        bench.right.send(inward("10.0.0.2", tcp(80, 1111, "S")))


@scenario
def what_nobody_asked_for_stays_out(bench):
    """The store is asked whether there is such a flow, and makes none."""
    with bench.expect_drops(unsolicited=3, not_followed=1):
        absent(bench, bench.right, inward("10.0.0.3", tcp(80, 1111, "SA")), flow("10.0.0.3", 1111, 80))
        udp = UDP(sport=53, dport=1111) / Raw(b"data")
        absent(bench, bench.right, inward("10.0.0.3", udp), flow("10.0.0.3", 1111, 53, 17))
        quoted = IP(src="10.0.0.3", dst=SERVER) / UDP(sport=1111, dport=53) / Raw(b"data")
        error = ICMP(type=3, code=3) / Raw(bytes(quoted))
        absent(bench, bench.right, inward("10.0.0.3", error, "192.0.2.1"), flow("10.0.0.3", 1111, 53, 17))
        bench.right.send(inward("10.0.0.3", ICMP(type=13) / Raw(bytes(12))))


@scenario
def rules_go_by_value_and_mask(bench):
    """The first row that matches counts; a column without a pattern matches anything."""
    with bench.expect_drops(unsolicited=4):
        bench.left.send(outward("10.0.0.4", tcp(1111, 25, "S")))
        bench.right.send(inward("10.0.0.80", tcp(80, 444, "S")))
        bench.right.send(inward("10.0.0.81", tcp(80, 443, "S")))
        udp = UDP(sport=9, dport=0x6990) / Raw(b"data")
        absent(bench, bench.right, inward("10.0.1.9", udp), flow("10.0.1.9", 0x6990, 9, 17))
    for port, frame in (
        (bench.left, outward("10.0.0.25", tcp(1111, 25, "S"))),
        (bench.right, inward("10.0.0.80", tcp(80, 443, "S"))),
        (bench.right, inward("10.0.1.9", UDP(sport=9, dport=0x698F) / Raw(b"data"))),
    ):
        port.send(frame)
        bench.store.expect(Kind.LEASE, flags=CREATE)
