//! Random pipelines: cut at random bytes they answer as when sent whole, and as Redis answers them.

mod support;

use fastrand::Rng;
use support::{Client, Program, Server, ServerOptions, Value, encode, escape, seed};

/// Pipelines per test; each starts with an empty keyspace.
const PIPELINES: usize = 30;

/// Commands per pipeline.
const COMMANDS: usize = 300;

/// Few keys, so that commands meet; with and without business prefixes, so that they meet across lanes.
const KEYS: [&str; 12] = [
    "plain",
    "other",
    "stock_a",
    "stock_b",
    "iot_a",
    "iot_b",
    "order_a",
    "order_{t}1",
    "order_{t}2",
    "sms_a",
    "finance_a",
    "\u{0}\r\n",
];

/// Values, so chosen that some are numbers and some are not.
const VALUES: [&str; 12] = [
    "0",
    "1",
    "-1",
    "10",
    "9223372036854775807",
    "3.25",
    "1e3",
    "",
    "abc",
    "a b",
    "*1\r\n$4\r\nPING\r\n",
    "01",
];

/// Points in time for options: far ahead, or refused. None is relative to now, and none lies in the past,
/// since whether Redis still counts a key that was born expired depends on its background work.
const POINTS: [&str; 5] = ["0", "-1", "abc", "33177117420123", "33177117420500"];

/// Increments whose sums are exact, whatever the width of the floating-point type.
const INCREMENTS: [&str; 6] = ["0.5", "1.25", "-3", "1e2", "-0.125", "abc"];

type Arguments = Vec<Vec<u8>>;

/// `{k}` in a template is a random key, `{v}` a random value, `{p}` a point in time, `{f}` an
/// increment, `{i}` a small integer.
const TEMPLATES: [&str; 58] = [
    "SET {k} {v}",
    "SET {k} {v} NX",
    "SET {k} {v} XX",
    "SET {k} {v} GET",
    "SET {k} {v} EXAT 33177117420",
    "SET {k} {v} KEEPTTL",
    "SET {k} {v} PXAT {p}",
    "GET {k}",
    "GET {k}",
    "GETSET {k} {v}",
    "GETDEL {k}",
    "GETEX {k} PERSIST",
    "GETEX {k} EXAT 33177117420",
    "SETNX {k} {v}",
    "MGET {k} {k} {k}",
    "MSET {k} {v} {k} {v} {k} {v}",
    "MSETNX {k} {v} {k} {v}",
    "APPEND {k} {v}",
    "STRLEN {k}",
    "GETRANGE {k} {i} {i}",
    "SETRANGE {k} {i} {v}",
    "INCR {k}",
    "DECR {k}",
    "INCRBY {k} {v}",
    "DECRBY {k} {i}",
    "INCRBYFLOAT stock_float {f}",
    "DEL {k} {k}",
    "UNLINK {k}",
    "EXISTS {k} {k} {k}",
    "TOUCH {k} {k}",
    "TYPE {k}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "COPY {k} {k}",
    "COPY {k} {k} REPLACE",
    "EXPIREAT {k} 33177117421 NX",
    "EXPIREAT {k} 33177117420",
    "PEXPIREAT {k} 33177117420123 GT",
    "EXPIRE {k} -1",
    "EXPIRETIME {k}",
    "PEXPIRETIME {k}",
    "PERSIST {k}",
    "DBSIZE",
    "PING",
    "PING {v}",
    "ECHO {v}",
    "NOSUCHCOMMAND {v} {k}",
    "GET",
    "MSET {k}",
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH {k}",
    "UNWATCH",
    "FLUSHALL",
];

fn random_command(random: &mut Rng) -> Arguments {
    let template = TEMPLATES[random.usize(..TEMPLATES.len())];
    let fill = |word: &str| match word {
        "{k}" => KEYS[random.usize(..KEYS.len())].as_bytes().to_vec(),
        "{v}" => VALUES[random.usize(..VALUES.len())].as_bytes().to_vec(),
        "{p}" => POINTS[random.usize(..POINTS.len())].as_bytes().to_vec(),
        "{f}" => INCREMENTS[random.usize(..INCREMENTS.len())].as_bytes().to_vec(),
        "{i}" => random.i64(-8..24).to_string().into_bytes(),
        word => word.as_bytes().to_vec(),
    };
    template.split(' ').map(fill).collect()
}

/// The seed's commands; Redis does not know them.
fn random_sample_command(random: &mut Rng) -> Arguments {
    let key = |random: &mut Rng| KEYS[random.usize(..KEYS.len())].to_owned() + "series";
    let words = match random.usize(..6) {
        0 | 1 => {
            vec![
                "TSDB_SET".into(),
                key(random),
                random.i64(-5..50).to_string(),
                random.f64().to_string(),
            ]
        }
        2 => {
            let mut words = vec!["TSDB_MSET".to_owned()];
            // A few, or more than are looked up together.
            let most = if random.bool() { 5 } else { 50 };
            for _ in 0..random.usize(1..most) {
                words.extend([
                    key(random),
                    random.i64(-5..50).to_string(),
                    random.f64().to_string(),
                ]);
            }
            words
        }
        3 => vec!["TSDB_GET".into(), key(random), "-".into(), "+".into()],
        4 => vec![
            "BATCH_SET".into(),
            key(random),
            random.f64().to_string(),
            random.i64(-5..50).to_string(),
        ],
        _ => vec!["BATCH_FLUSH".into()],
    };
    words.into_iter().map(String::into_bytes).collect()
}

