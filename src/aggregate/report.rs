//! The rows of closed buckets: what depends on neighbours, empty buckets, order and number.

use crate::aggregate::EMPTY_VALUES_MAX;
use crate::aggregate::aggregator::Aggregator;
use crate::aggregate::bucketing::Bucket;
use crate::aggregate::buckets::{BucketAggregation, Path};
use crate::aggregate::error::AggregateError;
use crate::aggregate::kernels::{span, trapezoid};
use crate::aggregate::rows::Rows;
use crate::aggregate::statistics::{Point, Statistics};
use crate::series::Sample;

/// What is around the samples that were fed: `twa`, `increase`, `rate`, `last` before the first sample, and
/// empty buckets at the edges of the range look at it.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// The queried range, both inclusive: averages over time do not reach beyond it.
    pub from: i64,
    pub to: i64,
    /// The last sample before `from` and the first behind `to` that pass the filters and are not NaN.
    pub before: Option<Sample>,
    pub after: Option<Sample>,
}

impl Default for Surroundings {
    /// All of time and no neighbours.
    fn default() -> Self {
        Surroundings {
            from: i64::MIN,
            to: i64::MAX,
            before: None,
            after: None,
        }
    }
}

impl Surroundings {
    fn point(sample: Option<Sample>) -> Option<Point> {
        sample
            .filter(|sample| !sample.value.is_nan())
            .map(|sample| Point {
                timestamp: sample.timestamp,
                value: sample.value,
            })
    }
}

/// For each gap between rows (0 before the first, n behind the last of n) the nearest samples on both sides.
struct Neighbours {
    before: Vec<Option<Point>>,
    after: Vec<Option<Point>>,
}

impl Neighbours {
    fn of(paths: &[Path], surroundings: &Surroundings) -> Self {
        let mut before = Vec::with_capacity(paths.len() + 1);
        let mut nearest = Surroundings::point(surroundings.before);
        before.push(nearest);
        for path in paths {
            nearest = path.map_or(nearest, |(_, last, _)| Some(last));
            before.push(nearest);
        }
        let mut after = Vec::with_capacity(paths.len() + 1);
        let mut nearest = Surroundings::point(surroundings.after);
        after.push(nearest);
        for path in paths.iter().rev() {
            nearest = path.map_or(nearest, |(first, _, _)| Some(first));
            after.push(nearest);
        }
        after.reverse();
        Neighbours { before, after }
    }

    fn around(&self, gap: usize) -> Option<(Point, Point)> {
        Some((self.before[gap]?, self.after[gap]?))
    }
}

/// Value at `timestamp` on the straight line through two samples.
fn interpolate(left: Point, right: Point, timestamp: i64) -> f64 {
    let share = span(left.timestamp, timestamp) / span(left.timestamp, right.timestamp);
    left.value + (right.value - left.value) * share
}

/// Mean of the straight line from `left` to `right` over a bucket between them.
fn average_between(left: Point, right: Point, from: i64, to: i64) -> f64 {
    interpolate(left, right, from) * 0.5 + interpolate(left, right, to) * 0.5
}

/// Mean over time of a bucket with samples, from `from` where there is a sample before and to `to` where
/// there is one behind.
fn average_of_path(
    (first, last, mut area): (Point, Point, f64),
    before: Option<Point>,
    after: Option<Point>,
    from: i64,
    to: i64,
) -> f64 {
    let (mut start, mut end) = (first.timestamp, last.timestamp);
    if let Some(before) = before {
        start = from.clamp(before.timestamp.min(start), start);
        area += trapezoid(
            start,
            interpolate(before, first, start),
            first.timestamp,
            first.value,
        );
    }
    if let Some(after) = after {
        end = to.clamp(end, after.timestamp.max(end));
        area += trapezoid(last.timestamp, last.value, end, interpolate(last, after, end));
    }
    if start == end {
        return last.value;
    }
    area / span(start, end)
}

