//! The newest samples of many series at once: of a sealed one its chunk's summary tells it, without decoding the chunk.

use crate::series;
use crate::store::{Database, NewestChunks, Reach, Read, StoreError, StoreOperation, Tier, View};

use super::loading::damaged_series;
use super::partition::Partition;
use super::range::{RangeJob, RangeQuery, RangeRead};
use super::series_state::SealedState;

/// Newest chunks looked at on the lane itself, for one command.
const IN_PLACE_CHUNKS_MAX: usize = 64;

/// Timestamp and value of the newest sample of a series; `None` if there is none.
pub type NewestValue = Option<(i64, f64)>;

/// What the lane can tell of the newest sample of a series.
#[derive(Debug)]
pub enum NewestFound {
    /// All.
    Known(NewestValue),
    /// It is in the newest chunk of the series with this id: for [`newest_of_stored`].
    Sealed(u64),
    /// For the blocking pool: late samples or deletions have a say.
    Offload(Box<RangeJob>),
}

impl Partition {
    /// The newest samples of the series at `members`. Retention does not count, it goes by these very samples.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn newest_of(&self, members: &[u32]) -> Result<Vec<NewestFound>, StoreError> {
        let mut found = Vec::with_capacity(members.len());
        let mut sealed = 0;
        for member in members {
            let newest = self.newest_in_memory(*member)?;
            sealed += usize::from(matches!(newest, NewestFound::Sealed(_)));
            found.push(newest);
        }
        if sealed == 0 || sealed > IN_PLACE_CHUNKS_MAX {
            return Ok(found);
        }
        let view = self.database().view(Reach::Memory);
        let mut chunks = NewestOfChunks::new(self.database(), &view);
        for (member, found) in members.iter().zip(&mut found) {
            if let NewestFound::Sealed(id) = found {
                match chunks.find(*id, &self.series_at(*member).sealed)? {
                    Read::Known(newest) => *found = NewestFound::Known(newest),
                    Read::Cold => break,
                }
            }
        }
        Ok(found)
    }

    fn newest_in_memory(&self, member: u32) -> Result<NewestFound, StoreError> {
        let series = self.series_at(member);
        if !series.head.is_empty() {
            let newest = series.head.get(series.head.len() - 1);
            return Ok(NewestFound::Known(Some((newest.timestamp, newest.value))));
        }
        if series.has_nothing_sealed() {
            return Ok(NewestFound::Known(None));
        }
        if series.late.is_empty() && series.unsealed_deletions().is_empty() && is_plain(&series.sealed) {
            return Ok(NewestFound::Sealed(series.id));
        }
        Ok(match self.read_whole_range(member, RangeQuery::NEWEST)? {
            RangeRead::Ready(columns) => {
                NewestFound::Known(columns.last().map(|sample| (sample.timestamp, sample.value)))
            }
            RangeRead::Offload(job) => NewestFound::Offload(job),
        })
    }
}

/// The newest samples of series of which nothing is in memory, in the order of `series_ids`. Blocks.
///
/// # Errors
/// If a row cannot be read or is damaged.
pub fn newest_of_stored(store: &Database, series_ids: &[u64]) -> Result<Vec<NewestValue>, StoreError> {
    let view = store.view(Reach::Disk);
    let mut chunks = NewestOfChunks::new(store, &view);
    let mut newest = vec![None; series_ids.len()];
    for (number, sealed) in stored_states(store, &view, series_ids)? {
        let (Some(id), Some(place)) = (series_ids.get(number), newest.get_mut(number)) else {
            continue;
        };
        if is_plain(&sealed)
            && let Read::Known(found) = chunks.find(*id, &sealed)?
        {
            *place = found;
            continue;
        }
        let job = RangeJob::of_stored_whole(store, *id, &sealed, RangeQuery::NEWEST);
        let last = job.run_in(&view)?.last();
        *place = last.map(|sample| (sample.timestamp, sample.value));
    }
    Ok(newest)
}

/// What is sealed of these series, with their numbers in `series_ids`, in the order of ids, in which reading their chunks
/// is cheapest. Blocks.
///
/// # Errors
/// If a row cannot be read or is damaged.
pub fn stored_states(
    store: &Database,
    view: &View<'_>,
    series_ids: &[u64],
) -> Result<Vec<(usize, SealedState)>, StoreError> {
    let mut numbered: Vec<(u64, usize)> = series_ids.iter().copied().zip(0..).collect();
    numbered.sort_unstable();
    let ids: Vec<u64> = numbered.iter().map(|(id, _)| *id).collect();
    let mut states = Vec::with_capacity(ids.len());
    let read = view.series_many(&ids, |at, row| {
        let Some((id, number)) = numbered.get(at) else {
            return Ok(());
        };
        let decoded = row.map(|row| SealedState::decode(row).ok_or_else(|| damaged_series(store, *id)));
        let sealed = decoded.transpose()?.map(|(sealed, _, _)| sealed);
        states.push((*number, sealed.unwrap_or_default()));
        Ok(())
    })?;
    match read {
        Read::Known(()) => Ok(states),
        Read::Cold => Err(store.unreached()),
    }
}

/// True if of what is sealed only chunks count.
fn is_plain(sealed: &SealedState) -> bool {
    sealed.late_samples == 0 && sealed.rest().deleted.is_empty()
}

