//! The parameters of CONFIG GET and CONFIG SET.

use std::borrow::Cow;

use crate::command::shared::{Settings, Shared};
use crate::config::Fsync;
use crate::lane::EventClasses;
use crate::limits::{BULK_LEN_CAP_BYTES, GIB, KIB, MIB, PASSWORD_LEN_MAX_BYTES};

use super::series_parameters;

/// Connections of the process, as for `server.max_connections`.
const CONNECTIONS_MAX: i64 = 1_000_000;
/// Slow calls kept per lane, as they are kept in memory.
const SLOWLOG_ENTRIES_MAX: i64 = 1_000_000;
/// Redis's own smallest `proto-max-bulk-len`.
const BULK_LEN_MIN_BYTES: i64 = MIB as i64;

/// One parameter under Redis's name.
pub struct Parameter {
    /// In lower case.
    pub name: &'static str,
    /// The value as CONFIG GET shows it.
    pub read: fn(&Shared, &Settings) -> String,
    /// What CONFIG SET may do.
    pub write: Write,
}

/// What CONFIG SET may do with a parameter.
pub enum Write {
    /// Refuse.
    Never,
    /// Accept only the present value, which describes what the server does.
    AsItIs,
    /// Change the settings, or say why not.
    Change(fn(&mut Settings, &str, &Shared) -> Result<(), Cow<'static, str>>),
}

/// One that cannot be set.
pub const fn fixed(name: &'static str, read: fn(&Shared, &Settings) -> String) -> Parameter {
    Parameter {
        name,
        read,
        write: Write::Never,
    }
}

/// One that can be set to what it is.
pub const fn as_it_is(name: &'static str, read: fn(&Shared, &Settings) -> String) -> Parameter {
    Parameter {
        name,
        read,
        write: Write::AsItIs,
    }
}

/// One that changes the settings.
pub const fn settable(
    name: &'static str,
    read: fn(&Shared, &Settings) -> String,
    change: fn(&mut Settings, &str, &Shared) -> Result<(), Cow<'static, str>>,
) -> Parameter {
    Parameter {
        name,
        read,
        write: Write::Change(change),
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Parameter> {
    PARAMETERS.iter().chain(series_parameters::PARAMETERS)
}

const INVALID_EVENT_CLASS: &str = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";

const PARAMETERS: &[Parameter] = &[
    as_it_is("appendfsync", |shared, _| fsync_name(shared).into()),
    as_it_is("appendonly", |_, _| "yes".into()),
    as_it_is("activedefrag", |_, _| "no".into()),
    fixed("bind", |shared, _| {
        let addresses: Vec<String> = shared
            .config
            .server
            .bind
            .iter()
            .map(ToString::to_string)
            .collect();
        addresses.join(" ")
    }),
    fixed("client-query-buffer-limit", |shared, _| {
        shared.config.wire.query_buffer_max_bytes.to_string()
    }),
    fixed("client-output-buffer-limit", |shared, _| {
        let bytes = shared.config.wire.output_buffer_max_bytes;
        format!("normal {bytes} 0 0 slave 0 0 0 pubsub 0 0 0")
    }),
    fixed("cluster-enabled", |_, _| "no".into()),
    fixed("daemonize", |_, _| "no".into()),
    fixed("databases", |_, _| "1".into()),
    fixed("dir", |shared, _| {
        shared.config.server.data_dir.display().to_string()
    }),
    fixed("enable-debug-command", |_, _| "local".into()),
    settable(
        "hz",
        |_, settings| accepted(settings, "hz", "10"),
        |settings, value, _| {
            let hz = integer(value, 1, 500)?;
            keep(settings, "hz", hz)
        },
    ),
    fixed("io-threads", |_, _| "1".into()),
    settable(
        "latency-monitor-threshold",
        |_, settings| accepted(settings, "latency-monitor-threshold", "0"),
        |settings, value, _| {
            let threshold_ms = integer(value, 0, i64::MAX)?;
            keep(settings, "latency-monitor-threshold", threshold_ms)
        },
    ),
    as_it_is("latency-tracking", |_, _| "yes".into()),
    as_it_is("latency-tracking-info-percentiles", |_, _| "50 99 99.9".into()),
    settable(
        "lua-time-limit",
        |_, settings| accepted(settings, "lua-time-limit", "5000"),
        |settings, value, _| {
            let limit_ms = integer(value, 0, i64::MAX)?;
            keep(settings, "lua-time-limit", limit_ms)
        },
    ),
    settable(
        "maxclients",
        |_, settings| settings.max_connections.to_string(),
        |settings, value, shared| {
            let max = size(integer(value, 1, CONNECTIONS_MAX)?);
            // File descriptors were set aside for so many at the start.
            let possible = shared.config.server.max_connections;
            if max > possible {
                let text =
                    "The operating system is not able to handle the specified number of clients, try with";
                return Err(format!("{text} {possible}").into());
            }
            settings.max_connections = max;
            Ok(())
        },
    ),
    as_it_is("maxmemory", |_, _| "0".into()),
    as_it_is("maxmemory-policy", |_, _| "noeviction".into()),
    settable(
        "notify-keyspace-events",
        |_, settings| settings.event_classes.letters(),
        |settings, value, _| {
            let classes = EventClasses::parse(value);
            settings.event_classes = classes.ok_or(INVALID_EVENT_CLASS)?;
            Ok(())
        },
    ),
    fixed("port", |shared, _| shared.port.to_string()),
    settable(
        "protected-mode",
        |_, settings| yes_or_no(settings.protected_mode),
        |settings, value, _| {
            settings.protected_mode = switch(value)?;
            Ok(())
        },
    ),
    settable(
        "proto-max-bulk-len",
        |_, settings| settings.bulk_len_max_bytes.to_string(),
        |settings, value, shared| {
            // A bulk string has to fit the query buffer, or it could never arrive.
            let query_buffer_bytes = shared.config.wire.query_buffer_max_bytes as u64;
            let max_bytes = query_buffer_bytes.min(BULK_LEN_CAP_BYTES) as i64;
            let bytes = memory(value).ok_or("argument must be a memory value")?;
            settings.bulk_len_max_bytes = size(in_range(bytes, BULK_LEN_MIN_BYTES, max_bytes)?);
            Ok(())
        },
    ),
    settable(
        "requirepass",
        |_, settings| settings.password.clone(),
        |settings, value, _| {
            if value.len() > PASSWORD_LEN_MAX_BYTES {
                return Err(format!("password is longer than {PASSWORD_LEN_MAX_BYTES} bytes").into());
            }
            value.clone_into(&mut settings.password);
            Ok(())
        },
    ),
    as_it_is("save", |_, _| String::new()),
    settable(
        "slowlog-log-slower-than",
        |_, settings| settings.slowlog_slower_than_us.to_string(),
        |settings, value, _| {
            settings.slowlog_slower_than_us = integer(value, -1, i64::MAX)?;
            Ok(())
        },
    ),
    settable(
        "slowlog-max-len",
        |_, settings| settings.slowlog_entries_max.to_string(),
        |settings, value, _| {
            settings.slowlog_entries_max = size(integer(value, 0, SLOWLOG_ENTRIES_MAX)?);
            Ok(())
        },
    ),
    fixed("tcp-keepalive", |shared, _| {
        shared.config.server.tcp_keepalive.as_secs().to_string()
    }),
    settable(
        "timeout",
        |_, settings| settings.idle_timeout_s.to_string(),
        |settings, value, _| {
            settings.idle_timeout_s = integer(value, 0, i64::from(i32::MAX))?.unsigned_abs();
            Ok(())
        },
    ),
];

fn fsync_name(shared: &Shared) -> &'static str {
    let businesses = &shared.config.businesses;
    let business = businesses
        .iter()
        .find(|business| business.is_catch_all())
        .or(businesses.first());
    match business.map(|business| business.fsync) {
        Some(Fsync::Always) => "always",
        Some(Fsync::No) => "no",
        Some(Fsync::EverySecond) | None => "everysec",
    }
}

/// What a setting of one meaning was set to.
pub(super) fn accepted(settings: &Settings, name: &str, default: &str) -> String {
    settings
        .accepted
        .get(name)
        .map_or_else(|| default.to_owned(), Clone::clone)
}

/// Remembers what a setting of one meaning was set to.
pub(super) fn keep(settings: &mut Settings, name: &str, value: i64) -> Result<(), Cow<'static, str>> {
    settings.accepted.insert(name.to_owned(), value.to_string());
    Ok(())
}

fn yes_or_no(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}

fn switch(value: &str) -> Result<bool, Cow<'static, str>> {
    match () {
        () if value.eq_ignore_ascii_case("yes") => Ok(true),
        () if value.eq_ignore_ascii_case("no") => Ok(false),
        () => Err("argument must be 'yes' or 'no'".into()),
    }
}

