"""TS.RANGE and its kin: buckets, alignment, gaps, filters, several aggregators, joins."""

import pytest

pytestmark = pytest.mark.ticklane_only


def shown(samples):
    """A RESP2 reply of samples whose values are given as they are written."""
    rows = [" ".join([f"*{len(row)}", f":{row[0]}", *(f"+{value}" for value in row[1:])]) for row in samples]
    return " ".join([f"*{len(rows)}", *rows])


@pytest.fixture
def k(wire):
    """A series with a gap: 10..14 and 41..43, value = timestamp / 2."""
    wire("TS.CREATE k")
    for timestamp in (10, 12, 14, 41, 43):
        wire(f"TS.ADD k {timestamp} {timestamp / 2}")
    return wire


def test_bounds(k):
    assert k("TS.RANGE k 12 41") == shown([(12, 6), (14, 7), (41, 20.5)])
    assert k("TS.RANGE k - 12") == shown([(10, 5), (12, 6)])
    assert k("TS.RANGE k 41 +") == shown([(41, 20.5), (43, 21.5)])
    assert k("TS.RANGE k 41 12") == "*0"
    assert k("TS.REVRANGE k 12 41") == shown([(41, 20.5), (14, 7), (12, 6)])
    assert k("TS.RANGE k - + COUNT 2") == shown([(10, 5), (12, 6)])
    assert k("TS.REVRANGE k - + COUNT 2") == shown([(43, 21.5), (41, 20.5)])


def test_filters(k):
    assert k("TS.RANGE k - + FILTER_BY_TS 10 14 99 10") == shown([(10, 5), (14, 7)])
    assert k("TS.RANGE k 11 + FILTER_BY_TS 10 14") == shown([(14, 7)])
    assert k("TS.RANGE k - + FILTER_BY_VALUE 6 20.5") == shown([(12, 6), (14, 7), (41, 20.5)])
    assert k("TS.RANGE k - + FILTER_BY_TS 10 12 41 FILTER_BY_VALUE 6 30 COUNT 1") == shown([(12, 6)])
    assert k("TS.RANGE k - + FILTER_BY_VALUE 6 21 AGGREGATION count 10") == shown([(10, 2), (40, 1)])
    assert k("TS.REVRANGE k - + FILTER_BY_TS 10 14") == shown([(14, 7), (10, 5)])
    assert k("TS.RANGE k - + FILTER_BY_TS " + " ".join(map(str, range(128)))) == k("TS.RANGE k - +")


def test_buckets(k):
    assert k("TS.RANGE k - + AGGREGATION sum 10") == shown([(10, 18), (40, 42)])
    assert k("TS.REVRANGE k - + AGGREGATION sum 10") == shown([(40, 42), (10, 18)])
    assert k("TS.RANGE k - + COUNT 1 AGGREGATION sum 10") == shown([(10, 18)])
    assert k("TS.RANGE k - + AGGREGATION sum 10 COUNT 1") == shown([(10, 18)])
    assert k("TS.REVRANGE k - + AGGREGATION sum 10 COUNT 1") == shown([(40, 42)])
    assert k("TS.RANGE k 12 + AGGREGATION sum 10") == shown([(10, 13), (40, 42)])


def test_alignment(k):
    assert k("TS.RANGE k 12 43 ALIGN start AGGREGATION count 10") == shown([(12, 2), (32, 1), (42, 1)])
    assert k("TS.RANGE k 12 43 ALIGN - AGGREGATION count 10") == shown([(12, 2), (32, 1), (42, 1)])
    assert k("TS.RANGE k 12 43 ALIGN end AGGREGATION count 10") == shown([(3, 1), (13, 1), (33, 1), (43, 1)])
    assert k("TS.RANGE k 12 43 ALIGN + AGGREGATION count 10") == shown([(3, 1), (13, 1), (33, 1), (43, 1)])
    assert k("TS.RANGE k - + ALIGN 3 AGGREGATION count 10") == shown([(3, 2), (13, 1), (33, 1), (43, 1)])
    assert k("TS.RANGE k - + ALIGN 0 AGGREGATION count 10") == shown([(10, 3), (40, 2)])
    assert k("TS.RANGE k - + AGGREGATION count 10 ALIGN 0") == shown([(10, 3), (40, 2)])
    k("TS.ADD k 1 1")
    assert k("TS.RANGE k 0 5 ALIGN 3 AGGREGATION count 10") == shown([(0, 1)]), "no bucket begins below 0"
    assert k("TS.RANGE k 0 5 ALIGN 3 AGGREGATION count 10 BUCKETTIMESTAMP end") == shown([(10, 1)])


