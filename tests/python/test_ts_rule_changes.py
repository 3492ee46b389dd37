"""Rules made in the midst of a bucket, rollups seen at once, rules inside MULTI, chains and circles of rules."""

import pytest
from test_ts_rules import ENDS, ends, shown  # noqa: F401 (a fixture)
from wire import Wire

pytestmark = pytest.mark.ticklane_only

CHAIN = [("a", "b", "c"), ("a", "iot_b", "stock_c"), ("stock_x", "order_y", "iot_z")]


def ask_all(wire, lines):
    """Sends all lines before it reads the first reply."""
    for line in lines:
        wire.send(line)
    return [wire.read() for _ in lines]


def rows(wire, key):
    """All samples of a series."""
    return wire(f"TS.RANGE {key} - +")


def in_multi(wire, *lines):
    """What EXEC answers."""
    assert wire("MULTI") == "+OK"
    for line in lines:
        assert wire(line) == "+QUEUED", line
    return wire("EXEC")


def created(wire, keys):
    for key in keys:
        assert wire(f"TS.CREATE {key}") == "+OK"
    return keys


@pytest.fixture
def chained(client):
    client.config_set("ts-chained-rules", "yes")
    yield
    client.config_set("ts-chained-rules", "no")


@pytest.fixture
def summed(wire, ends):  # noqa: F811
    """A rule made when its ends were empty."""
    source, destination = ends
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION sum 10") == "+OK"
    return ends


@pytest.fixture
def counted(wire, ends):  # noqa: F811
    """The same, of a rule that counts samples."""
    source, destination = ends
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10") == "+OK"
    return ends


@pytest.fixture
def begun(wire, ends):  # noqa: F811
    """A rule made when its source had samples in closed buckets and in the open one."""
    source, destination = ends
    for timestamp in (1, 2, 11, 12, 21, 22):
        wire(f"TS.ADD {source} {timestamp} 1")
    assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10") == "+OK"
    return source, destination


def test_older_samples_are_left_out_of_the_bucket(wire, begun):
    source, destination = begun
    assert wire(f"TS.GET {destination} LATEST") == "*0"
    wire(f"TS.ADD {source} 23 1")
    assert wire(f"TS.GET {destination} LATEST") == "*2 :20 +1"
    wire(f"TS.ADD {source} 31 1")
    assert rows(wire, destination) == shown([(20, 1)])


def test_a_bucket_without_samples_since_the_rule_is_not_written(wire, begun):
    source, destination = begun
    wire(f"TS.ADD {destination} 20 9")
    wire(f"TS.ADD {source} 31 1")
    assert rows(wire, destination) == shown([(20, 9)])
    wire(f"TS.ADD {source} 41 1")
    assert rows(wire, destination) == shown([(20, 9), (30, 1)])


@pytest.mark.parametrize("line", ["TS.ADD {} 22 5 ON_DUPLICATE LAST", "TS.ADD {} 20 5"])
def test_an_upsert_makes_the_open_bucket_whole(wire, begun, line):
    source, destination = begun
    wire(f"TS.ADD {source} 23 1")
    wire(line.format(source))
    count = 3 + (" 20 " in line)
    assert wire(f"TS.GET {destination} LATEST") == f"*2 :20 +{count}"
    wire(f"TS.ADD {source} 31 1")
    assert rows(wire, destination) == shown([(20, count)])


def test_a_deletion_makes_the_open_bucket_whole(wire, begun):
    source, destination = begun
    wire(f"TS.ADD {source} 23 1")
    assert wire(f"TS.DEL {source} 21 21") == ":1"
    wire(f"TS.ADD {source} 31 1")
    assert rows(wire, destination) == shown([(20, 2)])


def test_late_samples_make_the_bucket_whole_after_it_was_closed(wire, begun):
    source, destination = begun
    wire(f"TS.MADD {source} 23 1 {source} 31 1")
    assert rows(wire, destination) == shown([(20, 1)])
    wire(f"TS.ADD {source} 24 1")
    assert rows(wire, destination) == shown([(20, 4)])


