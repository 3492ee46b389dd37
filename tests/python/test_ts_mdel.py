"""TS.MDEL of series that rules connect: as TS.DEL for one key after another, in their order, would."""

import pytest
from test_ts_rule_changes import chained, in_multi  # noqa: F401 (a fixture)

pytestmark = pytest.mark.ticklane_only

# From source to destination, in the order of the keys and against it, within a lane and across lanes.
CHAINS = [
    ("a", "b"),
    ("b", "a"),
    ("iot_a", "stock_b"),
    ("stock_b", "iot_a"),
    ("a", "b", "c"),
    ("c", "b", "a"),
    ("b", "c", "a"),
    ("iot_a", "order_b", "stock_c"),
    ("stock_c", "order_b", "iot_a"),
    ("order_b", "stock_c", "iot_a"),
]
# Sources whose destinations do not match, and one without rules.
OTHERS = ["d", "iot_e", "stock_f"]
RANGE = "15 264"


def build(wire, keys):
    assert wire("FLUSHALL") == "+OK"
    for key in [*keys, *OTHERS]:
        assert wire(f"TS.CREATE {key} LABELS fleet x") == "+OK"
    for number, (source, destination) in enumerate(zip(keys, keys[1:], strict=False)):
        assert wire(f"TS.CREATERULE {source} {destination} AGGREGATION sum {10 + 40 * number}") == "+OK"
    for source in OTHERS[:2]:
        assert wire(f"TS.CREATE {source}_hidden") == "+OK"
        assert wire(f"TS.CREATERULE {source} {source}_hidden AGGREGATION count 10") == "+OK"
    for at in range(0, 401, 3):
        for key in [keys[0], *OTHERS]:
            assert wire(f"TS.ADD {key} {at} {at}") == f":{at}"


def state(wire, keys):
    hidden = [f"{source}_hidden" for source in OTHERS[:2]]
    return {key: wire(f"TS.RANGE {key} - +") for key in [*keys, *OTHERS, *hidden]}


@pytest.mark.parametrize("keys", CHAINS, ids="-".join)
def test_as_one_deletion_after_another(wire, chained, keys):  # noqa: F811
    build(wire, keys)
    replies = {key: wire(f"TS.DEL {key} {RANGE}") for key in sorted([*keys, *OTHERS])}
    count = sum(int(reply.removeprefix(":")) for reply in replies.values())
    expected = state(wire, keys)
    for _ in range(3):
        build(wire, keys)
        assert wire(f"TS.MDEL {RANGE} FILTER fleet=x") == f":{count}", replies
        assert state(wire, keys) == expected
    build(wire, keys)
    lines = [f"TS.MDEL {RANGE} FILTER fleet=x", f"TS.RANGE {keys[-1]} - +"]
    assert in_multi(wire, *lines) == f"*2 :{count} {expected[keys[-1]]}"
    assert state(wire, keys) == expected
