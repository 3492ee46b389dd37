"""Replies of the TS commands byte for byte, over RESP2 and RESP3."""

import pytest

pytestmark = pytest.mark.ticklane_only


def fill(wire):
    """Two labelled series with three samples each, and one without samples."""
    assert wire("TS.CREATE a LABELS host x kind cpu") == "+OK"
    assert wire("TS.CREATE b LABELS host y kind cpu") == "+OK"
    assert wire("TS.CREATE c LABELS host z kind none") == "+OK"
    assert wire("TS.MADD a 1 0.5 a 2 12.5 b 1 -3 b 3 4") == "*4 :1 :2 :1 :3"


def check(wire, table):
    """Every command has the reply that stands beside it."""
    for line, expected in table.items():
        assert (line, wire(line)) == (line, expected)


def test_resp2(wire):
    fill(wire)
    check(
        wire,
        {
            "TS.GET a": "*2 :2 +12.5",
            "TS.GET c": "*0",
            "TS.RANGE a - +": "*2 *2 :1 +5E-1 *2 :2 +12.5",
            "TS.REVRANGE a - +": "*2 *2 :2 +12.5 *2 :1 +5E-1",
            "TS.RANGE c - +": "*0",
            "TS.RANGE a - + AGGREGATION min,max 10": "*1 *3 :0 +5E-1 +12.5",
            "TS.MGET FILTER kind=(cpu,none)": '*3 *3 "a" *0 *2 :2 +12.5 *3 "b" *0 *2 :3 +4 *3 "c" *0 *0',
            "TS.MGET WITHLABELS FILTER host=x": '*1 *3 "a" *2 *2 "host" "x" *2 "kind" "cpu" *2 :2 +12.5',
            "TS.MGET SELECTED_LABELS kind rack FILTER host=x": '*1 *3 "a" *2 *2 "kind" "cpu" *2 "rack" $-1 *2 :2 +12.5',
            "TS.MGET FILTER kind=nope": "*0",
            "TS.MRANGE - + FILTER kind=cpu": '*2 *3 "a" *0 *2 *2 :1 +5E-1 *2 :2 +12.5 '
            '*3 "b" *0 *2 *2 :1 +-3 *2 :3 +4',
            "TS.MREVRANGE - + WITHLABELS COUNT 1 FILTER host=y": '*1 *3 "b" *2 *2 "host" "y" *2 "kind" "cpu" '
            "*1 *2 :3 +4",
            "TS.MRANGE - + AGGREGATION min,max 10 FILTER host=x": '*1 *3 "a" *0 *1 *3 :0 +5E-1 +12.5',
            "TS.MRANGE - + FILTER host=z": '*1 *3 "c" *0 *0',
            "TS.MRANGE - + EXCLUDEEMPTY FILTER host=z": "*0",
            "TS.MRANGE - + FILTER kind=cpu GROUPBY kind REDUCE sum": '*1 *3 "kind=cpu" *0 *3 *2 :1 +-2.5 '
            "*2 :2 +12.5 *2 :3 +4",
            "TS.MRANGE - + WITHLABELS COUNT 1 FILTER kind=cpu GROUPBY kind REDUCE max": '*1 *3 "kind=cpu" '
            '*3 *2 "kind" "cpu" *2 "__reducer__" "max" *2 "__source__" "a,b" *1 *2 :1 +5E-1',
            "TS.NRANGE 2 a b - +": "*3 *2 :1 *2 +5E-1 +-3 *2 :2 *2 +12.5 +NaN *2 :3 *2 +NaN +4",
            "TS.NREVRANGE 2 a b - + COUNT 1": "*1 *2 :3 *2 +NaN +4",
            "TS.NRANGE 2 a b - + AGGREGATION min,max count 10": "*1 *2 :0 *3 +5E-1 +12.5 +2",
            "TS.QUERYINDEX kind=cpu": '*2 "a" "b"',
            "TS.QUERYINDEX kind=nope": "*0",
            "TS.QUERYLABELS LABELS": '*2 "host" "kind"',
            "TS.QUERYLABELS VALUES host": '*3 "x" "y" "z"',
            "TS.QUERYLABELS VALUES host FILTER kind=cpu": '*2 "x" "y"',
            "TS.QUERYLABELS LABELS FILTER kind=nope": "*0",
            "TS.ALTER a RETENTION 0": "+OK",
            "TS.CREATERULE a c AGGREGATION sum 10": "+OK",
            "TS.DELETERULE a c": "+OK",
            "TS.ADD a 5 1": ":5",
            "TS.INCRBY a 1 TIMESTAMP 6": ":6",
            "TS.DEL a 5 6": ":2",
            "TYPE a": "+TSDB-TYPE",
        },
    )


