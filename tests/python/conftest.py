"""Fixtures: servers that live for the whole run, emptied before every test that uses them."""

import time

import pytest
import redis
from server import TESTS_REDIS, Server
from wire import Wire


def pytest_collection_modifyitems(items):
    """Leaves out what Redis does not have when Redis is what runs."""
    for item in items:
        if TESTS_REDIS and item.get_closest_marker("ticklane_only"):
            item.add_marker(pytest.mark.skip(reason="not a Redis feature"))


@pytest.fixture(scope="session", params=[1, 2, 4], ids=["1lane", "2lanes", "4lanes"])
def running_server(request):
    """A server with one lane, then one with two, then one with four."""
    server = Server(lanes=request.param)
    yield server
    assert server.stop() == 0, "exit code after SIGTERM"


@pytest.fixture
def server(running_server):
    """The same server, with an empty keyspace."""
    with redis.Redis(port=running_server.port) as client:
        client.flushall()
    return running_server


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(request, server):
    """A redis-py client, once per protocol version."""
    with redis.Redis(port=server.port, protocol=request.param, decode_responses=True) as client:
        yield client


@pytest.fixture
def wire(server):
    """A connection that shows every byte of RESP2 replies."""
    with Wire(server.port) as wire:
        yield wire


@pytest.fixture
def wire3(server):
    """A connection that shows every byte of RESP3 replies."""
    with Wire(server.port, protocol=3) as wire:
        yield wire


@pytest.fixture(scope="session")
def lane_server():
    """A server with four lanes, each of them a cluster node on its own port."""
    server = Server(lanes=4, lane_ports=True)
    if TESTS_REDIS:
        with redis.Redis(port=server.port, decode_responses=True) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            deadline = time.monotonic() + 10
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                assert time.monotonic() < deadline, "the Redis cluster of one is not ready"
                time.sleep(0.05)
    yield server
    assert server.stop() == 0, "exit code after SIGTERM"
