"""SUBSCRIBE, PUBLISH and keyspace events, over lanes and protocols."""

import time

import pytest
import redis
from wire import Wire

WAIT_SECONDS = 0.3


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def listener(request, server):
    """A connection that listens, with the sign that its messages begin with."""
    with Wire(server.port, protocol=request.param) as wire:
        wire.sign = "*" if request.param == 2 else ">"
        yield wire


def quiet(wire):
    """Whether nothing comes."""
    wire._socket.settimeout(WAIT_SECONDS)
    try:
        return wire._socket.recv(1) == b"never"
    except TimeoutError:
        return True
    finally:
        wire._socket.settimeout(60)


def test_subscriptions(listener):
    sign = listener.sign
    listener.send("SUBSCRIBE", "a", "b")
    assert listener.read().lstrip(">*") == '3 "subscribe" "a" :1'
    assert listener.read() == f'{sign}3 "subscribe" "b" :2'
    assert listener("PSUBSCRIBE n*") == f'{sign}3 "psubscribe" "n*" :3'
    assert listener("UNSUBSCRIBE x") == f'{sign}3 "unsubscribe" "x" :3'
    assert listener("UNSUBSCRIBE a") == f'{sign}3 "unsubscribe" "a" :2'
    assert listener("PUNSUBSCRIBE") == f'{sign}3 "punsubscribe" "n*" :1'
    assert listener("UNSUBSCRIBE") == f'{sign}3 "unsubscribe" "b" :0'
    nothing = "$-1" if sign == "*" else "_"
    assert listener("UNSUBSCRIBE") == f'{sign}3 "unsubscribe" {nothing} :0'
    assert listener("SET k v") == "+OK"


def test_messages(listener, server):
    sign = listener.sign
    listener("SUBSCRIBE news")
    listener("PSUBSCRIBE n?ws")
    with Wire(server.port) as other:
        assert other("PUBLISH news hello") == ":2"
        assert other("PUBLISH olds hello") == ":0"
    assert listener.read() == f'{sign}3 "message" "news" "hello"'
    assert listener.read() == f'{sign}4 "pmessage" "n?ws" "news" "hello"'
    assert quiet(listener)


def test_sharded_channels(listener, server):
    sign = listener.sign
    assert listener("SSUBSCRIBE news") == f'{sign}3 "ssubscribe" "news" :1'
    assert listener("SUBSCRIBE news") == f'{sign}3 "subscribe" "news" :1'
    assert listener("PSUBSCRIBE n*") == f'{sign}3 "psubscribe" "n*" :2'
    with Wire(server.port) as other:
        assert other("SPUBLISH news hello") == ":1"
        assert other("SPUBLISH olds hello") == ":0"
        assert other("PUBSUB SHARDCHANNELS") == '*1 "news"'
        assert other("PUBSUB SHARDCHANNELS o*") == "*0"
        assert other("PUBSUB SHARDNUMSUB news olds") == '*4 "news" :1 "olds" :0'
    assert listener.read() == f'{sign}3 "smessage" "news" "hello"'
    assert quiet(listener)
    assert listener("SUNSUBSCRIBE") == f'{sign}3 "sunsubscribe" "news" :0'
    assert listener("PUNSUBSCRIBE") == f'{sign}3 "punsubscribe" "n*" :1'


def test_what_a_listener_may_call(listener):
    listener("SUBSCRIBE news")
    if listener.sign == ">":
        assert listener("PING") == "+PONG"
        assert listener("SET k v") == "+OK"
        listener.send("PUBLISH news own")
        assert sorted([listener.read(), listener.read()]) == [":1", '>3 "message" "news" "own"']
        return
    assert listener("PING") == '*2 "pong" ""'
    assert listener("PING hi") == '*2 "pong" "hi"'
    assert listener("GET k") == (
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    )
    assert listener("RESET") == "+RESET"
    assert listener("GET k") == "$-1"


