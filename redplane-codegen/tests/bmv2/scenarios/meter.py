"""The meter: writes, which hold their packets until they are durable, and what shows them meanwhile."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from bench import checksum
from bench.bench import HOST_MACS, LEFT, LONG, PORT_MACS, RIGHT, operator, route, scenario
from bench.check import expect, expect_equal, wait_for
from bench.message import CREATE, Kind, Reason

# The CPU sits where the left host does.
OPERATOR = operator(routes=[route("0.0.0.0/0", RIGHT)], cpu_ports=[LEFT], quota={"10.1.0.99": 100})
SERVER = "8.8.8.8"
ETHERTYPE_SWEEP = 0x88B5
# Ticks until a WRITE is sent again, where that is what a scenario is about.
RESEND = 100
# Seconds in which several retransmissions would have come.
SILENCE = 0.5


def packet_of(source, payload=None, ttl=64):
    """A packet that the meter counts, unless the payload says otherwise."""
    payload = UDP(sport=1111, dport=777) / Raw(b"hello") if payload is None else payload
    link = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT])
    return Ether(bytes(link / IP(src=source, dst=SERVER, ttl=ttl) / payload))


def echo_of(source):
    """A packet of the same flow that only reads."""
    return packet_of(source, ICMP(type=8, id=1, seq=1) / Raw(b"ping"))


def usage(packets, used, cut=0):
    """A value."""
    return {"packets": packets, "bytes": used, "cut": cut}


def size(packet):
    """What the meter counts of a packet."""
    return packet[IP].len


def hold(bench, source, value=None, generation=5, sequence=9):
    """Makes the switch hold a flow, without a write."""
    echo = echo_of(source)
    bench.left.send(echo)
    lease = bench.store.expect(Kind.LEASE)
    bench.store.grant(lease, value or usage(10, 1000), generation=generation, sequence=sequence)
    bench.right.receive()
    return lease


def write(bench, packet, sequence, **fields):
    """Sends a packet that is counted, and returns its WRITE."""
    bench.left.send(packet)
    return bench.store.expect(Kind.WRITE, sequence=sequence, **fields)


def acknowledge(bench, request):
    """Acknowledges a request; what it carries comes out."""
    bench.store.answer(request, Kind.ACK)
    frame = bench.right.receive()
    expect_equal("what an ACK releases", request.carried, frame)
    return Ether(frame)


def expect_silence(bench, why):
    """Nothing comes to the store for as long as several retransmissions would take."""
    frame = bench.store.port.poll(SILENCE)
    expect(why, frame is None, frame)


@scenario
def a_bool_in_a_key_is_a_byte(bench):
    """The key of a LEASE, of UDP and of TCP."""
    bench.left.send(packet_of("10.1.2.1"))
    bench.store.expect(Kind.LEASE, key={"src": "10.1.2.1", "dst": SERVER, "stream": 0}, flags=CREATE)
    bench.left.send(packet_of("10.1.2.1", TCP(sport=1, dport=2)))
    bench.store.expect(Kind.LEASE, key={"src": "10.1.2.1", "dst": SERVER, "stream": 1}, flags=CREATE)


@scenario
def a_write_holds_its_packet(bench):
    """What changed the state leaves when the change is durable; the WRITE carries the finished packet."""
    packet = packet_of("10.1.2.2")
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE)
    bench.store.grant(lease, usage(10, 1000), generation=5, sequence=9)
    request = bench.store.expect(
        Kind.WRITE,
        key=lease.key,
        value=usage(11, 1000 + size(packet)),
        generation=5,
        sequence=10,
        port=RIGHT,
    )
    bench.expect_nothing(bench.right, "the change is not durable yet")
    checksum.expect_right(request.carried)
    out = acknowledge(bench, request)
    expect_equal("TTL, mark and payload", (63, 3, b"hello"), (out[IP].ttl, out[IP].tos & 3, bytes(out[Raw])))


@scenario
def an_unacknowledged_write_is_sent_again(bench):
    """Each time the timeout has passed, without its packet; the ACK ends that."""
    hold(bench, "10.1.2.3")
    bench.configure(resend_ticks=RESEND)
    first = write(bench, packet_of("10.1.2.3"), sequence=10, generation=5)
    again = {"generation": 5, "sequence": 10, "key": first.key, "value": first.value, "port": 0}
    before = first
    for _ in range(2):
        repeated = bench.store.expect(Kind.WRITE, carried=b"", **again)
        waited = repeated.sent_at - before.sent_at
        expect(f"the copy waited for {RESEND} ticks", waited >= RESEND, waited)
        before = repeated
    acknowledge(bench, first)
    bench.frames_before_marker(bench.store.port)
    expect_silence(bench, "the copy died of the ACK")


@scenario
def an_answer_to_a_copy_is_enough(bench):
    """If only the copy's ACK arrives the write is durable, and its packet lost: nobody releases it twice."""
    hold(bench, "10.1.2.4")
    bench.configure(resend_ticks=RESEND)
    write(bench, packet_of("10.1.2.4"), sequence=10)
    repeated = bench.store.expect(Kind.WRITE, carried=b"")
    bench.store.answer(repeated, Kind.ACK)
    bench.expect_nothing(bench.right, "a copy carries no packet")
    bench.frames_before_marker(bench.store.port)
    expect_silence(bench, "the copy died of the ACK")
    bench.left.send(echo_of("10.1.2.4"))
    bench.right.receive("a packet that reads what is durable")


