"""The load balancer: tables whose keys and values are structs, and a route that is not the destination's."""

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from bench import checksum
from bench.bench import HOST_MACS, LEFT, PORT_MACS, RIGHT, operator, route, scenario
from bench.check import expect_equal
from bench.message import CREATE, Kind, Reason

# Backends are left, and neighbours of the switch. The services are those of apps/tables/load_balancer.toml.
BACKEND_MAC = "02:00:00:00:99:02"
OPERATOR = operator(
    routes=[
        route("10.0.0.0/8", LEFT),
        {**route("10.0.1.2/32", LEFT), "route.mac": BACKEND_MAC},
        route("0.0.0.0/0", RIGHT),
    ]
)
CLIENT = "198.51.100.7"
WEB, NAMES = "203.0.113.10", "203.0.113.11"


def from_client(payload, service=WEB, ttl=64):
    """A frame to a service."""
    link = Ether(src=HOST_MACS[RIGHT], dst=PORT_MACS[RIGHT])
    return Ether(bytes(link / IP(src=CLIENT, dst=service, ttl=ttl) / payload))


def tcp(source, destination, flags):
    """A segment."""
    return TCP(sport=source, dport=destination, flags=flags) / Raw(b"data")


def received(port):
    """The next frame by a port, with right checksums."""
    frame = port.receive()
    checksum.expect_right(frame)
    return Ether(frame)


@scenario
def a_connection_goes_to_its_backend_and_back(bench):
    """The destination is the backend's; what it answers comes from the service, without a state."""
    bench.right.send(from_client(tcp(1111, 80, "S")))
    key = {"src": CLIENT, "src_port": 1111, "dst": WEB, "dst_port": 80, "protocol": 6}
    lease = bench.store.expect(Kind.LEASE, key=key, flags=CREATE)
    bench.store.grant(lease, {"addr": "10.0.1.1", "port": 8080, "direct": 0})
    out = received(bench.left)
    expect_equal("to the backend", ("10.0.1.1", 8080, 63), (out[IP].dst, out[TCP].dport, out[IP].ttl))
    link = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT])
    bench.left.send(Ether(bytes(link / IP(src="10.0.1.1", dst=CLIENT) / tcp(8080, 1111, "SA"))))
    back = received(bench.right)
    expect_equal("from the service", (WEB, 80), (back[IP].src, back[TCP].sport))
    bench.right.send(from_client(tcp(1111, 80, "A")))
    expect_equal("to the same backend", "10.0.1.1", received(bench.left)[IP].dst)


@scenario
def direct_return_changes_the_link_only(bench):
    """By the route of the backend, with the service's address in it."""
    bench.right.send(from_client(UDP(sport=1112, dport=53) / Raw(b"name"), NAMES))
    lease = bench.store.expect(Kind.LEASE, flags=CREATE)
    bench.store.grant(lease, {"addr": "10.0.1.2", "port": 53, "direct": 1})
    out = received(bench.left)
    expect_equal("link", (PORT_MACS[LEFT], BACKEND_MAC), (out.src, out.dst))
    expect_equal("ends", (CLIENT, NAMES, 53, 63), (out[IP].src, out[IP].dst, out[UDP].dport, out[IP].ttl))


@scenario
def nothing_begins_in_the_middle(bench):
    """A connection that nobody has chosen a backend for."""
    with bench.expect_drops(no_connection=1):
        bench.right.send(from_client(tcp(1113, 80, "A")))
        lease = bench.store.expect(Kind.LEASE, flags=0)
        bench.store.answer(lease, Kind.NACK, reason=Reason.ABSENT)


@scenario
def what_is_no_service_is_routed(bench):
    """Another port of the service's address, and a TTL that is over."""
    bench.right.send(from_client(tcp(1114, 81, "S")))
    expect_equal("destination", WEB, received(bench.right)[IP].dst)
    with bench.expect_drops(ttl_expired=1):
        bench.right.send(from_client(tcp(1114, 81, "S"), ttl=1))
