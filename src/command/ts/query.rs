//! From a parsed range to the rows of one series: what is read, filtered and aggregated, and how it is written.
//!
//! What memory and the block cache hold is answered on the lane; the rest is a closure for the blocking pool.

use std::sync::Arc;

use crate::aggregate::{
    AggregationSpec, Aggregator, BucketAggregation, Bucketing, Rows, Surroundings, filter_by_quality,
    filter_by_timestamps, filter_by_value,
};
use crate::command::tsdb::write_run;
use crate::config::TimeUnit;
use crate::lane::{
    DecodedRange, Partition, RangeJob, RangeQuery, RangeRead, RangeVisitor, SealedState, Stop,
};
use crate::refusal::Refusal;
use crate::resp::{Reply, SampleWriter};
use crate::series::{Columns, Sample};
use crate::store::{Database, StoreError, View};

use super::aggregation::{Aggregation, BucketSize, Width};
use super::feed::Feed;
use super::range_options::RangeOptions;
use super::value::SAMPLE_TEXT;

/// Samples in which a neighbour of the range that is not NaN is looked for.
const NEIGHBOUR_SAMPLES: usize = 32;

/// The same if samples are filtered: a neighbour has to pass the filters, too.
const NEIGHBOUR_SAMPLES_FILTERED: usize = 65_536;

/// What is asked of one series, ready to be run any number of times.
#[derive(Clone, Debug)]
pub struct RowsQuery {
    /// First and last timestamp, both included, in steps of the business's unit.
    from: i64,
    to: i64,
    /// Ascending.
    timestamps: Option<Vec<i64>>,
    values: Option<(f64, f64)>,
    qualities: Option<(u8, u8)>,
    with_quality: bool,
    count: Option<usize>,
    reverse: bool,
    latest: bool,
    aggregation: Option<AggregationSpec>,
    unit_ns: i64,
    /// The open bucket of the rule that writes to the series: its newest sample, though not stored yet.
    open_bucket: Option<Sample>,
}

/// The rows of one series in the order of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesRows {
    /// Timestamps and values.
    pub rows: Rows,
    /// One per row, if they were asked for.
    pub qualities: Option<Vec<u8>>,
}

impl SeriesRows {
    /// No rows.
    pub const NOTHING: SeriesRows = SeriesRows {
        rows: Rows {
            timestamps: Vec::new(),
            width: 1,
            values: Vec::new(),
        },
        qualities: None,
    };
}

/// Work for the blocking pool that finds rows.
pub type RowsJob = Box<dyn FnOnce() -> Result<SeriesRows, Refusal> + Send>;

/// Rows, or the work that finds them.
pub enum RowsFound {
    /// The answer.
    Ready(SeriesRows),
    /// For the blocking pool.
    Offload(RowsJob),
}

/// How time is cut into buckets of this size.
///
/// # Errors
/// An unknown time zone, or a calendar bucket that is aligned.
pub fn bucketing_of(size: &BucketSize, align: i64, unit: TimeUnit) -> Result<Bucketing, Refusal> {
    let zone = size.zone.as_deref().map(String::from_utf8_lossy);
    let is_calendar_day = zone.is_some() && size.text.last().is_some_and(|unit| b"dDwW".contains(unit));
    let text = match size.width {
        Width::Fixed(_) if is_calendar_day => size.text.to_vec(),
        Width::Fixed(steps) => steps.to_string().into_bytes(),
        Width::Months(months) => format!("{months}mo").into_bytes(),
    };
    Bucketing::parse(&text, align, zone.as_deref(), unit.nanoseconds())
        .map_err(|error| Refusal::text(format!("ERR TSDB: {error}")))
}

