//! Series found by their labels, and the rows of each of them: what the commands with FILTER have in common.

use std::sync::Arc;

use crate::lane::{
    Handled, LabelMatch, LabelQuery, PLAIN_DATA_TYPE, Partition, RuleEnds, Stop, StoredMatch, stored_states,
};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};
use crate::series::{Sample, SeriesProperties};
use crate::store::{Database, Reach};

use super::labels::LabelFilter;
use super::query::{RowsFound, RowsJob, RowsQuery, SeriesRows, series_rows, stored_rows};

/// A series that was found.
pub struct Matched {
    /// Its key.
    pub key: Box<[u8]>,
    /// Its labels and options.
    pub properties: SeriesProperties,
    /// What each of the queries has found.
    pub found: Vec<SeriesRows>,
}

impl Matched {
    /// What the only query has found.
    pub fn rows(&self) -> &SeriesRows {
        static NOTHING: SeriesRows = SeriesRows::NOTHING;
        self.found.first().unwrap_or(&NOTHING)
    }
}

/// Writes the answer once all rows are known.
pub type WriteMatched = Box<dyn FnOnce(Vec<Matched>, &mut Reply) -> Result<(), Refusal> + Send>;

/// Room made at once for the answer about many series.
const LISTED_RESERVED_MAX_BYTES: usize = 4 << 20;

/// The series that `filter` finds, by key; `args` name the query.
///
/// # Errors
/// As [`Partition::find_labelled`].
pub fn matches_of(
    partition: &mut Partition,
    filter: &LabelFilter,
    args: Args<'_>,
    now_ms: i64,
) -> Result<Vec<LabelMatch>, Stop> {
    partition.find_labelled(&label_query(filter, args), now_ms)
}

/// The query of a filter; `args` name it.
pub fn label_query(filter: &LabelFilter, args: Args<'_>) -> LabelQuery {
    let mut words = Vec::new();
    for arg in args.iter() {
        words.extend_from_slice(&(arg.len() as u32).to_le_bytes());
        words.extend_from_slice(arg);
    }
    let equalities = filter
        .equalities()
        .map(|(name, values)| (name.into(), values.to_vec()))
        .collect();
    let filter = filter.clone();
    LabelQuery {
        words,
        equalities,
        test: Arc::new(move |labels| filter.matches(labels)),
    }
}

/// Shows `write` every series that was found, by key, as long as it returns true; false, and nothing left written, if it
/// does not or a series is not in memory: [`rows_of_matches`] then is the way.
///
/// # Errors
/// Those of `write`.
pub fn write_listed(
    partition: &mut Partition,
    matches: &[LabelMatch],
    reply: &mut Reply,
    mut write: impl FnMut(&mut Partition, &[u8], (usize, u32), &mut Reply) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    let start = reply.len();
    for (number, found) in matches.iter().enumerate() {
        let is_written = match found {
            LabelMatch::Stored(_) => false,
            LabelMatch::Listed(key, place) => match partition.plain_series_at(*place) {
                None => true,
                Some(member) => write(partition, key, (*place, member), reply)?,
            },
        };
        if !is_written {
            reply.truncate(start);
            return Ok(false);
        }
        if number == 0 {
            // The others are likely to be as long.
            let rest_bytes = (reply.len() - start).saturating_mul(matches.len());
            reply.reserve(rest_bytes.min(LISTED_RESERVED_MAX_BYTES));
        }
    }
    Ok(true)
}

