//! SUBSCRIBE, PUBLISH and their kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::refusal::Refusal;
use crate::resp::glob::glob_match;
use crate::resp::{Args, Proto, Reply};

use super::entry::entry;
use super::plan::{Order, OrderAnswer, Plan};
use super::report::{ReportKinds, Reports};
use super::session::{SessionContext, SessionStop};
use super::subcommand::{Subcommand, dispatch, subcommand, subcommand_name, unknown_or_wrong_count};
use super::{Command, Flags};

/// A message on its way to those who listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub channel: Box<[u8]>,
    /// What.
    pub payload: Box<[u8]>,
    /// True if it comes from SPUBLISH: sharded channels have names of their own, and patterns do not apply.
    pub is_sharded: bool,
}

/// What a client listens to.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    /// Channels of these names.
    pub channels: BTreeSet<Box<[u8]>>,
    /// Channels whose names match.
    pub patterns: BTreeSet<Box<[u8]>>,
    /// Sharded channels of these names; the name is the same on every port, since a process is one server.
    pub sharded: BTreeSet<Box<[u8]>>,
}

/// The kinds of subscriptions.
#[derive(Clone, Copy)]
enum Kind {
    Channel,
    Pattern,
    Sharded,
}

impl Subscriptions {
    /// True if the client listens to nothing.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.sharded.is_empty()
    }

    /// The number that a confirmation shows: sharded channels are counted apart from the others.
    fn count_beside(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Sharded => self.sharded.len(),
        }
    }

    fn of(&mut self, kind: Kind) -> &mut BTreeSet<Box<[u8]>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Sharded => &mut self.sharded,
        }
    }

    /// Writes the message once for every subscription that it fits; returns how many these are.
    pub fn write(&self, message: &Message, reply: &mut Reply) -> u64 {
        let mut times = 0;
        let (names, kind): (_, &[u8]) = match message.is_sharded {
            true => (&self.sharded, b"smessage"),
            false => (&self.channels, b"message"),
        };
        if names.contains(&message.channel) {
            begin(reply, 3);
            reply.bulk(kind);
            reply.bulk(&message.channel);
            reply.bulk(&message.payload);
            times += 1;
        }
        if message.is_sharded {
            return times;
        }
        for pattern in &self.patterns {
            if glob_match(pattern, &message.channel, false) {
                begin(reply, 4);
                reply.bulk(b"pmessage");
                reply.bulk(pattern);
                reply.bulk(&message.channel);
                reply.bulk(&message.payload);
                times += 1;
            }
        }
        times
    }
}

/// The head of something that is no answer.
fn begin(reply: &mut Reply, len: usize) {
    match reply.proto() {
        Proto::Resp2 => reply.array(len),
        Proto::Resp3 => reply.push(len),
    }
}

