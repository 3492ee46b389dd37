"""redis-cli, redis-benchmark and the HdrHistogram reader against running servers."""

import pathlib
import re
import subprocess
import sys

import pytest
import redis
from server import TESTS_REDIS

TOOL_SECONDS_MAX = 300
LOADS = {
    "strings": ["-t", "set,get,incr,mset,ping", "-q", "-n", "20000", "-P", "16", "-r", "10000"],
    "unpipelined": ["-t", "set,get,ping", "-q", "-n", "5000"],
    "deep": ["-t", "set,get", "-q", "-n", "50000", "-P", "1000", "-r", "10000", "-c", "5"],
    "resp3": ["-t", "set,get", "-q", "-n", "5000", "-P", "16", "-3"],
    "large": ["-t", "set,get", "-q", "-n", "2000", "-d", "20000", "-P", "4"],
}


def run(*command, stdin=None):
    """Runs a tool to its end and returns what it printed; any other exit code than 0 fails the test."""
    finished = subprocess.run(command, input=stdin, capture_output=True, timeout=TOOL_SECONDS_MAX)
    output = (finished.stdout + finished.stderr).decode(errors="replace")
    assert finished.returncode == 0, f"{command} ended with {finished.returncode}:\n{output}"
    return output


def benchmark(port, *arguments):
    """Runs redis-benchmark, which must meet no error."""
    output = run("redis-benchmark", "-p", str(port), *arguments)
    assert not re.search(r"error|warning|failed", output, re.IGNORECASE), output
    assert "requests per second" in output, output
    return output


def cli(port, *arguments, stdin=None):
    """Runs redis-cli."""
    return run("redis-cli", "-p", str(port), *arguments, stdin=stdin)


def hops_sent(client):
    """Messages between lanes since the start."""
    return int(client.info("all")["hops_sent"])


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS.keys())
def test_benchmark(server, load):
    benchmark(server.port, *load)


@pytest.mark.ticklane_only
@pytest.mark.parametrize("depth", ["1", "16", "64"])
def test_benchmark_of_samples(server, depth):
    command = ["TSDB_SET", "stock___rand_int__", "1", "1"]
    benchmark(server.port, "-q", "-n", "20000", "-P", depth, "-r", "10000", *command)
    with redis.Redis(port=server.port) as client:
        assert 1000 < client.dbsize() <= 10000


def test_benchmark_leaves_what_it_wrote(server):
    benchmark(server.port, "-t", "set", "-q", "-n", "30000", "-P", "16", "-r", "1000")
    with redis.Redis(port=server.port, decode_responses=True) as client:
        assert client.dbsize() == 1000
        assert len(set(client.scan_iter(count=500))) == 1000
        assert client.strlen("key:000000000000") == 3


def test_cli_scan(server):
    with redis.Redis(port=server.port) as client:
        client.mset({f"stock_{number}": number for number in range(500)})
        client.mset({f"plain_{number}": number for number in range(500)})
    lines = cli(server.port, "--scan", "--pattern", "stock_*").split()
    assert sorted(lines) == sorted(f"stock_{number}" for number in range(500))
    assert len(cli(server.port, "--scan").split()) == 1000


def test_cli_bigkeys(server):
    with redis.Redis(port=server.port) as client:
        client.mset({f"stock_{number}": "x" * number for number in range(1, 300)})
        client.set("iot_biggest", "x" * 5000)
    output = cli(server.port, "--bigkeys")
    assert "Sampled 300 keys" in output, output
    assert re.search(r'Biggest string found .*"iot_biggest".* has 5000 bytes', output), output


def test_cli_pipe(server):
    """Mass insertion ends with ECHO of a marker."""
    commands = b"".join(
        b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nx\r\n" % (len(key), key)
        for key in (b"stock_%d" % number for number in range(5000))
    )
    output = cli(server.port, "--pipe", stdin=commands)
    assert "errors: 0, replies: 5000" in output, output
    assert cli(server.port, "DBSIZE").strip() == "5000"


def test_cli_fields_of_stat(server):
    """`redis-cli --stat` never ends by itself; these are the fields that it reads."""
    cli(server.port, "SET", "plain", "1")
    info = cli(server.port, "INFO")
    fields = (
        "used_memory connected_clients blocked_clients total_commands_processed total_connections_received "
        "rdb_bgsave_in_progress aof_rewrite_in_progress loading"
    )
    for field in fields.split():
        assert re.search(rf"^{field}:\d+\r?$", info, re.MULTILINE), f"{field} in\n{info}"
    assert re.search(r"^db0:keys=1,", info, re.MULTILINE), info


def test_cli_interactive(server):
    """At its start the prompt asks for COMMAND DOCS, then reads commands from the terminal or a file."""
    output = cli(server.port, stdin=b"SET stock_a 1\nINCR stock_a\nGET missing\nMULTI\nGET stock_a\nEXEC\n")
    assert output == "OK\n2\n\nOK\nQUEUED\n2\n", output
    output = cli(server.port, "-3", "HGETALL_IS_UNKNOWN")
    assert "unknown command" in output


