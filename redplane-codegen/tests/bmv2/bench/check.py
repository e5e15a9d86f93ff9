"""Checks that say what was expected and what was found."""

import time

# Seconds within which something that is bound to happen has happened, on a machine that is busy otherwise.
DEADLINE = 20.0
# Seconds between two looks at something that does not report by itself.
POLL = 0.02


class Failure(Exception):
    """The switch did not do what it should."""


def expect_equal(what, expected, found):
    """Fails unless two values are the same."""
    if found != expected:
        raise Failure(f"{what}\n    expected: {expected!r}\n    found:    {found!r}")


def expect(what, holds, found=None):
    """Fails unless something holds; `found` tells what was there instead."""
    if not holds:
        raise Failure(f"not so: {what}" if found is None else f"not so: {what}\n    found: {found!r}")


def wait_for(what, look, deadline=DEADLINE):
    """Looks until `look` returns something true, and returns it."""
    end = time.monotonic() + deadline
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failure(f"still not so after {deadline:.0f} s: {what}\n    found: {seen!r}")
        time.sleep(POLL)
