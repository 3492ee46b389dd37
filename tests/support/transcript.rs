//! Runs a transcript: sends its commands, compares the replies, or rewrites what was expected.
//!
//! The format is described in `tests/transcripts/README.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Client, Program, Value, encode, escape, matches, unescape};

/// One difference between a transcript and the server.
pub struct Failure {
    file: PathBuf,
    line: usize,
    sent: String,
    expected: String,
    got: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}:{}", self.file.display(), self.line)?;
        writeln!(out, "    sent      {}", self.sent)?;
        writeln!(out, "    expected  {}", self.expected)?;
        write!(out, "    got       {}", self.got)
    }
}

/// How transcripts are run.
pub struct Run {
    /// Port of the server.
    pub port: u16,
    /// What the server is.
    pub program: Program,
    /// Seed for cutting what is sent at random places; `None` sends every command whole.
    pub cut_seed: Option<u64>,
    /// Whether expectations that do not hold are replaced in the file.
    pub update: bool,
}

/// Runs the transcript at `path` against a server whose keyspace is emptied first.
pub fn run_file(run: &Run, path: &Path) -> Vec<Failure> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if run.program == Program::Redis && text.lines().any(|line| line == "@ ticklane-only") {
        return Vec::new();
    }
    assert!(
        Client::connect(run.port).command(&["FLUSHALL"]).is_ok(),
        "FLUSHALL before {}",
        path.display()
    );
    let mut player = Player {
        run,
        path,
        connections: BTreeMap::new(),
        last_connection: 1,
        sent: String::new(),
        waiting: None,
        last_reply: None,
        scanned: None,
        names: BTreeMap::new(),
        random: run.cut_seed.map(fastrand::Rng::with_seed),
        output: Vec::new(),
        failures: Vec::new(),
    };
    for (index, line) in text.lines().enumerate() {
        player.line(index + 1, line);
    }
    player.close_command();
    if run.update {
        let output = player.output.join("\n") + "\n";
        std::fs::write(path, output).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    player.failures
}

/// The state of one run of one file.
struct Player<'a> {
    run: &'a Run,
    path: &'a Path,
    connections: BTreeMap<u32, Client>,
    last_connection: u32,
    /// The line that was sent last, for messages.
    sent: String,
    /// The line number of a command whose reply nobody has looked at yet.
    waiting: Option<usize>,
    last_reply: Option<Value>,
    /// The joined keys of `@ scan`, read in place of a reply.
    scanned: Option<Value>,
    /// Texts kept with `@ let`.
    names: BTreeMap<String, String>,
    random: Option<fastrand::Rng>,
    /// The lines of the file as they should be.
    output: Vec<String>,
    failures: Vec<Failure>,
}

impl Player<'_> {
    fn line(&mut self, number: usize, line: &str) {
        let reply = line.starts_with('<') || line.starts_with('!');
        if !reply {
            self.close_command();
        }
        if let Some(expected) = line.strip_prefix("< ") {
            self.expect(number, line, expected);
        } else if line.starts_with("! ") {
            self.expect(number, line, line);
        } else if let Some(directive) = line.strip_prefix("@ ") {
            self.output.push(line.to_owned());
            self.directive(number, directive);
        } else if let Some((target, command)) = split_command(line) {
            self.output.push(line.to_owned());
            self.send(number, target, command);
        } else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "{}:{number}: {line}",
                self.path.display()
            );
            self.output.push(line.to_owned());
        }
    }

    /// A command that no reply line follows: a fault of the file, or the place to write the reply.
    fn close_command(&mut self) {
        let Some(number) = self.waiting.take() else { return };
        let got = self.read();
        if self.run.update {
            self.output.push(reply_line(&got));
        } else {
            self.fail(number, "a reply line in the transcript", reply_line(&got));
        }
    }

    fn send(&mut self, number: usize, target: u32, command: Command<'_>) {
        self.last_connection = target;
        self.waiting = Some(number);
        let client = connection(&mut self.connections, self.run, target);
        let result = match (command, &mut self.random) {
            (Command::Words(text), random) => {
                let text = with_names(&self.names, text);
                self.sent.clone_from(&text);
                let bytes = encode(&split_words(&text));
                match random {
                    Some(random) => send_in_pieces(client, random, &bytes),
                    None => client.send(&bytes),
                }
            }
            // Sent whole: the server may refuse the beginning and close before the rest arrives.
            (Command::Raw(text), _) => {
                text.clone_into(&mut self.sent);
                client.send(&unescape(text))
            }
        };
        if let Err(error) = result {
            self.fail(number, "a connection that takes the command", error.to_string());
        }
    }

    fn read(&mut self) -> io::Result<Value> {
        if let Some(keys) = self.scanned.take() {
            return Ok(keys);
        }
        let reply = connection(&mut self.connections, self.run, self.last_connection).read();
        match &reply {
            Ok(value) => self.last_reply = Some(value.clone()),
            // What comes after belongs to nobody: the next command gets a connection of its own.
            Err(_) => drop(self.connections.remove(&self.last_connection)),
        }
        reply
    }

    fn expect(&mut self, number: usize, line: &str, expected: &str) {
        self.waiting = None;
        if expected == "(nothing)" {
            self.output.push(line.to_owned());
            return;
        }
        let got = self.read();
        let holds = got
            .as_ref()
            .is_ok_and(|value| fits(&with_names(&self.names, expected), value));
        let corrected = match &got {
            Ok(value) if expected.starts_with("unordered ") => format!("< unordered {}", value.sorted()),
            other => reply_line(other),
        };
        self.output
            .push(if holds { line.to_owned() } else { corrected.clone() });
        if !holds && !self.run.update {
            self.fail(number, line, corrected);
        }
    }

    fn directive(&mut self, number: usize, directive: &str) {
        let words: Vec<&str> = directive.split_whitespace().collect();
        match words.as_slice() {
            ["ticklane-only"] => {}
            ["sleep", time] => {
                let milliseconds = time.strip_suffix("ms").and_then(|digits| digits.parse().ok());
                let milliseconds = milliseconds.unwrap_or_else(|| panic!("line {number}: @ sleep 20ms"));
                std::thread::sleep(Duration::from_millis(milliseconds));
            }
            ["closed", target @ ..] => {
                let named = target
                    .first()
                    .map(|digits| digits.parse().expect("the number of a connection"));
                let target = named.unwrap_or(self.last_connection);
                if !connection(&mut self.connections, self.run, target).is_closed_by_server() {
                    self.fail(
                        number,
                        "a connection closed by the server",
                        "an open one".to_owned(),
                    );
                }
                self.connections.remove(&target);
            }
            ["close", target] => {
                let target: u32 = target.parse().expect("the number of a connection");
                self.connections.remove(&target);
            }
            ["let", name] => {
                let text = self.last_reply.as_ref().and_then(Value::text);
                let text = text.unwrap_or_else(|| panic!("line {number}: the reply has no text to keep"));
                self.names.insert((*name).to_owned(), text);
            }
            ["scan", ..] => self.scan(number, directive),
            _ => panic!("{}:{number}: unknown directive {directive}", self.path.display()),
        }
    }

    /// Walks SCAN to its end and takes the sorted keys for the reply, which the next line compares.
    fn scan(&mut self, number: usize, directive: &str) {
        directive.clone_into(&mut self.sent);
        let words = split_words(directive);
        let client = connection(&mut self.connections, self.run, 1);
        match client.scan(&words[1..]) {
            Ok(keys) => {
                self.scanned = Some(Value::Array(keys));
                self.waiting = Some(number);
            }
            Err(error) => self.fail(number, "a SCAN that ends", error.to_string()),
        }
    }

    fn fail(&mut self, line: usize, expected: &str, got: String) {
        self.failures.push(Failure {
            file: self.path.to_path_buf(),
            line,
            sent: self.sent.clone(),
            expected: expected.to_owned(),
            got,
        });
    }
}

