//! Starting and stopping: what is refused and how it is said, and that a stop loses nothing.

mod support;

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Program, Server, ServerOptions, run_to_exit};

/// Exit codes as README lists them.
const EXIT_CONFIG: i32 = 2;
const EXIT_OPEN_FILES: i32 = 12;
const EXIT_PORT_IN_USE: i32 = 13;
const EXIT_DATA_DIR_IN_USE: i32 = 14;
const EXIT_DATA_DIR_DIFFERS: i32 = 15;
const EXIT_DATA_DIR_UNUSABLE: i32 = 16;

/// The product's promise from the start of the process to the first answer.
const READY_WITHIN: Duration = Duration::from_secs(2);

fn error_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `serve` on a data directory with settings it must refuse, and checks code and words of the refusal.
fn assert_refused(data_dir: &str, arguments: &[&str], code: i32, words: &[&str]) {
    let mut all = vec!["serve", "--bind", "127.0.0.1", "--data-dir", data_dir];
    all.extend_from_slice(arguments);
    let output = run_to_exit(&all);
    let text = error_text(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?} printed:\n{text}");
    for word in words {
        assert!(
            text.contains(word),
            "{arguments:?} must mention {word}; it printed:\n{text}"
        );
    }
}

/// Settings that open no port but the free one.
fn quiet_ports() -> Vec<String> {
    let names = [
        "stock_quotes",
        "iot_data",
        "financial_quotes",
        "order_data",
        "payment_data",
        "inventory_data",
        "sms_delivery",
    ];
    let mut arguments = vec!["--set".to_owned(), "server.lane_port_base=0".to_owned()];
    arguments.extend(
        names
            .iter()
            .flat_map(|name| ["--set".to_owned(), format!("business.{name}.port=0")]),
    );
    arguments
}

#[test]
fn bad_settings_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let data_dir = folder.path().join("data");
    let data_dir = data_dir.to_str().expect("UTF-8");
    let set = |setting: &str, words: &[&str]| {
        assert_refused(data_dir, &["--port", "0", "--set", setting], EXIT_CONFIG, words);
    };
    set("server.no_such_key=1", &["no_such_key"]);
    set("no_such_section.port=1", &["no_such_section"]);
    set("business.no_such_business.port=1", &["no_such_business"]);
    set("server.lane_port_base=abc", &["lane_port_base", "abc"]);
    set("server.lane_port_base=70000", &["lane_port_base", "70000"]);
    set("wire.bulk_len_max=12 parsecs", &["bulk_len_max", "12 parsecs"]);
    set("lane.heartbeat=5 MiB", &["heartbeat", "5 MiB"]);
    set(
        "business.iot_data.fsync=sometimes",
        &["fsync", "sometimes", "everysec"],
    );
    set(
        "business.iot_data.compression=snappy",
        &["compression", "snappy", "zstd"],
    );
    set("nonsense", &["nonsense"]);
    assert_refused(data_dir, &["--port", "66000"], EXIT_CONFIG, &["66000"]);
    assert_refused(data_dir, &["--lanes", "many"], EXIT_CONFIG, &["many"]);
    assert_refused(data_dir, &["--no-such-flag"], EXIT_CONFIG, &["--no-such-flag"]);
    assert!(
        !std::path::Path::new(data_dir).exists(),
        "a refused start leaves no data directory behind"
    );
}

#[test]
fn bad_files_are_refused_by_file_and_key() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("bad.toml");
    let path = file.to_str().expect("UTF-8");
    let check = |text: &str, words: &[&str]| {
        std::fs::write(&file, text).expect("written");
        let output = run_to_exit(&["check-config", path]);
        let printed = error_text(&output);
        assert_eq!(
            output.status.code(),
            Some(EXIT_CONFIG),
            "{text:?} printed:\n{printed}"
        );
        for word in words.iter().chain(&["bad.toml"]) {
            assert!(
                printed.contains(word),
                "{text:?} must mention {word}; it printed:\n{printed}"
            );
        }
    };
    check("[server]\nno_such_key = 1\n", &["no_such_key"]);
    check("[no_such_section]\nport = 1\n", &["no_such_section"]);
    check("[server]\nport = \"high\"\n", &["port", "high"]);
    check(
        "[wire]\nbulk_len_max = \"1 furlong\"\n",
        &["bulk_len_max", "1 furlong"],
    );
    let twice =
        "[[business]]\nname = \"a\"\nprefixes = [\"x_\"]\n[[business]]\nname = \"b\"\nprefixes = [\"x_\"]\n";
    check(twice, &["x_"]);
    check("[server\n", &["1"]);
    let missing = run_to_exit(&["check-config", "/nonexistent/ticklane.toml"]);
    assert_eq!(
        missing.status.code(),
        Some(EXIT_CONFIG),
        "{}",
        error_text(&missing)
    );
    assert!(
        error_text(&missing).contains("/nonexistent/ticklane.toml"),
        "{}",
        error_text(&missing)
    );
}

