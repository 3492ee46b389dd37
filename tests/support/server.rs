//! A server process of its own for each test: started on a free port, killed when the test ends.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Client;

/// Time from start to the ready line; the product promises two seconds, a loaded test machine gets more.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Time from SIGTERM to the end of the process.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Businesses of the default configuration that have a port of their own.
const BUSINESSES_WITH_PORT: [&str; 7] = [
    "stock_quotes",
    "iot_data",
    "financial_quotes",
    "order_data",
    "payment_data",
    "inventory_data",
    "sms_delivery",
];

/// Which program is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The server of this repository.
    Ticklane,
    /// Debian's redis-server, to check the tests themselves.
    Redis,
}

impl Program {
    /// `TICKLANE_TEST_ORACLE=redis` in the environment runs the tests against Redis.
    pub fn from_environment() -> Program {
        match std::env::var("TICKLANE_TEST_ORACLE").as_deref() {
            Ok("redis") => Program::Redis,
            _ => Program::Ticklane,
        }
    }
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Which program.
    pub program: Program,
    /// Number of lanes.
    pub lanes: usize,
    /// Further settings, `section.key` and value, after those that keep tests apart from each other.
    pub sets: Vec<(String, String)>,
    /// Where the data is; a directory that vanishes with the server if `None`.
    pub data_dir: Option<PathBuf>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            program: Program::from_environment(),
            lanes: 1,
            sets: Vec::new(),
            data_dir: None,
        }
    }
}

impl ServerOptions {
    /// The default with `lanes` lanes.
    pub fn with_lanes(lanes: usize) -> ServerOptions {
        ServerOptions {
            lanes,
            ..ServerOptions::default()
        }
    }
}

/// A running server. Dropping it kills the process.
pub struct Server {
    options: ServerOptions,
    data_dir: PathBuf,
    own_data_dir: Option<tempfile::TempDir>,
    child: Child,
    log: Arc<Mutex<String>>,
    /// Where it listens on loopback for commands.
    pub port: u16,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready; the message carries what it printed.
    pub fn start(options: ServerOptions) -> Server {
        Server::try_start(options).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Starts a server that may refuse to start.
    ///
    /// # Errors
    /// What it printed, if it ended or did not become ready in time.
    pub fn try_start(options: ServerOptions) -> Result<Server, String> {
        let own_data_dir = match &options.data_dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().expect("a temporary directory")),
        };
        let data_dir = match (&options.data_dir, &own_data_dir) {
            (Some(path), _) => path.clone(),
            (None, Some(temporary)) => temporary.path().to_path_buf(),
            (None, None) => unreachable!("one of the two was just made"),
        };
        let (child, port, log) = launch(&options, &data_dir)?;
        Ok(Server {
            options,
            data_dir,
            own_data_dir,
            child,
            log,
            port,
        })
    }

    /// A fresh connection.
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// All that the process has printed since its last start.
    pub fn log(&self) -> String {
        self.log
            .lock()
            .expect("invariant: no holder of the log panics")
            .clone()
    }

    /// Kills the process the hard way (SIGKILL) and waits for its end.
    pub fn kill9(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the end of the process");
    }

    /// Sends `signal` and waits for the end of the process.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn stop_by_signal(&mut self, signal: libc::c_int) -> ExitStatus {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: `kill` touches no memory; the child was not waited for yet, so the id is still its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0, "signal {signal}");
        self.wait_for_end()
    }

    /// Waits for a process that is ending by itself.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        wait_within(&mut self.child, STOP_TIMEOUT).unwrap_or_else(|| {
            panic!(
                "still running after {STOP_TIMEOUT:?}; it printed:\n{}",
                self.log()
            )
        })
    }

    /// Stops it gracefully (SIGTERM).
    ///
    /// # Panics
    /// If the exit code is not 0.
    pub fn terminate(&mut self) {
        let status = self.stop_by_signal(libc::SIGTERM);
        assert_eq!(
            status.code(),
            Some(0),
            "exit after SIGTERM; it printed:\n{}",
            self.log()
        );
    }

    /// Starts it again on the same data, on another port.
    pub fn restart(&mut self) {
        self.restart_with_lanes(self.options.lanes);
    }

    /// Starts it again on the same data with another number of lanes, on another port.
    pub fn restart_with_lanes(&mut self, lanes: usize) {
        self.options.lanes = lanes;
        let (child, port, log) =
            launch(&self.options, &self.data_dir).unwrap_or_else(|reason| panic!("{reason}"));
        (self.child, self.port, self.log) = (child, port, log);
    }

    /// Starts it on the same data and kills it (SIGKILL) after `delay`, ready or not.
    pub fn start_and_kill(&mut self, delay: Duration) {
        let (mut command, _) = command_line(&self.options, &self.data_dir);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        std::thread::sleep(delay);
        child.kill().expect("SIGKILL");
        child.wait().expect("the end of the process");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when the process has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server printed:\n{}---", self.log());
        }
    }
}

