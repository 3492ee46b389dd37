"""What is left of series, labels and rules after a restart, and label queries whose keys are only on the disk."""

import signal
import time

import pytest
from server import Server
from wire import Wire

pytestmark = pytest.mark.ticklane_only

# So little memory that series and keys are evicted soon.
SMALL = ("storage.series_memory=1 MiB", "storage.block_cache=1 MiB", "storage.checkpoint_interval=1 s")


@pytest.fixture(params=[1, 2, 4], ids=["1lane", "2lanes", "4lanes"])
def own_server(request):
    """A server of the test's own, which may restart it."""
    server = Server(lanes=request.param, settings=SMALL)
    yield server
    assert server.stop() == 0


def fill(wire):
    """Series with all options, a rule across businesses, a deleted key, a renamed key and one with a deadline."""
    for line in (
        "TS.CREATE k RETENTION 5000 ENCODING UNCOMPRESSED CHUNK_SIZE 128 DUPLICATE_POLICY SUM IGNORE 3 0.5 LABELS l v a 1",
        "TS.MADD k 1 1 k 2 2 k 10 3",
        "TS.CREATE iot_dst LABELS l v",
        "TS.CREATERULE k iot_dst AGGREGATION sum 10 5",
        "TS.MADD k 12 4 k 17 5 k 26 6",
        "TS.CREATE gone LABELS l v",
        "DEL gone",
        "TS.ADD was 5 5 LABELS l v",
        "RENAME was stock_is",
        "TS.ADD dead 1 1 LABELS l v",
        "PEXPIRE dead 1",
        "TS.ADD relabelled 1 1 LABELS l v",
        "TS.ALTER relabelled LABELS l w",
        "TS.CREATE empty LABELS l empty",
    ):
        assert not wire(line).startswith("-"), line
    time.sleep(0.01)


def check(wire):
    """All that `fill` has left."""
    info = wire("TS.INFO k")
    for field in (
        "+totalSamples :6 ",
        "+firstTimestamp :1 +lastTimestamp :26 +retentionTime :5000 ",
        "+chunkSize :128 +chunkType +uncompressed +duplicatePolicy +sum ",
        '+labels *2 *2 "l" "v" *2 "a" "1" +sourceKey $-1 +rules *1 *4 "iot_dst" :10 +SUM :5 ',
        '+ignoreMaxTimeDiff :3 +ignoreMaxValDiff "0.5"',
    ):
        assert field in info, info
    assert '+sourceKey "k" +rules *0 ' in wire("TS.INFO iot_dst")
    assert wire("TS.RANGE k - +") == "*6 *2 :1 +1 *2 :2 +2 *2 :10 +3 *2 :12 +4 *2 :17 +5 *2 :26 +6"
    assert wire("TS.QUERYINDEX l=v") == '*3 "iot_dst" "k" "stock_is"'
    assert wire("TS.QUERYINDEX l=w") == '*1 "relabelled"'
    assert wire("TS.QUERYINDEX l=empty") == '*1 "empty"'
    assert wire("TS.QUERYLABELS VALUES l") == '*3 "empty" "v" "w"'
    assert wire("TS.RANGE iot_dst - +") == "*2 *2 :5 +4 *2 :15 +5"
    assert wire("TS.GET iot_dst LATEST") == "*2 :25 +6"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill"])
@pytest.mark.parametrize("saved", [False, True], ids=["journal", "saved"])
def test_restart(own_server, how, saved):
    with Wire(own_server.port) as wire:
        fill(wire)
        check(wire)
        if saved:
            assert wire("SAVE") == "+OK"
    for _ in range(2):
        own_server.restart(how)
        with Wire(own_server.port) as wire:
            check(wire)
    with Wire(own_server.port) as wire:
        assert wire("TS.ADD k 36 7") == ":36"
        assert wire("TS.RANGE iot_dst - +") == "*3 *2 :5 +4 *2 :15 +5 *2 :25 +6"
        assert wire("TS.ADD k 12 1") == ":12"
        # A late sample makes the bucket whole: from now on samples count that are older than the rule.
        assert wire("TS.RANGE iot_dst - +") == "*3 *2 :5 +8 *2 :15 +5 *2 :25 +6"
        assert wire("DEL k") == ":1"
        assert wire("TS.QUERYINDEX l=v") == '*2 "iot_dst" "stock_is"'
        assert wire("TS.QUERYINDEX a=1") == "*0"
        assert "+sourceKey $-1 " in wire("TS.INFO iot_dst")


