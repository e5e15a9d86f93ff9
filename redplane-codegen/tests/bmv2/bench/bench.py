"""A switch with its cables, hosts on two ports, and a store that says what the scenario tells it to."""

import contextlib
import json

from scapy.layers.l2 import Ether
from scapy.packet import Raw

from .check import Failure, expect_equal, wait_for
from .message import Codec, Envelope, Kind
from .network import lay_cables
from .switch import Switch

# The switch: its identity, its address towards the store, and what it is by default. Ticks are 1.024 ms. A
# lease and a timeout of ten minutes never end by themselves: a scenario that is about time says so, or dates
# its answers back.
SWITCH_ID = 7
INCARNATION = 3
SWITCH_ADDRESS = "10.0.0.254"
LONG = 600_000
STORE_MTU = 1600

# Ports: two with hosts, the last one with the store. BMv2 looks at them in this order.
LEFT, RIGHT, STORE = 1, 2, 3
STORE_MAC = "02:00:00:00:00:aa"
PORT_MACS = {LEFT: "02:00:00:00:00:01", RIGHT: "02:00:00:00:00:02", STORE: "02:00:00:00:00:03"}
HOST_MACS = {LEFT: "02:00:00:00:00:b1", RIGHT: "02:00:00:00:00:b2"}

# EtherType of a marker (IEEE 802, local experimental 2).
ETHERTYPE_MARKER = 0x88B6

scenarios = []


def scenario(function):
    """Registers a scenario of the file that is being run; they run in the order in which they stand there."""
    scenarios.append(function)
    return function


def route(prefix, port):
    """A route of forward() to the host on a port."""
    macs = {"port.mac": PORT_MACS[port], "route.mac": HOST_MACS[port]}
    return {"route.prefix": prefix, "route.port": port, **macs}


def table(rows):
    """An operator table of the app."""
    return [{"entry.key": key, "entry.value": value} for key, value in rows.items()]


def store_address(shard):
    """Where the head of a shard's chain is."""
    return f"10.0.0.{200 + shard}"


def operator(shards=1, routes=(), cpu_ports=(), **tables):
    """An operator's configuration, by the roles of entries.json."""
    shard = {"shard.port": STORE, "shard.mac": STORE_MAC, "port.mac": PORT_MACS[STORE]}
    configuration = {
        "switch.id": SWITCH_ID,
        "switch.incarnation": INCARNATION,
        "switch.address": SWITCH_ADDRESS,
        "lease.ticks": LONG,
        "resend.ticks": LONG,
        "shards.count": shards,
        "store.mtu": STORE_MTU,
        "shards": [{"shard.index": i, "shard.address": store_address(i), **shard} for i in range(shards)],
        "routes": list(routes),
        "store_facing_ports": [{"port": STORE}],
        "cpu_ports": [{"port": port} for port in cpu_ports],
    }
    configuration.update({f"tables.{name}": table(rows) for name, rows in tables.items()})
    return configuration


class Store:
    """The scripted store: what comes to its port are messages, and it answers as the scenario says."""

    def __init__(self, port, codec):
        self.port = port
        self.codec = codec
        self.envelope = Envelope(PORT_MACS[STORE], SWITCH_ADDRESS, STORE_MAC)
        self.asked = None

    def expect(self, kind, incarnation=INCARNATION, **fields):
        """The next message, which must be of this kind and have these fields."""
        frame = self.port.receive(kind.name)
        payload, self.asked = self.envelope.unwrap(frame)
        message = self.codec.decode(payload)
        blank = self.codec.blank()
        expected = {
            "kind": kind,
            "version": blank.version,
            "app": blank.app,
            "fingerprint": blank.fingerprint,
            "switch": SWITCH_ID,
            "incarnation": incarnation,
            "reason": 0,
            **({} if kind == Kind.LEASE else {"ticket": 0}),
            **fields,
        }
        for name, value in expected.items():
            expect_equal(f"{name} of {message}", value, getattr(message, name))
        return message

    def send(self, message):
        """Sends a message to the switch."""
        self.send_payload(self.codec.encode(message))

    def send_payload(self, payload):
        """Sends whatever bytes as a message to the switch."""
        self.port.send(self.envelope.wrap(payload, store_address(0)))

    def answer(self, request, kind, **changes):
        """Answers a request."""
        self.send(request.answer(kind, **changes))

    def grant(self, request, value, **changes):
        """Grants what a LEASE asks for."""
        self.answer(request, Kind.GRANT, **{"value": value, "generation": 1, "sequence": 0, **changes})