/// The newest chunks of series, read from as few places as can be.
struct NewestOfChunks<'a> {
    store: &'a Database,
    view: &'a View<'a>,
    hot: Option<NewestChunks<'a>>,
    cold: Option<NewestChunks<'a>>,
}

impl<'a> NewestOfChunks<'a> {
    fn new(store: &'a Database, view: &'a View<'a>) -> NewestOfChunks<'a> {
        NewestOfChunks {
            store,
            view,
            hot: None,
            cold: None,
        }
    }

    /// The newest sample of a series without late samples and deletions.
    fn find(&mut self, series_id: u64, sealed: &SealedState) -> Result<Read<NewestValue>, StoreError> {
        // Hot chunks are all newer than cold ones.
        let (tier, chunks) = if sealed.chunk_samples > 0 {
            (Tier::Hot, &mut self.hot)
        } else if sealed.rest().cold_samples > 0 {
            (Tier::Cold, &mut self.cold)
        } else {
            return Ok(Read::Known(None));
        };
        let chunks = chunks.get_or_insert_with(|| self.view.newest_chunks(tier));
        match chunks.of(series_id)? {
            Read::Cold => Ok(Read::Cold),
            Read::Known(None) => Ok(Read::Known(None)),
            Read::Known(Some((first, bytes))) => {
                let summary = series::summary(bytes).map_err(|error| {
                    let what = format!("damaged chunk ({error}) of series {series_id} at timestamp {first}");
                    StoreError::new(StoreOperation::Decode, self.store.name(), what)
                })?;
                Ok(Read::Known(Some((summary.last_timestamp, summary.values.last))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Committed;
    use crate::lane::test_support::test_partition;
    use crate::series::{EncodeScratch, Sample};

    fn add(partition: &mut Partition, key: &str, timestamp: i64, value: f64) -> u32 {
        let added = partition.add_sample(key.as_bytes(), 0, Sample::new(timestamp, value), 0);
        assert!(added.is_ok());
        partition
            .find_series(key.as_bytes(), 0, 0)
            .ok()
            .flatten()
            .expect("it is there")
    }

    fn seal(partition: &mut Partition, members: &[u32]) {
        members.iter().for_each(|member| partition.request_seal(*member));
        let committed = partition.commit(&mut EncodeScratch::default());
        assert!(matches!(committed, Committed::Written { .. }));
    }

    fn newest(partition: &Partition, members: &[u32]) -> Vec<NewestValue> {
        let found = partition.newest_of(members).unwrap().into_iter();
        let all = found.map(|found| match found {
            NewestFound::Known(newest) => newest,
            NewestFound::Sealed(id) => newest_of_stored(partition.database(), &[id]).unwrap()[0],
            NewestFound::Offload(job) => {
                let last = job.run().unwrap().last();
                last.map(|sample| (sample.timestamp, sample.value))
            }
        });
        all.collect()
    }

    #[test]
    fn the_newest_samples_are_those_that_reads_find() {
        let mut partition = test_partition();
        let names = [
            "head", "sealed", "late", "replaced", "deleted", "emptied", "short",
        ];
        let mut members = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let samples = if *name == "short" { 3 } else { 300 };
            for timestamp in 0..samples {
                add(
                    &mut partition,
                    name,
                    timestamp * 10,
                    (timestamp * 7 % 11 + number as i64) as f64,
                );
            }
            members.push(add(&mut partition, name, 5_000, number as f64 + 0.5));
        }
        let id_of = |partition: &Partition, number: usize| partition.series_at(members[number]).id;
        let ids: Vec<u64> = (0..names.len()).map(|number| id_of(&partition, number)).collect();
        assert_eq!(newest(&partition, &members[..1]), [Some((5_000, 0.5))]);
        seal(&mut partition, &members);
        let all: Vec<NewestValue> = (0..names.len()).map(|n| Some((5_000, n as f64 + 0.5))).collect();
        assert_eq!(newest(&partition, &members), all);
        let mut backwards = ids.clone();
        backwards.reverse();
        backwards.push(u64::MAX);
        let mut expected = all.clone();
        expected.reverse();
        expected.push(None);
        assert_eq!(
            newest_of_stored(partition.database(), &backwards).unwrap(),
            expected
        );

        add(&mut partition, "head", 6_000, -1.0);
        add(&mut partition, "late", 17, -2.0);
        add(&mut partition, "replaced", 5_000, -3.0);
        assert!(partition.delete_range(members[4], 2_000, 9_000).is_ok());
        assert!(partition.delete_range(members[5], i64::MIN, i64::MAX).is_ok());
        let mut expected = all.clone();
        expected[0] = Some((6_000, -1.0));
        expected[3] = Some((5_000, -3.0));
        expected[4] = Some((1_990, (199 * 7 % 11 + 4) as f64));
        expected[5] = None;
        assert_eq!(newest(&partition, &members), expected);
        seal(&mut partition, &members);
        assert_eq!(newest(&partition, &members), expected);
        assert_eq!(newest_of_stored(partition.database(), &ids).unwrap(), expected);
    }

    #[test]
    fn a_series_without_samples_has_no_newest() {
        let mut partition = test_partition();
        let member = add(&mut partition, "k", 5, 1.0);
        assert!(partition.delete_range(member, 5, 5).is_ok());
        assert_eq!(newest(&partition, &[member]), [None]);
        let id = partition.series_at(member).id;
        assert_eq!(
            newest_of_stored(partition.database(), &[id, id + 7]).unwrap(),
            [None, None]
        );
    }
}
