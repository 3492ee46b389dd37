//! Visits on the lane and on the blocking pool, of chunks that are known and of others.

use super::*;
use crate::aggregate::{
    AggregationSpec, Aggregator, BucketAggregation, BucketTimestamp, Bucketing, Surroundings,
};
use crate::lane::test_support::{TestPartition, test_partition};
use crate::series::{EncodeScratch, Sample};

/// Samples of a chunk of a test partition.
const CHUNK_SAMPLES: i64 = 1024;

fn query(from: i64, to: i64) -> RangeQuery {
    RangeQuery {
        from,
        to,
        limit: usize::MAX,
        reverse: false,
    }
}

fn add(partition: &mut Partition, timestamps: std::ops::Range<i64>) {
    for timestamp in timestamps {
        // Sums of these are rounded.
        let value = (timestamp % 97) as f64 / 10.0;
        let added = partition.add_sample(b"k", 0, Sample::new(timestamp, value), 0);
        assert!(added.is_ok());
    }
}

fn seal(partition: &mut Partition) -> u32 {
    let member = partition.find_series(b"k", 0, 0).ok().flatten().unwrap();
    loop {
        partition.request_seal(member);
        partition.commit(&mut EncodeScratch::default());
        if !partition.has_changes() && partition.series_at(member).is_sealed() {
            return member;
        }
    }
}

/// A sealed series of so many chunks, in a partition that keeps summaries.
fn partition_of(chunks: i64) -> (TestPartition, u32) {
    let mut partition = test_partition();
    partition.set_decoded_limit(8 << 20);
    add(&mut partition, 0..chunks * CHUNK_SAMPLES);
    let member = seal(&mut partition);
    (partition, member)
}

fn count_job(job: VisitJob) -> RangeCount {
    let mut count = RangeCount::default();
    job.visit(&mut count).unwrap();
    count
}

/// Sums of buckets, and how it was told of the samples.
struct Sums {
    buckets: BucketAggregation,
    summaries: usize,
    decoded: usize,
}

impl Sums {
    fn new(width: i64, aggregator: Aggregator) -> Sums {
        Sums {
            buckets: BucketAggregation::new(AggregationSpec {
                aggregators: vec![aggregator],
                bucketing: Bucketing::fixed(width, 0).unwrap(),
                bucket_timestamp: BucketTimestamp::Start,
                empty: false,
            }),
            summaries: 0,
            decoded: 0,
        }
    }

    fn values(self) -> Vec<f64> {
        let rows = self.buckets.finish(&Surroundings::default(), None, false);
        rows.unwrap().values
    }
}

impl RangeVisitor for Sums {
    fn samples(&mut self, columns: &Columns, within: Range<usize>) {
        self.decoded += usize::from(!within.is_empty());
        let timestamps = &columns.timestamps[within.clone()];
        self.buckets.add_columns(timestamps, &columns.values[within]);
    }

    fn summary(&mut self, summary: &ChunkSummary, sum_rest: f64) -> bool {
        let is_seen = self.buckets.add_summary(summary);
        if is_seen {
            self.buckets.add_sum_rest(sum_rest);
            self.summaries += 1;
        }
        is_seen
    }

    fn bucket_last(&self, timestamp: i64) -> i64 {
        self.buckets.bucket_last(timestamp)
    }

    fn takes_summaries(&self) -> bool {
        self.buckets.takes_summaries()
    }

    fn wants_all(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }
}

/// Visits with so much on the lane; says whether that was all.
fn visit(
    partition: &Partition,
    member: u32,
    query: RangeQuery,
    width: i64,
    in_place: InPlace,
) -> (Sums, bool) {
    let mut sums = Sums::new(width, Aggregator::Sum);
    match partition
        .visit_range_within(member, query, in_place, &mut sums)
        .unwrap()
    {
        None => (sums, true),
        Some(job) => {
            sums = Sums::new(width, Aggregator::Sum);
            job.visit(&mut sums).unwrap();
            (sums, false)
        }
    }
}

