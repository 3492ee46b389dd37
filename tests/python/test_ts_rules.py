"""Rollup rules: when buckets are written, late samples, deletions, both ends of a rule, policies."""

import time

import pytest
import redis

pytestmark = pytest.mark.ticklane_only

# Sources and destinations in one business and in two, so that rules lead within a lane and across lanes.
ENDS = [("a", "b"), ("a", "c"), ("a", "d"), ("stock_x", "iot_y"), ("plain", "order_z")]


def shown(samples):
    """A RESP2 reply of samples."""
    return " ".join([f"*{len(samples)}", *(f"*2 :{at} +{value}" for at, value in samples)])


def eventually(ask, expected):
    """Rules that another key's owner is told of are told soon, not at once."""
    deadline = time.monotonic() + 10
    while (found := ask()) != expected:
        assert time.monotonic() < deadline, f"{found} instead of {expected}"
        time.sleep(0.01)


@pytest.fixture(params=ENDS, ids="-".join)
def ends(request, wire):
    """Names of a source and a destination that exist."""
    for key in request.param:
        assert wire("TS.CREATE", key) == "+OK"
    return request.param


def test_a_bucket_is_written_when_a_later_one_opens(wire, ends):
    source, destination = ends
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION sum 10") == "+OK"
    for timestamp in (1, 5, 9):
        wire(f"TS.ADD {source} {timestamp} {timestamp}")
        assert wire(f"TS.RANGE {destination} - +") == "*0", "the bucket is open"
    wire(f"TS.ADD {source} 10 1")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 15)])
    wire(f"TS.ADD {source} 55 2")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 15), (10, 1)]), "no bucket for the gap"
    assert wire(f"TS.GET {destination}") == "*2 :10 +1"
    assert wire(f"TS.GET {destination} LATEST") == "*2 :50 +2"
    assert wire(f"TS.RANGE {destination} - + LATEST") == shown([(0, 15), (10, 1), (50, 2)])
    assert wire(f"TS.RANGE {source} - + LATEST") == wire(f"TS.RANGE {source} - +"), "a source has no open bucket"


def test_late_samples_and_deletions(wire, ends):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION sum 10")
    for timestamp in (1, 11, 21, 31):
        wire(f"TS.ADD {source} {timestamp} 1")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1), (10, 1), (20, 1)])
    wire(f"TS.ADD {source} 12 5")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1), (10, 6), (20, 1)])
    wire(f"TS.ADD {source} 12 7 ON_DUPLICATE LAST")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1), (10, 8), (20, 1)])
    assert wire(f"TS.DEL {source} 12 12") == ":1"
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1), (10, 1), (20, 1)])
    assert wire(f"TS.DEL {source} 5 25") == ":2"
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1)])
    wire(f"TS.ADD {source} 15 3")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1), (10, 3)])
    wire(f"TS.ADD {source} 30 4")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1), (10, 3)]), "the bucket is still open"
    wire(f"TS.ADD {source} 40 1")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 1), (10, 3), (30, 5)])


def test_only_samples_after_the_rule(wire, ends):
    source, destination = ends
    for timestamp in (1, 11, 12):
        wire(f"TS.ADD {source} {timestamp} 1")
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10")
    wire(f"TS.ADD {source} 13 1")
    wire(f"TS.ADD {source} 21 1")
    assert wire(f"TS.RANGE {destination} - +") == shown([(10, 1)])


def test_backfill(wire, ends):
    source, destination = ends
    for timestamp in (1, 2, 11, 12, 21):
        wire(f"TS.ADD {source} {timestamp} 1")
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10 BACKFILL") == "+OK"
    eventually(lambda: wire(f"TS.RANGE {destination} - +"), shown([(0, 2), (10, 2)]))
    wire(f"TS.ADD {source} 30 1")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 2), (10, 2), (20, 1)])


@pytest.mark.parametrize(
    ("aggregator", "value"),
    [("avg", 4), ("sum", 12), ("min", 1), ("max", 8), ("range", 7), ("count", 3), ("first", 1), ("last", 8)]
    + [("std.p", None), ("std.s", None), ("var.p", None), ("var.s", None), ("twa", None), ("countall", 3)],
)
def test_aggregators(wire, aggregator, value):
    wire("TS.CREATE a")
    wire("TS.CREATE iot_b")
    wire(f"TS.CREATERULE a iot_b AGGREGATION {aggregator} 10")
    for timestamp, number in [(1, 1), (4, 3), (9, 8), (10, 0)]:
        wire(f"TS.ADD a {timestamp} {number}")
    reply = wire("TS.RANGE iot_b - +")
    if value is None:
        assert reply == wire(f"TS.RANGE a - + COUNT 1 AGGREGATION {aggregator} 10")
        assert reply.startswith("*1 *2 :0 +")
    else:
        assert reply == shown([(0, value)])


