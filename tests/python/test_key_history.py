"""What was done to a key shows: how it is kept after COPY and RENAME, and whether it expired under WATCH."""

import time

import pytest
from wire import Wire


def test_how_a_string_is_kept_after_copy_and_rename(wire):
    for change, encoding in {"APPEND k 2": "raw", "SETRANGE k 0 3": "raw", "INCRBYFLOAT k 2": "embstr"}.items():
        for index in range(8):
            wire("SET k 1")
            wire(change)
            assert wire("OBJECT ENCODING k") == f'"{encoding}"'
            wire(f"COPY k copy{index} REPLACE")
            assert wire(f"OBJECT ENCODING copy{index}") == f'"{encoding}"'
            wire(f"RENAME k new{index}")
            assert wire(f"OBJECT ENCODING new{index}") == f'"{encoding}"'
            wire(f"RENAME new{index} k")
            assert wire("OBJECT ENCODING k") == f'"{encoding}"'
            wire("INCR k")
            wire(f"RENAME k new{index}")
            assert wire(f"OBJECT ENCODING new{index}") == '"int"'


def test_watch_of_a_key_that_expires(server, wire):
    with Wire(server.port) as other:
        for index in range(4):
            key = f"k{index}"
            wire(f"SET {key} v PX 30")
            wire(f"WATCH {key}")
            time.sleep(0.05)
            if index % 2:
                other(f"GET {key}")
            wire("MULTI")
            wire("PING")
            assert wire("EXEC") == "*-1", "it expired under WATCH"
            wire(f"SET {key} v PX 30")
            time.sleep(0.05)
            wire(f"WATCH {key}")
            if index % 2:
                other(f"GET {key}")
            wire("MULTI")
            wire("PING")
            assert wire("EXEC") == "*1 +PONG", "it had expired before"


@pytest.mark.ticklane_only
def test_watch_of_a_key_on_disk(server):
    with Wire(server.port) as wire:
        for index in range(8):
            wire(f"SET gone{index} v PX 2000")
            wire(f"SET going{index} v PX 6000")
        begun = time.monotonic()
        wire("SAVE")
    server.restart()
    with Wire(server.port) as wire, Wire(server.port) as other:
        wire("CACHE CLEAR")
        time.sleep(max(0, begun + 2.1 - time.monotonic()))
        for index in range(8):
            wire(f"WATCH gone{index}")
            other(f"GET gone{index}")
        wire("MULTI")
        wire("PING")
        assert wire("EXEC") == "*1 +PONG", "they had expired before"
        connections = [Wire(server.port) for _ in range(8)]
        for index, connection in enumerate(connections):
            connection(f"WATCH going{index}")
        assert time.monotonic() < begun + 5.9, "the test was too slow to say anything"
        time.sleep(begun + 6.1 - time.monotonic())
        for connection in connections:
            connection("MULTI")
            connection("PING")
            assert connection("EXEC") == "*-1", "it expired under WATCH"
            connection.close()
