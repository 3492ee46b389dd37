"""Candles by rules: five series that are rolled up together, from samples and from other candles."""

import pytest

pytestmark = pytest.mark.ticklane_only

PARTS = ["", ":open", ":high", ":low", ":count"]
# Two keys of one business, and of two.
ENDS = [("raw", "minute"), ("stock_raw", "iot_minute")]


def shown(samples):
    """A RESP2 reply of samples."""
    return " ".join([f"*{len(samples)}", *(f"*2 :{at} +{value}" for at, value in samples)])


@pytest.fixture(params=ENDS, ids=lambda ends: "-".join(ends))
def ends(request, wire):
    for key in request.param:
        assert wire(f"TS.CREATE {key} LABELS symbol X") == "+OK"
    return request.param


def rows(wire, key):
    """Timestamps with open, high, low, close and count, as TS.NRANGE shows them."""
    keys = " ".join(f"{key}{part}" for part in (":open", ":high", ":low", "", ":count"))
    reply = wire(f"TS.NRANGE 5 {keys} - +").split()[1:]
    return [
        (int(reply[at + 1][1:]), [float(value[1:]) for value in reply[at + 3 : at + 8]])
        for at in range(0, len(reply), 8)
    ]


def candles(samples, width):
    """Closed candles of samples."""
    buckets = {}
    for at, value in sorted(samples.items()):
        buckets.setdefault(at - at % width, []).append(value)
    buckets.pop(max(buckets))
    return [
        (start, [values[0], max(values), min(values), values[-1], len(values)]) for start, values in buckets.items()
    ]


def test_a_candle_of_samples(wire, ends):
    source, destination = ends
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION candle 10") == "+OK"
    samples = {1: 5, 3: 9, 4: 2, 9: 6, 12: 7, 25: 3}
    for at, value in samples.items():
        wire(f"TS.ADD {source} {at} {value}")
    assert rows(wire, destination) == candles(samples, 10)
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 6), (10, 7)])
    samples[2] = 11
    wire(f"TS.ADD {source} 2 11")
    assert rows(wire, destination) == candles(samples, 10)
    wire(f"TS.DEL {source} 4 9")
    samples = {at: value for at, value in samples.items() if not 4 <= at <= 9}
    assert rows(wire, destination) == candles(samples, 10)
    assert wire(f"TS.GET {destination}:high LATEST") == "*2 :20 +3"


def test_candles_of_candles(wire, ends, client):
    source, destination = ends
    client.config_set("ts-chained-rules", "yes")
    try:
        prefix = destination.split("_")[0] + "_" if "_" in destination else ""
        wider = f"{prefix}wider"
        wire(f"TS.CREATE {wider} RETENTION 5000")
        assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION candle 10") == "+OK"
        assert wire(f"TS.CREATERULE {destination} {wider} AGGREGATION candle 30") == "+OK"
        samples = {at: at * 7 % 23 for at in range(1, 200, 3)}
        for at, value in samples.items():
            wire(f"TS.ADD {source} {at} {value}")
        # The wider bucket is closed by a narrower candle, which needs a sample behind it.
        narrow = candles(samples, 10)
        assert rows(wire, destination) == narrow
        closed = {at: value for at, value in samples.items() if at < narrow[-1][0] + 10}
        wide = candles(closed, 30)
        for part in PARTS:
            assert wire(f"EXISTS {wider}{part}") == ":1"
        for _ in range(100):
            if rows(wire, wider) == wide:
                break
        assert rows(wire, wider) == wide
        assert "+retentionTime :5000 " in wire(f"TS.INFO {wider}:open")
        assert wire(f"TS.DELETERULE {destination} {wider}") == "+OK"
        for part in PARTS:
            assert "+sourceKey $-1 " in wire(f"TS.INFO {wider}{part}")
            assert f'+sourceKey "{source}" +rules *0 ' in wire(f"TS.INFO {destination}{part}")
        assert wire(f"TS.DELETERULE {destination} {wider}") == "-ERR TSDB: compaction rule does not exist"
    finally:
        client.config_set("ts-chained-rules", "no")


def test_the_rules_of_a_candle(wire, ends):
    source, destination = ends
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION candle 10 3 BACKFILL") == "+OK"
    info = wire(f"TS.INFO {source}")
    for part, name in zip(PARTS, ["LAST", "FIRST", "MAX", "MIN", "COUNT"], strict=True):
        assert f'*4 "{destination}{part}" :10 +{name} :3' in info
        assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {destination}{part}")
    assert wire("TS.QUERYINDEX symbol=X candle=high") == f'*1 "{destination}:high"'
    assert wire(f"TS.DELETERULE {source} {destination}") == "+OK"
    assert "+rules *0 " in wire(f"TS.INFO {source}")
    for part in PARTS:
        assert "+sourceKey $-1 " in wire(f"TS.INFO {destination}{part}")
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION candle 20") == "+OK"


