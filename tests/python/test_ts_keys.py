"""Series as keys: the generic key commands, events, transactions, other types, and TSDB_SET beside the TS commands."""

import time

import pytest
from wire import Wire

pytestmark = pytest.mark.ticklane_only

WRONG_TYPE = "-WRONGTYPE Operation against a key holding the wrong kind of value"


def create(wire, key="k", value="v"):
    """A labelled series with two samples."""
    assert wire(f"TS.CREATE {key} LABELS l {value}") == "+OK"
    assert wire(f"TS.MADD {key} 1 1 {key} 2 2") == "*2 :1 :2"


def listed(wire, value="v"):
    """Keys with the label."""
    return wire(f"TS.QUERYINDEX l={value}")


@pytest.mark.parametrize("command", ["DEL", "UNLINK"])
def test_delete(wire, command):
    create(wire)
    create(wire, "iot_k")
    assert listed(wire) == '*2 "iot_k" "k"'
    assert wire(f"{command} k nope") == ":1"
    assert listed(wire) == '*1 "iot_k"'
    assert wire("TS.GET k") == "-ERR TSDB: the key does not exist"
    assert wire(f"{command} k iot_k") == ":1"
    assert listed(wire) == "*0"
    create(wire)
    assert wire("TS.RANGE k - +") == "*2 *2 :1 +1 *2 :2 +2", "nothing of the deleted series is left"


def test_expiry(wire):
    create(wire)
    assert wire("EXPIRE k 100") == ":1"
    assert wire("TTL k") in (":100", ":99")
    assert wire("TS.ADD k 3 3") == ":3"
    assert wire("TTL k") != ":-1", "a sample does not change the deadline"
    assert wire("PERSIST k") == ":1"
    assert wire("TTL k") == ":-1"
    assert wire("PEXPIRE k 20") == ":1"
    time.sleep(0.03)
    assert listed(wire) == "*0"
    assert wire("TS.MGET FILTER l=v") == "*0"
    assert wire("TS.RANGE k - +") == "-ERR TSDB: the key does not exist"
    deadline = time.monotonic() + 10
    while wire("TS.QUERYLABELS LABELS") != "*0":
        assert time.monotonic() < deadline, "the index still lists the label of an expired key"
        time.sleep(0.02)
    assert wire("DBSIZE") == ":0"


@pytest.mark.parametrize("target", ["other", "o2", "o3", "iot_other"])
def test_rename(wire, target):
    create(wire)
    assert wire(f"RENAME k {target}") == "+OK"
    assert listed(wire) == f'*1 "{target}"'
    assert wire(f"TS.RANGE {target} - +") == "*2 *2 :1 +1 *2 :2 +2"
    assert wire("EXISTS k") == ":0"
    create(wire, "k", "w")
    assert wire(f"RENAMENX k {target}") == ":0"
    assert wire(f"RENAME k {target}") == "+OK"
    assert listed(wire) == "*0"
    assert listed(wire, "w") == f'*1 "{target}"'
    wire("SET s 1")
    assert wire(f"RENAME s {target}") == "+OK"
    assert listed(wire, "w") == "*0"
    assert wire(f"TS.GET {target}") == WRONG_TYPE


@pytest.mark.parametrize("target", ["other", "o2", "o3", "iot_other"])
def test_copy(wire, target):
    wire("TS.CREATE k LABELS l v RETENTION 1000 DUPLICATE_POLICY SUM CHUNK_SIZE 128 IGNORE 5 2")
    wire("TS.MADD k 1 1 k 2 2")
    assert wire(f"COPY k {target}") == ":1"
    assert wire(f"COPY k {target}") == ":0"
    assert listed(wire) == "*2 " + " ".join(sorted(['"k"', f'"{target}"']))
    info = wire(f"TS.INFO {target}")
    for field in ("+totalSamples :2 ", "+retentionTime :1000 ", "+duplicatePolicy +sum ", "+chunkSize :128 "):
        assert field in info
    assert wire(f"TS.ADD {target} 2 5") == ":2"
    assert wire("TS.GET k") == "*2 :2 +2"
    assert wire(f"TS.GET {target}") == "*2 :2 +7"
    create(wire, "k2", "w")
    assert wire(f"COPY k2 {target} REPLACE") == ":1"
    assert listed(wire) == '*1 "k"'


