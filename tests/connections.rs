//! Many connections at once: a thousand that only wait, two hundred that work, some that leave midway.

mod support;

use support::{Client, Server, ServerOptions, raise_open_file_limit};

/// Connections that send nothing while the others work.
const IDLE: usize = 1_000;

/// Connections that work at the same time.
const BUSY: usize = 200;

/// Pipelines that each of them sends.
const ROUNDS: usize = 25;

/// Commands per pipeline, two for each key and round.
const KEYS_PER_ROUND: usize = 8;

/// Sockets of the test, plus what the process has open anyway.
const OPEN_FILES_NEEDED: u64 = 1_500;

fn work(port: u16, worker: usize) {
    let prefix = ["", "stock_", "iot_", "order_"][worker % 4];
    let mut client = Client::connect(port);
    for round in 0..ROUNDS {
        let mut commands: Vec<Vec<String>> = Vec::new();
        for key in 0..KEYS_PER_ROUND {
            let name = format!("{prefix}worker{worker}:{key}");
            commands.push(vec!["SET".into(), name.clone(), format!("{round}:{key}")]);
            commands.push(vec!["GET".into(), name]);
        }
        let replies = client.pipeline(&commands).expect("replies");
        for (key, pair) in replies.chunks(2).enumerate() {
            assert!(pair[0].is_ok(), "worker {worker}, round {round}: {}", pair[0]);
            assert_eq!(
                pair[1].text(),
                Some(format!("{round}:{key}")),
                "worker {worker}, round {round}"
            );
        }
    }
}

fn many_connections(lanes: usize) {
    let limit = raise_open_file_limit();
    assert!(
        limit >= OPEN_FILES_NEEDED,
        "the hard limit on open files is {limit}; {OPEN_FILES_NEEDED} are needed"
    );
    let server = Server::start(ServerOptions::with_lanes(lanes));
    let mut idle: Vec<Client> = (0..IDLE).map(|_| server.client()).collect();
    std::thread::scope(|scope| {
        for worker in 0..BUSY {
            let port = server.port;
            std::thread::Builder::new()
                .stack_size(256 << 10)
                .spawn_scoped(scope, move || work(port, worker))
                .expect("a thread");
        }
    });
    for client in &mut idle {
        assert_eq!(client.command(&["PING"]).text().as_deref(), Some("PONG"));
    }
    let mut client = server.client();
    let keys = client.command(&["DBSIZE"]).integer();
    assert_eq!(keys, Some((BUSY * KEYS_PER_ROUND) as i64), "keys after the work");
    let info = client.command(&["INFO", "clients"]).text().expect("INFO clients");
    let connected = info
        .lines()
        .find_map(|line| line.strip_prefix("connected_clients:")?.parse::<usize>().ok());
    assert!(
        connected.is_some_and(|count| count > IDLE),
        "connected_clients is {connected:?}"
    );
}

#[test]
fn idle_and_busy_on_one_lane() {
    many_connections(1);
}

#[test]
fn idle_and_busy_on_four_lanes() {
    many_connections(4);
}

#[test]
fn connections_that_leave_midway_disturb_nobody() {
    let server = Server::start(ServerOptions::with_lanes(2));
    let mut steady = server.client();
    for round in 0..300 {
        let mut leaver = server.client();
        let pieces: [&[u8]; 5] = [
            b"*3\r\n$3\r\nSET\r\n$7\r\nstock_a\r\n$10\r\nhalf",
            b"*2\r\n$3\r\nGE",
            b"MULTI\r\nSET iot_a 1\r\n",
            b"*2\r\n$3\r\nGET\r\n$5\r\nplain\r\n*2\r\n$3\r\nGET\r\n$7\r\nstock_a\r\n",
            b"WATCH plain\r\n",
        ];
        leaver
            .send(pieces[round % pieces.len()])
            .expect("the server reads");
        drop(leaver);
        assert!(steady.command(&["SET", "plain", &round.to_string()]).is_ok());
    }
    assert_eq!(steady.command(&["EXISTS", "stock_a", "iot_a"]).integer(), Some(0));
}

#[test]
fn a_half_closed_connection_still_gets_its_replies() {
    let server = Server::start(ServerOptions::with_lanes(2));
    let mut client = server.client();
    let commands: Vec<u8> = b"SET stock_a 1\r\nINCR stock_a\r\nSET plain x\r\nGET plain\r\n".to_vec();
    client.send(&commands).expect("the server reads");
    client.finish_sending();
    let texts: Vec<_> = (0..4)
        .map(|_| client.read().expect("a reply").to_string())
        .collect();
    assert_eq!(texts, ["OK", "2", "OK", "\"x\""]);
    assert!(client.is_closed_by_server());
}
