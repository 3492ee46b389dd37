//! TS.QUERYINDEX and TS.QUERYLABELS: what the label index knows.

use std::collections::BTreeSet;

use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Call, Command, Flags, Run};
use crate::lane::{Handled, LabelMatch, Partition, Stop};
use crate::resp::{Args, Reply};

use super::facts;
use super::labels::LabelFilter;
use super::matching::label_query;
use super::parts::{self, OWN_ARGS};
use super::read_options::parse_query_labels;

/// The table of these commands.
pub const COMMANDS: &[Command] = &[
    facts::QUERYINDEX.command(Run::Session(query_index)),
    facts::QUERYLABELS.command(Run::Session(query_labels)),
    facts::share("TS.PART.INDEX", Flags::READONLY, index_part),
    facts::share("TS.PART.LABELS", Flags::READONLY, labels_part),
];

fn query_index(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    LabelFilter::parse(args.from(1))?;
    Err(parts::ask_every_partition(
        context,
        "TS.PART.INDEX",
        args,
        |_, _, answers, reply| {
            let keys = parts::sorted(answers);
            reply.set(keys.len());
            keys.iter().for_each(|(key, _)| reply.bulk(key));
            Ok(())
        },
    ))
}

fn index_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args.from(OWN_ARGS);
    let filter = LabelFilter::parse(args.from(1))?;
    let found = partition.find_labelled(&label_query(&filter, args), call.now_ms)?;
    parts::begin(reply);
    found
        .iter()
        .for_each(|found| parts::push(reply, found.key(), b""));
    Ok(())
}

fn query_labels(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    parse_query_labels(args)?;
    Err(parts::ask_every_partition(
        context,
        "TS.PART.LABELS",
        args,
        |_, _, answers, reply| {
            let mut words: Vec<&[u8]> = parts::sorted(answers).into_iter().map(|(word, _)| word).collect();
            words.dedup();
            reply.set(words.len());
            words.iter().for_each(|word| reply.bulk(word));
            Ok(())
        },
    ))
}

fn labels_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args.from(OWN_ARGS);
    let query = parse_query_labels(args)?;
    let write = |words: BTreeSet<Box<[u8]>>, reply: &mut Reply| {
        parts::begin(reply);
        words.iter().for_each(|word| parts::push(reply, word, b""));
    };
    let Some(filter) = &query.filter else {
        let words = partition.label_words(query.values_of.as_deref());
        if words.is_complete() {
            write(words.run()?, reply);
            return Ok(());
        }
        return Err(Stop::offload(move |reply| {
            write(words.run()?, reply);
            Ok(())
        }));
    };
    let mut words = BTreeSet::new();
    for found in partition.find_labelled(&label_query(filter, args), call.now_ms)? {
        let properties = match &found {
            LabelMatch::Listed(_, place) => partition.properties(*place),
            LabelMatch::Stored(stored) => Some(&stored.properties),
        };
        for (name, value) in properties.iter().flat_map(|properties| &properties.labels) {
            match &query.values_of {
                None => _ = words.insert(name.clone()),
                Some(of) if of == name => _ = words.insert(value.clone()),
                Some(_) => {}
            }
        }
    }
    write(words, reply);
    Ok(())
}