#[test]
fn the_default_file_is_accepted() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/ticklane.toml");
    let output = run_to_exit(&["check-config", file]);
    assert_eq!(output.status.code(), Some(0), "{}", error_text(&output));
}

#[test]
fn version_help_and_command_table_are_printed() {
    let version = run_to_exit(&["--version"]);
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(
        version.status.success() && text.contains(env!("CARGO_PKG_VERSION")),
        "{text}"
    );
    let help = run_to_exit(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    let words = ["serve", "check-config", "commands"];
    assert!(
        help.status.success() && words.iter().all(|word| text.contains(word)),
        "{text}"
    );
    let commands = run_to_exit(&["commands"]);
    let text = String::from_utf8_lossy(&commands.stdout).to_uppercase();
    let words = ["TSDB_SET", "BATCH_FLUSH", "MSETNX", "CLUSTER_INFO"];
    assert!(
        commands.status.success() && words.iter().all(|word| text.contains(word)),
        "{text}"
    );
}

#[test]
fn a_port_in_use_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let quiet = quiet_ports();
    let data_dir = folder.path().to_str().expect("UTF-8");
    let mut arguments = vec!["--port", &port];
    arguments.extend(quiet.iter().map(String::as_str));
    assert_refused(data_dir, &arguments, EXIT_PORT_IN_USE, &[&port]);
    let setting = format!("business.iot_data.port={port}");
    arguments.extend(["--port", "0", "--set", &setting]);
    assert_refused(data_dir, &arguments[2..], EXIT_PORT_IN_USE, &[&port]);
}

#[test]
fn two_servers_do_not_share_a_port() {
    let server = Server::start(ServerOptions::default());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let port = server.port.to_string();
    let quiet = quiet_ports();
    let mut arguments = vec!["--port", &port];
    arguments.extend(quiet.iter().map(String::as_str));
    assert_refused(
        folder.path().to_str().expect("UTF-8"),
        &arguments,
        EXIT_PORT_IN_USE,
        &[&port],
    );
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let server = Server::start(ServerOptions::default());
    let data_dir = server.data_dir().to_str().expect("UTF-8").to_owned();
    let quiet = quiet_ports();
    let mut arguments = vec!["--port", "0"];
    arguments.extend(quiet.iter().map(String::as_str));
    let id = server.process_id().to_string();
    assert_refused(&data_dir, &arguments, EXIT_DATA_DIR_IN_USE, &[&data_dir, &id]);
    assert_eq!(server.client().command(&["PING"]).text().as_deref(), Some("PONG"));
}

#[test]
fn a_data_directory_of_another_partition_count_is_refused() {
    let mut server = Server::start(ServerOptions::with_lanes(2));
    assert!(server.client().command(&["SET", "iot_a", "kept"]).is_ok());
    server.terminate();
    let data_dir = server.data_dir().to_str().expect("UTF-8").to_owned();
    let quiet = quiet_ports();
    let mut arguments = vec![
        "--port",
        "0",
        "--lanes",
        "2",
        "--set",
        "business.iot_data.partitions=3",
    ];
    arguments.extend(quiet.iter().map(String::as_str));
    assert_refused(
        &data_dir,
        &arguments,
        EXIT_DATA_DIR_DIFFERS,
        &["iot_data", "2", "3"],
    );
    server.restart();
    assert_eq!(
        server.client().command(&["GET", "iot_a"]).text().as_deref(),
        Some("kept")
    );
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a directory").expect("written");
    let path = file.to_str().expect("UTF-8");
    let quiet = quiet_ports();
    let mut arguments = vec!["--port", "0"];
    arguments.extend(quiet.iter().map(String::as_str));
    assert_refused(path, &arguments, EXIT_DATA_DIR_UNUSABLE, &[path]);
}