def test_many_listeners_on_all_lanes(server):
    """Connections are spread over lanes; each gets every message once and in order."""
    wires = [Wire(server.port) for _ in range(12)]
    for wire in wires:
        wire("SUBSCRIBE c")
    with Wire(server.port) as other:
        for number in range(200):
            assert other(f"PUBLISH c {number}") == ":12"
        assert other("PUBSUB CHANNELS") == '*1 "c"'
        assert other("PUBSUB CHANNELS x*") == "*0"
        assert other("PUBSUB NUMSUB c d") == '*4 "c" :12 "d" :0'
        assert other("PUBSUB NUMPAT") == ":0"
        assert "\r\npubsub_channels:1\r\n" in other("INFO stats")
        clients = other("INFO clients")
        assert "\r\npubsub_clients:12\r\n" in clients or "pubsub_clients" not in clients, "Redis 7.0 has no such field"
        assert " sub=1 psub=0 " in other("CLIENT LIST")
    for wire in wires:
        assert [wire.read() for _ in range(200)] == [f'*3 "message" "c" "{number}"' for number in range(200)]
        wire.close()


def test_redis_py(client):
    listening = client.pubsub(ignore_subscribe_messages=True)
    listening.subscribe("a")
    listening.psubscribe("b*")
    listening.get_message(timeout=1)
    listening.get_message(timeout=1)
    assert client.publish("a", "1") == 1
    assert client.publish("bcd", "2") == 1
    messages = []
    deadline = time.monotonic() + 5
    while len(messages) < 2 and time.monotonic() < deadline:
        message = listening.get_message(timeout=0.2)
        messages += [(message["type"], message["channel"], message["data"])] if message else []
    assert messages == [("message", "a", "1"), ("pmessage", "bcd", "2")]
    pipe = client.pipeline()
    pipe.set("k", 1).publish("a", "3")
    assert pipe.execute() == [True, 1]
    listening.close()
    deadline = time.monotonic() + 5
    while client.publish("a", "4") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.publish("a", "4") == 0, "a client that has gone listens no more"


@pytest.mark.ticklane_only
def test_not_in_a_transaction(wire):
    wire("MULTI")
    assert wire("SUBSCRIBE a") == "-ERR Command not allowed inside a transaction"


@pytest.fixture
def events(server, listener):
    """The events that a line causes, as texts `event key`, in order."""
    with Wire(server.port) as caller:
        assert caller("CONFIG SET notify-keyspace-events KEA") == "+OK"
        listener("PSUBSCRIBE __keyevent@0__:*")

        def of(*lines):
            for line in lines:
                reply = caller(line)
            caller("DEL end{end}")
            caller("SET end{end} 1")
            seen = []
            while True:
                words = listener.read().split(" ")
                event, key = words[3].removeprefix('"__keyevent@0__:').rstrip('"'), words[4].strip('"')
                if key == "end{end}":
                    if event == "set":
                        return [*seen]
                    continue
                seen.append(f"{event} {key}")
                assert len(seen) < 100, reply

        yield of
        caller("CONFIG", "SET", "notify-keyspace-events", "")


def settled(events, *lines):
    """As `events`, for lines whose events come from several lanes: given time to arrive before the last one."""
    found = events(*lines)
    time.sleep(0.1)
    return sorted(found + events("PING"))


def test_events_of_strings(events):
    for lines, expected in [
        (["SET s 1"], ["set s"]),
        (["SET s 1 EX 100"], ["expire s", "set s"]),
        (["SETEX s 100 1"], ["expire s", "set s"]),
        (["APPEND s 1"], ["append s"]),
        (["SETRANGE s 0 5"], ["setrange s"]),
        (["INCR s", "DECRBY s 5"], ["incrby s", "incrby s"]),
        (["INCRBYFLOAT s 0.5"], ["incrbyfloat s"]),
        (["GETSET s 1"], ["set s"]),
        (["EXPIRE s 100"], ["expire s"]),
        (["PERSIST s", "PERSIST s"], ["persist s"]),
        (["GET s", "TTL s", "EXISTS s", "SET s 2 NX"], []),
        (["RENAME s t"], ["rename_from s", "rename_to t"]),
        (["COPY t s"], ["copy_to s"]),
        (["MSET s 1 t 2"], ["set s", "set t"]),
        (["DEL s t nope"], ["del s", "del t"]),
        (["SET s 1", "EXPIRE s -1"], ["del s", "set s"]),
        (["SET s 1", "GETDEL s"], ["del s", "set s"]),
    ]:
        assert settled(events, *lines) == expected, lines


