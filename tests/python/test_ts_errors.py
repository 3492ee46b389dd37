"""Every refusal of the TS commands, byte for byte that of RedisTimeSeries 8.10."""

import pytest

pytestmark = pytest.mark.ticklane_only

UPSERT = (
    "-ERR TSDB: Error at upsert, update is not supported when DUPLICATE_POLICY is set to BLOCK mode, or either "
    "current or new value is NaN and DUPLICATE_POLICY is MAX/MIN/SUM"
)

# A command and the text behind `-ERR TSDB: `. `a` has a sample at 1000, `r` goes to `d` by a rule, `s` is a string.
REFUSALS = {
    "TS.ALTER nope RETENTION 5": "the key does not exist",
    "TS.GET nope": "the key does not exist",
    "TS.DEL nope 1 2": "the key does not exist",
    "TS.INFO nope": "the key does not exist",
    "TS.RANGE nope - +": "the key does not exist",
    "TS.REVRANGE nope - +": "the key does not exist",
    "TS.NRANGE 2 a nope - +": "the key does not exist",
    "TS.CREATERULE nope d2 AGGREGATION avg 10": "the key does not exist",
    "TS.CREATERULE a nope AGGREGATION avg 10": "the key does not exist",
    "TS.DELETERULE nope d": "the key does not exist",
    "TS.CREATE a": "key already exists",
    "TS.ADD s 1 1": "the key is not a TSDB key",
    "TS.ADD a 2000 x": "invalid value",
    "TS.ADD a 2000 inf": "invalid value",
    "TS.ADD a 2000 0x10": "invalid value",
    "TS.ADD a 2000 1.": "invalid value",
    "TS.ADD a 2000 .5": "invalid value",
    "TS.ADD a x 1": "invalid timestamp",
    "TS.ADD a 1.5 1": "invalid timestamp",
    "TS.ADD a -1 1": "invalid timestamp, must be a nonnegative integer",
    "TS.INCRBY a 1 TIMESTAMP x": "invalid timestamp",
    "TS.INCRBY a x": "invalid increase/decrease value",
    "TS.DECRBY a x": "invalid increase/decrease value",
    "TS.CREATE n LABELS a (b": "Couldn't parse LABELS",
    "TS.CREATE n LABELS a b,c": "Couldn't parse LABELS",
    "TS.CREATE n RETENTION x": "Couldn't parse RETENTION",
    "TS.CREATE n RETENTION": "Couldn't parse RETENTION",
    "TS.CREATE n CHUNK_SIZE x": "Couldn't parse CHUNK_SIZE",
    "TS.CREATE n CHUNK_SIZE 40": "CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]",
    "TS.CREATE n CHUNK_SIZE 50": "CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]",
    "TS.CREATE n CHUNK_SIZE 1048584": "CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]",
    "TS.CREATE n ENCODING zip": "unknown ENCODING parameter",
    "TS.CREATE n DUPLICATE_POLICY": "Couldn't parse DUPLICATE_POLICY",
    "TS.CREATE n DUPLICATE_POLICY x": "Unknown DUPLICATE_POLICY",
    "TS.ADD a 1000 1 ON_DUPLICATE x": "Unknown DUPLICATE_POLICY",
    "TS.CREATE n IGNORE 5": "Couldn't parse IGNORE",
    "TS.CREATE n IGNORE x 5": "Couldn't parse IGNORE",
    "TS.CREATE n IGNORE -1 5": "IGNORE arguments cannot be negative",
    "TS.CREATE n IGNORE 1 -5": "IGNORE arguments cannot be negative",
    "TS.RANGE a x +": "wrong fromTimestamp",
    "TS.RANGE a - x": "wrong toTimestamp",
    "TS.DEL a x 5": "wrong fromTimestamp",
    "TS.DEL a 5 x": "wrong toTimestamp",
    "TS.MRANGE x + FILTER l=v": "wrong fromTimestamp",
    "TS.MRANGE - x FILTER l=v": "wrong toTimestamp",
    "TS.RANGE a - + AGGREGATION nope 10": "Unknown aggregation type",
    "TS.RANGE a - + AGGREGATION avg,,min 10": "Empty aggregation type in list",
    "TS.RANGE a - + AGGREGATION avg, 10": "Empty aggregation type in list",
    "TS.NRANGE 2 a a - + AGGREGATION avg": "the number of AGGREGATION arguments must be equal to numkeys",
    "TS.NRANGE 2 a a - + AGGREGATION foo 10": "Unknown aggregation type",
    "TS.ALTER nope RETENTION x": "Couldn't parse RETENTION",
    "TS.RANGE a - + AGGREGATION " + ",".join(["avg"] * 16) + " 10": "Too many aggregation types",
    "TS.RANGE a - + AGGREGATION avg 0": "bucketDuration must be greater than zero",
    "TS.RANGE a - + AGGREGATION avg -5": "bucketDuration must be greater than zero",
    "TS.RANGE a - + AGGREGATION avg x": "Couldn't parse AGGREGATION",
    "TS.RANGE a - + AGGREGATION avg": "Couldn't parse AGGREGATION",
    "TS.RANGE a - + COUNT": "COUNT argument is missing",
    "TS.RANGE a - + COUNT x": "Couldn't parse COUNT",
    "TS.RANGE a - + COUNT -1": "Invalid COUNT value",
    "TS.RANGE a - + COUNT 0": "Invalid COUNT value",
    "TS.RANGE a - + ALIGN x AGGREGATION avg 10": "unknown ALIGN parameter",
    "TS.RANGE a - + ALIGN 5": "ALIGN parameter can only be used with AGGREGATION",
    "TS.RANGE a - + ALIGN start AGGREGATION avg 10": "start alignment can only be used with explicit start timestamp",
    "TS.RANGE a - + ALIGN - AGGREGATION avg 10": "start alignment can only be used with explicit start timestamp",
    "TS.RANGE a 0 + ALIGN end AGGREGATION avg 10": "end alignment can only be used with explicit end timestamp",
    "TS.RANGE a 0 + ALIGN + AGGREGATION avg 10": "end alignment can only be used with explicit end timestamp",
    "TS.RANGE a - + AGGREGATION avg 10 BUCKETTIMESTAMP x": "unknown BUCKETTIMESTAMP parameter",
    "TS.RANGE a - + AGGREGATION avg 10 BUCKETTIMESTAMP middle": "unknown BUCKETTIMESTAMP parameter",
    "TS.RANGE a - + BUCKETTIMESTAMP + AGGREGATION avg 10": "BUCKETTIMESTAMP flag should be the 3rd or 4th flag after "
    "AGGREGATION flag",
    "TS.RANGE a - + EMPTY AGGREGATION avg 10": "EMPTY flag should be the 3rd or 5th flag after AGGREGATION flag",
    "TS.RANGE a - + FILTER_BY_VALUE 1": "FILTER_BY_VALUE one or more arguments are missing",
    "TS.RANGE a - + FILTER_BY_VALUE": "FILTER_BY_VALUE one or more arguments are missing",
    "TS.RANGE a - + FILTER_BY_VALUE x 1": "Couldn't parse MIN",
    "TS.RANGE a - + FILTER_BY_VALUE 1 x": "Couldn't parse MAX",
    "TS.RANGE a - + FILTER_BY_TS": "FILTER_BY_TS one or more arguments are missing",
    "TS.MRANGE - + COUNT 5": "missing FILTER argument",
    "TS.MRANGE - + FILTER": "missing labels for filter argument",
    "TS.MGET WITHLABELS FILTER": "please provide at least one matcher",
    "TS.MRANGE - + FILTER l": "failed parsing labels",
    "TS.QUERYINDEX l": "failed parsing labels",
    "TS.QUERYINDEX l=(a": "failed parsing labels",
    "TS.MRANGE - + FILTER l=v EXCLUDEEMPTY": "failed parsing labels",
    "TS.QUERYINDEX l!=v": "please provide at least one matcher",
    "TS.QUERYINDEX l=": "please provide at least one matcher",
    "TS.MGET FILTER l!=": "please provide at least one matcher",
    "TS.MRANGE - + FILTER l!=(a,b)": "please provide at least one matcher",
    "TS.MGET WITHLABELS SELECTED_LABELS l FILTER l=v": "cannot accept WITHLABELS and SELECT_LABELS together",
    "TS.MRANGE - + WITHLABELS SELECTED_LABELS l FILTER l=v": "cannot accept WITHLABELS and SELECT_LABELS together",
    "TS.MRANGE - + SELECTED_LABELS FILTER l=v": "SELECT_LABELS should have at least 1 parameter",
    "TS.MRANGE - + SELECTED_LABELS " + " ".join(f"l{n}" for n in range(51)) + " FILTER l=v": "reached max size for "
    "SELECT_LABELS",
    "TS.MRANGE - + GROUPBY l REDUCE max FILTER l=v": "GROUPBY should always come after filter",
    "TS.MRANGE - + FILTER l=v GROUPBY l REDUCE nope": "Invalid reducer type",
    "TS.MRANGE - + FILTER l=v GROUPBY l REDUCE first": "Invalid reducer type",
    "TS.MRANGE - + FILTER l=v GROUPBY l REDUCE last": "Invalid reducer type",
    "TS.MRANGE - + FILTER l=v GROUPBY l REDUCE twa": "Invalid reducer type",
    "TS.MRANGE - + AGGREGATION min,max 10 FILTER l=v GROUPBY l REDUCE max": "GROUPBY is not allowed when multiple "
    "aggregators are specified",
    "TS.MRANGE - + EXCLUDEEMPTY FILTER l=v GROUPBY l REDUCE max": "EXCLUDEEMPTY is not allowed with GROUPBY",
    "TS.NRANGE 0 a - +": "numkeys must be a positive integer",
    "TS.NRANGE x a - +": "numkeys must be a positive integer",
    "TS.NRANGE -1 a - +": "numkeys must be a positive integer",
    "TS.NRANGE 2 a d - + AGGREGATION avg 10": "the number of AGGREGATION arguments must be equal to numkeys",
    "TS.CREATERULE a d2 AGGREGATION avg,min 10": "CREATERULE requires exactly one aggregation type",
    "TS.CREATERULE a d2 AGGREGATION nope 10": "Unknown aggregation type",
    "TS.CREATERULE a d2 AGGREGATION avg 0": "bucketDuration must be greater than zero",
    "TS.CREATERULE a d2 AGGREGATION avg x": "Couldn't parse AGGREGATION",
    "TS.CREATERULE a d2 AGGREGATION avg 10 x": "Couldn't parse alignTimestamp",
    "TS.CREATERULE a d2 AGGREGATION avg 10 -1": "alignTimestamp should be greater or equal to 0",
    "TS.CREATERULE a a AGGREGATION avg 10": "the source key and destination key should be different",
    "TS.CREATERULE d a AGGREGATION avg 10": "the source key already has a source rule",
    "TS.CREATERULE a r AGGREGATION avg 10": "the destination key already has a dst rule",
    "TS.CREATERULE a d AGGREGATION avg 10": "the destination key already has a src rule",
    "TS.DELETERULE a d": "compaction rule does not exist",
    "TS.GET a X": "wrong 3rd argument",
    "TS.QUERYLABELS NAMES": "unknown subtype, must be one of LABELS|VALUES",
    "TS.QUERYLABELS LABELS WHERE l=v": "unknown argument, expected FILTER",
    "TS.QUERYLABELS LABELS FILTER": "FILTER given with no filter expressions",
}