#[test]
fn a_long_range_is_left_to_the_job_at_once() {
    let samples = (InPlace::USUAL.summaries_max as i64 + 2) * CHUNK_SAMPLES;
    let (partition, member) = partition_of(InPlace::USUAL.summaries_max as i64 + 2);
    let mut count = RangeCount::default();
    let job = partition
        .visit_range(member, query(0, samples), &mut count)
        .unwrap();
    assert_eq!(count, RangeCount::default());
    assert_eq!(count_job(job.unwrap()).samples, samples as u64);
    partition.summaries.borrow_mut().clear();
    count = RangeCount::default();
    let half = partition.visit_range(member, query(0, samples / 2 - 1), &mut count);
    assert!(half.unwrap().is_none());
    assert_eq!(count.samples, samples as u64 / 2);
}

#[test]
fn ranges_are_counted_chunk_by_chunk() {
    let mut partition = test_partition();
    for timestamp in 0..50_000_i64 {
        let added = partition.add_sample(b"k", 0, Sample::new(timestamp * 2, 1.0), 0);
        assert!(added.is_ok());
    }
    let member = partition.find_series(b"k", 0, 0).ok().flatten().unwrap();
    let count = |partition: &Partition, from: i64, to: i64| {
        let mut count = RangeCount::default();
        match partition
            .visit_range(member, query(from, to), &mut count)
            .unwrap()
        {
            None => count,
            Some(job) => count_job(job),
        }
    };
    for (sealed, limit_bytes) in [(false, 0), (true, 0), (true, 1 << 20), (true, 1 << 20)] {
        partition.set_decoded_limit(limit_bytes);
        if sealed {
            seal(&mut partition);
        }
        let all = count(&partition, i64::MIN, i64::MAX);
        assert_eq!((all.samples, all.ends), (50_000, Some((0, 99_998))), "{sealed}");
        let some = count(&partition, 3, 70_001);
        assert_eq!((some.samples, some.ends), (34_999, Some((4, 70_000))), "{sealed}");
        assert_eq!(count(&partition, 3, 3), RangeCount::default());
    }
}

#[test]
fn what_the_job_has_learned_the_lane_knows() {
    let chunks = InPlace::USUAL.summaries_max as i64 + 100;
    let (partition, member) = partition_of(chunks);
    let samples = chunks * CHUNK_SAMPLES;
    let all = query(i64::MIN, i64::MAX);
    // A bucket of some chunks, whose border lies within one.
    let width = 10 * CHUNK_SAMPLES + 100;
    let (first, in_place) = visit(&partition, member, all, width, InPlace::USUAL);
    assert!(!in_place);
    let borders = (samples - 1) / width;
    assert_eq!(
        first.summaries as i64,
        chunks + borders,
        "borders cut chunks in two"
    );
    let (again, in_place) = visit(&partition, member, all, width, InPlace::USUAL);
    assert!(in_place);
    assert_eq!((again.summaries, again.decoded), (first.summaries, 0));
    assert_eq!(again.values(), first.values(), "to the last bit");
    partition.set_decoded_limit(0);
    let (decoded, _) = visit(&partition, member, all, width, InPlace::USUAL);
    assert_eq!(decoded.decoded as i64, borders);
    let decoded = decoded.values();
    partition.set_decoded_limit(8 << 20);
    for _ in 0..2 {
        let (parts, _) = visit(&partition, member, all, width, InPlace::USUAL);
        assert_eq!(parts.decoded, 0);
        assert_eq!(parts.values(), decoded);
    }
    // Other borders have to be met once.
    let other = 20 * CHUNK_SAMPLES + 300;
    for (number, decoded) in [(0, 0), (1, 0)] {
        let (sums, in_place) = visit(&partition, member, all, other, InPlace::USUAL);
        assert_eq!((in_place, sums.decoded), (true, decoded), "visit {number}");
    }
    let part = query(5_000, samples - 5_000);
    let (sums, in_place) = visit(&partition, member, part, width, InPlace::USUAL);
    assert!(in_place);
    // The ends of the range, and borders that the other width has taken the cuts of.
    assert!(sums.decoded >= 2 && sums.decoded <= 4, "{}", sums.decoded);
}

#[test]
fn buckets_within_chunks_are_left_to_one_walk_over_all_of_them() {
    let (partition, member) = partition_of(200);
    let all = query(i64::MIN, i64::MAX);
    let mut first = None;
    for number in 0..3 {
        let (sums, in_place) = visit(&partition, member, all, 100, InPlace::USUAL);
        assert_eq!(
            (in_place, sums.summaries, sums.decoded),
            (false, 0, 200),
            "visit {number}"
        );
        let values = sums.values();
        assert_eq!(*first.get_or_insert(values.clone()), values);
    }
    let known = partition.summaries.borrow();
    assert!(known.has(partition.series_at(member).id));
}

