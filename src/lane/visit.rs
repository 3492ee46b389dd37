//! Visiting a range of one series chunk by chunk instead of gathering it: for aggregations, which need not see samples
//! of which a summary says enough.
//!
//! What a visit learns of chunks is kept (`summaries.rs`), so that one that comes again reads nothing but chunks of
//! which the summaries do not say enough.

use std::ops::Range;
use std::sync::Arc;

use crate::series::{ChunkSummary, Columns};
use crate::store::{Reach, Read, StoreError, View};

use super::partition::Partition;
use super::range::{RangeJob, RangeQuery, Stored};
use super::series_state::Series;
use super::summaries::{Known, Lesson, Lessons, Version};
use super::visit_walk::{Learning, Walk, missing};

/// How much of a visit is done on the lane itself.
#[derive(Clone, Copy, Debug)]
pub struct InPlace {
    /// Chunks decoded.
    pub chunks_max: usize,
    /// Summaries read from the database.
    pub summaries_max: usize,
    /// Summaries that are known already.
    pub known_max: usize,
}

impl InPlace {
    /// Each takes about a hundred microseconds.
    pub const USUAL: InPlace = InPlace {
        chunks_max: 64,
        summaries_max: 512,
        known_max: 4_096,
    };
    /// Everything, on the blocking pool.
    pub(super) const UNLIMITED: InPlace = InPlace {
        chunks_max: usize::MAX,
        summaries_max: usize::MAX,
        known_max: usize::MAX,
    };
    /// As little as possible: for tests of what the blocking pool does.
    pub const NOTHING: InPlace = InPlace {
        chunks_max: 0,
        summaries_max: 0,
        known_max: 0,
    };
}

/// Known chunks of which the summaries do not say enough, one in so many, from which on reading all chunks one after the
/// other is cheaper than looking each of these up.
const LOOKED_UP_SHARE_MIN: usize = 3;

/// Sees the samples of a range, oldest first.
pub trait RangeVisitor {
    /// Sees the samples at `within`.
    fn samples(&mut self, columns: &Columns, within: Range<usize>);

    /// Sees a run of samples that lies wholly in the range and of which nothing is hidden; `sum_rest` is what rounding
    /// has taken from its sum, as far as that is known. False, and nothing seen, if the samples are wanted.
    fn summary(&mut self, summary: &ChunkSummary, sum_rest: f64) -> bool;

    /// Last timestamp that a summary from `timestamp` on may reach to.
    fn bucket_last(&self, timestamp: i64) -> i64;

    /// True if [`RangeVisitor::summary`] is worth a try.
    fn takes_summaries(&self) -> bool;

    /// True if [`RangeVisitor::is_full`] never is.
    fn wants_all(&self) -> bool;

    /// True if later samples change nothing.
    fn is_full(&self) -> bool;
}

/// Counts the samples of a range without looking at more of them than it has to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeCount {
    /// So many.
    pub samples: u64,
    /// Timestamps of the oldest and of the newest one; `None` without samples.
    pub ends: Option<(i64, i64)>,
}

impl RangeCount {
    fn add(&mut self, samples: usize, first: i64, last: i64) {
        self.samples += samples as u64;
        self.ends = Some((self.ends.map_or(first, |ends| ends.0), last));
    }
}

impl RangeVisitor for RangeCount {
    fn samples(&mut self, columns: &Columns, within: Range<usize>) {
        let timestamps = columns.timestamps.get(within).unwrap_or(&[]);
        if let [first, .., last] | [first @ last] = timestamps {
            self.add(timestamps.len(), *first, *last);
        }
    }

    fn summary(&mut self, summary: &ChunkSummary, _: f64) -> bool {
        self.add(summary.count, summary.first_timestamp, summary.last_timestamp);
        true
    }

    fn bucket_last(&self, _: i64) -> i64 {
        i64::MAX
    }

    fn takes_summaries(&self) -> bool {
        true
    }

    fn wants_all(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }
}

