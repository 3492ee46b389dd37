"""Every method of redis-py's `ts()`, with the replies that redis-py parses out of RESP2 and hands through of RESP3."""

import time

import pytest
import redis

pytestmark = pytest.mark.ticklane_only


def is_resp3(client):
    """Which of redis-py's two shapes to expect."""
    return client.connection_pool.connection_kwargs["protocol"] == 3


def pairs(client, samples):
    """Samples as this protocol shows them: tuples that redis-py makes, or lists."""
    return [list(sample) for sample in samples] if is_resp3(client) else [tuple(sample) for sample in samples]


def series(client, found, aggregators=()):
    """What TS.MRANGE shows of `{key: (labels, samples)}`."""
    if is_resp3(client):
        return {
            key: [labels, {"aggregators": list(aggregators)}, pairs(client, samples)]
            for key, (labels, samples) in found.items()
        }
    return [{key: [labels, pairs(client, samples)]} for key, (labels, samples) in sorted(found.items())]


def info(client, key):
    """TS.INFO as a dictionary of either protocol."""
    found = client.ts().info(key)
    if is_resp3(client):
        return found
    names = {
        "totalSamples": "total_samples",
        "memoryUsage": "memory_usage",
        "firstTimestamp": "first_timestamp",
        "lastTimestamp": "last_timestamp",
        "retentionTime": "retention_msecs",
        "chunkCount": "chunk_count",
        "chunkSize": "chunk_size",
        "duplicatePolicy": "duplicate_policy",
        "labels": "labels",
        "sourceKey": "source_key",
        "rules": "rules",
    }
    return {name: getattr(found, attribute) for name, attribute in names.items()}


def test_create(client):
    ts = client.ts()
    assert ts.create("a") is True
    assert ts.create("b", retention_msecs=5) is True
    assert ts.create("c", labels={"Redis": "Labs"}) is True
    assert ts.create("d", retention_msecs=20, labels={"Time": "Series"}) is True
    assert ts.create("e", uncompressed=True, chunk_size=128, duplicate_policy="max") is True
    found = info(client, "d")
    assert found["retentionTime"] == 20
    assert found["labels"] == {"Time": "Series"}
    assert info(client, "e")["chunkSize"] == 128
    assert info(client, "e")["duplicatePolicy"] == "max"
    with pytest.raises(redis.ResponseError, match="^TSDB: key already exists$"):
        ts.create("a")


@pytest.mark.parametrize("policy", ["block", "last", "first", "min", "max", "BLOCK", "Sum"])
def test_create_with_duplicate_policy(client, policy):
    assert client.ts().create("a", duplicate_policy=policy)
    assert info(client, "a")["duplicatePolicy"] == policy.lower()


def test_alter(client):
    ts = client.ts()
    ts.create("a")
    assert info(client, "a")["retentionTime"] == 0
    assert info(client, "a")["duplicatePolicy"] is None
    assert ts.alter("a", retention_msecs=10) is True
    assert info(client, "a")["labels"] == {}
    assert ts.alter("a", labels={"Time": "Series"}) is True
    assert info(client, "a")["labels"] == {"Time": "Series"}
    assert info(client, "a")["retentionTime"] == 10
    assert ts.alter("a", duplicate_policy="min", chunk_size=64) is True
    assert info(client, "a")["duplicatePolicy"] == "min"
    assert info(client, "a")["chunkSize"] == 64
    assert info(client, "a")["labels"] == {"Time": "Series"}


def test_add(client):
    ts = client.ts()
    assert ts.add("a", 1, 1) == 1
    assert ts.add("b", 2, 3, retention_msecs=10) == 2
    assert ts.add("c", 3, 2, labels={"Redis": "Labs"}) == 3
    assert ts.add("d", 4, 2, retention_msecs=10, labels={"Redis": "Labs", "Time": "Series"}) == 4
    assert abs(ts.add("e", "*", 1) - time.time() * 1000) < 10_000
    assert info(client, "d")["retentionTime"] == 10
    assert info(client, "d")["labels"] == {"Redis": "Labs", "Time": "Series"}
    ts.add("f", 1, 10, chunk_size=128, uncompressed=True)
    assert info(client, "f")["chunkSize"] == 128


