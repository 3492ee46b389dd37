//! Every transcript against real servers with one, two and four lanes, whole and cut at random bytes.
//!
//! `TRANSCRIPT=name` runs one file. `UPDATE_TRANSCRIPTS=1` rewrites expectations that do not hold.
//! `TICKLANE_TEST_ORACLE=redis` runs the files against Debian's redis-server to check the files themselves.

mod support;

use std::path::PathBuf;

use support::{Program, Run, Server, ServerOptions, run_file, seed};

fn transcripts() -> Vec<PathBuf> {
    let only = std::env::var("TRANSCRIPT").ok();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    let entries = std::fs::read_dir(folder).expect("the folder of transcripts");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| {
        let name = file
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        file.extension().is_some_and(|extension| extension == "resp")
            && only.as_ref().is_none_or(|only| only == name)
    });
    files.sort();
    assert!(!files.is_empty(), "no transcript in {folder}");
    files
}

fn run_all(lanes: usize, cut_seed: Option<u64>) {
    let server = Server::start(ServerOptions::with_lanes(lanes));
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some() && lanes == 1;
    let run = Run {
        port: server.port,
        program: Program::from_environment(),
        cut_seed,
        update,
    };
    let files = transcripts();
    let failures: Vec<_> = files.iter().flat_map(|file| run_file(&run, file)).collect();
    for failure in &failures {
        eprintln!("{failure}\n");
    }
    let seed_text = cut_seed.map(|seed| format!(", SEED={seed}")).unwrap_or_default();
    assert!(
        failures.is_empty(),
        "{} differences in {} files with {lanes} lanes{seed_text}",
        failures.len(),
        files.len()
    );
}

#[test]
fn one_lane() {
    run_all(1, None);
}

#[test]
fn two_lanes_and_requests_cut_anywhere() {
    run_all(2, Some(seed()));
}

#[test]
fn four_lanes() {
    run_all(4, None);
}

#[test]
fn patterns_describe_what_they_say() {
    assert!(support::matches("<int>", "-12") && !support::matches("<int>", "1x"));
    assert!(support::matches("[<any>, 3]", "[1, 2, 3]") && !support::matches("[<any>, 3]", "[1, 2]"));
    assert!(support::matches("<9..10>", "10") && !support::matches("<9..10>", "11"));
    assert!(support::matches("a<b|c>", "ac") && !support::matches("a<b|c>", "ad"));
    assert!(support::matches("<hex>-", "0af-") && !support::matches("<hex>-", "-"));
}

#[test]
fn notation_distinguishes_every_type() {
    let bytes =
        b"*11\r\n+OK\r\n+nil\r\n-ERR a, b\r\n:1\r\n$1\r\n1\r\n$-1\r\n*-1\r\n_\r\n,1\r\n#t\r\n=5\r\ntxt:1\r\n";
    let value = support::Value::read(&mut &bytes[..]).expect("RESP");
    let notation = r#"[OK, +"nil", !"ERR a, b", 1, "1", nil, nil[], null, ,1, #t, ="txt:1"]"#;
    assert_eq!(value.to_string(), notation);
}

#[test]
fn a_wrong_expectation_is_a_failure() {
    let server = Server::start(ServerOptions::default());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("wrong.resp");
    std::fs::write(
        &file,
        "> SET a 1\n< OK\n> GET a\n< \"2\"\n> GET\n> PING\n< PONG\n",
    )
    .expect("written");
    let run = Run {
        port: server.port,
        program: Program::Redis,
        cut_seed: None,
        update: false,
    };
    let failures = run_file(&run, &file);
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("wrong.resp:4") && texts[0].contains("got       < \"1\""),
        "{}",
        texts[0]
    );
    assert!(texts[1].contains("wrong.resp:5"), "{}", texts[1]);
}
