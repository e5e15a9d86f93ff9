"""The NAT: leases, what ends them, and what happens to packets of every kind on the way."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from bench import checksum
from bench.bench import HOST_MACS, INCARNATION, LEFT, LONG, PORT_MACS, RIGHT, operator, route, scenario
from bench.check import expect, expect_equal, wait_for
from bench.message import CREATE, PORT_RECIRCULATE, Kind, Reason

# Inside is left, the Internet right. The last prefix is inside and public at once: an operator's mistake.
OPERATOR = operator(
    routes=[route("10.1.0.0/16", LEFT), route("0.0.0.0/0", RIGHT)],
    inside={"10.1.0.0/16": 1, "198.51.100.0/24": 1},
    public={"203.0.113.0/24": 1, "198.51.100.0/24": 1},
)
SERVER = "8.8.8.8"
PUBLIC = "203.0.113.1"
PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP = 1, 6, 17
HALF = LONG // 2
QUARTER = LONG // 4


def from_inside(source, payload, ttl=64, destination=SERVER):
    """A frame of a host on the left."""
    link = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT])
    return Ether(bytes(link / IP(src=source, dst=destination, ttl=ttl) / payload))


def from_outside(payload, destination=PUBLIC, source=SERVER):
    """A frame from the right."""
    link = Ether(src=HOST_MACS[RIGHT], dst=PORT_MACS[RIGHT])
    return Ether(bytes(link / IP(src=source, dst=destination, ttl=50) / payload))


def udp(source, destination, payload=b"hello", **fields):
    """A UDP datagram."""
    return UDP(sport=source, dport=destination, **fields) / Raw(payload)


def endpoint(addr, port, protocol=PROTOCOL_UDP):
    """A key."""
    return {"addr": addr, "port": port, "protocol": protocol}


def binding(addr, port):
    """A value."""
    return {"addr": addr, "port": port}


def received(port):
    """The next frame by a port, with right checksums."""
    frame = port.receive()
    checksum.expect_right(frame)
    return Ether(frame)


def hold(bench, packet, value, generation=1, **changes):
    """Makes the switch hold the key of a packet from inside; the packet leaves, and is returned."""
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE)
    bench.store.grant(lease, value, generation=generation, **changes)
    return lease, received(bench.right)


@scenario
def a_lease_carries_the_untouched_packet(bench):
    """Without a lease the packet goes to the store as it came in."""
    packet = from_inside("10.1.1.1", udp(1111, 777))
    bench.left.send(packet)
    bench.store.expect(
        Kind.LEASE,
        key=endpoint("10.1.1.1", 1111),
        value=binding("0.0.0.0", 0),
        flags=CREATE,
        port=LEFT,
        ticket=0,
        generation=0,
        sequence=0,
        carried=bytes(packet),
    )
    bench.expect_nothing(bench.right, "the packet waits for its lease")


@scenario
def a_grant_releases_the_translated_packet(bench):
    """A GRANT installs the lease, and the packet goes on: address, port, TTL, MACs, checksums."""
    packet = from_inside("10.1.1.2", udp(1111, 777))
    _, out = hold(bench, packet, binding(PUBLIC, 40002))
    expect_equal("source", (PUBLIC, 40002), (out[IP].src, out[UDP].sport))
    expect_equal("destination", (SERVER, 777), (out[IP].dst, out[UDP].dport))
    expect_equal("TTL", 63, out[IP].ttl)
    expect_equal("link", (PORT_MACS[RIGHT], HOST_MACS[RIGHT]), (out.src, out.dst))
    expect_equal("payload", b"hello", bytes(out[Raw]))


@scenario
def a_held_key_needs_no_store(bench):
    """On the hit path packets leave at once, and the store hears nothing."""
    packet = from_inside("10.1.1.3", udp(1111, 777))
    hold(bench, packet, binding(PUBLIC, 40003))
    for _ in range(5):
        bench.left.send(packet)
        expect_equal("source port", 40003, received(bench.right)[UDP].sport)
    bench.expect_no_message("the lease is young and nothing was written")


@scenario
def a_late_grant_installs_nothing(bench):
    """A GRANT whose ticket is out of date changes no slot, but its packet goes on."""
    packet = from_inside("10.1.1.4", udp(1111, 777))
    lease, _ = hold(bench, packet, binding(PUBLIC, 40004))
    bench.store.grant(lease, binding("203.0.113.66", 6), generation=2)
    out = received(bench.right)
    expect_equal("source of the late GRANT's packet", (PUBLIC, 40004), (out[IP].src, out[UDP].sport))
    bench.left.send(packet)
    out = received(bench.right)
    expect_equal("source after the late GRANT", (PUBLIC, 40004), (out[IP].src, out[UDP].sport))


@scenario
def crossing_grants_install_once(bench):
    """Of two requests for one slot the first answer installs; the second finds the ticket used."""
    packet = from_inside("10.1.1.5", udp(1111, 777))
    bench.left.send(packet)
    bench.left.send(packet)
    first, second = bench.store.expect(Kind.LEASE, ticket=0), bench.store.expect(Kind.LEASE, ticket=0)
    bench.store.grant(second, binding(PUBLIC, 40005), generation=3)
    bench.store.grant(first, binding(PUBLIC, 50005), generation=2)
    for _ in range(2):
        expect_equal("source port", 40005, received(bench.right)[UDP].sport)


@scenario
def a_lease_counts_from_its_request(bench):
    """A GRANT that took longer than the lease grants nothing; the slot's ticket has moved on."""
    packet = from_inside("10.1.1.6", udp(1111, 777))
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE, ticket=0)
    bench.store.grant(lease, binding(PUBLIC, 40006), sent_at=(lease.sent_at - LONG) % 2**32)
    again = bench.store.expect(Kind.LEASE, ticket=1, carried=bytes(packet))
    bench.store.grant(again, binding(PUBLIC, 40006), generation=2)
    received(bench.right)