#[test]
fn too_few_open_files_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let quiet = quiet_ports().join("' '");
    let script = format!(
        "ulimit -n 64; exec '{}' serve --bind 127.0.0.1 --port 0 --data-dir '{}' '{quiet}'",
        env!("CARGO_BIN_EXE_ticklane"),
        folder.path().display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .output()
        .expect("a shell to lower the limit");
    let text = error_text(&output);
    assert_eq!(output.status.code(), Some(EXIT_OPEN_FILES), "{text}");
    assert!(text.contains("64"), "{text}");
}

#[test]
fn every_kind_of_stop_keeps_everything() {
    let mut server = Server::start(ServerOptions::with_lanes(2));
    for (round, lanes) in [1, 4, 2].into_iter().enumerate() {
        let mut client = server.client();
        let value = format!("round {round}");
        assert!(
            client
                .command(&["MSET", "plain", &value, "stock_a", &value, "iot_a", &value])
                .is_ok()
        );
        assert_eq!(
            client.command(&["INCR", "order_count"]).integer(),
            Some(round as i64 + 1)
        );
        assert!(
            client
                .command(&["SET", "sms_a", &value, "EXAT", "33177117420"])
                .is_ok()
        );
        if Program::from_environment() == Program::Ticklane {
            assert!(
                client
                    .command(&["TSDB_SET", "stock_series", &round.to_string(), "1.5"])
                    .is_ok()
            );
        }
        let status = match round {
            0 => server.stop_by_signal(libc::SIGTERM),
            1 => server.stop_by_signal(libc::SIGINT),
            _ => {
                client.send(b"SHUTDOWN\r\n").expect("the server reads");
                server.wait_for_end()
            }
        };
        assert_eq!(
            status.code(),
            Some(0),
            "stop {round}; it printed:\n{}",
            server.log()
        );
        server.restart_with_lanes(lanes);
        let mut client = server.client();
        let got = client
            .command(&["MGET", "plain", "stock_a", "iot_a", "sms_a"])
            .to_string();
        assert_eq!(
            got,
            format!("[\"{value}\", \"{value}\", \"{value}\", \"{value}\"]")
        );
        assert_eq!(
            client.command(&["GET", "order_count"]).integer(),
            Some(round as i64 + 1)
        );
        assert_eq!(
            client.command(&["EXPIRETIME", "sms_a"]).integer(),
            Some(33_177_117_420)
        );
        if Program::from_environment() == Program::Ticklane {
            let samples = client.command(&["TSDB_GET", "stock_series", "-", "+"]);
            assert_eq!(samples.elements().len(), round + 1, "{samples}");
        }
    }
}

#[test]
fn a_stop_answers_what_was_received() {
    let mut server = Server::start(ServerOptions::with_lanes(2));
    let mut client = server.client();
    let commands: Vec<Vec<String>> = (0..2_000)
        .map(|index| vec!["SET".into(), format!("stock_{index}"), index.to_string()])
        .chain(std::iter::once(vec!["PING".into()]))
        .collect();
    client.pipeline(&commands).expect("replies");
    let acknowledged = client.command(&["INCR", "plain"]).integer();
    server.terminate();
    server.restart();
    let mut client = server.client();
    assert_eq!(client.command(&["GET", "plain"]).integer(), acknowledged);
    assert_eq!(client.command(&["DBSIZE"]).integer(), Some(2_001));
}

#[test]
fn an_empty_server_is_ready_in_time() {
    let mut server = Server::start(ServerOptions::with_lanes(4));
    server.terminate();
    let begin = Instant::now();
    server.restart();
    assert_eq!(server.client().command(&["PING"]).text().as_deref(), Some("PONG"));
    let took = begin.elapsed();
    assert!(took < READY_WITHIN, "from start to first answer {took:?}");
}