WITHOUT_ERR = {
    "TS.INCRBY a 1 TIMESTAMP 999": "TSDB: timestamp must be equal to or higher than the maximum existing timestamp",
    "TS.DECRBY a 1 TIMESTAMP 5": "TSDB: timestamp must be equal to or higher than the maximum existing timestamp",
    "TS.CREATE n RETENTION -1": "TSDB: Couldn't parse RETENTION",
}

WRONG_TYPE = [
    "TS.ALTER s RETENTION 5",
    "TS.INCRBY s 1",
    "TS.DECRBY s 1",
    "TS.DEL s 1 2",
    "TS.GET s",
    "TS.RANGE s - +",
    "TS.REVRANGE s - +",
    "TS.NRANGE 2 a s - +",
    "TS.INFO s",
    "TS.CREATERULE s d2 AGGREGATION avg 10",
    "TS.CREATERULE a s AGGREGATION avg 10",
    "TS.DELETERULE s d",
]

ARITIES = [
    "TS.CREATE",
    "TS.ALTER",
    "TS.ADD a 1",
    "TS.MADD a 1",
    "TS.MADD a 1 2 b 3",
    "TS.INCRBY a",
    "TS.DECRBY a",
    "TS.DEL a 1",
    "TS.DEL a 1 2 3",
    "TS.GET",
    "TS.MGET FILTER",
    "TS.MGET WITHLABELS a b",
    "TS.MRANGE - + FILTER l=v GROUPBY l REDUCE",
    "TS.MRANGE - + FILTER l=v GROUPBY l REDUCE max COUNT 1",
    "TS.RANGE a -",
    "TS.REVRANGE a -",
    "TS.MRANGE - +",
    "TS.MREVRANGE - +",
    "TS.NRANGE 1 a -",
    "TS.NREVRANGE 1 a -",
    "TS.CREATERULE a b AGGREGATION avg",
    "TS.DELETERULE a",
    "TS.DELETERULE a b c",
    "TS.INFO",
    "TS.QUERYINDEX",
    "TS.QUERYLABELS",
]