/// What a command line sends.
enum Command<'a> {
    /// Words, sent as an array of bulk strings.
    Words(&'a str),
    /// Bytes, sent as they are.
    Raw(&'a str),
}

/// The connection and the command of a line like `> GET a`, `2> GET a` or `raw> PING\r\n`.
fn split_command(line: &str) -> Option<(u32, Command<'_>)> {
    if let Some(text) = line.strip_prefix("raw> ") {
        return Some((1, Command::Raw(text)));
    }
    let (target, text) = line.split_once("> ")?;
    match target {
        "" => Some((1, Command::Words(text))),
        digits => Some((digits.parse().ok()?, Command::Words(text))),
    }
}

/// The words of a command; a word in double quotes may hold blanks and the escapes of [`unescape`].
fn split_words(text: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = closing_quote(quoted).unwrap_or_else(|| panic!("unclosed quote in {text}"));
            words.push(unescape(&quoted[..end]));
            rest = quoted[end + 1..].trim_start();
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            words.push(rest.as_bytes()[..end].to_vec());
            rest = rest[end..].trim_start();
        }
    }
    words
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Whether `value` is what a reply line without its `< ` expects.
fn fits(expected: &str, value: &Value) -> bool {
    if let Some(pattern) = expected.strip_prefix("~ ") {
        return matches(pattern, &value.to_string());
    }
    if let Some(list) = expected.strip_prefix("unordered ") {
        return value.sorted().to_string() == list;
    }
    match value {
        Value::Error(text) => {
            let text = error_text(text);
            let pattern = expected.strip_prefix("! ~ ");
            pattern.is_some_and(|pattern| matches(pattern, &text)) || expected == format!("! {text}")
        }
        other => expected == other.to_string(),
    }
}

/// An error in one visible line: quotes stay as they are, a blank at the end is written `\\x20`.
fn error_text(text: &[u8]) -> String {
    let text = escape(text).replace("\\\"", "\"");
    match text.strip_suffix(' ') {
        Some(start) => format!("{start}\\x20"),
        None => text,
    }
}

/// The line that expects `reply` exactly.
fn reply_line(reply: &io::Result<Value>) -> String {
    match reply {
        Ok(Value::Error(text)) => format!("! {}", error_text(text)),
        Ok(value) => format!("< {value}"),
        Err(error) => format!("no reply: {error}"),
    }
}

/// Replaces `$name` by what `@ let name` kept.
fn with_names(names: &BTreeMap<String, String>, text: &str) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("${name}"), value)
    })
}

fn connection<'a>(connections: &'a mut BTreeMap<u32, Client>, run: &Run, target: u32) -> &'a mut Client {
    connections
        .entry(target)
        .or_insert_with(|| Client::connect(run.port))
}

/// Sends `bytes` in one to four writes, so that requests arrive cut anywhere.
fn send_in_pieces(client: &mut Client, random: &mut fastrand::Rng, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    for _ in 0..random.usize(0..4) {
        let (piece, after) = rest.split_at(random.usize(0..=rest.len()));
        client.send(piece)?;
        rest = after;
    }
    client.send(rest)
}