@scenario
def a_lease_ends(bench):
    """Packets leave while the lease lasts, and ask again when it is over."""
    packet = from_inside("10.1.1.7", udp(1111, 777))
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE)
    left = 1500
    bench.store.grant(lease, binding(PUBLIC, 40007), sent_at=(lease.sent_at - LONG + left) % 2**32)
    received(bench.right)
    renewed = bench.store.expect(Kind.RENEW)

    def asks_again():
        bench.left.send(packet)
        return bench.frames_before_marker(bench.store.port)

    frames = wait_for("the lease is over and the switch asks again", asks_again)
    message = bench.codec.decode(frames[0][42:])
    expect_equal("the message after the lease", (Kind.LEASE, bytes(packet)), (message.kind, message.carried))
    expect("the lease lasted as long as was granted", message.sent_at - lease.sent_at >= left, message)
    expect("the RENEW was sent before", renewed.sent_at <= message.sent_at, renewed)
    while bench.right.poll(0) is not None:
        pass


@scenario
def past_half_of_the_lease_it_is_renewed_once(bench):
    """The first packet past half leaves and makes a RENEW; those right after do not. The ACK renews."""
    packet = from_inside("10.1.1.8", udp(1111, 777))
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE)
    early = (lease.sent_at - HALF - 1) % 2**32
    bench.store.grant(lease, binding(PUBLIC, 40008), generation=6, sequence=9, sent_at=early)
    received(bench.right)
    renew = bench.store.expect(
        Kind.RENEW, key=lease.key, generation=6, sequence=9, port=0, carried=b"", value=binding("0.0.0.0", 0)
    )
    bench.left.send(packet)
    received(bench.right)
    bench.expect_no_message("the next RENEW is due after a quarter of the lease")
    # An ACK of a request that left when the lease was all but over: it is far from its end again.
    bench.store.answer(renew, Kind.ACK)
    bench.left.send(packet)
    received(bench.right)
    bench.expect_no_message("the lease is young again")