def test_alignment(wire, ends):
    source, destination = ends
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10 3") == "+OK"
    for timestamp in (1, 2, 3, 12, 13, 23):
        wire(f"TS.ADD {source} {timestamp} 1")
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 2), (3, 2), (13, 1)])
    assert f'+rules *1 *4 "{destination}" :10 +COUNT :3 ' in wire(f"TS.INFO {source}")


def test_both_ends_know_each_other(wire, ends):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION avg 10")
    assert f'+rules *1 *4 "{destination}" :10 +AVG :0 ' in wire(f"TS.INFO {source}")
    assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {destination}")
    assert wire(f"TS.DELETERULE {source} {destination}") == "+OK"
    assert "+rules *0 " in wire(f"TS.INFO {source}")
    assert "+sourceKey $-1 " in wire(f"TS.INFO {destination}")
    assert wire(f"TS.DELETERULE {source} {destination}") == "-ERR TSDB: compaction rule does not exist"
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION avg 10") == "+OK"


@pytest.mark.parametrize("command", ["DEL", "UNLINK", "EXPIRE"])
@pytest.mark.parametrize("which", [0, 1], ids=["source", "destination"])
def test_one_end_is_gone(wire, ends, command, which):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION avg 10")
    gone, left = ends[which], ends[1 - which]
    wire(f"PEXPIRE {gone} 1" if command == "EXPIRE" else f"{command} {gone}")
    if which:
        eventually(lambda: "+rules *0 " in wire(f"TS.INFO {left}"), True)
    else:
        eventually(lambda: "+sourceKey $-1 " in wire(f"TS.INFO {left}"), True)
    assert wire(f"TS.CREATE {gone}") == "+OK"
    wire(f"TS.ADD {source} 1 1")
    wire(f"TS.ADD {source} 11 1")
    assert wire(f"TS.RANGE {destination} - +") == "*0"
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10") == "+OK"
    wire(f"TS.ADD {source} 12 1")
    wire(f"TS.ADD {source} 21 1")
    assert wire(f"TS.RANGE {destination} - +") == shown([(10, 1)])


def test_overwritten_ends(wire, ends):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION avg 10")
    assert wire(f"SET {destination} text") == "+OK"
    eventually(lambda: "+rules *0 " in wire(f"TS.INFO {source}"), True)
    wire(f"TS.ADD {source} 1 1")
    assert wire(f"TS.ADD {source} 11 1") == ":11"
    assert wire(f"GET {destination}") == '"text"'


def test_renamed_ends(wire, ends):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10")
    wire(f"TS.ADD {source} 1 1")
    prefix_source = source.split("_")[0] + "_" if "_" in source else ""
    prefix_destination = destination.split("_")[0] + "_" if "_" in destination else ""
    new_source, new_destination = f"{prefix_source}new1", f"{prefix_destination}new2"
    assert wire(f"RENAME {source} {new_source}") == "+OK"
    assert wire(f"RENAME {destination} {new_destination}") == "+OK"
    assert f'+sourceKey "{new_source}" ' in wire(f"TS.INFO {new_destination}")
    assert f'+rules *1 *4 "{new_destination}" :10 +COUNT :0 ' in wire(f"TS.INFO {new_source}")
    assert wire(f"TS.ADD {new_source} 11 1") == ":11"
    assert wire(f"TS.RANGE {new_destination} - +") == shown([(0, 1)])
    for _ in range(5):
        assert wire(f"RENAME {new_source} {source}") == "+OK"
        assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {new_destination}")
        assert wire(f"RENAME {source} {new_source}") == "+OK"
    assert wire(f"RENAME {new_source} {source}") == "+OK"
    time.sleep(1.2)
    assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {new_destination}"), "nothing old comes after it"
    assert f'+rules *1 *4 "{new_destination}" ' in wire(f"TS.INFO {source}")


@pytest.mark.parametrize("onto", ["source", "destination"])
def test_renamed_onto_the_other_end(wire, ends, onto):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10")
    wire(f"TS.MADD {source} 1 1 {source} 11 1")
    gone, left = ends if onto == "destination" else ends[::-1]
    assert wire(f"RENAME {gone} {left}") == "+OK"
    assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {left}")
    assert wire(f"TS.ADD {left} 100 1") == ":100"
    assert wire(f"EXISTS {gone}") == ":0"


