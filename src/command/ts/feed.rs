//! The samples of a range on their way into buckets, or through filters: what a query makes of each chunk.

use std::ops::Range;

use crate::aggregate::BucketAggregation;
use crate::lane::RangeVisitor;
use crate::series::{ChunkSummary, Columns};

use super::query::RowsQuery;

/// See the head of the file.
pub struct Feed<'a> {
    query: &'a RowsQuery,
    /// `None` if samples are wanted as they are.
    pub aggregation: Option<BucketAggregation>,
    /// Samples that passed the filters, unless they are aggregated.
    pub samples: Columns,
}

impl<'a> Feed<'a> {
    /// Of a query that has seen nothing yet.
    pub fn new(query: &'a RowsQuery) -> Feed<'a> {
        Feed {
            query,
            aggregation: query.new_aggregation(),
            samples: Columns::default(),
        }
    }
}

impl RangeVisitor for Feed<'_> {
    fn samples(&mut self, columns: &Columns, within: Range<usize>) {
        if within.is_empty() {
            return;
        }
        let mut passed = Columns::default();
        let (columns, within) = if self.query.is_filtered() {
            passed.extend_from(columns, within);
            passed = self.query.filtered(passed);
            (&passed, 0..passed.len())
        } else {
            (columns, within)
        };
        match &mut self.aggregation {
            None => self.samples.extend_from(columns, within),
            Some(aggregation) => {
                let timestamps = columns.timestamps.get(within.clone()).unwrap_or(&[]);
                aggregation.add_columns(timestamps, columns.values.get(within).unwrap_or(&[]));
            }
        }
    }

    fn summary(&mut self, summary: &ChunkSummary, sum_rest: f64) -> bool {
        let Some(aggregation) = &mut self.aggregation else {
            return false;
        };
        let is_seen = aggregation.add_summary(summary);
        if is_seen {
            aggregation.add_sum_rest(sum_rest);
        }
        is_seen
    }

    fn bucket_last(&self, timestamp: i64) -> i64 {
        let aggregation = self.aggregation.as_ref();
        aggregation.map_or(i64::MAX, |aggregation| aggregation.bucket_last(timestamp))
    }

    fn takes_summaries(&self) -> bool {
        let aggregation = self.aggregation.as_ref();
        aggregation.is_some_and(BucketAggregation::takes_summaries) && !self.query.is_filtered()
    }

    fn wants_all(&self) -> bool {
        self.query.count().is_none() || self.query.is_reverse()
    }

    fn is_full(&self) -> bool {
        let Some(count) = self.query.count().filter(|_| !self.query.is_reverse()) else {
            return false;
        };
        match &self.aggregation {
            None => self.samples.len() >= count,
            Some(aggregation) => aggregation.is_full(count),
        }
    }
}