/// The family's table.
pub const COMMANDS: &[Command] = &[
    entry("SUBSCRIBE", -2, Flags::NO_MULTI, |context, args, reply| {
        subscribe(context, args, Kind::Channel, reply)
    })
    .of_group("pubsub")
    .says(
        "2.0.0",
        "channel [channel ...]",
        "Listens for messages published to channels.",
    ),
    entry("UNSUBSCRIBE", -1, Flags::NO_MULTI, |context, args, reply| {
        unsubscribe(context, args, Kind::Channel, reply)
    })
    .of_group("pubsub")
    .says(
        "2.0.0",
        "[channel [channel ...]]",
        "Stops listening to messages posted to channels.",
    ),
    entry("PSUBSCRIBE", -2, Flags::NO_MULTI, |context, args, reply| {
        subscribe(context, args, Kind::Pattern, reply)
    })
    .of_group("pubsub")
    .says(
        "2.0.0",
        "pattern [pattern ...]",
        "Listens for messages published to channels that match one or more patterns.",
    ),
    entry("PUNSUBSCRIBE", -1, Flags::NO_MULTI, |context, args, reply| {
        unsubscribe(context, args, Kind::Pattern, reply)
    })
    .of_group("pubsub")
    .says(
        "2.0.0",
        "[pattern [pattern ...]]",
        "Stops listening to messages published to channels that match one or more patterns.",
    ),
    entry("PUBLISH", 3, Flags::FAST, |_, args, _| publish(args, false))
        .of_group("pubsub")
        .says(
            "2.0.0",
            "channel message",
            "Posts a message to a channel and returns how many listened.",
        ),
    entry("SSUBSCRIBE", -2, Flags::NO_MULTI, |context, args, reply| {
        subscribe(context, args, Kind::Sharded, reply)
    })
    .of_group("pubsub")
    .says(
        "7.0.0",
        "shardchannel [shardchannel ...]",
        "Listens for messages published to sharded channels.",
    ),
    entry("SUNSUBSCRIBE", -1, Flags::NO_MULTI, |context, args, reply| {
        unsubscribe(context, args, Kind::Sharded, reply)
    })
    .of_group("pubsub")
    .says(
        "7.0.0",
        "[shardchannel [shardchannel ...]]",
        "Stops listening to messages posted to sharded channels.",
    ),
    entry("SPUBLISH", 3, Flags::FAST, |_, args, _| publish(args, true))
        .of_group("pubsub")
        .says(
            "7.0.0",
            "shardchannel message",
            "Posts a message to a sharded channel and returns how many listened.",
        ),
    entry("PUBSUB", -2, Flags::NONE, |context, args, reply| {
        dispatch(PUBSUB, context, args, reply)
    })
    .of_group("pubsub")
    .says(
        "2.8.0",
        "",
        "A container for commands about channels and who listens to them.",
    ),
];

/// Subcommands of PUBSUB.
pub const PUBSUB: &[Subcommand] = &[
    subcommand("pubsub|channels", -2, Flags::NONE, |_, args, _| {
        report_names(args, |_, args, reports, reply| {
            list(&channels(reports), args, reply)
        })
    })
    .says("2.8.0", "[pattern]", "Returns the active channels."),
    subcommand("pubsub|numpat", 2, Flags::NONE, |_, _, _| {
        Err(report(|_, _, reports, reply| {
            reply.integer(pattern_count(reports) as i64);
            Ok(())
        }))
    })
    .says("2.8.0", "", "Returns a count of unique pattern subscriptions."),
    subcommand("pubsub|numsub", -2, Flags::NONE, |_, _, _| {
        Err(report(|_, args, reports, reply| {
            count(&channels(reports), args, reply)
        }))
    })
    .says(
        "2.8.0",
        "[channel [channel ...]]",
        "Returns a count of subscribers to channels.",
    ),
    subcommand("pubsub|shardchannels", -2, Flags::NONE, |_, args, _| {
        report_names(args, |_, args, reports, reply| {
            list(&sharded_channels(reports), args, reply)
        })
    })
    .says("7.0.0", "[pattern]", "Returns the active sharded channels."),
    subcommand("pubsub|shardnumsub", -2, Flags::NONE, |_, _, _| {
        Err(report(|_, args, reports, reply| {
            count(&sharded_channels(reports), args, reply)
        }))
    })
    .says(
        "7.0.0",
        "[shardchannel [shardchannel ...]]",
        "Returns a count of subscribers to sharded channels.",
    ),
];

fn report(render: super::Render) -> SessionStop {
    Plan::report(ReportKinds::CHANNELS, render).into()
}

/// Lists names that fit the one pattern that may be given.
fn report_names(args: Args<'_>, render: super::Render) -> Result<(), SessionStop> {
    if args.len() > 3 {
        return Err(unknown_or_wrong_count("PUBSUB", args.get(1)).into());
    }
    Err(report(render))
}

/// Subscribers of every channel that is not sharded.
pub fn channels(reports: &Reports) -> BTreeMap<&[u8], u64> {
    sum(reports.lanes.iter().map(|lane| &lane.listeners.channels))
}

/// Subscribers of every sharded channel.
pub fn sharded_channels(reports: &Reports) -> BTreeMap<&[u8], u64> {
    sum(reports.lanes.iter().map(|lane| &lane.listeners.sharded))
}

