//! The newest sample of a series, which is not known without a look at the disk once it was deleted there.
//!
//! A deletion reads nothing, so what remains behind it is not known until background work has carried it out. Whoever
//! must know before, such as rules, which take samples for late by it, looks once; the series remembers what was found
//! as long as nothing changes it.

use super::partition::Partition;
use super::range::RangeQuery;
use super::series_state::Series;
use super::stop::Stop;

impl Series {
    /// Timestamp of the newest sample, `Some(None)` if there is none; `None` while it is not known, which is from the
    /// deletion of the newest sealed sample until somebody has looked, background work has carried the deletion out on
    /// disk, or there are newer samples in memory.
    pub fn known_newest(&self) -> Option<Option<i64>> {
        if let Some(newest) = self.head.timestamps.last() {
            return Some(Some(*newest));
        }
        if !self.sealed.has_chunks() {
            return Some(None);
        }
        match self.newest_deletion() {
            None => Some(Some(self.sealed.last_timestamp)),
            Some(_) => self.found_newest(),
        }
    }

    /// The newest sample is this one, as a look at the disk has found.
    pub(super) fn note_newest(&self, newest: Option<i64>) {
        self.set_found_newest(Some(newest));
    }

    /// A late sample was added.
    #[inline]
    pub(super) fn note_late(&self, timestamp: i64) {
        if let Some(found) = self.found_newest() {
            self.set_found_newest(Some(found.max(Some(timestamp))));
        }
    }

    /// A range was deleted.
    pub(super) fn note_deleted(&self, from: i64, to: i64) {
        if matches!(self.found_newest(), Some(Some(newest)) if (from..=to).contains(&newest)) {
            self.set_found_newest(None);
        }
    }
}

impl Partition {
    /// Timestamp of the newest sample of the series at `member`, however it has to be found out.
    ///
    /// # Errors
    /// `Wait::Warm` if the disk has to be read; if a row cannot be read or a chunk is damaged.
    pub fn certain_newest(&self, member: u32) -> Result<Option<i64>, Stop> {
        let series = self.series_at(member);
        if let Some(newest) = series.known_newest() {
            return Ok(newest);
        }
        let newest = self.newest_up_to(member, i64::MAX)?;
        series.note_newest(newest);
        Ok(newest)
    }

    /// As [`Partition::certain_newest`] for the time after the deletion of what is in `from..=to`.
    ///
    /// # Errors
    /// As [`Partition::certain_newest`].
    pub fn newest_outside(&self, member: u32, (from, to): (i64, i64)) -> Result<Option<i64>, Stop> {
        match self.certain_newest(member)? {
            Some(newest) if (from..=to).contains(&newest) => match from.checked_sub(1) {
                Some(to) => self.newest_up_to(member, to),
                None => Ok(None),
            },
            newest => Ok(newest),
        }
    }

    /// What retention hides depends on the newest sample: makes sure that it is known.
    ///
    /// # Errors
    /// As [`Partition::certain_newest`].
    pub fn settle_retention(&self, member: u32) -> Result<(), Stop> {
        let retention = self.series_at(member).sealed.retention();
        if retention.unwrap_or(self.settings.retention) > 0 {
            self.certain_newest(member)?;
        }
        Ok(())
    }