impl RowsQuery {
    /// What `options` ask of a series, with the aggregators of list number `list` (0 unless every key has one of its
    /// own), newest rows first if `reverse`.
    ///
    /// # Errors
    /// As [`bucketing_of`].
    pub fn new(
        options: RangeOptions,
        list: usize,
        reverse: bool,
        unit: TimeUnit,
    ) -> Result<RowsQuery, Refusal> {
        let bounds = options.bounds;
        let spec = |aggregation: Aggregation| -> Result<AggregationSpec, Refusal> {
            let align = aggregation.align.timestamp(bounds);
            Ok(AggregationSpec {
                aggregators: aggregation.lists.get(list).cloned().unwrap_or_default(),
                bucketing: bucketing_of(&aggregation.bucket, align, unit)?,
                bucket_timestamp: aggregation.bucket_timestamp,
                empty: aggregation.empty,
            })
        };
        // TSDB_SET stores samples from before the epoch, which an open range shows too.
        let from = if bounds.from.is_open {
            i64::MIN
        } else {
            bounds.from.timestamp
        };
        Ok(RowsQuery {
            from,
            to: bounds.to.timestamp,
            timestamps: options.timestamps,
            values: options.values,
            qualities: options.qualities,
            with_quality: options.with_quality,
            count: options.count,
            reverse,
            latest: options.latest,
            aggregation: options.aggregation.map(spec).transpose()?,
            unit_ns: unit.nanoseconds(),
            open_bucket: None,
        })
    }

    /// The same query of a series to which a rule is about to write this sample.
    pub fn with_open_bucket(self: &Arc<RowsQuery>, open_bucket: Option<Sample>) -> Arc<RowsQuery> {
        match open_bucket {
            None => Arc::clone(self),
            Some(_) => Arc::new(RowsQuery {
                open_bucket,
                ..RowsQuery::clone(self)
            }),
        }
    }

    /// Whether the open bucket of a rule's destination is asked for.
    pub fn is_latest(&self) -> bool {
        self.latest
    }

    /// Newest rows first.
    pub fn is_reverse(&self) -> bool {
        self.reverse
    }

    /// Aggregators of the values in a row; empty for samples as they are.
    pub fn aggregators(&self) -> &[Aggregator] {
        self.aggregation
            .as_ref()
            .map_or(&[], |spec| spec.aggregators.as_slice())
    }

    /// True if samples are filtered.
    pub fn is_filtered(&self) -> bool {
        self.timestamps.is_some() || self.values.is_some() || self.qualities.is_some()
    }

    /// The samples between which all wanted ones lie.
    fn main_read(&self) -> RangeQuery {
        let is_cut = self.aggregation.is_none() && !self.is_filtered();
        let (first, last) = self.listed_bounds();
        RangeQuery {
            from: self.from.max(first),
            to: self.to.min(last),
            limit: self.count.filter(|_| is_cut).unwrap_or(usize::MAX),
            reverse: self.reverse && is_cut,
        }
    }

    /// The samples next to the range, for aggregators and empty buckets that look at them.
    fn neighbour_reads(&self) -> [Option<RangeQuery>; 2] {
        let Some(spec) = &self.aggregation else {
            return [None, None];
        };
        let asks = |wanted: &[Aggregator]| spec.aggregators.iter().any(|each| wanted.contains(each));
        let both = spec.empty || asks(&[Aggregator::TimeWeightedAverage]);
        let counters = asks(&[Aggregator::Increase, Aggregator::Rate]);
        // A bucket without a number is reported only with others.
        let carries = asks(&[Aggregator::Last]) && spec.aggregators.len() > 1;
        let limit = if self.is_filtered() {
            NEIGHBOUR_SAMPLES_FILTERED
        } else {
            NEIGHBOUR_SAMPLES
        };
        let (first, last) = self.listed_bounds();
        let read = |from: i64, to: i64, reverse: bool| {
            (from <= to).then_some(RangeQuery {
                from,
                to,
                limit,
                reverse,
            })
        };
        let before = self.from.checked_sub(1).filter(|_| both || counters || carries);
        let after = self.to.checked_add(1).filter(|_| both);
        [
            before.and_then(|to| read(first, to.min(last), true)),
            after.and_then(|from| read(from.max(first), last, false)),
        ]
    }

    /// First and last timestamp that FILTER_BY_TS lets pass; all of time without it.
    fn listed_bounds(&self) -> (i64, i64) {
        match self.timestamps.as_deref() {
            Some([first, .., last] | [first @ last]) => (*first, *last),
            _ => (i64::MIN, i64::MAX),
        }
    }

    /// At most so many rows.
    pub fn count(&self) -> Option<usize> {
        self.count
    }

