"""Commands of an EXEC that have to wait for the disk: nobody else gets between them."""

import threading

import pytest
from server import Server
from wire import Wire

pytestmark = pytest.mark.ticklane_only

# Many small chunks: a read of them all is no work for a lane.
SMALL = ("storage.head_samples_max=64", "storage.series_memory=1 MiB", "storage.block_cache=1 MiB")
SAMPLES = 20_000


@pytest.fixture(scope="module", params=[1, 2], ids=["1lane", "2lanes"])
def small_server(request):
    """A server with a series of many chunks in every tag's slot."""
    server = Server(lanes=request.param, settings=SMALL)
    with Wire(server.port) as wire:
        for key in ("s{a}", "s{b}"):
            wire("TS.CREATE", key)
            for start in range(0, SAMPLES, 1000):
                wire("TS.MADD", *(word for at in range(start, start + 1000) for word in (key, at, at % 10)))
        assert wire("SAVE") == "+OK"
    yield server
    assert server.stop() == 0


@pytest.fixture
def meddler(small_server):
    """Another client that writes a key and a sample all the time."""
    done = threading.Event()
    failed = []

    def meddle():
        with Wire(small_server.port) as wire:
            number = 0
            while not done.is_set():
                number += 1
                for reply in (wire("SET n{a} other"), wire("INCR m{b}"), wire("SET n{b} other")):
                    if reply.startswith("-"):
                        failed.append(reply)

    thread = threading.Thread(target=meddle)
    thread.start()
    yield
    done.set()
    thread.join()
    assert not failed


def run(wire, *commands):
    """EXEC of the commands; the replies, in one line."""
    wire("MULTI")
    for command in commands:
        assert wire(command) == "+QUEUED", command
    return wire("EXEC")


def test_nobody_gets_between(small_server, meddler):
    with Wire(small_server.port) as wire:
        for number in range(40):
            reply = run(wire, f"SET n{{a}} {number}", "TS.RANGE s{a} - + AGGREGATION sum 100000", "GET n{a}")
            assert reply == f'*3 +OK *1 *2 :0 +{SAMPLES * 45 // 10} "{number}"'
            reply = run(wire, "GET n{a}", "TS.DEL s{a} 99999 99999", "TS.RANGE s{a} 5 5", "GET n{a}").split()
            assert reply[1] == reply[-1], reply


def test_the_first_command_waits(small_server, meddler):
    with Wire(small_server.port) as wire:
        for _ in range(40):
            reply = run(wire, "TS.RANGE s{b} - + AGGREGATION count 100000", "GET m{b}", "TS.RANGE s{b} - + FILTER_BY_VALUE 99 99", "GET m{b}")
            assert reply.split()[5] == reply.split()[-1], reply


def test_over_partitions(small_server, meddler):
    with Wire(small_server.port) as wire:
        for number in range(20):
            reply = run(
                wire,
                f"SET n{{a}} {number}",
                f"SET n{{b}} {number}",
                "TS.RANGE s{a} - + AGGREGATION count 100000",
                "TS.RANGE s{b} - + AGGREGATION count 100000",
                "MGET n{a} n{b}",
            )
            assert reply.endswith(f'*2 "{number}" "{number}"'), reply


def test_open_buckets_of_other_series(small_server):
    """LATEST asks the owner of the source, which this or another EXEC may hold: nobody waits for ever."""
    with Wire(small_server.port) as wire:
        for line in ("TS.CREATE x{a}", "TS.CREATE y{b}", "TS.CREATERULE x{a} y{b} AGGREGATION sum 10"):
            assert wire(line) == "+OK"
        for line in ("TS.CREATE x{b}", "TS.CREATE y{a}", "TS.CREATERULE x{b} y{a} AGGREGATION sum 10"):
            assert wire(line) == "+OK"
        assert run(wire, "TS.ADD x{a} 11 1", "TS.GET y{b} LATEST", "TS.ADD x{a} 12 1").startswith("*3 :11 ")

        def read(own, other):
            with Wire(small_server.port) as wire:
                for number in range(30):
                    reply = run(wire, f"SET z{own} {number}", f"TS.GET y{own} LATEST", f"TS.RANGE s{own} - + COUNT 1")
                    assert reply.startswith("*3 +OK *"), reply

        threads = [threading.Thread(target=read, args=pair) for pair in (("{a}", "{b}"), ("{b}", "{a}"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def test_after_a_kill_all_or_nothing(small_server):
    """What an EXEC that waited has written is there as a whole after a crash."""
    with Wire(small_server.port) as wire:
        for number in range(10):
            run(wire, f"SET p{{a}} {number}", "TS.RANGE s{a} - + AGGREGATION sum 7", f"SET q{{a}} {number}")
    small_server.restart(9)
    with Wire(small_server.port) as wire:
        assert wire("MGET p{a} q{a}") == '*2 "9" "9"'