def test_expiry_is_an_event(events):
    seen = settled(events, "SET s 1 PX 20")
    time.sleep(0.1)
    assert sorted(seen + settled(events, "GET s")) == ["expire s", "expired s", "set s"]


@pytest.mark.ticklane_only
def test_events_of_series(events):
    for lines, expected in [
        (["TS.CREATE k"], ["ts.create k"]),
        (["TS.CREATE k"], []),
        (["TS.ADD k 1 1", "TS.ADD k 1 1"], ["ts.add k"]),
        (["TS.ADD new 1 1"], ["ts.add new"]),
        (["TS.MADD k 2 1 nope 1 1 new 2 2"], ["ts.add k", "ts.add new"]),
        (["TS.ALTER k RETENTION 5000"], ["ts.alter k"]),
        (["TS.INCRBY k 1 TIMESTAMP 3", "TS.DECRBY k 1 TIMESTAMP 4"], ["ts.decrby k", "ts.incrby k"]),
        (["TS.DEL k 4 4", "TS.DEL k 4 4"], ["ts.del k"]),
        (["TS.RANGE k - +", "TS.GET k", "TS.INFO k"], []),
        (["TS.CREATE iot_d", "TS.CREATERULE k iot_d AGGREGATION sum 10"],
         ["ts.create iot_d", "ts.createrule:dest iot_d", "ts.createrule:src k"]),
        (["TS.ADD k 11 1"], ["ts.add k"]),
        (["TS.ADD k 21 1"], ["ts.add k", "ts.add:dest iot_d"]),
        # A bucket that is computed anew causes no event.
        (["TS.ADD k 12 1"], ["ts.add k"]),
        (["TS.DEL k 12 12"], ["ts.del k"]),
        (["TS.DELETERULE k iot_d"], ["ts.deleterule:dest iot_d", "ts.deleterule:src k"]),
        (["TS.DELETERULE k iot_d"], []),
        (["RENAME k l"], ["rename_from k", "rename_to l"]),
        (["DEL l"], ["del l"]),
        (["TS.ADD m1 1 1 LABELS l v", "TS.ADD iot_m2 1 1 LABELS l v", "TS.ADD m3 5 1 LABELS l v"],
         ["ts.add iot_m2", "ts.add m1", "ts.add m3"]),
        (["TS.MDEL 0 3 FILTER l=v"], ["ts.del iot_m2", "ts.del m1"]),
        (["TS.MDEL 0 3 FILTER l=v"], []),
        (["MULTI", "TS.MDEL 0 9 FILTER l=v", "EXEC"], ["ts.del m3"]),
        (["FLUSHDB", "FLUSHALL"], []),
    ]:
        assert settled(events, *lines) == expected, lines


def test_classes(listener, server):
    with Wire(server.port) as caller:
        caller("CONFIG SET notify-keyspace-events Kg")
        assert caller("CONFIG GET notify-keyspace-events") == '*2 "notify-keyspace-events" "gK"'
        listener("PSUBSCRIBE __key*")
        caller("SET s 1")
        caller("EXPIRE s 100")
        assert listener.read().endswith('"__key*" "__keyspace@0__:s" "expire"')
        caller("CONFIG", "SET", "notify-keyspace-events", "")
        assert caller("CONFIG GET notify-keyspace-events") == '*2 "notify-keyspace-events" ""'
        caller("DEL s")
    assert quiet(listener)


def test_letters(client):
    for text, shown in [("KEA", "AKE"), ("Ex", "xE"), ("g$lshzxetd", "A"), ("Knm", "nKm"), ("", "")]:
        client.config_set("notify-keyspace-events", text)
        assert client.config_get("notify-keyspace-events") == {"notify-keyspace-events": shown}
    with pytest.raises(redis.ResponseError, match="Invalid event class character"):
        client.config_set("notify-keyspace-events", "Ky")
