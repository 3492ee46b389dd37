//! `ticklane import` and `ticklane export` against a server of their own.

mod support;

use std::process::Output;

use support::{Server, ServerOptions, run_to_exit};

fn run(command: &str, server: &Server, arguments: &[&str]) -> Output {
    let port = server.port.to_string();
    let mut all = vec![command, "--port", &port];
    all.extend(arguments);
    run_to_exit(&all)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn v2_files_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let mut lines = Vec::new();
    // More than one page of one series, qualities and data types, and values that decimal text could lose.
    for index in 0..25_001_i64 {
        lines.push(format!(
            "SH600519:{:016x}:00\t{:016x}00",
            index - 5,
            (index as f64 / 3.0).to_bits()
        ));
    }
    for index in 0..500_i64 {
        let (data_type, quality) = (index % 3, index % 256);
        let value = (index as f64).sqrt().to_bits();
        lines.push(format!(
            "odd key:x:{index:016x}:{data_type:02x}\t{value:016x}{quality:02x}"
        ));
    }
    std::fs::write(&first, lines.join("\n")).unwrap();
    let server = Server::start(ServerOptions::with_lanes(2));
    let prefix = ["--format", "v2", "--key-prefix", "stock_"];
    let imported = run(
        "import",
        &server,
        &[&prefix[..], &[first.to_str().unwrap()]].concat(),
    );
    assert_eq!(imported.status.code(), Some(0), "{}", said(&imported));
    assert!(
        said(&imported).contains("25501 samples imported, 0 bad lines"),
        "{}",
        said(&imported)
    );
    server.client().command(&["SET", "stock_plain", "value"]);
    server.client().command(&["TSDB_SET", "iot_other", "1", "1"]);
    let exported = run(
        "export",
        &server,
        &[&prefix[..], &[second.to_str().unwrap()]].concat(),
    );
    assert_eq!(exported.status.code(), Some(0), "{}", said(&exported));
    assert!(
        said(&exported).contains("25501 samples of 4 series exported"),
        "{}",
        said(&exported)
    );
    let text = std::fs::read_to_string(&second).unwrap();
    let mut back: Vec<&str> = text.lines().collect();
    back.sort_unstable();
    lines.sort_unstable();
    assert!(
        back == lines,
        "{} lines came back for {}",
        back.len(),
        lines.len()
    );
}

#[test]
fn bad_lines_are_refused_by_number_and_the_others_stored() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let mut lines: Vec<String> = (1..=1000)
        .map(|time| format!("stock_SH600519_{time} {time}.25|1"))
        .collect();
    lines.extend((1..=1000).map(|time| format!("stock_plain_{time}={time}")));
    lines[9] = "stock_SH600519_x 1".into();
    lines[1499] = "stock_text_5 1".into();
    lines[1999] = "nothing".into();
    std::fs::write(&file, lines.join("\r\n") + "\n\n").unwrap();
    let server = Server::start(ServerOptions::default());
    server.client().command(&["SET", "stock_text", "value"]);
    let output = run("import", &server, &["--format", "v1", file.to_str().unwrap()]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "line 10: the timestamp",
        "line 1500: WRONGTYPE",
        "line 2000: no separator",
        "1997 samples imported, 3",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let stored = server
        .client()
        .command(&["TSDB_GET", "stock_SH600519", "11", "11"]);
    assert_eq!(stored.to_string(), "[[11, \"11.25\", 1]]", "{stored:?}");
    let exported = run(
        "export",
        &server,
        &["--format", "csv", "--key-prefix", "stock_pl"],
    );
    let text = String::from_utf8(exported.stdout).unwrap();
    let mut rows = text.lines();
    assert_eq!(
        (rows.next(), rows.next()),
        (Some("key,timestamp,value,quality,data_type"), Some("ain,1,1,0,0"))
    );
    assert_eq!(rows.count(), 997);
}

#[test]
fn transfers_log_in_and_say_what_is_wrong() {
    let options = ServerOptions {
        sets: vec![("server.password".into(), "secret".into())],
        ..ServerOptions::default()
    };
    let server = Server::start(options);
    let refused = run("export", &server, &["--format", "csv"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("NOAUTH"), "{}", said(&refused));
    let exported = run("export", &server, &["--format", "csv", "--password", "secret"]);
    assert_eq!(exported.status.code(), Some(0), "{}", said(&exported));
    let missing = run(
        "import",
        &server,
        &["--format", "v1", "--password", "secret", "/nonexistent/file"],
    );
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("/nonexistent/file"), "{}", said(&missing));
}