def test_add_duplicates(client):
    ts = client.ts()
    ts.add("block", 1, 5.0)
    with pytest.raises(redis.ResponseError, match="^TSDB: Error at upsert, update is not supported"):
        ts.add("block", 1, 5.0, on_duplicate="block")
    for policy, expected in [("last", 6.0), ("first", 5.0), ("max", 6.0), ("min", 5.0), ("sum", 11.0)]:
        ts.add(policy, 1, 5.0, duplicate_policy=policy)
        assert ts.add(policy, 1, 6.0, on_duplicate=policy) == 1
        assert tuple(ts.get(policy)) == (1, expected)
        assert info(client, policy)["duplicatePolicy"] == policy


def test_insertion_filter(client):
    ts = client.ts()
    options = {"duplicate_policy": "last", "ignore_max_time_diff": 5, "ignore_max_val_diff": 10.0}
    ts.create("a", **options)
    assert [ts.add("a", 1000 + index, value) for index, value in enumerate([1.0, 11.0, 13.0, 10.0, 11.5])] == [
        1000,
        1000,
        1002,
        1002,
        1002,
    ]
    assert ts.range("a", "-", "+") == pairs(client, [(1000, 1.0), (1002, 13.0)])
    ts.create("b", duplicate_policy="last")
    ts.alter("b", ignore_max_time_diff=5, ignore_max_val_diff=10.0)
    assert [ts.add("b", at, 10.0) for at in (1013, 1014)] == [1013, 1013]
    assert ts.add("c", 1000, 1.0, **options) == 1000
    assert ts.add("c", 1001, 10.0) == 1000
    assert ts.incrby("d", 1.0, timestamp=1000, **options) == 1000
    assert ts.incrby("d", 9.0, timestamp=1001) == 1000
    assert ts.decrby("e", 1.0, timestamp=1000, **options) == 1000


def test_madd(client):
    ts = client.ts()
    ts.create("a")
    assert ts.madd([("a", 1, 5), ("a", 2, 10), ("a", 3, 15)]) == [1, 2, 3]
    ts.create("b")
    found = ts.madd([("b", 1, "x"), ("missing", 1, 1), ("b", "*", 2)])
    assert isinstance(found[0], redis.ResponseError)
    assert str(found[1]) == "TSDB: the key does not exist"
    assert isinstance(found[2], int)
    ts.create("c")
    assert ts.madd([("c", "1", "nan"), ("c", 2, 2.5)]) == [1, 2]


def test_incrby_and_decrby(client):
    ts = client.ts()
    for number in range(1, 101):
        assert ts.incrby("a", 1, timestamp=number) == number
    assert tuple(ts.get("a")) == (100, 100.0)
    for number in range(101, 201):
        assert ts.decrby("a", 1, timestamp=number) == number
    assert tuple(ts.get("a")) == (200, 0.0)
    assert ts.incrby("b", 1.5, timestamp=5) == 5
    assert tuple(ts.get("b")) == (5, 1.5)
    with pytest.raises(redis.ResponseError, match="^TSDB: timestamp must be equal to or higher than the maximum"):
        ts.incrby("b", 2, timestamp=1)
    assert ts.decrby("c", 1, retention_msecs=10, labels={"l": "v"}, chunk_size=128, uncompressed=True) > 0
    assert info(client, "c")["labels"] == {"l": "v"}
    assert info(client, "c")["chunkSize"] == 128
    assert ts.get("c")[1] == -1.0


def test_delete(client):
    ts = client.ts()
    with pytest.raises(redis.ResponseError, match="^TSDB: the key does not exist$"):
        ts.delete("a", 0, 100)
    for number in range(100):
        ts.add("a", number, number % 7)
    assert ts.delete("a", 0, 21) == 22
    assert ts.range("a", 0, 21) == []
    assert ts.range("a", 22, 22) == pairs(client, [(22, 1.0)])
    assert ts.delete("a", 60, 3) == 0