@pytest.mark.parametrize("command", ["RENAME", "COPY"])
@pytest.mark.parametrize("which", [0, 1], ids=["source", "destination"])
def test_an_end_is_overwritten_by_another_key(wire, ends, which, command):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10")
    wire("TS.ADD another 5 5")
    line = f"RENAME another {ends[which]}" if command == "RENAME" else f"COPY another {ends[which]} REPLACE"
    assert not wire(line).startswith("-")
    for key in ends:
        assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {key}")
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10") == "+OK"
    wire(f"TS.MADD {source} 11 1 {source} 21 1")
    assert ":10 +1" in wire(f"TS.RANGE {destination} 10 10")


def test_copies_have_no_rules(wire, ends):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10")
    wire(f"TS.ADD {source} 1 1")
    for key in ends:
        prefix = key.split("_")[0] + "_" if "_" in key else ""
        assert wire(f"COPY {key} {prefix}copy_of_{key}") == ":1"
        info = wire(f"TS.INFO {prefix}copy_of_{key}")
        assert "+sourceKey $-1 +rules *0 " in info
    assert f'+rules *1 *4 "{destination}" ' in wire(f"TS.INFO {source}")


def test_deletions_beyond_the_retention(wire, ends):
    source, destination = ends
    wire(f"TS.ALTER {source} RETENTION 15")
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION sum 10")
    for timestamp in (13, 19, 22, 30):
        wire(f"TS.ADD {source} {timestamp} {timestamp}")
    beyond = (
        "-ERR TSDB: When a series has compactions, deleting samples or compaction buckets beyond the series retention "
        "period is not possible"
    )
    assert wire(f"TS.DEL {source} 5 25") == beyond
    assert wire(f"TS.DEL {source} - 25") == beyond
    assert wire(f"TS.DEL {source} 19 25") == beyond, "its bucket begins too early"
    assert wire(f"TS.DEL {source} 20 25") == ":1"
    assert wire(f"TS.RANGE {destination} - +") == shown([(10, 32)])


def test_several_rules_of_one_source(wire):
    wire("TS.CREATE src")
    targets = {"d1": "sum", "iot_d2": "max", "stock_d3": "count", "d4": "last"}
    for key, aggregator in targets.items():
        wire(f"TS.CREATE {key}")
        assert wire(f"TS.CREATERULE src {key} AGGREGATION {aggregator} 10") == "+OK"
    wire("TS.CREATE other")
    assert wire("TS.CREATERULE other d1 AGGREGATION sum 10") == "-ERR TSDB: the destination key already has a src rule"
    assert wire("TS.CREATERULE d1 other AGGREGATION sum 10") == "-ERR TSDB: the source key already has a source rule"
    assert wire("TS.CREATERULE other src AGGREGATION sum 10") == "-ERR TSDB: the destination key already has a dst rule"
    wire("TS.MADD src 1 5 src 2 3 src 11 9 src 25 1")
    expected = {"d1": (8, 9), "iot_d2": (5, 9), "stock_d3": (2, 1), "d4": (3, 9)}
    for key, (first, second) in expected.items():
        assert wire(f"TS.RANGE {key} - +") == shown([(0, first), (10, second)])


def test_rules_see_every_way_to_write(wire):
    for key in ("src", "iot_dst"):
        wire(f"TS.CREATE {key}")
    wire("TS.CREATERULE src iot_dst AGGREGATION sum 10")
    wire("TS.INCRBY src 5 TIMESTAMP 1")
    wire("TS.INCRBY src 5 TIMESTAMP 11")
    assert wire("TS.RANGE iot_dst - +") == shown([(0, 5)])
    wire("TS.DECRBY src 3 TIMESTAMP 21")
    assert wire("TS.RANGE iot_dst - +") == shown([(0, 5), (10, 10)])
    wire("MULTI")
    wire("TS.ADD src 22 1")
    wire("TS.ADD src 31 1")
    assert wire("EXEC") == "*2 :22 :31"
    eventually(lambda: wire("TS.RANGE iot_dst - +"), shown([(0, 5), (10, 10), (20, 8)]))