def test_cli_latency(server):
    output = cli(server.port, "--raw", "-r", "20", "-i", "0", "PING")
    assert output.split() == ["PONG"] * 20


def test_cli_knows_the_cluster(lane_server):
    output = cli(lane_server.lane_port, "-c", "SET", "stock_a", "1")
    assert "OK" in output
    assert "1" in cli(lane_server.lane_port, "-c", "GET", "stock_a")
    assert "cluster_state:ok" in cli(lane_server.lane_port, "CLUSTER", "INFO")
    assert cli(lane_server.lane_port, "CLUSTER", "KEYSLOT", "123456789").strip() == "12739"
    nodes = cli(lane_server.lane_port, "CLUSTER", "NODES").strip().splitlines()
    assert len(nodes) == (1 if TESTS_REDIS else 4), nodes
    assert sum("myself" in line for line in nodes) == 1, nodes


@pytest.mark.parametrize("protocol", [2, 3])
def test_cluster_client(lane_server, protocol):
    with redis.RedisCluster(
        host="127.0.0.1", port=lane_server.lane_port, protocol=protocol, decode_responses=True
    ) as cluster:
        assert len(cluster.get_nodes()) == (1 if TESTS_REDIS else 4)
        for number in range(300):
            key = f"{['', 'stock_', 'iot_', 'order_'][number % 4]}cluster:{number}"
            assert cluster.set(key, number) is True
            assert cluster.get(key) == str(number)
        assert cluster.mset_nonatomic({f"stock_{{{number}}}": number for number in range(50)})
        assert cluster.delete(*[f"stock_{{{number}}}" for number in range(50)]) == 50
        pipeline = cluster.pipeline()
        for number in range(300):
            pipeline.incr(f"iot_count:{number}")
        assert all(count >= 1 for count in pipeline.execute())


@pytest.mark.ticklane_only
def test_cluster_client_needs_no_hop(lane_server):
    with (
        redis.Redis(port=lane_server.port) as front,
        redis.RedisCluster(host="127.0.0.1", port=lane_server.lane_port) as cluster,
    ):
        keys = [f"{['', 'stock_', 'iot_', 'order_'][number % 4]}hop:{number}" for number in range(400)]
        for key in keys:
            cluster.set(key, 1)
        first = hops_sent(front)
        # INFO itself may ask the other lanes.
        of_info = hops_sent(front) - first
        before = hops_sent(front)
        for key in keys:
            cluster.set(key, 2)
            cluster.get(key)
            cluster.execute_command("TSDB_SET", key + ":series", 1, 1.5)
        assert hops_sent(front) - before == of_info, "hops of a cluster-aware client"
        before = hops_sent(front)
        for key in keys:
            front.get(key)
        assert hops_sent(front) - before > of_info + len(keys) // 4, "hops of a plain client"


@pytest.mark.ticklane_only
def test_benchmark_of_the_cluster(lane_server):
    for depth in ["1", "16"]:
        load = ["--cluster", "-t", "set,get,incr", "-q", "-n", "20000", "-P", depth, "-r", "10000"]
        benchmark(lane_server.lane_port, *load)


@pytest.mark.ticklane_only
def test_benchmark_of_the_cluster_needs_no_hop(lane_server):
    with redis.Redis(port=lane_server.port) as front:
        first = hops_sent(front)
        of_info = hops_sent(front) - first
        before = hops_sent(front)
        load = ["--cluster", "-t", "set,get", "-q", "-n", "20000", "-P", "16", "-r", "10000"]
        benchmark(lane_server.lane_port, *load)
        # At its start redis-benchmark asks one node for its configuration; nothing else may cross lanes.
        assert hops_sent(front) - before <= of_info + 16


@pytest.mark.ticklane_only
def test_latency_dump_is_read_by_the_hdrhistogram_tools(server):
    benchmark(server.port, "-t", "set,get", "-q", "-n", "5000", "-P", "16")
    with redis.Redis(port=server.port) as client:
        client.execute_command("LATENCY", "DUMP")
    folder = pathlib.Path(server.data_dir) / "latency"
    logs = sorted(folder.glob("*.hlog"))
    assert logs and list(folder.glob("*.hgrm")), list(folder.iterdir())
    text = logs[-1].read_text()
    tags = re.findall(r"^Tag=([^,]*set[^,]*),", text, re.MULTILINE | re.IGNORECASE)
    assert tags, text[:2000]
    script = pathlib.Path(__file__).with_name("check_hlog.py")
    output = run(sys.executable, str(script), str(logs[-1]), tags[0])
    count = int(re.search(r"count=(\d+)", output).group(1))
    assert count >= 5000, output
