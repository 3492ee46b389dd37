//! Tests of numbers to and from text.

use super::*;
use proptest::prelude::*;

fn redis(value: f64) -> String {
    let mut out = Vec::new();
    format_f64_redis(value, &mut out);
    String::from_utf8(out).unwrap()
}

fn shortest(value: f64) -> String {
    let mut out = Vec::new();
    format_f64_shortest(value, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn whole_numbers_are_strict() {
    for text in [
        "",
        "-",
        "+1",
        "01",
        "-0",
        "-01",
        " 1",
        "1 ",
        "1.0",
        "a",
        "9223372036854775808",
        "1:",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
    }
    for text in [
        "-9223372036854775809",
        "99999999999999999999999",
        "18446744073709551616",
    ] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
    }
    for value in [
        0,
        1,
        -1,
        10,
        999_999_999_999_999_999,
        1_000_000_000_000_000_000,
        i64::MAX,
        i64::MIN,
    ] {
        assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
    }
    assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
    assert_eq!(
        (parse_u64(b"0"), parse_u64(b"-1"), parse_u64(b"00")),
        (Some(0), None, None)
    );
}

#[test]
fn every_byte_at_every_place_is_judged() {
    for place in 0..17 {
        for byte in 0..=u8::MAX {
            let mut text = *b"12345678912345678";
            text[place] = byte;
            let sound = byte.is_ascii_digit() && (place > 0 || byte != b'0');
            let expected = sound.then(|| std::str::from_utf8(&text).unwrap().parse().unwrap());
            assert_eq!(parse_u64(&text), expected, "{}", text.escape_ascii());
        }
    }
}

#[test]
fn floats_as_redis_accepts_them() {
    let accepted: &[(&str, f64)] = &[
        ("0", 0.0),
        ("3.0e3", 3000.0),
        ("+5", 5.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5E+2", -50.0),
        ("007", 7.0),
        ("1e22", 1e22),
        ("9007199254740993", 9007199254740993.0),
        ("123456789012345678901234567890", 123456789012345678901234567890.0),
        ("0.1234567890123456789", 0.12345678901234568),
        ("1e308", 1e308),
        ("5e-324", 5e-324),
        ("0e999999999999", 0.0),
        ("inf", f64::INFINITY),
        ("-INF", f64::NEG_INFINITY),
        ("+Infinity", f64::INFINITY),
    ];
    for (text, value) in accepted {
        assert_eq!(parse_f64(text.as_bytes()), Some(*value), "{text:?}");
    }
    assert!(parse_f64(b"-0").is_some_and(|value| value.is_sign_negative()));
    for text in [
        "", "+", ".", "-.", "e5", "1e", "1e+", " 1", "1 ", "1.2.3", "nan", "-nan", "0x10", "++1", "1e5x",
        "1e999", "1e-999", "infinit", "1_0", "\u{661}",
    ] {
        assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn sample_values_are_json_numbers_or_nan() {
    for (text, value) in [
        ("0", 0.0),
        ("-0.5", -0.5),
        ("1E3", 1000.0),
        ("21.5", 21.5),
        ("1e-999", 0.0),
    ] {
        assert_eq!(parse_sample_value(text.as_bytes()), Some(value), "{text:?}");
    }
    for text in ["nan", "+NaN", "-nAn"] {
        assert!(parse_sample_value(text.as_bytes()).unwrap().is_nan(), "{text:?}");
    }
    for text in [
        "", "+1", "01", "-01.5", "1.", ".5", "-", "inf", "1e999", "1e", " 1", "1.e5", "nan1", "--1",
    ] {
        assert_eq!(parse_sample_value(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn fixed_notation_of_redis() {
    for (value, text) in [
        (3.0, "3"),
        (1e20, "100000000000000000000"),
        (10.5 + 0.1, "10.6"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (-1e-30, "0"),
        (1.2345678901234567e-5, "0.00001234567890123"),
        (1.5e16, "15000000000000000"),
        (-2.5, "-2.5"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        assert_eq!(redis(value), text);
    }
}

#[test]
fn shortest_notation() {
    for (value, text) in [
        (3.0, "3"),
        (-0.0, "-0"),
        (21.5, "21.5"),
        (1e16, "10000000000000000"),
        (99_999_999_999_999_984.0, "99999999999999984"),
        (1e17, "1e+17"),
        (-1.5e300, "-1.5e+300"),
        (0.00001, "0.00001"),
        (1e-6, "1e-6"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
        (-f64::NAN, "nan"),
    ] {
        assert_eq!(shortest(value), text);
    }
}

proptest! {
    #[test]
    fn whole_numbers_round_trip(value in any::<i64>()) {
        let text = value.to_string();
        prop_assert_eq!(parse_i64(text.as_bytes()), Some(value));
        prop_assert_eq!(parse_u64(text.as_bytes()), u64::try_from(value).ok());
    }

    #[test]
    fn shortest_text_reads_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        let read = parse_f64(shortest(value).as_bytes());
        prop_assert_eq!(read, (!value.is_nan()).then_some(value));
        if value.is_finite() {
            prop_assert_eq!(parse_sample_value(shortest(value).as_bytes()), Some(value));
        }
        if value.abs() >= 1.0 {
            prop_assert_eq!(parse_f64(redis(value).as_bytes()), Some(value));
        }
    }

    #[test]
    fn decimals_agree_with_std(text in "[-+]?[0-9]{0,20}[.]?[0-9]{0,20}([eE][-+]?[0-9]{1,3})?") {
        let expected = text.parse::<f64>().ok();
        let in_range = expected.filter(|value| value.is_finite());
        match parse_f64(text.as_bytes()) {
            Some(value) => prop_assert_eq!(Some(value.to_bits()), expected.map(f64::to_bits)),
            None => prop_assert!(in_range.is_none_or(|value| value == 0.0)),
        }
    }

    #[test]
    fn any_bytes_are_answered(text in prop::collection::vec(any::<u8>(), 0..30)) {
        parse_i64(&text);
        parse_f64(&text);
        parse_sample_value(&text);
    }
}

#[test]
fn the_short_way_agrees_with_the_long_one() {
    const LETTERS: &[u8] = b"0012345678.9.-+e/:";
    let mut seed = 7_u64;
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let mut short = 0;
    for _ in 0..200_000 {
        let text: Vec<u8> = (0..draw(10)).map(|_| LETTERS[draw(LETTERS.len())]).collect();
        let Some(value) = parse_short_decimal(&text) else {
            continue;
        };
        short += 1;
        let long = Decimal::scan(&text).unwrap();
        assert!(long.is_json, "{text:?}");
        assert_eq!(long.exact().unwrap().to_bits(), value.to_bits(), "{text:?}");
    }
    assert!(short > 2_000, "{short}");
    for (text, value) in [
        ("0.5", 0.5),
        ("100.25", 100.25),
        ("1.234567", 1.234_567),
        ("9.9", 9.9),
    ] {
        assert_eq!(parse_short_decimal(text.as_bytes()), Some(value));
    }
    for text in ["00.5", ".5", "5.", "5", "1.2.3", "1e.5", "12345678.5", ""] {
        assert_eq!(parse_short_decimal(text.as_bytes()), None, "{text}");
    }
}