@scenario
def the_later_acknowledges_the_earlier(bench):
    """The ACK of the second of two writes ends both copies; the first one's, late, takes nothing back."""
    hold(bench, "10.1.2.5")
    bench.configure(resend_ticks=RESEND)
    packet = packet_of("10.1.2.5")
    bench.left.send(packet)
    bench.left.send(packet)
    first = bench.store.expect(Kind.WRITE, sequence=10, value=usage(11, 1000 + size(packet)))
    second = bench.store.expect(Kind.WRITE, sequence=11, value=usage(12, 1000 + 2 * size(packet)))
    acknowledge(bench, second)
    bench.frames_before_marker(bench.store.port)
    expect_silence(bench, "both copies died")
    acknowledge(bench, first)
    bench.left.send(echo_of("10.1.2.5"))
    bench.right.receive("a packet that reads what is durable")
    bench.expect_no_message("all is durable")


@scenario
def a_read_waits_while_a_write_is_in_flight(bench):
    """What shows a change that is not durable goes by the store in a READ; later it leaves by itself."""
    hold(bench, "10.1.2.6")
    echo = echo_of("10.1.2.6")
    request = write(bench, packet_of("10.1.2.6"), sequence=10)
    bench.left.send(echo)
    read = bench.store.expect(
        Kind.READ, key=request.key, value=usage(0, 0), generation=5, sequence=10, port=RIGHT
    )
    carried = Ether(read.carried)
    expect_equal("the carried packet", (63, HOST_MACS[RIGHT]), (carried[IP].ttl, carried.dst))
    bench.expect_nothing(bench.right, "neither the write nor the read is released")
    acknowledge(bench, read)
    acknowledge(bench, request)
    bench.left.send(echo)
    expect_equal("the echo, by itself", 63, Ether(bench.right.receive())[IP].ttl)
    bench.expect_no_message("all is durable")


@scenario
def a_granted_state_is_durable(bench):
    """What was granted is acknowledged up to its sequence: to read it needs no READ."""
    hold(bench, "10.1.2.7", sequence=4_000_000_000)
    bench.expect_no_message("the packet showed what was granted")
    request = write(bench, packet_of("10.1.2.7"), sequence=4_000_000_001)
    acknowledge(bench, request)


@scenario
def a_dropped_packet_still_writes(bench):
    """Over quota: the packet is dropped, what it wrote goes out without it. Then the flow is cut off."""
    source = "10.1.0.99"
    packet = packet_of(source, UDP(sport=1, dport=2) / Raw(bytes(200)))
    hold(bench, source, usage(0, 0), generation=9, sequence=0)
    with bench.expect_drops(over_quota=1):
        request = write(bench, packet, sequence=1, value=usage(1, size(packet), 1), port=0, carried=b"")
    bench.store.answer(request, Kind.ACK)
    with bench.expect_drops(cut_off=1):
        bench.left.send(echo_of(source))
    bench.expect_nothing(bench.right, "both were dropped")