/// Runs each of `queries` on every series that was found and hands the rows, by key, to `write`.
///
/// # Errors
/// `Offload` if anything has to be read from the disk.
pub fn rows_of_matches(
    partition: &mut Partition,
    matches: Vec<LabelMatch>,
    queries: &[Arc<RowsQuery>],
    now_ms: i64,
    reply: &mut Reply,
    write: WriteMatched,
) -> Handled {
    let is_latest = queries.iter().any(|query| query.is_latest());
    let open_buckets = if is_latest {
        open_buckets(partition, &matches, now_ms)?
    } else {
        Vec::new()
    };
    let (mut ready, mut pending): (Vec<Matched>, Vec<PendingRows>) = Default::default();
    for (number, found) in matches.into_iter().enumerate() {
        let open_bucket = open_buckets.get(number).copied().flatten();
        let (target, key, properties) = match found {
            LabelMatch::Listed(key, place) => {
                let (Some(properties), Some(member)) = (
                    partition.properties(place).cloned(),
                    partition.plain_series_at(place),
                ) else {
                    continue;
                };
                (Target::Listed(member), key, properties)
            }
            LabelMatch::Stored(stored) => {
                let Some(series_id) = plain_series_of(&stored) else {
                    continue;
                };
                (Target::Stored(series_id), stored.key, stored.properties)
            }
        };
        let mut found = Vec::with_capacity(queries.len());
        for (index, query) in queries.iter().enumerate() {
            let query = query.with_open_bucket(open_bucket);
            let rows = match target {
                Target::Listed(member) => match series_rows(partition, member, &query)? {
                    RowsFound::Ready(found) => Ok(found),
                    RowsFound::Offload(job) => Err(RowsSource::Job(job)),
                },
                Target::Stored(series_id) => Err(RowsSource::Stored(series_id, query)),
            };
            found.push(rows.unwrap_or_else(|source| {
                pending.push(PendingRows {
                    number: ready.len(),
                    index,
                    source,
                });
                SeriesRows::default()
            }));
        }
        ready.push(Matched {
            key,
            properties,
            found,
        });
    }
    if pending.is_empty() {
        return write(ready, reply).map_err(Stop::Refused);
    }
    let (store, retention) = (partition.database().clone(), partition.settings.retention);
    Err(Stop::offload(move |reply| {
        read_pending(&store, retention, pending, &mut ready)?;
        write(ready, reply)
    }))
}

/// Rows that the blocking pool is to find.
struct PendingRows {
    /// Of the match with this number, for the query at this place.
    number: usize,
    index: usize,
    source: RowsSource,
}

enum RowsSource {
    /// Some of it is in memory.
    Job(RowsJob),
    /// A series of which nothing is, by its id.
    Stored(u64, Arc<RowsQuery>),
}

/// Reads what is pending into its places. Blocks.
fn read_pending(
    store: &Database,
    retention: i64,
    pending: Vec<PendingRows>,
    ready: &mut [Matched],
) -> Result<(), Refusal> {
    let mut put = |number: usize, index: usize, rows: SeriesRows| {
        let matched = ready.get_mut(number);
        if let Some(place) = matched.and_then(|matched| matched.found.get_mut(index)) {
            *place = rows;
        }
    };
    let (mut series_ids, mut wanted) = (Vec::new(), Vec::new());
    for PendingRows {
        number,
        index,
        source,
    } in pending
    {
        match source {
            RowsSource::Job(job) => put(number, index, job()?),
            RowsSource::Stored(series_id, query) => {
                series_ids.push(series_id);
                wanted.push((number, index, query));
            }
        }
    }
    if series_ids.is_empty() {
        return Ok(());
    }
    let view = store.view(Reach::Disk);
    let states = stored_states(store, &view, &series_ids)?;
    for (at, sealed) in states {
        if let (Some(series_id), Some((number, index, query))) = (series_ids.get(at), wanted.get(at)) {
            let rows = stored_rows((store, &view), *series_id, &sealed, retention, query)?;
            put(*number, *index, rows);
        }
    }
    Ok(())
}

/// Where the samples of a series are.
enum Target {
    /// In memory, at this place of the slab, and on the disk.
    Listed(u32),
    /// On the disk only, under this id.
    Stored(u64),
}

/// The id of the series of data type 0 of a stored key.
pub fn plain_series_of(stored: &StoredMatch) -> Option<u64> {
    let plain = stored.members.iter().find(|member| member.0 == PLAIN_DATA_TYPE);
    plain.map(|(_, series_id)| *series_id)
}

/// Of each match the open bucket of the rule that writes to it.
///
/// # Errors
/// `Wait::OpenBuckets` if its source is elsewhere.
pub fn open_buckets(
    partition: &mut Partition,
    matches: &[LabelMatch],
    now_ms: i64,
) -> Result<Vec<Option<Sample>>, Stop> {
    let source = |found: &LabelMatch| match found {
        LabelMatch::Listed(_, place) => partition.properties(*place)?.source.clone(),
        LabelMatch::Stored(stored) => stored.properties.source.clone(),
    };
    let sources: Vec<Option<Box<[u8]>>> = matches.iter().map(source).collect();
    let ends: Vec<RuleEnds> = sources
        .iter()
        .zip(matches)
        .filter_map(|(source, found)| Some((source.clone()?, found.key().into())))
        .collect();
    let mut found = partition.open_buckets(&ends, now_ms)?.into_iter();
    Ok(sources
        .iter()
        .map(|source| source.as_ref().and_then(|_| found.next().flatten()))
        .collect())
}
