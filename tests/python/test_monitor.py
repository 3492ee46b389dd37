"""MONITOR: one connection sees what the clients of all lanes run."""

import re
import subprocess

import pytest
import redis
from wire import Wire

LINE = re.compile(r"\+\d+\.\d{6} \[0 (127\.0\.0\.1:\d+)\] (.*)")


@pytest.fixture
def monitor(server):
    """A connection under MONITOR."""
    with Wire(server.port) as wire:
        assert wire("MONITOR") == "+OK"
        yield wire


def calls(monitor, count):
    """The next lines of a monitor without time and address."""
    return [LINE.fullmatch(monitor.read()).group(2) for _ in range(count)]


def test_commands_of_all_lanes(server, monitor):
    with redis.Redis(port=server.port) as client:
        keys = [f"k{index}" for index in range(40)]
        for key in keys:
            client.set(key, "v")
        client.mget(keys)
    shown = []
    while not shown or not shown[-1].startswith('"MGET"'):
        shown += [line for line in calls(monitor, 1) if "SETINFO" not in line]
    assert shown[:-1] == [f'"SET" "{key}" "v"' for key in keys]
    assert shown[-1] == " ".join(['"MGET"', *(f'"{key}"' for key in keys)])


def test_order_of_a_pipeline(server, monitor):
    with Wire(server.port) as other:
        address = other("CLIENT INFO").split("addr=")[1].split(" ")[0]
        for index in range(500):
            other.send("SET", f"k{index}", "v")
        for _ in range(500):
            assert other.read() == "+OK"
    lines = [LINE.fullmatch(monitor.read()).groups() for _ in range(501)]
    assert lines[0] == (address, '"CLIENT" "INFO"')
    assert lines[1:] == [(address, f'"SET" "k{index}" "v"') for index in range(500)]


def test_bytes_are_escaped(server, monitor):
    with Wire(server.port) as other:
        other("set", b'a"b\\c', b"\r\n\t\x07\x08\x00\xff")
    assert calls(monitor, 1) == [r'"set" "a\"b\\c" "\r\n\t\a\b\x00\xff"']


def test_transactions_show_what_ran(server, monitor):
    with Wire(server.port) as other, Wire(server.port) as third:
        for line in ["MULTI", "SET a 1", "INCR b", "exec"]:
            other(line)
        for line in ["MULTI", "SET a 2", "DISCARD", "WATCH a"]:
            other(line)
        third("SET a 3")
        for line in ["MULTI", "GET a", "EXEC"]:
            other(line)
        for line in ["MULTI", "NOSUCH", "EXEC"]:
            other(line)
    lines = [LINE.fullmatch(monitor.read()).groups() for _ in range(12)]
    assert '"SET" "a" "3"' in [line for address, line in lines if address != lines[0][0]]
    expected = '"MULTI"|"SET" "a" "1"|"INCR" "b"|"exec"|"MULTI"|"DISCARD"|"WATCH" "a"|"MULTI"|"EXEC"|"MULTI"|"EXEC"'
    # Lines of connections of different lanes come in no particular order.
    assert [line for address, line in lines if address == lines[0][0]] == expected.split("|")


def test_what_is_not_shown(server, monitor):
    with Wire(server.port) as other:
        for line in ["CONFIG GET port", "CLIENT LIST", "NOSUCH", "GET", "CLIENT ID 1", "SLOWLOG LEN", "SAVE"]:
            other(line)
        other("HELLO 3 AUTH default secret SETNAME me")
        other("AUTH secret")
        other("CLIENT ID")
        other("INCR k x")
        other("SET k x")
        other("INCR k")
        other("GET k")
    expected = '"HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "me"|"AUTH" "(redacted)"|"CLIENT" "ID"'
    expected += '|"SET" "k" "x"|"INCR" "k"|"GET" "k"'
    assert calls(monitor, 6) == expected.split("|")