fn sum<'a>(lanes: impl Iterator<Item = &'a BTreeMap<Box<[u8]>, u64>>) -> BTreeMap<&'a [u8], u64> {
    let mut counts = BTreeMap::new();
    for (channel, subscribers) in lanes.flatten() {
        *counts.entry(&**channel).or_default() += subscribers;
    }
    counts
}

/// How many different patterns clients listen to.
pub fn pattern_count(reports: &Reports) -> usize {
    let patterns: BTreeSet<_> = reports
        .lanes
        .iter()
        .flat_map(|lane| &lane.listeners.patterns)
        .collect();
    patterns.len()
}

fn list(channels: &BTreeMap<&[u8], u64>, args: Args<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    let pattern = args.try_get(2).unwrap_or(b"*");
    let wanted: Vec<&&[u8]> = channels
        .keys()
        .filter(|name| glob_match(pattern, name, false))
        .collect();
    reply.array(wanted.len());
    wanted.into_iter().for_each(|name| reply.bulk(name));
    Ok(())
}

fn count(channels: &BTreeMap<&[u8], u64>, args: Args<'_>, reply: &mut Reply) -> Result<(), Refusal> {
    reply.array((args.len() - 2) * 2);
    for name in args.from(2).iter() {
        reply.bulk(name);
        reply.integer(channels.get(name).copied().unwrap_or(0) as i64);
    }
    Ok(())
}

fn publish(args: Args<'_>, is_sharded: bool) -> Result<(), SessionStop> {
    let message = Message {
        channel: args.get(1).into(),
        payload: args.get(2).into(),
        is_sharded,
    };
    let order = Order::Publish(Arc::from([message]));
    Err(Plan::order(order, OrderAnswer::Sum).into())
}

fn subscribe(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    kind: Kind,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    let subscriptions = context.session.subscriptions.get_or_insert_default();
    for name in args.from(1).iter() {
        subscriptions.of(kind).insert(name.into());
        let count = subscriptions.count_beside(kind);
        confirm(reply, (kind, "subscribe"), Some(name), count);
    }
    Ok(())
}

fn unsubscribe(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    kind: Kind,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    let mut subscriptions = context.session.subscriptions.take().unwrap_or_default();
    let names: Vec<Box<[u8]>> = match args.len() {
        1 => subscriptions.of(kind).iter().cloned().collect(),
        _ => args.from(1).iter().map(Box::from).collect(),
    };
    if names.is_empty() {
        confirm(
            reply,
            (kind, "unsubscribe"),
            None,
            subscriptions.count_beside(kind),
        );
    }
    for name in names {
        subscriptions.of(kind).remove(&name);
        let count = subscriptions.count_beside(kind);
        confirm(reply, (kind, "unsubscribe"), Some(&name), count);
    }
    context.session.subscriptions = Some(subscriptions).filter(|left| !left.is_empty());
    Ok(())
}

fn confirm(reply: &mut Reply, (kind, verb): (Kind, &str), name: Option<&[u8]>, count: usize) {
    begin(reply, 3);
    match kind {
        Kind::Channel => reply.bulk(verb.as_bytes()),
        Kind::Pattern => reply.bulk(format!("p{verb}").as_bytes()),
        Kind::Sharded => reply.bulk(format!("s{verb}").as_bytes()),
    }
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer(count as i64);
}

/// Whether a client that listens, in RESP2, may call the command: its replies could be taken for messages.
///
/// # Errors
/// The refusal of Redis.
pub fn admit_listener(command: &Command, args: Args<'_>) -> Result<(), Refusal> {
    match command.name {
        "SUBSCRIBE" | "UNSUBSCRIBE" | "PSUBSCRIBE" | "PUNSUBSCRIBE" | "SSUBSCRIBE" | "SUNSUBSCRIBE" => Ok(()),
        "PING" | "QUIT" | "RESET" => Ok(()),
        _ => Err(Refusal::text(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context",
            subcommand_name(command.name, args).map_or_else(|| command.lower_name(), str::to_owned)
        ))),
    }
}

#[cfg(test)]
#[path = "pubsub_tests.rs"]
mod tests;