def test_buckets_older_than_the_rule(wire, begun):
    source, destination = begun
    wire(f"TS.ADD {source} 5 1")
    assert rows(wire, destination) == shown([(0, 3)])
    assert wire(f"TS.DEL {source} 12 12") == ":1"
    assert rows(wire, destination) == shown([(0, 3), (10, 1)])
    assert wire(f"TS.DEL {source} 0 12") == ":4"
    assert rows(wire, destination) == "*0"
    wire(f"TS.ADD {source} 31 1")
    assert rows(wire, destination) == "*0", "the open bucket had no sample since the rule"


def test_buckets_that_are_open_again(wire, begun):
    source, destination = begun
    wire(f"TS.MADD {source} 31 1 {source} 41 1")
    assert wire(f"TS.DEL {source} 20 100") == ":4"
    assert rows(wire, destination) == "*0"
    wire(f"TS.ADD {source} 13 1")
    wire(f"TS.ADD {source} 21 1")
    assert rows(wire, destination) == shown([(10, 3)])


def test_a_bucket_that_was_closed_and_is_deleted_leaves_nothing(wire, summed):
    source, destination = summed
    wire(f"TS.MADD {source} 1 1 {source} 11 1 {source} 21 1")
    assert wire(f"TS.DEL {source} 21 100") == ":1"
    assert wire(f"TS.DEL {source} 11 100") == ":1"
    assert wire(f"TS.ADD {source} 31 1") == ":31"
    assert rows(wire, destination) == shown([(0, 1)])


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("added,count", [(24, 2), (23, 3), (20, 4)])
def test_what_is_late_when_the_newest_samples_are_gone(wire, begun, sealed, added, count):
    """A deletion behind the bucket that the rule was made in changes nothing in it; a late sample makes it whole."""
    source, destination = begun
    wire(f"TS.MADD {source} 23 1 {source} 31 1")
    assert rows(wire, destination) == shown([(20, 1)])
    if sealed:
        assert wire("SAVE") == "+OK"
    assert wire(f"TS.DEL {source} 31 100") == ":1"
    assert rows(wire, destination) == shown([(20, 1)])
    wire(f"TS.ADD {source} {added} 1 ON_DUPLICATE LAST")
    assert wire(f"TS.GET {destination} LATEST") == f"*2 :20 +{count}"
    wire(f"TS.ADD {source} 41 1")
    assert rows(wire, destination) == shown([(20, count)])


def test_a_rule_made_when_the_newest_samples_are_gone(wire, ends):  # noqa: F811
    source, destination = ends
    wire(f"TS.MADD {source} 1 1 {source} 2 1 {source} 50 1")
    assert wire("SAVE") == "+OK"
    assert wire(f"TS.DEL {source} 3 100") == ":1"
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 10")
    wire(f"TS.ADD {source} 3 1")
    wire(f"TS.ADD {source} 11 1")
    assert rows(wire, destination) == shown([(0, 1)])


def test_a_bucket_that_a_deletion_of_the_newest_samples_begins_in_keeps_a_value(wire, summed):
    source, destination = summed
    for timestamp in (1, 11, 12, 21, 31):
        wire(f"TS.ADD {source} {timestamp} 1")
    assert wire(f"TS.DEL {source} 12 100") == ":3"
    assert rows(wire, destination) == shown([(0, 1), (10, 1)])
    wire(f"TS.ADD {source} 13 5")
    assert wire(f"TS.RANGE {destination} - + LATEST") == shown([(0, 1), (10, 6)])
    wire(f"TS.ADD {source} 21 1")
    assert rows(wire, destination) == shown([(0, 1), (10, 6)])


def test_the_newest_sample_behind_a_deletion(wire):
    for key, retention in [("plain", 0), ("kept", 100)]:
        wire(f"TS.CREATE {key} RETENTION {retention} LABELS key {key}")
        wire(f"TS.MADD {key} 10 1 {key} 20 2 {key} 50 3 {key} 140 4")
        assert wire("SAVE") == "+OK"
        wire(f"TS.ADD {key} 1000 5")
        assert wire(f"TS.DEL {key} 30 5000").startswith(":")
        info = wire(f"TS.INFO {key}")
        assert "+lastTimestamp :20 " in info and "+totalSamples :2 " in info
        assert wire(f"TS.GET {key}") == "*2 :20 +2"
        assert wire(f"TS.MGET FILTER key={key}").endswith(" *2 :20 +2")
        assert rows(wire, key) == shown([(10, 1), (20, 2)])
        assert wire(f"TS.ADD {key} 15 3") == ":15", "not older than retention"
        assert wire(f"TS.INCRBY {key} 5 TIMESTAMP 30") == ":30"
        assert wire(f"TS.GET {key}") == "*2 :30 +7"


