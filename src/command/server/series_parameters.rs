//! The parameters `ts-*` of CONFIG GET and CONFIG SET: what series are like unless they were told otherwise.

use crate::series::properties::{
    CHUNK_SIZE_MAX_BYTES, CHUNK_SIZE_MIN_BYTES, CHUNK_SIZE_STEP_BYTES, chunk_size_bytes,
};
use crate::series::{CompactionPolicy, DuplicatePolicy, Encoding};

use super::parameters::{Parameter, Write, accepted, fixed, in_range, integer, keep, settable};

/// Threads that RedisTimeSeries may be told to use for queries over several keys.
const THREADS_MAX: i64 = 16;

/// All of them.
pub const PARAMETERS: &[Parameter] = &[
    settable(
        "ts-chained-rules",
        |_, settings| {
            if settings.series.chained_rules {
                "yes"
            } else {
                "no"
            }
            .into()
        },
        |settings, value, _| {
            settings.series.chained_rules = match value.to_ascii_lowercase().as_str() {
                "yes" => true,
                "no" => false,
                _ => return Err("argument must be 'yes' or 'no'".into()),
            };
            Ok(())
        },
    ),
    settable(
        "ts-chunk-size-bytes",
        |_, settings| settings.series.chunk_size_bytes.to_string(),
        |settings, value, _| {
            let size = integer(value, CHUNK_SIZE_MIN_BYTES.into(), CHUNK_SIZE_MAX_BYTES.into())?;
            let not_a_multiple = || format!("argument must be a multiple of {CHUNK_SIZE_STEP_BYTES}");
            settings.series.chunk_size_bytes = chunk_size_bytes(size).ok_or_else(not_a_multiple)?;
            Ok(())
        },
    ),
    settable(
        "ts-compaction-policy",
        |_, settings| CompactionPolicy::format_all(&settings.series.compaction),
        |settings, value, _| {
            let policies = CompactionPolicy::parse_all(value);
            settings.series.compaction = policies.ok_or("Invalid compaction policy")?;
            Ok(())
        },
    ),
    settable(
        "ts-duplicate-policy",
        |_, settings| settings.series.duplicate_policy.name().into(),
        |settings, value, _| {
            let policy = DuplicatePolicy::parse(value.as_bytes());
            settings.series.duplicate_policy = policy.ok_or("Invalid duplicate policy")?;
            Ok(())
        },
    ),
    settable(
        "ts-encoding",
        |_, settings| settings.series.encoding.name().into(),
        |settings, value, _| {
            settings.series.encoding = Encoding::parse(value.as_bytes()).ok_or("Invalid encoding")?;
            Ok(())
        },
    ),
    settable(
        "ts-ignore-max-time-diff",
        |_, settings| settings.series.ignore.max_time_difference.to_string(),
        |settings, value, _| {
            settings.series.ignore.max_time_difference = integer(value, 0, i64::MAX)?;
            Ok(())
        },
    ),
    settable(
        "ts-ignore-max-val-diff",
        |_, settings| {
            let mut text = Vec::new();
            crate::resp::number::format_f64_redis(settings.series.ignore.max_value_difference, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        },
        |settings, value, _| {
            let difference = crate::resp::number::parse_f64(value.as_bytes());
            let difference = difference.filter(|difference| *difference >= 0.0);
            settings.series.ignore.max_value_difference = difference
                .ok_or("Invalid value for `ts-ignore-max-val-diff`, must be a nonnegative number")?;
            Ok(())
        },
    ),
    fixed("ts-libmr-protocol", |_, _| "resp3".into()),
    // Lanes do the work, whatever is set.
    Parameter {
        name: "ts-num-threads",
        read: |shared, settings| {
            let lanes = shared.directory.lanes() as i64;
            let lanes = in_range(lanes, 1, THREADS_MAX).unwrap_or(THREADS_MAX);
            accepted(settings, "ts-num-threads", &lanes.to_string())
        },
        write: Write::Change(|settings, value, _| {
            let threads = integer(value, 1, THREADS_MAX)?;
            keep(settings, "ts-num-threads", threads)
        }),
    },
    settable(
        "ts-retention-policy",
        |_, settings| settings.series.retention.to_string(),
        |settings, value, _| {
            settings.series.retention = integer(value, 0, i64::MAX)?;
            Ok(())
        },
    ),
    fixed("ts-topology-events", |_, _| "yes".into()),
];

#[cfg(test)]
mod tests {
    use crate::command::test_support::TestClient;

    #[test]
    fn defaults_are_those_of_redis_time_series() {
        let mut client = TestClient::new();
        for (name, value) in [
            ("ts-chunk-size-bytes", "4096"),
            ("ts-duplicate-policy", "block"),
            ("ts-encoding", "compressed"),
            ("ts-ignore-max-time-diff", "0"),
            ("ts-ignore-max-val-diff", "0"),
            ("ts-retention-policy", "0"),
            ("ts-topology-events", "yes"),
        ] {
            let reply = client.run(&["CONFIG", "GET", name]);
            assert!(reply.ends_with(&format!("\r\n{value}\r\n")), "{name}: {reply}");
        }
    }

    #[test]
    fn changes_reach_the_partitions() {
        let mut client = TestClient::new();
        let line = "CONFIG SET ts-duplicate-policy LAST ts-retention-policy 60000 ts-chunk-size-bytes 128 \
                    ts-ignore-max-val-diff 0.5 ts-encoding UNCOMPRESSED";
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        assert_eq!(client.run(&words), "+OK\r\n");
        let defaults = client.shared.series_defaults.load();
        assert_eq!(defaults.duplicate_policy.name(), "last");
        assert_eq!((defaults.retention, defaults.chunk_size_bytes), (60_000, 128));
        assert_eq!(defaults.ignore.max_value_difference, 0.5);
        let reply = client.run(&["CONFIG", "GET", "ts-ignore-max-val-diff"]);
        assert!(reply.ends_with("\r\n0.5\r\n"), "{reply}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let mut client = TestClient::new();
        for (name, value, why) in [
            ("ts-chunk-size-bytes", "50", "argument must be a multiple of 8"),
            (
                "ts-chunk-size-bytes",
                "40",
                "argument must be between 48 and 1048576 inclusive",
            ),
            ("ts-duplicate-policy", "bogus", "Invalid duplicate policy"),
            ("ts-encoding", "bogus", "Invalid encoding"),
            ("ts-topology-events", "no", "can't set immutable config"),
        ] {
            let text = format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}\r\n");
            assert_eq!(client.run(&["CONFIG", "SET", name, value]), text);
        }
        assert_eq!(client.shared.series_defaults.load().chunk_size_bytes, 4096);
    }
}
