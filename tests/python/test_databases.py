"""SELECT, MOVE, SWAPDB: there is one database."""

import pytest
from wire import Wire

SAME = "-ERR source and destination objects are the same"
RANGE = "-ERR value is out of range, value must between -2147483648 and 2147483647"


def test_there_is_one_database(wire, wire3):
    for connection in (wire, wire3):
        connection("SET k v")
        for line, expected in [
            ("MOVE k 0", SAME),
            ("MOVE none 0", SAME),
            ("MOVE k x", "-ERR value is not an integer or out of range"),
            ("MOVE k 99999999999", RANGE),
            ("MOVE k", "-ERR wrong number of arguments for 'move' command"),
            ("SELECT 0", "+OK"),
            ("SWAPDB 0 0", "+OK"),
            ("SWAPDB x 0", "-ERR invalid first DB index"),
            ("SWAPDB 0 x", "-ERR invalid second DB index"),
            ("SWAPDB 0 99999999999", "-ERR invalid second DB index"),
            ("SWAPDB 0", "-ERR wrong number of arguments for 'swapdb' command"),
            ("GET k", '"v"'),
        ]:
            assert connection(line) == expected, line


@pytest.mark.ticklane_only
def test_there_is_no_other(wire):
    out_of_range = "-ERR DB index is out of range"
    for line in ["SELECT 1", "SELECT -1", "MOVE k 1", "MOVE k -1", "SWAPDB 0 1", "SWAPDB 5 9", "COPY k l DB 1"]:
        assert wire(line) == out_of_range, line
    wire("SET k v")
    for line in ["MULTI", "MOVE k 0", "SWAPDB 0 0", "SELECT 1"]:
        wire(line)
    assert wire("EXEC") == f"*3 {SAME} +OK {out_of_range}"


@pytest.mark.ticklane_only
def test_nodes_of_a_cluster(lane_server):
    with Wire(lane_server.lane_port) as wire:
        assert wire("SELECT 0") == "+OK"
        for line, name in [("SELECT 1", "SELECT"), ("MOVE k 0", "MOVE"), ("SWAPDB 0 0", "SWAPDB")]:
            answer = wire(line)
            assert answer == f"-ERR {name} is not allowed in cluster mode" or answer.startswith("-MOVED"), line