def test_the_latest_bucket_of_a_source_that_lost_its_newest_samples(wire, summed):
    source, destination = summed
    for timestamp in (1, 11, 21):
        wire(f"TS.ADD {source} {timestamp} 1")
    assert wire(f"TS.DEL {source} 21 21") == ":1"
    wire(f"TS.ADD {source} 12 5")
    assert wire(f"TS.GET {destination} LATEST") == "*2 :10 +6"
    assert wire(f"TS.RANGE {destination} - + LATEST") == shown([(0, 1), (10, 6)])


def test_a_read_waits_for_a_rollup(server, wire, summed):
    source, destination = summed
    with Wire(server.port) as waiting:
        waiting.send(f"TS.READ {destination} - BLOCK 10000 2")
        for timestamp in (1, 11, 21):
            assert wire(f"TS.ADD {source} {timestamp} 1") == f":{timestamp}"
        assert waiting.read() == shown([(0, 1), (10, 1)])


def test_rules_are_shown_as_a_map(wire3, ends):  # noqa: F811
    source, destination = ends
    wire3(f"TS.CREATERULE {source} {destination} AGGREGATION std.p 10 7")
    assert f'+rules %1 "{destination}" *3 :10 +STD.P :7 ' in wire3(f"TS.INFO {source}")
    assert f'+sourceKey "{source}" +rules %0 ' in wire3(f"TS.INFO {destination}")


def test_deleting_rules_that_are_not_there(wire, ends):  # noqa: F811
    source, destination = ends
    missing, no_rule = "-ERR TSDB: the key does not exist", "-ERR TSDB: compaction rule does not exist"
    assert wire(f"TS.DELETERULE nope {destination}") == missing
    assert wire(f"TS.DELETERULE {source} nope") == no_rule
    assert wire(f"TS.DELETERULE {source} {destination}") == no_rule
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION sum 10")
    assert wire(f"TS.DELETERULE {destination} {source}") == no_rule


def test_restarts_keep_what_a_rule_leaves_out(wire, begun):
    source, destination = begun
    wire(f"TS.ADD {source} 23 1")
    wire("SAVE")
    wire(f"TS.ADD {source} 31 1")
    assert rows(wire, destination) == shown([(20, 1)])


@pytest.mark.parametrize("source,destination", ENDS + [(f"s{n}", f"d{n}") for n in range(12)])
def test_a_pipeline_sees_its_rollups(wire, source, destination):
    lines = {
        f"TS.CREATE {source} LABELS l v": "+OK",
        f"TS.CREATE {destination} LABELS l w": "+OK",
        f"TS.CREATERULE {source} {destination} AGGREGATION sum 10": "+OK",
        f"TS.ADD {source} 1 5": ":1",
        f"TS.ADD {source} 11 6": ":11",
        f"TS.RANGE {destination} - +": shown([(0, 5)]),
        f"TS.MADD {source} 2 1 {source} 21 1": "*2 :2 :21",
        f"TS.REVRANGE {destination} - +": shown([(10, 6), (0, 6)]),
        f"TS.INCRBY {source} 1 TIMESTAMP 31": ":31",
        f"TS.GET {destination}": "*2 :20 +1",
        f"TS.DEL {source} 11 11": ":1",
        f"TS.MGET FILTER l=w": f'*1 *3 "{destination}" *0 *2 :20 +1',
        f"TS.RANGE {destination} - + COUNT 2": shown([(0, 6), (20, 1)]),
        f"TSDB_SET {source} 41 7": None,
        f"TSDB_GET {destination} 30 30": None,
        f"TS.ADD {source} 51 7": ":51",
        f"TS.NRANGE 2 {destination} {source} 40 +": "*3 *2 :40 *2 +7 +NaN *2 :41 *2 +NaN +7 *2 :51 *2 +NaN +7",
    }
    for _ in range(5):
        wire(f"DEL {source} {destination}")
        for line, reply in zip(lines, ask_all(wire, lines), strict=True):
            assert lines[line] in (None, reply), line