def test_a_destination_can_be_written_and_read_like_any_series(wire):
    wire("TS.CREATE src LABELS kind raw")
    wire("TS.CREATE iot_dst LABELS kind rollup")
    wire("TS.CREATERULE src iot_dst AGGREGATION sum 10")
    wire("TS.MADD src 1 1 src 11 2 src 21 3")
    assert wire("TS.MGET FILTER kind=rollup") == '*1 *3 "iot_dst" *0 *2 :10 +2'
    assert wire("TS.MGET LATEST FILTER kind=rollup") == '*1 *3 "iot_dst" *0 *2 :20 +3'
    assert wire("TS.MRANGE - + LATEST FILTER kind=rollup") == '*1 *3 "iot_dst" *0 ' + shown([(0, 1), (10, 2), (20, 3)])
    assert wire("TS.MREVRANGE - + LATEST COUNT 1 FILTER kind=rollup") == '*1 *3 "iot_dst" *0 ' + shown([(20, 3)])
    assert wire("TS.REVRANGE iot_dst - + LATEST") == shown([(20, 3), (10, 2), (0, 1)])
    assert wire("TS.RANGE iot_dst - 15 LATEST") == shown([(0, 1), (10, 2)]), "the open bucket is outside of the range"
    assert wire("TS.NRANGE 2 src iot_dst 20 + LATEST") == "*2 *2 :20 *2 +NaN +3 *2 :21 *2 +3 +NaN"
    assert wire("TS.RANGE iot_dst - + LATEST AGGREGATION sum 100") == shown([(0, 6)])
    assert wire("TS.ADD iot_dst 500 7") == ":500"
    wire("TS.ADD src 31 1")
    assert wire("TS.RANGE iot_dst - +") == shown([(0, 1), (10, 2), (20, 3), (500, 7)])


def test_compaction_policy(client, wire):
    client.config_set("ts-compaction-policy", "max:1M:1h;avg:2h:10d:3600000;count:500m:0m")
    try:
        shown_policy = "max:1M:1h;avg:2h:10d:1h;count:500m:0d"
        assert client.config_get("ts-compaction-policy")["ts-compaction-policy"] == shown_policy
        assert wire("TS.ADD k 1000 5 LABELS l v") == ":1000"
        eventually(lambda: wire("TS.QUERYINDEX l=v").count('"'), 8)
        found = wire("TS.QUERYINDEX l=v")
        assert found == '*4 "k" "k_AVG_7200000_3600000" "k_COUNT_500" "k_MAX_60000"'
        info = wire("TS.INFO k_MAX_60000")
        assert '+labels *3 *2 "l" "v" *2 "aggregation" "MAX" *2 "time_bucket" "60000" +sourceKey "k" ' in info
        assert "+retentionTime :3600000 " in info
        assert ":7200000 +AVG :3600000" in wire("TS.INFO k")
        wire("TS.ADD k 61000 7")
        eventually(lambda: wire("TS.RANGE k_MAX_60000 - +"), shown([(0, 5)]))
        assert wire("TS.CREATE plain") == "+OK"
        assert "+rules *0 " in wire("TS.INFO plain"), "TS.CREATE makes no rollups"
        wire("TS.INCRBY counter 1 TIMESTAMP 5")
        eventually(lambda: wire("EXISTS counter_MAX_60000"), ":1")
    finally:
        client.config_set("ts-compaction-policy", "")
    with pytest.raises(redis.ResponseError):
        client.config_set("ts-compaction-policy", "nope:1M:1h")
    wire("TS.ADD after 1 1")
    assert "+rules *0 " in wire("TS.INFO after")


def test_averages_over_time_look_at_the_neighbours(wire, ends):
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION twa 10")
    for timestamp, number in [(3, 2), (8, 7), (14, 1), (15, 9), (27, 4), (28, 8), (41, 5)]:
        wire(f"TS.ADD {source} {timestamp} {number}")
        wire(f"TS.GET {destination} LATEST")
    assert wire(f"TS.RANGE {destination} - +") == wire(f"TS.RANGE {source} - + COUNT 3 AGGREGATION twa 10")


def test_a_policy_leaves_other_series_alone(client, wire):
    wire("TS.ADD k_SUM_10 5 5")
    wire("SET k_MAX_10 text")
    client.config_set("ts-compaction-policy", "sum:10m:0;max:10m:0;min:10m:0")
    try:
        for timestamp in (1, 11, 21):
            assert wire(f"TS.ADD k {timestamp} 1") == f":{timestamp}"
        eventually(lambda: '+rules *1 *4 "k_MIN_10" :10 +MIN :0 ' in wire("TS.INFO k"), True)
        assert wire("TS.RANGE k_SUM_10 - +") == shown([(5, 5)])
        assert wire("GET k_MAX_10") == '"text"'
        assert wire("TS.RANGE k_MIN_10 - +") == shown([(0, 1), (10, 1)])
    finally:
        client.config_set("ts-compaction-policy", "")


def test_rules_in_transactions(wire, ends):
    source, destination = ends
    wire("MULTI")
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION sum 10")
    wire(f"TS.ADD {source} 1 2")
    wire(f"TS.ADD {source} 11 2")
    assert wire("EXEC") == "*3 +OK :1 :11"
    eventually(lambda: wire(f"TS.RANGE {destination} - +"), shown([(0, 2)]))
    wire("MULTI")
    wire(f"TS.DELETERULE {source} {destination}")
    wire(f"TS.INFO {source}")
    reply = wire("EXEC")
    assert reply.startswith("*2 +OK *28 ") and "+rules *0 " in reply
