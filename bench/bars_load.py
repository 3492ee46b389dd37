"""Sections that send a steady load: latency at half the peak rate, many connections, a long mixed run."""

import dataclasses
import pathlib
import resource
import subprocess
import sys
import time

import peers
import runs
import wire

PEAK_SHARE = 0.5
PEAK_SECONDS = 10
# Of the time of a latency run, so much again for a command that touches nothing.
FLOOR_SHARE = 0.1
SERIES = 10_000
# Descriptors besides connections: 8 databases of one lane, the log, the ring, and what the start insists on.
DESCRIPTORS_SPARE = 700
# Commands a second of each active connection.
ACTIVE_RATE = 1.0
ACTIVE_SECONDS_MAX = 90
# Created twice, evicted once.
LABEL_SECONDS_PER_SERIES = 240e-6
MIXTURE = "tsdb_set=30,ts_add=20,set=20,get=20,tsdb_get:100=5,tsdb_mset:10=5"
ENDURANCE_DEPTH = 16
ENDURANCE_ROWS_MAX = 20
# Sleeps for a millisecond again and again; prints the longest oversleep in milliseconds when its input ends.
PROBE = """
import select, sys, time
worst = 0.0
while True:
    begin = time.perf_counter()
    ended = select.select([sys.stdin], [], [], 0.001)[0]
    if ended:
        break
    worst = max(worst, time.perf_counter() - begin - 0.001)
print(worst * 1e3)
"""
COUNTED = ("checkpoints", "commits", "fsyncs", "commit_stalls")


def met(reached):
    """A word for the table."""
    return "met" if reached else "MISSED"


def met_all(reached):
    """A word for several wishes by name, and which of them were missed."""
    missed = [name for name, is_met in reached.items() if not is_met]
    return f"MISSED: {', '.join(missed)}" if missed else "met"


def latency_minutes(arguments, depth):
    """The first depth is the bar and has all of the time, further ones half of it."""
    return arguments.minutes if depth == arguments.depths[0] else arguments.minutes / 2


def expected_seconds(arguments):
    """About how long each section takes."""
    steady = min(ACTIVE_SECONDS_MAX, arguments.seconds)
    return {
        "latency": sum(latency_minutes(arguments, depth) * 60 * (1 + FLOOR_SHARE) + 20 for depth in arguments.depths),
        "connections": 2 * (steady + min(10, steady) + 10),
        "endurance": arguments.seconds + 15,
        "labels": 40 + arguments.label_series * LABEL_SECONDS_PER_SERIES,
    }


def progress(text):
    """One line that the next one overwrites."""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(text.ljust(100), end=end, file=sys.stderr, flush=True)


class Probe:
    """Measures how long the machine itself keeps a process waiting, on the core of the load."""

    def __init__(self, core):
        command = ["taskset", "-c", str(core), sys.executable, "-c", PROBE]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self):
        """The longest oversleep in milliseconds."""
        printed, _ = self.process.communicate("")
        return float(printed)


@dataclasses.dataclass(frozen=True)
class Moment:
    """What the server had used at a time."""

    at: float
    mib: float
    cpu_seconds: float
    waited_seconds: float


class Watch:
    """Called each second of a run: shows progress and keeps what the server has used."""

    def __init__(self, server, name, seconds):
        self.server, self.name, self.seconds = server, name, seconds
        self.begin = time.monotonic()
        self.moments = []

    def __call__(self):
        server, now = self.server, time.monotonic()
        mib = resident_mib(server)
        self.moments.append(Moment(now, mib, server.cpu_seconds(), server.lane_waited_seconds()))
        if len(self.moments) % 10 == 0:
            elapsed = now - self.begin
            progress(f"{self.name}: {elapsed:.0f} of about {self.seconds:.0f} s, {mib:.0f} MiB resident")

    def before_the_end(self, seconds):
        """The moment so long before the last one."""
        wanted = self.moments[-1].at - seconds
        return min(self.moments, key=lambda moment: abs(moment.at - wanted))


