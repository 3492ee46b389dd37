//! Rollups that series created by a sample get by themselves: `ts-compaction-policy`.

use crate::aggregate::Aggregator;

/// One rollup: `aggregator:bucket:retention[:align]`, times with the units m (milliseconds), s, M, h, d.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionPolicy {
    pub aggregator: Aggregator,
    /// Width of the buckets, in milliseconds, at least 1.
    pub bucket_ms: i64,
    /// Retention of the destination, in milliseconds; 0 = for ever.
    pub retention_ms: i64,
    /// One bucket starts here, in milliseconds.
    pub align_ms: i64,
}

/// Rollups of one series at most.
pub const COMPACTION_POLICIES_MAX: usize = 32;

impl CompactionPolicy {
    /// Reads policies separated by semicolons; `None` if one of them is malformed or there are too many.
    pub fn parse_all(text: &str) -> Option<Vec<CompactionPolicy>> {
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let policies: Option<Vec<_>> = parts.map(CompactionPolicy::parse).collect();
        policies.filter(|policies| policies.len() <= COMPACTION_POLICIES_MAX)
    }

    fn parse(text: &str) -> Option<CompactionPolicy> {
        let fields: Vec<&str> = text.split(':').collect();
        let (aggregator, bucket, retention, align) = match fields.as_slice() {
            [aggregator, bucket, retention] => (aggregator, bucket, retention, "0m"),
            [aggregator, bucket, retention, align] => (aggregator, bucket, retention, *align),
            _ => return None,
        };
        Some(CompactionPolicy {
            aggregator: Aggregator::parse(aggregator.as_bytes())?,
            bucket_ms: parse_ms(bucket).filter(|bucket| *bucket > 0)?,
            retention_ms: parse_ms(retention)?,
            align_ms: parse_ms(align)?,
        })
    }

    /// The policies as one text that [`CompactionPolicy::parse_all`] reads.
    pub fn format_all(policies: &[CompactionPolicy]) -> String {
        let one = |policy: &CompactionPolicy| {
            let CompactionPolicy {
                aggregator,
                bucket_ms,
                retention_ms,
                align_ms,
            } = policy;
            let name = aggregator.name();
            let [bucket, retention, align] = [*bucket_ms, *retention_ms, *align_ms].map(format_ms);
            match align_ms {
                0 => format!("{name}:{bucket}:{retention}"),
                _ => format!("{name}:{bucket}:{retention}:{align}"),
            }
        };
        policies.iter().map(one).collect::<Vec<_>>().join(";")
    }

    /// Key of the series that the rollup of `source` goes to.
    pub fn destination(&self, source: &[u8]) -> Vec<u8> {
        let (name, bucket) = (self.aggregator.upper_name(), self.bucket_ms);
        let suffix = match self.align_ms {
            0 => format!("_{name}_{bucket}"),
            align => format!("_{name}_{bucket}_{align}"),
        };
        [source, suffix.as_bytes()].concat()
    }
}

/// Units and their milliseconds, the longest first.
const UNITS: [(&str, i64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("M", 60_000),
    ("s", 1_000),
    ("m", 1),
];

/// A whole number and its unit, in milliseconds; a plain number counts milliseconds.
fn parse_ms(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit_ms = match text.get(digits.len()..)? {
        "" => 1,
        unit => UNITS.iter().find(|known| known.0 == unit)?.1,
    };
    let number = digits.parse::<i64>().ok().filter(|number| *number >= 0)?;
    number.checked_mul(unit_ms)
}

/// In the longest unit that has no fraction, as RedisTimeSeries writes it: nothing is `0d`.
fn format_ms(ms: i64) -> String {
    let fits = |unit: &&(&str, i64)| ms % unit.1 == 0;
    let (name, unit_ms) = UNITS.iter().find(fits).copied().unwrap_or(("m", 1));
    format!("{}{name}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written() {
        let text = "max:1M:1h;avg:2h:10d:10M; last:5s:0";
        let policies = CompactionPolicy::parse_all(text).expect("well-formed");
        assert_eq!(policies.len(), 3);
        assert_eq!(
            (policies[0].bucket_ms, policies[0].retention_ms),
            (60_000, 3_600_000)
        );
        assert_eq!(policies[1].align_ms, 600_000);
        let written = CompactionPolicy::format_all(&policies);
        assert_eq!(written, "max:1M:1h;avg:2h:10d:10M;last:5s:0d");
        assert_eq!(CompactionPolicy::parse_all(&written), Some(policies.clone()));
        let text = "max:1m:1h:1m;min:10s:10d:0m;last:5M:10m;avg:25h:36h";
        let policies = CompactionPolicy::parse_all(text).expect("well-formed");
        assert_eq!(
            CompactionPolicy::format_all(&policies),
            "max:1m:1h:1m;min:10s:10d;last:5M:10m;avg:25h:36h"
        );
        let policies = CompactionPolicy::parse_all("max:1M:1h;avg:2h:10d:10M").expect("well-formed");
        assert_eq!(policies[0].destination(b"k"), b"k_MAX_60000");
        assert_eq!(policies[1].destination(b"k"), b"k_AVG_7200000_600000");
    }

    #[test]
    fn malformed_policies_are_refused() {
        for text in [
            "max",
            "max:1M",
            "nope:1M:1h",
            "max:0s:1h",
            "max:1x:1h",
            "max:1M:1h:1:2",
            "max:-1s:1h",
            "max:1s:-1h",
        ] {
            assert_eq!(CompactionPolicy::parse_all(text), None, "{text}");
        }
        assert_eq!(CompactionPolicy::parse_all(""), Some(Vec::new()));
    }
}