    /// The aggregation without samples; `None` if samples are wanted as they are.
    pub fn new_aggregation(&self) -> Option<BucketAggregation> {
        let spec = self.aggregation.as_ref()?;
        Some(BucketAggregation::new(spec.clone()).with_unit_ns(self.unit_ns))
    }

    /// True if the samples are seen chunk by chunk: all of a range, of which few are wanted or none as they are.
    fn is_fed(&self) -> bool {
        self.open_bucket.is_none() && (self.aggregation.is_some() || self.is_filtered())
    }

    /// Makes rows of the samples read.
    fn answer(&self, samples: Columns, before: Columns, after: Columns) -> Result<SeriesRows, Refusal> {
        let samples = self.with_newest(samples);
        let mut feed = Feed::new(self);
        feed.samples(&samples, 0..samples.len());
        self.finish(feed, before, after)
    }

    /// Makes rows of the samples seen.
    fn finish(&self, feed: Feed<'_>, before: Columns, after: Columns) -> Result<SeriesRows, Refusal> {
        let Some(aggregation) = feed.aggregation else {
            return Ok(self.plain(feed.samples));
        };
        let number = |sample: &Sample| !sample.value.is_nan();
        let (before, after) = (self.filtered(before), self.filtered(after));
        let surroundings = Surroundings {
            from: self.from,
            to: self.to,
            before: before.iter().rev().find(number),
            after: after.iter().find(number),
        };
        let rows = aggregation.finish(&surroundings, self.count, self.reverse);
        Ok(SeriesRows {
            rows: rows.map_err(|error| Refusal::text(format!("ERR TSDB: {error}")))?,
            qualities: None,
        })
    }

    /// Adds the open bucket, if it lies in the range.
    fn with_newest(&self, mut samples: Columns) -> Columns {
        // The destination may have the bucket already: it was closed before the newest samples were deleted.
        if let Some(newest) = self.open_bucket
            && samples.timestamps.last() == Some(&newest.timestamp)
        {
            samples.truncate(samples.len() - 1);
        }
        if let Some(newest) = self.open_bucket
            && (self.from..=self.to).contains(&newest.timestamp)
            && samples
                .timestamps
                .last()
                .is_none_or(|last| *last < newest.timestamp)
        {
            samples.push(newest);
        }
        samples
    }

    /// The samples that pass the filters.
    pub fn filtered(&self, mut samples: Columns) -> Columns {
        if let Some(timestamps) = &self.timestamps {
            filter_by_timestamps(&mut samples, timestamps);
        }
        if let Some((minimum, maximum)) = self.values {
            filter_by_value(&mut samples, minimum, maximum);
        }
        if let Some((minimum, maximum)) = self.qualities {
            filter_by_quality(&mut samples, minimum, maximum);
        }
        samples
    }

    /// Samples as rows, at most as many as wanted.
    fn plain(&self, mut samples: Columns) -> SeriesRows {
        let count = self.count.unwrap_or(usize::MAX);
        if self.reverse {
            samples.remove(0..samples.len().saturating_sub(count));
        } else {
            samples.truncate(count.min(samples.len()));
        }
        let mut qualities = self
            .with_quality
            .then(|| samples.iter().map(|sample| sample.quality).collect::<Vec<u8>>());
        let mut rows = Rows::of_samples(samples.timestamps, samples.values);
        if self.reverse {
            rows.reverse();
            qualities.iter_mut().for_each(|qualities| qualities.reverse());
        }
        SeriesRows { rows, qualities }
    }
}

/// Runs `query` on the series at `member`.
///
/// # Errors
/// If a row cannot be read or a chunk is damaged; if EMPTY makes too many buckets.
pub fn series_rows(
    partition: &mut Partition,
    member: u32,
    query: &Arc<RowsQuery>,
) -> Result<RowsFound, Stop> {
    partition.settle_retention(member)?;
    let mut neighbours = [
        RangeRead::Ready(Columns::default()),
        RangeRead::Ready(Columns::default()),
    ];
    for (read, neighbour) in query.neighbour_reads().into_iter().zip(&mut neighbours) {
        if let Some(read) = read {
            *neighbour = partition.read_range(member, read)?;
        }
    }
    if query.is_fed() {
        return fed_rows(partition, member, query, neighbours);
    }
    let [before, after] = neighbours;
    Ok(
        match (partition.read_range(member, query.main_read())?, before, after) {
            (RangeRead::Ready(samples), RangeRead::Ready(before), RangeRead::Ready(after)) => {
                RowsFound::Ready(query.answer(samples, before, after)?)
            }
            (samples, before, after) => {
                let query = Arc::clone(query);
                RowsFound::Offload(Box::new(move || {
                    let read = |part: RangeRead| part.into_columns().map_err(Refusal::from);
                    query.answer(read(samples)?, read(before)?, read(after)?)
                }))
            }
        },
    )
}

