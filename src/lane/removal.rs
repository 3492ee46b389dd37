//! Removing deleted samples from the chunks of a series: the part of background work that gives deleted space back.

use crate::series::{self, Columns, EncodeScratch};
use crate::store::{Read, StoreError, Tier, View};

use super::deletions::{self, TimeRange};
use super::rewrite::{DROPS_PER_JOB_MAX, RewriteJob, Rewritten, SAMPLES_PER_JOB_MAX};

/// A pass over the chunks that deleted ranges touch.
struct Removal<'a> {
    view: &'a View<'a>,
    scratch: EncodeScratch,
    /// Samples decoded.
    samples: usize,
}

impl RewriteJob {
    /// Removes the samples of deleted ranges from chunks, and their ranges from the state of the series. What is too much
    /// for one job stays for the next.
    pub(super) fn remove_deleted(&self, view: &View<'_>, out: &mut Rewritten) -> Result<(), StoreError> {
        let mut removal = Removal {
            view,
            scratch: EncodeScratch::default(),
            samples: 0,
        };
        let mut rest_begins = None;
        // Chunks of the cold tier are all older than hot ones, so this is the order of time.
        for tier in [Tier::Cold, Tier::Hot] {
            if rest_begins.is_none() {
                rest_begins = self.remove_from_tier(tier, &mut removal, out)?;
            }
        }
        let deleted = match rest_begins {
            Some(first) => deletions::from(&self.sealed.rest().deleted, first),
            None => Vec::new(),
        };
        out.sealed.set_deleted(deleted);
        out.has_news = true;
        let border = self.sealed.last_timestamp;
        if rest_begins.is_none() && deletions::covering(&self.sealed.rest().deleted, border).is_some() {
            out.newest_sealed = Some(self.newest_sealed(view)?);
        }
        Ok(())
    }

    /// Returns the first timestamp of the first chunk that was too much for one job.
    fn remove_from_tier(
        &self,
        tier: Tier,
        removal: &mut Removal<'_>,
        out: &mut Rewritten,
    ) -> Result<Option<i64>, StoreError> {
        let mut done = None;
        for (from, to) in self.sealed.rest().deleted.iter() {
            let mut rows = removal.view.chunks(tier, self.series_id, *from, *to, false);
            while let Read::Known(Some((first, bytes))) = rows.current()? {
                // A chunk is done with all ranges at once.
                if done.is_none_or(|done| first > done) {
                    let is_enough = removal.samples >= SAMPLES_PER_JOB_MAX
                        || out.deleted_chunks.len() >= DROPS_PER_JOB_MAX;
                    if is_enough {
                        return Ok(Some(first));
                    }
                    self.remove_from_chunk(tier, first, bytes, removal, out)?;
                    done = Some(first);
                }
                rows.advance();
            }
        }
        Ok(None)
    }

    fn remove_from_chunk(
        &self,
        tier: Tier,
        first: i64,
        bytes: &[u8],
        removal: &mut Removal<'_>,
        out: &mut Rewritten,
    ) -> Result<(), StoreError> {
        let damaged = |error| self.damaged(&format!("chunk ({error})"), first);
        let summary = series::summary(bytes).map_err(damaged)?;
        if is_covered(&self.sealed.rest().deleted, first, summary.last_timestamp) {
            out.remove(tier, first, summary.count, bytes.len());
            return Ok(());
        }
        let mut samples = Columns::default();
        series::decode(bytes, &mut samples).map_err(damaged)?;
        removal.samples += samples.len();
        let mut left = Columns::default();
        deletions::copy_visible(&samples, 0..samples.len(), &self.sealed.rest().deleted, &mut left);
        if left.len() < samples.len() {
            out.remove(tier, first, samples.len(), bytes.len());
            if !left.is_empty() {
                self.encode(&left, tier, &mut removal.scratch, out);
            }
        }
        Ok(())
    }

