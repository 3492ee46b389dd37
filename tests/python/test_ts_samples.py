"""Adding samples: timestamps, values, duplicates, deadbands, retention, counters, deletion."""

import time

import pytest

pytestmark = pytest.mark.ticklane_only


def test_timestamps(wire):
    assert wire("TS.ADD k 0 1") == ":0"
    assert wire(f"TS.ADD k {2**63 - 1} 2") == f":{2**63 - 1}"
    assert wire(f"TS.ADD k {2**63} 2") == "-ERR TSDB: invalid timestamp"
    assert wire("TS.RANGE k - +") == f"*2 *2 :0 +1 *2 :{2**63 - 1} +2"
    before = time.time_ns() // 1_000_000
    stored = int(wire("TS.ADD k2 * 1")[1:])
    assert before - 1 <= stored <= time.time_ns() // 1_000_000 + 1


@pytest.mark.parametrize("value", ["1", "-1", "0", "1.5", "1e3", "1E3", "1e+3", "1.25e-3", "-0.5", "nan", "-NaN", "+nan"])
def test_values(wire, value):
    assert wire("TS.ADD", "k", 1, value) == ":1"


@pytest.mark.parametrize(
    "value",
    ["", "x", "inf", "-inf", "Infinity", "1x", "0x1", ".5", "5.", "1e", "--1", "+1", "01", " 1", "1 ", "1_0", "1,5", "nano"],
)
def test_invalid_values(wire, value):
    assert wire("TS.ADD", "k", 1, value) == "-ERR TSDB: invalid value"
    assert wire("EXISTS k") == ":0"


def test_duplicate_policies(wire):
    for policy, expected in [("FIRST", "5"), ("LAST", "3"), ("MIN", "3"), ("MAX", "5"), ("SUM", "8")]:
        wire(f"TS.CREATE {policy} DUPLICATE_POLICY {policy}")
        wire(f"TS.ADD {policy} 1 5")
        assert wire(f"TS.ADD {policy} 1 3") == ":1"
        assert wire(f"TS.GET {policy}") == f"*2 :1 +{expected}"
        assert wire(f"TS.ADD {policy} 1 -7 ON_DUPLICATE LAST") == ":1"
        assert wire(f"TS.MADD {policy} 1 2") == "*1 :1"
    assert wire("TS.GET MIN") == "*2 :1 +-7"
    assert wire("TS.GET SUM") == "*2 :1 +-5"


def test_on_duplicate_goes_before_the_series_own_policy(wire):
    wire("TS.CREATE k DUPLICATE_POLICY BLOCK")
    wire("TS.ADD k 1 5")
    assert wire("TS.ADD k 1 6 ON_DUPLICATE SUM") == ":1"
    assert wire("TS.GET k") == "*2 :1 +11"
    assert wire("TS.ADD k 1 6").startswith("-ERR TSDB: Error at upsert")


def test_nan_and_duplicates(wire):
    for policy in ("FIRST", "LAST"):
        wire(f"TS.CREATE {policy} DUPLICATE_POLICY {policy}")
        wire(f"TS.ADD {policy} 1 5")
        assert wire(f"TS.ADD {policy} 1 nan") == ":1"
        assert wire(f"TS.GET {policy}") == "*2 :1 +5", "a number wins over NaN"
        wire(f"TS.ADD {policy} 2 nan")
        assert wire(f"TS.ADD {policy} 2 7") == ":2"
        assert wire(f"TS.GET {policy}") == "*2 :2 +7"
    for policy in ("MIN", "MAX", "SUM"):
        wire(f"TS.CREATE {policy} DUPLICATE_POLICY {policy}")
        wire(f"TS.ADD {policy} 1 nan")
        assert wire(f"TS.ADD {policy} 1 nan") == ":1", "both are NaN"
        assert wire(f"TS.ADD {policy} 1 4").startswith("-ERR TSDB: Error at upsert")


