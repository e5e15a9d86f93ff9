"""The Internet checksum (RFC 1071) of everything in a frame that has one, summed afresh."""

import struct

from .check import Failure

ICMP, TCP, UDP = 1, 6, 17
ICMP_ERRORS = (3, 11, 12)


def total(data):
    """The ones' complement sum of 16-bit words; all ones if the checksum among them is right."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    result = sum(words)
    while result >> 16:
        result = (result & 0xFFFF) + (result >> 16)
    return result


def expect_right(frame):
    """Fails if a checksum in this frame is wrong: IPv4, TCP, UDP, ICMP, and in what an ICMP error quotes."""
    start = 14
    if frame[12:14] == b"\x81\x00":
        start = 18
    if frame[start - 2:start] == b"\x08\x00":
        expect_right_ipv4("", frame[start:])


def expect_sum(what, data):
    """Fails if words do not sum to all ones."""
    found = total(data)
    if found != 0xFFFF:
        raise Failure(f"{what} checksum: its words sum to {found:#06x}, not to 0xffff: {data.hex()}")


def expect_right_ipv4(where, packet):
    """The same for an IPv4 packet. A quoted packet may be cut short: then its payload cannot be summed."""
    expect_sum(f"{where}IPv4", packet[:20])
    length, protocol = struct.unpack_from("!H", packet, 2)[0], packet[9]
    payload = packet[20:length]
    if len(packet) < length:
        return
    pseudo = packet[12:20] + struct.pack("!HH", protocol, len(payload))
    if protocol == TCP:
        expect_sum(f"{where}TCP", pseudo + payload)
    elif protocol == UDP and payload[6:8] != b"\0\0":
        expect_sum(f"{where}UDP", pseudo + payload)
    elif protocol == ICMP:
        expect_sum(f"{where}ICMP", payload)
        if payload[0] in ICMP_ERRORS:
            expect_right_ipv4("quoted ", payload[8:])
