//! LATENCY and SLOWLOG.

use crate::metrics::redis_view::{CommandHistogram, latency_histogram, latency_histograms};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

use super::entry::entry;
use super::plan::{Order, OrderAnswer, Plan};
use super::report::{ReportKinds, Reports, SlowCall};
use super::session::{SessionContext, SessionStop};
use super::subcommand::{Subcommand, dispatch, subcommand, unknown_or_wrong_count};
use super::{Command, Flags};

/// Slow calls that SLOWLOG GET shows unless told otherwise.
const SLOW_CALLS_SHOWN: usize = 10;

const NO_EVENTS: &str = "Dave, I have observed no latency events: this server keeps a histogram of every \
    command instead. Try LATENCY HISTOGRAM, LATENCY DUMP or SLOWLOG GET.\n";

/// The family's table.
pub const COMMANDS: &[Command] = &[
    entry("LATENCY", -2, Flags::NONE, |context, args, reply| {
        dispatch(LATENCY, context, args, reply)
    })
    .of_group("server")
    .says("2.8.13", "", "A container for latency diagnostics commands."),
    entry("SLOWLOG", -2, Flags::NONE, |context, args, reply| {
        dispatch(SLOWLOG, context, args, reply)
    })
    .of_group("server")
    .says("2.2.12", "", "A container for slow log commands."),
];

/// Subcommands of LATENCY.
pub const LATENCY: &[Subcommand] = &[
    subcommand("latency|doctor", 2, Flags::ADMIN, |_, _, reply| {
        reply.verbatim("txt", NO_EVENTS.as_bytes());
        Ok(())
    })
    .says("2.8.13", "", "Says where to look for latency."),
    subcommand("latency|dump", 2, Flags::ADMIN, |_, _, _| {
        Err(Plan::DumpLatency.into())
    })
    .says(
        "7.0.0",
        "",
        "Writes all histograms into the data directory as .hgrm and .hlog files.",
    ),
    subcommand("latency|graph", 3, Flags::ADMIN, |_, args, _| {
        let event = String::from_utf8_lossy(args.get(2));
        Err(Refusal::text(format!("ERR No samples available for event '{event}'")).into())
    })
    .says("2.8.13", "event", "Returns a latency graph for an event."),
    subcommand("latency|histogram", -2, Flags::ADMIN, |_, _, _| {
        Err(Plan::report(ReportKinds::LATENCY, render_histograms).into())
    })
    .says(
        "7.0.0",
        "[command [command ...]]",
        "Returns the cumulative distribution of latencies of a subset or all commands.",
    ),
    subcommand("latency|history", 3, Flags::ADMIN, empty).says(
        "2.8.13",
        "event",
        "Returns timestamp-latency samples for an event.",
    ),
    subcommand("latency|latest", 2, Flags::ADMIN, empty).says(
        "2.8.13",
        "",
        "Returns the latest latency samples for all events.",
    ),
    subcommand("latency|reset", -2, Flags::ADMIN, reset).says(
        "2.8.13",
        "[command [command ...]]",
        "Resets the histograms of a subset or all commands.",
    ),
];

/// Subcommands of SLOWLOG.
pub const SLOWLOG: &[Subcommand] = &[
    subcommand("slowlog|get", -2, Flags::ADMIN, |_, args, _| {
        shown_max(args)?;
        Err(Plan::report(ReportKinds::SLOWLOG, render_slow_calls).into())
    })
    .says("2.2.12", "[count]", "Returns the slow log's entries."),
    subcommand("slowlog|len", 2, Flags::ADMIN, |_, _, _| {
        Err(Plan::report(ReportKinds::SLOWLOG, render_slow_call_count).into())
    })
    .says("2.2.12", "", "Returns the number of entries in the slow log."),
    subcommand("slowlog|reset", 2, Flags::ADMIN, |_, _, _| {
        Err(Plan::order(Order::ResetSlowlog, OrderAnswer::Ok).into())
    })
    .says("2.2.12", "", "Clears all entries from the slow log."),
];

/// There is no event monitor, so there are no events.
fn empty(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    reply.array(0);
    Ok(())
}

/// Names that are no commands are left out; if nothing remains of the names given, nothing is reset.
fn reset(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let names = args.from(2);
    let ids: Vec<_> = names
        .iter()
        .filter_map(|name| context.shared.commands.find(name))
        .collect();
    if ids.is_empty() && !names.is_empty() {
        reply.integer(0);
        return Ok(());
    }
    Err(Plan::order(Order::ResetLatency(ids), OrderAnswer::Sum).into())
}