@scenario
def a_packet_that_stays_renews_nothing(bench):
    """Past half of the lease a dropped packet sends no RENEW, nor puts off that of the next that leaves."""
    packet = from_inside("10.1.1.31", udp(1111, 777))
    bench.left.send(from_inside("10.1.1.31", udp(1111, 777), ttl=1))
    lease = bench.store.expect(Kind.LEASE)
    with bench.expect_drops(ttl_expired=1):
        bench.store.grant(lease, binding(PUBLIC, 40031), sent_at=(lease.sent_at - HALF - 1) % 2**32)
    bench.expect_no_message("the packet was dropped")
    bench.left.send(packet)
    received(bench.right)
    bench.store.expect(Kind.RENEW, key=lease.key)


@scenario
def an_older_acknowledgement_does_not_shorten_a_lease(bench):
    """An ACK of an older request than the one that the lease counts from takes nothing back."""
    packet = from_inside("10.1.1.9", udp(1111, 777))
    lease, _ = hold(bench, packet, binding(PUBLIC, 40009), generation=2)
    bench.store.answer(lease, Kind.ACK, generation=2, sent_at=(lease.sent_at - LONG) % 2**32, carried=b"")
    bench.left.send(packet)
    expect_equal("source port", 40009, received(bench.right)[UDP].sport)
    bench.expect_no_message("the lease is as young as it was")


@scenario
def nobody_waits_for_a_record_that_is_absent(bench):
    """What comes in unasked makes no record, and is dropped when the store knows none."""
    bench.right.send(from_outside(udp(777, 40010)))
    lease = bench.store.expect(Kind.LEASE, flags=0, port=RIGHT, key=endpoint(PUBLIC, 40010))
    with bench.expect_drops(unsolicited=1):
        bench.store.answer(lease, Kind.NACK, reason=Reason.ABSENT)
    bench.expect_nothing(bench.left, "it was dropped")
    bench.right.send(from_outside(udp(777, 40010)))
    bench.store.expect(Kind.LEASE, flags=0)


@scenario
def the_way_back_is_translated(bench):
    """The destination of what comes in is translated; a UDP datagram without a checksum stays without one."""
    bench.right.send(from_outside(udp(777, 40011)))
    lease = bench.store.expect(Kind.LEASE, flags=0)
    bench.store.grant(lease, binding("10.1.1.11", 1111))
    out = received(bench.left)
    expect_equal("destination", ("10.1.1.11", 1111), (out[IP].dst, out[UDP].dport))
    expect_equal("source", (SERVER, 777), (out[IP].src, out[UDP].sport))
    bench.right.send(from_outside(udp(777, 40011, chksum=0)))
    out = received(bench.left)
    expect_equal("destination", ("10.1.1.11", 1111), (out[IP].dst, out[UDP].dport))
    expect_equal("UDP checksum", 0, out[UDP].chksum)


@scenario
def tcp_is_translated(bench):
    """A TCP segment, by a key of its own protocol."""
    packet = from_inside("10.1.1.12", TCP(sport=22, dport=80, flags="S") / b"odd")
    lease, out = hold(bench, packet, binding(PUBLIC, 40012))
    expect_equal("key", endpoint("10.1.1.12", 22, PROTOCOL_TCP), lease.key)
    expect_equal("source", (PUBLIC, 40012), (out[IP].src, out[TCP].sport))


@scenario
def icmp_echo_is_translated(bench):
    """The identifier of an echo stands for the port."""
    packet = from_inside("10.1.1.13", ICMP(type=8, id=0x77, seq=1) / b"ping")
    lease, out = hold(bench, packet, binding(PUBLIC, 0x9999))
    expect_equal("key", endpoint("10.1.1.13", 0x77, PROTOCOL_ICMP), lease.key)
    expect_equal("source", (PUBLIC, 0x9999), (out[IP].src, out[ICMP].id))


def expect_quote_translated(bench, kind, quoted, key, port):
    """An ICMP error about a packet of ours: the quoted source and the error's destination change."""
    bench.right.send(from_outside(ICMP(type=kind) / Raw(quoted), source="9.9.9.9"))
    lease = bench.store.expect(Kind.LEASE, key=key, flags=0)
    bench.store.grant(lease, binding("10.1.1.14", port))
    out = bench.left.receive()
    checksum.expect_right(out)
    packet, quote = Ether(out), out[14 + 20 + 8:]
    expect_equal("destination of the error", "10.1.1.14", packet[IP].dst)
    expect_equal("source of the error", "9.9.9.9", packet[IP].src)
    checksum.expect_sum("quoted IPv4", quote[:20])
    expect_equal("quoted source", "10.1.1.14", IP(quote).src)
    return quote[20:]


