//! TS.MGET: the newest sample of every series with some labels.
//!
//! What is in memory is written where it lies; what is not comes from the blocking pool, all series in one go.

use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Call, Command, Flags, Run};
use crate::lane::{
    Handled, LabelMatch, NewestFound, NewestValue, Partition, RangeJob, Stop, newest_of_stored,
};
use crate::resp::{Args, Reply};
use crate::series::{Label, Sample};
use crate::store::{Database, StoreError};

use super::facts;
use super::label_choice::LabelChoice;
use super::matching::{matches_of, open_buckets, plain_series_of};
use super::multi::{collect_series, open_series};
use super::parts::{self, OWN_ARGS};
use super::read_options::parse_mget;
use super::rows_reply::write_sample;

/// The table of these commands.
pub const COMMANDS: &[Command] = &[
    facts::MGET.command(Run::Session(mget)),
    facts::share("TS.PART.MGET", Flags::READONLY, mget_part),
];

fn mget(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    parse_mget(args)?;
    Err(parts::ask_every_partition(
        context,
        "TS.PART.MGET",
        args,
        collect_series,
    ))
}

fn mget_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args.from(OWN_ARGS);
    let options = parse_mget(args)?;
    let mut matches = matches_of(partition, &options.filter, args, call.now_ms)?;
    // Keys that have series of other data types only are none for this command.
    matches.retain(|found| match found {
        LabelMatch::Listed(_, place) => partition.plain_series_at(*place).is_some(),
        LabelMatch::Stored(stored) => plain_series_of(stored).is_some(),
    });
    let open = if options.latest {
        open_buckets(partition, &matches, call.now_ms)?
    } else {
        Vec::new()
    };
    let choice = options.labels;
    let found = newest_of_matches(partition, &matches)?;
    if let Some(newest) = all_known(&found) {
        let series = matches
            .iter()
            .map(|matched| (matched.key(), labels_of(partition, matched)));
        write_all(series, newest, &open, &choice, reply);
        return Ok(());
    }
    let store = partition.database().clone();
    let wanted: Vec<(Box<[u8]>, Vec<Label>)> = matches
        .into_iter()
        .map(|matched| match matched {
            LabelMatch::Listed(key, place) => {
                let labels = partition
                    .properties(place)
                    .map(|properties| properties.labels.clone());
                (key, labels.unwrap_or_default())
            }
            LabelMatch::Stored(stored) => (stored.key, stored.properties.labels),
        })
        .collect();
    Err(Stop::offload(move |reply| {
        let newest = read_rest(&store, found)?;
        let series = wanted.iter().map(|(key, labels)| (&**key, labels.as_slice()));
        write_all(series, newest, &open, &choice, reply);
        Ok(())
    }))
}

fn labels_of<'a>(partition: &'a Partition, matched: &'a LabelMatch) -> &'a [Label] {
    match matched {
        LabelMatch::Listed(_, place) => partition
            .properties(*place)
            .map_or(&[], |properties| &properties.labels),
        LabelMatch::Stored(stored) => &stored.properties.labels,
    }
}

/// What the lane can tell of the newest sample of each.
fn newest_of_matches(partition: &Partition, matches: &[LabelMatch]) -> Result<Vec<NewestFound>, Stop> {
    let member = |matched: &LabelMatch| match matched {
        LabelMatch::Listed(_, place) => partition.plain_series_at(*place),
        LabelMatch::Stored(_) => None,
    };
    let members: Vec<u32> = matches.iter().filter_map(member).collect();
    let mut of_members = partition.newest_of(&members)?.into_iter();
    let newest = |matched: &LabelMatch| match matched {
        LabelMatch::Listed(..) => of_members.next(),
        LabelMatch::Stored(stored) => plain_series_of(stored).map(NewestFound::Sealed),
    };
    Ok(matches.iter().filter_map(newest).collect())
}

fn all_known(found: &[NewestFound]) -> Option<Vec<NewestValue>> {
    let known = |found: &NewestFound| match found {
        NewestFound::Known(newest) => Some(*newest),
        NewestFound::Sealed(_) | NewestFound::Offload(_) => None,
    };
    found.iter().map(known).collect()
}

/// All that was wanted, in its order. Blocks.
fn read_rest(store: &Database, found: Vec<NewestFound>) -> Result<Vec<NewestValue>, StoreError> {
    let sealed = |found: &NewestFound| match found {
        NewestFound::Sealed(series_id) => Some(*series_id),
        NewestFound::Known(_) | NewestFound::Offload(_) => None,
    };
    let series_ids: Vec<u64> = found.iter().filter_map(sealed).collect();
    let mut of_sealed = newest_of_stored(store, &series_ids)?.into_iter();
    let newest = |found: NewestFound| {
        Ok(match found {
            NewestFound::Known(newest) => newest,
            NewestFound::Sealed(_) => of_sealed.next().flatten(),
            NewestFound::Offload(job) => {
                let last = RangeJob::run(*job)?.last();
                last.map(|sample| (sample.timestamp, sample.value))
            }
        })
    };
    found.into_iter().map(newest).collect()
}

/// The open bucket of the rule that writes to the match with this number takes the place of its newest sample, unless
/// it is older: it was closed before the newest samples of its source were deleted.
fn newer(stored: NewestValue, open: &[Option<Sample>], number: usize) -> Option<Sample> {
    let stored = stored.map(|(timestamp, value)| Sample::new(timestamp, value));
    let open = open.get(number).copied().flatten();
    match (stored, open) {
        (Some(stored), Some(open)) if open.timestamp < stored.timestamp => Some(stored),
        (stored, open) => open.or(stored),
    }
}

fn write_all<'a>(
    series: impl Iterator<Item = (&'a [u8], &'a [Label])>,
    newest: Vec<NewestValue>,
    open: &[Option<Sample>],
    choice: &LabelChoice,
    reply: &mut Reply,
) {
    parts::begin(reply);
    for (number, ((key, labels), newest)) in series.zip(newest).enumerate() {
        let opened = open_series(key, labels, choice, 1, reply);
        write_sample(reply, newer(newest, open, number));
        opened.close(reply);
    }
}