def test_exec_sees_its_rollups(wire, summed):
    source, destination = summed
    lines = [f"TS.ADD {source} 1 1", f"TS.ADD {source} 11 2", f"TS.RANGE {destination} - +"]
    assert in_multi(wire, *lines) == f"*3 :1 :11 {shown([(0, 1)])}"
    lines = [f"TS.ADD {source} 5 3", f"TS.GET {destination}", f"TS.DEL {source} 0 9", f"TS.RANGE {destination} - +"]
    assert in_multi(wire, *lines) == "*4 :5 *2 :0 +4 :2 *0"
    assert rows(wire, destination) == "*0"


def prefix_of(key):
    return key.split("_")[0] + "_" if "_" in key else ""


def test_both_ends_renamed_by_one_exec(wire, counted):
    source, destination = counted
    new_source, new_destination = f"{prefix_of(source)}new1", f"{prefix_of(destination)}new2"
    for _ in range(3):
        lines = [f"RENAME {source} {new_source}", f"RENAME {destination} {new_destination}"]
        assert in_multi(wire, *lines) == "*2 +OK +OK"
        assert f'+sourceKey "{new_source}" ' in wire(f"TS.INFO {new_destination}")
        assert f'+rules *1 *4 "{new_destination}" :10 +COUNT :0 ' in wire(f"TS.INFO {new_source}")
        lines = [f"RENAME {new_destination} {destination}", f"TS.ADD {new_source} 1 1", f"RENAME {new_source} {source}"]
        assert in_multi(wire, *lines) == "*3 +OK :1 +OK"
        assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {destination}")
        assert f'+rules *1 *4 "{destination}" ' in wire(f"TS.INFO {source}")
        wire(f"TS.DEL {source} - +")
    wire(f"TS.MADD {source} 1 1 {source} 11 1")
    assert rows(wire, destination) == shown([(0, 1)])


@pytest.mark.parametrize("onto", ["source", "destination"])
def test_an_end_renamed_onto_the_other_by_exec(wire, counted, onto):
    gone, left = counted if onto == "destination" else counted[::-1]
    assert in_multi(wire, f"RENAME {gone} {left}") == "*1 +OK"
    assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {left}")


@pytest.mark.parametrize("which", [0, 1], ids=["source", "destination"])
@pytest.mark.parametrize(
    "line", ["DEL {}", "UNLINK {}", "SET {} text", "EXPIRE {} -1", "COPY other {} REPLACE", "RENAME other {}"]
)
def test_an_end_that_goes_away_in_exec(wire, counted, line, which):
    wire("TS.CREATE other")
    gone, left = counted[which], counted[1 - which]
    new = f"{prefix_of(left)}new"
    reply = in_multi(wire, line.format(gone), f"RENAME {left} {new}", f"TS.INFO {new}")
    assert "+sourceKey $-1 +rules *0 " in reply
    assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {new}")
    if line.startswith(("COPY", "RENAME")):
        assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {gone}")


def test_copies_by_exec_have_no_rules(wire, counted):
    source, destination = counted
    copies = [f"{prefix_of(key)}copy_{number}" for number, key in enumerate(counted)]
    lines = [f"COPY {key} {copy}" for key, copy in zip(counted, copies, strict=True)]
    assert in_multi(wire, *lines) == "*2 :1 :1"
    for copy in copies:
        assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {copy}")
    assert f'+sourceKey "{source}" ' in wire(f"TS.INFO {destination}")


@pytest.mark.parametrize("in_exec", [False, True])
def test_flushall_takes_rules_away(wire, counted, in_exec):
    source, destination = counted
    if in_exec:
        in_multi(wire, f"TS.ADD {source} 1 1", "FLUSHALL")
    else:
        assert wire("FLUSHALL") == "+OK"
    for key in counted:
        assert wire(f"TS.CREATE {key}") == "+OK"
        assert "+sourceKey $-1 +rules *0 " in wire(f"TS.INFO {key}")
    wire(f"TS.MADD {source} 1 1 {source} 11 1")
    assert rows(wire, destination) == "*0"


