"""Ingest of the same kind of ticks into ticklane and VictoriaMetrics: CPU and bytes on disk per sample."""

import http.client
import json
import random
import statistics
import subprocess
import tempfile
import time

import peers

SERIES = 1000
SAMPLES_PER_SERIES = 2000
SAMPLES = SERIES * SAMPLES_PER_SERIES
LINES_PER_REQUEST = 10_000
STEP_MS = 1000
JITTER_MS = 50
# After this long without a sample ticklane seals a head; the rest of the time is for flushing.
HEAD_IDLE_SECONDS = 2
SETTLE_SECONDS = 8


def bodies(seed):
    """Requests in the Prometheus text format: ticks of all series in the order of time."""
    generator = random.Random(seed)
    start_ms = int(time.time() * 1000) - SAMPLES_PER_SERIES * STEP_MS - 60_000
    cents = [500_000] * SERIES
    lines = []
    for number in range(SAMPLES_PER_SERIES):
        for series in range(SERIES):
            cents[series] += generator.randint(-3, 3)
            timestamp = start_ms + number * STEP_MS + generator.randint(-JITTER_MS, JITTER_MS)
            price = f"{cents[series] // 100}.{cents[series] % 100:02}"
            lines.append(f'stock{{s="{series:012}"}} {price} {timestamp}')
        if len(lines) >= LINES_PER_REQUEST:
            yield "\n".join(lines).encode()
            lines = []
    yield "\n".join(lines).encode()


def victoria(arguments, parent, seed):
    """(CPU microseconds a sample, samples a second, bytes a sample on disk with and without logs)."""
    port, data_dir = peers.free_port(), tempfile.mkdtemp(prefix="victoria-", dir=parent)
    command = ["victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={data_dir}"]
    command += ["-retentionPeriod=100y", "-loggerLevel=ERROR"]
    probe = b"GET /health HTTP/1.0\r\n\r\n"
    core = arguments.server_core
    server = peers.Server("victoria-metrics", command, data_dir, port, core, probe, b"HTTP/1.")
    try:
        requests = list(bodies(seed))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        cpu_before, begin = server.cpu_seconds(), time.perf_counter()
        for body in requests:
            connection.request("POST", "/api/v1/import/prometheus", body)
            response = connection.getresponse()
            response.read()
            if response.status != 204:
                raise RuntimeError(f"VictoriaMetrics answered {response.status}")
        seconds, cpu = time.perf_counter() - begin, server.cpu_seconds() - cpu_before
        for path in ("/internal/force_flush", "/internal/force_merge"):
            connection.request("GET", path)
            connection.getresponse().read()
        time.sleep(SETTLE_SECONDS)
        connection.request("GET", "/api/v1/query?query=sum(count_over_time(stock%5B3h%5D))")
        answer = json.loads(connection.getresponse().read())
        stored = int(answer["data"]["result"][0]["value"][1])
        if stored != SAMPLES:
            raise RuntimeError(f"VictoriaMetrics stored {stored} of {SAMPLES} samples")
        server.halt()
        return cpu / SAMPLES * 1e6, SAMPLES / seconds, *bytes_per_sample(data_dir)
    finally:
        server.stop()


def ticklane(arguments, parent, seed, load):
    """The same for ticklane, by TSDB_MSET of 100 samples of any series."""
    server = peers.start_ticklane(arguments, parent, f"storage.head_idle={HEAD_IDLE_SECONDS} s")
    try:
        report = load(
            server, "tsdb_mset:100", 16, "-n", str(SAMPLES // 100), "-s", str(SERIES), "--seed", str(seed),
            "--step", str(STEP_MS), "--jitter", str(JITTER_MS), "--series-prefix", "stock_",
        )
        time.sleep(HEAD_IDLE_SECONDS + SETTLE_SECONDS)
        subprocess.run(["redis-cli", "-p", str(server.port), "SAVE"], check=True, capture_output=True)
        server.halt()
        cpu = report["server_cpu"]["total_micros"] / 100
        return cpu, report["items_per_second"], *bytes_per_sample(server.data_dir)
    finally:
        server.stop()


def bytes_per_sample(data_dir):
    """On the disk, with and without write-ahead logs."""
    return (size / SAMPLES for size in peers.directory_bytes(data_dir))


def table(arguments, parent, load):
    """A Markdown table of medians."""
    rounds = {"ticklane": [], "VictoriaMetrics": []}
    for number in range(min(arguments.rounds, 3)):
        rounds["VictoriaMetrics"].append(victoria(arguments, parent, number))
        rounds["ticklane"].append(ticklane(arguments, parent, number, load))
    lines = [
        "| server | samples/s | CPU us per sample | samples per CPU second | bytes per sample on disk "
        "| without write-ahead log |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, results in rounds.items():
        cpu, rate, size, data_size = (statistics.median(column) for column in zip(*results))
        figures = f"{rate:,.0f} | {cpu:.3f} | {1e6 / cpu:,.0f} | {size:.2f} | {data_size:.2f}"
        lines.append(f"| {name} | {figures} |")
    return lines