def test_what_a_monitor_may_call(server, monitor):
    assert monitor("GET k") == "-ERR Replica can't interact with the keyspace"
    assert monitor("SET k v") == "-ERR Replica can't interact with the keyspace"
    assert monitor("PUBLISH c m") == "-ERR Replica can't interact with the keyspace"
    assert monitor("PING") == "+PONG"
    assert calls(monitor, 1) == ['"PING"']
    with Wire(server.port) as other:
        flags = [line for line in other("CLIENT LIST").split("\n") if "cmd=ping" in line]
        assert len(flags) == 1
        assert " flags=O " in flags[0]
    assert monitor("RESET") == "+RESET"
    assert monitor("SET k v") == "+OK"
    with Wire(server.port) as other:
        other("SET k v")
    assert monitor("GET k") == '"v"'


def test_many_monitors_that_come_and_go(server):
    with Wire(server.port) as other:
        for round_ in range(3):
            monitors = [Wire(server.port, protocol=2 + index % 2) for index in range(8)]
            for monitor in monitors:
                assert monitor("MONITOR") == "+OK"
            other("SET", "k", round_)
            for monitor in monitors:
                lines = []
                while not lines or "SET" not in lines[-1]:
                    lines += calls(monitor, 1)
                assert lines[-1] == f'"SET" "k" "{round_}"'
            for index, monitor in enumerate(monitors):
                if index % 2:
                    monitor.send("QUIT")
                monitor.close()
        assert other("GET k") == '"2"'


def test_not_in_a_transaction(wire):
    wire("MULTI")
    assert wire("MONITOR") == "+QUEUED"
    assert wire("EXEC") == "*1 -ERR MONITOR isn't allowed for DENY BLOCKING client"


def test_redis_py(server):
    with redis.Redis(port=server.port) as client, client.monitor() as monitor:
        client.set("foo", "bar baz")
        while (seen := monitor.next_command())["command"] != "SET foo bar baz":
            pass
        assert seen["db"] == 0
        assert seen["client_type"] == "tcp"
        assert seen["client_address"] == "127.0.0.1"
        client.get(b"foo\\x92")
        while not (seen := monitor.next_command())["command"].startswith("GET"):
            pass
        assert seen["command"] == "GET foo\\\\x92"


def test_redis_cli(server):
    with subprocess.Popen(
        ["redis-cli", "-p", str(server.port), "MONITOR"], stdout=subprocess.PIPE, text=True
    ) as cli:
        assert cli.stdout.readline() == "OK\n"
        with Wire(server.port) as other:
            other("SET k v")
        assert LINE.fullmatch("+" + cli.stdout.readline().rstrip()).group(2) == '"SET" "k" "v"'
        cli.terminate()


@pytest.mark.ticklane_only
def test_a_monitor_that_does_not_read_is_disconnected(server):
    with Wire(server.port) as monitor, Wire(server.port) as other:
        assert monitor("MONITOR") == "+OK"
        value = b"x" * (1 << 20)
        for _ in range(60):
            assert other("SET", "k", value) == "+OK"
        monitor._socket.settimeout(30)
        received = 0
        with pytest.raises((ConnectionResetError, EOFError)):
            while True:
                part = monitor._socket.recv(1 << 20)
                if not part:
                    raise EOFError
                received += len(part)
        assert received < 60 << 20
        assert other("STRLEN k") == f":{1 << 20}"


def test_nothing_is_shown_behind_reset(server):
    with Wire(server.port) as other, Wire(server.port) as monitor:
        for index in range(200):
            assert monitor("MONITOR") == "+OK"
            for _ in range(5):
                other.send("SET", "k", index)
            monitor.send("GETDEL", "none")
            monitor.send("RESET")
            while (line := monitor.read()) != "+RESET":
                assert LINE.fullmatch(line) or line == "-ERR Replica can't interact with the keyspace"
            assert monitor("ECHO", index) == f'"{index}"'
            for _ in range(5):
                assert other.read() == "+OK"