@pytest.mark.parametrize("keys", CHAIN, ids="-".join)
def test_chains(wire, chained, keys):
    first, second, third = created(wire, keys)
    assert wire(f"TS.CREATERULE {first} {second} AGGREGATION sum 10") == "+OK"
    assert wire(f"TS.CREATERULE {second} {third} AGGREGATION max 100") == "+OK"
    for at in range(0, 311, 5):
        wire(f"TS.ADD {first} {at} {at}")
    assert rows(wire, third) == shown([(0, 185), (100, 385), (200, 585)])
    wire(f"TS.ADD {first} 1 1000")
    assert wire(f"TS.GET {third}") == "*2 :200 +585"
    assert wire(f"TS.RANGE {third} 0 0") == shown([(0, 1005)])
    assert wire(f"TS.DEL {first} 100 199") == ":20"
    assert rows(wire, third) == shown([(0, 1005), (200, 585)])


@pytest.mark.parametrize("keys", CHAIN, ids="-".join)
def test_circles_are_refused(wire, chained, keys):
    first, second, third = created(wire, keys)
    assert wire(f"TS.CREATERULE {first} {second} AGGREGATION sum 10") == "+OK"
    circle = "-ERR TSDB: rules must not form a circle"
    assert wire(f"TS.CREATERULE {second} {first} AGGREGATION sum 10") == circle
    assert wire(f"TS.CREATERULE {second} {third} AGGREGATION sum 10") == "+OK"
    assert wire(f"TS.CREATERULE {third} {first} AGGREGATION sum 10") == circle
    assert in_multi(wire, f"TS.CREATERULE {third} {first} AGGREGATION sum 10") == f"*1 {circle}"
    taken = "-ERR TSDB: the destination key already has a src rule"
    assert wire(f"TS.CREATERULE {third} {second} AGGREGATION sum 10") == taken
    assert "+rules *0 " in wire(f"TS.INFO {third}")
    assert "+sourceKey $-1 " in wire(f"TS.INFO {first}")


LONG_CHAINS = [
    ["c0", "c1", "c2", "c3", "c4"],
    ["stock_0", "iot_1", "order_2", "plain3", "stock_4"],
    [f"{prefix}{n}" for n, prefix in enumerate(["stock_", "iot_", "order_", "", "payment_"] * 2)],
]


