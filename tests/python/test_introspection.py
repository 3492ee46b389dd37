"""MEMORY, OBJECT, DEBUG and what COMMAND says of commands, as Redis 7 has them."""

import pytest
from wire import Wire


def test_how_a_string_came_about_shows_in_its_encoding(wire):
    for line, encoding in [
        ("SET k 10", "int"),
        ("APPEND k 5", "raw"),
        ("INCR k", "int"),
        ("SETRANGE k 0 2", "raw"),
        ("SET k 206", "int"),
        ("APPEND new 1", "int"),
        ("INCRBYFLOAT k 1", "embstr"),
        ("DECR k", "int"),
        ("INCRBYFLOAT k 0.5", "embstr"),
        ("INCRBYFLOAT k 0.5", "embstr"),
        ("APPEND k 0", "raw"),
        ("INCRBYFLOAT sum 3", "embstr"),
        ("GETSET sum 3", "int"),
        ("DEL k", None),
        ("SETRANGE k 0 5", "raw"),
    ]:
        wire(line)
        key = line.split()[1]
        assert wire(f"OBJECT ENCODING {key}") == (f'"{encoding}"' if encoding else "$-1"), line


def test_memory(client):
    client.set("stock_a", "x" * 100)
    stats = client.memory_stats()
    for field in ("peak.allocated", "total.allocated", "keys.count", "dataset.bytes", "fragmentation"):
        assert field in stats
    assert stats["keys.count"] == 1
    assert client.memory_purge() is True
    assert client.memory_usage("stock_a") > 100
    assert client.memory_usage("missing") is None
    assert client.execute_command("MEMORY", "MALLOC-STATS")
    assert client.execute_command("MEMORY", "DOCTOR")


def test_containers_refuse_as_redis_does(wire):
    for line, expected in {
        "MEMORY DOCTOR x": "-ERR wrong number of arguments for 'memory|doctor' command",
        "MEMORY USAGE": "-ERR wrong number of arguments for 'memory|usage' command",
        "MEMORY": "-ERR wrong number of arguments for 'memory' command",
        "MEMORY USAGE a SAMPLES -1": "-ERR syntax error",
        "OBJECT FOO a": "-ERR unknown subcommand 'FOO'. Try OBJECT HELP.",
        "OBJECT ENCODING": "-ERR wrong number of arguments for 'object|encoding' command",
        "OBJECT FREQ missing": "$-1",
        "OBJECT": "-ERR wrong number of arguments for 'object' command",
    }.items():
        assert (line, wire(line)) == (line, expected)
    assert wire("OBJECT HELP").startswith("*")
    wire("SET a 1")
    wire("MULTI")
    wire("OBJECT ENCODING a")
    wire("MEMORY USAGE missing")
    assert wire("EXEC") == '*2 "int" $-1'


def test_commands_are_described_as_by_redis(wire):
    """Flags, categories, hints and keys."""

    def described(name):
        return wire(f"COMMAND INFO {name}").removeprefix("*1 ")

    assert described("auth") == (
        '*10 "auth" :-2 *6 +noscript +loading +stale +fast +no_auth +allow_busy :0 :0 :0 '
        "*2 +@fast +@connection *0 *0 *0"
    )
    assert described("config|get") == (
        '*10 "config|get" :-3 *4 +admin +noscript +loading +stale :0 :0 :0 *3 +@admin +@slow +@dangerous *0 *0 *0'
    )
    assert described("lastsave").startswith(
        '*10 "lastsave" :1 *3 +loading +stale +fast :0 :0 :0 *3 +@admin +@fast +@dangerous '
    )
    assert described("object").startswith('*10 "object" :-2 *0 :0 :0 :0 *1 +@slow *0 *0 *')
    search = '"begin_search" *4 "type" "index" "spec" *2 "index" '
    find = ' "find_keys" *4 "type" "range" "spec" *6 "lastkey" :0 "keystep" :1 "limit" :0'
    assert described("memory|usage") == (
        '*10 "memory|usage" :-3 *1 +readonly :2 :2 :1 *2 +@read +@slow *0 '
        f'*1 *6 "flags" *1 +RO {search}:2{find} *0'
    )
    assert described("copy") == (
        '*10 "copy" :-3 *2 +write +denyoom :1 :2 :1 *3 +@keyspace +@write +@slow *0 '
        f'*2 *6 "flags" *2 +RO +access {search}:1{find} *6 "flags" *2 +OW +update {search}:2{find} *0'
    )
    assert wire("COMMAND GETKEYSANDFLAGS copy a b") == '*2 *2 "a" *2 +RO +access *2 "b" *2 +OW +update'
    assert wire("COMMAND GETKEYSANDFLAGS set a b") == '*1 *2 "a" *2 +OW +update'
    assert wire("COMMAND GETKEYSANDFLAGS set a b get") == '*1 *2 "a" *3 +RW +access +update'
    assert wire("COMMAND GETKEYS object encoding a") == '*1 "a"'


def test_slowlog_refuses_as_redis_does(wire):
    refused = "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."
    assert wire("SLOWLOG GET 1 2") == refused


@pytest.mark.ticklane_only
def test_debug(wire):
    assert wire("DEBUG SET-ACTIVE-EXPIRE 0") == "+OK"
    assert wire("DEBUG SET-ACTIVE-EXPIRE 1") == "+OK"
    assert wire("DEBUG OBJECT missing") == "-ERR no such key"
    wire("SET k 12")
    found = wire("DEBUG OBJECT k")
    assert found.startswith("+Value at:") and "encoding:int" in found and "serializedlength:2" in found
    refused = "-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP."
    assert wire("DEBUG JMAP") == refused
    assert wire("DEBUG SLEEP") == refused.replace("JMAP", "SLEEP")


@pytest.mark.ticklane_only
def test_commands_of_the_module_say_so(wire):
    assert '*3 +write +denyoom +module :1 :1 :1' in wire("COMMAND INFO ts.add")


def test_subcommands_are_checked_before_they_are_queued(wire):
    refusals = {
        "CLIENT NOSUCH": "-ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.",
        "OBJECT ENCODING": "-ERR wrong number of arguments for 'object|encoding' command",
        "CONFIG HELP x": "-ERR wrong number of arguments for 'config|help' command",
    }
    for line, refusal in refusals.items():
        assert wire("MULTI") == "+OK"
        assert wire("DEBUG NOSUCH") == "+QUEUED"
        assert wire("COMMAND COUNT") == "+QUEUED"
        assert wire(line) == refusal
        assert wire("EXEC") == "-EXECABORT Transaction discarded because of previous errors."
    wire("SUBSCRIBE c")
    for line, refusal in refusals.items():
        assert wire(line) == refusal
    allowed = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    assert wire("CLIENT ID") == f"-ERR Can't execute 'client|id': {allowed}"
    wire("RESET")


def test_the_last_command_of_a_client(server, wire):
    wire("PING")
    assert " cmd=client|info " in wire("CLIENT INFO")
    with Wire(server.port) as other:
        other("GET k")
        assert " cmd=get " in wire("CLIENT LIST")


def test_restore_looks_at_the_key_before_the_deadline(wire):
    wire("SET k v")
    assert wire("RESTORE k x y") == "-BUSYKEY Target key name already exists."
    assert wire("RESTORE k -1 y") == "-BUSYKEY Target key name already exists."
    assert wire("RESTORE k -1 y REPLACE") == "-ERR Invalid TTL value, must be >= 0"
    assert wire("RESTORE k 0 y REPLACE FREQ 1 IDLETIME 1") == "-ERR syntax error"
