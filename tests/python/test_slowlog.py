"""SLOWLOG: one log over all lanes."""

import pytest
import redis
from wire import Wire


@pytest.fixture
def log(server):
    """A client whose server logs every call, and nothing afterwards."""
    with redis.Redis(port=server.port, client_name="me") as client:
        client.ping()
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        yield client
        client.config_set("slowlog-log-slower-than", 10000)
        client.config_set("slowlog-max-len", 128)
        client.slowlog_reset()


def commands(client, count=128):
    """The commands of the log, oldest first, those about the log itself left out."""
    entries = reversed(client.slowlog_get(count))
    return [entry["command"].decode() for entry in entries if not entry["command"].startswith(b"SLOWLOG")]


def test_every_call_is_there_once(log):
    keys = [f"k{index}" for index in range(30)]
    for key in keys:
        log.set(key, "v")
    log.mget(keys)
    with log.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.get(key)
        pipeline.execute()
    assert sorted(commands(log)) == sorted(
        [f"SET {key} v" for key in keys] + ["MGET " + " ".join(keys)] + [f"GET {key}" for key in keys]
    )


def test_entries(log):
    with Wire(log.connection_pool.connection_kwargs["port"]) as other:
        other("CLIENT SETNAME you")
        address = other("CLIENT INFO").split("addr=")[1].split(" ")[0]
        for index in range(8):
            other("SET", f"k{index}", "v")
    reply = [entry for entry in log.slowlog_get(-1) if entry["command"].startswith(b"SET")]
    assert [entry["command"] for entry in reply] == [b"SET k%d v" % index for index in reversed(range(8))]
    assert {(entry["client_address"], entry["client_name"]) for entry in reply} == {(address.encode(), b"you")}


def test_ids_ascend(log):
    for index in range(20):
        log.set(f"k{index}", "v")
    ids = [entry["id"] for entry in log.slowlog_get(20)]
    assert ids == sorted(set(ids), reverse=True)
    assert ids[0] - ids[-1] == 19, "no number is left out"
    assert len(log.slowlog_get(5)) == 5
    assert log.slowlog_get(1)[0]["id"] > ids[0]


def test_len_and_reset(log):
    before = log.slowlog_len()
    for index in range(10):
        log.set(f"k{index}", "v")
    assert log.slowlog_len() == before + 11
    log.slowlog_reset()
    assert log.slowlog_len() == 1, "RESET itself"
    log.config_set("slowlog-max-len", 5)
    for index in range(20):
        log.set(f"k{index}", "v")
    assert log.slowlog_len() == 5
    assert len(log.slowlog_get(100)) == 5


def test_long_calls_are_shortened(log):
    log.delete(*[f"k{index}" for index in range(40)])
    log.set("k", "v" * 200)
    log.mget(*[f"k{index}" for index in range(31)])
    with Wire(log.connection_pool.connection_kwargs["port"]) as other:
        log.config_set("slowlog-log-slower-than", -1)
        entries = other("SLOWLOG GET -1")
    assert '*32 "DEL" "k0" ' in entries
    assert '"k29" "... (10 more arguments)"' in entries
    assert f'*3 "SET" "k" "{"v" * 128}... (72 more bytes)"' in entries
    assert '*32 "MGET" "k0" ' in entries
    assert '"k30"' in entries


def test_transactions_list_what_they_run(log):
    with log.pipeline() as pipeline:
        pipeline.set("a", 1)
        pipeline.incr("b")
        pipeline.mget("a", "b", "c", "d")
        pipeline.ping()
        pipeline.execute()
    assert commands(log) == ["MULTI", "SET a 1", "INCRBY b 1", "MGET a b c d", "PING"]
    with log.pipeline() as pipeline:
        pipeline.get("a")
        pipeline.execute()
    assert commands(log)[5:] == ["MULTI", "GET a"]


def test_secrets_are_not_kept(log):
    for line in ["AUTH default secret", "HELLO 2 AUTH default secret"]:
        log.execute_command(*line.split())
    for parameter in ["requirepass", "masterauth"]:
        try:
            log.config_set(parameter, "")
        except redis.ResponseError:
            pass
    assert "AUTH (redacted) (redacted)" in commands(log)
    assert "HELLO 2 AUTH (redacted) (redacted)" in commands(log)
    assert "CONFIG SET requirepass (redacted)" in commands(log)


def test_what_fails_and_what_is_refused(log):
    with Wire(log.connection_pool.connection_kwargs["port"]) as other:
        for line in ["SET k x", "INCR k", "NOSUCH", "GET"]:
            other(line)
    assert commands(log) == ["SET k x", "INCR k"]


@pytest.mark.ticklane_only
def test_who_waits_is_not_slow(log):
    log.execute_command("TS.CREATE ts")
    log.config_set("slowlog-log-slower-than", 10000)
    log.slowlog_reset()
    log.execute_command("TS.READ ts 0 BLOCK 30 1")
    log.execute_command("DEBUG SLEEP 0.02")
    assert commands(log) == ["DEBUG SLEEP 0.02"]
    assert log.slowlog_get(1)[0]["duration"] >= 20000