@pytest.mark.parametrize("keys", LONG_CHAINS, ids=lambda keys: keys[-1])
def test_who_writes_sees_the_end_of_the_chain(wire, chained, keys):
    for key in keys:
        wire(f"TS.CREATE {key} LABELS chain x")
    for source, destination in zip(keys, keys[1:], strict=False):
        assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION last 10") == "+OK"
    first, last = keys[0], keys[-1]
    behind = 10 * len(keys[1:])
    for number in range(10, 30):
        lines = [f"TS.ADD {first} {10 * number} {number}", f"TS.GET {last}"]
        expected = [f":{10 * number}"]
        at = 10 * number - behind
        expected.append(f"*2 :{at} +{at // 10}" if at >= 100 else "*0")
        if number % 2:
            assert ask_all(wire, lines) == expected
        else:
            assert [wire(line) for line in lines] == expected
    at = 290 - behind
    assert wire(f"TS.ADD {first} {at} 999 ON_DUPLICATE LAST") == f":{at}"
    assert wire(f"TS.GET {last}") == f"*2 :{at} +999"
    assert in_multi(wire, f"TS.ADD {first} 300 30", f"TS.GET {last}") == f"*2 :300 *2 :{at + 10} +{at // 10 + 1}"
    assert wire(f"TS.MADD {first} 310 31 {first} 320 32") == "*2 :310 :320"
    assert wire(f"TS.GET {last}") == f"*2 :{at + 30} +{at // 10 + 3}"
    assert wire(f"TS.DEL {first} 0 {at + 29}").startswith(":")
    assert rows(wire, last) == shown([(at + 30, at // 10 + 3)])


@pytest.mark.parametrize("keys", CHAIN, ids="-".join)
def test_chains_made_and_deleted_inside_multi(wire, chained, keys):
    first, second, third = created(wire, keys)
    rules = [f"TS.CREATERULE {first} {second} AGGREGATION sum 10", f"TS.CREATERULE {second} {third} AGGREGATION max 100"]
    circle = f"TS.CREATERULE {third} {first} AGGREGATION sum 10"
    refused = "-ERR TSDB: rules must not form a circle"
    assert in_multi(wire, *rules, circle) == f"*3 +OK +OK {refused}"
    for at in range(0, 311, 5):
        wire(f"TS.ADD {first} {at} {at}")
    assert rows(wire, third) == shown([(0, 185), (100, 385), (200, 585)])
    assert in_multi(wire, f"TS.DELETERULE {second} {third}", f"TS.INFO {third}").startswith("*2 +OK ")
    assert in_multi(wire, rules[1], circle) == f"*2 +OK {refused}"
    assert in_multi(wire, f"TS.DELETERULE {first} {second}", circle) == "*2 +OK +OK"
    assert f'+sourceKey "{third}" ' in wire(f"TS.INFO {first}")


def test_a_candle_rule_inside_multi_beside_a_flush(wire):
    wire("TS.CREATE stock_f")
    wire("TS.CREATE iot_f")
    lines = ["TS.CREATERULE stock_f iot_f AGGREGATION candle 10", "FLUSHALL", "EXISTS stock_f iot_f iot_f:open"]
    assert in_multi(wire, *lines) == "*3 +OK +OK :0"


def closed(wire, source, aggregation):
    """What TS.RANGE makes of a source, but for the open bucket."""
    everything = wire(f"TS.RANGE {source} - + AGGREGATION {aggregation}")
    count = int(everything.split()[0].removeprefix("*")) - 1
    return wire(f"TS.RANGE {source} - + COUNT {count} AGGREGATION {aggregation}")


@pytest.mark.parametrize("aggregator", ["increase", "rate", "twa"])
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("protocol", [2, 3])
def test_buckets_beside_a_change(wire, wire3, ends, aggregator, sealed, protocol):  # noqa: F811
    source, destination = ends
    client = wire if protocol == 2 else wire3

    def compare():
        assert rows(client, destination) == closed(client, source, f"{aggregator} 100")

    assert client(f"TS.CREATERULE {source} {destination} AGGREGATION {aggregator} 100") == "+OK"
    for timestamp in (10, 90, 110, 190, 210, 290, 310, 390):
        assert client(f"TS.ADD {source} {timestamp} {timestamp}") == f":{timestamp}"
    compare()
    if sealed:
        assert client("SAVE") == "+OK"
    assert client(f"TS.ADD {source} 195 192.5") == ":195"
    if aggregator == "increase":
        value = "+97.5" if protocol == 2 else ",97.5"
        assert f":200 {value}" in rows(client, destination)
    compare()
    assert client(f"TS.DEL {source} 190 195") == ":2"
    compare()
    assert client(f"TS.ADD {source} 201 5") == ":201"
    compare()
    assert client(f"TS.MADD {source} 300 7 {source} 99 3 {source} 510 9 {source} 710 4") == "*4 :300 :99 :510 :710"
    compare()
    assert client(f"TS.DEL {source} 200 399") == ":6"
    compare()
    lines = [f"TS.ADD {source} 180 1", f"TS.DEL {source} 100 110", f"TS.ADD {source} 600 1"]
    assert in_multi(client, *lines) == "*3 :180 :1 :600"
    compare()
    for line in ("200 NaN", "190 2", "700 8", "705 NaN"):
        assert client(f"TS.ADD {source} {line}") == f":{line.split()[0]}"
        compare()


@pytest.mark.parametrize("sealed", [False, True])
def test_a_number_behind_nan_changes_the_average_before(wire, ends, sealed):  # noqa: F811
    source, destination = ends
    wire(f"TS.CREATERULE {source} {destination} AGGREGATION twa 10")
    for line in ("5 1", "12 NaN", "25 NaN", "26 7", "38 9"):
        wire(f"TS.ADD {source} {line}")
        if sealed:
            assert wire("SAVE") == "+OK"
    assert rows(wire, destination) == closed(wire, source, "twa 10")


@pytest.mark.parametrize("keys", CHAIN, ids="-".join)
def test_buckets_beside_a_change_in_chains(wire, chained, keys):
    first, second, third = created(wire, keys)
    assert wire(f"TS.CREATERULE {first} {second} AGGREGATION increase 10") == "+OK"
    assert wire(f"TS.CREATERULE {second} {third} AGGREGATION twa 100") == "+OK"
    for at in range(0, 411, 5):
        wire(f"TS.ADD {first} {at} {at}")
    for line in ("TS.ADD {} 199 1", "TS.DEL {} 95 119", "TS.ADD {} 300 9 ON_DUPLICATE LAST", "TS.DEL {} 190 199"):
        wire(line.format(first))
        assert rows(wire, second) == closed(wire, first, "increase 10"), line
        assert rows(wire, third) == closed(wire, second, "twa 100"), line