class Bench:
    """The whole arrangement. `with` starts it and takes it down."""

    def __init__(self, program, entries, schema, scratch, configuration):
        with open(entries, encoding="utf-8") as file:
            self.entries = json.load(file)
        with open(schema, encoding="utf-8") as file:
            self.schema = json.load(file)
        self.ports = lay_cables(STORE)
        self.left, self.right = self.ports[LEFT], self.ports[RIGHT]
        self.codec = Codec(self.schema)
        self.store = Store(self.ports[STORE], self.codec)
        self.configuration = configuration
        self.switch = Switch(program, self.entries, scratch, self.ports)
        self.dropped = {}
        self.markers = 0

    def __enter__(self):
        try:
            self.switch.start(self.configuration)
        except BaseException:
            self.switch.stop()
            raise
        return self

    def __exit__(self, *_):
        self.switch.stop()

    def configure(self, **roles):
        """Changes the configuration, given by role with `_` for `.`, until the scenario ends."""
        changes = {name.replace("_", ".", 1): value for name, value in roles.items()}
        self.switch.configure({**self.configuration, **changes})

    @contextlib.contextmanager
    def expect_drops(self, **expected):
        """What happens within drops these packets and no others, by reason."""
        yield
        for reason, packets in expected.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + packets
        self.expect_drops_as_told()

    def expect_drops_as_told(self):
        """Waits until as many packets were dropped as the scenarios told, and fails if there are more."""
        seen = {}

        def counted():
            seen.clear()
            seen.update(self.switch.drops())
            return all(seen.get(reason, 0) >= packets for reason, packets in self.dropped.items())

        try:
            wait_for("packets are dropped", counted)
        except Failure:
            pass
        expect_equal("packets dropped since the switch started, by reason", self.dropped, seen)

    def frames_before_marker(self, port):
        """What came out of a port before a marker that goes through the switch now.

        The marker is carried by an ACK, which releases what it carries whatever the slots hold. The switch
        takes one packet at a time and keeps the order of each port, so that all that earlier packets caused
        comes out before.
        """
        self.markers += 1
        mac = HOST_MACS[LEFT]
        marker = bytes(Ether(dst=mac, src=mac, type=ETHERTYPE_MARKER) / Raw(self.markers.to_bytes(46, "big")))
        blank = self.codec.blank(switch=SWITCH_ID, incarnation=INCARNATION)
        self.store.answer(blank, Kind.ACK, port=port.number, carried=marker)
        frames = []
        while True:
            frame = port.receive("a marker")
            if frame == marker:
                return frames
            frames.append(frame)

    def expect_nothing(self, port, why):
        """Nothing more came out of a port."""
        frames = self.frames_before_marker(port)
        if frames:
            found = "; ".join(described(frame) for frame in frames)
            raise Failure(f"{why}\n    expected: nothing by {port}\n    found:    {found}")

    def expect_no_message(self, why):
        """Nothing more came to the store."""
        self.expect_nothing(self.store.port, why)

    def finish_scenario(self):
        """Nothing is left over, nothing was dropped silently, and the configuration is as it was."""
        self.switch.configure(self.configuration)
        for port in self.ports.values():
            self.expect_nothing(port, "the scenario has seen all there was")
        self.expect_drops_as_told()


def described(frame):
    """A frame in one line."""
    return f"{Ether(frame).summary()} ({frame.hex()})"