def test_resp3(wire3):
    fill(wire3)
    check(
        wire3,
        {
            "TS.GET a": "*2 :2 ,12.5",
            "TS.GET c": "*0",
            "TS.RANGE a - +": "*2 *2 :1 ,0.5 *2 :2 ,12.5",
            "TS.RANGE a - + AGGREGATION min,max 10": "*1 *3 :0 ,0.5 ,12.5",
            "TS.MGET FILTER kind=(cpu,none)": '%3 "a" *2 %0 *2 :2 ,12.5 "b" *2 %0 *2 :3 ,4 "c" *2 %0 *0',
            "TS.MGET WITHLABELS FILTER host=x": '%1 "a" *2 %2 "host" "x" "kind" "cpu" *2 :2 ,12.5',
            "TS.MGET SELECTED_LABELS kind rack FILTER host=x": '%1 "a" *2 %2 "kind" "cpu" "rack" _ *2 :2 ,12.5',
            "TS.MRANGE - + FILTER host=x": '%1 "a" *3 %0 %1 "aggregators" *0 *2 *2 :1 ,0.5 *2 :2 ,12.5',
            "TS.MRANGE - + AGGREGATION MIN,Max 10 FILTER host=x": '%1 "a" *3 %0 %1 "aggregators" *2 "min" "max" '
            "*1 *3 :0 ,0.5 ,12.5",
            "TS.MREVRANGE - + WITHLABELS FILTER host=z": '%1 "c" *3 %2 "host" "z" "kind" "none" '
            '%1 "aggregators" *0 *0',
            "TS.MRANGE - + FILTER kind=cpu GROUPBY kind REDUCE SUM": '%1 "kind=cpu" *4 %0 %1 "reducers" *1 "sum" '
            '%1 "sources" *2 "a" "b" *3 *2 :1 ,-2.5 *2 :2 ,12.5 *2 :3 ,4',
            "TS.MRANGE - + WITHLABELS COUNT 1 FILTER kind=cpu GROUPBY kind REDUCE max": '%1 "kind=cpu" '
            '*4 %1 "kind" "cpu" %1 "reducers" *1 "max" %1 "sources" *2 "a" "b" *1 *2 :1 ,0.5',
            "TS.NRANGE 2 a b 1 2": "*2 *2 :1 *2 ,0.5 ,-3 *2 :2 *2 ,12.5 ,nan",
            "TS.QUERYINDEX kind=cpu": '~2 "a" "b"',
            "TS.QUERYLABELS LABELS": '~2 "host" "kind"',
            "TS.QUERYLABELS VALUES host": '~3 "x" "y" "z"',
            "TS.QUERYLABELS VALUES nope": "~0",
        },
    )


@pytest.mark.parametrize(
    ("value", "shown2", "shown3"),
    [
        ("0", "0", "0"),
        ("-0.0", "-0", "-0"),
        ("0.5", "5E-1", "0.5"),
        ("0.1", "1E-1", "0.1"),
        ("1", "1", "1"),
        ("-12.75", "-12.75", "-12.75"),
        ("100", "100", "100"),
        ("123456789.125", "123456789.125", "123456789.125"),
        ("1e20", "1E20", "1e+20"),
        ("1.5e300", "1.5E300", "1.5e+300"),
        ("1e-7", "1E-7", "1e-07"),
        ("nan", "NaN", "nan"),
        ("+NaN", "NaN", "nan"),
        ("-nan", "NaN", "nan"),
    ],
)
def test_numbers(wire, wire3, value, shown2, shown3):
    assert wire("TS.ADD", "a", 1, value) == ":1"
    assert wire("TS.GET a") == f"*2 :1 +{shown2}"
    assert wire3("TS.GET a").startswith("*2 :1 ,")
    if value not in ("nan", "+NaN", "-nan"):
        assert float(wire3("TS.GET a")[7:]) == float(value)
        assert float(wire("TS.GET a")[7:]) == float(value)
    else:
        assert wire3("TS.GET a") == f"*2 :1 ,{shown3}"


