"""Filters by label, TS.MGET, TS.MRANGE and groups, over keys of several lanes and businesses."""

import pytest

pytestmark = pytest.mark.ticklane_only

# Two hosts per region and two metrics; keys of several businesses, so that they live on different lanes.
SERIES = {
    "cpu_1": {"host": "a", "region": "eu", "metric": "cpu"},
    "iot_cpu_2": {"host": "b", "region": "eu", "metric": "cpu"},
    "stock_cpu_3": {"host": "c", "region": "us", "metric": "cpu"},
    "mem_1": {"host": "a", "region": "eu", "metric": "mem"},
    "order_mem_2": {"host": "b", "region": "eu", "metric": "mem"},
    "sms_bare": {"metric": "cpu"},
}


@pytest.fixture
def fleet(wire):
    """Every series has samples at 0, 10, 20: its number, and 10 and 20 more."""
    for number, (key, labels) in enumerate(SERIES.items()):
        wire("TS.CREATE", key, "LABELS", *(word for label in labels.items() for word in label))
        wire("TS.MADD", *(word for at in (0, 10, 20) for word in (key, at, number + at)))
    return wire


def keys(*names):
    """A RESP2 array of keys."""
    return " ".join([f"*{len(names)}", *(f'"{name}"' for name in sorted(names))])


FILTERS = {
    "metric=mem": ("mem_1", "order_mem_2"),
    "metric=cpu region=eu": ("cpu_1", "iot_cpu_2"),
    "metric=cpu region!=eu": ("stock_cpu_3", "sms_bare"),
    "metric=cpu region!=": ("cpu_1", "iot_cpu_2", "stock_cpu_3"),
    "metric=cpu region=": ("sms_bare",),
    "region=(eu,us) metric=cpu": ("cpu_1", "iot_cpu_2", "stock_cpu_3"),
    "metric=(cpu,mem) host!=(a,b)": ("stock_cpu_3", "sms_bare"),
    "metric=('cpu',\"mem\") host=a": ("cpu_1", "mem_1"),
    "metric=cpu host=~[ab]": ("cpu_1", "iot_cpu_2"),
    "metric=cpu host!~[ab]": ("stock_cpu_3", "sms_bare"),
    "metric=(cpu,mem) region=~e.|us host=~a|c": ("cpu_1", "mem_1", "stock_cpu_3"),
    "metric=(nope)": (),
    "metric=()": (),
    "metric=cpu metric=mem": (),
    "Metric=cpu": (),
    "metric=CPU": (),
}


@pytest.mark.parametrize("expressions", FILTERS)
def test_filters(fleet, expressions):
    found = FILTERS[expressions]
    assert fleet(f"TS.QUERYINDEX {expressions}") == keys(*found)
    expected = [f'*3 "{key}" *0 *2 :20 +{20 + list(SERIES).index(key)}' for key in sorted(found)]
    assert fleet(f"TS.MGET FILTER {expressions}") == " ".join([f"*{len(found)}", *expected])
    expected = [f'*3 "{key}" *0 *1 *2 :0 +{list(SERIES).index(key)}' for key in sorted(found)]
    assert fleet(f"TS.MRANGE - 5 FILTER {expressions}") == " ".join([f"*{len(found)}", *expected])
    values = {value for key in found for name, value in SERIES[key].items() if name == "host"}
    assert fleet(f"TS.QUERYLABELS VALUES host FILTER {expressions}") == keys(*values)


def test_words_in_any_case(fleet):
    expected = fleet("TS.MRANGE - + WITHLABELS FILTER metric=cpu")
    assert fleet("ts.mrange - + withlabels filter metric=cpu") == expected
    assert fleet("TS.MRange 0 + WithLabels Filter metric=cpu") == expected


