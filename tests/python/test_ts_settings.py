"""Settings of the configuration that change what the TS commands do, and ports that serve one business."""

import pytest
import redis
from server import Server, free_ports
from wire import Wire

pytestmark = pytest.mark.ticklane_only


@pytest.fixture(scope="module", params=[1, 4], ids=["1lane", "4lanes"])
def configured(request):
    """A server with everything that is off by default, and a port for one business."""
    port = free_ports(1)
    settings = (
        "timeseries.madd_creates=true",
        "timeseries.chained_rules=true",
        "timeseries.duplicate_policy=last",
        "timeseries.compaction_policy=sum:10m:0m",
        "business.order_data.time_unit=s",
        "business.sms_delivery.retention=100 s",
        f"business.iot_data.port={port}",
    )
    server = Server(lanes=request.param, settings=settings)
    server.iot_port = port
    yield server
    assert server.stop() == 0


@pytest.fixture
def wire(configured):
    """A connection to it, with an empty keyspace."""
    with Wire(configured.port) as wire:
        assert wire("FLUSHALL") == "+OK"
        yield wire


def test_madd_creates(wire):
    assert wire("TS.MADD new 1 1 iot_new 1 1 new 2 2") == "*3 :1 :1 :2"
    assert wire("TS.RANGE new - +") == "*2 *2 :1 +1 *2 :2 +2"


def test_duplicate_policy(wire):
    assert wire("TS.MADD k 1 1 k 1 5") == "*2 :1 :1"
    assert wire("TS.GET k") == "*2 :1 +5"


def test_compaction_policy_of_the_configuration(wire):
    wire("TS.ADD k 1 1")
    wire("TS.ADD k 11 2")
    assert wire("TS.RANGE k_SUM_10 - +") == "*1 *2 :0 +1"
    assert wire("CONFIG GET ts-compaction-policy") == '*2 "ts-compaction-policy" "sum:10m:0d"'


def test_chains(wire):
    for key in ("a", "iot_b", "stock_c"):
        wire(f"TS.CREATE {key}")
    assert wire("TS.CREATERULE a iot_b AGGREGATION sum 10") == "+OK"
    assert wire("TS.CREATERULE iot_b stock_c AGGREGATION sum 100") == "+OK"
    wire("TS.MADD " + " ".join(f"a {at} 1" for at in range(0, 300, 5)))
    assert wire("TS.RANGE iot_b 0 20") == "*3 *2 :0 +2 *2 :10 +2 *2 :20 +2"
    assert wire("TS.RANGE stock_c - +") == "*2 *2 :0 +20 *2 :100 +20"
    wire("TS.ADD a 7 5")
    assert wire("TS.RANGE stock_c - +") == "*2 *2 :0 +25 *2 :100 +20"


def test_seconds(wire):
    assert wire("TS.CREATE order_k RETENTION 1h LABELS l v") == "+OK"
    assert "+retentionTime :3600 " in wire("TS.INFO order_k")
    wire("TS.ADD order_k 60 1")
    wire("TS.ADD order_k 119 2")
    wire("TS.CREATE k LABELS l v")
    wire("TS.ADD k 60000 1")
    wire("TS.ADD k 119000 2")
    assert wire("TS.MRANGE - + AGGREGATION sum 1m FILTER l=v") == (
        '*2 *3 "k" *0 *1 *2 :60000 +3 *3 "order_k" *0 *1 *2 :60 +3'
    )
    stored = int(wire("TS.ADD order_k * 1")[1:])
    assert 1_600_000_000 < stored < 5_000_000_000


def test_retention_of_a_business(wire):
    wire("TS.ADD sms_k 1000 1")
    assert wire("TS.ADD sms_k 200000 1") == ":200000"
    assert wire("TS.RANGE sms_k - +") == "*1 *2 :200000 +1"
    assert "+retentionTime :100000 " in wire("TS.INFO sms_k")


def test_a_business_port_sees_its_own_series(configured, wire):
    wire("TS.CREATE iot_k LABELS l v")
    wire("TS.CREATE stock_k LABELS l v")
    wire("TS.ADD iot_k 1 1")
    with redis.Redis(port=configured.iot_port, decode_responses=True) as iot:
        assert iot.ts().queryindex(["l=v"]) == ["iot_k"]
        assert iot.ts().mget(["l=v"]) == [{"iot_k": [{}, 1, 1.0]}]
        assert iot.execute_command("TS.QUERYLABELS", "LABELS") == ["l"]
        with pytest.raises(redis.ResponseError):
            iot.ts().add("stock_k", 1, 1)
        with pytest.raises(redis.ResponseError):
            iot.ts().createrule("iot_k", "stock_k", "avg", 10)
    assert wire("TS.QUERYINDEX l=v") == '*2 "iot_k" "stock_k"'