def test_index_of_keys_that_are_not_in_memory(own_server):
    count = 3000
    names = [f"{'iot_' if number % 2 else ''}series:{number:05}" for number in range(count)]

    def expected(pick):
        found = sorted(name for number, name in enumerate(names) if pick(number))
        return " ".join([f"*{len(found)}", *(f'"{name}"' for name in found)])

    with Wire(own_server.port) as wire:
        for number, name in enumerate(names):
            wire.send("TS.ADD", name, 1000, number, "LABELS", "all", "1", "hundred", number % 100, "own", number)
        assert [wire.read() for _ in names] == [":1000"] * count
        assert wire("SAVE") == "+OK"
    own_server.restart()
    with Wire(own_server.port) as wire:
        assert wire("TS.QUERYINDEX hundred=7") == expected(lambda number: number % 100 == 7)
        assert wire("TS.QUERYINDEX all=1 own=2999") == expected(lambda number: number == 2999)
        assert wire("TS.QUERYINDEX hundred=(7,8) own!=107") == expected(
            lambda number: number % 100 in (7, 8) and number != 107
        )
        assert wire("TS.MGET SELECTED_LABELS own FILTER own=2998") == (
            '*1 *3 "series:02998" *1 *2 "own" "2998" *2 :1000 +2998'
        )
        assert wire("TS.MRANGE - + FILTER own=2999") == '*1 *3 "iot_series:02999" *0 *1 *2 :1000 +2999'
        assert wire("TS.MRANGE - + FILTER hundred=7 GROUPBY hundred REDUCE count") == (
            '*1 *3 "hundred=7" *0 *1 *2 :1000 +30'
        )
        assert wire("TS.QUERYLABELS VALUES hundred").startswith("*100 ")
        assert wire("TS.QUERYLABELS LABELS") == '*3 "all" "hundred" "own"'
        assert wire("TS.QUERYLABELS VALUES own FILTER hundred=7").startswith("*30 ")
        assert wire("TS.QUERYINDEX all=1") == expected(lambda _: True)
        # Changes to keys of the disk count at once, before any checkpoint writes them.
        assert wire("TS.ALTER series:00000 LABELS all 2") == "+OK"
        assert wire("DEL iot_series:00007") == ":1"
        assert wire("RENAME iot_series:00107 stock_renamed") == "+OK"
        assert wire("TS.ADD series:new 5 5 LABELS hundred 7") == ":5"
        assert wire("TS.QUERYINDEX all=2") == '*1 "series:00000"'
        changed = wire("TS.QUERYINDEX hundred=7")
        assert "iot_series:00007" not in changed and "iot_series:00107" not in changed
        assert '"stock_renamed"' in changed and '"series:new"' in changed
        assert changed.startswith("*30 ")
        assert wire("SAVE") == "+OK"
        assert wire("TS.QUERYINDEX hundred=7") == changed
        assert wire("TS.QUERYINDEX all=2") == '*1 "series:00000"'
    own_server.restart(signal.SIGKILL)
    with Wire(own_server.port) as wire:
        assert wire("TS.QUERYINDEX hundred=7") == changed
        assert wire("TS.QUERYINDEX own=0") == "*0"
        assert wire("FLUSHALL") == "+OK"
        assert wire("TS.QUERYINDEX all=1") == "*0"
        assert wire("TS.QUERYLABELS LABELS") == "*0"
    own_server.restart()
    with Wire(own_server.port) as wire:
        assert wire("TS.QUERYINDEX all=1") == "*0"
        assert wire("DBSIZE") == ":0"


def test_ranges_from_the_disk(own_server):
    """Samples of many series, more than the memory for them holds, are all there and aggregate right."""
    names = [f"{'iot_' if number % 2 else ''}disk:{number}" for number in range(40)]
    with Wire(own_server.port) as wire:
        for name in names:
            wire("TS.CREATE", name, "LABELS", "kind", "disk")
            for start in range(0, 4000, 1000):
                line = [word for at in range(start, start + 1000) for word in (name, at * 10, at % 50)]
                wire("TS.MADD", *line)
        assert wire("SAVE") == "+OK"
    own_server.restart()
    with Wire(own_server.port) as wire:
        reply = wire("TS.MRANGE - + AGGREGATION sum 10000 FILTER kind=disk GROUPBY kind REDUCE sum")
        assert reply == '*1 *3 "kind=disk" *0 *4 ' + " ".join(f"*2 :{at} +980000" for at in (0, 10000, 20000, 30000))
        assert wire("TS.MGET FILTER kind=disk").count("*2 :39990 +49") == len(names)
        for name in names[:5]:
            assert wire(f"TS.RANGE {name} 20000 20030") == "*4 *2 :20000 +0 *2 :20010 +1 *2 :20020 +2 *2 :20030 +3"
            assert wire(f"TS.REVRANGE {name} - + COUNT 2") == "*2 *2 :39990 +49 *2 :39980 +48"
            assert wire(f"TS.DEL {name} 100 39000") == ":3891"
            assert wire(f"TS.RANGE {name} - + AGGREGATION count 1000000") == "*1 *2 :0 +109"
            assert "+totalSamples :109 +" in wire(f"TS.INFO {name}")