#[test]
fn a_series_that_is_written_keeps_its_table() {
    let (mut partition, member) = partition_of(40);
    let all = query(i64::MIN, i64::MAX);
    let width = 7 * CHUNK_SAMPLES;
    for chunks in 41..50 {
        visit(&partition, member, all, width, InPlace::USUAL);
        add(
            &mut partition,
            (chunks - 1) * CHUNK_SAMPLES..chunks * CHUNK_SAMPLES,
        );
        seal(&mut partition);
        // Nothing but known chunks may be walked over.
        let known_only = InPlace {
            chunks_max: 0,
            summaries_max: 0,
            ..InPlace::USUAL
        };
        let (sums, in_place) = visit(&partition, member, all, width, known_only);
        assert!(in_place, "{chunks}");
        assert_eq!(sums.summaries as i64, chunks);
        let (without, _) = visit(&partition, member, all, width, InPlace::NOTHING);
        assert_eq!(sums.values(), without.values());
    }
}

#[test]
fn a_seal_between_a_job_and_its_lesson_is_not_lost() {
    let (mut partition, member) = partition_of(20);
    let all = query(i64::MIN, i64::MAX);
    let mut count = RangeCount::default();
    let visited = partition.visit_range_within(member, all, InPlace::NOTHING, &mut count);
    let job = visited.unwrap().unwrap();
    add(&mut partition, 20 * CHUNK_SAMPLES..21 * CHUNK_SAMPLES);
    seal(&mut partition);
    // The job sees the present state, which the next seal goes on with.
    assert_eq!(count_job(job).samples, 21 * CHUNK_SAMPLES as u64);
    add(&mut partition, 21 * CHUNK_SAMPLES..22 * CHUNK_SAMPLES);
    seal(&mut partition);
    let id = partition.series_at(member).id;
    assert!(partition.summaries.borrow().has(id));
    count = RangeCount::default();
    let visited = partition.visit_range(member, all, &mut count);
    assert!(visited.unwrap().is_none());
    assert_eq!(count.samples, 22 * CHUNK_SAMPLES as u64);
}

#[test]
fn aggregations_that_need_samples_learn_nothing() {
    let (partition, member) = partition_of(20);
    let mut deviations = Sums::new(5_000, Aggregator::DeviationSample);
    let visited = partition.visit_range(member, query(i64::MIN, i64::MAX), &mut deviations);
    assert!(visited.unwrap().is_none());
    assert_eq!((deviations.summaries, deviations.decoded), (0, 20));
    assert_eq!(partition.summaries.borrow().used_bytes(), 0);
}

#[test]
fn late_samples_and_deletions_are_seen_at_once() {
    let (mut partition, member) = partition_of(40);
    let all = query(i64::MIN, i64::MAX);
    let count = |partition: &Partition| {
        let mut count = RangeCount::default();
        match partition.visit_range(member, all, &mut count).unwrap() {
            None => count.samples as i64,
            Some(job) => count_job(job).samples as i64,
        }
    };
    let samples = 40 * CHUNK_SAMPLES;
    assert_eq!(count(&partition), samples);
    assert!(partition.delete_range(member, 1_000, 1_499).is_ok());
    assert_eq!(count(&partition), samples - 500);
    add(&mut partition, 1_000..1_100);
    assert_eq!(count(&partition), samples - 400);
    for _ in 0..20 {
        seal(&mut partition);
        assert_eq!(count(&partition), samples - 400);
        partition.consider_rewrite(member, 1_000_000_000);
        if let Some(job) = partition.start_rewrite(1_000_000_000) {
            let (id, rewritten) = (job.series_id(), job.run().unwrap());
            partition.finish_rewrite(id, Some(rewritten), 1_000_000_000);
        }
    }
    assert_eq!(partition.series_at(member).sealed.late_samples, 0);
    for _ in 0..2 {
        assert_eq!(count(&partition), samples - 400);
    }
    assert!(partition.summaries.borrow().used_bytes() > 0);
}