impl BucketAggregation {
    /// The rows, at most `limit`, the newest first if `reverse`. Values do not depend on the order: `first`
    /// and `last` stay chronological.
    ///
    /// If no sample is older than time 0, a bucket that starts before it is reported as starting at 0, as
    /// RedisTimeSeries does; series with negative timestamps get their buckets as they are.
    ///
    /// With EMPTY, buckets without samples are filled in between the first and the last with samples, and at
    /// the edges of the queried range too, as long as there are samples on both sides.
    ///
    /// # Errors
    /// If EMPTY makes more values than [`EMPTY_VALUES_MAX`].
    pub fn finish(
        mut self,
        surroundings: &Surroundings,
        limit: Option<usize>,
        reverse: bool,
    ) -> Result<Rows, AggregateError> {
        self.close();
        let limit = limit.unwrap_or(usize::MAX);
        let before = Surroundings::point(surroundings.before);
        if let Some(before) = before {
            self.fill_leading_last(before.value);
            self.fill_first_counter(before);
        }
        let neighbours = self.needs.area.then(|| {
            let neighbours = Neighbours::of(&self.paths, surroundings);
            self.fill_averages(&neighbours, surroundings);
            neighbours
        });
        let is_never_negative = self.starts_at_zero && before.is_none_or(|before| before.timestamp >= 0);
        let floor = if is_never_negative { 0 } else { i64::MIN };
        if !self.spec.empty {
            return Ok(self.into_rows(floor, limit, reverse));
        }
        let mut filling = Filling {
            rows: Rows::with_capacity(self.width(), self.starts.len().min(limit)),
            aggregation: &self,
            neighbours: neighbours.as_ref(),
            surroundings,
            floor,
            limit,
            reverse,
            filled_values: 0,
        };
        filling.run()?;
        Ok(filling.rows)
    }

    fn into_rows(self, floor: i64, limit: usize, reverse: bool) -> Rows {
        let (bucketing, which, width) = (&self.spec.bucketing, self.spec.bucket_timestamp, self.width());
        let (mut timestamps, mut values) = (self.starts, self.values);
        if reverse {
            let surplus = timestamps.len().saturating_sub(limit);
            timestamps.drain(..surplus);
            values.drain(..surplus * width);
        }
        let mut rows = Rows {
            timestamps,
            width,
            values,
        };
        rows.truncate(limit.min(rows.len()));
        for timestamp in &mut rows.timestamps {
            *timestamp = bucketing.reported(*timestamp, floor, which);
        }
        if reverse {
            rows.reverse();
        }
        rows
    }

    /// Index in a row of each value of this aggregator.
    fn columns_of(&self, wanted: Aggregator) -> impl Iterator<Item = usize> + use<'_> {
        let mut offset = 0;
        self.spec.aggregators.iter().filter_map(move |&aggregator| {
            let column = offset;
            offset += aggregator.width();
            (aggregator == wanted).then_some(column)
        })
    }

    /// Gives buckets that have nothing but NaN since the beginning the value from before it.
    fn fill_leading_last(&mut self, value: f64) {
        let columns: Vec<usize> = self.columns_of(Aggregator::Last).collect();
        let width = self.width();
        for column in columns {
            for last in self.values.iter_mut().skip(column).step_by(width) {
                if !last.is_nan() {
                    break;
                }
                *last = value;
            }
        }
    }

    /// Takes the step from the sample before the first bucket in.
    fn fill_first_counter(&mut self, before: Point) {
        let Some((row, counter)) = self.first_counter else {
            return;
        };
        let start = row * self.width();
        for (aggregator, scale) in [
            (Aggregator::Increase, 1.0),
            (Aggregator::Rate, self.units_per_second),
        ] {
            let value = counter.value_after(aggregator, before) * scale;
            let columns: Vec<usize> = self.columns_of(aggregator).collect();
            for column in columns {
                self.values[start + column] = value;
            }
        }
    }

    fn fill_averages(&mut self, neighbours: &Neighbours, surroundings: &Surroundings) {
        let columns: Vec<usize> = self.columns_of(Aggregator::TimeWeightedAverage).collect();
        let width = self.width();
        for (index, &start) in self.starts.iter().enumerate() {
            let (from, to) = clip(self.spec.bucketing.bucket_of(start), surroundings);
            let (before, after) = (neighbours.before[index], neighbours.after[index + 1]);
            let average = match (self.paths[index], before, after) {
                (Some(path), before, after) => average_of_path(path, before, after, from, to),
                (None, Some(before), Some(after)) => average_between(before, after, from, to),
                (None, _, _) => f64::NAN,
            };
            for column in &columns {
                self.values[index * width + column] = average;
            }
        }
    }
}

/// Start and end of the bucket as far as it is queried.
fn clip(bucket: Bucket, surroundings: &Surroundings) -> (i64, i64) {
    let from = bucket.start.max(surroundings.from);
    let to = bucket.last.saturating_add(1).min(surroundings.to);
    (from, to.max(from))
}

