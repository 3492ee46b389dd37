//! What the commands of plain values reply, and what they leave behind.

use crate::command::test_run::{NOW_MS, add_series, check, run, run_args, run_at};
use crate::lane::test_support::{TEST_VALUE_LEN_MAX_BYTES, test_partition};
use crate::limits::KEY_LEN_MAX_BYTES;

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const TOO_LONG: &str = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";

#[test]
fn set_with_conditions() {
    let mut partition = test_partition();
    check(
        &mut partition,
        &[
            ("GET k", "$-1"),
            ("SET k 1", "+OK"),
            ("SET k 2 NX", "$-1"),
            ("SET k 2 XX", "+OK"),
            ("SET n 1 XX", "$-1"),
            ("SET n 1 nx", "+OK"),
            ("SET k 3 GET", "$1 2"),
            ("SET k 4 NX GET", "$1 3"),
            ("SET m 1 NX GET", "$-1"),
            ("SET o 1 XX GET", "$-1"),
            ("MGET k n m o", "*4 $1 3 $1 1 $1 1 $-1"),
            ("SETNX k 5", ":0"),
            ("SETNX p 5", ":1"),
            ("GETSET k 6", "$1 3"),
            ("GETSET q 6", "$-1"),
            ("GETDEL q", "$1 6"),
            ("GETDEL q", "$-1"),
            ("GET k", "$1 6"),
        ],
    );
    assert_eq!(partition.key_count(), 4);
}

#[test]
fn set_with_deadlines() {
    let mut partition = test_partition();
    check(
        &mut partition,
        &[
            ("SET k 1 EX 10", "+OK"),
            ("PTTL k", ":10000"),
            ("SET k 2 KEEPTTL", "+OK"),
            ("PTTL k", ":10000"),
            ("INCR k", ":3"),
            ("APPEND k 0", ":2"),
            ("SETRANGE k 0 4", ":2"),
            ("INCRBYFLOAT k 0.5", "$4 40.5"),
            ("PTTL k", ":10000"),
            ("SET k 2 px 5 px 7", "+OK"),
            ("PTTL k", ":7"),
            ("SET k 2 EXAT 1700000001", "+OK"),
            ("PTTL k", ":1000"),
            ("SET k 2 PXAT 1700000000002 XX GET", "$1 2"),
            ("PTTL k", ":2"),
            ("SETEX k 3 v", "+OK"),
            ("PTTL k", ":3000"),
            ("PSETEX k 3 v", "+OK"),
            ("PTTL k", ":3"),
            ("GETSET k w", "$1 v"),
            ("PTTL k", ":-1"),
            ("SET k 1 PX 5", "+OK"),
            ("MSET k 2", "+OK"),
            ("PTTL k", ":-1"),
            ("SET k 1 PX 5", "+OK"),
        ],
    );
    assert_eq!(run_at(&mut partition, NOW_MS + 4, "GET k"), "$1 1");
    assert_eq!(run_at(&mut partition, NOW_MS + 5, "SET k 2 XX"), "$-1");
    assert_eq!(run_at(&mut partition, NOW_MS + 5, "SET k 2 KEEPTTL"), "+OK");
    assert_eq!(run_at(&mut partition, NOW_MS + 5, "PTTL k"), ":-1");
    check(
        &mut partition,
        &[("SET k 1 EXAT 1", "+OK"), ("GET k", "$-1"), ("APPEND k ab", ":2")],
    );
}

#[test]
fn set_refuses_what_does_not_fit() {
    let mut partition = test_partition();
    let invalid = |command: &str| format!("-ERR invalid expire time in '{command}' command");
    assert_eq!(run(&mut partition, "SET k v"), "+OK");
    for options in [
        "NX XX",
        "EX 1 PX 1",
        "EX 1 KEEPTTL",
        "KEEPTTL EX 1",
        "EX",
        "PERSIST",
        "foo",
        "EX 1 EXAT 1",
    ] {
        assert_eq!(
            run(&mut partition, &format!("SET k w {options}")),
            SYNTAX,
            "{options}"
        );
    }
    for options in [
        "EX 0",
        "EX -1",
        "PX 0",
        "EX 9223372036854775807",
        "PX 9223372036854775807",
        "EXAT 0",
    ] {
        assert_eq!(
            run(&mut partition, &format!("SET k w {options}")),
            invalid("set"),
            "{options}"
        );
    }
    assert_eq!(run(&mut partition, "SET k w EX 1.5"), NOT_INTEGER);
    assert_eq!(run(&mut partition, "SETEX k 0 w"), invalid("setex"));
    assert_eq!(run(&mut partition, "PSETEX k -1 w"), invalid("psetex"));
    assert_eq!(run(&mut partition, "PSETEX k x w"), NOT_INTEGER);
    check(&mut partition, &[("GET k", "$1 v"), ("TTL k", ":-1")]);
}