/// What a visit has to begin with.
#[derive(Default)]
struct Course {
    /// The chunks of the range.
    known: Option<Arc<Known>>,
    learning: Learning,
    /// It would take too long on the lane.
    is_long: bool,
}

/// The part of a visit that is not done on the lane, all of it.
pub struct VisitJob {
    job: RangeJob,
    known: Option<Arc<Known>>,
    learning: Learning,
    lessons: Lessons,
}

impl VisitJob {
    /// Shows all samples to `visitor`, from the disk if need be. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn visit(self, visitor: &mut impl RangeVisitor) -> Result<(), StoreError> {
        let view = self.job.store.view(Reach::Disk);
        let stored = self.job.stored_in(&view)?;
        let manner = Manner {
            known: self.known.as_deref(),
            learning: self.learning,
            in_place: InPlace::UNLIMITED,
        };
        let Read::Known(lesson) = self.job.visit(&view, &stored, manner, visitor)? else {
            return Err(self.job.store.unreached());
        };
        // The lane changes a table only while nobody else has it.
        drop(self.known);
        if let Some(lesson) = lesson {
            self.lessons.leave(lesson);
        }
        Ok(())
    }
}

impl Partition {
    /// Shows the samples of the range in the series at `member` to `visitor`; limit and order of `query` do not count.
    /// What is left is a job for the blocking pool: then the visitor has seen a part only, and another one has to see
    /// everything.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn visit_range(
        &self,
        member: u32,
        query: RangeQuery,
        visitor: &mut impl RangeVisitor,
    ) -> Result<Option<VisitJob>, StoreError> {
        self.visit_range_within(member, query, InPlace::USUAL, visitor)
    }

    /// As [`Partition::visit_range`] with other limits.
    ///
    /// # Errors
    /// As [`Partition::visit_range`].
    pub fn visit_range_within(
        &self,
        member: u32,
        query: RangeQuery,
        in_place: InPlace,
        visitor: &mut impl RangeVisitor,
    ) -> Result<Option<VisitJob>, StoreError> {
        let query = self.retained(
            member,
            RangeQuery {
                limit: usize::MAX,
                reverse: false,
                ..query
            },
        );
        let series = self.series_at(member);
        if series.has_nothing_sealed() || query.from > query.to {
            visitor.samples(&series.head, series.head.range(query.from, query.to));
            return Ok(None);
        }
        let job = self.range_job(member, query);
        let course = self.course(series, &job, &in_place, visitor);
        let is_long = course.is_long
            || (course.known.is_none()
                && self.expected_chunks(member, &query) > in_place.summaries_max as u64);
        // What is seen on the lane would be seen again by the job.
        let known = course.known;
        if !(visitor.wants_all() && is_long) {
            let manner = Manner {
                known: known.as_deref(),
                learning: course.learning,
                in_place,
            };
            let view = job.store.view(Reach::Memory);
            if let Read::Known(lesson) = job.visit(&view, &job.stored, manner, visitor)? {
                drop(known);
                if let Some(lesson) = lesson {
                    self.learn([lesson]);
                }
                return Ok(None);
            }
        }
        Ok(Some(VisitJob {
            job,
            known,
            learning: course.learning,
            lessons: self.summaries.borrow().lessons(),
        }))
    }

    /// How the chunks of a range are best visited.
    fn course(
        &self,
        series: &Series,
        job: &RangeJob,
        in_place: &InPlace,
        visitor: &impl RangeVisitor,
    ) -> Course {
        if !visitor.takes_summaries() || job.has_several_sources(&job.stored) {
            return Course::default();
        }
        self.take_lessons();
        let tables = self.summaries.borrow();
        let (sealed, range) = (&series.sealed, (job.query.from, job.query.to));
        let (from, to) = (
            range.0.max(sealed.first_timestamp),
            range.1.min(sealed.last_timestamp),
        );
        let known = tables.find(series.id, &job.stored.version);
        let Some(known) = known.filter(|known| known.covers(from, to)) else {
            return Course {
                learning: if tables.is_on() {
                    Learning::Everything
                } else {
                    Learning::Nothing
                },
                ..Course::default()
            };
        };
        let chunks = known.within(range.0, range.1).len();
        let looked_up_max = chunks / LOOKED_UP_SHARE_MIN;
        let missing = missing(&known, range, visitor, in_place.chunks_max.max(looked_up_max));
        // Cuts will not do where most chunks lie in more buckets than two.
        let is_cut = missing.in_many_buckets <= missing.chunks / 2;
        Course {
            known: (missing.chunks <= looked_up_max).then_some(known),
            learning: if is_cut { Learning::Cuts } else { Learning::Parts },
            is_long: missing.chunks > in_place.chunks_max || chunks > in_place.known_max,
        }
    }

    /// About how many chunks lie in the range, if they are as large as usual.
    fn expected_chunks(&self, member: u32, query: &RangeQuery) -> u64 {
        self.expected_samples(member, query) / self.settings.head_samples_max.max(1) as u64
    }

    /// Keeps what was found in the present states of series.
    fn learn(&self, lessons: impl IntoIterator<Item = Lesson>) {
        let mut tables = self.summaries.borrow_mut();
        lessons.into_iter().for_each(|lesson| tables.learn(lesson));
        self.decoded.borrow_mut().set_limit(tables.rest_bytes());
    }

    /// Keeps what the blocking pool has found, as far as it has not changed since.
    pub(super) fn take_lessons(&self) {
        let lessons = self.summaries.borrow().take_lessons();
        if lessons.is_empty() {
            return;
        }
        let is_current = |lesson: &Lesson| {
            let member = self.series.place_of(lesson.series_id);
            let series = member.and_then(|member| self.series.get(member));
            series.is_some_and(|series| Version::of(&series.sealed) == lesson.version)
        };
        self.learn(lessons.into_iter().filter(is_current));
    }
}