def test_rules(client):
    ts = client.ts()
    for key in ("a", "b", "c"):
        ts.create(key)
    assert ts.createrule("a", "b", "avg", 100) is True
    for number in range(50):
        ts.add("a", 100 + number * 2, 1)
        ts.add("a", 100 + number * 2 + 1, 2)
    ts.add("a", 200, 1.5)
    assert round(ts.get("b")[1], 5) == 1.5
    rules = info(client, "a")["rules"]
    assert rules == ({"b": [100, "AVG", 0]} if is_resp3(client) else [["b", 100, "AVG", 0]])
    assert info(client, "b")["sourceKey"] == "a"
    assert ts.deleterule("a", "b") is True
    assert not info(client, "a")["rules"]
    assert info(client, "b")["sourceKey"] is None
    ts.createrule("a", "c", "std.p", 60_000, align_timestamp=20)
    rules = info(client, "a")["rules"]
    assert rules == ({"c": [60_000, "STD.P", 20]} if is_resp3(client) else [["c", 60_000, "STD.P", 20]])


def test_range(client):
    ts = client.ts()
    ts.madd([(ts.create("a") and "a", number, number % 7) for number in range(1)])
    for number in range(1, 100):
        ts.add("a", number, number % 7)
    assert len(ts.range("a", 0, 200)) == 100
    assert ts.range("a", 0, 2) == pairs(client, [(0, 0.0), (1, 1.0), (2, 2.0)])
    for number in range(100):
        ts.add("a", number + 200, number % 7)
    assert len(ts.range("a", 0, 500)) == 200
    assert len(ts.range("a", 0, 500, count=10)) == 10
    assert len(ts.range("a", 0, 500, aggregation_type="avg", bucket_size_msec=10)) == 20
    by_value = ts.range("a", 0, 500, filter_by_ts=list(range(10, 20)), filter_by_min_value=1, filter_by_max_value=2)
    assert by_value == pairs(client, [(15, 1.0), (16, 2.0)])
    assert ts.range("a", 0, 10, aggregation_type="count", bucket_size_msec=10, align="+") == pairs(
        client, [(0, 10.0), (10, 1.0)]
    )
    assert ts.range("a", 0, 10, aggregation_type="count", bucket_size_msec=10, align=5) == pairs(
        client, [(0, 5.0), (5, 6.0)]
    )
    assert ts.range("a", "-", "+", count=1) == pairs(client, [(0, 0.0)])


def test_revrange(client):
    ts = client.ts()
    for number in range(100):
        ts.add("a", number, number % 7)
    assert ts.revrange("a", 0, 500, count=2) == pairs(client, [(99, 1.0), (98, 0.0)])
    found = ts.revrange("a", 0, 500, filter_by_ts=list(range(10, 20)), filter_by_min_value=1, filter_by_max_value=2)
    assert found == pairs(client, [(16, 2.0), (15, 1.0)])
    assert ts.revrange("a", 0, 10, aggregation_type="count", bucket_size_msec=10, align="+") == pairs(
        client, [(10, 1.0), (0, 10.0)]
    )
    assert ts.revrange("a", 0, 10, aggregation_type="count", bucket_size_msec=10, align=1) == pairs(
        client, [(1, 10.0), (0, 1.0)]
    )
    assert ts.revrange("a", 0, 9, aggregation_type="twa", bucket_size_msec=10)[0][0] == 0


@pytest.mark.parametrize(
    ("aggregator", "expected"),
    [
        ("sum", 10.0),
        ("avg", 2.5),
        ("count", 4.0),
        ("first", 1.0),
        ("last", 4.0),
        ("min", 1.0),
        ("max", 4.0),
        ("range", 3.0),
        ("std.p", 1.118033988749895),
        ("std.s", 1.2909944487358056),
        ("var.p", 1.25),
        ("var.s", 1.6666666666666667),
        ("twa", 2.0),
        ("countnan", 0.0),
        ("countall", 4.0),
    ],
)
def test_aggregators(client, aggregator, expected):
    ts = client.ts()
    for timestamp, value in [(0, 1), (1, 2), (2, 3), (3, 4)]:
        ts.add("a", timestamp, value)
    found = ts.range("a", 0, 3, aggregation_type=aggregator, bucket_size_msec=10)
    if aggregator == "countnan":
        assert found == [], "a bucket without NaN has nothing to count"
    elif aggregator == "twa":
        assert found[0][0] == 0 and 1.0 <= found[0][1] <= 4.0
    else:
        assert [round(found[0][1], 12)] == [round(expected, 12)]
    reverse = ts.revrange("a", 0, 3, aggregation_type=aggregator, bucket_size_msec=10)
    assert reverse == found


