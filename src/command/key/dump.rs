//! DUMP and RESTORE: everything a key holds as bytes, and a key made of them.

use crate::command::Call;
use crate::lane::{Handled, Partition, RangeQuery, RangeRead, Stop};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};
use crate::series::payload::{
    PAYLOAD_SAMPLES_MAX, Payload, PayloadError, decode_payload, encode_series, encode_string,
};
use crate::series::{Columns, SeriesProperties};
use crate::store::StoreError;

const EVERYTHING: RangeQuery = RangeQuery {
    from: i64::MIN,
    to: i64::MAX,
    limit: usize::MAX,
    reverse: false,
};

/// Largest value of FREQ, which is checked and means nothing here.
const FREQUENCY_MAX: i64 = 255;

pub(super) fn dump(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let key = call.args.get(1);
    let Some((value, members, _)) = partition.image_parts(key, call.now_ms)? else {
        reply.null();
        return Ok(());
    };
    if let Some(value) = value {
        let mut payload = Vec::with_capacity(value.len() + 16);
        encode_string(&value, &mut payload);
        reply.bulk(&payload);
        return Ok(());
    }
    let place = partition.find(key, call.now_ms)?;
    let properties = place.and_then(|place| partition.properties(place).cloned());
    let mut reads = Vec::with_capacity(members.len());
    for (data_type, member) in members {
        reads.push((data_type, partition.read_range(member, EVERYTHING)?));
    }
    // Compressing a long series is no work for a lane.
    Err(Stop::offload(move |reply| {
        let columns = |(data_type, read): (u8, RangeRead)| Ok((data_type, read.into_columns()?));
        let series: Result<Vec<_>, StoreError> = reads.into_iter().map(columns).collect();
        write_series(properties.as_ref(), &series?, reply);
        Ok(())
    }))
}

fn write_series(properties: Option<&SeriesProperties>, series: &[(u8, Columns)], reply: &mut Reply) {
    let mut payload = Vec::new();
    if encode_series(properties, series, &mut payload) {
        reply.bulk(&payload);
    } else {
        reply.error(format_args!(
            "ERR the key holds more than {PAYLOAD_SAMPLES_MAX} samples: it is too large to be dumped"
        ));
    }
}

/// What RESTORE is asked for beside key, deadline and payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RestoreOptions {
    replace: bool,
    /// The deadline is a point in time.
    absolute: bool,
}