@scenario
def an_icmp_error_about_udp_is_translated(bench):
    """The quoted UDP checksum follows, and the error's checksum over the whole quote."""
    quoted = bytes(IP(src=PUBLIC, dst="8.8.4.4", ttl=3) / udp(40014, 99, b"12345678"))
    rest = expect_quote_translated(bench, 3, quoted, endpoint(PUBLIC, 40014), 1414)
    expect_equal("quoted ports", (1414, 99), (UDP(rest).sport, UDP(rest).dport))


@scenario
def an_icmp_error_about_tcp_is_translated(bench):
    """Of quoted TCP eight bytes are sure to be there, which RFC 792 asks for: ports and sequence number."""
    quoted = bytes(IP(src=PUBLIC, dst="8.8.4.4", ttl=3) / TCP(sport=40015, dport=443, seq=0x01020304))[:28]
    rest = expect_quote_translated(bench, 11, quoted, endpoint(PUBLIC, 40015, PROTOCOL_TCP), 1515)
    expected = (1515).to_bytes(2, "big") + (443).to_bytes(2, "big") + bytes([1, 2, 3, 4])
    expect_equal("quoted TCP", expected, rest)


@scenario
def an_icmp_error_about_an_echo_is_translated(bench):
    """The quoted echo's identifier and checksum follow."""
    quoted = bytes(IP(src=PUBLIC, dst="8.8.4.4", ttl=3) / ICMP(type=8, id=40016, seq=5) / b"abcdefgh")
    rest = expect_quote_translated(bench, 3, quoted, endpoint(PUBLIC, 40016, PROTOCOL_ICMP), 1616)
    expect_equal("quoted identifier", 1616, ICMP(rest).id)


@scenario
def words_that_change_places_leave_a_checksum(bench):
    """A change that sums to zero leaves a checksum as it is, also if that is the zero that is all ones."""
    source, swapped, ones = "10.1.1.32", "1.32.10.1", 0xFFFF
    blank = from_inside(source, TCP(sport=1111, dport=777) / Raw(bytes(2)))
    balanced = Raw(blank[TCP].chksum.to_bytes(2, "big"))
    packet = from_inside(source, TCP(sport=1111, dport=777, chksum=ones) / balanced)
    checksum.expect_right(bytes(packet))
    _, out = hold(bench, packet, binding(swapped, 1111))
    expect_equal("source", (swapped, 1111), (out[IP].src, out[TCP].sport))
    expect_equal("TCP checksum", ones, out[TCP].chksum)


@scenario
def a_vlan_tag_is_kept(bench):
    """A tagged packet is translated like any other, and keeps its tag, also on its way through the store."""
    plain = from_inside("10.1.1.17", udp(1111, 777))
    tagged = Ether(src=plain.src, dst=plain.dst) / Dot1Q(vlan=5, prio=3) / plain[IP]
    lease, out = hold(bench, tagged, binding(PUBLIC, 40017))
    expect_equal("the carried packet", bytes(tagged), lease.carried)
    for _ in range(2):
        expect("the tag is there", Dot1Q in out, out.summary())
        expect_equal("the tag", (5, 3), (out[Dot1Q].vlan, out[Dot1Q].prio))
        expect_equal("source", (PUBLIC, 40017), (out[IP].src, out[UDP].sport))
        bench.left.send(tagged)
        out = received(bench.right)