def test_late_samples_are_in_their_place(wire):
    for timestamp in (50, 10, 40, 20, 30):
        assert wire(f"TS.ADD k {timestamp} {timestamp}") == f":{timestamp}"
    assert wire("TS.RANGE k - +") == "*5 " + " ".join(f"*2 :{at} +{at}" for at in (10, 20, 30, 40, 50))
    assert wire("TS.GET k") == "*2 :50 +50"


def test_ignore(wire):
    wire("TS.CREATE k DUPLICATE_POLICY LAST IGNORE 10 1")
    replies = [wire(f"TS.ADD k {at} {value}") for at, value in [(100, 5), (105, 5.5), (110, 6), (111, 5.5), (115, 7)]]
    assert replies == [":100", ":100", ":100", ":111", ":115"]
    assert wire("TS.ADD k 114 7") == ":114", "a late sample is kept"
    assert wire("TS.MADD k 116 7") == "*1 :115"
    assert wire("TS.ADD k 117 nan") == ":117", "NaN is kept"
    assert wire("TS.ADD k 118 5") == ":118", "after NaN everything is kept"
    wire("TS.CREATE other IGNORE 10 1")
    assert [wire(f"TS.ADD other {at} 5") for at in (100, 101)] == [":100", ":101"], "only with LAST"
    assert wire("TS.ADD other 101 5 ON_DUPLICATE LAST") == ":101"


def test_retention(wire):
    wire("TS.CREATE k RETENTION 100")
    for timestamp in (0, 50, 100, 150):
        wire(f"TS.ADD k {timestamp} 1")
    assert wire("TS.RANGE k - +") == "*3 *2 :50 +1 *2 :100 +1 *2 :150 +1"
    assert wire("TS.RANGE k 0 60") == "*1 *2 :50 +1"
    assert "+totalSamples :3 " in wire("TS.INFO k")
    assert "+firstTimestamp :50 " in wire("TS.INFO k")
    assert wire("TS.ALTER k RETENTION 0") == "+OK"
    assert wire("TS.ADD k 10 1") == ":10", "0 keeps everything"
    assert wire("TS.ADD k2 5 1 RETENTION 7") == ":5"
    assert "+retentionTime :7 " in wire("TS.INFO k2")
    assert wire("TS.ADD k2 6 1 RETENTION 9") == ":6"
    assert "+retentionTime :7 " in wire("TS.INFO k2"), "options only count when the series is created"


def test_option_order_and_unknown_words(wire):
    assert wire("TS.CREATE a LABELS l v RETENTION 5") == "+OK"
    assert wire("TS.CREATE b DUPLICATE_POLICY LAST CHUNK_SIZE 128 RETENTION 6 LABELS l w") == "+OK"
    assert wire("TS.ADD c 1 1 ON_DUPLICATE LAST CHUNK_SIZE 128 RETENTION 6 UNKNOWN LABELS l x") == ":1"
    assert wire("TS.QUERYINDEX l=(w,x)") == '*2 "b" "c"'
    assert wire("TS.CREATE d LABELS l v odd") == "+OK"


def test_alter(wire):
    wire("TS.CREATE k LABELS a 1 b 2")
    assert wire("TS.ALTER k") == "+OK"
    assert wire("TS.QUERYINDEX a=1") == '*1 "k"'
    assert wire("TS.ALTER k LABELS b 3") == "+OK"
    assert wire("TS.QUERYINDEX a=1") == "*0"
    assert wire("TS.QUERYINDEX b=2") == "*0"
    assert wire("TS.QUERYINDEX b=3") == '*1 "k"'
    assert wire("TS.ALTER k LABELS") == "+OK"
    assert wire("TS.QUERYINDEX b=3") == "*0"
    assert wire("TS.ALTER k RETENTION 7 CHUNK_SIZE 64 DUPLICATE_POLICY SUM IGNORE 1 2.5") == "+OK"
    info = wire("TS.INFO k")
    for field in (
        "+retentionTime :7 ",
        "+chunkSize :64 ",
        "+duplicatePolicy +sum ",
        "+ignoreMaxTimeDiff :1 ",
        '+ignoreMaxValDiff "2.5"',
        "+labels *0 ",
    ):
        assert field in info + " ", info


