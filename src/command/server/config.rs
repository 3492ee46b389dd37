//! CONFIG: the settings under the names that Redis gives them.
//!
//! A parameter that changes nothing here can only be set to the value that describes what the server does.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::Flags;
use crate::command::plan::{Order, OrderAnswer, Plan};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::shared::{Settings, Shared};
use crate::command::subcommand::{Subcommand, subcommand};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply, glob_match};

use super::parameters::{self, Parameter, Write};

const REWRITE_REFUSED: &str = "ERR CONFIG REWRITE is not supported: the configuration file is the \
    operator's, change it there";

/// All but HELP.
pub const SUBCOMMANDS: &[Subcommand] = &[
    subcommand("config|get", -3, Flags::ADMIN, get).says(
        "2.0.0",
        "parameter [parameter ...]",
        "Returns the effective values of configuration parameters.",
    ),
    subcommand("config|resetstat", 2, Flags::ADMIN, |_, _, _| {
        Err(Plan::order(Order::ResetStats, OrderAnswer::Ok).into())
    })
    .says("2.0.0", "", "Resets the server's statistics."),
    subcommand("config|rewrite", 2, Flags::ADMIN, |_, _, _| {
        Err(Refusal::text(REWRITE_REFUSED).into())
    })
    .says("2.8.0", "", "Refused: the configuration file is the operator's."),
    subcommand("config|set", -4, Flags::ADMIN, set).says(
        "2.0.0",
        "parameter value [parameter value ...]",
        "Sets configuration parameters in-flight, all or none of them.",
    ),
];

fn get(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let patterns = args.from(2);
    let is_asked_for = |parameter: &&Parameter| {
        patterns
            .iter()
            .any(|pattern| glob_match(pattern, parameter.name.as_bytes(), true))
    };
    let settings = context.shared.settings();
    let found: Vec<_> = parameters::all().filter(is_asked_for).collect();
    reply.map(found.len());
    for parameter in found {
        reply.bulk(parameter.name.as_bytes());
        reply.bulk((parameter.read)(context.shared, &settings).as_bytes());
    }
    Ok(())
}

fn set(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    if !args.len().is_multiple_of(2) {
        return Err(Refusal::Syntax.into());
    }
    let changes = resolve(args.from(2))?;
    let settings = &context.shared.settings;
    loop {
        let current = settings.load_full();
        let mut changed = (*current).clone();
        for (parameter, value) in &changes {
            apply(parameter, value, context.shared, &mut changed)
                .map_err(|why| failed(parameter.name, &why))?;
        }
        // Another lane may have set something meanwhile, which must not be lost.
        if Arc::ptr_eq(&settings.compare_and_swap(&current, Arc::new(changed)), &current) {
            break;
        }
    }
    let defaults = Arc::new(settings.load().series.clone());
    context.shared.series_defaults.store(defaults);
    let classes = settings.load().event_classes;
    context.shared.event_classes.store(classes.0, Ordering::Relaxed);
    reply.ok();
    Ok(())
}

type Change<'a> = (&'static Parameter, Cow<'a, str>);

fn resolve(pairs: Args<'_>) -> Result<Vec<Change<'_>>, Refusal> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for index in (0..pairs.len()).step_by(2) {
        let name = pairs.get(index);
        let Some(parameter) =
            parameters::all().find(|known| known.name.as_bytes().eq_ignore_ascii_case(name))
        else {
            let name = String::from_utf8_lossy(name);
            let text = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            return Err(Refusal::text(text));
        };
        if matches!(parameter.write, Write::Never) {
            return Err(failed(parameter.name, "can't set immutable config"));
        }
        if changes.iter().any(|(other, _)| other.name == parameter.name) {
            return Err(failed(parameter.name, "duplicate parameter"));
        }
        changes.push((parameter, String::from_utf8_lossy(pairs.get(index + 1))));
    }
    Ok(changes)
}

fn apply(
    parameter: &Parameter,
    value: &str,
    shared: &Shared,
    settings: &mut Settings,
) -> Result<(), Cow<'static, str>> {
    match parameter.write {
        Write::Never => Err("can't set immutable config".into()),
        Write::Change(change) => change(settings, value, shared),
        Write::AsItIs => {
            let only = (parameter.read)(shared, settings);
            if value.eq_ignore_ascii_case(&only) {
                Ok(())
            } else {
                Err(format!("this server only supports '{only}'").into())
            }
        }
    }
}

