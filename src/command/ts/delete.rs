//! TS.DEL: deleting the samples of a stretch of time.

use crate::command::{Call, Command, Run};
use crate::lane::{Handled, Partition, RangeQuery, Stop};
use crate::resp::Reply;

use super::read::{existing_series, now_of};
use super::timestamp::{Bounds, parse_bounds};
use super::{facts, texts};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[facts::DEL.command(Run::Owner {
    key: 1,
    handler: delete,
})];

fn delete(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let found = existing_series(partition, call.args.get(1), call.now_ms)?;
    let bounds = parse_bounds(call.args, 2, now_of(partition, call))?;
    reply.integer(delete_samples(partition, found, bounds, call.now_ms)? as i64);
    Ok(())
}

/// Deletes the samples within the bounds from the series at `(place, member)` and says how many there were.
///
/// # Errors
/// [`texts::DELETE_BEYOND_RETENTION`] for a series with rules; `Wait::Warm` if the disk has to be read to count; if a
/// chunk is damaged.
pub fn delete_samples(
    partition: &mut Partition,
    (place, member): (usize, u32),
    bounds: Bounds,
    now_ms: i64,
) -> Result<u64, Stop> {
    let has_rules = partition
        .properties(place)
        .is_some_and(|properties| !properties.rules.is_empty());
    let series = partition.series_at(member);
    let retention = series.sealed.retention.unwrap_or(partition.settings.retention);
    let age = series
        .newest_timestamp()
        .map_or(0, |newest| newest.saturating_sub(bounds.from.timestamp));
    if has_rules && retention > 0 && age > retention {
        return Err(texts::DELETE_BEYOND_RETENTION.into());
    }
    // TSDB_SET stores samples from before the epoch, which an open range means too.
    let from = if bounds.from.is_open {
        i64::MIN
    } else {
        bounds.from.timestamp
    };
    let to = bounds.to.timestamp;
    let range = RangeQuery {
        from,
        to,
        limit: usize::MAX,
        reverse: false,
    };
    let count = partition.read_samples(member, range)?.len();
    if count > 0 {
        partition.delete_range(member, from, to)?;
        if has_rules {
            partition.roll_up_deleted(place, (from, to), now_ms);
        }
    }
    Ok(count as u64)
}

#[cfg(test)]
mod tests {
    use crate::command::test_run::{check, run};
    use crate::lane::test_support::test_partition;

    #[test]
    fn both_ends_are_deleted_and_counted() {
        let mut partition = test_partition();
        for timestamp in 1..=10 {
            run(&mut partition, &format!("TS.ADD k {timestamp} {timestamp}"));
        }
        run(&mut partition, "SET s 1");
        check(
            &mut partition,
            &[
                ("TS.DEL k 3 5", ":3"),
                ("TS.DEL k 3 5", ":0"),
                ("TS.DEL k 5 3", ":0"),
                ("TS.RANGE k 2 6", "*2 *2 :2 +2 *2 :6 +6"),
                ("TS.ADD k 4 9", ":4"),
                ("TS.RANGE k 2 6", "*3 *2 :2 +2 *2 :4 +9 *2 :6 +6"),
                ("TS.DEL k 9 10", ":2"),
                ("TS.GET k", "*2 :8 +8"),
                ("TS.INCRBY k 1 TIMESTAMP 9", ":9"),
                ("TS.GET k", "*2 :9 +9"),
                ("TS.DEL k - +", ":7"),
                ("TS.GET k", "*0"),
                ("EXISTS k", ":1"),
                ("TS.DEL nope - +", "-ERR TSDB: the key does not exist"),
                ("TS.DEL k x +", "-ERR TSDB: wrong fromTimestamp"),
                ("TS.DEL k 1 y", "-ERR TSDB: wrong toTimestamp"),
                (
                    "TS.DEL s 1 2",
                    "-WRONGTYPE Operation against a key holding the wrong kind of value",
                ),
            ],
        );
    }
}
