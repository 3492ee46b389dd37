//! What must hold between settings, beyond the range of each.

use std::path::{Component, Path, PathBuf};

use super::error::ConfigError;
use super::units::{format_bytes, format_duration};
use super::{Config, UnknownKeys};

/// The business that keys without a known prefix belong to.
const CATCH_ALL_NAME: &str = "default";

/// Checks everything that can be checked without knowing the machine.
///
/// # Errors
/// The first setting that does not fit another one.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    check_wire(config)?;
    check_lane(config)?;
    check_catch_all(config)?;
    check_directories(config)?;
    let server = &config.server;
    let lanes = if server.lanes > 0 {
        server.lanes
    } else {
        server.cores.len().max(1)
    };
    check_lane_ports(config, lanes)
}

fn check_wire(config: &Config) -> Result<(), ConfigError> {
    let wire = &config.wire;
    let query_buffer = ("wire.query_buffer_max", wire.query_buffer_max_bytes);
    let output_buffer = ("wire.output_buffer_max", wire.output_buffer_max_bytes);
    let bulk_len = ("wire.bulk_len_max", wire.bulk_len_max_bytes);
    // A value that may be sent must fit into the buffers of its way in and its way out.
    for ((small_key, small_bytes), (large_key, large_bytes)) in [
        (bulk_len, query_buffer),
        (bulk_len, output_buffer),
        (("wire.inline_len_max", wire.inline_len_max_bytes), query_buffer),
        (("wire.read_buffer", wire.read_buffer_bytes), query_buffer),
    ] {
        if small_bytes > large_bytes {
            let size = |bytes: usize| format_bytes(bytes as u64);
            let expected = format!("at most {large_key}, which is \"{}\"", size(large_bytes));
            return Err(ConfigError::new(
                small_key,
                format!("\"{}\"", size(small_bytes)),
                expected,
            ));
        }
    }
    Ok(())
}

fn check_lane(config: &Config) -> Result<(), ConfigError> {
    let lane = &config.lane;
    if lane.heartbeat < lane.preempt_timer {
        let least = format_duration(lane.preempt_timer);
        let expected = format!("at least lane.preempt_timer, which is \"{least}\"");
        let got = format!("\"{}\"", format_duration(lane.heartbeat));
        return Err(ConfigError::new("lane.heartbeat", got, expected));
    }
    Ok(())
}

fn check_catch_all(config: &Config) -> Result<(), ConfigError> {
    let mut catch_alls = config
        .businesses
        .iter()
        .filter(|business| business.is_catch_all());
    let key = |name: &str| format!("business.{name}.prefixes");
    match (config.routing.unknown_keys, catch_alls.next(), catch_alls.next()) {
        (_, Some(first), Some(second)) => {
            let expected = format!(
                "one business at most without prefixes; {} has none either",
                first.name
            );
            Err(ConfigError::new(&key(&second.name), "[]", expected))
        }
        (UnknownKeys::Refuse, Some(business), None) => {
            let expected = "at least one prefix, because routing.unknown_keys is \"refuse\"";
            Err(ConfigError::new(&key(&business.name), "[]", expected))
        }
        (UnknownKeys::Default, Some(business), None) if business.name != CATCH_ALL_NAME => {
            let expected = format!("at least one prefix: only the business {CATCH_ALL_NAME} may have none");
            Err(ConfigError::new(&key(&business.name), "[]", expected))
        }
        (UnknownKeys::Default, None, _) => {
            let expected =
                format!("\"refuse\", or a business {CATCH_ALL_NAME} with prefixes = [] that takes such keys");
            Err(ConfigError::new("routing.unknown_keys", "\"default\"", expected))
        }
        _ => Ok(()),
    }
}

/// Two databases in one directory would destroy each other.
fn check_directories(config: &Config) -> Result<(), ConfigError> {
    let mut used: Vec<(String, PathBuf)> =
        vec![("server.data_dir".to_owned(), normal(&config.server.data_dir))];
    for business in &config.businesses {
        let cold_dir = business.cold_dir.as_deref().map(|path| ("cold_dir", path));
        for (name, path) in [("data_dir", business.data_dir.as_path())]
            .into_iter()
            .chain(cold_dir)
        {
            let key = format!("business.{}.{name}", business.name);
            let directory = normal(path);
            if let Some((other, _)) = used.iter().find(|(_, other)| *other == directory) {
                let expected = format!("a directory of its own; {other} is the same one");
                return Err(ConfigError::new(
                    &key,
                    format!("\"{}\"", path.display()),
                    expected,
                ));
            }
            used.push((key, directory));
        }
    }
    Ok(())
}

/// The path without `.` and doubled or final slashes, so that two spellings of one path compare equal.
fn normal(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .collect()
}