/// What a visit may make use of, how far it may go and what it keeps.
pub(super) struct Manner<'a> {
    pub(super) known: Option<&'a Known>,
    pub(super) learning: Learning,
    pub(super) in_place: InPlace,
}

impl RangeJob {
    /// Shows all samples to `visitor`, in the view that the job was made for. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn visit_in(&self, view: &View<'_>, visitor: &mut impl RangeVisitor) -> Result<(), StoreError> {
        let manner = Manner {
            known: None,
            learning: Learning::Nothing,
            in_place: InPlace::UNLIMITED,
        };
        match self.visit(view, &self.stored, manner, visitor)? {
            Read::Known(_) => Ok(()),
            Read::Cold => Err(self.store.unreached()),
        }
    }

    /// Shows what the view has, `stored` being its state of the series, and returns what was learned.
    fn visit(
        &self,
        view: &View<'_>,
        stored: &Stored,
        manner: Manner<'_>,
        visitor: &mut impl RangeVisitor,
    ) -> Result<Read<Option<Lesson>>, StoreError> {
        if self.has_several_sources(stored) {
            let Read::Known(sealed) = self.gather(view, stored, manner.in_place.chunks_max)? else {
                return Ok(Read::Cold);
            };
            let all = self.finish(sealed);
            visitor.samples(&all, 0..all.len());
            return Ok(Read::Known(None));
        }
        // The head may have been sealed since the query came: then it is in chunks as well.
        let to = match self.head.timestamps.first() {
            Some(first) => self.query.to.min(first.saturating_sub(1)),
            None => self.query.to,
        };
        let known = manner.known.filter(|known| known.version == stored.version);
        let mut walk = Walk::new(self, (self.query.from, to), &manner, visitor);
        let walked = match known {
            Some(known) => walk.known(view, known)?,
            None => walk.stored(view, stored)?,
        };
        let Read::Known(()) = walked else {
            return Ok(Read::Cold);
        };
        let lesson = walk.lesson(stored.version);
        visitor.samples(&self.head, 0..self.head.len());
        Ok(Read::Known(lesson))
    }
}

#[cfg(test)]
#[path = "visit_tests.rs"]
mod tests;