@pytest.fixture
def filled(wire):
    """The keys that the tables speak of."""
    for line in ("TS.ADD a 1000 1", "TS.CREATE r", "TS.CREATE d", "TS.CREATE d2", "SET s 1"):
        assert not wire(line).startswith("-"), line
    assert wire("TS.CREATERULE r d AGGREGATION avg 10") == "+OK"
    return wire


def test_refusals(filled):
    wrong = []
    for line, text in REFUSALS.items():
        reply = filled(line)
        if reply != f"-ERR TSDB: {text}":
            wrong.append(f"{line}: {reply}, not {text}")
    assert not wrong, "\n".join(wrong)


def test_refusals_without_err(filled):
    assert {line: filled(line) for line in WITHOUT_ERR} == {line: f"-{text}" for line, text in WITHOUT_ERR.items()}


def test_wrong_type(filled):
    expected = "-WRONGTYPE Operation against a key holding the wrong kind of value"
    assert {line: filled(line) for line in WRONG_TYPE} == dict.fromkeys(WRONG_TYPE, expected)
    assert filled("GET a") == expected
    assert filled("TS.MADD s 1 1 a 2000 1") == "*2 -ERR TSDB: the key is not a TSDB key :2000"
    assert filled("TS.CREATE s") == "-ERR TSDB: key already exists"