/// Shows `feed` a range that lies decoded; false, and nothing shown, if it does not or is too long for that.
fn feed_decoded(
    partition: &Partition,
    member: u32,
    read: &RangeQuery,
    feed: &mut Feed<'_>,
) -> Result<bool, StoreError> {
    if !partition.is_short_range(member, read) {
        return Ok(false);
    }
    let show = |range: &DecodedRange<'_>| {
        range.for_each_run(|columns, within| feed.samples(columns, within));
    };
    Ok(partition.with_decoded_range(member, read, show)?.is_some())
}

/// Writes what `query` asks of the series at `member` from where it lies decoded, and says how many samples that were;
/// `None`, and nothing written, if [`series_rows`] has to find it.
///
/// # Errors
/// If a row cannot be read or a chunk is damaged.
pub fn write_decoded(
    partition: &Partition,
    member: u32,
    query: &RowsQuery,
    reply: &mut Reply,
) -> Result<Option<usize>, StoreError> {
    if query.open_bucket.is_some() || query.is_fed() {
        return Ok(None);
    }
    let read = query.main_read();
    partition.with_decoded_range(member, &read, |range| {
        reply.array(range.samples());
        let mut writer = SampleWriter::new(SAMPLE_TEXT, query.with_quality);
        range.for_each_run(|columns, within| write_run(columns, within, read.reverse, &mut writer, reply));
        range.samples()
    })
}

/// As [`series_rows`], chunk by chunk.
fn fed_rows(
    partition: &Partition,
    member: u32,
    query: &Arc<RowsQuery>,
    [before, after]: [RangeRead; 2],
) -> Result<RowsFound, Stop> {
    let mut feed = Feed::new(query);
    let read = query.main_read();
    let rest = if feed_decoded(partition, member, &read, &mut feed)? {
        None
    } else {
        partition.visit_range(member, read, &mut feed)?
    };
    Ok(match (rest, before, after) {
        (None, RangeRead::Ready(before), RangeRead::Ready(after)) => {
            RowsFound::Ready(query.finish(feed, before, after)?)
        }
        (rest, before, after) => {
            let (seen, samples) = (feed.aggregation, feed.samples);
            let query = Arc::clone(query);
            RowsFound::Offload(Box::new(move || {
                let mut feed = Feed::new(&query);
                match rest {
                    None => (feed.aggregation, feed.samples) = (seen, samples),
                    Some(job) => job.visit(&mut feed)?,
                }
                let read = |part: RangeRead| part.into_columns().map_err(Refusal::from);
                query.finish(feed, read(before)?, read(after)?)
            }))
        }
    })
}

/// Runs `query` on a series none of whose samples are in memory and that `view` shows as `sealed`. Blocks.
///
/// `default_retention` is that of the business, for a series without one of its own.
///
/// # Errors
/// As [`series_rows`].
pub fn stored_rows(
    (store, view): (&Database, &View<'_>),
    series_id: u64,
    sealed: &SealedState,
    default_retention: i64,
    query: &RowsQuery,
) -> Result<SeriesRows, Refusal> {
    let job = |read| RangeJob::of_stored((store, view), series_id, sealed, default_retention, read);
    let read = |read: Option<RangeQuery>| match read {
        None => Ok(Columns::default()),
        Some(read) => job(read).and_then(|job| job.run_in(view)).map_err(Refusal::from),
    };
    let [before, after] = query.neighbour_reads();
    let (before, after) = (read(before)?, read(after)?);
    if !query.is_fed() {
        return query.answer(read(Some(query.main_read()))?, before, after);
    }
    let mut feed = Feed::new(query);
    job(query.main_read())?.visit_in(view, &mut feed)?;
    query.finish(feed, before, after)
}
