"""What an application does with redis-py, over RESP2 and RESP3, on one lane and on four."""

import threading

import pytest
import redis

# One key per business and some without, so that commands with several keys cross lanes.
KEYS = ["plain", "other", "stock_a", "iot_a", "finance_a", "order_a", "payment_a", "inventory_a", "sms_a"]


def test_strings(client):
    for key in KEYS:
        assert client.set(key, f"value of {key}") is True
    assert client.mget(KEYS) == [f"value of {key}" for key in KEYS]
    assert client.get("missing") is None
    assert client.set("plain", "x", nx=True) is None
    assert client.set("plain", "x", get=True) == "value of plain"
    assert client.append("stock_a", "!") == len("value of stock_a!")
    assert client.strlen("iot_a") == len("value of iot_a")
    assert client.getrange("order_a", 0, 4) == "value"
    assert client.setrange("order_a", 0, "VALUE") == len("value of order_a")
    assert client.getdel("order_a") == "VALUE of order_a"
    assert client.exists(*KEYS) == len(KEYS) - 1
    assert client.incr("stock_n", 5) == 5
    assert client.decr("stock_n") == 4
    assert client.incrbyfloat("iot_f", 0.5) == 0.5
    assert client.mset({key: "same" for key in KEYS}) is True
    assert set(client.mget(KEYS)) == {"same"}
    assert client.msetnx({"new": "1", "stock_a": "2"}) is False
    assert client.delete(*KEYS) == len(KEYS)
    assert client.dbsize() == 2


def test_binary_values(server):
    with redis.Redis(port=server.port) as client:
        value = bytes(range(256)) * 300
        client.set(b"stock_\x00\r\n\xff", value)
        assert client.get(b"stock_\x00\r\n\xff") == value
        assert client.keys() == [b"stock_\x00\r\n\xff"]


def test_large_value(server):
    with redis.Redis(port=server.port) as client:
        value = b"0123456789abcdef" * (1 << 18)
        client.set("iot_large", value)
        assert client.get("iot_large") == value
        assert client.strlen("iot_large") == len(value)


def test_expiry(client):
    client.set("stock_a", 1, ex=100)
    assert 95 <= client.ttl("stock_a") <= 100
    client.expireat("stock_a", 33177117420)
    assert client.expiretime("stock_a") == 33177117420
    assert client.persist("stock_a") == 1
    assert client.ttl("stock_a") == -1
    assert client.ttl("missing") == -2
    client.set("iot_a", 1, px=1)
    client.set("plain", 1, pxat=33177117420123)
    assert client.pexpiretime("plain") == 33177117420123
    assert client.expire("plain", 10, gt=True) == 0
    with pytest.raises(redis.ResponseError, match="invalid expire time in 'set' command"):
        client.set("plain", 2, ex=0)
    assert client.get("plain") == "1"


def test_expired_keys_disappear_by_themselves(client):
    for number in range(100):
        client.set(f"{'stock_' if number % 2 else ''}{number}", 1, px=20)
    event = threading.Event()
    for _ in range(500):
        if client.dbsize() == 0:
            return
        event.wait(0.02)
    pytest.fail(f"{client.dbsize()} expired keys are still counted")