def fill_newest(wire):
    """Series whose newest samples are in chunks, late, deleted, renamed or nowhere; returns their keys."""
    names = [f"{'iot_' if number % 2 else ''}newest:{number:03}" for number in range(150)]
    for number, name in enumerate(names):
        wire("TS.CREATE", name, "RETENTION", 500 if number % 3 else 0, "LABELS", "kind", "newest", "rest", number % 7)
        samples = 0 if number % 10 == 9 else 20 + number
        line = [word for at in range(samples) for word in (name, at * 10, number + at)]
        if line:
            wire("TS.MADD", *line)
    assert wire("SAVE") == "+OK"
    for number, name in enumerate(names[:140]):
        last = (19 + number) * 10
        if number % 10 == 1:
            assert wire("TS.DEL", name, last - 30, last) == ":4"
        elif number % 10 == 2:
            wire("TS.DEL", name, 0, 10_000_000)
        elif number % 10 == 3:
            assert wire("TS.ADD", name, last, -5, "ON_DUPLICATE", "LAST") == f":{last}"
        elif number % 10 == 4:
            assert wire("TS.ADD", name, last - 5, -6) == f":{last - 5}"
        elif number % 10 == 5:
            assert wire("TS.ADD", name, last + 5, -7) == f":{last + 5}"
        elif number % 10 == 6:
            names[number] = f"stock_renamed:{number:03}"
            assert wire("RENAME", name, names[number]) == "+OK"
    return sorted(names)


def test_newest_samples_from_anywhere(own_server):
    """TS.MGET finds what TS.GET does, whatever of the series is in memory."""

    def check_newest(wire):
        for rest in ("", " rest=(0,3,6)"):
            found = wire(f"TS.MGET FILTER kind=newest{rest}")
            listed = [name for name in names if not rest or int(name[-3:]) % 7 in (0, 3, 6)]
            assert found == " ".join([f"*{len(listed)}", *(f'*3 "{name}" *0 {newest[name]}' for name in listed)])

    with Wire(own_server.port) as wire:
        names = fill_newest(wire)
        newest = {name: wire(f"TS.GET {name}") for name in names}
        assert "*0" in newest.values() and len(set(newest.values())) > 100
        check_newest(wire)
        assert wire("SAVE") == "+OK"
        check_newest(wire)
        # More series than there is memory for: the first ones leave it.
        for start in range(0, 4000, 500):
            for number in range(start, start + 500):
                wire.send("TS.ADD", f"other:{number}", 1, 1)
            assert [wire.read() for _ in range(500)] == [":1"] * 500
        assert wire("SAVE") == "+OK"
        check_newest(wire)
    for at, how in ((90_000, signal.SIGTERM), (91_000, signal.SIGKILL)):
        own_server.restart(how)
        with Wire(own_server.port) as wire:
            check_newest(wire)
            # Some of them are in memory again.
            for name in names[::4]:
                assert wire(f"TS.GET {name}") == newest[name]
            check_newest(wire)
            assert wire(f"TS.ADD {names[0]} {at} 1.5") == f":{at}"
            newest[names[0]] = f"*2 :{at} +1.5"
            check_newest(wire)
            assert wire(f"DEL {names[1]}") == ":1"
            del newest[names.pop(1)]
            check_newest(wire)


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_stop_does_not_wait_for_the_last_batch(lanes):
    """RENAME, TS.CREATERULE and MSET across lanes are batches; their last step waits for the disk."""
    server = Server(lanes=lanes)
    with Wire(server.port) as wire:
        for line in ("TS.CREATE a", "TS.CREATE iot_b", "TS.CREATERULE a iot_b AGGREGATION sum 10", "RENAME a c"):
            assert wire(line) == "+OK"
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 8, "the time that a stop may take at most is 10 s"


def test_deletions_by_filter_in_a_transaction_survive_a_kill():
    server = Server(lanes=2, settings=[*(f"business.{name}.partitions=4" for name in ("default", "stock_quotes"))])
    try:
        with Wire(server.port) as wire:
            for number in range(20):
                wire("TS.CREATE", f"s{number}", "LABELS", "l", "v")
                wire("TS.ADD", f"s{number}", 1, 1)
                wire("TS.ADD", f"s{number}", 2, 2)
            # Partitions that only this is read from.
            wire("WATCH", *(f"watched{number}" for number in range(20)))
            wire("MULTI")
            wire("TS.MDEL", 1, 1, "FILTER", "l=v")
            wire("SET", "other", "x")
            assert wire("EXEC") == "*2 :20 +OK"
            wire("MULTI")
            wire("TS.MDEL", 2, 2, "FILTER", "l=v", "l!=w")
            assert wire("EXEC") == "*1 :20"
        server.restart(signal.SIGKILL)
        with Wire(server.port) as wire:
            for number in range(20):
                assert wire("TS.RANGE", f"s{number}", "-", "+") == "*0"
    finally:
        server.stop()