def test_scan_by_type(client, wire):
    create(wire)
    create(wire, "iot_k")
    wire("SET s 1")
    assert sorted(client.scan_iter(_type="TSDB-TYPE")) == ["iot_k", "k"]
    assert sorted(client.scan_iter(_type="tsdb-type", match="k*", count=10_000)) == ["k"]
    assert list(client.scan_iter(_type="string")) == ["s"]


def test_generic_reads(wire):
    create(wire)
    wire("SET s 1")
    assert wire("EXISTS k k s nope") == ":3"
    assert wire("TOUCH k s nope") == ":2"
    assert wire("TYPE k") == "+TSDB-TYPE"
    assert wire("KEYS *").startswith("*2 ")
    assert not wire("OBJECT ENCODING k").startswith("-")
    assert wire("OBJECT REFCOUNT k") == ":1"
    assert int(wire("MEMORY USAGE k")[1:]) > 0
    assert int(wire("MEMORY USAGE k SAMPLES 0")[1:]) > 0
    assert wire("DBSIZE") == ":2"


def test_other_types(wire):
    create(wire)
    for line in ("GET k", "APPEND k x", "INCR k", "STRLEN k", "GETRANGE k 0 1", "SETRANGE k 0 x", "GETDEL k"):
        assert (line, wire(line)) == (line, WRONG_TYPE)
    assert wire("MGET k") == "*1 $-1"
    assert listed(wire) == '*1 "k"'
    assert wire("SET k text") == "+OK"
    assert listed(wire) == "*0"
    assert wire("GET k") == '"text"'
    assert wire("TS.ADD k 1 1") == "-ERR TSDB: the key is not a TSDB key"
    assert wire("TS.QUERYLABELS LABELS") == "*0"


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_flush(wire, command):
    create(wire)
    create(wire, "iot_k")
    wire("TS.CREATERULE k iot_k AGGREGATION sum 10")
    assert wire(command) == "+OK"
    assert listed(wire) == "*0"
    assert wire("TS.QUERYLABELS LABELS") == "*0"
    assert wire("DBSIZE") == ":0"
    create(wire)
    assert wire("TS.ADD k 50 1") == ":50"
    assert wire("EXISTS iot_k") == ":0"
    assert "+rules *0 " in wire("TS.INFO k")


def test_transactions(wire):
    wire("MULTI")
    for line in (
        "TS.CREATE k LABELS l v",
        "TS.ADD k 1 1",
        "TS.MADD k 2 2 iot_k 1 1",
        "TS.ADD iot_k 5 5 LABELS l v",
        "TS.ADD k x 1",
        "TS.RANGE k - +",
        "TS.MGET FILTER l=v",
        "TS.QUERYINDEX l=v",
        "TS.NRANGE 2 k iot_k - +",
        "TS.INCRBY k 5 TIMESTAMP 2",
        "TS.DEL k 1 1",
        "TS.MRANGE - + FILTER l=v",
    ):
        assert (line, wire(line)) == (line, "+QUEUED")
    assert wire("EXEC") == (
        "*12 +OK :1 *2 :2 -ERR TSDB: the key does not exist :5 -ERR TSDB: invalid timestamp *2 *2 :1 +1 *2 :2 +2 "
        '*2 *3 "iot_k" *0 *2 :5 +5 *3 "k" *0 *2 :2 +2 *2 "iot_k" "k" '
        "*3 *2 :1 *2 +1 +NaN *2 :2 *2 +2 +NaN *2 :5 *2 +NaN +5 :2 :1 "
        '*2 *3 "iot_k" *0 *1 *2 :5 +5 *3 "k" *0 *1 *2 :2 +7'
    )
    wire("MULTI")
    assert wire("TS.ADD k").startswith("-ERR wrong number of arguments")
    assert wire("EXEC").startswith("-EXECABORT")


def test_watch_sees_samples(wire, server):
    create(wire)
    wire("WATCH k")
    with Wire(server.port) as other:
        other("TS.ADD k 10 1")
    wire("MULTI")
    wire("TS.ADD k 20 1")
    assert wire("EXEC") in ("*-1", "$-1")
    wire("WATCH k")
    wire("MULTI")
    wire("TS.ADD k 20 1")
    assert wire("EXEC") == "*1 :20"


