#!/usr/bin/env python3
"""Compares one lane with two, plain clients with cluster-aware ones; writes Markdown in about five minutes.

The load shares the two cores with the lanes, so rates grow less than the lanes could: the server's CPU time per
command says what a lane on a core of its own would gain. Needs two cores.
"""

import argparse
import copy
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import cost_text  # noqa: E402
import peers  # noqa: E402
import runs  # noqa: E402
import wire  # noqa: E402

WORKLOADS = {"SET": "set", "GET": "get", "TSDB_SET": "tsdb_set"}
DEPTHS = (1, 16, 64)
SERIES = 1_000
START_TIME_MS = 1_750_000_000_000
RATIO_MIN = 0.75
HOP_MAX = 1.0
# From this depth on the bar for hops counts.
HOP_DEPTH_MIN = 16
LOAD_AVERAGE_QUIET_MAX = 0.3
COST_FILE = pathlib.Path(__file__).with_name("COST.md")
# Name, lanes, whether the load goes to the lanes' own ports.
WAYS = (("one", 1, False), ("aware", 2, True), ("plain", 2, False))


def add_options(parser):
    """Options that only this section has."""
    parser.add_argument("--lane-rounds", type=int, default=3, help="of 1 and 2 lanes (default %(default)s)")
    parser.add_argument("--lane-seconds", type=float, default=1.5, help="measured per run (default %(default)s)")


def run_rounds(arguments, parent):
    """Reports and shares of hops by (way, test, depth)."""
    # Lanes and load have the same cores, so that one lane and two are compared under the same load.
    cores = f"{arguments.server_core},{arguments.client_core}"
    begin, total = time.monotonic(), arguments.lane_rounds * len(WAYS)
    results = {}
    for number in range(total):
        # Interleaved, and each way takes its turn at being first.
        round_number, position = divmod(number, len(WAYS))
        way, lanes, is_aware = WAYS[(position + round_number) % len(WAYS)]
        own = copy.copy(arguments)
        own.server_core = cores if lanes > 1 else arguments.server_core
        own.client_core, own.seconds, own.warmup = cores, arguments.lane_seconds, 0.3
        own.server_cmd = None
        base = peers.neighbouring_ports(lanes)
        server = peers.start_ticklane(own, parent, f"server.lane_port_base={base}", lanes=lanes)
        try:
            # Only the lanes' ports speak of a cluster.
            run_tests(own, server, way, ["--cluster", "-p", base] if is_aware else [], results)
        finally:
            server.stop()
        elapsed = time.monotonic() - begin
        left = elapsed / (number + 1) * (total - number - 1)
        print(f"lanes: {number + 1}/{total} done, about {left:.0f} s left", file=sys.stderr, flush=True)
    return results


def run_tests(arguments, server, way, options, results):
    """All tests at all depths on one server."""
    for test, workload in WORKLOADS.items():
        if workload == "get":
            # Writes the keys, which is not to be counted.
            runs.run_load(arguments, server, workload, 64, "-d", 0.1, *options)
        for depth in DEPTHS:
            more = ["-s", SERIES, "--series-prefix", f"stock_{depth}_", *options]
            if workload == "get":
                more += ["--no-preload", "--start-time", START_TIME_MS]
            before = counters(server)
            report = runs.run_load(arguments, server, workload, depth, *more)
            after = counters(server)
            hops, local = (after[name] - before[name] for name in ("hop_commands", "local_commands"))
            messages = after["hops_sent"] - before["hops_sent"]
            report["hop_share"] = hops / max(1, hops + local)
            report["commands_a_message"] = hops / messages if messages else 0.0
            results.setdefault((way, test, depth), []).append(report)
            print(f"lanes: {way} {test} P={depth}: {report['commands_per_second']:,.0f}/s, server CPU "
                  f"{report['server_cpu']['total_micros']:.2f} us", file=sys.stderr, flush=True)


def counters(server):
    """The server's own counters of all lanes."""
    client = wire.Client(server.port)
    fields = client.info("ticklane")
    client.close()
    return {name: int(fields[name]) for name in ("hop_commands", "local_commands", "hops_sent")}


def verdict(reached):
    """A word for the table."""
    return "met" if reached else "MISSED"


