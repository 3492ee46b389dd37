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
            match align_ms {
                0 => format!("{name}:{bucket_ms}m:{retention_ms}m"),
                _ => format!("{name}:{bucket_ms}m:{retention_ms}m:{align_ms}m"),
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

/// A whole number and its unit, in milliseconds; a plain number counts milliseconds.
fn parse_ms(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit_ms = match text.get(digits.len()..)? {
        "" | "m" => 1,
        "s" => 1_000,
        "M" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit_ms)
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
        assert_eq!(
            written,
            "max:60000m:3600000m;avg:7200000m:864000000m:600000m;last:5000m:0m"
        );
        assert_eq!(CompactionPolicy::parse_all(&written), Some(policies.clone()));
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
        ] {
            assert_eq!(CompactionPolicy::parse_all(text), None, "{text}");
        }
        assert_eq!(CompactionPolicy::parse_all(""), Some(Vec::new()));
    }
}
