#!/usr/bin/python3
"""Checks, with scapy and nothing of ours, that OUT is what a NAT makes of IN.

Every checksum is computed anew: IPv4, TCP, UDP, ICMP, and those of packets that ICMP errors quote. Every frame of OUT is
paired with the frame of IN that it came from; the endpoints must map one to one (RFC 4787 REQ-1, endpoint-independent),
keep their port where that is free and their parity in any case (REQ-3, REQ-4), and nothing else may have changed but TTL and
Ethernet addresses.

Usage: check_pcap.py IN OUT PUBLIC_ADDRESS INSIDE_PREFIX...     Exit status 1 and a line each for what is wrong.
"""

import ipaddress
import sys

from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, TCPerror, UDPerror
from scapy.layers.l2 import Ether
from scapy.utils import checksum, rdpcap

wrong = []


def complain(number, what):
    wrong.append(f"frame {number}: {what}")


def transport_sum(ip_header, segment):
    """Sum over pseudo header and segment: zero if the segment's checksum is right (RFC 9293, RFC 768)."""
    pseudo = ip_header[12:20] + bytes([0, ip_header[9]]) + len(segment).to_bytes(2, "big")
    return checksum(pseudo + segment)


def check_sums(number, packet, quoted=False):
    """`packet`: bytes from the IPv4 header on."""
    length = (packet[0] & 15) * 4
    total = int.from_bytes(packet[2:4], "big")
    name = "quoted " if quoted else ""
    if checksum(packet[:length]) != 0:
        complain(number, f"{name}IPv4 checksum")
    segment = packet[length:total]
    whole = len(packet) >= total
    protocol = packet[9]
    if protocol == 1:
        if whole and checksum(segment) != 0:
            complain(number, f"{name}ICMP checksum")
        if segment[0] in (3, 11, 12):
            check_sums(number, segment[8:], quoted=True)
    elif protocol == 6 and not quoted:  # Of a quoted TCP segment often only eight bytes are there.
        if transport_sum(packet[:length], segment) != 0:
            complain(number, f"{name}TCP checksum")
    elif protocol == 17 and whole:
        if segment[6:8] != b"\0\0" and transport_sum(packet[:length], segment) != 0:
            complain(number, f"{name}UDP checksum")


def ports(layer):
    """(source, destination) of a TCP, UDP or ICMP echo layer."""
    if isinstance(layer, (ICMP, ICMPerror)):
        return layer.id, layer.id
    return layer.sport, layer.dport


def transport(ip):
    for kind in (TCP, UDP, ICMP, TCPerror, UDPerror, ICMPerror):
        if isinstance(ip.payload, kind):
            return ip.payload
    return None


def quote(ip):
    """The packet that an ICMP error quotes, if it is one."""
    layer = transport(ip)
    if isinstance(layer, ICMP) and layer.type in (3, 11, 12):
        return layer.payload
    return None


def unchanged(ip):
    """All that a NAT leaves as it is."""
    layer = transport(ip)
    quoted = quote(ip)
    if quoted is not None:
        inner = transport(quoted)
        return (ip.id, ip.tos, ip.flags, layer.type, layer.code, quoted.id, quoted.ttl, quoted.len, bytes(inner.payload))
    common = (ip.id, ip.tos, int(ip.flags), ip.len, ip.proto, bytes(layer.payload))
    if isinstance(layer, TCP):
        return common + (layer.seq, layer.ack, int(layer.flags), layer.window, layer.urgptr, repr(layer.options))
    if isinstance(layer, UDP):
        return common + (layer.len,)
    return common + (layer.type, layer.code, layer.seq)


def main():
    before, after = rdpcap(sys.argv[1]), rdpcap(sys.argv[2])
    public = sys.argv[3]
    inside = [ipaddress.ip_network(prefix) for prefix in sys.argv[4:]]

    def is_inside(address):
        return any(ipaddress.ip_address(address) in prefix for prefix in inside)

    mapping, back = {}, {}  # (protocol, address, port) inside -> public, and the other way

    def learn(number, private, translated):
        if translated[1] != public:
            complain(number, f"{private} left as {translated}, not from {public}")
        if mapping.setdefault(private, translated) != translated:
            complain(number, f"{private} is {translated} now, was {mapping[private]}: not endpoint-independent")
        if back.setdefault(translated, private) != private:
            complain(number, f"{translated} stands for {private} and for {back[translated]}")
        if private[2] % 2 != translated[2] % 2 and private[0] != 1:
            complain(number, f"{private} became {translated}: parity lost")
        others = {key for key in mapping if key[0] == private[0] and key[2] == private[2] and key != private}
        if private[2] >= 1024 and not others and private[2] != translated[2]:
            complain(number, f"{private} became {translated}, though its port was free")

    def expect(number, what, expected, found):
        if expected != found:
            complain(number, f"{what} is {found}, expected {expected}")

    frames = iter(enumerate(before, 1))
    passed = 0
    for number, frame in enumerate(after, 1):
        if IP not in frame:
            complain(number, "not IPv4, and yet forwarded")
            continue
        new = frame[IP]
        check_sums(number, bytes(new))
        old = None
        for _, candidate in frames:
            if IP in candidate and unchanged(candidate[IP]) == unchanged(new):
                old = candidate[IP]
                break
        if old is None:
            complain(number, "comes from no frame of the input, or something changed that should not")
            break
        passed += 1
        expect(number, "TTL", old.ttl - 1, new.ttl)
        outgoing = is_inside(old.src)
        old_quote, new_quote = quote(old), quote(new)
        protocol = old.proto if old_quote is None else old_quote.proto
        if old_quote is None:
            old_ports, new_ports = ports(transport(old)), ports(transport(new))
            if outgoing:
                learn(number, (protocol, old.src, old_ports[0]), (protocol, new.src, new_ports[0]))
                expect(number, "destination", old.dst, new.dst)
                if protocol != 1:
                    expect(number, "destination port", old_ports[1], new_ports[1])
            else:
                private = back.get((protocol, old.dst, old_ports[1]))
                if is_inside(old.dst):  # Captured where no NAT was: it comes to where it was going.
                    private = (protocol, old.dst, old_ports[1])
                expect(number, "destination", private, (protocol, new.dst, new_ports[1]))
                expect(number, "source", old.src, new.src)
                if protocol != 1:
                    expect(number, "source port", old_ports[0], new_ports[0])
        else:
            # The quoted packet went the other way.
            old_ports, new_ports = ports(transport(old_quote)), ports(transport(new_quote))
            if outgoing:
                translated = mapping.get((protocol, old_quote.dst, old_ports[1]))
                expect(number, "quoted destination", translated, (protocol, new_quote.dst, new_ports[1]))
                expect(number, "source", public, new.src)
                expect(number, "quoted source", old_quote.src, new_quote.src)
            else:
                private = back.get((protocol, old_quote.src, old_ports[0]))
                if is_inside(old_quote.src):
                    private = (protocol, old_quote.src, old_ports[0])
                expect(number, "quoted source", private, (protocol, new_quote.src, new_ports[0]))
                expect(number, "destination", private and private[1], new.dst)
                expect(number, "quoted destination", old_quote.dst, new_quote.dst)
    missing = sum(1 for frame in before if IP in frame) - passed
    if missing:
        wrong.append(f"{missing} IPv4 frames of the input did not come through")
    if not passed:
        wrong.append("no frame was checked")
    for line in wrong:
        print(line)
    print(f"{passed} frames checked, {len(mapping)} mappings, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
