"""The cables of a switch: veth pairs in a network namespace without a name.

Having no name it cannot clash with another run's, and the kernel removes it, and all that is in it, with its
last process, however that ends.
"""

import os
import select
import socket
import struct
import subprocess
import sys
import time

from .check import DEADLINE, Failure

# Set in the process that runs within the namespace.
INSIDE = "REDPLANE_BENCH_INSIDE"
# Bytes of an IPv4 packet that a cable takes: more than the switch lets through to the store.
MTU = 4000

# <linux/if_packet.h>, which Python's socket module leaves out.
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID = 1 << 4
AUXDATA = struct.Struct("=IIIHHHH")
ETH_P_ALL = 3


def enter_namespace():
    """Starts this program again within a network namespace of its own, unless it is there already."""
    if os.environ.get(INSIDE) == "1":
        command("ip", "link", "set", "lo", "up")
        return
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", "--", sys.executable] + sys.argv)


def command(*words):
    """Runs a command, and fails with what it said if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


class Port:
    """The far end of a switch's port: what a host there sends and receives."""

    def __init__(self, number):
        self.number = number
        self.switch_end = f"switch{number}"
        self.host_end = f"host{number}"
        command("ip", "link", "add", self.switch_end, "type", "veth", "peer", "name", self.host_end)
        for end in (self.switch_end, self.host_end):
            command("ip", "link", "set", end, "mtu", str(MTU), "up")
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((self.host_end, 0))
        self.socket.setblocking(False)

    def __str__(self):
        return f"port {self.number}"

    def send(self, packet):
        """Sends a frame to the switch."""
        self.socket.send(bytes(packet))

    def poll(self, deadline):
        """The next frame that came out of the switch, or None if there is none within `deadline` seconds."""
        end = time.monotonic() + deadline
        while True:
            readable, _, _ = select.select([self.socket], [], [], max(0.0, end - time.monotonic()))
            if not readable:
                return None
            frame, ancillary, _, address = self.socket.recvmsg(65536, socket.CMSG_SPACE(AUXDATA.size))
            if address[2] != PACKET_OUTGOING:
                return with_tag(frame, ancillary)

    def receive(self, what="a frame"):
        """The next frame that came out of the switch."""
        frame = self.poll(DEADLINE)
        if frame is None:
            raise Failure(f"{what} by {self}\n    expected: within {DEADLINE:.0f} s\n    found:    nothing")
        return frame


def with_tag(frame, ancillary):
    """The frame as it was on the cable: Linux takes the outer VLAN tag out of it and tells it beside it."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tag, protocol = AUXDATA.unpack(data[:AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                return frame[:12] + struct.pack("!HH", protocol, tag) + frame[12:]
    return frame


def lay_cables(count):
    """The ports of a switch, numbered from one. IPv6 is off, so that Linux says nothing of its own accord."""
    with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as switch:
        switch.write("1")
    return {number: Port(number) for number in range(1, count + 1)}