def test_pipeline(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(2000):
        pipeline.set(f"{KEYS[number % len(KEYS)]}:{number}", number)
        pipeline.get(f"{KEYS[number % len(KEYS)]}:{number}")
    replies = pipeline.execute()
    assert replies[0::2] == [True] * 2000
    assert replies[1::2] == [str(number) for number in range(2000)]
    pipeline.set("text", "abc").incr("text").get("text")
    replies = pipeline.execute(raise_on_error=False)
    assert replies[0] is True and replies[2] == "abc"
    assert isinstance(replies[1], redis.ResponseError)


def test_transaction(client):
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set("plain", 1).incr("stock_n").mget("plain", "stock_n", "missing")
        assert pipeline.execute() == [True, 1, ["1", "1", None]]
        pipeline.set("plain", 2).execute_command("NOSUCHCOMMAND")
        with pytest.raises(redis.ResponseError, match="unknown command"):
            pipeline.execute()
    assert client.get("plain") == "1"


def test_watch_loses_no_update(client):
    """Four clients move one unit at a time between two keys of different lanes; the sum must stay."""
    client.mset({"stock_left": 400, "order_right": 0})
    connection = client.get_connection_kwargs()

    def move():
        with redis.Redis(port=connection["port"], decode_responses=True) as own:
            for _ in range(25):
                own.transaction(transfer, "stock_left", "order_right")

    def transfer(pipeline):
        left, right = (int(value) for value in pipeline.mget("stock_left", "order_right"))
        pipeline.multi()
        pipeline.set("stock_left", left - 1)
        pipeline.set("order_right", right + 1)

    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.mget("stock_left", "order_right") == ["300", "100"]


def test_watch_error(client):
    client.set("iot_a", 1)
    with client.pipeline() as pipeline:
        pipeline.watch("iot_a")
        client.set("iot_a", 2)
        pipeline.multi()
        pipeline.set("iot_a", 3)
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("iot_a") == "2"


def test_scan_iter(client):
    expected = {f"{KEYS[number % len(KEYS)]}:{number}" for number in range(3000)}
    client.mset({key: 1 for key in expected})
    assert set(client.scan_iter(count=100)) == expected
    assert set(client.scan_iter()) == expected
    stock = {key for key in expected if key.startswith("stock_")}
    assert set(client.scan_iter(match="stock_*", count=500)) == stock
    assert set(client.scan_iter(_type="string", count=1000)) == expected
    assert set(client.keys("*")) == expected
    assert client.dbsize() == len(expected)
    assert client.randomkey() in expected


def test_scan_of_few_keys_ends_in_its_first_call(client):
    client.mset({"stock_a": 1, "iot_b": 2, "other": 3})
    assert client.scan(match="iot_*") == (0, ["iot_b"])
    cursor, keys = client.scan()
    assert (cursor, sorted(keys)) == (0, ["iot_b", "other", "stock_a"])
    client.mset({f"sms_{number}": 1 for number in range(100)})
    cursor, keys = client.scan(count=1000)
    assert (cursor, len(keys)) == (0, 103)
    cursor, keys = client.scan(count=20)
    assert cursor != 0 and len(keys) <= 103


def test_scan_returns_what_stays_while_other_keys_change(client):
    steady = {f"stock_steady:{number}" for number in range(500)}
    client.mset({key: 1 for key in steady})
    found = set()
    for number, key in enumerate(client.scan_iter(count=10)):
        found.add(key)
        client.set(f"iot_passing:{number}", 1)
        client.delete(f"iot_passing:{number - 3}")
        if number > 100_000:
            pytest.fail("SCAN does not end")
    assert steady <= found


def test_info(client):
    client.set("plain", 1, ex=100)
    client.set("stock_a", 1)
    client.get("missing")
    info = client.info()
    assert info["db0"]["keys"] == 2 and info["db0"]["expires"] == 1
    fields = (
        "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds "
        "uptime_in_days hz config_file role connected_slaves master_repl_offset connected_clients "
        "blocked_clients maxclients used_memory used_memory_human used_memory_rss used_memory_peak "
        "used_memory_dataset maxmemory maxmemory_policy mem_fragmentation_ratio mem_clients_normal "
        "loading rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time "
        "rdb_last_bgsave_status aof_enabled aof_rewrite_in_progress aof_last_write_status "
        "total_connections_received total_commands_processed instantaneous_ops_per_sec "
        "total_net_input_bytes total_net_output_bytes instantaneous_input_kbps "
        "instantaneous_output_kbps rejected_connections expired_keys evicted_keys keyspace_hits "
        "keyspace_misses pubsub_channels pubsub_patterns latest_fork_usec used_cpu_sys "
        "used_cpu_user cluster_enabled number_of_cached_scripts"
    )
    assert [field for field in fields.split() if field not in info] == []
    assert tuple(int(part) for part in info["redis_version"].split(".")) >= (7, 0)
    assert client.info("commandstats")["cmdstat_set"]["calls"] >= 2
    assert "latency_percentiles_usec_get" in client.info("latencystats")


def test_config(client):
    assert set(client.config_get("slowlog-*")) >= {"slowlog-log-slower-than", "slowlog-max-len"}
    before = client.config_get("slowlog-max-len")["slowlog-max-len"]
    assert client.config_set("slowlog-max-len", 77) is True
    assert client.config_get("slowlog-max-len") == {"slowlog-max-len": "77"}
    client.config_set("slowlog-max-len", before)
    assert client.config_resetstat() is True
    with pytest.raises(redis.ResponseError, match="Unknown option"):
        client.config_set("no-such-setting", 1)


def test_client_commands(client):
    assert client.client_setname("tester") is True
    assert client.client_getname() == "tester"
    own = client.client_info()
    assert own["name"] == "tester" and int(own["id"]) == client.client_id()
    names = [entry["name"] for entry in client.client_list()]
    assert "tester" in names
    assert {"id", "addr", "laddr", "fd", "age", "idle", "flags", "db", "multi", "qbuf", "cmd"} <= set(own)
    assert client.ping() is True
    assert client.echo("text") == "text"
    assert len(client.time()) == 2


def test_command_table(client):
    assert client.command_count() > 80
    assert client.command_getkeys("MSET", "a", "1", "b", "2") == ["a", "b"]
    assert "get" in [str(name).lower() for name in client.command_list()]
    info = client.execute_command("COMMAND", "INFO", "get")
    assert info


@pytest.mark.ticklane_only
def test_samples(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(1000):
        pipeline.execute_command("TSDB_SET", "stock_SH600519", number, number + 0.25, 0, number % 256)
    assert pipeline.execute() == ["OK"] * 1000
    samples = client.execute_command("TSDB_GET", "stock_SH600519", "-", "+")
    assert [(time, float(value), quality) for time, value, quality in samples] == [
        (number, number + 0.25, number % 256) for number in range(1000)
    ]
    newest = client.execute_command("TSDB_GET", "stock_SH600519", "-", "+", 2, "REV")
    assert [sample[0] for sample in newest] == [999, 998]
    assert client.type("stock_SH600519") == "TSDB-TYPE"
    arguments = [part for key in KEYS for part in (key, 1, 0.5)]
    assert client.execute_command("TSDB_MSET", *arguments) == "OK"
    assert client.dbsize() == len(KEYS) + 1


@pytest.mark.ticklane_only
def test_batches_belong_to_a_connection(client):
    with client.client() as own:
        for number in range(500):
            assert own.execute_command("BATCH_SET", KEYS[number % len(KEYS)], 0.5, number) == "QUEUED"
        assert client.dbsize() == 0
        assert own.execute_command("BATCH_FLUSH") == 500
    assert client.dbsize() == len(KEYS)


@pytest.mark.ticklane_only
def test_businesses(client):
    names = client.execute_command("BUSINESS", "LIST")
    assert set(names) >= {"stock_quotes", "iot_data", "default"}
    assert client.execute_command("BUSINESS", "INFO", "stock_quotes")
    assert client.execute_command("CLUSTER_INFO")