@scenario
def a_hairpin_takes_two_passes(bench):
    """From inside to a public address of the NAT: source first, then, recirculated, the destination."""
    bench.left.send(from_inside("10.1.1.18", udp(1818, 40019), destination=PUBLIC))
    first = bench.store.expect(Kind.LEASE, key=endpoint("10.1.1.18", 1818), flags=CREATE, port=LEFT)
    bench.store.grant(first, binding("203.0.113.2", 3333))
    second = bench.store.expect(Kind.LEASE, key=endpoint(PUBLIC, 40019), flags=0, port=PORT_RECIRCULATE)
    expect_equal("source of the carried packet", "203.0.113.2", Ether(second.carried)[IP].src)
    bench.store.grant(second, binding("10.1.1.19", 1919))
    out = received(bench.left)
    expect_equal("source", ("203.0.113.2", 3333), (out[IP].src, out[UDP].sport))
    expect_equal("destination", ("10.1.1.19", 1919), (out[IP].dst, out[UDP].dport))
    expect_equal("TTL", 63, out[IP].ttl)


@scenario
def a_packet_does_not_go_round_for_ever(bench):
    """An address that is inside and public makes the handler recirculate each time, but not for ever."""
    address = "198.51.100.1"
    bench.left.send(from_inside(address, udp(20, 20), destination=address))
    lease = bench.store.expect(Kind.LEASE, key=endpoint(address, 20))
    with bench.expect_drops(recirculation_limit=1):
        bench.store.grant(lease, binding(address, 20))


@scenario
def the_fourth_pass_is_the_last(bench):
    """Of five held keys in a row four are followed: three for the source, one for the destination."""
    chain = ["198.51.100.10", "198.51.100.11", "198.51.100.12", "198.51.100.13", "203.0.113.50"]
    for source, then in zip(chain, chain[1:]):
        hold(bench, from_inside(source, udp(30, 30)), binding(then, 30))
    bench.right.send(from_outside(udp(777, 30), destination=PUBLIC))
    bench.store.grant(bench.store.expect(Kind.LEASE), binding("10.1.1.20", 2020))
    received(bench.left)
    bench.left.send(from_inside(chain[1], udp(30, 30), destination=PUBLIC))
    out = received(bench.left)
    expect_equal("addresses after four passes", (chain[-1], "10.1.1.20"), (out[IP].src, out[IP].dst))
    with bench.expect_drops(recirculation_limit=1):
        bench.left.send(from_inside(chain[0], udp(30, 30), destination=PUBLIC))


@scenario
def the_last_hop_ends_here(bench):
    """forward() with a TTL of one, or of zero, drops the packet."""
    hold(bench, from_inside("10.1.1.21", udp(1111, 777)), binding(PUBLIC, 40021))
    with bench.expect_drops(ttl_expired=2):
        bench.left.send(from_inside("10.1.1.21", udp(1111, 777), ttl=1))
        bench.left.send(from_inside("10.1.1.21", udp(1111, 777), ttl=0))
    bench.left.send(from_inside("10.1.1.21", udp(1111, 777), ttl=2))
    expect_equal("TTL", 1, received(bench.right)[IP].ttl)


@scenario
def what_the_handler_does_not_take_has_its_reason(bench):
    """IPv6, ARP, fragments, other ICMP, other protocols, what is neither from inside nor to the NAT."""
    link = Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT])
    with bench.expect_drops(not_ipv4=3, fragment=1, not_translatable=2, not_ours=1):
        bench.left.send(link / IPv6(src="2001:db8::1", dst="2001:db8::2") / udp(1, 2))
        bench.left.send(link / IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=1, dport=2))
        bench.left.send(Ether(src=HOST_MACS[LEFT], dst=PORT_MACS[LEFT], type=0x0806) / Raw(bytes(46)))
        bench.left.send(link / IP(src="10.1.1.22", dst=SERVER, frag=5) / Raw(bytes(32)))
        bench.left.send(from_inside("10.1.1.22", ICMP(type=13) / Raw(bytes(12))))
        bench.left.send(from_inside("10.1.1.22", Raw(bytes(32))))
        bench.right.send(from_outside(udp(1, 2), destination="192.0.2.1"))