def test_bucket_timestamp_and_empty(client):
    ts = client.ts()
    for timestamp, value in [(15, 1), (17, 4), (51, 3), (73, 5), (75, 3)]:
        ts.add("a", timestamp, value)
    arguments = {"aggregation_type": "max", "bucket_size_msec": 10}
    expected = [(10, 4.0), (50, 3.0), (70, 5.0)]
    assert ts.range("a", 0, 100, align=0, **arguments) == pairs(client, expected)
    ends = [(20, 4.0), (60, 3.0), (80, 5.0)]
    assert ts.range("a", 0, 100, align=0, bucket_timestamp="+", **arguments) == pairs(client, ends)
    middles = [(15, 4.0), (55, 3.0), (75, 5.0)]
    assert ts.range("a", 0, 100, align=0, bucket_timestamp="~", **arguments) == pairs(client, middles)
    found = ts.range("a", 0, 100, align=0, empty=True, **arguments)
    assert [sample[0] for sample in found] == [10, 20, 30, 40, 50, 60, 70]
    assert [str(sample[1]) for sample in found] == ["4.0", "nan", "nan", "nan", "3.0", "nan", "5.0"]
    found = ts.revrange("a", 0, 100, align=0, empty=True, **arguments)
    assert [sample[0] for sample in found] == [70, 60, 50, 40, 30, 20, 10]


def mrange_series(client):
    """Two series of redis-py's own examples."""
    ts = client.ts()
    ts.create("a", labels={"Test": "This", "team": "ny"})
    ts.create("b", labels={"Test": "This", "Taste": "That", "team": "sf"})
    for number in range(100):
        ts.add("a", number, number % 7)
        ts.add("b", number, number % 11)
    return ts


def test_mrange(client):
    ts = mrange_series(client)
    found = ts.mrange(0, 200, filters=["Test=This"])
    assert len(found) == 2
    found = ts.mrange(0, 200, filters=["Test=This"], count=2)
    assert found == series(client, {"a": ({}, [(0, 0.0), (1, 1.0)]), "b": ({}, [(0, 0.0), (1, 1.0)])})
    found = ts.mrange(0, 500, filters=["Test=This"], aggregation_type="avg", bucket_size_msec=50, count=1)
    assert found == series(client, {"a": ({}, [(0, 2.94)]), "b": ({}, [(0, 4.7)])}, ["avg"])
    found = ts.mrange(0, 1, filters=["Test=This"], with_labels=True, count=1)
    assert found == series(
        client,
        {
            "a": ({"Test": "This", "team": "ny"}, [(0, 0.0)]),
            "b": ({"Test": "This", "Taste": "That", "team": "sf"}, [(0, 0.0)]),
        },
    )
    found = ts.mrange(0, 1, filters=["Test=This"], select_labels=["team"], count=1)
    assert found == series(client, {"a": ({"team": "ny"}, [(0, 0.0)]), "b": ({"team": "sf"}, [(0, 0.0)])})
    found = ts.mrange(
        0, 20, filters=["Test=This"], filter_by_ts=list(range(10, 20)), filter_by_min_value=1, filter_by_max_value=2
    )
    assert found == series(
        client, {"a": ({}, [(15, 1.0), (16, 2.0)]), "b": ({}, [(12, 1.0), (13, 2.0)])}
    )


