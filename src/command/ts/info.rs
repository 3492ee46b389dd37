//! TS.INFO: facts and figures about one series.

use crate::command::{Call, Command, Run};
use crate::lane::{ChunkFacts, ChunkWalk, ChunksFound, Handled, Partition, RangeCount, RangeQuery, Stop};
use crate::resp::{Proto, Reply};
use crate::series::SeriesProperties;

use super::facts;
use super::read::existing_series;
use super::read_options::parse_info;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[facts::INFO.command(Run::Owner {
    key: 1,
    handler: info,
})];

/// Fields without DEBUG, and those that DEBUG adds.
const FIELDS: usize = 14;
const FIELDS_DEBUG: usize = 2;

/// Number of samples, first and last timestamp; zeros for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    samples: u64,
    first: i64,
    last: i64,
}

impl From<RangeCount> for Extent {
    fn from(count: RangeCount) -> Extent {
        let (first, last) = count.ends.unwrap_or_default();
        Extent {
            samples: count.samples,
            first,
            last,
        }
    }
}

/// What is known without reading.
struct Known {
    key: Box<[u8]>,
    properties: SeriesProperties,
    retention: i64,
    memory_bytes: u64,
    /// `None` if the samples have to be counted.
    extent: Option<Extent>,
    debug: bool,
}

fn info(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (place, member) = existing_series(partition, call.args.get(1), call.now_ms)?;
    let debug = parse_info(call.args)?;
    partition.settle_retention(member)?;
    let known = known(partition, place, member, debug);
    let chunks = partition.walk_chunks(member, debug)?;
    let mut count = RangeCount::default();
    let rest = match known.extent {
        Some(_) => None,
        None => partition.visit_range(member, EVERYTHING, &mut count)?,
    };
    if let (None, ChunksFound::Ready(walk)) = (&rest, &chunks) {
        write(reply, &known, count.into(), walk);
        return Ok(());
    }
    Err(Stop::offload(move |reply| {
        if let Some(job) = rest {
            count = RangeCount::default();
            job.visit(&mut count)?;
        }
        write(reply, &known, count.into(), &chunks.into_walk()?);
        Ok(())
    }))
}

const EVERYTHING: RangeQuery = RangeQuery {
    from: i64::MIN,
    to: i64::MAX,
    limit: usize::MAX,
    reverse: false,
};

fn known(partition: &Partition, place: usize, member: u32, debug: bool) -> Known {
    let series = partition.series_at(member);
    let sealed = &series.sealed;
    let retention = sealed.retention().unwrap_or(partition.settings.retention);
    let is_counted = sealed.late_samples == 0
        && series.late.is_empty()
        && !series.has_deletions()
        && (retention == 0 || !sealed.has_chunks());
    let samples = series.sample_count();
    let first = series.head.timestamps.first().copied().unwrap_or(i64::MAX);
    let extent = if retention > 0 {
        None
    } else if samples == 0 {
        Some(Extent::default())
    } else {
        is_counted.then(|| Extent {
            samples,
            first: sealed.first_timestamp.min(first),
            last: series.newest().unwrap_or(0),
        })
    };
    Known {
        key: partition.entry(place).key().into(),
        properties: match partition.properties(place) {
            Some(properties) => properties.clone(),
            None => partition.settings.series_defaults.load().properties(),
        },
        retention,
        memory_bytes: series.memory_bytes() as u64 + sealed.chunk_bytes + sealed.rest().cold_bytes,
        extent,
        debug,
    }
}

fn write(reply: &mut Reply, known: &Known, read: Extent, walk: &ChunkWalk) {
    let extent = known.extent.unwrap_or(read);
    let properties = &known.properties;
    reply.map(FIELDS + if known.debug { FIELDS_DEBUG } else { 0 });
    let mut number = |name: &str, number: i64| {
        reply.simple(name);
        reply.integer(number);
    };
    number("totalSamples", extent.samples as i64);
    number("memoryUsage", known.memory_bytes as i64);
    number("firstTimestamp", extent.first);
    number("lastTimestamp", extent.last);
    number("retentionTime", known.retention);
    // A series has a chunk to write to, be it empty.
    number("chunkCount", walk.count.max(1) as i64);
    number("chunkSize", i64::from(properties.chunk_size_bytes));
    reply.simple("chunkType");
    reply.simple(properties.encoding.name());
    reply.simple("duplicatePolicy");
    match properties.duplicate_policy {
        Some(policy) => reply.simple(policy.name()),
        None => reply.null(),
    }
    reply.simple("labels");
    write_labels(reply, properties);
    reply.simple("sourceKey");
    match &properties.source {
        Some(source) => reply.bulk(source),
        None => reply.null(),
    }
    reply.simple("rules");
    write_rules(reply, properties);
    reply.simple("ignoreMaxTimeDiff");
    reply.integer(properties.ignore.max_time_difference);
    reply.simple("ignoreMaxValDiff");
    reply.double(properties.ignore.max_value_difference);
    if known.debug {
        reply.simple("keySelfName");
        reply.bulk(&known.key);
        reply.simple("Chunks");
        write_chunks(reply, &walk.facts);
    }
}