def test_selected_labels(fleet):
    assert fleet("TS.MGET SELECTED_LABELS region host FILTER metric=cpu host=(a)") == (
        '*1 *3 "cpu_1" *2 *2 "region" "eu" *2 "host" "a" *2 :20 +20'
    )
    assert fleet("TS.MGET SELECTED_LABELS REGION FILTER metric=cpu host=a") == (
        '*1 *3 "cpu_1" *1 *2 "region" "eu" *2 :20 +20'
    ), "names are found in any case and shown as the series has them"
    assert fleet("TS.MGET SELECTED_LABELS REGION NoNe FILTER metric=cpu host=a") == (
        '*1 *3 "cpu_1" *2 *2 "region" "eu" *2 "NoNe" $-1 *2 :20 +20'
    )
    assert fleet("TS.MRANGE - 5 SELECTED_LABELS region FILTER metric=cpu region=") == (
        '*1 *3 "sms_bare" *1 *2 "region" $-1 *1 *2 :0 +5'
    )
    fifty = " ".join(f"l{number}" for number in range(50))
    assert fleet(f"TS.MGET SELECTED_LABELS {fifty} FILTER metric=cpu host=a").startswith('*1 *3 "cpu_1" *50 ')


def test_ranges_with_options(fleet):
    assert fleet("TS.MREVRANGE 5 + COUNT 1 FILTER metric=mem") == (
        '*2 *3 "mem_1" *0 *1 *2 :20 +23 *3 "order_mem_2" *0 *1 *2 :20 +24'
    )
    assert fleet("TS.MRANGE - + FILTER_BY_TS 10 FILTER_BY_VALUE 13 13 FILTER metric=mem") == (
        '*2 *3 "mem_1" *0 *1 *2 :10 +13 *3 "order_mem_2" *0 *0'
    )
    assert fleet("TS.MRANGE - + FILTER_BY_TS 10 FILTER_BY_VALUE 13 13 EXCLUDEEMPTY FILTER metric=mem") == (
        '*1 *3 "mem_1" *0 *1 *2 :10 +13'
    )
    assert fleet("TS.MRANGE 0 20 ALIGN start AGGREGATION sum 20 BUCKETTIMESTAMP end FILTER metric=mem host=a") == (
        '*1 *3 "mem_1" *0 *2 *2 :20 +16 *2 :40 +23'
    )
    assert fleet("TS.MRANGE - + AGGREGATION min,max 100 FILTER metric=mem host=a") == (
        '*1 *3 "mem_1" *0 *1 *3 :0 +3 +23'
    )


REDUCERS = {
    "sum": (6, 36, 66),
    "avg": (2, 12, 22),
    "min": (0, 10, 20),
    "max": (5, 15, 25),
    "range": (5, 5, 5),
    "count": (3, 3, 3),
    "countall": (3, 3, 3),
    "countnan": (0, 0, 0),
    "var.p": None,
    "var.s": None,
    "std.p": None,
    "std.s": None,
}


@pytest.mark.parametrize("reducer", REDUCERS)
def test_reducers(fleet, reducer):
    fleet("TS.ALTER stock_cpu_3 LABELS metric other")
    numbers = (0, 1, 5)
    values = REDUCERS[reducer]
    reply = fleet(f"TS.MRANGE - + WITHLABELS FILTER metric=cpu GROUPBY metric REDUCE {reducer}")
    head = f'*1 *3 "metric=cpu" *3 *2 "metric" "cpu" *2 "__reducer__" "{reducer}" '
    head += '*2 "__source__" "cpu_1,iot_cpu_2,sms_bare" '
    assert reply.startswith(head)
    rows = reply[len(head) :]
    if values is None:
        mean = sum(numbers) / 3
        variance = sum((number - mean) ** 2 for number in numbers) / (3 if reducer.endswith("p") else 2)
        expected = variance**0.5 if reducer.startswith("std") else variance
        found = [float(word[1:]) for word in rows.split(" ") if word.startswith("+")]
        assert found == pytest.approx([expected] * 3)
    else:
        assert rows == "*3 " + " ".join(f"*2 :{at} +{value}" for at, value in zip((0, 10, 20), values, strict=True))


