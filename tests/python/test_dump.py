"""DUMP and RESTORE of strings and series, in this server's own format."""

import time

import pytest
import redis

pytestmark = pytest.mark.ticklane_only


@pytest.fixture
def raw(server):
    """A client that does not decode replies: payloads are bytes."""
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.mark.parametrize("value", [b"", b"x", b"\x00\xff\r\n" * 1000])
@pytest.mark.parametrize("target", ["copy", "iot_copy"])
def test_strings(raw, value, target):
    raw.set("s", value)
    assert raw.restore(target, 0, raw.dump("s")) == b"OK"
    assert raw.get(target) == value
    assert raw.ttl(target) == -1


@pytest.mark.parametrize("samples", [0, 10, 70_000])
@pytest.mark.parametrize("target", ["copy", "iot_copy"])
def test_series(raw, wire, samples, target):
    raw.execute_command("TS.CREATE k RETENTION 0 DUPLICATE_POLICY LAST CHUNK_SIZE 128 IGNORE 3 0.5 LABELS l v a 1")
    for start in range(0, samples, 10_000):
        words = [word for at in range(start, min(start + 10_000, samples)) for word in ("k", at * 5, at / 7)]
        raw.execute_command("TS.MADD", *words)
    assert raw.restore(target, 0, raw.dump("k")) == b"OK"
    assert raw.type(target) == b"TSDB-TYPE"
    assert wire(f"TS.RANGE {target} - +") == wire("TS.RANGE k - +")
    assert wire(f"TS.INFO {target}").split(" +chunkSize ")[1] == wire("TS.INFO k").split(" +chunkSize ")[1]
    assert f"+totalSamples :{samples} " in wire(f"TS.INFO {target}")
    assert wire("TS.QUERYINDEX l=v a=1") == f'*2 "{min("k", target)}" "{max("k", target)}"'
    assert wire(f"TS.ADD {target} {samples * 5 + 10} 1") == f":{samples * 5 + 10}"


def test_rules_stay_behind(wire, raw):
    for line in ("TS.CREATE src", "TS.CREATE dst", "TS.CREATERULE src dst AGGREGATION sum 10", "TS.ADD src 1 1"):
        assert not wire(line).startswith("-")
    for name in ("src", "dst"):
        raw.restore("copy", 0, raw.dump(name), replace=True)
        assert "+sourceKey $-1 +rules *0 " in wire("TS.INFO copy")
    wire("TS.MADD copy 11 1 copy 25 1")
    assert wire("TS.RANGE dst - +") == "*0"


def test_replacing(raw, wire):
    raw.set("s", "old")
    raw.execute_command("TS.ADD k 1 1 LABELS l v")
    string, series = raw.dump("s"), raw.dump("k")
    with pytest.raises(redis.ResponseError, match="^BUSYKEY|Target key name already exists"):
        raw.restore("s", 0, series)
    assert raw.get("s") == b"old"
    assert raw.restore("s", 0, series, replace=True) == b"OK"
    assert wire("TS.RANGE s - +") == "*1 *2 :1 +1"
    assert raw.restore("k", 0, string, replace=True) == b"OK"
    assert wire("TS.QUERYINDEX l=v") == '*1 "s"'
    assert raw.get("k") == b"old"


def test_deadlines(raw):
    raw.set("s", "x")
    raw.execute_command("TS.ADD k 1 1")
    for name in ("s", "k"):
        payload = raw.dump(name)
        assert raw.restore("t", 60_000, payload, replace=True) == b"OK"
        assert 59_000 < raw.pttl("t") <= 60_000
        assert raw.restore("t", 9_999_999_999_999, payload, replace=True, absttl=True) == b"OK"
        assert raw.pexpiretime("t") == 9_999_999_999_999
        assert raw.restore("t", 1, payload, replace=True, absttl=True) == b"OK"
        assert not raw.exists("t"), "the deadline has passed"


def test_refusals(raw, wire):
    assert raw.dump("nope") is None
    raw.set("s", "x")
    payload = raw.dump("s")
    wrong = "DUMP payload version or checksum are wrong"
    redis_payload = b"\x00\x03bar\x0b\x00\x1a\x2b\x3c\x4d\x5e\x6f\x70\x81"
    for damaged in (b"", b"x", payload[:-1], payload + b"x", b"y" + payload[1:], redis_payload):
        with pytest.raises(redis.ResponseError, match=wrong):
            raw.restore("t", 0, damaged)
    for line, text in {
        "RESTORE t -1 x": "-ERR Invalid TTL value, must be >= 0",
        "RESTORE t x x": "-ERR value is not an integer or out of range",
        "RESTORE t 0 x FOO": "-ERR syntax error",
        "RESTORE t 0 x IDLETIME -1": "-ERR Invalid IDLETIME value, must be >= 0",
        "RESTORE t 0 x FREQ 256": "-ERR Invalid FREQ value, must be >= 0 and <= 255",
        "RESTORE s 0 x": "-BUSYKEY Target key name already exists.",
        "RESTORE t 0": "-ERR wrong number of arguments for 'restore' command",
        "DUMP": "-ERR wrong number of arguments for 'dump' command",
    }.items():
        assert wire(line) == text
    assert not raw.exists("t")


def test_in_a_transaction(raw):
    raw.set("s", "x")
    payload = raw.dump("s")
    pipe = raw.pipeline()
    pipe.restore("t", 0, payload).dump("t").get("t").execute_command("TS.ADD", "k", 1, 1).dump("k")
    replies = pipe.execute()
    assert replies[:3] == [b"OK", payload, b"x"]
    assert raw.restore("k2", 0, replies[4]) == b"OK"


@pytest.mark.parametrize("source,destination", [("a", "b"), ("stock_a", "iot_b")])
def test_what_is_restored_is_no_end_of_a_rule(raw, wire, source, destination):
    """As in RedisTimeSeries: the other ends may be elsewhere, or have other rules by now."""
    for key in (source, destination):
        wire(f"TS.CREATE {key}")
    rule = f"TS.CREATERULE {source} {destination} AGGREGATION sum 10"
    assert wire(rule) == "+OK"
    wire(f"TS.MADD {source} 1 1 {source} 11 2")
    payloads = {key: raw.dump(key) for key in (source, destination)}
    for key, payload in payloads.items():
        assert raw.restore(f"{key}2", 0, payload) == b"OK"
        assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {key}2")
        assert wire(f"TS.RANGE {key}2 - +") == wire(f"TS.RANGE {key} - +")
    assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {destination}"), "what was dumped keeps its rule"
    for replaced, other in [(source, destination), (destination, source)]:
        assert raw.restore(replaced, 0, payloads[replaced], replace=True) == b"OK"
        for key in (replaced, other):
            deadline = time.monotonic() + 10
            while "+sourceKey $-1 +rules *0 " not in (info := wire(f"TS.INFO {key}")):
                assert time.monotonic() < deadline, info
        assert wire(rule) == "+OK"
    wire(f"TS.ADD {source} 21 3")
    assert wire(f"TS.RANGE {destination} - +") == "*1 *2 :0 +1", "no sample since the rule was made"
