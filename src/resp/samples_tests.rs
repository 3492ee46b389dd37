//! Every sample looks as if it were written field by field.

use super::*;
use proptest::prelude::*;

type Columns = (Vec<i64>, Vec<f64>, Vec<u8>);

/// Stands for the text of another dialect.
fn quoted(value: f64, text: &mut [u8; VALUE_TEXT_BYTES]) -> usize {
    let shown = format!("<{}>", value.to_bits());
    text[..shown.len()].copy_from_slice(shown.as_bytes());
    shown.len()
}

fn plain(text: ValueText, with_quality: bool, proto: Proto, samples: &[(i64, f64, u8)]) -> Vec<u8> {
    let mut reply = Reply::new(proto);
    for (timestamp, value, quality) in samples {
        reply.array(if with_quality { 3 } else { 2 });
        reply.integer(*timestamp);
        match text {
            ValueText::Simple(write) if proto == Proto::Resp2 => {
                let is_short = value.abs() < SHORT_MAX && (value * 100.0).round() / 100.0 == *value;
                if is_short && (*value == 0.0 || value.abs() >= 1.0) {
                    reply.simple(F64Buffer::new().format(*value));
                } else {
                    let mut bytes = [0; VALUE_TEXT_BYTES];
                    let text_bytes = write(*value, &mut bytes);
                    reply.simple(std::str::from_utf8(&bytes[..text_bytes]).unwrap());
                }
            }
            _ => reply.double(*value),
        }
        if with_quality {
            reply.integer(i64::from(*quality));
        }
    }
    reply.take()
}

fn columns(samples: &[(i64, f64, u8)]) -> Columns {
    let (mut timestamps, mut values, mut qualities) = Columns::default();
    for sample in samples {
        timestamps.push(sample.0);
        values.push(sample.1);
        qualities.push(sample.2);
    }
    (timestamps, values, qualities)
}

fn written(
    text: ValueText,
    with_quality: bool,
    proto: Proto,
    samples: &[(i64, f64, u8)],
    reverse: bool,
) -> Vec<u8> {
    let mut reply = Reply::new(proto);
    let mut writer = SampleWriter::new(text, with_quality);
    let (timestamps, values, qualities) = columns(samples);
    let middle = samples.len() / 2;
    let mut write = |within: std::ops::Range<usize>| {
        writer.write(
            &mut reply,
            &timestamps[within.clone()],
            &values[within.clone()],
            Some(&qualities[within]),
            reverse,
        );
    };
    if reverse {
        write(middle..samples.len());
        write(0..middle);
    } else {
        write(0..middle);
        write(middle..samples.len());
    }
    reply.take()
}

fn assert_agrees(samples: &[(i64, f64, u8)]) {
    let reversed: Vec<_> = samples.iter().rev().copied().collect();
    for proto in [Proto::Resp2, Proto::Resp3] {
        for text in [ValueText::Bulk, ValueText::Simple(quoted)] {
            for with_quality in [false, true] {
                let forwards = written(text, with_quality, proto, samples, false);
                assert_eq!(forwards, plain(text, with_quality, proto, samples));
                let backwards = written(text, with_quality, proto, samples, true);
                assert_eq!(backwards, plain(text, with_quality, proto, &reversed));
            }
        }
    }
}

#[test]
fn extremes_are_written_like_any_other_number() {
    let values = [
        0.0,
        -0.0,
        0.01,
        -0.05,
        0.1,
        1.0,
        -1.0,
        1.5,
        10.0,
        99.99,
        100.05,
        -1234.5,
        99_999_999.0,
        99_999_999.99,
        -99_999_999.99,
        99_999_999.995,
        99_999_999.999_999,
        1e8,
        100_000_000.01,
        1e15,
        9_999_999_999_999.99,
        1e-7,
        0.001,
        1.005,
        1e300,
        -f64::MAX,
        -1.234_567_890_123_456_7e-305,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        123_456_789_012.35,
    ];
    let times = [
        i64::MIN,
        -1,
        0,
        9_999,
        99_999_999,
        100_000_000,
        1_728_462_600_000,
        1_728_499_999_999,
        i64::MAX,
    ];
    for timestamp in times {
        let qualities = [0, 7, 192, 255].into_iter().cycle();
        let samples: Vec<_> = values
            .iter()
            .zip(qualities)
            .map(|(value, quality)| (timestamp, *value, quality))
            .collect();
        assert_agrees(&samples);
    }
}

#[test]
fn eight_digits_are_those_of_the_number() {
    for number in (0..100_000_000).step_by(997).chain([99_999_999]) {
        let digits = (eight_digits(number) | ZEROS).to_le_bytes();
        assert_eq!(digits.as_slice(), format!("{number:08}").as_bytes());
    }
}

#[test]
fn without_qualities_all_are_zero() {
    let samples = [(1_728_462_600_000, 1.5, 0), (1_728_462_600_001, 2.0, 0)];
    let (timestamps, values, _) = columns(&samples);
    let mut reply = Reply::new(Proto::Resp2);
    SampleWriter::new(ValueText::Bulk, true).write(&mut reply, &timestamps, &values, None, false);
    assert_eq!(reply.take(), plain(ValueText::Bulk, true, Proto::Resp2, &samples));
}

proptest! {
    #[test]
    fn agrees_with_the_plain_encoder(
        samples in prop::collection::vec(
            (any::<i64>(), prop_oneof![
                any::<f64>(),
                (-1e6..1e6).prop_map(|v: f64| (v * 100.0).round() / 100.0),
                (-1e8..1e8).prop_map(|v: f64| (v * 10.0).round() / 10.0),
                (-1e9..1e9).prop_map(|v: f64| v.round()),
                any::<i32>().prop_map(|v| f64::from(v) / 100.0),
                (-100i32..100).prop_map(|v| f64::from(v) / 100.0),
            ], any::<u8>()), 0..50),
        start in 0i64..2_000_000_000_000,
    ) {
        assert_agrees(&samples);
        let close: Vec<_> = samples.iter().enumerate()
            .map(|(index, sample)| (start + index as i64 * 997, sample.1, sample.2)).collect();
        assert_agrees(&close);
    }
}
