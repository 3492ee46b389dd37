//! Rules made with BACKFILL of a long series while the server is killed: no rule is there without all of its buckets.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::writer::samples_of;
use crate::support::{Client, Server, ServerOptions};

/// Far more than one delivery rolls up.
const SAMPLES: i64 = 400_000;
const SAMPLES_PER_COMMAND: i64 = 5_000;
const BUCKET: &str = "7";
/// The buckets are there within this time after the start.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Destinations in the partition of the source, if there is only one lane, and elsewhere.
const PREFIXES: [&str; 4] = ["", "stock_", "", "iot_"];

fn fill(client: &mut Client) {
    for first in (0..SAMPLES).step_by(SAMPLES_PER_COMMAND as usize) {
        let mut command = vec!["TS.MADD".to_owned()];
        for time in first..first + SAMPLES_PER_COMMAND {
            command.extend(["source".to_owned(), time.to_string(), (time % 1_000).to_string()]);
        }
        assert!(!client.command(&command).is_error());
    }
}

fn create_rule(client: &mut Client, destination: &str) -> std::io::Result<()> {
    let command = [
        "TS.CREATERULE",
        "source",
        destination,
        "AGGREGATION",
        "sum",
        BUCKET,
        "BACKFILL",
    ];
    let reply = client.try_command(&command)?;
    assert!(reply.is_ok(), "{reply}");
    Ok(())
}

/// Buckets of the source, but for the open one.
fn closed_buckets(client: &mut Client) -> Vec<(i64, f64)> {
    let reply = client.command(&["TS.RANGE", "source", "-", "+", "AGGREGATION", "sum", BUCKET]);
    let samples = reply.elements().iter();
    let mut buckets: Vec<(i64, f64)> = samples
        .filter_map(|sample| match sample.elements() {
            [time, value] => Some((time.integer()?, value.float()?)),
            _ => None,
        })
        .collect();
    buckets.pop();
    buckets
}

fn has_rule(client: &mut Client, destination: &str) -> bool {
    let info = client.command(&["TS.INFO", destination]);
    let mut fields = info.elements().iter();
    let source = fields.find(|field| field.text().as_deref() == Some("sourceKey"));
    assert!(source.is_some(), "{info}");
    fields.next().and_then(|source| source.text()).is_some()
}

fn compare(client: &mut Client, destination: &str, expected: &[(i64, f64)], context: &str) {
    let start = Instant::now();
    loop {
        let found = samples_of(client, destination);
        if found == expected {
            return;
        }
        assert!(
            start.elapsed() < SETTLED_AFTER,
            "{destination} has {} buckets for {}, {context}",
            found.len(),
            expected.len()
        );
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

/// Makes rules and kills the server so many times meanwhile.
///
/// # Panics
/// If a rule is there without its buckets, or not there although it was acknowledged.
pub fn kill(options: ServerOptions, kills: usize, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut server = Server::start(options);
    let mut client = server.client();
    assert!(client.command(&["TS.CREATE", "source"]).is_ok());
    fill(&mut client);
    let expected = closed_buckets(&mut client);
    assert!(client.command(&["TS.CREATE", "whole"]).is_ok());
    let start = Instant::now();
    create_rule(&mut client, "whole").expect("nobody kills it");
    let longest = start.elapsed();
    assert_eq!(
        samples_of(&mut client, "whole").len(),
        expected.len(),
        "at the reply"
    );
    compare(&mut client, "whole", &expected, "not killed");
    let (mut acknowledged, mut half_way) = (0, 0);
    for cycle in 0..kills {
        let context = format!("kill {cycle}, SEED={seed}");
        let destination = format!("{}bucket{cycle}", PREFIXES[cycle % PREFIXES.len()]);
        assert!(server.client().command(&["TS.CREATE", &destination]).is_ok());
        let (mut client, of_thread) = (server.client(), destination.clone());
        let creating = std::thread::spawn(move || create_rule(&mut client, &of_thread).is_ok());
        std::thread::sleep(longest.mul_f64(random.f64()));
        server.kill9();
        let is_acknowledged = creating.join().expect("the rule was not refused");
        server.restart();
        let mut client = server.client();
        let has_rule = has_rule(&mut client, &destination);
        assert!(
            has_rule || !is_acknowledged,
            "{destination} has lost its rule, {context}"
        );
        acknowledged += usize::from(is_acknowledged);
        half_way += usize::from(has_rule && !is_acknowledged);
        let expected = if has_rule { expected.as_slice() } else { &[] };
        compare(&mut client, &destination, expected, &context);
    }
    println!("{kills} kills: {acknowledged} acknowledged, {half_way} half-way, {longest:?} at most");
}
