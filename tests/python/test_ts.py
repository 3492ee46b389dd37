"""What an application does with redis-py's ts() on single series, over RESP2 and RESP3, on one lane and on four."""

import math

import pytest
import redis

KEYS = ["plain", "stock_a", "iot_a", "finance_a"]


def pairs(rows):
    """Rows as (timestamp, value, ...), as floats in both protocols."""
    return [(row[0], *[float(value) for value in row[1:]]) for row in rows]


def field(info, old, new):
    """A field of TS.INFO: redis-py makes attributes of it in RESP2, RESP3 gives a map."""
    return info[new] if isinstance(info, dict) else getattr(info, old)


def raw(client, *words):
    """The reply as it came: redis-py's own parsing of RESP2 drops all but the first value of a row."""
    return redis.Redis(connection_pool=client.connection_pool).execute_command(*words)


def test_create_and_info(client):
    ts = client.ts()
    for key in KEYS:
        assert ts.create(key, retention_msecs=20, labels={"Redis": "Labs", "Time": "Series"})
    info = ts.info("plain")
    assert field(info, "retention_msecs", "retentionTime") == 20
    assert field(info, "labels", "labels") == {"Redis": "Labs", "Time": "Series"}
    assert field(info, "total_samples", "totalSamples") == 0
    assert field(info, "duplicate_policy", "duplicatePolicy") is None
    assert field(info, "rules", "rules") in ([], {})
    assert field(info, "source_key", "sourceKey") is None
    with pytest.raises(redis.ResponseError, match="TSDB: key already exists"):
        ts.create("plain")
    for policy in ["block", "last", "first", "min", "max"]:
        ts.create(f"policy_{policy}", duplicate_policy=policy)
        info = ts.info(f"policy_{policy}")
        assert field(info, "duplicate_policy", "duplicatePolicy") == policy
    assert ts.create("chunks", chunk_size=128, uncompressed=True)
    info = ts.info("chunks")
    assert field(info, "chunk_size", "chunkSize") == 128


def test_alter(client):
    ts = client.ts()
    ts.create("stock_a", labels={"a": "1"})
    assert ts.alter("stock_a", retention_msecs=10)
    assert ts.alter("stock_a", labels={"Time": "Series"}, duplicate_policy="min")
    info = ts.info("stock_a")
    assert field(info, "retention_msecs", "retentionTime") == 10
    assert field(info, "labels", "labels") == {"Time": "Series"}
    assert field(info, "duplicate_policy", "duplicatePolicy") == "min"
    with pytest.raises(redis.ResponseError, match="TSDB: the key does not exist"):
        ts.alter("missing", retention_msecs=10)


def test_add_and_get(client):
    ts = client.ts()
    assert ts.add("plain", 1, 1.5) == 1
    assert ts.add("plain", 2, 3, retention_msecs=10) == 2
    assert ts.add("iot_a", 4, 2, labels={"Redis": "Labs"}) == 4
    assert abs(ts.add("now", "*", 1) - client.time()[0] * 1000) < 60_000
    assert [float(part) for part in ts.get("plain")] == [2, 3]
    ts.create("empty")
    assert not ts.get("empty")
    with pytest.raises(redis.ResponseError, match="the key does not exist"):
        ts.get("missing")
    with pytest.raises(redis.ResponseError, match="invalid value"):
        ts.add("plain", 5, "x")
    client.set("string", "x")
    with pytest.raises(redis.ResponseError):
        ts.add("string", 1, 1)
    assert client.type("plain") == "TSDB-TYPE"


def test_duplicate_policies(client):
    ts = client.ts()
    with pytest.raises(redis.ResponseError, match="DUPLICATE_POLICY is set to BLOCK"):
        ts.add("block", 1, 5.0)
        ts.add("block", 1, 5.5)
    for policy, expected in [("last", 10.0), ("first", 5.0), ("min", 5.0), ("max", 10.0), ("sum", 15.0)]:
        ts.add(f"stock_{policy}", 1, 5.0)
        assert ts.add(f"stock_{policy}", 1, 10.0, on_duplicate=policy) == 1
        assert float(ts.get(f"stock_{policy}")[1]) == expected


def test_ignore(client):
    ts = client.ts()
    ts.create("ignore", duplicate_policy="last", ignore_max_time_diff=5, ignore_max_val_diff=10.0)
    assert ts.add("ignore", 1000, 1.0) == 1000
    assert ts.add("ignore", 1003, 11.0) == 1000
    assert ts.add("ignore", 1010, 12.0) == 1010
    assert pairs(ts.range("ignore", "-", "+")) == [(1000, 1.0), (1010, 12.0)]


def test_madd(client):
    ts = client.ts()
    for key in KEYS:
        ts.create(key)
    samples = [(key, timestamp, timestamp * 2) for timestamp in (1, 2, 3) for key in KEYS]
    assert ts.madd(samples) == [timestamp for _, timestamp, _ in samples]
    for key in KEYS:
        assert pairs(ts.range(key, "-", "+")) == [(1, 2.0), (2, 4.0), (3, 6.0)]
    mixed = raw(client, "TS.MADD", "plain", 4, 1, "missing", 1, 1)
    assert mixed[0] == 4
    assert "the key does not exist" in str(mixed[1])


def test_incrby_and_decrby(client):
    ts = client.ts()
    for _ in range(100):
        assert ts.incrby("iot_a", 1, timestamp=5) == 5
    assert float(ts.get("iot_a")[1]) == 100
    assert ts.decrby("iot_a", 1.5, timestamp=6) == 6
    assert float(ts.get("iot_a")[1]) == 98.5
    with pytest.raises(redis.ResponseError, match="timestamp must be equal to or higher"):
        ts.incrby("iot_a", 1, timestamp=5)
    ts.incrby("created", 1.5, timestamp=1, retention_msecs=5, labels={"a": "b"})
    assert field(ts.info("created"), "labels", "labels") == {"a": "b"}