@pytest.mark.parametrize(("word", "shift"), [("-", 0), ("start", 0), ("+", 10), ("END", 10), ("~", 5), ("Mid", 5)])
def test_bucket_timestamps(k, word, shift):
    expected = shown([(10 + shift, 3), (40 + shift, 2)])
    assert k(f"TS.RANGE k - + AGGREGATION count 10 BUCKETTIMESTAMP {word}") == expected
    reverse = shown([(40 + shift, 2), (10 + shift, 3)])
    assert k(f"TS.REVRANGE k - + AGGREGATION count 10 BUCKETTIMESTAMP {word}") == reverse


def test_gaps(k):
    k("TS.ADD k 71 8")
    starts = (10, 20, 30, 40, 50, 60, 70)
    expected = {
        "sum": (18, 0, 0, 42, 0, 0, 8),
        "count": (3, 0, 0, 2, 0, 0, 1),
        "countall": (3, 0, 0, 2, 0, 0, 1),
        "last": (7, 7, 7, 21.5, 21.5, 21.5, 8),
        "max": (7, "NaN", "NaN", 21.5, "NaN", "NaN", 8),
        "first": (5, "NaN", "NaN", 20.5, "NaN", "NaN", 8),
        "avg": (6, "NaN", "NaN", 21, "NaN", "NaN", 8),
        "range": (2, "NaN", "NaN", 1, "NaN", "NaN", 0),
        "std.s": (1, "NaN", "NaN", None, "NaN", "NaN", 0),
    }
    for aggregator, values in expected.items():
        reply = k(f"TS.RANGE k - + AGGREGATION {aggregator} 10 EMPTY")
        rows = list(zip(starts, values, strict=True))
        if None not in values:
            assert (aggregator, reply) == (aggregator, shown(rows))
            reverse = k(f"TS.REVRANGE k - + AGGREGATION {aggregator} 10 EMPTY")
            assert (aggregator, reverse) == (aggregator, shown(rows[::-1]))
        assert reply.startswith("*7 ")
    assert k("TS.RANGE k 0 100 AGGREGATION count 10 EMPTY").startswith("*7 *2 :10 "), "none at the edges"
    assert k("TS.RANGE k - + AGGREGATION count 10 BUCKETTIMESTAMP mid EMPTY").startswith("*7 *2 :15 ")
    assert k("TS.RANGE k - + AGGREGATION count 10 EMPTY BUCKETTIMESTAMP mid").startswith("*7 *2 :15 ")
    assert k("TS.RANGE k - + COUNT 3 AGGREGATION count 10 EMPTY") == shown([(10, 3), (20, 0), (30, 0)])


EMPTY_VALUES = {"sum": 0, "count": 0, "countnan": 0, "countall": 0, "last": 4}


@pytest.fixture
def gapped(wire):
    """Samples at 15, 17, 51, 73 and 75."""
    for timestamp, value in [(15, 1), (17, 4), (51, 3), (73, 5), (75, 3)]:
        wire(f"TS.ADD g {timestamp} {value} LABELS l v")
    return wire


def both_ways(wire, query, rows):
    """Whether a range, its reverse and both over labels have these rows."""
    assert wire(f"TS.RANGE g {query}") == shown(rows), query
    assert wire(f"TS.REVRANGE g {query}") == shown(rows[::-1]), query
    assert wire(f"TS.MRANGE {query} FILTER l=v") == '*1 *3 "g" *0 ' + shown(rows)
    assert wire(f"TS.MREVRANGE {query} FILTER l=v") == '*1 *3 "g" *0 ' + shown(rows[::-1])
    if rows:
        assert wire(f"TS.RANGE g {query} COUNT 1") == shown(rows[:1])
        assert wire(f"TS.REVRANGE g {query} COUNT 1") == shown(rows[:-2:-1])


@pytest.mark.parametrize("aggregator", ["sum", "count", "countall", "countnan", "last", "min", "avg", "first", "std.s"])
def test_gaps_at_the_edges(gapped, aggregator):
    """Buckets at the edges of a range are reported as long as there are samples on both sides of them."""
    nothing = EMPTY_VALUES.get(aggregator, "NaN")
    query = f"AGGREGATION {aggregator} 10 EMPTY"
    both_ways(gapped, f"20 49 {query}", [(20, nothing), (30, nothing), (40, nothing)])
    both_ways(gapped, f"22 22 {query}", [(20, nothing)])
    both_ways(gapped, f"22 30 {query} BUCKETTIMESTAMP +", [(30, nothing), (40, nothing)])
    both_ways(gapped, f"0 9 {query}", [])
    both_ways(gapped, f"80 99 {query}", [])
    both_ways(gapped, f"49 20 {query}", [])
    inner = gapped(f"TS.RANGE g 20 70 {query}")
    assert inner.startswith(f"*6 *2 :20 +{nothing} *2 :30 +{nothing} *2 :40 +{nothing} *2 :50 ")
    assert gapped(f"TS.RANGE g 0 65 {query}").startswith("*6 *2 :10 ")
    assert gapped(f"TS.RANGE g 52 100 {query}").startswith("*3 *2 :50 ")
    assert gapped(f"TS.REVRANGE g 52 100 {query}").startswith("*3 *2 :70 ")