def resident_mib(server):
    """Resident memory of the server."""
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def counters(server):
    """What the server counts, as integers."""
    client = wire.Client(server.port)
    try:
        fields = client.info("ticklane") | client.info("rocksdb")
        return {name: int(fields[name]) for name in COUNTED}
    finally:
        client.close()


def curve(arguments, name):
    """Options that write the curves of a run."""
    return ["-o", str(pathlib.Path(arguments.curves, name))] if arguments.curves else []


def latency(arguments, parent):
    """TSDB_SET at half of its peak rate."""
    lines = [
        "## Latency at half the peak rate",
        "",
        f"TSDB_SET in {SERIES:,} series over {runs.CONNECTIONS} connections, open loop (latency counts from "
        f"when a command was due), at {PEAK_SHARE:.0%} of what a closed loop of the same depth had reached before.",
        "Wanted: p99 under 1 ms, p99.9 under 5 ms, no pause over 50 ms.",
        f"PING then: the same server and rate afterwards, for {FLOOR_SHARE:.0%} of the time, with a command that touches "
        "nothing: what the machine, the network and the load generator alone make of it.",
        "",
        "| arriving together | minutes | peak/s | rate/s | p50 ms | p99 ms | p99.9 ms | max ms | verdict "
        "| PING then p99 / p99.9 / max ms | generator late p99.9 / max ms | probe ms | waited | checkpoints | stalls "
        "| MiB at the end |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for depth in arguments.depths:
        server = peers.start_ticklane(arguments, parent)
        try:
            lines.append(latency_row(arguments, server, depth))
        finally:
            server.stop()
    return lines


def latency_row(arguments, server, depth):
    """The row of one depth."""
    series = ["-s", SERIES, "--series-prefix"]
    short = ["-d", min(PEAK_SECONDS, arguments.seconds)]
    peak = runs.run_load(arguments, server, "tsdb_set", depth, *series, "stock_p_", *short)
    rate = peak["commands_per_second"] * PEAK_SHARE
    minutes = latency_minutes(arguments, depth)
    watch = Watch(server, f"latency P={depth} at {rate:,.0f}/s", minutes * 60 + arguments.warmup)
    before, probe = counters(server), Probe(arguments.client_core)
    begin, waited = time.monotonic(), server.lane_waited_seconds()
    out = curve(arguments, f"half-peak-p{depth}")
    report = runs.run_load(
        arguments, server, "tsdb_set", depth, *series, "stock_h_", *out, "-d", minutes * 60, rate=rate,
        each_second=watch,
    )
    waited = (server.lane_waited_seconds() - waited) / (time.monotonic() - begin)
    overslept, after = probe.stop(), counters(server)
    mib = resident_mib(server)
    progress(f"PING at {rate:,.0f}/s")
    seconds = max(minutes * 60 * FLOOR_SHARE, 1)
    floor = runs.run_load(arguments, server, "ping", depth, "-d", seconds, rate=rate)["latency"]
    floor = " / ".join(f"{floor[name] / 1e3:.3f}" for name in ("p99", "p999", "max"))
    times, lag = report["latency"], report["lag"]
    p50, p99, p999, longest = (times[name] / 1e3 for name in ("p50", "p99", "p999", "max"))
    kept_up = report["commands_per_second"] >= 0.99 * rate
    verdict = met_all({"rate": kept_up, "p99": p99 < 1, "p99.9": p999 < 5, "pause": longest <= 50})
    return (
        f"| {depth} | {minutes:.3g} | {peak['commands_per_second']:,.0f} | {report['commands_per_second']:,.0f} "
        f"| {p50:.3f} | {p99:.3f} | {p999:.3f} | {longest:.1f} | {verdict} "
        f"| {floor} | {lag['p999'] / 1e3:.2f} / {lag['max'] / 1e3:.1f} | {overslept:.1f} | {waited:.1%} "
        f"| {after['checkpoints'] - before['checkpoints']} "
        f"| {after['commit_stalls'] - before['commit_stalls']} | {mib:.0f} |"
    )


def raised_descriptor_limit(needed):
    """The limit of open files that the server inherits: `needed`, or what this machine allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        # Beyond the hard limit it takes a privilege.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, hard),) * 2)
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections(arguments, parent):
    """Many connections, active and idle."""
    limit = raised_descriptor_limit(max(arguments.active, arguments.idle + runs.CONNECTIONS) + DESCRIPTORS_SPARE)
    room = limit - DESCRIPTORS_SPARE
    active, idle = min(arguments.active, room), min(arguments.idle, room - runs.CONNECTIONS)
    lines = ["## Many connections", ""]
    if active < arguments.active or idle < arguments.idle:
        lines += [f"The limit of open files on this machine is {limit:,}: {idle:,} of {arguments.idle:,} "
                  f"idle and {active:,} of {arguments.active:,} active connections are all that fit.", ""]
    lines += [
        f"Active: GET of {arguments.keyspace:,} keys, {ACTIVE_RATE:g} a second on each connection, open "
        f"loop. Idle: so many beside {runs.CONNECTIONS} that are active, asked for a PING at the end.",
        "Memory per connection is the growth of the server's resident memory from before connecting to the "
        "end, caches included, divided by the connections. Beyond 20,000 they come from 127.0.0.2 and so on.",
        "",
        "| connections | wanted | p50 ms | p99 ms | p99.9 ms | max ms "
        "| KiB per connection, connected / at the end | lost | verdict |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    seconds = min(ACTIVE_SECONDS_MAX, arguments.seconds)
    for name, count, extra in (("active", active, 0), ("idle", runs.CONNECTIONS, idle)):
        server = peers.start_ticklane(arguments, parent, f"server.max_connections={count + extra + 100}")
        try:
            options = ["-c", count, "--idle-connections", extra, "-d", seconds, "-w", min(10, seconds)]
            options += curve(arguments, f"connections-{name}")
            rate = count * ACTIVE_RATE if name == "active" else 1000
            watch = Watch(server, f"{name} connections", seconds)
            report = runs.run_load(arguments, server, "get", 1, *options, rate=rate, each_second=watch)
        finally:
            server.stop()
        missing = (arguments.active if name == "active" else arguments.idle) - max(extra, 0 if extra else count)
        lines.append(connections_row(name, count + extra, report, missing))
    return lines


def connections_row(name, count, report, missing):
    """The row of active or of idle connections, of which the machine's limit left so many out."""
    times, memory = report["latency"], report["server_memory"]
    p50, p99, p999, longest = (times[key] / 1e3 for key in ("p50", "p99", "p999", "max"))
    kib = (max(memory["after"], memory["connected"]) - memory["before"]) / count / 1024
    connected = memory["per_connection"] / 1024
    if name == "active":
        wanted, verdict = "p99 under 5 ms, at most 12 KiB", met_all({"p99": p99 < 5, "memory": kib <= 12})
    else:
        wanted, verdict = "none lost", met_all({"lost": report["idle_lost"] == 0})
    if missing > 0:
        verdict += f", without {missing:,} that do not fit"
    return (
        f"| {count:,} {name} | {wanted} | {p50:.3f} | {p99:.3f} | {p999:.3f} | {longest:.1f} "
        f"| {connected:.1f} / {kib:.1f} | {report['idle_lost']} | {verdict} |"
    )


def endurance(arguments, parent):
    """A mixed load as fast as it goes."""
    server = peers.start_ticklane(arguments, parent)
    try:
        budget = memory_budget_mib(server)
        watch = Watch(server, "endurance", arguments.seconds)
        before = counters(server)
        options = ["-s", SERIES, *curve(arguments, "endurance")]
        report = runs.run_load(arguments, server, MIXTURE, ENDURANCE_DEPTH, *options, each_second=watch)
        after = counters(server)
        disk_mib = peers.directory_bytes(server.data_dir)[0] / 2**20
    finally:
        server.stop()
    by_second, peak = report["commands_by_second"], max(moment.mib for moment in watch.moments)
    span = min(60, max(1, len(by_second) // 4))
    first, last = (sum(part) / len(part) for part in (by_second[:span], by_second[-span:]))
    costs = [cpu_micros(report, watch, start, span)[0] for start in (0, len(by_second) - span)]
    grown = {name: after[name] - before[name] for name in COUNTED}
    lines = [
        "## A long mixed run at full speed",
        "",
        f"`{MIXTURE}`, {runs.CONNECTIONS} connections, {ENDURANCE_DEPTH} in flight on each, {SERIES:,} "
        f"series, {arguments.minutes:.3g} minutes: {report['commands']:,} commands, "
        f"{grown['checkpoints']:,} checkpoints, {grown['commit_stalls']:,} stalls, "
        f"{disk_mib:,.0f} MiB on disk at the end.",
        "The budget is what the settings allow: `block_cache`, `write_buffers`, `series_memory`, and "
        "`read_cache` and `decoded_cache` of each lane.",
        "",
        "| what | measured | wanted | verdict |",
        "|---|--:|--:|---|",
        f"| last {span} s against the first {span} s, commands/s | {last:,.0f} / {first:,.0f} "
        f"= {last / first:.2f} | 0.9 | {met(last >= 0.9 * first)} |",
        f"| the same by the server's CPU, us per command | {costs[1]:.2f} / {costs[0]:.2f} | | |",
        f"| most resident memory | {peak:,.0f} MiB | {budget:,.0f} MiB | {met(peak <= budget)} |",
        "",
        "| from second | commands/s | CPU us per command | waited | p99 ms, median of the seconds "
        "| worst second's p99 ms | resident MiB |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    return lines + endurance_rows(report, watch)


def cpu_micros(report, watch, start, seconds):
    """From a second of the run on: the server's CPU time per command, the share of time the lane waited."""
    total = len(report["commands_by_second"])
    begin, end = watch.before_the_end(total - start), watch.before_the_end(total - start - seconds)
    commands = sum(report["commands_by_second"][start:start + seconds])
    elapsed = max(end.at - begin.at, 1e-9)
    used = (end.cpu_seconds - begin.cpu_seconds) / max(commands, 1) * 1e6
    return used, (end.waited_seconds - begin.waited_seconds) / elapsed


def endurance_rows(report, watch):
    """The run in equal parts."""
    by_second, p99 = report["commands_by_second"], report["p99_by_second"]
    step = max(1, -(-len(by_second) // ENDURANCE_ROWS_MAX))
    lines = []
    for begin in range(0, len(by_second), step):
        part, times = by_second[begin:begin + step], sorted(p99[begin:begin + step])
        used, waited = cpu_micros(report, watch, begin, len(part))
        mib = watch.before_the_end(len(by_second) - begin - len(part)).mib
        lines.append(
            f"| {begin} | {sum(part) / len(part):,.0f} | {used:.2f} | {waited:.0%} "
            f"| {times[len(times) // 2] / 1e3:.2f} | {times[-1] / 1e3:.2f} | {mib:,.0f} |"
        )
    return lines


def memory_budget_mib(server):
    """What the settings of the running server allow its caches and buffers."""
    settings = pathlib.Path(f"/proc/{server.pid}/cmdline").read_bytes().decode().split("\0")
    storage = (word.removeprefix("storage.") for word in settings if word.startswith("storage."))
    given = dict(word.split("=", 1) for word in storage)
    default = {"block_cache": 256, "write_buffers": 256, "series_memory": 256, "read_cache": 64,
               "decoded_cache": 64}
    factors = {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}

    def mib(name):
        if name not in given:
            return default[name]
        number, _, unit = given[name].partition(" ")
        return float(number) * factors.get(unit, 0)

    return sum(mib(name) for name in default)
