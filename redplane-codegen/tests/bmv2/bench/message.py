"""Messages of the replication protocol, by the wire format's offsets (guide, "The protocol")."""

import dataclasses
import enum
import struct

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from . import checksum
from .check import Failure, expect_equal

VERSION = 1
UDP_PORT = 21072
HEADER = struct.Struct("!BBBBHHHHIIIIH")
ENVELOPE_BYTES = 14 + 20 + 8
# Stands where a port would: process the carried packet anew.
PORT_RECIRCULATE = 0xFFFE
# Flag of LEASE: make the record if it is absent.
CREATE = 1


class Kind(enum.IntEnum):
    """What a message is."""

    LEASE = 1
    WRITE = 2
    READ = 3
    RENEW = 4
    RELEASE = 5
    GRANT = 17
    ACK = 18
    NACK = 19
    RECALL = 20


class Reason(enum.IntEnum):
    """Why a NACK."""

    ABSENT = 1
    REFUSED = 2
    STALE = 3
    BUSY = 4


@dataclasses.dataclass(frozen=True)
class Message:
    """One message, key and value as fields by name, as schema.json has them."""

    version: int
    kind: int
    flags: int
    reason: int
    app: int
    fingerprint: int
    switch: int
    incarnation: int
    generation: int
    sequence: int
    ticket: int
    sent_at: int
    port: int
    key: dict
    value: dict
    carried: bytes

    def answer(self, kind, **changes):
        """The store's answer: this message, of another kind and without flags, with these changes."""
        return dataclasses.replace(self, **{"kind": kind, "flags": 0, **changes})


class Codec:
    """Reads and writes the messages of an app, which schema.json describes."""

    def __init__(self, schema):
        self.schema = schema

    def decode(self, payload):
        """A message from a UDP payload."""
        key_bytes, value_bytes = (self.schema[part]["bytes"] for part in ("key", "value"))
        if len(payload) < HEADER.size + key_bytes + value_bytes:
            raise Failure(f"a message of {len(payload)} bytes is too short: {payload.hex()}")
        key, rest = payload[HEADER.size:][:key_bytes], payload[HEADER.size + key_bytes:]
        return Message(
            *HEADER.unpack_from(payload),
            key=self.fields("key", key),
            value=self.fields("value", rest[:value_bytes]),
            carried=rest[value_bytes:],
        )

    def encode(self, message):
        """The UDP payload of a message."""
        header = [getattr(message, field.name) for field in dataclasses.fields(Message)[:13]]
        key, value = self.bytes("key", message.key), self.bytes("value", message.value)
        return HEADER.pack(*header) + key + value + message.carried

    def blank(self, **changes):
        """A message with zeros for key and value."""
        header = {field.name: 0 for field in dataclasses.fields(Message)[:13]}
        header["version"] = VERSION
        header["app"] = self.schema["id"]
        header["fingerprint"] = int(self.schema["fingerprint"], 16)
        key, value = (self.fields(part, bytes(self.schema[part]["bytes"])) for part in ("key", "value"))
        return Message(**{**header, "key": key, "value": value, "carried": b"", **changes})

    def fields(self, part, data):
        """The fields of a key or a value."""
        values = {}
        for field in self.schema[part]["fields"]:
            values[field["name"]] = decoded(field["type"], data[field["offset"]:][:field["bytes"]])
        return values

    def bytes(self, part, values):
        """The same way back."""
        return b"".join(encoded(field, values[field["name"]]) for field in self.schema[part]["fields"])


def decoded(kind, data):
    """A field's value: text for addresses, otherwise a number."""
    if kind == "ipv4":
        return ".".join(str(byte) for byte in data)
    if kind == "mac":
        return data.hex(":")
    return int.from_bytes(data, "big")


def encoded(field, value):
    """A field on the wire."""
    if field["type"] == "ipv4":
        return bytes(int(part) for part in value.split("."))
    if field["type"] == "mac":
        return bytes.fromhex(value.replace(":", ""))
    return value.to_bytes(field["bytes"], "big")


class Envelope:
    """What is around a message: Ethernet, IPv4, UDP. From the switch's side to a store's, and back."""

    def __init__(self, switch_mac, switch_address, store_mac):
        self.switch_mac = switch_mac
        self.switch_address = switch_address
        self.store_mac = store_mac

    def wrap(self, payload, store_address):
        """The frame by which a store sends a message."""
        ethernet = Ether(src=self.store_mac, dst=self.switch_mac)
        ip = IP(src=store_address, dst=self.switch_address)
        return ethernet / ip / UDP(sport=UDP_PORT, dport=UDP_PORT) / Raw(payload)

    def unwrap(self, frame):
        """The message within a frame that came to the store, and the store's address that it was sent to."""
        packet = Ether(frame)
        if IP not in packet or UDP not in packet:
            raise Failure(f"no message, but {packet.summary()}: {frame.hex()}")
        ip, udp = packet[IP], packet[UDP]
        checksum.expect_right(frame)
        link = (packet.dst, packet.src)
        expect_equal("link addresses of a message", (self.store_mac, self.switch_mac), link)
        expect_equal("source of a message", self.switch_address, ip.src)
        expect_equal("IPv4 length of a message", len(frame) - 14, ip.len)
        expect_equal("IPv4 flags of a message", "DF", str(ip.flags))
        expect_equal("TTL of a message", 64, ip.ttl)
        expect_equal("UDP ports of a message", (UDP_PORT, UDP_PORT), (udp.sport, udp.dport))
        expect_equal("UDP length of a message", ip.len - 20, udp.len)
        expect_equal("UDP checksum of a message", 0, udp.chksum)
        return frame[ENVELOPE_BYTES:], ip.dst