def test_arities(filled):
    replies = {line: filled(line) for line in ARITIES}
    expected = {
        line: f"-ERR wrong number of arguments for '{line.split()[0].lower()}' command" for line in ARITIES
    }
    assert replies == expected


def test_nothing_is_created_by_a_refused_command(filled):
    for line in [*REFUSALS, *WITHOUT_ERR, *WRONG_TYPE, *ARITIES]:
        filled(line)
    assert filled("EXISTS n") == ":0"
    assert filled("DBSIZE") == ":5"
    assert filled("TS.GET a") == "*2 :1000 +1"


def test_empty_labels(filled):
    assert filled("TS.CREATE", "n", "LABELS", "", "v") == "-ERR TSDB: Couldn't parse LABELS"
    assert filled("TS.CREATE", "n", "LABELS", "l", "") == "-ERR TSDB: Couldn't parse LABELS"


def test_upsert(filled):
    assert filled("TS.ADD a 1000 2") == UPSERT
    assert filled("TS.ADD a 1000 2 ON_DUPLICATE BLOCK") == UPSERT
    assert filled("TS.MADD a 1000 2") == f"*1 {UPSERT}"
    for policy in ("MIN", "MAX", "SUM"):
        assert filled(f"TS.ADD a 1000 nan ON_DUPLICATE {policy}") == UPSERT
    filled("TS.ADD a 2000 nan")
    for policy in ("MIN", "MAX", "SUM"):
        assert filled(f"TS.ADD a 2000 5 ON_DUPLICATE {policy}") == UPSERT
    assert filled("TS.INCRBY a 1 TIMESTAMP 2000") == "-ERR TSDB: cannot increment/decrement NaN value"


def test_retention(filled):
    filled("TS.CREATE k RETENTION 100")
    assert filled("TS.ADD k 1000 1") == ":1000"
    assert filled("TS.ADD k 900 1") == ":900"
    assert filled("TS.ADD k 899 1") == "-ERR TSDB: Timestamp is older than retention"
    assert filled("TS.MADD k 899 1 k 901 1") == "*2 -ERR TSDB: Timestamp is older than retention :901"
    filled("TS.CREATE k2")
    filled("TS.CREATERULE k k2 AGGREGATION sum 10")
    assert filled("TS.DEL k 0 2000") == (
        "-ERR TSDB: When a series has compactions, deleting samples or compaction buckets beyond the series "
        "retention period is not possible"
    )