@scenario
def what_is_malformed_has_its_reason(bench):
    """Frames that end within a header, IPv4 headers that contradict themselves, wrong checksums."""
    good = bytes(from_inside("10.1.1.23", udp(1111, 777)))

    def spoilt(offset, value):
        return good[:offset] + bytes([value]) + good[offset + 1:]

    with bench.expect_drops(parse_error=4):
        bench.left.send(good[:40])
        bench.left.send(good[:20])
        bench.left.send(bytes(from_inside("10.1.1.23", TCP()))[:50])
        quote = ICMP(type=3) / Raw(bytes(IP(src=SERVER, dst=PUBLIC) / UDP()))
        bench.left.send(bytes(from_inside("10.1.1.23", quote))[:14 + 20 + 8 + 24])
    with bench.expect_drops(ipv4_malformed=3):
        bench.left.send(spoilt(14, 0x65))
        bench.left.send(spoilt(14, 0x44))
        bench.left.send(spoilt(16, 0x0F))
    with bench.expect_drops(ipv4_checksum=1):
        bench.left.send(spoilt(24, good[24] ^ 1))


@scenario
def a_recall_clears_the_slot(bench):
    """The answer is RELEASE with the slot's sequence. The key is not held any more; no ACK revives it."""
    packet = from_inside("10.1.1.24", udp(1111, 777))
    lease, _ = hold(bench, packet, binding(PUBLIC, 40024), generation=13, sequence=9)
    bench.store.answer(lease, Kind.RECALL, generation=13, sequence=4, carried=b"")
    release = bench.store.expect(Kind.RELEASE, key=lease.key, generation=13, sequence=9, carried=b"")
    # An ACK that was on its way when the RECALL came: it must find nothing to extend.
    bench.store.answer(release, Kind.ACK, generation=13, sequence=9)
    bench.left.send(packet)
    bench.store.expect(Kind.LEASE, key=lease.key, ticket=lease.ticket + 1)


@scenario
def a_recall_of_a_grant_under_way_waits(bench):
    """With the same ticket the GRANT may be on its way: the RECALL is dropped, and the store repeats it."""
    packet = from_inside("10.1.1.25", udp(1111, 777))
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE)
    with bench.expect_drops(no_lease=1):
        bench.store.answer(lease, Kind.RECALL, generation=99, sequence=3, carried=b"")
    bench.expect_no_message("there is nothing to give back yet")


@scenario
def a_recall_for_a_former_life_is_given_back(bench):
    """What was granted before the switch booted can never be installed: RELEASE as the RECALL says."""
    packet = from_inside("10.1.1.26", udp(1111, 777))
    bench.left.send(packet)
    lease = bench.store.expect(Kind.LEASE)
    former = INCARNATION - 1
    bench.store.answer(lease, Kind.RECALL, generation=99, sequence=3, incarnation=former, carried=b"")
    bench.store.expect(Kind.RELEASE, incarnation=former, key=lease.key, generation=99, sequence=3)


@scenario
def a_recall_of_the_past_leaves_a_later_lease(bench):
    """A RECALL of an earlier generation of a key that is held anew is about the past."""
    packet = from_inside("10.1.1.27", udp(1111, 777))
    lease, _ = hold(bench, packet, binding(PUBLIC, 40027), generation=5)
    with bench.expect_drops(no_lease=1):
        bench.store.answer(lease, Kind.RECALL, generation=4, sequence=0, carried=b"")
    bench.left.send(packet)
    expect_equal("source port", 40027, received(bench.right)[UDP].sport)


@scenario
def a_nack_has_its_reason(bench):
    """REFUSED and BUSY drop the packet. STALE fences: the slot is cleared if it is that generation's."""
    packet = from_inside("10.1.1.28", udp(1111, 777))
    lease, _ = hold(bench, packet, binding(PUBLIC, 40028), generation=5)
    with bench.expect_drops(lease_refused=1, store_busy=1, lease_stale=1):
        bench.store.answer(lease, Kind.NACK, reason=Reason.REFUSED)
        bench.store.answer(lease, Kind.NACK, reason=Reason.BUSY)
        bench.store.answer(lease, Kind.NACK, reason=Reason.STALE, generation=4)
    bench.left.send(packet)
    expect_equal("source port", 40028, received(bench.right)[UDP].sport)
    with bench.expect_drops(lease_stale=1):
        bench.store.answer(lease, Kind.NACK, reason=Reason.STALE, generation=5)
    bench.left.send(packet)
    bench.store.expect(Kind.LEASE, key=lease.key)