def test_gaps_at_the_edges_keep_to_the_filters(gapped):
    both_ways(gapped, "20 49 FILTER_BY_VALUE 5 9 AGGREGATION sum 10 EMPTY", [])
    both_ways(gapped, "20 49 FILTER_BY_VALUE 1 3 AGGREGATION last 10 EMPTY", [(20, 1), (30, 1), (40, 1)])
    both_ways(gapped, "20 39 FILTER_BY_TS 17 51 AGGREGATION last 10 EMPTY", [(20, 4), (30, 4)])
    both_ways(gapped, "20 39 FILTER_BY_TS 51 73 AGGREGATION last 10 EMPTY", [])
    both_ways(gapped, "- + FILTER_BY_TS 16 17 AGGREGATION twa 10", [(10, 4)])
    both_ways(gapped, "- + FILTER_BY_VALUE 4 4 AGGREGATION twa 10", [(10, 4)])
    assert gapped("TS.RANGE g 16 60 FILTER_BY_VALUE 3 3 AGGREGATION twa 100") == "*1 *2 :0 +3"


def test_time_weighted_average(wire):
    for timestamp, value in [(0, 0), (10, 10), (30, 30)]:
        wire(f"TS.ADD k {timestamp} {value}")
    assert wire("TS.RANGE k - + AGGREGATION twa 10 EMPTY").startswith("*4 *2 :0 +5 *2 :10 +15 *2 :20 +25 *2 :30 +")
    wire("TS.ADD one 15 7")
    assert wire("TS.RANGE one - + AGGREGATION twa 10") == "*1 *2 :10 +7"


def test_one_sample(wire):
    wire("TS.ADD k 5 4")
    for aggregator, value in {"std.p": 0, "std.s": 0, "var.p": 0, "var.s": 0, "range": 0, "twa": 4, "avg": 4}.items():
        assert wire(f"TS.RANGE k - + AGGREGATION {aggregator} 10") == f"*1 *2 :0 +{value}"


def test_nan(wire):
    for timestamp, value in [(1, "nan"), (2, 4), (3, "nan"), (4, 8), (11, "nan")]:
        wire(f"TS.ADD k {timestamp} {value}")
    expected = {"avg": 6, "sum": 12, "min": 4, "max": 8, "range": 4, "count": 2, "first": 4, "last": 8, "var.p": 4}
    for aggregator, value in expected.items():
        assert wire(f"TS.RANGE k 0 9 AGGREGATION {aggregator} 10") == f"*1 *2 :0 +{value}"
    assert wire("TS.RANGE k - + AGGREGATION countnan 10") == "*2 *2 :0 +2 *2 :10 +1"
    assert wire("TS.RANGE k - + AGGREGATION countall 10") == "*2 *2 :0 +4 *2 :10 +1"
    assert wire("TS.RANGE k - + AGGREGATION count,countnan,countall 10") == "*2 *4 :0 +2 +2 +4 *4 :10 +0 +1 +1"
    assert wire("TS.RANGE k - + AGGREGATION max 10") == "*1 *2 :0 +8", "only NaN is nothing to speak of"


def test_several_aggregators(k):
    assert k("TS.RANGE k - + AGGREGATION min,max,avg,COUNT 10") == shown([(10, 5, 7, 6, 3), (40, 20.5, 21.5, 21, 2)])
    assert k("TS.RANGE k - + AGGREGATION sum,last 10 EMPTY") == shown(
        [(10, 18, 7), (20, 0, 7), (30, 0, 7), (40, 42, 21.5)]
    )
    names = "avg,sum,min,max,range,count,first,last,std.p,std.s,var.p,var.s,twa,countnan,countall"
    assert k(f"TS.RANGE k - + AGGREGATION {names} 10").startswith("*2 *16 :10 +6 +18 +5 +7 +2 +3 +5 +7 ")


def test_first_and_last_are_chronological_in_reverse(k):
    assert k("TS.REVRANGE k - + AGGREGATION first,last 10") == shown([(40, 20.5, 21.5), (10, 5, 7)])