#[test]
fn getex_changes_the_deadline_only() {
    let mut partition = test_partition();
    check(
        &mut partition,
        &[
            ("GETEX n", "$-1"),
            ("GETEX n EX x", "$-1"),
            ("SET k v", "+OK"),
            ("GETEX k", "$1 v"),
            ("GETEX k PERSIST", "$1 v"),
            ("GETEX k EX 10", "$1 v"),
            ("TTL k", ":10"),
            ("GETEX k", "$1 v"),
            ("TTL k", ":10"),
            ("GETEX k PXAT 1700000000005", "$1 v"),
            ("PTTL k", ":5"),
            ("GETEX k persist", "$1 v"),
            ("TTL k", ":-1"),
            ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command"),
            ("GETEX k EX x", NOT_INTEGER),
            ("GETEX k KEEPTTL", SYNTAX),
            ("GETEX k NX", SYNTAX),
            ("GETEX k PERSIST EX 1", SYNTAX),
            ("GETEX k EXAT 1", "$1 v"),
            ("EXISTS k", ":0"),
        ],
    );
}

#[test]
fn several_keys_at_once() {
    let mut partition = test_partition();
    add_series(&mut partition, "series");
    check(
        &mut partition,
        &[
            ("MSET a 1 b 2 a 3", "+OK"),
            ("MGET a b none series a", "*5 $1 3 $1 2 $-1 $-1 $1 3"),
            ("MSETNX c 1 b 5", ":0"),
            ("MSETNX c 1 series 5", ":0"),
            ("GET c", "$-1"),
            ("MSETNX c 1 d 2 c 3", ":1"),
            ("MGET c d", "*2 $1 3 $1 2"),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
            ("MSETNX e", "-ERR wrong number of arguments for 'msetnx' command"),
            ("MSET series text", "+OK"),
            ("TYPE series", "+string"),
        ],
    );
    let long_key = vec![b'k'; KEY_LEN_MAX_BYTES + 1];
    let refused = run_args(&mut partition, NOW_MS, &[b"MSET", b"a", b"9", &long_key, b"9"]);
    assert_eq!(refused, "-ERR key is longer than 65536 bytes");
    let long_value = vec![b'v'; TEST_VALUE_LEN_MAX_BYTES + 1];
    for name in ["MSET", "MSETNX"] {
        assert_eq!(
            run_args(
                &mut partition,
                NOW_MS,
                &[name.as_bytes(), b"z", b"9", b"y", &long_value]
            ),
            TOO_LONG
        );
    }
    check(&mut partition, &[("GET a", "$1 3"), ("EXISTS z", ":0")]);
}

#[test]
fn parts_of_strings() {
    let mut partition = test_partition();
    check(
        &mut partition,
        &[
            ("APPEND k Hello", ":5"),
            ("APPEND k World", ":10"),
            ("APPEND k \"\"", ":10"),
            ("APPEND e \"\"", ":0"),
            ("EXISTS e", ":1"),
            ("STRLEN k", ":10"),
            ("STRLEN none", ":0"),
            ("GETRANGE k 0 4", "$5 Hello"),
            ("GETRANGE k -5 -1", "$5 World"),
            ("GETRANGE k 0 -1", "$10 HelloWorld"),
            ("GETRANGE k 0 -100", "$1 H"),
            ("GETRANGE k -100 100", "$10 HelloWorld"),
            ("GETRANGE k -1 -5", "$0"),
            ("GETRANGE k 10 20", "$0"),
            ("GETRANGE k 5 3", "$0"),
            ("GETRANGE e 0 -1", "$0"),
            ("GETRANGE none 0 -1", "$0"),
            (
                "GETRANGE k -9223372036854775808 9223372036854775807",
                "$10 HelloWorld",
            ),
            ("GETRANGE k x 1", NOT_INTEGER),
            ("SUBSTR k 1 2", "$2 el"),
            ("SETRANGE k 5 Redis", ":10"),
            ("SETRANGE k 11 !", ":12"),
            ("GET k", "$12 HelloRedis\0!"),
            ("SETRANGE none 5 \"\"", ":0"),
            ("SETRANGE none 9223372036854775807 \"\"", ":0"),
            ("EXISTS none", ":0"),
            ("SETRANGE k 99 \"\"", ":12"),
            ("SETRANGE k -1 x", "-ERR offset is out of range"),
            ("SETRANGE k x x", NOT_INTEGER),
            ("SETRANGE k 4095 x", ":4096"),
            ("SETRANGE k 4096 x", TOO_LONG),
            ("SETRANGE k 9223372036854775807 x", TOO_LONG),
            ("APPEND k x", TOO_LONG),
            ("STRLEN k", ":4096"),
        ],
    );
}