@scenario
def only_a_nack_has_a_reason(bench):
    """What stands in the place of the reason in another message says nothing."""
    packet = from_inside("10.1.1.33", udp(1111, 777))
    hold(bench, packet, binding(PUBLIC, 40033), reason=Reason.REFUSED)


@scenario
def only_the_stores_port_speaks_the_protocol(bench):
    """The same datagram by another port is traffic."""
    blank = bench.codec.encode(bench.codec.blank(kind=Kind.GRANT))
    with bench.expect_drops(not_ours=1):
        bench.right.send(bench.store.envelope.wrap(blank, "10.0.0.200"))


@scenario
def a_message_that_cannot_be_read_has_its_reason(bench):
    """Of wrong length, unknown version, kind or reason: malformed. Of another app or switch: a stranger's.

    How long another app's key and value are is not known here, so a message of it is not cut off.
    """
    message = bench.codec.blank(kind=Kind.GRANT, switch=7, incarnation=INCARNATION)
    whole = bench.codec.encode(message)
    framed = bytes(bench.store.envelope.wrap(whole, "10.0.0.200"))
    with bench.expect_drops(protocol_malformed=10):
        bench.store.send_payload(whole[:3])
        bench.store.send_payload(whole[:-1])
        bench.store.port.send(framed + bytes(8))
        bench.store.port.send(framed[:39] + bytes([framed[39] - 1]) + framed[40:])
        bench.store.send(message.answer(Kind.GRANT, version=2))
        bench.store.send(message.answer(Kind.WRITE))
        bench.store.send(message.answer(Kind.NACK, reason=0))
        bench.store.send(message.answer(Kind.NACK, reason=5))
        # What no version has is nobody's, whoever it is for.
        bench.store.send(message.answer(83, app=message.app + 1))
        bench.store.send(message.answer(Kind.NACK, reason=5, switch=8))
    other = bench.codec.encode(message.answer(Kind.GRANT, app=message.app + 1))
    older = bench.codec.encode(message.answer(Kind.GRANT, fingerprint=message.fingerprint ^ 1))
    cut = bytes(bench.store.envelope.wrap(whole[:-1], "10.0.0.200"))
    with bench.expect_drops(ipv4_checksum=1):
        bench.store.port.send(cut[:24] + bytes([cut[24] ^ 1]) + cut[25:])
    with bench.expect_drops(protocol_malformed=2):
        bench.store.send_payload(other[:29])
        bench.store.send_payload(bench.codec.encode(message.answer(Kind.GRANT, switch=8))[:31])
    with bench.expect_drops(protocol_stranger=7):
        bench.store.send_payload(other[:30])
        bench.store.send_payload(other[:31])
        bench.store.send_payload(older[:-1])
        bench.store.send(message.answer(Kind.GRANT, app=message.app + 1))
        bench.store.send(message.answer(Kind.GRANT, fingerprint=message.fingerprint ^ 1))
        bench.store.send(message.answer(Kind.GRANT, switch=8))
        bench.store.send(message.answer(Kind.GRANT, incarnation=INCARNATION + 1))


@scenario
def a_packet_too_large_for_the_store_is_dropped(bench):
    """What does not fit into a LEASE on the links to the store goes nowhere; a byte less does fit."""
    headers = 14 + 20 + 8
    around = 20 + 8 + bench.schema["wire"]["frame_offset"]
    fits = bench.configuration["store.mtu"] - around - headers
    bench.left.send(from_inside("10.1.1.29", udp(1111, 777, bytes(fits))))
    bench.store.expect(Kind.LEASE)
    with bench.expect_drops(store_mtu=1):
        bench.left.send(from_inside("10.1.1.29", udp(1111, 777, bytes(fits + 1))))
    bench.expect_no_message("it was dropped")


@scenario
def an_unconfigured_switch_drops_everything(bench):
    """Until the operator says how many shards there are."""
    bench.configure(shards_count=0)
    with bench.expect_drops(not_configured=1):
        bench.left.send(from_inside("10.1.1.30", udp(1111, 777)))