    /// Newest sample that is neither in memory nor deleted.
    fn newest_sealed(&self, view: &View<'_>) -> Result<Option<i64>, StoreError> {
        let newest_late = self.newest_late(view)?;
        for tier in [Tier::Hot, Tier::Cold] {
            let mut rows = view.chunks(tier, self.series_id, i64::MIN, i64::MAX, true);
            while let Read::Known(Some((first, bytes))) = rows.current()? {
                let mut timestamps = Vec::new();
                series::decode_timestamps(bytes, &mut timestamps)
                    .map_err(|e| self.damaged(&format!("chunk ({e})"), first))?;
                let is_visible = |timestamp: &&i64| {
                    deletions::covering(&self.sealed.rest().deleted, **timestamp).is_none()
                };
                if let Some(newest) = timestamps.iter().rev().find(is_visible) {
                    return Ok(newest_late.max(Some(*newest)));
                }
                rows.advance();
            }
        }
        Ok(newest_late)
    }
}

fn is_covered(ranges: &[TimeRange], first: i64, last: i64) -> bool {
    deletions::covering(ranges, first).is_some_and(|range| range.1 >= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::range::RangeQuery;
    use crate::lane::stop::{Stop, Wait};
    use crate::lane::test_support::{TestPartition, test_partition};
    use crate::lane::{Committed, Partition};
    use crate::series::Sample;

    const ALL: RangeQuery = RangeQuery {
        from: i64::MIN,
        to: i64::MAX,
        limit: usize::MAX,
        reverse: false,
    };

    fn add(partition: &mut Partition, timestamp: i64) -> u32 {
        let added = partition.add_sample(b"k", 0, Sample::new(timestamp, timestamp as f64), 0);
        assert!(added.is_ok());
        partition.find_series(b"k", 0, 0).ok().flatten().unwrap()
    }

    /// A series with these timestamps, sealed.
    fn sealed(timestamps: impl Iterator<Item = i64>) -> (TestPartition, u32) {
        let mut partition = test_partition();
        let mut member = 0;
        for timestamp in timestamps {
            member = add(&mut partition, timestamp);
        }
        seal(&mut partition, member);
        (partition, member)
    }

    fn seal(partition: &mut Partition, member: u32) {
        partition.request_seal(member);
        let committed = partition.commit(&mut EncodeScratch::default());
        assert!(matches!(committed, Committed::Written { .. }));
        assert!(partition.series_at(member).is_sealed());
    }

    /// Runs all background work there is.
    fn rewrite(partition: &mut Partition, member: u32) -> usize {
        for jobs in 0..100 {
            partition.consider_rewrite(member, 1_000_000_000);
            let Some(job) = partition.start_rewrite(0) else {
                return jobs;
            };
            let (id, rewritten) = (job.series_id(), job.run().unwrap());
            partition.finish_rewrite(id, Some(rewritten), 0);
            partition.commit(&mut EncodeScratch::default());
        }
        panic!("there is always something to do");
    }

    fn read(partition: &mut Partition, member: u32) -> Vec<i64> {
        loop {
            match partition.read_samples(member, ALL) {
                Ok(columns) => return columns.timestamps,
                Err(Stop::Wait(Wait::Warm(job))) => partition.keep_warmed(job.warm().unwrap(), 0),
                Err(_) => panic!("a read was refused"),
            }
        }
    }

    #[test]
    fn the_oldest_sample_is_another_one_when_those_before_it_have_left_the_disk() {
        let (mut partition, member) = sealed(0..5_000);
        assert!(partition.delete_range(member, 0, 2_499).is_ok());
        seal(&mut partition, member);
        rewrite(&mut partition, member);
        assert_eq!(partition.series_at(member).sealed.rest().deleted, []);
        assert_eq!(partition.series_at(member).sealed.first_timestamp, 2_500);
        // A whole chunk, and nothing is written anew.
        let first = read(&mut partition, member)[1_000];
        assert!(partition.delete_range(member, i64::MIN, first).is_ok());
        seal(&mut partition, member);
        rewrite(&mut partition, member);
        assert_eq!(partition.series_at(member).sealed.first_timestamp, first + 1);
    }

    #[test]
    fn deleted_samples_leave_chunks_and_their_space_comes_back() {
        let (mut partition, member) = sealed(0..600_000);
        let before = partition.tier_totals();
        assert_eq!(before.hot_samples, 600_000);
        assert!(partition.delete_range(member, 1_500, 550_000).is_ok());
        let left: Vec<i64> = (0..1_500).chain(550_001..600_000).collect();
        assert!(read(&mut partition, member) == left, "at once");
        seal(&mut partition, member);
        assert_eq!(
            partition.series_at(member).sealed.rest().deleted,
            [(1_500, 550_000)]
        );
        assert!(read(&mut partition, member) == left, "while still on disk");
        assert!(rewrite(&mut partition, member) > 1, "more than one job drops");
        let after = partition.tier_totals();
        assert_eq!(after.hot_samples, left.len() as u64);
        assert!(after.hot_bytes < before.hot_bytes / 8, "{before:?} {after:?}");
        assert!(partition.series_at(member).sealed.rest().deleted.is_empty());
        assert!(read(&mut partition, member) == left, "removed");
    }

    #[test]
    fn samples_written_after_a_deletion_stay() {
        let (mut partition, member) = sealed(0..100);
        assert!(partition.delete_range(member, 10, 89).is_ok());
        add(&mut partition, 50);
        let left: Vec<i64> = (0..10).chain([50]).chain(90..100).collect();
        assert_eq!(read(&mut partition, member), left);
        seal(&mut partition, member);
        assert_eq!(read(&mut partition, member), left);
        rewrite(&mut partition, member);
        assert_eq!(partition.series_at(member).sealed.late_samples, 0, "folded");
        assert_eq!(read(&mut partition, member), left);
        assert!(partition.delete_range(member, 50, 50).is_ok());
        add(&mut partition, 51);
        assert!(partition.delete_range(member, 51, 51).is_ok());
        let left: Vec<i64> = (0..10).chain(90..100).collect();
        assert_eq!(read(&mut partition, member), left);
        seal(&mut partition, member);
        assert_eq!(read(&mut partition, member), left);
    }

    #[test]
    fn late_samples_are_deleted_and_what_is_counted_too_much_is_forgotten() {
        let (mut partition, member) = sealed((0..200).step_by(2));
        for timestamp in (1..100).step_by(2) {
            add(&mut partition, timestamp);
        }
        seal(&mut partition, member);
        assert_eq!(partition.series_at(member).sealed.late_samples, 50);
        assert!(partition.delete_range(member, 1, 1).is_ok());
        assert!(partition.delete_range(member, 3, 198).is_ok());
        assert_eq!(read(&mut partition, member), [0, 2]);
        seal(&mut partition, member);
        assert_eq!(read(&mut partition, member), [0, 2]);
        rewrite(&mut partition, member);
        let sealed = &partition.series_at(member).sealed;
        assert_eq!(
            (sealed.late_samples, sealed.chunk_samples, sealed.last_timestamp),
            (0, 2, 2)
        );
        assert_eq!(read(&mut partition, member), [0, 2]);
    }

    #[test]
    fn once_an_outlier_is_gone_samples_are_late_no_more() {
        let outlier = 1 << 50;
        let (mut partition, member) = sealed((0..100).chain([outlier]));
        add(&mut partition, 200);
        seal(&mut partition, member);
        assert!(partition.delete_range(member, outlier, outlier).is_ok());
        assert_eq!(partition.series_at(member).known_newest(), None);
        add(&mut partition, 300);
        assert_eq!(
            partition.series_at(member).late.len(),
            1,
            "the last timestamp is still the outlier's"
        );
        partition.request_seal(member);
        partition.commit(&mut EncodeScratch::default());
        add(&mut partition, 400);
        assert!(partition.delete_range(member, 150, 250).is_ok());
        rewrite(&mut partition, member);
        let series = partition.series_at(member);
        assert_eq!((series.sealed.last_timestamp, series.late.len()), (300, 0));
        assert_eq!(series.newest_timestamp(), Some(400));
        assert_eq!(series.known_newest(), Some(Some(400)));
        let left: Vec<i64> = (0..100).chain([300, 400]).collect();
        assert_eq!(read(&mut partition, member), left);
        add(&mut partition, 350);
        seal(&mut partition, member);
        rewrite(&mut partition, member);
        let left: Vec<i64> = (0..100).chain([300, 350, 400]).collect();
        assert_eq!(read(&mut partition, member), left);
    }

    #[test]
    fn a_series_can_become_empty_and_begin_anew() {
        let (mut partition, member) = sealed(0..3_000);
        assert!(partition.delete_range(member, i64::MIN, i64::MAX).is_ok());
        assert!(partition.last_sample(member).is_ok_and(|last| last.is_none()));
        seal(&mut partition, member);
        rewrite(&mut partition, member);
        let sealed = &partition.series_at(member).sealed;
        assert_eq!((sealed.last_timestamp, sealed.late_samples), (i64::MIN, 0));
        assert_eq!(partition.tier_totals().hot_bytes, 0);
        assert_eq!(partition.series_at(member).newest_timestamp(), None);
        add(&mut partition, 5);
        assert_eq!(partition.series_at(member).head.len(), 1);
        assert_eq!(read(&mut partition, member), [5]);
    }

    #[test]
    fn late_samples_without_a_chunk_become_one() {
        let (mut partition, member) = sealed(0..3_000);
        assert!(partition.delete_range(member, i64::MIN, i64::MAX).is_ok());
        for timestamp in [7, 5, 6, 7] {
            add(&mut partition, timestamp);
        }
        seal(&mut partition, member);
        rewrite(&mut partition, member);
        let sealed = &partition.series_at(member).sealed;
        assert_eq!(
            (sealed.last_timestamp, sealed.late_samples, sealed.chunk_samples),
            (7, 0, 3)
        );
        assert_eq!(read(&mut partition, member), [5, 6, 7]);
    }

    #[test]
    fn a_deletion_in_memory_alone_is_sealed_too() {
        let mut partition = test_partition();
        let member = add(&mut partition, 1);
        partition.commit(&mut EncodeScratch::default());
        assert!(partition.delete_range(member, 0, 5).is_ok());
        assert!(!partition.series_at(member).is_sealed());
        seal(&mut partition, member);
        assert!(partition.series_at(member).sealed.sequence > 1);
        assert!(partition.delete_range(member, 0, 5).is_ok());
        assert!(!partition.has_changes(), "there is nothing to delete");
    }

    #[test]
    fn a_read_that_had_to_wait_answers_until_something_is_deleted() {
        let (mut partition, member) = sealed(0..100_000);
        let wait = |partition: &Partition| match partition.read_samples(member, ALL) {
            Err(Stop::Wait(Wait::Warm(job))) => Some(job),
            _ => None,
        };
        let job = wait(&partition).expect("too many chunks for the lane");
        partition.keep_warmed(job.warm().unwrap(), 0);
        assert!(wait(&partition).is_none());
        assert!(partition.delete_range(member, 5, 5).is_ok());
        let stale = wait(&partition).expect("what was read has been let go");
        assert!(partition.delete_range(member, 7, 7).is_ok());
        partition.keep_warmed(stale.warm().unwrap(), 0);
        assert!(wait(&partition).is_some(), "a read of before the deletion");
        assert_eq!(read(&mut partition, member).len(), 99_998);
    }
}
