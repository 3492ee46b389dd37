"""Section of the label index: many series with five labels, queries that match 100 of them, cold and warm."""

import statistics
import time

import bars_load
import peers
import wire

# 100 series have one `host`; one `metric` and one `rack` together match as many hosts as a rack has.
METRICS = 100
HOSTS_PER_RACK = 100
REGIONS = 10
UNITS = 4
MATCHING = 100
CREATED_PER_PIPELINE = 200
QUERIES = 200
MILLISECONDS_MAX = 10
START_MS = 1_750_000_000_000
# Sealing begins after `storage.head_idle`; then keys leave memory at the next checkpoints.
EVICTION_SECONDS_MAX = 300
EVICTING_BYTES_MIN = 100_000
UNCHANGED_SECONDS = 10
# Of a series: it has several hundred while it is in memory.
EVICTED_BYTES = 4
IN_MEMORY = ("storage.series_memory=64 GiB", "storage.read_cache=8 GiB", "storage.head_idle=1 d")
EVICTED = ("storage.series_memory=8 MiB", "storage.read_cache=8 MiB", "storage.head_idle=1 s",
           "storage.checkpoint_interval=5 s")


def create(port, series):
    """Creates the series with a sample each; returns the seconds it took."""
    client = wire.Client(port)
    begin = time.perf_counter()
    for first in range(0, series, CREATED_PER_PIPELINE):
        numbers = range(first, min(series, first + CREATED_PER_PIPELINE))
        client.pipeline(b"".join(map(create_request, numbers)), len(numbers))
        if first % (series // 10) < CREATED_PER_PIPELINE:
            bars_load.progress(f"labels: {first:,} of {series:,} series")
    client.close()
    return time.perf_counter() - begin


def create_request(number):
    """TS.ADD of the first sample of a series, which creates it."""
    host, metric = divmod(number, METRICS)
    rack = host // HOSTS_PER_RACK
    return wire.encode(
        "TS.ADD", f"iot_{number:07}", START_MS + number % 1000, number % 97, "LABELS",
        "host", f"h{host:05}", "metric", f"m{metric:02}", "rack", f"r{rack:03}",
        "region", f"e{rack % REGIONS}", "unit", f"u{metric % UNITS}",
    )


def queries(series):
    """(name, filters by number of the query) of the two ways to match 100 series."""
    hosts = max(1, series // METRICS)
    racks = max(1, hosts // HOSTS_PER_RACK)

    def by_host(number):
        return [f"host=h{number * 7919 % hosts:05}"]

    def by_rack(number):
        metric = number * 31 % METRICS
        return [f"metric=m{metric:02}", f"rack=r{number * 17 % racks:03}", f"unit=u{metric % UNITS}"]

    return (("one label", by_host), ("three labels intersected", by_rack))


def measure(server, series, state):
    """Rows of one state of the server: the first query of each kind, then the rest."""
    client, rows = wire.Client(server.port), []
    for command, prefix in (("TS.QUERYINDEX", []), ("TS.MGET", ["WITHLABELS", "FILTER"])):
        for name, filters in queries(series):
            times, cpu = [], server.cpu_seconds()
            for number in range(QUERIES):
                took, reply = client.milliseconds(command, *prefix, *filters(number))
                if len(reply) != MATCHING:
                    raise RuntimeError(f"{command} {filters(number)} found {len(reply)} series")
                times.append(took)
            cpu_ms = (server.cpu_seconds() - cpu) / QUERIES * 1e3
            first, middle = times[0], statistics.median(times)
            times.sort()
            p99 = times[int(len(times) * 0.99)]
            rows.append(
                f"| {state} | {command} | {name} | {first:.2f} | {middle:.2f} | {p99:.2f} | {times[-1]:.2f} "
                f"| {cpu_ms:.2f} | {bars_load.met(middle < MILLISECONDS_MAX and p99 < MILLISECONDS_MAX)} |"
            )
    client.close()
    return rows


def wait_for_eviction(server, series):
    """Waits until the server keeps little of the series in memory; returns the MiB that it still keeps."""
    client = wire.Client(server.port)
    client.ask("SAVE")
    deadline, kept, unchanged = time.monotonic() + EVICTION_SECONDS_MAX, 0, 0
    while True:
        before, kept = kept, int(client.info("memory")["used_memory_dataset"])
        unchanged = unchanged + 1 if abs(kept - before) < EVICTING_BYTES_MIN else 0
        is_little = kept < EVICTED_BYTES * series
        if is_little or unchanged == UNCHANGED_SECONDS or time.monotonic() > deadline:
            client.close()
            return kept / 2**20
        bars_load.progress(f"labels: waiting for eviction, {kept / 2**20:.0f} MiB in memory")
        time.sleep(1)


def labels(arguments, parent):
    """A million series with five labels."""
    series = arguments.label_series
    rows, notes = [], []
    server = peers.start_ticklane(arguments, parent, *IN_MEMORY)
    try:
        cpu = server.cpu_seconds()
        seconds = create(server.port, series)
        cpu = server.cpu_seconds() - cpu
        notes.append(f"creating (TS.ADD with LABELS, one connection): {seconds:.1f} s, "
                     f"{series / seconds:,.0f}/s, {cpu / series * 1e6:.1f} us of the server's CPU each")
        notes.append(f"all in memory: {bars_load.resident_mib(server):,.0f} MiB resident")
        rows += measure(server, series, "in memory")
    finally:
        server.stop()
    server = peers.start_ticklane(arguments, parent, *EVICTED)
    try:
        create(server.port, series)
        kept = wait_for_eviction(server, series)
        notes.append(f"evicted: {kept:.1f} MiB of keys and series kept, "
                     f"{bars_load.resident_mib(server):,.0f} MiB resident")
        rows += measure(server, series, "evicted")
        begin = time.perf_counter()
        server.halt()
        stopped = time.perf_counter() - begin
        begin = time.perf_counter()
        again = peers.start_ticklane(arguments, parent, *EVICTED, data_dir=server.data_dir)
        notes.append(f"stop {stopped:.2f} s, start {time.perf_counter() - begin:.2f} s, "
                     f"{peers.directory_bytes(server.data_dir)[0] / 2**20:,.0f} MiB on disk")
        try:
            rows += measure(again, series, "restarted")
        finally:
            again.stop()
    finally:
        server.stop()
    return [
        "## Label index",
        "",
        f"{series:,} series with 5 labels and a sample each; queries that match {MATCHING} of them, {QUERIES} "
        "of each kind, all different, one client that waits for each. Wanted: single-digit milliseconds.",
        "`evicted`: nearly nothing of the series is in memory, RocksDB's caches are as they are; "
        "`restarted`: nothing is, only the kernel has read the files before.",
        "",
        "| state | command | filter | first ms | p50 ms | p99 ms | max ms | server CPU ms | verdict |",
        "|---|---|---|--:|--:|--:|--:|--:|---|",
        *rows,
        "",
        *(f"- {note}" for note in notes),
    ]