    /// Retention does not count: it goes by what is looked for.
    fn newest_up_to(&self, member: u32, to: i64) -> Result<Option<i64>, Stop> {
        let up_to = RangeQuery {
            to,
            ..RangeQuery::NEWEST
        };
        let found = self.read_unretained(member, up_to)?;
        Ok(found.timestamps.last().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::stop::Wait;
    use crate::lane::test_support::test_partition;
    use crate::lane::{Committed, Partition};
    use crate::series::{EncodeScratch, Sample};

    fn add(partition: &mut Partition, timestamp: i64) -> u32 {
        let added = partition.add_sample(b"k", 0, Sample::new(timestamp, 1.0), 0);
        assert!(added.is_ok());
        partition
            .find_series(b"k", 0, 0)
            .ok()
            .flatten()
            .expect("it is there")
    }

    fn seal(partition: &mut Partition, member: u32) {
        partition.request_seal(member);
        let committed = partition.commit(&mut EncodeScratch::default());
        assert!(matches!(committed, Committed::Written { .. }));
    }

    fn certain(partition: &mut Partition, member: u32) -> Option<i64> {
        loop {
            match partition.certain_newest(member) {
                Ok(newest) => return newest,
                Err(Stop::Wait(Wait::Warm(job))) => {
                    partition.keep_warmed(job.warm().expect("it can be read"), 0);
                }
                Err(_) => panic!("a look was refused"),
            }
        }
    }

    #[test]
    fn what_remains_behind_a_deletion_is_found_and_remembered() {
        let mut partition = test_partition();
        let mut member = 0;
        for timestamp in [10, 20, 30, 40] {
            member = add(&mut partition, timestamp);
        }
        seal(&mut partition, member);
        assert_eq!(partition.series_at(member).known_newest(), Some(Some(40)));
        assert!(partition.delete_range(member, 25, 35).is_ok());
        assert_eq!(partition.series_at(member).known_newest(), Some(Some(40)));
        assert!(partition.delete_range(member, 40, 40).is_ok());
        assert_eq!(partition.series_at(member).known_newest(), None);
        assert_eq!(certain(&mut partition, member), Some(20));
        assert_eq!(partition.series_at(member).known_newest(), Some(Some(20)));
        assert_eq!(partition.series_at(member).newest_timestamp(), Some(20));
        assert!(
            partition
                .newest_outside(member, (5, 15))
                .is_ok_and(|newest| newest == Some(20))
        );
        assert!(
            partition
                .newest_outside(member, (15, 90))
                .is_ok_and(|newest| newest == Some(10))
        );
        assert!(
            partition
                .newest_outside(member, (i64::MIN, i64::MAX))
                .is_ok_and(|newest| newest.is_none())
        );
        add(&mut partition, 15);
        assert_eq!(partition.series_at(member).known_newest(), Some(Some(20)));
        add(&mut partition, 33);
        assert_eq!(
            partition.series_at(member).known_newest(),
            Some(Some(33)),
            "late, but newer"
        );
        seal(&mut partition, member);
        assert_eq!(certain(&mut partition, member), Some(33));
        assert!(partition.delete_range(member, 33, 33).is_ok());
        assert_eq!(partition.series_at(member).known_newest(), None);
        assert_eq!(certain(&mut partition, member), Some(20));
        add(&mut partition, 50);
        assert!(partition.delete_range(member, 50, 50).is_ok());
        assert_eq!(certain(&mut partition, member), Some(20));
        assert!(partition.delete_range(member, i64::MIN, i64::MAX).is_ok());
        assert_eq!(certain(&mut partition, member), None);
    }

    #[test]
    fn retention_shows_older_samples_again_when_the_newest_are_gone() {
        let mut partition = test_partition();
        let mut member = 0;
        for timestamp in [10, 20, 1_000] {
            member = add(&mut partition, timestamp);
        }
        let place = partition.find(b"k", 0).ok().flatten().expect("it is there");
        let properties = crate::series::SeriesProperties {
            retention: Some(100),
            ..Default::default()
        };
        partition.set_properties(place, properties);
        seal(&mut partition, member);
        assert!(partition.delete_range(member, 1_000, 1_000).is_ok());
        assert!(
            partition
                .last_sample(member)
                .is_ok_and(|last| last.is_some_and(|last| last.timestamp == 20))
        );
        assert!(partition.settle_retention(member).is_ok());
        assert_eq!(
            partition
                .retained(
                    member,
                    RangeQuery {
                        from: 0,
                        to: 9,
                        limit: 1,
                        reverse: false
                    }
                )
                .from,
            0
        );
    }
}