/// Array of pairs, or a map.
fn write_labels(reply: &mut Reply, properties: &SeriesProperties) {
    let is_map = reply.proto() == Proto::Resp3;
    if is_map {
        reply.map(properties.labels.len());
    } else {
        reply.array(properties.labels.len());
    }
    for (name, value) in &properties.labels {
        if !is_map {
            reply.array(2);
        }
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// Array of `[destination, bucket, aggregator, alignment]`, or a map from destinations to the rest.
fn write_rules(reply: &mut Reply, properties: &SeriesProperties) {
    let is_map = reply.proto() == Proto::Resp3;
    if is_map {
        reply.map(properties.rules.len());
    } else {
        reply.array(properties.rules.len());
    }
    for rule in &properties.rules {
        if is_map {
            reply.bulk(&rule.destination);
            reply.array(3);
        } else {
            reply.array(4);
            reply.bulk(&rule.destination);
        }
        match rule.calendar.0.is_empty() {
            true => reply.integer(rule.bucket),
            false => reply.bulk(&rule.calendar.0),
        }
        reply.simple(&rule.aggregator.upper_name());
        reply.integer(rule.align);
    }
}

fn write_chunks(reply: &mut Reply, chunks: &[ChunkFacts]) {
    // A series without samples has one chunk without samples in RedisTimeSeries.
    let none = [ChunkFacts {
        first_timestamp: -1,
        last_timestamp: -1,
        samples: 0,
        bytes: 0,
    }];
    let chunks = if chunks.is_empty() { &none } else { chunks };
    reply.array(chunks.len());
    for chunk in chunks {
        reply.map(5);
        let mut number = |name: &str, number: i64| {
            reply.simple(name);
            reply.integer(number);
        };
        number("startTimestamp", chunk.first_timestamp);
        number("endTimestamp", chunk.last_timestamp);
        number("samples", chunk.samples as i64);
        number("size", chunk.bytes as i64);
        reply.simple("bytesPerSample");
        let each = match chunk.samples {
            0 => -1.0,
            samples => chunk.bytes as f64 / samples as f64,
        };
        reply.double(each);
    }
}

#[cfg(test)]
mod tests {
    use crate::command::test_run::run;
    use crate::lane::test_support::test_partition;

    /// The fields of a RESP2 reply without `memoryUsage`.
    fn shown(reply: &str) -> String {
        let words: Vec<&str> = reply.split(' ').collect();
        let at = words.iter().position(|word| *word == "+memoryUsage").unwrap();
        let number: i64 = words[at + 1].trim_start_matches(':').parse().unwrap();
        assert!(number > 0);
        [&words[..at], &words[at + 2..]].concat().join(" ")
    }

    #[test]
    fn every_field_in_its_place() {
        let mut partition = test_partition();
        run(
            &mut partition,
            "TS.CREATE k RETENTION 100 ENCODING UNCOMPRESSED CHUNK_SIZE 128 DUPLICATE_POLICY MIN IGNORE 5 0.5 \
             LABELS a 1 b 2",
        );
        for timestamp in [10, 60, 150] {
            run(&mut partition, &format!("TS.ADD k {timestamp} 1"));
        }
        assert_eq!(
            shown(&run(&mut partition, "TS.INFO k")),
            "*28 +totalSamples :2 +firstTimestamp :60 +lastTimestamp :150 +retentionTime :100 +chunkCount :1 \
             +chunkSize :128 +chunkType +uncompressed +duplicatePolicy +min +labels *2 *2 $1 a $1 1 *2 $1 b $1 2 \
             +sourceKey $-1 +rules *0 +ignoreMaxTimeDiff :5 +ignoreMaxValDiff $3 0.5"
        );
    }

    #[test]
    fn a_series_without_samples_or_options() {
        let mut partition = test_partition();
        run(&mut partition, "TS.CREATE k");
        assert_eq!(
            shown(&run(&mut partition, "TS.INFO k DEBUG")),
            "*32 +totalSamples :0 +firstTimestamp :0 +lastTimestamp :0 +retentionTime :0 +chunkCount :1 \
             +chunkSize :4096 +chunkType +compressed +duplicatePolicy $-1 +labels *0 +sourceKey $-1 +rules *0 \
             +ignoreMaxTimeDiff :0 +ignoreMaxValDiff $1 0 +keySelfName $1 k +Chunks *1 *10 +startTimestamp :-1 \
             +endTimestamp :-1 +samples :0 +size :0 +bytesPerSample $2 -1"
        );
        assert_eq!(
            run(&mut partition, "TS.INFO k X"),
            run(&mut partition, "TS.INFO k")
        );
        for (line, expected) in [
            ("TS.INFO nope", "-ERR TSDB: the key does not exist"),
            (
                "TS.INFO k DEBUG X",
                "-ERR wrong number of arguments for 'ts.info' command",
            ),
        ] {
            assert_eq!(run(&mut partition, line), expected);
        }
    }

    #[test]
    fn late_samples_are_counted_once() {
        let mut partition = test_partition();
        for timestamp in [10, 60, 150, 60, 20] {
            run(
                &mut partition,
                &format!("TS.ADD k {timestamp} 1 ON_DUPLICATE LAST"),
            );
        }
        let reply = run(&mut partition, "TS.INFO k DEBUG");
        assert!(reply.contains("+totalSamples :4 "), "{reply}");
        assert!(
            reply.contains("+firstTimestamp :10 +lastTimestamp :150 "),
            "{reply}"
        );
        assert!(
            reply.contains("+startTimestamp :10 +endTimestamp :150 +samples :4 "),
            "{reply}"
        );
    }
}