/// Runs the ticklane binary with `arguments` until it ends by itself.
///
/// # Panics
/// If it does not end in time.
pub fn run_to_exit(arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ticklane"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    if wait_within(&mut child, STOP_TIMEOUT).is_none() {
        child.kill().expect("SIGKILL");
        let output = child.wait_with_output().expect("its output");
        panic!(
            "{arguments:?} is still running; it printed {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    child.wait_with_output().expect("its output")
}

fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("the state of the process") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Settings that keep servers of tests that run side by side apart: nothing but the one free port.
fn isolation() -> Vec<(String, String)> {
    let mut sets = vec![("server.lane_port_base".to_owned(), "0".to_owned())];
    sets.extend(
        BUSINESSES_WITH_PORT
            .iter()
            .map(|name| (format!("business.{name}.port"), "0".to_owned())),
    );
    sets
}

/// The port in a ready line, if `line` is one.
fn ready_port(program: Program, line: &str, chosen_port: u16) -> Option<u16> {
    match program {
        Program::Ticklane => line
            .split_once("ticklane ready on 127.0.0.1:")?
            .1
            .trim()
            .parse()
            .ok(),
        Program::Redis => line
            .contains("Ready to accept connections")
            .then_some(chosen_port),
    }
}

/// The command that starts the server, and the port if it had to be chosen here.
fn command_line(options: &ServerOptions, data_dir: &Path) -> (Command, u16) {
    if options.program == Program::Redis {
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
        ]);
        command
            .arg(data_dir)
            .args(["--appendonly", "yes", "--appendfsync", "everysec"]);
        command.stdin(Stdio::null());
        return (command, port);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticklane"));
    command.args([
        "serve",
        "--bind",
        "127.0.0.1",
        "--port",
        "0",
        "--lanes",
        &options.lanes.to_string(),
    ]);
    command.arg("--data-dir").arg(data_dir);
    for (key, value) in isolation().iter().chain(&options.sets) {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command.stdin(Stdio::null());
    (command, 0)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A running server: the process, its port, and what it prints.
type Launched = (Child, u16, Arc<Mutex<String>>);

fn launch(options: &ServerOptions, data_dir: &Path) -> Result<Launched, String> {
    let (mut command, chosen_port) = command_line(options, data_dir);
    let name: OsString = command.get_program().to_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", name.display()));
    let log = Arc::new(Mutex::new(String::new()));
    let (ready_sender, ready) = channel();
    let program = options.program;
    let notice = move |line: &str| ready_port(program, line, chosen_port);
    follow(
        child.stdout.take().expect("a piped stdout"),
        &log,
        ready_sender.clone(),
        notice,
    );
    follow(
        child.stderr.take().expect("a piped stderr"),
        &log,
        ready_sender,
        notice,
    );
    match wait_for_ready(&ready) {
        Ok(port) => Ok((child, port, log)),
        Err(reason) => {
            let _ = child.kill();
            let status = child.wait();
            let log = log.lock().expect("invariant: no holder of the log panics");
            Err(format!("the server {reason} ({status:?}); it printed:\n{log}"))
        }
    }
}

fn wait_for_ready(ready: &Receiver<u16>) -> Result<u16, &'static str> {
    ready.recv_timeout(READY_TIMEOUT).map_err(|error| match error {
        RecvTimeoutError::Timeout => "was not ready in time",
        RecvTimeoutError::Disconnected => "ended before it was ready",
    })
}

/// Copies an output of the server into `log` on a thread of its own and reports the ready line.
fn follow(
    output: impl Read + Send + 'static,
    log: &Arc<Mutex<String>>,
    ready: Sender<u16>,
    notice: impl Fn(&str) -> Option<u16> + Send + 'static,
) {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut ready = Some(ready);
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(port) = notice(&line)
                && let Some(sender) = ready.take()
            {
                // Nobody waits any more if both outputs carry the line.
                let _ = sender.send(port);
            }
            let mut log = log.lock().expect("invariant: no holder of the log panics");
            log.push_str(&line);
            log.push('\n');
        }
    });
}