/// The rows with the empty buckets between them.
struct Filling<'a> {
    rows: Rows,
    aggregation: &'a BucketAggregation,
    neighbours: Option<&'a Neighbours>,
    surroundings: &'a Surroundings,
    floor: i64,
    limit: usize,
    reverse: bool,
    filled_values: usize,
}

impl Filling<'_> {
    fn run(&mut self) -> Result<(), AggregateError> {
        let count = self.aggregation.starts.len();
        for step in 0..=count {
            if self.reverse {
                let gap = count - step;
                self.fill(gap)?;
                if let Some(row) = gap.checked_sub(1) {
                    self.copy(row);
                }
            } else {
                self.fill(step)?;
                if step < count {
                    self.copy(step);
                }
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= self.limit
    }

    fn push_timestamp(&mut self, start: i64) {
        let spec = &self.aggregation.spec;
        self.rows
            .timestamps
            .push(spec.bucketing.reported(start, self.floor, spec.bucket_timestamp));
    }

    fn copy(&mut self, row: usize) {
        if self.is_full() {
            return;
        }
        let (aggregation, width) = (self.aggregation, self.rows.width);
        self.push_timestamp(aggregation.starts[row]);
        self.rows
            .values
            .extend_from_slice(&aggregation.values[row * width..][..width]);
    }

    /// First and last empty bucket of a gap; None at an edge that has samples on one side only.
    fn bounds(&self, gap: usize) -> Option<(Bucket, Bucket)> {
        let (bucketing, starts) = (&self.aggregation.spec.bucketing, &self.aggregation.starts);
        let has_number = self.aggregation.has_number;
        let before = Surroundings::point(self.surroundings.before);
        let after = Surroundings::point(self.surroundings.after);
        let first = match gap.checked_sub(1) {
            Some(row) => bucketing.following(bucketing.bucket_of(starts[row]))?,
            None if has_number || after.is_some() => {
                bucketing.bucket_of(self.surroundings.from.max(before?.timestamp))
            }
            None => return None,
        };
        let last = match starts.get(gap) {
            Some(&start) => bucketing.preceding(bucketing.bucket_of(start))?,
            None if has_number || before.is_some() => {
                bucketing.bucket_of(self.surroundings.to.min(after?.timestamp))
            }
            None => return None,
        };
        (first.start <= last.start).then_some((first, last))
    }

    fn fill(&mut self, gap: usize) -> Result<(), AggregateError> {
        let Some((first, last)) = self.bounds(gap) else {
            return Ok(());
        };
        let bucketing = &self.aggregation.spec.bucketing;
        let mut next = Some(if self.reverse { last } else { first });
        while let Some(bucket) = next
            && bucket.start >= first.start
            && bucket.start <= last.start
            && !self.is_full()
        {
            self.filled_values += self.rows.width;
            if self.filled_values > EMPTY_VALUES_MAX {
                return Err(AggregateError::TooManyEmptyBuckets {
                    values_max: EMPTY_VALUES_MAX,
                });
            }
            self.push_empty(gap, bucket);
            next = if self.reverse {
                bucketing.preceding(bucket)
            } else {
                bucketing.following(bucket)
            };
        }
        Ok(())
    }

    fn push_empty(&mut self, gap: usize, bucket: Bucket) {
        self.push_timestamp(bucket.start);
        let (aggregation, width) = (self.aggregation, self.rows.width);
        let nothing = Statistics::new();
        let mut column = 0;
        for &aggregator in &aggregation.spec.aggregators {
            let value = match aggregator {
                Aggregator::Last => match gap.checked_sub(1) {
                    Some(row) => aggregation.values[row * width + column],
                    None => {
                        Surroundings::point(self.surroundings.before).map_or(f64::NAN, |before| before.value)
                    }
                },
                Aggregator::TimeWeightedAverage => self.average_of_empty(gap, bucket),
                _ => {
                    nothing.push(aggregator, &mut self.rows.values);
                    column += aggregator.width();
                    continue;
                }
            };
            column += aggregator.width();
            self.rows.values.push(value);
        }
    }

    fn average_of_empty(&self, gap: usize, bucket: Bucket) -> f64 {
        let (from, to) = clip(bucket, self.surroundings);
        self.neighbours
            .and_then(|neighbours| neighbours.around(gap))
            .map_or(f64::NAN, |(left, right)| average_between(left, right, from, to))
    }
}