def test_info_resp2(wire):
    wire("TS.CREATE dst")
    wire("TS.CREATE k RETENTION 60000 ENCODING UNCOMPRESSED CHUNK_SIZE 128 DUPLICATE_POLICY MAX IGNORE 3 0.5 LABELS a 1")
    wire("TS.CREATERULE k dst AGGREGATION std.p 100 7")
    wire("TS.ADD k 10 1")
    words = wire("TS.INFO k").split(" ")
    memory = words.index("+memoryUsage") + 1
    assert int(words[memory][1:]) > 0
    words[memory] = ":?"
    assert " ".join(words) == (
        "*28 +totalSamples :1 +memoryUsage :? +firstTimestamp :10 +lastTimestamp :10 +retentionTime :60000 "
        "+chunkCount :1 +chunkSize :128 +chunkType +uncompressed +duplicatePolicy +max "
        '+labels *1 *2 "a" "1" +sourceKey $-1 +rules *1 *4 "dst" :100 +STD.P :7 '
        '+ignoreMaxTimeDiff :3 +ignoreMaxValDiff "0.5"'
    )
    assert '+sourceKey "k" +rules *0' in wire("TS.INFO dst")
    debug = wire("TS.INFO k DEBUG")
    assert debug.startswith("*32 ")
    assert '+keySelfName "k" +Chunks *1 *10 +startTimestamp :10 +endTimestamp :10 +samples :1 +size :' in debug


def test_info_resp3(wire3):
    wire3("TS.CREATE dst")
    wire3("TS.CREATE k LABELS a 1")
    wire3("TS.CREATERULE k dst AGGREGATION avg 100")
    reply = wire3("TS.INFO k")
    assert reply.startswith("%14 +totalSamples :0 +memoryUsage :")
    assert reply.endswith(
        "+firstTimestamp :0 +lastTimestamp :0 +retentionTime :0 +chunkCount :1 +chunkSize :4096 "
        '+chunkType +compressed +duplicatePolicy _ +labels %1 "a" "1" +sourceKey _ '
        '+rules %1 "dst" *3 :100 +AVG :0 +ignoreMaxTimeDiff :0 +ignoreMaxValDiff ,0'
    )
    assert '+keySelfName "k" +Chunks *1 %5 +startTimestamp :-1 +endTimestamp :-1 +samples :0' in wire3("TS.INFO k DEBUG")


def test_command_facts(client):
    names = {name for name in client.execute_command("COMMAND LIST") if name.lower().startswith("ts.")}
    assert not any("part" in name.lower() or "rule." in name.lower() for name in names), names
    arities = {
        "ts.create": -2,
        "ts.alter": -2,
        "ts.add": -4,
        "ts.madd": -4,
        "ts.incrby": -3,
        "ts.decrby": -3,
        "ts.del": 4,
        "ts.get": -2,
        "ts.mget": -3,
        "ts.createrule": -6,
        "ts.deleterule": 3,
        "ts.range": -4,
        "ts.revrange": -4,
        "ts.mrange": -4,
        "ts.mrevrange": -4,
        "ts.nrange": -5,
        "ts.nrevrange": -5,
        "ts.info": -2,
        "ts.queryindex": -2,
        "ts.querylabels": -2,
    }
    deny = {"ts.create", "ts.alter", "ts.add", "ts.madd", "ts.incrby", "ts.decrby"}
    writes = deny | {"ts.del", "ts.createrule", "ts.deleterule"}
    for name, arity in arities.items():
        [found] = client.execute_command("COMMAND INFO", name)
        assert found[1] == arity, name
        flags = set(found[2])
        assert ("write" in flags, "readonly" in flags) == (name in writes, name not in writes), name
        assert ("denyoom" in flags) == (name in deny), name
        assert "@timeseries" in found[6], name
    documented = client.execute_command("COMMAND DOCS", *arities)
    assert len(documented) == (len(arities) if isinstance(documented, dict) else 2 * len(arities))
    keys = lambda *args: client.execute_command("COMMAND GETKEYS", *args)  # noqa: E731
    assert keys("TS.MADD", "a", 1, 2, "b", 3, 4) == ["a", "b"]
    assert keys("TS.NRANGE", 2, "a", "b", "-", "+") == ["a", "b"]
    assert keys("TS.CREATERULE", "a", "b", "AGGREGATION", "avg", 5) == ["a", "b"]


def test_module_list(wire):
    assert '"timeseries"' in wire("MODULE LIST") or "+timeseries" in wire("MODULE LIST")