def test_numbered_ranges(k):
    k("TS.ADD other 12 1")
    k("TS.ADD other 13 2")
    k("TS.ADD iot_third 41 3")
    rows = "*6 *2 :10 *3 +5 +NaN +NaN *2 :12 *3 +6 +1 +NaN *2 :13 *3 +NaN +2 +NaN *2 :14 *3 +7 +NaN +NaN "
    rows += "*2 :41 *3 +20.5 +NaN +3 *2 :43 *3 +21.5 +NaN +NaN"
    assert k("TS.NRANGE 3 k other iot_third - +") == rows
    assert k("TS.NREVRANGE 3 k other iot_third - + COUNT 1") == "*1 *2 :43 *3 +21.5 +NaN +NaN"
    reply = k("TS.NRANGE 2 k other - + AGGREGATION min,max count 10")
    assert reply == "*2 *2 :10 *3 +5 +7 +2 *2 :40 *3 +20.5 +21.5 +NaN"
    assert k("TS.NRANGE 2 k k 10 10") == "*1 *2 :10 *2 +5 +5"
    assert k("TS.NRANGE 1 k - + FILTER_BY_VALUE 6 7") == "*2 *2 :12 *1 +6 *2 :14 *1 +7"
    assert k("TS.NRANGE 1 k - + FILTER_BY_TS 12 41") == "*2 *2 :12 *1 +6 *2 :41 *1 +20.5"


def test_get_at_and_join(k):
    assert k("TS.GETAT k 13 PREV") == "*2 :12 +6"
    assert k("TS.GETAT k 13 NEXT") == "*2 :14 +7"
    assert k("TS.GETAT k 40 NEAREST") == "*2 :41 +20.5"
    assert k("TS.GETAT k 30 PREV TOLERANCE 5") == "*0"
    k("TS.ADD iot_right 11 1")
    k("TS.ADD iot_right 40 2")
    k("TS.ADD iot_right 41 3")
    assert k("TS.JOIN k iot_right - +") == shown([(41, 20.5, 3)])
    assert k("TS.JOIN k iot_right - + ASOF PREV TOLERANCE 2") == shown(
        [(10, 5, "NaN"), (12, 6, 1), (14, 7, "NaN"), (41, 20.5, 3), (43, 21.5, 3)]
    )
    assert k("TS.JOIN k iot_right 12 20 ASOF PREV").startswith("*2 *3 :12 +6 +1 *3 :14 +7 +1")


def test_many_samples_are_the_same_in_pieces(wire):
    """Over several sealed chunks every aggregation is that of the plain samples."""
    wire("TS.CREATE k DUPLICATE_POLICY LAST")
    values = [(at * 7, (at * 37 % 101) - 50) for at in range(3000)]
    for start in range(0, len(values), 500):
        wire("TS.MADD", *(word for at, value in values[start : start + 500] for word in ("k", at, value)))
    late = [(at * 7 + 3, 1000 + at) for at in range(0, 3000, 97)]
    wire("TS.MADD", *(word for at, value in late for word in ("k", at, value)))
    samples = sorted(values + late)
    assert wire("TS.RANGE k - +") == shown(samples)
    assert wire("TS.REVRANGE k 1000 9000 COUNT 700") == shown(
        [sample for sample in reversed(samples) if 1000 <= sample[0] <= 9000][:700]
    )
    for bucket in (10, 1000, 100_000):
        starts = sorted({at - at % bucket for at, _ in samples})
        rows = []
        for start in starts:
            inside = [value for at, value in samples if start <= at < start + bucket]
            rows.append((start, min(inside), max(inside), sum(inside), len(inside), inside[0], inside[-1]))
        assert wire(f"TS.RANGE k - + AGGREGATION min,max,sum,count,first,last {bucket}") == shown(rows)
        assert wire(f"TS.REVRANGE k - + AGGREGATION min,max,sum,count,first,last {bucket}") == shown(rows[::-1])


def test_means_of_large_values(wire):
    largest = "1.7976931348623157E308"
    for timestamp in range(1, 4):
        wire(f"TS.ADD k {timestamp} {largest} LABELS l v")
    assert wire("TS.RANGE k - + AGGREGATION avg,sum,max 10") == f"*1 *4 :0 +{largest} +Infinity +{largest}"
    wire(f"TS.ADD other 1 {largest} LABELS l v")
    assert wire("TS.MRANGE 1 1 FILTER l=v GROUPBY l REDUCE avg") == f'*1 *3 "l=v" *0 *1 *2 :1 +{largest}'