/// Checks that no port is used twice when there are `lanes` lanes, and that all lane ports exist.
///
/// # Errors
/// The setting that names the second one.
pub fn check_lane_ports(config: &Config, lanes: usize) -> Result<(), ConfigError> {
    let base = usize::from(config.server.lane_port_base);
    let lane_ports = if base == 0 { 0..0 } else { base..base + lanes };
    if lane_ports.end > usize::from(u16::MAX) + 1 {
        let most = usize::from(u16::MAX) + 1 - lanes;
        let expected = format!("at most {most}, so that {lanes} lanes have a port each");
        return Err(ConfigError::new(
            "server.lane_port_base",
            base.to_string(),
            expected,
        ));
    }
    let mut used: Vec<(&str, u16)> = Vec::new();
    let businesses = config
        .businesses
        .iter()
        .map(|business| (business.name.as_str(), business.port));
    for (name, port) in std::iter::once(("", config.server.port)).chain(businesses) {
        if port == 0 {
            continue;
        }
        let key = if name.is_empty() {
            "server.port".to_owned()
        } else {
            format!("business.{name}.port")
        };
        let other = match used.iter().find(|(_, other)| *other == port) {
            Some(("", _)) => "server.port has this one".to_owned(),
            Some((other, _)) => format!("business {other} has this one"),
            None if lane_ports.contains(&usize::from(port)) => {
                format!(
                    "lane {} has this one (server.lane_port_base = {base})",
                    usize::from(port) - base
                )
            }
            None => {
                used.push((name, port));
                continue;
            }
        };
        return Err(ConfigError::new(
            &key,
            port.to_string(),
            format!("a port that nothing else uses; {other}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(overrides: &[(&str, &str)]) -> ConfigError {
        let owned: Vec<(String, String)> = overrides
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Config::load(None, &owned).unwrap_err()
    }

    #[test]
    fn buffers_must_hold_what_may_be_sent() {
        let error = refused(&[("wire.query_buffer_max", "32 MiB")]);
        assert_eq!(error.key, "wire.bulk_len_max");
        assert_eq!(
            error.expected,
            "at most wire.query_buffer_max, which is \"32 MiB\""
        );
        assert_eq!(
            refused(&[("wire.output_buffer_max", "32 MiB")]).key,
            "wire.bulk_len_max"
        );
    }

    #[test]
    fn heartbeat_is_not_shorter_than_the_preempt_timer() {
        let error = refused(&[("lane.preempt_timer", "6 ms")]);
        assert_eq!(
            (error.key.as_str(), error.got.as_str()),
            ("lane.heartbeat", "\"5 ms\"")
        );
    }

    #[test]
    fn exactly_one_catch_all_or_none_when_refusing() {
        assert_eq!(
            refused(&[("business.iot_data.prefixes", "")]).key,
            "business.default.prefixes"
        );
        assert_eq!(
            refused(&[("routing.unknown_keys", "refuse")]).key,
            "business.default.prefixes"
        );
        assert_eq!(
            refused(&[("business.default.prefixes", "x_")]).key,
            "routing.unknown_keys"
        );
        let moved = [
            ("business.default.prefixes", "x_"),
            ("business.iot_data.prefixes", ""),
        ];
        assert_eq!(refused(&moved).key, "business.iot_data.prefixes");
    }

    #[test]
    fn directories_are_not_shared_however_they_are_spelt() {
        let error = refused(&[("business.iot_data.data_dir", "./data//stock_quotes/.")]);
        assert_eq!(error.key, "business.iot_data.data_dir");
        assert!(
            error
                .expected
                .contains("business.stock_quotes.data_dir is the same one"),
            "{error}"
        );
        let same = [
            ("business.iot_data.data_dir", "x"),
            ("business.iot_data.cold_dir", "x"),
        ];
        assert_eq!(refused(&same).key, "business.iot_data.cold_dir");
        assert_eq!(
            refused(&[("business.iot_data.cold_dir", "data")]).key,
            "business.iot_data.cold_dir"
        );
    }

    #[test]
    fn ports_are_not_shared() {
        let error = refused(&[("business.iot_data.port", "5555")]);
        assert_eq!(
            error.expected,
            "a port that nothing else uses; business stock_quotes has this one"
        );
        let error = refused(&[("business.iot_data.port", "6379")]);
        assert_eq!(
            error.expected,
            "a port that nothing else uses; server.port has this one"
        );
        let error = refused(&[("server.lanes", "4"), ("business.iot_data.port", "7003")]);
        assert!(
            error
                .expected
                .contains("lane 3 has this one (server.lane_port_base = 7000)"),
            "{error}"
        );
        let error = refused(&[("server.lanes", "4"), ("server.lane_port_base", "65533")]);
        assert_eq!(error.expected, "at most 65532, so that 4 lanes have a port each");
        let highest = [("server.lanes", "4"), ("server.lane_port_base", "65532")];
        let highest = highest.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert!(Config::load(None, &highest).is_ok());
    }
}
