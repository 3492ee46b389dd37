"""TS.READ: reading a series from a cursor on, and waiting for samples."""

import time

import pytest
from wire import Wire

pytestmark = pytest.mark.ticklane_only

REFUSALS = {
    "TS.READ k x": "TSDB: invalid timestamp",
    "TS.READ k -1": "TSDB: invalid timestamp",
    "TS.READ k 0 BLOCK -1 1": "TSDB: BLOCK milliseconds must be a non-negative integer",
    "TS.READ k 0 BLOCK x 1": "TSDB: BLOCK milliseconds must be a non-negative integer",
    "TS.READ k 0 BLOCK 10 0": "TSDB: BLOCK min_count must be a positive integer",
    "TS.READ k 0 BLOCK 10 x": "TSDB: BLOCK milliseconds must be a non-negative integer",
    "TS.READ k 0 MAX_COUNT 0": "TSDB: MAX_COUNT must be a positive integer",
    "TS.READ k 0 BLOCK 10 5 MAX_COUNT 4": "TSDB: BLOCK min_count must be <= MAX_COUNT",
    "TS.READ k": "ERR wrong number of arguments for 'ts.read' command",
    "TS.READ k 0 MAX_COUNT": "ERR wrong number of arguments for 'ts.read' command",
    "TS.READ k 0 BLOCK 10 1 MAX_COUNT": "ERR wrong number of arguments for 'ts.read' command",
    "TS.READ s 0": "WRONGTYPE Operation against a key holding the wrong kind of value",
}


def wait_until_blocked(wire):
    """Returns when a client has begun to wait."""
    while "blocked_clients:1\r" not in wire("INFO clients"):
        time.sleep(0.005)


def test_refusals(wire):
    wire("TS.ADD k 1 1")
    wire("SET s 1")
    assert {line: wire(line) for line in REFUSALS} == {line: f"-{text}" for line, text in REFUSALS.items()}


def test_cursors(wire, wire3):
    wire("TS.MADD k 1 1")
    assert wire("TS.READ k 0") == "*0", "the key is missing"
    for timestamp in (10, 20, 30):
        wire(f"TS.ADD k {timestamp} {timestamp}")
    assert wire("TS.READ k -") == "*3 *2 :10 +10 *2 :20 +20 *2 :30 +30"
    assert wire("TS.READ k 20") == "*2 *2 :20 +20 *2 :30 +30"
    assert wire("TS.READ k 21 MAX_COUNT 5") == "*1 *2 :30 +30"
    assert wire("TS.READ k 0 MAX_COUNT 2") == "*2 *2 :10 +10 *2 :20 +20"
    assert wire("TS.READ k +") == "*1 *2 :30 +30"
    assert wire("TS.READ k $") == "*0"
    assert wire("TS.READ k 31") == "*0"
    assert wire3("TS.READ k +") == "*1 *2 :30 ,30"


def test_waiting(wire, server):
    wire("TS.ADD k 10 1")
    with Wire(server.port) as other:
        assert other("TS.READ k 10 BLOCK 5000 1") == "*1 *2 :10 +1", "enough is there"
        started = time.monotonic()
        assert other("TS.READ k $ BLOCK 50 1") == "*0"
        assert time.monotonic() - started > 0.04
        assert other("TS.READ k 0 BLOCK 50 2") == "*1 *2 :10 +1", "what there is when time is over"
        other.send("TS.READ k $ BLOCK 0 2 MAX_COUNT 3")
        wait_until_blocked(wire)
        wire("TS.ADD k 20 2")
        wire("TS.MADD k 30 3")
        assert other.read() == "*2 *2 :20 +2 *2 :30 +3"
        other.send("TS.READ k $ BLOCK 0 1")
        wait_until_blocked(wire)
        wire("DEL k")
        assert other.read() == "*0"
        other.send("TS.READ missing $ BLOCK 0 1")
        wait_until_blocked(wire)
        wire("TS.ADD missing 1 1")
        assert other.read() == "*1 *2 :1 +1"


def test_waiting_for_a_rollup(wire, server):
    for line in ("TS.CREATE src", "TS.CREATE iot_dst", "TS.CREATERULE src iot_dst AGGREGATION sum 10"):
        wire(line)
    with Wire(server.port) as other:
        other.send("TS.READ iot_dst 0 BLOCK 0 1")
        wait_until_blocked(wire)
        wire("TS.MADD src 1 5 src 11 1")
        assert other.read() == "*1 *2 :0 +5"


def test_not_in_a_transaction(wire):
    wire("TS.ADD k 10 1")
    wire("MULTI")
    wire("TS.READ k 0")
    wire("TS.READ k 0 BLOCK 0 1")
    wire("TS.READ k $ BLOCK 0 1")
    assert wire("EXEC") == (
        "*3 *1 *2 :10 +1 *1 *2 :10 +1 -TSDB: blocking TS.READ (with BLOCK) is not allowed inside MULTI, EVAL, or a deny-blocking "
        "context"
    )


def test_client_unblock(wire, server):
    """A client that waits is listed as blocked, and can be told to wait no longer, from any lane."""
    wire("TS.ADD k 10 1")
    for reason, expected in [
        ("", "*1 *2 :10 +1"),
        (" TIMEOUT", "*1 *2 :10 +1"),
        (" error", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ]:
        with Wire(server.port) as waiting:
            number = waiting("CLIENT ID").removeprefix(":")
            assert wire(f"CLIENT UNBLOCK {number}") == ":0", "it does not wait yet"
            waiting.send("TS.READ k 0 BLOCK 0 5")
            wait_until_blocked(wire)
            assert " flags=b " in wire(f"CLIENT LIST ID {number}")
            began = time.monotonic()
            assert wire(f"CLIENT UNBLOCK {number}{reason}") == ":1"
            assert waiting.read() == expected
            assert time.monotonic() - began < 0.9
            assert wire(f"CLIENT UNBLOCK {number}") == ":0"
            assert " flags=N " in wire(f"CLIENT LIST ID {number}")
            assert waiting("TS.READ k 0") == "*1 *2 :10 +1"