fn parse_restore(args: Args<'_>) -> Result<RestoreOptions, Refusal> {
    let mut words = args.cursor(4);
    let (mut replace, mut absolute) = (false, false);
    let (mut has_idle_time, mut has_frequency) = (false, false);
    while !words.is_done() {
        if words.take_flag(b"REPLACE") {
            replace = true;
        } else if words.take_flag(b"ABSTTL") {
            absolute = true;
        } else if !has_frequency && words.take_flag(b"IDLETIME") {
            has_idle_time = true;
            let seconds = parse_i64(words.next().ok_or(Refusal::Syntax)?).ok_or(Refusal::NotInteger)?;
            if seconds < 0 {
                return Err(Refusal::text("ERR Invalid IDLETIME value, must be >= 0"));
            }
        } else if !has_idle_time && words.take_flag(b"FREQ") {
            has_frequency = true;
            let frequency = parse_i64(words.next().ok_or(Refusal::Syntax)?).ok_or(Refusal::NotInteger)?;
            if !(0..=FREQUENCY_MAX).contains(&frequency) {
                return Err(Refusal::text("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
        } else {
            return Err(Refusal::Syntax);
        }
    }
    Ok(RestoreOptions { replace, absolute })
}

/// Unix milliseconds of the deadline; 0 = never.
fn parse_deadline(ttl: &[u8], absolute: bool, now_ms: i64) -> Result<i64, Refusal> {
    let ttl_ms = parse_i64(ttl).ok_or(Refusal::NotInteger)?;
    let invalid = || Refusal::text("ERR Invalid TTL value, must be >= 0");
    match ttl_ms {
        ..0 => Err(invalid()),
        0 => Ok(0),
        ttl_ms if absolute => Ok(ttl_ms),
        ttl_ms => now_ms.checked_add(ttl_ms).ok_or_else(invalid),
    }
}

pub(super) fn restore(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, now_ms) = (call.args.get(1), call.now_ms);
    let options = parse_restore(call.args)?;
    let found = partition.find(key, now_ms)?;
    if found.is_some() && !options.replace {
        return Err(Refusal::text("BUSYKEY Target key name already exists.").into());
    }
    let expire_at_ms = parse_deadline(call.args.get(2), options.absolute, now_ms)?;
    let payload = decode_payload(call.args.get(3)).map_err(|error| {
        Refusal::text(match error {
            PayloadError::Foreign => "ERR DUMP payload version or checksum are wrong",
            PayloadError::Malformed => "ERR Bad data format",
        })
    })?;
    partition.check_key(key)?;
    let is_past = expire_at_ms != 0 && expire_at_ms <= now_ms;
    match payload {
        Payload::String(value) if !is_past => {
            partition.set_string(key, &value, expire_at_ms, now_ms)?;
        }
        payload => {
            if let Some(found) = found {
                partition.delete(found);
            }
            if let (Payload::Series { properties, series }, false) = (payload, is_past) {
                put_series(partition, key, properties, &series, expire_at_ms, now_ms)?;
            }
        }
    }
    reply.ok();
    Ok(())
}

/// Makes the key, which is not there, hold these series.
fn put_series(
    partition: &mut Partition,
    key: &[u8],
    properties: Option<Box<SeriesProperties>>,
    series: &[(u8, Columns)],
    expire_at_ms: i64,
    now_ms: i64,
) -> Result<(), Stop> {
    if let Some(properties) = properties {
        partition.create_plain_series(key, *properties, now_ms)?;
    }
    for (data_type, columns) in series {
        let samples: Vec<_> = columns.iter().collect();
        partition.put_moved_samples(key, *data_type, &samples, now_ms)?;
    }
    if expire_at_ms != 0
        && let Some(found) = partition.find(key, now_ms)?
    {
        partition.set_expiry(found, expire_at_ms);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_run::with_args;

    fn parsed(line: &str) -> String {
        with_args(line, |args| {
            let parsed = parse_restore(args).and_then(|options| {
                let deadline = parse_deadline(args.get(2), options.absolute, 1_000)?;
                Ok(format!("{deadline} {}", options.replace))
            });
            parsed.unwrap_or_else(|refusal| refusal.to_string())
        })
    }

    #[test]
    fn restore_options() {
        for (line, expected) in [
            ("RESTORE k 0 x", "0 false"),
            ("RESTORE k 5 x", "1005 false"),
            ("RESTORE k 5 x ABSTTL", "5 false"),
            ("RESTORE k 0 x replace FREQ 255", "0 true"),
            ("RESTORE k -1 x", "ERR Invalid TTL value, must be >= 0"),
            (
                "RESTORE k 9223372036854775807 x",
                "ERR Invalid TTL value, must be >= 0",
            ),
            ("RESTORE k a x", "ERR value is not an integer or out of range"),
            (
                "RESTORE k 0 x IDLETIME -1",
                "ERR Invalid IDLETIME value, must be >= 0",
            ),
            (
                "RESTORE k 0 x FREQ 256",
                "ERR Invalid FREQ value, must be >= 0 and <= 255",
            ),
            ("RESTORE k 0 x IDLETIME 5 FREQ 255", "ERR syntax error"),
            ("RESTORE k 0 x FREQ 5 IDLETIME 5", "ERR syntax error"),
            ("RESTORE k 0 x FREQ", "ERR syntax error"),
            ("RESTORE k 0 x foo", "ERR syntax error"),
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }
}