def test_a_candle_that_has_samples_already(wire, ends):
    source, destination = ends
    samples = {at: at * 5 % 17 for at in range(1, 60, 2)}
    for at, value in samples.items():
        wire(f"TS.ADD {source} {at} {value}")
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION candle 10 BACKFILL") == "+OK"
    assert rows(wire, destination) == candles(samples, 10)


def test_refused_candles(wire, ends):
    source, destination = ends
    assert wire(f"TS.CREATERULE {source} nope AGGREGATION candle 10") == "-ERR TSDB: the key does not exist"
    assert wire(f"SET {destination}:low text") == "+OK"
    wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value"
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION candle 10") == wrong_type
    assert wire(f"EXISTS {destination}:open {destination}:high") == ":0"
    assert "+rules *0 " in wire(f"TS.INFO {source}")
    assert wire(f"DEL {destination}:low") == ":1"
    long_key = "k" * 65_533
    wire(f"TS.CREATE {long_key}")
    assert wire(f"TS.CREATERULE {source} {long_key} AGGREGATION candle 10").startswith("-ERR key is longer than")


def test_candles_by_policy(client, wire):
    client.config_set("ts-compaction-policy", "candle:10m:0")
    try:
        for at, value in [(1, 5), (2, 9), (3, 1), (11, 4)]:
            assert wire(f"TS.ADD k {at} {value} LABELS l v") == f":{at}"
        assert rows(wire, "k_CANDLE_10") == [(0, [5, 9, 1, 1, 3])]
        assert wire("TS.QUERYINDEX l=v candle=low") == '*1 "k_CANDLE_10:low"'
        assert wire("TS.QUERYINDEX l=v aggregation=CANDLE candle=") == '*1 "k_CANDLE_10"'
    finally:
        client.config_set("ts-compaction-policy", "")


def in_multi(wire, *lines):
    """What EXEC answers."""
    assert wire("MULTI") == "+OK"
    for line in lines:
        assert wire(line) == "+QUEUED", line
    return wire("EXEC")


def test_candles_inside_multi(wire, ends, client):
    source, destination = ends
    client.config_set("ts-chained-rules", "yes")
    try:
        wider = f"{destination.split('_')[0]}_wider" if "_" in destination else "wider"
        assert wire(f"TS.CREATE {wider}") == "+OK"
        lines = [
            f"TS.CREATERULE {source} {destination} AGGREGATION candle 10",
            f"TS.CREATERULE {destination} {wider} AGGREGATION candle 30",
            f"TS.MADD {source} 1 5 {source} 3 9 {source} 12 7",
            f"TS.RANGE {destination}:high - +",
        ]
        assert in_multi(wire, *lines) == "*4 +OK +OK *3 :1 :3 :12 " + shown([(0, 9)])
        samples = {1: 5, 3: 9, 12: 7} | {at: at * 7 % 23 for at in range(21, 200, 3)}
        for at, value in samples.items():
            wire(f"TS.ADD {source} {at} {value} ON_DUPLICATE LAST")
        narrow = candles(samples, 10)
        assert rows(wire, destination) == narrow
        closed = {at: value for at, value in samples.items() if at < narrow[-1][0] + 10}
        assert rows(wire, wider) == candles(closed, 30)
        lines = [f"TS.DELETERULE {destination} {wider}", f"TS.DELETERULE {source} {destination}"]
        assert in_multi(wire, *lines) == "*2 +OK +OK"
        for key in (destination, wider):
            for part in PARTS:
                assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {key}{part}")
        assert "+rules *0 " in wire(f"TS.INFO {source}")
    finally:
        client.config_set("ts-chained-rules", "no")


def test_parts_of_a_candle_on_their_own(wire, ends):
    """Each of the five is a series like any other."""
    source, destination = ends
    prefix = destination.split("_")[0] + "_" if "_" in destination else ""
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION candle 10") == "+OK"
    wire(f"TS.MADD {source} 1 5 {source} 3 9 {source} 12 7")
    assert wire(f"DEL {destination}:low") == ":1"
    assert wire(f"RENAME {destination}:high {prefix}top") == "+OK"
    wire(f"TS.MADD {source} 15 8 {source} 21 1")
    assert wire(f"EXISTS {destination}:low {destination}:high") == ":0"
    assert wire(f"TS.RANGE {prefix}top - +") == shown([(0, 9), (10, 8)])
    assert wire(f"TS.RANGE {destination} - +") == shown([(0, 9), (10, 8)])
    assert f'*4 "{prefix}top" :10 +MAX :0' in wire(f"TS.INFO {source}")
    # It is no candle any more: the rules go one by one.
    assert wire(f"TS.DELETERULE {source} {destination}") == "+OK"
    for key in (f"{prefix}top", f"{destination}:open", f"{destination}:count"):
        assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {key}")
        assert wire(f"TS.DELETERULE {source} {key}") == "+OK"
    assert "+rules *0 " in wire(f"TS.INFO {source}")
