//! Series found by their labels, and the rows of each of them: what the commands with FILTER have in common.

use std::sync::Arc;

use crate::lane::{Handled, LabelMatch, LabelQuery, PLAIN_DATA_TYPE, Partition, SealedState, Stop};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};
use crate::series::SeriesProperties;

use super::labels::LabelFilter;
use super::query::{RowsFound, RowsJob, RowsQuery, SeriesRows, series_rows, stored_rows};

/// A series that was found.
pub struct Matched {
    /// Its key.
    pub key: Box<[u8]>,
    /// Its labels and options.
    pub properties: SeriesProperties,
    /// What was asked of it.
    pub found: SeriesRows,
}

/// Writes the answer once all rows are known.
pub type WriteMatched = Box<dyn FnOnce(Vec<Matched>, &mut Reply) -> Result<(), Refusal> + Send>;

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

/// Runs `query` on every series that `filter` finds and hands the rows, by key, to `write`.
///
/// # Errors
/// As [`Partition::find_labelled`]; `Offload` if anything has to be read from the disk.
pub fn rows_of_matches(
    partition: &mut Partition,
    (filter, args): (&LabelFilter, Args<'_>),
    query: &Arc<RowsQuery>,
    now_ms: i64,
    reply: &mut Reply,
    write: WriteMatched,
) -> Handled {
    let matches = partition.find_labelled(&label_query(filter, args), now_ms)?;
    let (mut ready, mut pending): (Vec<Matched>, Vec<(usize, RowsJob)>) = Default::default();
    for found in matches {
        let (key, properties, rows) = match found {
            LabelMatch::Listed(key, place) => {
                let (Some(properties), Some(member)) = (
                    partition.properties(place).cloned(),
                    partition.plain_series_at(place),
                ) else {
                    continue;
                };
                let rows = series_rows(partition, member, query)?;
                (key, properties, rows)
            }
            LabelMatch::Stored(stored) => {
                let plain = stored.members.iter().find(|member| member.0 == PLAIN_DATA_TYPE);
                let Some((_, series_id)) = plain else { continue };
                let rows = RowsFound::Offload(stored_job(partition, *series_id, query.clone()));
                (stored.key, stored.properties, rows)
            }
        };
        let found = match rows {
            RowsFound::Ready(found) => found,
            RowsFound::Offload(job) => {
                pending.push((ready.len(), job));
                SeriesRows::default()
            }
        };
        ready.push(Matched {
            key,
            properties,
            found,
        });
    }
    if pending.is_empty() {
        return write(ready, reply).map_err(Stop::Refused);
    }
    Err(Stop::Offload(Box::new(move |reply| {
        let start = reply.len();
        let finish = || {
            for (index, job) in pending {
                let rows = job()?;
                if let Some(matched) = ready.get_mut(index) {
                    matched.found = rows;
                }
            }
            write(ready, reply)
        };
        if let Err(refusal) = finish() {
            reply.truncate(start);
            reply.error(&refusal);
        }
    })))
}

/// Reads a series that is not in memory.
fn stored_job(partition: &Partition, series_id: u64, query: Arc<RowsQuery>) -> RowsJob {
    let store = partition.database().clone();
    let retention = partition.settings.retention;
    Box::new(move || {
        let failed = |error: crate::store::StoreError| {
            log::error!("{error}");
            Refusal::text(format!("ERR storage: {error}"))
        };
        let sealed = SealedState::read(&store, series_id).map_err(failed)?;
        stored_rows(&store, series_id, &sealed, retention, &query)
    })
}