@scenario
def a_write_needs_no_renewal(bench):
    """Past half of the lease a packet that goes to the store sends no RENEW beside: its ACK renews."""
    bench.left.send(packet_of("10.1.2.15"))
    lease = bench.store.expect(Kind.LEASE)
    bench.store.grant(lease, usage(0, 0), sent_at=(lease.sent_at - LONG // 2 - 1) % 2**32)
    request = bench.store.expect(Kind.WRITE)
    bench.left.send(echo_of("10.1.2.15"))
    read = bench.store.expect(Kind.READ)
    bench.expect_no_message("both were held")
    acknowledge(bench, request)
    acknowledge(bench, read)
    bench.left.send(echo_of("10.1.2.15"))
    bench.right.receive()
    bench.expect_no_message("the lease is young again")


@scenario
def the_last_hop_still_writes(bench):
    """A packet whose TTL is over is dropped and counted, and its write goes out without it."""
    hold(bench, "10.1.2.8")
    with bench.expect_drops(ttl_expired=1):
        request = write(bench, packet_of("10.1.2.8", ttl=1), sequence=10, port=0, carried=b"")
    bench.store.answer(request, Kind.ACK)


@scenario
def a_write_whose_packet_is_too_large_goes_alone(bench):
    """Too large for the links to the store: the packet is dropped, and the WRITE goes out without it."""
    hold(bench, "10.1.2.9")
    packet = packet_of("10.1.2.9", UDP(sport=1, dport=2) / Raw(bytes(1560)))
    with bench.expect_drops(store_mtu=1):
        value = usage(11, 1000 + size(packet))
        request = write(bench, packet, sequence=10, value=value, port=0, carried=b"")
    bench.store.answer(request, Kind.ACK)
    bench.expect_nothing(bench.right, "the packet was dropped")


@scenario
def a_stale_write_is_fenced(bench):
    """NACK STALE clears the slot and ends the copy; the next packet asks for the key again."""
    lease = hold(bench, "10.1.2.10")
    bench.configure(resend_ticks=RESEND)
    request = write(bench, packet_of("10.1.2.10"), sequence=10)
    with bench.expect_drops(lease_stale=1):
        bench.store.answer(request, Kind.NACK, reason=Reason.STALE)
    bench.frames_before_marker(bench.store.port)
    expect_silence(bench, "the copy died with the slot")
    bench.left.send(packet_of("10.1.2.10"))
    bench.store.expect(Kind.LEASE, key=lease.key)


@scenario
def a_recall_gives_back_the_last_sequence(bench):
    """RELEASE tells the last write, also one that is not acknowledged, and its copy dies with the slot."""
    lease = hold(bench, "10.1.2.11")
    bench.configure(resend_ticks=RESEND)
    request = write(bench, packet_of("10.1.2.11"), sequence=10)
    bench.store.answer(request, Kind.RECALL, sequence=0, carried=b"")
    frames = wait_for("RELEASE comes", lambda: [
        message for message in messages(bench) if message.kind != Kind.WRITE
    ])
    expect_equal("what comes", [(Kind.RELEASE, 5, 10)], [(m.kind, m.generation, m.sequence) for m in frames])
    expect_silence(bench, "the copy died with the slot")
    bench.left.send(packet_of("10.1.2.11"))
    bench.store.expect(Kind.LEASE, key=lease.key)


def messages(bench):
    """What came to the store until now."""
    return [bench.codec.decode(frame[42:]) for frame in bench.frames_before_marker(bench.store.port)]


@scenario
def what_is_not_ipv4_has_no_route(bench):
    """forward() routes IPv4 only."""
    link = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT])
    with bench.expect_drops(no_route=2):
        bench.left.send(Ether(src=HOST_MACS[LEFT], dst="ff:ff:ff:ff:ff:ff", type=0x0806) / Raw(bytes(28)))
        bench.left.send(link / IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=1, dport=2))


@scenario
def headers_that_the_app_does_not_look_at_are_checked_too(bench):
    """A frame that ends within an ICMP header, or within what an ICMP error quotes."""
    echo, quote = ICMP(type=8) / Raw(b""), ICMP(type=3) / Raw(bytes(IP(src=SERVER, dst="10.1.2.12")))
    with bench.expect_drops(parse_error=2):
        bench.left.send(bytes(packet_of("10.1.2.12", echo))[:14 + 20 + 4])
        bench.left.send(bytes(packet_of("10.1.2.12", quote))[:14 + 20 + 8 + 16])


@scenario
def a_sweep_clears_what_is_over(bench):
    """A frame from the CPU goes from slot to slot and clears what is over. From elsewhere it is traffic."""
    hold(bench, "10.1.2.13", generation=77)
    bench.left.send(echo_of("10.1.2.14"))
    lease = bench.store.expect(Kind.LEASE)
    over = (lease.sent_at - LONG) % 2**32
    bench.store.grant(lease, usage(0, 0), generation=78, sent_at=over)
    bench.store.expect(Kind.LEASE, ticket=lease.ticket + 1)

    def generations():
        return sorted(set(bench.switch.register("rp_generation.rp_generation")))

    expect("an ended lease has its generation still", {77, 78} <= set(generations()), generations())
    sweep = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT], type=ETHERTYPE_SWEEP) / Raw(bytes(46))
    with bench.expect_drops(no_route=1):
        bench.right.send(sweep)
    bench.left.send(sweep)
    wait_for("the ended lease is cleared", lambda: 78 not in generations())
    expect("a lease that lasts is left alone", 77 in generations(), generations())