fn render_histograms(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let commands = &context.shared.commands;
    let wanted = args.from(2);
    let histograms: Vec<CommandHistogram> = match reports.latency() {
        None => Vec::new(),
        Some(table) if wanted.is_empty() => latency_histograms(&commands.names(), &table),
        Some(table) => {
            let names = commands.names();
            let ids = wanted.iter().filter_map(|name| commands.find(name));
            ids.filter_map(|id| latency_histogram(&names, &table, id.into()))
                .collect()
        }
    };
    reply.map(histograms.len());
    for histogram in histograms {
        reply.bulk(histogram.name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(histogram.calls as i64);
        reply.bulk(b"histogram_usec");
        reply.map(histogram.histogram_usec.len());
        for (end_us, calls) in histogram.histogram_usec {
            reply.integer(end_us as i64);
            reply.integer(calls as i64);
        }
    }
    Ok(())
}

fn shown_max(args: Args<'_>) -> Result<usize, Refusal> {
    let Some(count) = args.try_get(2) else {
        return Ok(SLOW_CALLS_SHOWN);
    };
    if args.len() > 3 {
        return Err(unknown_or_wrong_count("SLOWLOG", args.get(1)));
    }
    match parse_i64(count) {
        Some(-1) => Ok(usize::MAX),
        Some(count @ 0..) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        _ => Err(Refusal::text("ERR count should be greater than or equal to -1")),
    }
}

/// Every lane keeps as many as all of them together are to keep.
fn kept_max(context: &SessionContext<'_>) -> usize {
    context.shared.settings().slowlog_entries_max
}

fn render_slow_calls(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let lanes = reports.lanes.iter();
    let mut calls: Vec<&SlowCall> = lanes.flat_map(|lane| &lane.slow_calls).collect();
    calls.sort_by_key(|call| std::cmp::Reverse(call.id));
    calls.truncate(shown_max(args)?.min(kept_max(context)));
    reply.array(calls.len());
    for call in calls {
        reply.array(6);
        reply.integer(call.id as i64);
        reply.integer(call.at_s);
        reply.integer(call.duration_us as i64);
        reply.array(call.args.len());
        for arg in &call.args {
            reply.bulk(arg);
        }
        reply.bulk(call.address.as_bytes());
        reply.bulk(call.name.as_bytes());
    }
    Ok(())
}

fn render_slow_call_count(
    context: &mut SessionContext<'_>,
    _: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let count: usize = reports.lanes.iter().map(|lane| lane.slow_calls.len()).sum();
    reply.integer(count.min(kept_max(context)) as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::{TestClient, reports};

    #[test]
    fn histograms_of_all_lanes_are_one() {
        let mut client = TestClient::new();
        let mut reports = reports(&client.shared);
        let ping = usize::from(client.shared.commands.find(b"ping").unwrap());
        for lane in &mut reports.lanes {
            lane.latency.as_mut().unwrap().record_service(ping, 7_000);
        }
        let histogram =
            "$4\r\nping\r\n*4\r\n$5\r\ncalls\r\n:2\r\n$14\r\nhistogram_usec\r\n*2\r\n:8\r\n:2\r\n";
        let all = client.render(&["LATENCY", "HISTOGRAM"], &reports);
        assert_eq!(all, format!("*2\r\n{histogram}"));
        let named = client.render(&["LATENCY", "HISTOGRAM", "PING", "echo", "nosuch"], &reports);
        assert_eq!(named, all);
        assert_eq!(
            client.render(&["LATENCY", "HISTOGRAM", "nosuch"], &reports),
            "*0\r\n"
        );
        let mut client = client.resp3();
        assert!(
            client
                .render(&["LATENCY", "HISTOGRAM"], &reports)
                .starts_with("%1\r\n$4\r\nping\r\n%2\r\n")
        );
    }

    #[test]
    fn resets_name_commands() {
        let mut client = TestClient::new();
        let ids = |client: &mut TestClient, line: &[&str]| match client.plan(line) {
            Plan::Order {
                order: Order::ResetLatency(ids),
                answer: OrderAnswer::Sum,
            } => ids,
            other => panic!("{other:?}"),
        };
        assert_eq!(ids(&mut client, &["LATENCY", "RESET"]), []);
        let ping = client.shared.commands.find(b"ping").unwrap();
        assert_eq!(ids(&mut client, &["LATENCY", "RESET", "ping", "nosuch"]), [ping]);
        assert_eq!(client.run(&["LATENCY", "RESET", "nosuch"]), ":0\r\n");
    }

    #[test]
    fn there_are_no_latency_events() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["LATENCY", "LATEST"]), "*0\r\n");
        assert_eq!(client.run(&["LATENCY", "HISTORY", "x"]), "*0\r\n");
        assert_eq!(
            client.run(&["LATENCY", "GRAPH", "x"]),
            "-ERR No samples available for event 'x'\r\n"
        );
        assert!(client.run(&["LATENCY", "DOCTOR"]).contains("LATENCY HISTOGRAM"));
        assert!(matches!(client.plan(&["LATENCY", "DUMP"]), Plan::DumpLatency));
    }

    #[test]
    fn slow_calls_of_all_lanes_come_newest_first() {
        let mut client = TestClient::new();
        let mut reports = reports(&client.shared);
        let call = |id, at_s| SlowCall {
            id,
            at_s,
            duration_us: 20_000,
            args: vec![b"GET".as_slice().into(), b"k".as_slice().into()],
            address: "a:1".into(),
            name: "me".into(),
        };
        reports.lanes[0].slow_calls = vec![call(0, 100), call(2, 300)];
        reports.lanes[1].slow_calls = vec![call(1, 300)];
        let newest = client.render(&["SLOWLOG", "GET", "1"], &reports);
        let entry = "*6\r\n:2\r\n:300\r\n:20000\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n$3\r\na:1\r\n$2\r\nme\r\n";
        assert_eq!(newest, format!("*1\r\n{entry}"));
        let all = client.render(&["SLOWLOG", "GET", "-1"], &reports);
        let times: Vec<_> = [":2\r\n:300", ":1\r\n:300", ":0\r\n:100"]
            .iter()
            .map(|time| all.find(time).unwrap())
            .collect();
        assert!(times.is_sorted());
        assert_eq!(client.render(&["SLOWLOG", "LEN"], &reports), ":3\r\n");
        client.run(&["CONFIG", "SET", "slowlog-max-len", "2"]);
        assert_eq!(client.render(&["SLOWLOG", "LEN"], &reports), ":2\r\n");
        assert!(
            client
                .render(&["SLOWLOG", "GET", "-1"], &reports)
                .starts_with("*2\r\n")
        );
        let refusal = "-ERR count should be greater than or equal to -1\r\n";
        assert_eq!(client.run(&["SLOWLOG", "GET", "-2"]), refusal);
        assert_eq!(client.run(&["SLOWLOG", "GET", "abc"]), refusal);
    }
}