@pytest.mark.parametrize(
    ("reducer", "values"), [("sum", [0.0, 2.0]), ("min", [0.0, 1.0]), ("max", [0.0, 1.0]), ("count", [2.0, 2.0])]
)
def test_mrange_grouped(client, reducer, values):
    ts = mrange_series(client)
    samples = list(enumerate(values))
    found = ts.mrange(0, 1, filters=["Test=This"], groupby="Test", reduce=reducer)
    if is_resp3(client):
        assert found == {
            "Test=This": [{}, {"reducers": [reducer]}, {"sources": ["a", "b"]}, pairs(client, samples)]
        }
    else:
        assert found == [{"Test=This": [{}, pairs(client, samples)]}]
    found = ts.mrange(0, 0, filters=["Test=This"], groupby="team", reduce=reducer, with_labels=True)
    if is_resp3(client):
        assert found["team=ny"][:3] == [{"team": "ny"}, {"reducers": [reducer]}, {"sources": ["a"]}]
        assert found["team=sf"][:3] == [{"team": "sf"}, {"reducers": [reducer]}, {"sources": ["b"]}]
    else:
        assert [list(each) for each in found] == [["team=ny"], ["team=sf"]]
        assert found[0]["team=ny"][0] == {"team": "ny", "__reducer__": reducer, "__source__": "a"}


def test_mrevrange(client):
    ts = mrange_series(client)
    found = ts.mrevrange(0, 200, filters=["Test=This"], count=2)
    assert found == series(client, {"a": ({}, [(99, 1.0), (98, 0.0)]), "b": ({}, [(99, 0.0), (98, 10.0)])})
    found = ts.mrevrange(0, 3, filters=["Test=This"], aggregation_type="count", bucket_size_msec=2, align="-")
    assert found == series(client, {"a": ({}, [(2, 2.0), (0, 2.0)]), "b": ({}, [(2, 2.0), (0, 2.0)])}, ["count"])
    found = ts.mrevrange(0, 1, filters=["Test=This"], groupby="Test", reduce="sum")
    rows = found["Test=This"][-1] if is_resp3(client) else found[0]["Test=This"][-1]
    assert rows == pairs(client, [(1, 2.0), (0, 0.0)])


def test_get_and_mget(client):
    ts = client.ts()
    ts.create("empty")
    assert not ts.get("empty")
    ts.create("a", labels={"Test": "This"})
    ts.create("b", labels={"Test": "This", "Taste": "That"})
    found = ts.mget(["Test=This"])
    if is_resp3(client):
        assert found == {"a": [{}, []], "b": [{}, []]}
    else:
        assert found == [{"a": [{}, None, None]}, {"b": [{}, None, None]}]
    ts.add("a", "*", 15)
    ts.add("b", 5, 25)
    assert tuple(ts.get("b")) == (5, 25.0)
    found = ts.mget(["Test=This"], with_labels=True)
    labels = {"Taste": "That", "Test": "This"}
    if is_resp3(client):
        assert found["a"][1][1] == 15.0
        assert found["b"] == [labels, [5, 25.0]]
    else:
        assert found[0]["a"][2] == 15
        assert found[1] == {"b": [labels, 5, 25.0]}
    found = ts.mget(["Taste=That"], select_labels=["Taste"])
    assert found == ({"b": [{"Taste": "That"}, [5, 25.0]]} if is_resp3(client) else [{"b": [{"Taste": "That"}, 5, 25.0]}])


def test_info(client):
    client.ts().create("a", retention_msecs=5, labels={"currentLabel": "currentData"})
    found = info(client, "a")
    assert found["retentionTime"] == 5
    assert found["labels"] == {"currentLabel": "currentData"}
    assert found["duplicatePolicy"] is None
    assert found["totalSamples"] == 0 and found["memoryUsage"] > 0
    client.ts().create("b", duplicate_policy="min")
    assert info(client, "b")["duplicatePolicy"] == "min"


def test_queryindex(client):
    ts = client.ts()
    ts.create("a", labels={"Test": "This"})
    ts.create("b", labels={"Test": "This", "Taste": "That"})
    found = ts.queryindex(["Test=This"])
    assert len(found) == 2 and set(found) == {"a", "b"}
    assert list(ts.queryindex(["Taste=That"])) == ["b"]
    assert list(ts.queryindex(["Taste=nope"])) == []


def test_pipeline(client):
    pipeline = client.ts().pipeline()
    pipeline.create("with_pipeline")
    for number in range(100):
        pipeline.add("with_pipeline", number, 1.1 * number)
    assert pipeline.execute() == [True, *range(100)]
    assert info(client, "with_pipeline")["totalSamples"] == 100
    assert client.ts().get("with_pipeline")[1] == pytest.approx(99 * 1.1)