#[test]
fn values_beyond_the_limit_are_refused() {
    let mut partition = test_partition();
    let long = vec![b'v'; TEST_VALUE_LEN_MAX_BYTES + 1];
    for name in [&b"SET"[..], b"SETNX", b"GETSET", b"APPEND"] {
        assert_eq!(run_args(&mut partition, NOW_MS, &[name, b"k", &long]), TOO_LONG);
    }
    assert_eq!(
        run_args(&mut partition, NOW_MS, &[b"SETEX", b"k", b"1", &long]),
        TOO_LONG
    );
    assert_eq!(
        run_args(&mut partition, NOW_MS, &[b"SET", b"k", &long[1..]]),
        "+OK"
    );
    let long_key = vec![b'k'; KEY_LEN_MAX_BYTES + 1];
    for words in [
        &[&b"SET"[..], &long_key, b"1"][..],
        &[b"INCR", &long_key],
        &[b"SET", &long_key, b"1", b"GET"],
    ] {
        assert_eq!(
            run_args(&mut partition, NOW_MS, words),
            "-ERR key is longer than 65536 bytes"
        );
    }
    assert_eq!(partition.key_count(), 1);
}

#[test]
fn whole_numbers() {
    let mut partition = test_partition();
    let overflow = "-ERR increment or decrement would overflow";
    check(
        &mut partition,
        &[
            ("INCR k", ":1"),
            ("INCRBY k 41", ":42"),
            ("DECR k", ":41"),
            ("DECRBY k 50", ":-9"),
            ("GET k", "$2 -9"),
            ("DECR n", ":-1"),
            ("SET k 9223372036854775806", "+OK"),
            ("INCR k", ":9223372036854775807"),
            ("INCR k", overflow),
            ("INCRBY k 1", overflow),
            ("DECRBY k -1", overflow),
            ("DECRBY k -9223372036854775808", "-ERR decrement would overflow"),
            ("INCRBY k -9223372036854775808", ":-1"),
            ("INCRBY k 1.5", NOT_INTEGER),
            ("INCRBY k 9223372036854775808", NOT_INTEGER),
            ("SET k 01", "+OK"),
            ("INCR k", NOT_INTEGER),
            ("SET k 1.0", "+OK"),
            ("DECR k", NOT_INTEGER),
            ("SET k \"\"", "+OK"),
            ("INCR k", NOT_INTEGER),
        ],
    );
}

#[test]
fn numbers_with_decimals() {
    let mut partition = test_partition();
    let not_float = "-ERR value is not a valid float";
    let infinite = "-ERR increment would produce NaN or Infinity";
    check(
        &mut partition,
        &[
            ("INCRBYFLOAT k 10.50", "$4 10.5"),
            ("INCRBYFLOAT k 0.1", "$4 10.6"),
            ("INCRBYFLOAT k -5", "$3 5.6"),
            ("GET k", "$3 5.6"),
            ("SET k 5.0e3", "+OK"),
            ("INCRBYFLOAT k 2.0e2", "$4 5200"),
            ("INCRBYFLOAT k inf", infinite),
            ("INCRBYFLOAT k nan", not_float),
            ("INCRBYFLOAT k x", not_float),
            ("GET k", "$4 5200"),
            ("SET k x", "+OK"),
            ("INCRBYFLOAT k 1", not_float),
        ],
    );
}

#[test]
fn a_series_is_no_string() {
    let mut partition = test_partition();
    add_series(&mut partition, "s");
    for line in [
        "GET s",
        "GETSET s 1",
        "GETDEL s",
        "GETEX s",
        "GETEX s EX 1",
        "SET s 1 GET",
        "SET s 1 XX GET",
        "APPEND s 1",
        "STRLEN s",
        "GETRANGE s 0 -1",
        "SETRANGE s 0 x",
        "SETRANGE s 0 \"\"",
        "INCR s",
        "DECRBY s 2",
        "INCRBYFLOAT s 2",
    ] {
        assert_eq!(run(&mut partition, line), WRONG_TYPE, "{line}");
    }
    check(
        &mut partition,
        &[("TYPE s", "+TSDB-TYPE"), ("TTL s", ":-1"), ("SETNX s 1", ":0")],
    );
    check(
        &mut partition,
        &[("SET s 1 XX EX 10", "+OK"), ("GET s", "$1 1"), ("TTL s", ":10")],
    );
    assert_eq!((partition.key_count(), partition.loaded_series()), (1, 0));
}
