"""Many TS commands sent at once: replies come in order, and each command sees what those before it have done."""

import random
import threading

import pytest
from wire import Wire

pytestmark = pytest.mark.ticklane_only


def ask_all(wire, lines):
    """Sends all lines before it reads the first reply."""
    for line in lines:
        wire.send(line)
    return [wire.read() for _ in lines]


def test_a_pipeline_sees_its_own_changes(wire):
    for turn in range(5):
        lines = {
            "TS.CREATE src LABELS l v": "+OK",
            "TS.CREATE iot_dst LABELS l v": "+OK",
            "TS.CREATERULE src iot_dst AGGREGATION sum 10": "+OK",
            "TS.ADD src 1 1": ":1",
            "TS.QUERYINDEX l=v": '*2 "iot_dst" "src"',
            "TS.MADD src 2 2 iot_other 1 1 src 11 3": "*3 :2 -ERR TSDB: the key does not exist :11",
            "TS.MRANGE - + FILTER l=v": '*2 *3 "iot_dst" *0 *1 *2 :0 +3 *3 "src" *0 *3 *2 :1 +1 *2 :2 +2 *2 :11 +3',
            "RENAME src stock_src": "+OK",
            "TS.ADD stock_src 21 1": ":21",
            "TS.NRANGE 2 stock_src iot_dst 10 20": "*2 *2 :10 *2 +NaN +3 *2 :11 *2 +3 +NaN",
            "TS.DELETERULE stock_src iot_dst": "+OK",
            "TS.ALTER iot_dst LABELS l w": "+OK",
            "TS.QUERYINDEX l=(v,w)": '*2 "iot_dst" "stock_src"',
            "TS.MGET FILTER l=w": '*1 *3 "iot_dst" *0 *2 :10 +3',
            "TS.DEL stock_src 0 100": ":4",
            "DEL stock_src iot_dst": ":2",
        }
        expected = list(lines.values())
        asked = list(lines)
        assert list(zip(asked, ask_all(wire, asked), strict=True)) == list(zip(asked, expected, strict=True)), turn


def test_connections_side_by_side(server):
    """Four clients write samples of shared series and rules roll them up; nothing is lost or counted twice."""
    sources = ["src", "iot_src", "stock_src"]
    destinations = ["iot_dst", "stock_dst", "dst"]
    with Wire(server.port) as wire:
        for source, destination in zip(sources, destinations, strict=True):
            wire(f"TS.CREATE {source} LABELS kind raw")
            wire(f"TS.CREATE {destination} LABELS kind rollup")
            wire(f"TS.CREATERULE {source} {destination} AGGREGATION count 100")
    failures = []

    def write(number):
        try:
            order = list(range(number, 4000, 4))
            generator = random.Random(number)
            for start in range(0, len(order), 50):
                generator.shuffle(part := order[start : start + 50])
                order[start : start + 50] = part
            with Wire(server.port) as wire:
                for start in range(0, len(order), 25):
                    lines = [f"TS.ADD {source} {at} 1" for at in order[start : start + 25] for source in sources]
                    lines.append("TS.MRANGE - + AGGREGATION count 1000 FILTER kind=raw GROUPBY kind REDUCE sum")
                    replies = ask_all(wire, lines)
                    assert not [reply for reply in replies if reply.startswith("-")]
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    with Wire(server.port) as wire:
        for source, destination in zip(sources, destinations, strict=True):
            assert "+totalSamples :4000 " in wire(f"TS.INFO {source}")
            rows = " ".join(f"*2 :{start} +100" for start in range(0, 3900, 100))
            assert wire(f"TS.RANGE {destination} - +") == f"*39 {rows}"
            assert wire(f"TS.GET {destination} LATEST") == "*2 :3900 +100"


def test_label_words_as_values(wire):
    assert wire("TS.CREATE k LABELS kind RETENTION other LABELS") == "+OK"
    assert wire("TS.QUERYINDEX kind=RETENTION other=LABELS") == '*1 "k"'
    assert "+retentionTime :0 " in wire("TS.INFO k")