/// Reads a whole number.
///
/// # Errors
/// Redis's texts, also if it is out of range.
pub fn integer(value: &str, min: i64, max: i64) -> Result<i64, Cow<'static, str>> {
    let number = value
        .parse()
        .map_err(|_| "argument couldn't be parsed into an integer")?;
    in_range(number, min, max)
}

/// The number if it is in range.
///
/// # Errors
/// Redis's text if not.
pub fn in_range(number: i64, min: i64, max: i64) -> Result<i64, Cow<'static, str>> {
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("argument must be between {min} and {max} inclusive").into())
    }
}

/// A number that was found not to be negative.
fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// Bytes as Redis reads them: `1gb` is binary, `1g` decimal.
fn memory(value: &str) -> Option<i64> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at_checked(digits)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => KIB,
        "m" => 1_000_000,
        "mb" => MIB,
        "g" => 1_000_000_000,
        "gb" => GIB,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        for (index, parameter) in all().enumerate() {
            assert_eq!(parameter.name, parameter.name.to_ascii_lowercase());
            assert!(
                all().take(index).all(|other| other.name != parameter.name),
                "{}",
                parameter.name
            );
        }
    }

    #[test]
    fn memory_is_read_as_by_redis() {
        assert_eq!(memory("1gb"), Some(1 << 30));
        assert_eq!(memory("1G"), Some(1_000_000_000));
        assert_eq!(memory("512"), Some(512));
        for text in ["", "gb", "-1", "1x", "1 gb", "99999999999gb"] {
            assert_eq!(memory(text), None, "{text}");
        }
    }
}
