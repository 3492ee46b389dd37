//! Configuration end to end: the shipped file, every kind of mistake with its exact message, check-config.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ticklane::config::{Config, ConfigError};

fn shipped_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/ticklane.toml")
}

fn shipped_text() -> String {
    std::fs::read_to_string(shipped_file()).unwrap()
}

/// A file in a directory that vanishes with it.
struct TestFile {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn test_file(text: &str) -> TestFile {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.toml");
    std::fs::write(&path, text).unwrap();
    TestFile {
        _directory: directory,
        path,
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::load(Some(&test_file(text).path), &[])
}

/// Asserts the whole message for a file, with the file's own path taken out.
#[track_caller]
fn assert_refused(text: &str, message: &str) {
    let file = test_file(text);
    let error = Config::load(Some(&file.path), &[]).unwrap_err();
    assert_eq!(
        error
            .to_string()
            .replace(&file.path.display().to_string(), "FILE"),
        message
    );
}

fn check_config(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ticklane"))
        .arg("check-config")
        .arg(file)
        .output()
        .unwrap()
}

#[test]
fn shipped_file_equals_the_defaults() {
    assert_eq!(
        Config::load(Some(&shipped_file()), &[]).unwrap(),
        Config::default()
    );
}

#[test]
fn empty_file_equals_the_defaults() {
    assert_eq!(load("").unwrap(), Config::default());
}

#[test]
fn shipped_file_explains_every_key() {
    let text = shipped_text();
    let explained_once: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#   "))
        .collect();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(" = "))
    {
        let (key, rest) = line.split_once(" = ").unwrap();
        let is_explained =
            rest.contains(" # ") || explained_once.iter().any(|line| line.contains(key.trim()));
        assert!(is_explained || key == "name", "{line}");
    }
}

#[test]
fn seed_businesses_and_the_catch_all_are_shipped() {
    let config = Config::default();
    let table: Vec<(&str, &str, u16, usize)> = config
        .businesses
        .iter()
        .map(|business| {
            let prefix = business.prefixes.first().map_or("", String::as_str);
            (
                business.name.as_str(),
                prefix,
                business.port,
                business.max_connections,
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            ("stock_quotes", "stock_", 5555, 1000),
            ("iot_data", "iot_", 5556, 500),
            ("financial_quotes", "finance_", 5557, 1000),
            ("order_data", "order_", 5558, 1000),
            ("payment_data", "payment_", 5559, 1000),
            ("inventory_data", "inventory_", 5560, 1000),
            ("sms_delivery", "sms_", 5561, 1000),
            ("default", "", 0, 1000),
        ]
    );
    assert!(config.businesses[0].cold_hot_separation && !config.businesses[1].cold_hot_separation);
}

#[test]
fn eighth_business_is_configuration_only() {
    let added = "\n[[business]]\nname = \"weather\"\nprefixes = [\"weather_\"]\nport = 5562\n";
    let config = load(&(shipped_text() + added)).unwrap();
    assert_eq!(config.businesses.len(), 9);
    assert_eq!(config.businesses[8].port, 5562);
    assert_eq!(config.businesses[8].fsync, config.businesses[7].fsync);
}

#[test]
fn unknown_keys_and_sections() {
    assert_refused(
        "[slowlog]\nentries = 5",
        "FILE: slowlog.entries: got an unknown key; expected one of entries_max, log_slower_than",
    );
    assert_refused(
        "[wired]\nargs_max = 5",
        "FILE: wired: got an unknown key; expected one of business, lane, latency, routing, server, slowlog, \
         storage, timeseries, wire",
    );
    assert_refused(
        "[[business]]\nname = \"default\"\nprefix = \"a\"",
        "FILE: business.default.prefix: got an unknown key; expected one of cold_dir, cold_hot_separation, \
         compression, data_dir, fsync, hot_age, max_connections, name, partitions, port, prefixes, \
         retention, time_unit",
    );
}

#[test]
fn bad_units() {
    assert_refused(
        "[wire]\nread_buffer = 16384",
        "FILE: wire.read_buffer: got 16384; expected a size with its unit, from \"1 KiB\" to \"1 MiB\"",
    );
    assert_refused(
        "[wire]\nread_buffer = \"16 K\"",
        "FILE: wire.read_buffer: got \"16 K\"; expected a size with its unit, from \"1 KiB\" to \"1 MiB\"",
    );
    assert_refused(
        "[server]\nidle_timeout = \"5 minutes\"",
        "FILE: server.idle_timeout: got \"5 minutes\"; \
         expected 0, or a time with its unit, from \"1 s\" to \"365 d\"",
    );
    assert_refused(
        "[lane]\nheartbeat = 5",
        "FILE: lane.heartbeat: got 5; expected a time with its unit, from \"1 ms\" to \"1 s\"",
    );
}

#[test]
fn wrong_types_and_ranges() {
    assert_refused(
        "[server]\nport = 65536",
        "FILE: server.port: got 65536; expected an integer from 0 to 65535",
    );
    assert_refused(
        "[server]\nport = \"6379\"",
        "FILE: server.port: got \"6379\"; expected an integer from 0 to 65535",
    );
    assert_refused(
        "[server]\nprotected_mode = 1",
        "FILE: server.protected_mode: got 1; expected true or false",
    );
    assert_refused(
        "[server]\nbind = \"127.0.0.1\"",
        "FILE: server.bind: got \"127.0.0.1\"; \
         expected a list of IP addresses such as [\"127.0.0.1\", \"::1\"]",
    );
    assert_refused(
        "[wire]\nbulk_len_max = \"1 GiB\"",
        "FILE: wire.bulk_len_max: got \"1 GiB\"; \
         expected a size with its unit, from \"1 KiB\" to \"512 MiB\"",
    );
    assert_refused(
        "[latency]\nsignificant_digits = 0",
        "FILE: latency.significant_digits: got 0; expected an integer from 2 to 3",
    );
    assert_refused(
        "[routing]\nunknown_keys = \"drop\"",
        "FILE: routing.unknown_keys: got \"drop\"; expected one of \"default\", \"refuse\"",
    );
}

#[test]
fn broken_files() {
    let error = load("[server]\nport = = 1").unwrap_err();
    assert_eq!(error.key, "line 2, column 8");
    assert!(error.got.starts_with("invalid TOML ("), "{error}");
    let missing = Config::load(Some(Path::new("/nonexistent/x.toml")), &[]).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "/nonexistent/x.toml: got \"No such file or directory (os error 2)\"; expected a readable TOML file"
    );
}

#[test]
fn names_prefixes_and_ports_are_not_used_twice() {
    let with = |added: &str| format!("{}\n[[business]]\n{added}", shipped_text());
    assert_refused(
        &with("name = \"iot_data\""),
        "FILE: business.iot_data.name: got \"iot_data\" twice; expected a name that no other business has",
    );
    assert_refused(
        &with("name = \"x\"\nprefixes = [\"iot_\"]"),
        "FILE: business.x.prefixes: got \"iot_\"; \
         expected a prefix that no other business has; iot_data has this one",
    );
    assert_refused(
        &with("name = \"x\"\nprefixes = [\"x_\"]\nport = 5556"),
        "FILE: business.x.port: got 5556; \
         expected a port that nothing else uses; business iot_data has this one",
    );
    assert_refused(
        &with("name = \"x\"\nprefixes = [\"x_\"]\nport = 6379"),
        "FILE: business.x.port: got 6379; expected a port that nothing else uses; server.port has this one",
    );
    assert_refused(
        "[server]\nport = 7001\nlanes = 2",
        "FILE: server.port: got 7001; \
         expected a port that nothing else uses; lane 1 has this one (server.lane_port_base = 7000)",
    );
    assert_refused(
        &with("name = \"x\""),
        "FILE: business.x.prefixes: got nothing; \
         expected a list of prefixes of 1 to 64 bytes, or [] for the catch-all",
    );
}

#[test]
fn settings_that_contradict_each_other() {
    assert_refused(
        "[wire]\nquery_buffer_max = \"1 MiB\"",
        "FILE: wire.bulk_len_max: got \"64 MiB\"; expected at most wire.query_buffer_max, which is \"1 MiB\"",
    );
    assert_refused(
        "[lane]\npreempt_timer = \"10 ms\"",
        "FILE: lane.heartbeat: got \"5 ms\"; expected at least lane.preempt_timer, which is \"10 ms\"",
    );
    assert_refused(
        "[routing]\nunknown_keys = \"refuse\"",
        "FILE: business.default.prefixes: got []; \
         expected at least one prefix, because routing.unknown_keys is \"refuse\"",
    );
    assert_refused(
        "[[business]]\nname = \"iot_data\"",
        "FILE: routing.unknown_keys: got \"default\"; \
         expected \"refuse\", or a business default with prefixes = [] that takes such keys",
    );
    assert_refused(
        "[[business]]\nname = \"default\"\n[[business]]\nname = \"x\"\nprefixes = [\"\"]",
        "FILE: business.x.prefixes: got []; \
         expected one business at most without prefixes; default has none either",
    );
    let refusing = "[routing]\nunknown_keys = \"refuse\"\n[[business]]\nname = \"iot_data\"";
    assert_eq!(load(refusing).unwrap().businesses.len(), 1);
}

#[test]
fn command_line_wins_over_the_file_and_is_named_in_its_errors() {
    let file = test_file("[server]\nport = 1000\nlanes = 3");
    let set = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    let config = Config::load(Some(&file.path), &set("server.port", "2000")).unwrap();
    assert_eq!((config.server.port, config.server.lanes), (2000, 3));
    let config = Config::load(Some(&file.path), &set("business.stock_quotes.fsync", "always")).unwrap();
    assert_eq!(config.businesses[0].fsync, ticklane::config::Fsync::Always);
    let error = Config::load(Some(&file.path), &set("server.port", "many")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "command line: server.port: got \"many\"; expected an integer from 0 to 65535"
    );
    let error = Config::load(None, &set("business.stocks.fsync", "no")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("command line: business.stocks.fsync: got the unknown business")
    );
}

#[test]
fn check_config_accepts_the_shipped_file() {
    let output = check_config(&shipped_file());
    assert_eq!(output.status.code(), Some(0));
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with("OK ") && line.contains("8 businesses"), "{line}");
    assert!(output.stderr.is_empty());
}

#[test]
fn check_config_refuses_with_exit_code_2_and_the_message() {
    for (text, message) in [
        (
            "[server]\nprot = 1",
            "server.prot: got an unknown key; expected one of bind, cores,",
        ),
        (
            "[wire]\nread_buffer = \"16 K\"",
            "wire.read_buffer: got \"16 K\"; expected a size with its unit",
        ),
        (
            "[server]\nport = 5555",
            "business.stock_quotes.port: got 5555; expected a port that nothing else uses",
        ),
        ("[server", "line 1, column 8: got invalid TOML"),
    ] {
        let file = test_file(text);
        let output = check_config(&file.path);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected = format!("{}: {message}", file.path.display());
        assert!(stderr.contains(&expected), "{text}: {stderr}");
        assert!(output.stdout.is_empty());
    }
    let output = check_config(Path::new("/nonexistent/x.toml"));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("/nonexistent/x.toml: got")
    );
}