def table(arguments, parent):
    """The section's lines."""
    results = run_rounds(arguments, parent)

    def median(way, test, depth, *path):
        def value(report):
            for step in path:
                report = report[step]
            return report
        return statistics.median(value(report) for report in results[way, test, depth])

    ways = [name for name, _, _ in WAYS]
    lines = [
        "| test | P | one lane/s | two, cluster-aware/s | two, plain/s | plain of aware | wanted "
        "| server CPU us: one / aware / plain | plain of aware by CPU | model |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    hops = [
        "| test | P | commands that hop | commands a message | CPU us of a hop beside a local command "
        "| of a local SET | wanted | lanes by CPU: aware / plain | model: aware / plain |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|",
    ]
    for test in WORKLOADS:
        for depth in DEPTHS:
            rates = [median(way, test, depth, "commands_per_second") for way in ways]
            costs = [median(way, test, depth, "server_cpu", "total_micros") for way in ways]
            ratio = rates[2] / rates[1]
            expected = cost_text.expected_share(COST_FILE, test, depth, 2)
            model = f"{expected:.2f}" if expected else ""
            lines.append(
                f"| {test} | {depth} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[2]:,.0f} | {ratio:.2f} "
                f"| {RATIO_MIN} {verdict(ratio >= RATIO_MIN)} | {' / '.join(f'{cost:.2f}' for cost in costs)} "
                f"| {costs[1] / costs[2]:.2f} | {model} |"
            )
            share, filled = (median("plain", test, depth, name) for name in ("hop_share", "commands_a_message"))
            hop = (costs[2] - costs[1]) / share if share else 0.0
            of_set = hop / median("aware", "SET", depth, "server_cpu", "total_micros")
            wanted = f"at most {HOP_MAX} {verdict(of_set <= HOP_MAX)}" if depth >= HOP_DEPTH_MIN else ""
            gains = " / ".join(f"{2 * costs[0] / cost:.2f}" for cost in costs[1:])
            hops.append(f"| {test} | {depth} | {share:.0%} | {filled:.1f} | {hop:.2f} | {of_set:.2f} | {wanted} "
                        f"| {gains} | {f'2.00 / {2 * expected:.2f}' if expected else ''} |")
    return [*lines, "", *hops, "", *NOTES]


NOTES = (
    "Lanes and load share two cores: rates of two lanes are what is left beside the load, CPU per command is not "
    "touched by that.",
    "*Cluster-aware*: each connection goes to one lane's port and sends only keys of that lane; *plain*: to the "
    "common port, keys of both.",
    "*A hop*: CPU per command of plain less cluster-aware, by the share of commands that hop. With two lanes half "
    "of a pipeline goes to the other lane, so a message holds half of it.",
    "*Lanes by CPU*: how many lanes' worth of work two lanes do, if each has a core of its own: twice the CPU of a "
    "command on one lane, by that on two.",
    "*Model*: the same from the instructions that `make cost` counts in the program (COST.md); the kernel's part of "
    "a command, waking the other lane, and moving a message from one core's cache to the other's are not in it.",
)


def main():
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    target = os.environ.get("CARGO_TARGET_DIR", str(pathlib.Path.home() / ".cache/ticklane-target"))
    parser.add_argument("--server", default=f"{target}/release/ticklane", help="the ticklane binary")
    parser.add_argument("--load", default=f"{target}/release/ticklane-load", help="the load generator")
    add_options(parser)
    parser.add_argument("-k", "--keyspace", type=int, default=100_000, help="keys (default %(default)s)")
    parser.add_argument("--dir", help="parent of the data directories (default: a temporary directory)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for ticklane")
    parser.add_argument("--server-core", type=int, default=0, help="that of the first lane")
    parser.add_argument("--client-core", type=int, default=1, help="that of the second")
    parser.add_argument("--write", metavar="FILE", help="write the results there as well")
    arguments = parser.parse_args()
    if os.cpu_count() < 2:
        parser.error("two cores are needed")
    load_average = os.getloadavg()[0]
    if load_average > LOAD_AVERAGE_QUIET_MAX:
        print(f"warning: load average {load_average:.2f}; figures will be too low", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="ticklane-lanes-", dir=arguments.dir) as parent:
        lines = ["# One lane and two", "", "Written by `make lanes`; do not edit.", "", *table(arguments, parent)]
    lines += [
        "",
        "## Conditions",
        "",
        f"- ticklane: `{peers.version_of(arguments.server, '--version')}`, load: "
        f"`{peers.version_of(arguments.load, '--version')}`, {runs.CONNECTIONS} connections, "
        f"{arguments.keyspace:,} keys, {SERIES:,} series, fsync everysec",
        f"- {arguments.lane_rounds} interleaved rounds, medians; {arguments.lane_seconds} s a run",
        f"- cores {arguments.server_core} and {arguments.client_core} of {os.cpu_count()}: {peers.cpu_model()}",
        f"- kernel {os.uname().release}, load average before the start: {load_average:.2f}",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        pathlib.Path(arguments.write).write_text(text)


if __name__ == "__main__":
    main()