fn random_pipeline(random: &mut Rng, with_samples: bool) -> Vec<Arguments> {
    let mut commands: Vec<Arguments> = (0..COMMANDS)
        .map(|_| match with_samples && random.usize(..4) == 0 {
            true => random_sample_command(random),
            false => random_command(random),
        })
        .collect();
    // Leave no transaction open.
    commands.push(vec![b"EXEC".to_vec()]);
    commands
}

/// Puts long values between the commands of a pipeline, some of them longer than the smallest read buffer.
fn with_long_values(commands: Vec<Arguments>, random: &mut Rng) -> Vec<Arguments> {
    let mut all = Vec::new();
    for command in commands {
        if random.usize(..8) == 0 {
            let key = KEYS[random.usize(..KEYS.len())].as_bytes().to_vec();
            let value = vec![random.alphabetic() as u8; random.usize(..4_000)];
            all.push(vec![b"SET".to_vec(), key, value]);
        }
        all.push(command);
    }
    all
}

/// Sends `bytes` from a thread of its own, cut at random places, so that replies cannot fill the pipe.
fn send_cut(client: &Client, bytes: Vec<u8>, mut random: Rng) -> std::thread::JoinHandle<()> {
    let mut sender = client.sender();
    std::thread::spawn(move || {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let piece_len_max = 1 << random.usize(..10);
            let (piece, after) = rest.split_at(random.usize(1..=piece_len_max.min(rest.len())));
            std::io::Write::write_all(&mut sender, piece).expect("the server reads");
            rest = after;
            if random.usize(..8) == 0 {
                std::thread::yield_now();
            }
        }
    })
}

/// The replies to `commands` on an emptied server; `cut` sends them in pieces.
fn answers(server: &Server, commands: &[Arguments], cut: Option<Rng>) -> Vec<Value> {
    let mut client = server.client();
    assert!(client.command(&["FLUSHALL"]).is_ok(), "FLUSHALL");
    let bytes: Vec<u8> = commands.iter().flat_map(|arguments| encode(arguments)).collect();
    let sending = match cut {
        Some(random) => Some(send_cut(&client, bytes, random)),
        None => {
            client.send(&bytes).expect("the server reads");
            None
        }
    };
    let replies = commands.iter().map(|_| client.read().expect("a reply")).collect();
    if let Some(thread) = sending {
        thread.join().expect("all was sent");
    }
    replies
}

fn assert_same(commands: &[Arguments], expected: &[Value], got: &[Value], what: &str) {
    for (index, command) in commands.iter().enumerate() {
        if expected[index] != got[index] {
            let words: Vec<String> = command.iter().map(|word| escape(word)).collect();
            panic!(
                "{what}: command {index}, {}\n    expected  {}\n    got       {}",
                words.join(" "),
                expected[index],
                got[index]
            );
        }
    }
}

fn cut_equals_whole(options: ServerOptions) {
    let seed = seed();
    let mut random = Rng::with_seed(seed);
    let (lanes, has_own_buffer) = (options.lanes, !options.sets.is_empty());
    let server = Server::start(options);
    let with_samples = Program::from_environment() == Program::Ticklane;
    for round in 0..PIPELINES {
        let mut commands = random_pipeline(&mut random, with_samples);
        if has_own_buffer {
            commands = with_long_values(commands, &mut random);
        }
        let whole = answers(&server, &commands, None);
        let cut = answers(&server, &commands, Some(random.fork()));
        let what = format!("cut against whole, {lanes} lanes, SEED={seed}, round {round}");
        assert_same(&commands, &whole, &cut, &what);
    }
}

#[test]
fn cut_equals_whole_on_one_lane() {
    cut_equals_whole(ServerOptions::with_lanes(1));
}

#[test]
fn cut_equals_whole_on_four_lanes() {
    cut_equals_whole(ServerOptions::with_lanes(4));
}

#[test]
fn cut_equals_whole_with_a_read_buffer_smaller_than_requests() {
    let mut options = ServerOptions::with_lanes(1);
    options.sets = vec![("wire.read_buffer".into(), "1 KiB".into())];
    cut_equals_whole(options);
}

#[test]
fn answers_as_redis_does() {
    let seed = seed();
    let redis = Server::start(ServerOptions {
        program: Program::Redis,
        ..ServerOptions::default()
    });
    for lanes in [1, 2, 4] {
        let mut random = Rng::with_seed(seed);
        let server = Server::start(ServerOptions::with_lanes(lanes));
        for round in 0..PIPELINES {
            let commands = random_pipeline(&mut random, false);
            let expected = answers(&redis, &commands, None);
            let got = answers(&server, &commands, None);
            let what = format!("against redis-server, {lanes} lanes, SEED={seed}, round {round}");
            assert_same(&commands, &expected, &got, &what);
        }
    }
}