def test_series_of_tsdb_set(wire):
    assert wire("TSDB_MSET k 100 1.5 k 300 3.5") == "+OK"
    assert wire("TS.RANGE k - +") == "*2 *2 :100 +1.5 *2 :300 +3.5"
    assert wire("TS.ADD k 200 2.5") == ":200"
    assert ":200" in wire("TSDB_GET k 150 250")
    assert wire("TSDB_GET k - +").startswith("*3 *3 :100 ")
    assert wire("TSDB_SET k 400 4.5 0 7") == "+OK"
    assert wire("TS.RANGE k 400 +") == "*1 *2 :400 +4.5"
    assert wire("TSDB_SET k 500 9 1") == "+OK", "another data type"
    assert wire("TS.GET k") == "*2 :400 +4.5"
    assert wire("TSDB_GET k 400 400") == '*1 *3 :400 "4.5" :7'
    assert wire("TS.ADD k 400 5 ON_DUPLICATE LAST") == ":400"
    assert wire("TSDB_GET k 400 400").startswith('*1 *3 :400 "5" ')
    assert wire("TYPE k") == "+TSDB-TYPE"
    assert wire("TS.ALTER k LABELS l v") == "+OK"
    assert listed(wire) == '*1 "k"'
    assert "+totalSamples :4 " in wire("TS.INFO k")


def test_config_defaults(client, wire):
    found = client.config_get("ts-*")
    expected = {
        "ts-compaction-policy": "",
        "ts-retention-policy": "0",
        "ts-duplicate-policy": "block",
        "ts-chunk-size-bytes": "4096",
        "ts-encoding": "compressed",
        "ts-ignore-max-time-diff": "0",
        "ts-ignore-max-val-diff": "0",
        "ts-topology-events": "yes",
    }
    assert {name: found[name] for name in expected} == expected
    assert {"ts-num-threads", "ts-libmr-protocol"} <= set(found)
    changes = {
        "ts-retention-policy": "1000",
        "ts-duplicate-policy": "sum",
        "ts-chunk-size-bytes": "128",
        "ts-encoding": "uncompressed",
    }
    for name, value in changes.items():
        assert client.config_set(name, value)
    try:
        wire("TS.CREATE k")
        info = wire("TS.INFO k")
        assert "+retentionTime :1000 " in info
        assert "+chunkSize :128 +chunkType +uncompressed " in info
        wire("TS.ADD k 1 1")
        assert wire("TS.ADD k 1 2") == ":1"
        assert wire("TS.GET k") == "*2 :1 +3"
        wire("TS.CREATE own RETENTION 5 DUPLICATE_POLICY MAX CHUNK_SIZE 64 ENCODING COMPRESSED")
        info = wire("TS.INFO own")
        assert "+retentionTime :5 " in info
        assert "+chunkSize :64 +chunkType +compressed +duplicatePolicy +max " in info
    finally:
        for name in changes:
            client.config_set(name, expected[name])
    for name in ("ts-libmr-protocol", "ts-topology-events"):
        assert wire(f"CONFIG SET {name} x").startswith("-ERR CONFIG SET failed")
    assert client.config_set("ts-num-threads", "4")
    assert client.config_get("ts-num-threads") == {"ts-num-threads": "4"}
    for value in ("0", "17", "x"):
        assert wire(f"CONFIG SET ts-num-threads {value}").startswith("-ERR CONFIG SET failed")


def test_compaction_policies_are_shown_in_the_longest_units(client):
    for given, shown in [
        ("max:1m:1h:1m", "max:1m:1h:1m"),
        ("min:10s:5d:0m", "min:10s:5d"),
        ("avg:7200s:864000s;last:5M:10m", "avg:2h:10d;last:5M:10m"),
        ("sum:1500m:0m", "sum:1500m:0d"),
        ("", ""),
    ]:
        assert client.config_set("ts-compaction-policy", given)
        assert client.config_get("ts-compaction-policy") == {"ts-compaction-policy": shown}
