//! Background work of a running server: late samples are folded, old chunks become cold, expired ones go away.

mod support;

use std::time::{Duration, Instant};

use support::{Client, Server, ServerOptions, Value};

const BATCH: i64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(20);

fn options(sets: &[(&str, &str)]) -> ServerOptions {
    let common = [
        ("storage.head_idle", "100 ms"),
        ("business.stock_quotes.time_unit", "s"),
    ];
    let sets = common.iter().chain(sets);
    ServerOptions {
        sets: sets
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect(),
        ..ServerOptions::default()
    }
}

fn info(client: &mut Client, field: &str) -> u64 {
    let reply = client.command(&["BUSINESS", "INFO", "stock_quotes"]);
    let elements = reply.elements();
    let place = elements.iter().position(|e| e.text().as_deref() == Some(field));
    let value = place
        .and_then(|place| elements.get(place + 1))
        .and_then(Value::text);
    value
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{field}: {reply}"))
}

fn store(client: &mut Client, times: impl Iterator<Item = i64>, value: impl Fn(i64) -> String) {
    let times: Vec<i64> = times.collect();
    for batch in times.chunks(BATCH as usize) {
        let mut words = vec!["TSDB_MSET".to_string()];
        for time in batch {
            words.extend(["stock_a".to_string(), time.to_string(), value(*time)]);
        }
        assert_eq!(client.command(&words).text().as_deref(), Some("OK"));
    }
}

fn wait_for(client: &mut Client, what: &str, mut done: impl FnMut(&mut Client) -> bool) {
    let start = Instant::now();
    while !done(client) {
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: {}",
            client.command(&["BUSINESS", "INFO", "stock_quotes"])
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(client: &mut Client) -> usize {
    client
        .command(&["TSDB_GET", "stock_a", "-", "+"])
        .elements()
        .len()
}

#[test]
fn old_samples_become_cold_and_are_read_the_same() {
    let sets = [
        ("business.stock_quotes.cold_hot_separation", "true"),
        ("business.stock_quotes.hot_age", "1 h"),
    ];
    let mut server = Server::start(options(&sets));
    let mut client = server.client();
    store(&mut client, 0..40_000, |time| format!("{}", time as f64 / 4.0));
    // Late samples, some on timestamps that exist.
    store(&mut client, (0..40_000).step_by(997).map(|time| time - 5), |_| {
        "-1".into()
    });
    let before = client.command(&["TSDB_GET", "stock_a", "-", "+"]);
    wait_for(&mut client, "cold", |client| {
        info(client, "cold_samples") >= 32_000
    });
    assert!(info(&mut client, "hot_samples") < 8_192 + 100);
    assert!(info(&mut client, "cold_bytes") > 0);
    let check = |client: &mut Client| {
        assert!(client.command(&["TSDB_GET", "stock_a", "-", "+"]) == before);
        let newest = client.command(&["TSDB_GET", "stock_a", "-", "+", "39000", "REV"]);
        assert!(newest.elements().last() == before.elements().get(before.elements().len() - 39_000));
    };
    check(&mut client);
    server.kill9();
    server.restart();
    let mut client = server.client();
    check(&mut client);
    assert!(info(&mut client, "cold_samples") >= 32_000);
    client.command(&["DEL", "stock_a"]);
    wait_for(&mut client, "empty tiers", |client| {
        info(client, "cold_samples") + info(client, "hot_samples") == 0
    });
}

#[test]
fn series_that_nobody_touches_become_cold_too() {
    let mut server = Server::start(options(&[("business.stock_quotes.cold_hot_separation", "false")]));
    store(&mut server.client(), 0..40_000, |time| time.to_string());
    wait_for(&mut server.client(), "sealed", |client| {
        info(client, "hot_samples") >= 40_000
    });
    server.terminate();
    let data_dir = Some(server.data_dir().to_path_buf());
    let sets = [("business.stock_quotes.cold_hot_separation", "true")];
    let again = Server::start(ServerOptions {
        data_dir,
        ..options(&sets)
    });
    wait_for(&mut again.client(), "cold", |client| {
        info(client, "cold_samples") >= 32_000
    });
    assert_eq!(count(&mut again.client()), 40_000);
}

#[test]
fn expired_chunks_go_away() {
    let server = Server::start(options(&[("business.stock_quotes.retention", "1000 s")]));
    let mut client = server.client();
    store(&mut client, 0..20_000, |time| time.to_string());
    wait_for(&mut client, "dropped", |client| {
        (1..4_000).contains(&info(client, "hot_samples"))
    });
    assert_eq!(count(&mut client), 1_001);
}
