"""Commands as other clients and tools word them: go-redis, Jedis, Grafana, Telegraf, RedisInsight."""

import pytest

pytestmark = pytest.mark.ticklane_only


def check(wire, table):
    """Every command has the reply that stands beside it."""
    for line, expected in table.items():
        assert (line, wire(line)) == (line, expected)


def test_telegraf(wire):
    check(
        wire,
        {
            "PING": "+PONG",
            "TS.ADD cpu_usage_idle 1700000000000 97.5 LABELS host web-1 cpu cpu-total": ":1700000000000",
            "TS.ADD cpu_usage_idle 1700000010000 96 LABELS host web-1 cpu cpu-total": ":1700000010000",
            "EXPIRE cpu_usage_idle 3600": ":1",
            "TS.QUERYINDEX host=web-1": '*1 "cpu_usage_idle"',
            "TS.RANGE cpu_usage_idle - +": "*2 *2 :1700000000000 +97.5 *2 :1700000010000 +96",
        },
    )


def test_grafana(wire):
    for key, host in (("k:a", "a"), ("k:b", "b")):
        wire(f"TS.CREATE {key} LABELS host {host} kind cpu")
        for timestamp in (1000, 1500, 2500):
            wire(f"TS.ADD {key} {timestamp} {timestamp}")
    samples = "*3 *2 :1000 +1000 *2 :1500 +1500 *2 :2500 +2500"
    check(
        wire,
        {
            "TS.RANGE k:a 1000 3000": samples,
            "TS.RANGE k:a 1000 3000 60000": samples,
            "TS.RANGE k:a 1000 3000 AGGREGATION avg 1000": "*2 *2 :1000 +1250 *2 :2000 +2500",
            "TS.MRANGE 1000 3000 AGGREGATION avg 1000 WITHLABELS FILTER host=a": '*1 *3 "k:a" *2 *2 "host" "a" '
            '*2 "kind" "cpu" *2 *2 :1000 +1250 *2 :2000 +2500',
            "TS.MRANGE 1000 3000 WITHLABELS FILTER kind=cpu GROUPBY kind REDUCE sum": '*1 *3 "kind=cpu" '
            '*3 *2 "kind" "cpu" *2 "__reducer__" "sum" *2 "__source__" "k:a,k:b" '
            "*3 *2 :1000 +2000 *2 :1500 +3000 *2 :2500 +5000",
            "TS.MGET WITHLABELS FILTER host=b": '*1 *3 "k:b" *2 *2 "host" "b" *2 "kind" "cpu" *2 :2500 +2500',
            "TS.QUERYINDEX host=(a,b)": '*2 "k:a" "k:b"',
            "TS.GET k:a": "*2 :2500 +2500",
        },
    )
    assert wire("TS.INFO k:a").startswith("*28 +totalSamples :3 ")


def test_go_redis(wire3):
    check(
        wire3,
        {
            "TS.ADD a 1 1 RETENTION 0 CHUNK_SIZE 128 ENCODING UNCOMPRESSED DUPLICATE_POLICY LAST LABELS Redis Labs": ":1",
            "TS.CREATE b RETENTION 10 CHUNK_SIZE 128 ENCODING COMPRESSED DUPLICATE_POLICY MIN LABELS Test This "
            "IGNORE 5 10.000000": "+OK",
            "TS.ALTER b RETENTION 100 CHUNK_SIZE 256 DUPLICATE_POLICY LAST LABELS Test This Taste That "
            "IGNORE 1 2.5": "+OK",
            "TS.INCRBY c 1 TIMESTAMP 1 RETENTION 0 CHUNK_SIZE 128 UNCOMPRESSED LABELS l v": ":1",
            "TS.DECRBY c 3 TIMESTAMP 2": ":2",
            "TS.CREATE d": "+OK",
            "TS.CREATERULE a d AGGREGATION Avg 100 5": "+OK",
            "TS.DELETERULE a d": "+OK",
            "TS.MADD a 2 2 b 3 3": "*2 :2 :3",
            "TS.RANGE a 0 100 FILTER_BY_TS 1 2 FILTER_BY_VALUE 0 10 COUNT 5 ALIGN start AGGREGATION SUM 10 "
            "BUCKETTIMESTAMP ~ EMPTY": "*1 *2 :5 ,3",
            "TS.MRANGE 0 100 LATEST FILTER_BY_TS 1 2 FILTER_BY_VALUE 0 10 SELECTED_LABELS Redis COUNT 5 ALIGN - "
            "AGGREGATION COUNT 10 BUCKETTIMESTAMP - EMPTY FILTER Redis=Labs": '%1 "a" *3 %1 "Redis" "Labs" '
            '%1 "aggregators" *1 "count" *1 *2 :0 ,2',
            "TS.MREVRANGE 0 100 WITHLABELS FILTER Redis=Labs GROUPBY Redis REDUCE MAX": '%1 "Redis=Labs" '
            '*4 %1 "Redis" "Labs" %1 "reducers" *1 "max" %1 "sources" *1 "a" *2 *2 :2 ,2 *2 :1 ,1',
            "TS.MGET LATEST WITHLABELS FILTER Test=This": '%1 "b" *2 %2 "Test" "This" "Taste" "That" *2 :3 ,3',
            "TS.QUERYINDEX Test=This": '~1 "b"',
            "TS.GET a LATEST": "*2 :2 ,2",
        },
    )
    info = wire3("TS.INFO b")
    assert info.startswith("%14 ") and "+ignoreMaxTimeDiff :1 +ignoreMaxValDiff ,2.5" in info
    assert wire3("TS.INFO a DEBUG").startswith("%16 ")


def test_jedis(wire):
    check(
        wire,
        {
            "TS.CREATE a RETENTION 10 ENCODING UNCOMPRESSED CHUNK_SIZE 128 DUPLICATE_POLICY LAST IGNORE 1 0.5 "
            "LABELS l1 v1 l2 v2": "+OK",
            "TS.ADD a 1 1.0 ON_DUPLICATE FIRST IGNORE 0 0.0": ":1",
            "TS.INCRBY a 2.5 TIMESTAMP 5": ":5",
            "TS.MRANGE 0 10 LATEST FILTER_BY_TS 1 5 WITHLABELS COUNT 10 AGGREGATION SUM 5 FILTER l1=v1": '*1 *3 "a" '
            '*2 *2 "l1" "v1" *2 "l2" "v2" *2 *2 :0 +1 *2 :5 +3.5',
            "TS.MREVRANGE - + FILTER l1=v1 l2!=": '*1 *3 "a" *0 *2 *2 :5 +3.5 *2 :1 +1',
            "TS.MRANGE - + SELECTED_LABELS l2 FILTER l1=v1 GROUPBY l1 REDUCE STD.P": '*1 *3 "l1=v1" *1 *2 "l2" $-1 '
            "*2 *2 :1 +0 *2 :5 +0",
        },
    )


def test_redisinsight(wire):
    wire("TS.ADD k 1 1 LABELS l v")
    assert wire("SCAN 0 MATCH * COUNT 10000 TYPE TSDB-TYPE").startswith("*2 ")
    assert wire("TYPE k") == "+TSDB-TYPE"
    assert int(wire("MEMORY USAGE k SAMPLES 0")[1:]) > 0
    assert wire("COMMAND INFO ts.mrange ts.info").startswith('*2 *10 "ts.mrange" :-4 ')
    assert wire("TS.MRANGE - + FILTER l=v").startswith('*1 *3 "k" ')