def test_groups(fleet):
    assert fleet("TS.MRANGE - 0 FILTER metric=(cpu,mem) GROUPBY region REDUCE sum") == (
        '*2 *3 "region=eu" *0 *1 *2 :0 +8 *3 "region=us" *0 *1 *2 :0 +2'
    ), "a series without the label is left out"
    assert fleet("TS.MRANGE - + FILTER metric=cpu GROUPBY nope REDUCE sum") == "*0"
    assert fleet("TS.MREVRANGE - + COUNT 1 FILTER metric=mem GROUPBY metric REDUCE max") == (
        '*1 *3 "metric=mem" *0 *1 *2 :20 +24'
    )
    assert fleet("TS.MRANGE - + COUNT 1 FILTER metric=mem GROUPBY metric REDUCE max") == (
        '*1 *3 "metric=mem" *0 *1 *2 :0 +4'
    )
    assert fleet("TS.MRANGE - + AGGREGATION sum 100 FILTER metric=(cpu,mem) GROUPBY metric REDUCE max") == (
        '*2 *3 "metric=cpu" *0 *1 *2 :0 +45 *3 "metric=mem" *0 *1 *2 :0 +42'
    )
    fleet("TS.ADD mem_1 5 100")
    assert fleet("TS.MRANGE - 9 FILTER metric=mem GROUPBY metric REDUCE count") == (
        '*1 *3 "metric=mem" *0 *2 *2 :0 +2 *2 :5 +1'
    )


def test_labels_and_values(fleet):
    assert fleet("TS.QUERYLABELS LABELS") == keys("host", "metric", "region")
    assert fleet("TS.QUERYLABELS VALUES region") == keys("eu", "us")
    assert fleet("TS.QUERYLABELS values nope") == "*0"
    assert fleet("TS.QUERYLABELS LABELS FILTER metric=cpu region=") == keys("metric")
    fleet("DEL stock_cpu_3")
    assert fleet("TS.QUERYLABELS VALUES region") == keys("eu")


def test_by_labels_beyond_the_module(fleet):
    assert fleet("TS.MGETAT 15 PREV FILTER metric=mem") == (
        '*2 *3 "mem_1" *0 *2 :10 +13 *3 "order_mem_2" *0 *2 :10 +14'
    )
    assert fleet("TS.MGETAT 15 NEXT TOLERANCE 2 WITHLABELS FILTER metric=mem host=a") == (
        '*1 *3 "mem_1" *3 *2 "host" "a" *2 "region" "eu" *2 "metric" "mem" *0'
    )
    assert fleet("TS.MDEL 5 15 FILTER metric=mem") == ":2"
    assert fleet("TS.MRANGE - + FILTER metric=mem") == (
        '*2 *3 "mem_1" *0 *2 *2 :0 +3 *2 :20 +23 *3 "order_mem_2" *0 *2 *2 :0 +4 *2 :20 +24'
    )
    assert fleet("TS.MDEL - + FILTER metric=nope") == ":0"


def test_many_series(wire):
    names = [f"{prefix}{number}" for number in range(200) for prefix in ("", "iot_", "finance_")]
    for number, name in enumerate(names):
        wire.send("TS.ADD", name, number, number, "LABELS", "all", "1", "tenth", number % 10, "own", number)
    assert [wire.read() for _ in names] == [f":{number}" for number in range(600)]
    tenth = [name for number, name in enumerate(names) if number % 10 == 3]
    assert wire("TS.QUERYINDEX tenth=3") == keys(*tenth)
    assert wire("TS.QUERYINDEX all=1") == keys(*names)
    assert wire("TS.QUERYINDEX all=1 own=599") == keys(names[599])
    sums = wire("TS.MRANGE - + FILTER all=1 GROUPBY tenth REDUCE count")
    assert sums.startswith('*10 *3 "tenth=0" *0 *60 ')


def test_byte_strings(wire):
    label, value = b"l\xff \r\n", "значение=1!"
    assert wire("TS.CREATE", b"k\x00\xfe", "LABELS", label, value) == "+OK"
    assert wire("TS.QUERYINDEX", label + b"=" + value.encode()).startswith('*1 "k\x00')
    assert wire("TS.QUERYLABELS", "VALUES", label) == f'*1 "{value}"'