def test_delete(client):
    ts = client.ts()
    for timestamp in range(100):
        ts.add("finance_a", timestamp, timestamp % 7)
    assert ts.delete("finance_a", 0, 21) == 22
    assert ts.range("finance_a", 0, 21) == []
    assert pairs(ts.range("finance_a", 22, 22)) == [(22, 1.0)]
    assert field(ts.info("finance_a"), "total_samples", "totalSamples") == 78
    with pytest.raises(redis.ResponseError, match="the key does not exist"):
        ts.delete("missing", 0, 1)


@pytest.mark.parametrize("key", ["plain", "stock_a"])
def test_ranges(client, key):
    ts = client.ts()
    for timestamp in range(100):
        ts.add(key, timestamp, timestamp % 7)
    assert len(ts.range(key, 0, 200)) == 100
    assert len(ts.range(key, 0, 500, count=10)) == 10
    assert pairs(ts.range(key, 0, 500, filter_by_ts=[10, 20], filter_by_min_value=1, filter_by_max_value=6)) == [
        (10, 3.0),
        (20, 6.0),
    ]
    assert pairs(ts.revrange(key, 0, 98, count=2)) == [(98, 0.0), (97, 6.0)]
    assert pairs(ts.range(key, 0, 10, aggregation_type="count", bucket_size_msec=10)) == [(0, 10.0), (10, 1.0)]
    assert pairs(ts.range(key, 0, 10, aggregation_type="count", bucket_size_msec=10, align="-")) == [
        (0, 10.0),
        (10, 1.0),
    ]
    assert pairs(ts.range(key, 0, 10, aggregation_type="count", bucket_size_msec=10, align=5)) == [
        (0, 5.0),
        (5, 6.0),
    ]
    assert pairs(ts.range(key, 0, 10, aggregation_type="twa", bucket_size_msec=10))[0][0] == 0
    assert pairs(ts.range(key, 0, 19, aggregation_type="max", bucket_size_msec=10, bucket_timestamp="+")) == [
        (10, 6.0),
        (20, 6.0),
    ]
    reply = raw(client, "TS.RANGE", key, 0, 19, "AGGREGATION", "min,max", 10)
    assert pairs(reply) == [(0, 0.0, 6.0), (10, 0.0, 6.0)]


def test_empty_buckets(client):
    ts = client.ts()
    for timestamp, value in [(15, 1), (17, 4), (51, 3), (73, 5), (75, 3)]:
        ts.add("t1", timestamp, value)
    reply = pairs(ts.range("t1", 0, 100, aggregation_type="max", bucket_size_msec=10, empty=True))
    assert [row[0] for row in reply] == [10, 20, 30, 40, 50, 60, 70]
    assert [row[1] for row in reply if not math.isnan(row[1])] == [4.0, 3.0, 5.0]
    reply = pairs(ts.revrange("t1", 0, 100, aggregation_type="sum", bucket_size_msec=10, empty=True))
    assert reply[:3] == [(70, 8.0), (60, 0.0), (50, 3.0)]


def test_nan(client):
    ts = client.ts()
    assert ts.add("plain", 1, "NaN") == 1
    assert math.isnan(float(ts.get("plain")[1]))
    ts.add("plain", 2, 1)
    reply = raw(client, "TS.RANGE", "plain", "-", "+", "AGGREGATION", "countnan,countall,count", 10)
    assert pairs(reply) == [(0, 1.0, 2.0, 1.0)]


def test_retention(client):
    ts = client.ts()
    ts.create("kept", retention_msecs=50)
    ts.add("kept", 100, 1)
    ts.add("kept", 160, 2)
    assert pairs(ts.range("kept", "-", "+")) == [(160, 2.0)]
    with pytest.raises(redis.ResponseError, match="Timestamp is older than retention"):
        ts.add("kept", 100, 1)
    info = ts.info("kept")
    assert field(info, "total_samples", "totalSamples") == 1
    assert field(info, "first_timestamp", "firstTimestamp") == 160


def test_configuration(client):
    assert client.config_get("ts-duplicate-policy") == {"ts-duplicate-policy": "block"}
    assert client.config_set("ts-duplicate-policy", "last")
    try:
        for key in KEYS:
            client.ts().add(key, 1, 1)
            client.ts().add(key, 1, 2)
            assert float(client.ts().get(key)[1]) == 2
    finally:
        client.config_set("ts-duplicate-policy", "block")
    modules = client.module_list()
    names = [module["name"] for module in modules]
    assert "timeseries" in names


def test_pipeline_and_transaction(client):
    pipeline = client.ts().pipeline()
    pipeline.create("stock_p")
    for timestamp in range(100):
        pipeline.add("stock_p", timestamp, timestamp)
    assert pipeline.execute()[-1] == 99
    assert field(client.ts().info("stock_p"), "total_samples", "totalSamples") == 100


def test_info_debug(client):
    client.ts().add("plain", 1, 10)
    reply = raw(client, "TS.INFO", "plain", "DEBUG")
    info = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))
    chunk = info["Chunks"][0]
    chunk = chunk if isinstance(chunk, dict) else dict(zip(chunk[::2], chunk[1::2]))
    assert (info["keySelfName"], chunk["samples"], chunk["startTimestamp"]) == ("plain", 1, 1)