fn failed(name: &str, why: &str) -> Refusal {
    Refusal::text(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::TestClient;

    #[test]
    fn values_are_found_by_patterns() {
        let mut client = TestClient::new();
        assert_eq!(
            client.run(&["CONFIG", "GET", "MAXCLIENTS"]),
            "*2\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n"
        );
        assert_eq!(
            client.run(&["CONFIG", "GET", "save"]),
            "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
        );
        assert_eq!(
            client.run(&["CONFIG", "GET", "appendonly"]),
            "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"
        );
        assert_eq!(
            client.run(&["CONFIG", "GET", "appendfsync"]),
            "*2\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n"
        );
        assert_eq!(
            client.run(&["CONFIG", "GET", "slowlog-m?x-len"]),
            "*2\r\n$15\r\nslowlog-max-len\r\n$3\r\n128\r\n"
        );
        assert!(
            client
                .run(&["CONFIG", "GET", "slowlog-*", "timeout"])
                .starts_with("*6\r\n")
        );
        assert_eq!(client.run(&["CONFIG", "GET", "nothing"]), "*0\r\n");
        let all = client.run(&["CONFIG", "GET", "*"]);
        for name in [
            "databases",
            "maxmemory-policy",
            "requirepass",
            "dir",
            "port",
            "bind",
            "hz",
            "lua-time-limit",
        ] {
            assert!(all.contains(&format!("\r\n{name}\r\n")), "{name}");
        }
        let mut client = client.resp3();
        assert!(
            client
                .run(&["CONFIG", "GET", "port"])
                .starts_with("%1\r\n$4\r\nport\r\n$4\r\n6379\r\n")
        );
    }

    #[test]
    fn changes_are_all_or_none() {
        let mut client = TestClient::new();
        let line = [
            "CONFIG",
            "SET",
            "SLOWLOG-max-len",
            "77",
            "timeout",
            "5",
            "proto-max-bulk-len",
            "2mb",
        ];
        assert_eq!(client.run(&line), "+OK\r\n");
        let settings = client.shared.settings.load_full();
        assert_eq!((settings.slowlog_entries_max, settings.idle_timeout_s), (77, 5));
        assert_eq!(settings.bulk_len_max_bytes, 2 << 20);
        let refused = client.run(&["CONFIG", "SET", "timeout", "9", "slowlog-max-len", "abc"]);
        let text =
            "(possibly related to argument 'slowlog-max-len') - argument couldn't be parsed into an integer";
        assert_eq!(refused, format!("-ERR CONFIG SET failed {text}\r\n"));
        assert_eq!(client.shared.settings().idle_timeout_s, 5);
    }

    #[test]
    fn refusals_are_those_of_redis() {
        let mut client = TestClient::new();
        let unknown = "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'\r\n";
        assert_eq!(client.run(&["CONFIG", "SET", "nothing", "1"]), unknown);
        assert_eq!(
            client.run(&["CONFIG", "SET", "timeout", "5", "nothing", "1"]),
            unknown
        );
        assert_eq!(
            client.run(&["CONFIG", "SET", "timeout", "5", "hz"]),
            "-ERR syntax error\r\n"
        );
        for (name, value, why) in [
            ("databases", "4", "can't set immutable config"),
            (
                "maxclients",
                "0",
                "argument must be between 1 and 1000000 inclusive",
            ),
            (
                "timeout",
                "-1",
                "argument must be between 0 and 2147483647 inclusive",
            ),
            (
                "slowlog-max-len",
                "-1",
                "argument must be between 0 and 1000000 inclusive",
            ),
            ("protected-mode", "x", "argument must be 'yes' or 'no'"),
            ("proto-max-bulk-len", "5x", "argument must be a memory value"),
            (
                "proto-max-bulk-len",
                "5",
                "argument must be between 1048576 and 134217728 inclusive",
            ),
            ("maxmemory", "100mb", "this server only supports '0'"),
            (
                "maxmemory-policy",
                "allkeys-lru",
                "this server only supports 'noeviction'",
            ),
            ("save", "900 1", "this server only supports ''"),
            ("appendonly", "no", "this server only supports 'yes'"),
            (
                "notify-keyspace-events",
                "KEy",
                "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            ),
        ] {
            let text = format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}\r\n");
            assert_eq!(client.run(&["CONFIG", "SET", name, value]), text);
        }
        let twice = client.run(&["CONFIG", "SET", "timeout", "1", "timeout", "2"]);
        assert!(twice.ends_with("'timeout') - duplicate parameter\r\n"), "{twice}");
        assert_eq!(
            client.run(&["CONFIG", "REWRITE"]),
            format!("-{REWRITE_REFUSED}\r\n")
        );
        assert!(matches!(
            client.plan(&["CONFIG", "RESETSTAT"]),
            Plan::Order {
                order: Order::ResetStats,
                answer: OrderAnswer::Ok
            }
        ));
    }

    #[test]
    fn harmless_settings_are_kept_and_shown() {
        let mut client = TestClient::new();
        let threshold = ["CONFIG", "GET", "latency-monitor-threshold"];
        assert!(client.run(&threshold).ends_with("$1\r\n0\r\n"));
        assert_eq!(
            client.run(&["CONFIG", "SET", "latency-monitor-threshold", "100"]),
            "+OK\r\n"
        );
        assert!(client.run(&threshold).ends_with("$3\r\n100\r\n"));
        assert_eq!(
            client.run(&["CONFIG", "SET", "save", "", "appendonly", "YES"]),
            "+OK\r\n"
        );
    }
}