def test_incrby(wire):
    assert wire("TS.INCRBY k 5 TIMESTAMP 10") == ":10"
    assert wire("TS.INCRBY k 2 TIMESTAMP 10") == ":10"
    assert wire("TS.DECRBY k 1.5 TIMESTAMP 20") == ":20"
    assert wire("TS.RANGE k - +") == "*2 *2 :10 +7 *2 :20 +5.5"
    assert int(wire("TS.INCRBY k 1")[1:]) > 1_600_000_000_000
    assert int(wire("TS.INCRBY k2 1 TIMESTAMP *")[1:]) > 1_600_000_000_000
    assert wire("TS.INCRBY k3 1 TIMESTAMP 1 LABELS l v RETENTION 50") == ":1"
    assert wire("TS.QUERYINDEX l=v") == '*1 "k3"'
    wire("TS.CREATE empty")
    assert wire("TS.INCRBY empty 3 TIMESTAMP 4") == ":4"
    assert wire("TS.GET empty") == "*2 :4 +3"
    assert wire("TS.INCRBY k4 inf TIMESTAMP 4") == ":4"


def test_delete(wire):
    for timestamp in range(10):
        wire(f"TS.ADD k {timestamp} {timestamp}")
    assert wire("TS.DEL k 2 4") == ":3"
    assert wire("TS.DEL k 2 4") == ":0"
    assert wire("TS.DEL k 9 9") == ":1"
    assert wire("TS.GET k") == "*2 :8 +8"
    assert "+totalSamples :6 " in wire("TS.INFO k")
    assert wire("TS.ADD k 3 33") == ":3", "deleted timestamps are free"
    assert wire("TS.DEL k - +") == ":7"
    assert wire("TS.GET k") == "*0"
    assert wire("TS.RANGE k - +") == "*0"
    assert wire("EXISTS k") == ":1"
    assert "+totalSamples :0 " in wire("TS.INFO k")
    assert wire("TS.ADD k 1 5") == ":1"
    assert wire("TS.GET k") == "*2 :1 +5"


def test_madd_over_lanes_stores_what_is_right(wire):
    keys = [f"{prefix}{number}" for number in range(8) for prefix in ("", "iot_", "stock_")]
    for key in keys:
        wire("TS.CREATE", key)
    line = [word for index, key in enumerate(keys) for word in (key, index, "x" if index % 3 == 0 else index)]
    reply = wire("TS.MADD", *line, "missing", 1, 1)
    expected = ["-ERR TSDB: invalid value" if index % 3 == 0 else f":{index}" for index in range(len(keys))]
    assert reply == " ".join([f"*{len(keys) + 1}", *expected, "-ERR TSDB: the key does not exist"])
    for index, key in enumerate(keys):
        assert wire("TS.GET", key) == ("*0" if index % 3 == 0 else f"*2 :{index} +{index}")


def test_madd_of_one_series_keeps_the_order(wire):
    wire("TS.CREATE k DUPLICATE_POLICY LAST")
    assert wire("TS.MADD k 1 1 k 1 2 k 1 3 k 2 4") == "*4 :1 :1 :1 :2"
    assert wire("TS.RANGE k - +") == "*2 *2 :1 +3 *2 :2 +4"


def test_durations_stand_where_milliseconds_do(wire):
    assert wire("TS.CREATE k RETENTION 1h") == "+OK"
    assert "+retentionTime :3600000 " in wire("TS.INFO k")
    wire("TS.ADD k 90000 1")
    assert wire("TS.RANGE k - + AGGREGATION sum 1m") == "*1 *2 :60000 +1"
    wire("TS.ADD now * 1")
    assert wire("TS.RANGE now -1h *").startswith("*1 ")
