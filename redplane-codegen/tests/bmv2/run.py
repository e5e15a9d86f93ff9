"""Runs the scenarios of an app: its emitted P4 in BMv2's simple_switch, with hosts and a store.

    /usr/bin/python3 run.py nat --program nat.p4 --entries entries.json --schema schema.json --scratch out

Needs root, `ip`, `unshare` and `setpriv`, p4c-bm2-ss, simple_switch, simple_switch_CLI, and scapy. Everything
happens in a network namespace of its own. `--only` runs the scenarios whose name contains a word. The exit
code is 1 if one failed.
"""

import argparse
import importlib
import json
import sys
import time

from bench.network import enter_namespace


def arguments():
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("app", choices=["cache", "firewall", "gate", "load_balancer", "meter", "nat"])
    parser.add_argument("--program", required=True, help="the emitted P4")
    parser.add_argument("--entries", required=True, help="the emitted entries.json")
    parser.add_argument("--schema", required=True, help="the emitted schema.json")
    parser.add_argument("--tables", help="rows of the app's tables, by role")
    parser.add_argument("--scratch", required=True, help="a folder for what p4c and simple_switch write")
    parser.add_argument("--only", default="", help="part of a scenario's name")
    return parser.parse_args()


def main():
    """Runs them one after another; ends at the first that fails, as those after it would find its rest."""
    given = arguments()
    enter_namespace()
    # scapy looks at the network interfaces when it is imported: only now are they there.
    from bench.bench import Bench, scenarios
    from bench.check import Failure

    configuration = importlib.import_module(f"scenarios.{given.app}").OPERATOR
    if given.tables:
        with open(given.tables, encoding="utf-8") as file:
            configuration = {**configuration, **json.load(file)}
    chosen = [function for function in scenarios if given.only in function.__name__]
    with Bench(given.program, given.entries, given.schema, given.scratch, configuration) as bench:
        for function in chosen:
            start = time.monotonic()
            try:
                function(bench)
                bench.finish_scenario()
            except Failure as failure:
                print(f"FAILED: {given.app}: {function.__name__}: {function.__doc__}\n  {failure}")
                return 1
            print(f"ok: {given.app}: {function.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(chosen)} scenarios of {given.app} passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
