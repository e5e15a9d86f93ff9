"""BMv2's simple_switch with one emitted program."""

import os
import re
import select
import socket
import subprocess
import time

from . import entries as control
from .check import DEADLINE, Failure, expect_equal, wait_for
from .network import command

# Where the switch listens. The network namespace is its own, so nobody else is there.
THRIFT_PORT = 9090
PROMPT = "RuntimeCmd: "


class CommandLine:
    """A simple_switch_CLI that stays open: it takes half a second to start."""

    def __init__(self):
        words = ["simple_switch_CLI", "--thrift-port", str(THRIFT_PORT)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        self.answer()

    def answer(self):
        """What it says until it asks for the next command."""
        text, end = b"", time.monotonic() + DEADLINE
        while not text.endswith(PROMPT.encode()):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            said = os.read(self.process.stdout.fileno(), 1 << 16) if readable else b""
            if not said:
                raise Failure(f"simple_switch_CLI gave no prompt but {text.decode()!r}")
            text += said
        return text.decode().removesuffix(PROMPT)

    def ask(self, line):
        """The answer to a command."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        said = self.answer()
        if re.search(r"error|invalid|unknown", said, re.IGNORECASE):
            raise Failure(f"simple_switch_CLI, {line}: {said.strip()}")
        return said

    def close(self):
        """Ends it."""
        self.process.stdin.close()
        self.process.wait(DEADLINE)


class Switch:
    """A switch that runs from `start` to `stop`, configured as entries.json says."""

    def __init__(self, program, entries, scratch, ports):
        self.entries = entries
        self.scratch = scratch
        self.ports = ports
        self.compiled = os.path.join(scratch, f"{entries['app']}.json")
        self.process = None
        self.command_line = None
        command("p4c-bm2-ss", program, "-o", self.compiled)

    def start(self, operator):
        """Starts the switch, and configures it. It dies with this program, however that ends."""
        words = ["setpriv", "--pdeathsig", "KILL", "simple_switch"]
        # The number names what some builds of BMv2 leave in /tmp: of switches side by side each has its own.
        words += ["--thrift-port", str(THRIFT_PORT), "--device-id", str(os.getpid())]
        for port in self.ports.values():
            words += ["-i", f"{port.number}@{port.switch_end}"]
        log = open(os.path.join(self.scratch, f"{self.entries['app']}.log"), "wb")
        with log:
            self.process = subprocess.Popen(words + [self.compiled], stdout=log, stderr=subprocess.STDOUT)
        wait_for("simple_switch listens", self.listens)
        self.command_line = CommandLine()
        for line in control.commands(self.entries, operator):
            self.command_line.ask(line)

    def listens(self):
        """Whether the control plane's port is open yet."""
        expect_equal("simple_switch is running, by its exit code", None, self.process.poll())
        try:
            socket.create_connection(("127.0.0.1", THRIFT_PORT), DEADLINE).close()
        except ConnectionRefusedError:
            return False
        return True

    def configure(self, operator):
        """Changes the configuration proper; tables stay."""
        for line in control.defaults(self.entries, operator):
            self.command_line.ask(line)

    def drops(self):
        """How many packets were dropped, by reason; what is zero is left out."""
        counted = {}
        for counter in self.entries["counters"]:
            for index, reason in enumerate(counter["names"]):
                said = self.command_line.ask(f"counter_read {counter['counter']} {index}")
                packets = int(re.search(r"(\d+) packets", said)[1])
                if packets:
                    counted[reason] = packets
        return counted

    def register(self, name):
        """All cells of a register of ingress."""
        ingress = self.entries["defaults"][0]["table"].split(".")[0]
        said = self.command_line.ask(f"register_read {ingress}.{name}")
        return [int(cell) for cell in said.split("=")[1].split(",")]

    def stop(self):
        """Ends what `start` started."""
        if self.command_line:
            self.command_line.close()
        if self.process:
            self.process.terminate()
            self.process.wait(DEADLINE)
