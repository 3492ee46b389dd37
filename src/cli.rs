//! The command line: what to do, and which settings it overrides. Whatever it says about settings becomes
//! an override, so that one path checks the file and the flags alike.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Config, ConfigError, units};
use crate::preflight::EXIT_CODES;
use crate::transfer::{ExportFormat, ExportOptions, ImportFormat, ImportOptions, ServerAddress};

/// Read when `--config` is not given and it exists.
const DEFAULT_CONFIG_FILE: &str = "conf/ticklane.toml";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the server.
    Serve(ServeOptions),
    /// Check a configuration file and say what it means.
    CheckConfig(PathBuf),
    /// Print the command table.
    Commands,
    /// Copy a file's samples to a running server.
    Import(ImportOptions),
    /// Copy a running server's samples to a file.
    Export(ExportOptions),
}

/// Where the server's settings come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeOptions {
    /// `--config`.
    pub config_file: Option<PathBuf>,
    /// Settings from `--set` and then from the flags, which therefore win.
    pub overrides: Vec<(String, String)>,
}

impl ServeOptions {
    /// The file whose settings count: the given one, or `conf/ticklane.toml` if there is one here.
    #[must_use]
    pub fn effective_config_file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(DEFAULT_CONFIG_FILE)).filter(|path| path.exists());
        self.config_file.clone().or_else(default)
    }

    /// Reads the file and lays the overrides over it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_config(&self) -> Result<Config, ConfigError> {
        Config::load(self.effective_config_file().as_deref(), &self.overrides)
    }
}

/// Reads the process's arguments, the program's name first. Prints help, the version or what is wrong with
/// them, and ends the process, where that is what they ask for.
#[must_use]
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Action {
    try_parse(arguments).unwrap_or_else(|error| error.exit())
}

/// As `parse`, but returns help, version and mistakes to the caller.
///
/// # Errors
/// What clap would print, with its exit code.
pub fn try_parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Action, clap::Error> {
    let command = CommandLine::command().after_long_help(after_long_help());
    let matches = command.try_get_matches_from(arguments)?;
    let line = CommandLine::from_arg_matches(&matches)?;
    Ok(match line.command {
        None => Action::Serve(line.serve.into_options()),
        Some(Command::Serve(arguments)) => Action::Serve(arguments.into_options()),
        Some(Command::CheckConfig { file }) => Action::CheckConfig(file),
        Some(Command::Commands) => Action::Commands,
        Some(Command::Import {
            server,
            format,
            key_prefix,
            file,
        }) => Action::Import(ImportOptions {
            server: server.into_address(),
            format,
            key_prefix,
            file,
        }),
        Some(Command::Export {
            server,
            format,
            key_prefix,
            file,
        }) => Action::Export(ExportOptions {
            server: server.into_address(),
            format,
            key_prefix,
            file,
        }),
    })
}

/// Checks a configuration file; returns the line to print when it is right.
///
/// # Errors
/// As [`Config::load`].
pub fn check_config(file: &Path) -> Result<String, ConfigError> {
    let config = Config::load(Some(file), &[])?;
    let names: Vec<&str> = config
        .businesses
        .iter()
        .map(|business| business.name.as_str())
        .collect();
    Ok(format!(
        "OK {}: port {}, data in {}, {} businesses ({}), block cache {}",
        file.display(),
        config.server.port,
        config.server.data_dir.display(),
        names.len(),
        names.join(", "),
        units::format_bytes(config.storage.block_cache_bytes as u64),
    ))
}

/// A durable time-series and key-value server that speaks the Redis protocol.
///
/// Without a command it serves. Settings come from a file, then `--set`, then the flags below; the last one
/// wins. conf/ticklane.toml lists them all with their defaults.
#[derive(Debug, Parser)]
#[command(name = "ticklane", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (this is what happens without a command)
    Serve(ServeArguments),
    /// Check a configuration file without starting
    CheckConfig {
        /// The file to check
        file: PathBuf,
    },
    /// Print the table of commands that the server knows
    Commands,
    /// Copy samples from a file of lines to a running server
    ///
    /// Bad lines are reported by number and left out; the exit code is 1 if there was any. Of equal timestamps the last
    /// line wins. Timestamps are taken as they are, in the time unit of the business that the key belongs to.
    Import {
        #[command(flatten)]
        server: ServerArguments,
        /// How the lines are written
        #[arg(long, value_enum)]
        format: ImportFormat,
        /// Put in front of every key, such as stock_
        #[arg(long, value_name = "PREFIX", default_value = "")]
        key_prefix: String,
        /// The file to read; - for standard input
        file: PathBuf,
    },
    /// Copy all samples of a running server to a file of lines
    Export {
        #[command(flatten)]
        server: ServerArguments,
        /// How the lines are written
        #[arg(long, value_enum)]
        format: ExportFormat,
        /// Export only keys that begin so, and leave it out of the lines
        #[arg(long, value_name = "PREFIX", default_value = "")]
        key_prefix: String,
        /// The file to write; - for standard output
        #[arg(default_value = "-")]
        file: PathBuf,
    },
}

/// The environment variable that holds the password, so that it need not stand on the command line.
const PASSWORD_VARIABLE: &str = "TICKLANE_PASSWORD";

#[derive(Args, Debug)]
struct ServerArguments {
    /// Name or address of the server
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Its port
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// Its password, if it has one [default: the environment variable TICKLANE_PASSWORD]
    #[arg(long)]
    password: Option<String>,
}

impl ServerArguments {
    fn into_address(self) -> ServerAddress {
        let password = self.password.or_else(|| std::env::var(PASSWORD_VARIABLE).ok());
        ServerAddress {
            host: self.host,
            port: self.port,
            password,
        }
    }
}

#[derive(Args, Debug)]
struct ServeArguments {
    /// Configuration file [default: conf/ticklane.toml if it exists, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of everything durable (server.data_dir)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Addresses to listen on, separated by commas (server.bind)
    #[arg(long, value_name = "ADDR")]
    bind: Option<String>,
    /// Port that serves all businesses; 0 picks a free one and prints it (server.port)
    #[arg(long, value_name = "N")]
    port: Option<String>,
    /// Executors, one pinned thread each; 0 = one per core (server.lanes)
    #[arg(long, value_name = "N")]
    lanes: Option<String>,
    /// Cores to pin them to, such as 0-3,6 (server.cores)
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,
    /// Any setting; may be repeated
    ///
    /// Text needs no quotes of its own, lists are separated by commas:
    /// --set wire.bulk_len_max="16 MiB" --set business.iot_data.fsync=always
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

impl ServeArguments {
    fn into_options(self) -> ServeOptions {
        let mut overrides = self.set;
        for (key, value) in [
            ("server.data_dir", self.data_dir),
            ("server.bind", self.bind),
            ("server.port", self.port),
            ("server.lanes", self.lanes),
            ("server.cores", self.cores),
        ] {
            overrides.extend(value.map(|value| (key.to_owned(), value)));
        }
        ServeOptions {
            config_file: self.config,
            overrides,
        }
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected section.key=value, such as server.port=6380".to_owned()),
    }
}

fn after_long_help() -> String {
    let mut text = "Examples:\n  \
        ticklane\n  \
        ticklane --port 0 --data-dir /tmp/try --lanes 1\n  \
        ticklane serve --config /etc/ticklane.toml --cores 2-5 --set business.order_data.fsync=always\n  \
        ticklane check-config /etc/ticklane.toml\n\n\
        Exit codes:\n"
        .to_owned();
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!("  {code:>2}  {meaning}\n"));
    }
    text.push_str("\nSIGTERM and SIGINT stop gracefully; SIGUSR1 writes the latency histograms.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Action, clap::Error> {
        let words = std::iter::once("ticklane").chain(line.split_whitespace());
        try_parse(words.map(OsString::from))
    }

    fn options(line: &str) -> ServeOptions {
        match parsed(line).unwrap() {
            Action::Serve(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn definition_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn serve_is_what_happens_without_a_command() {
        assert_eq!(options(""), ServeOptions::default());
        assert_eq!(options("serve --port 0"), options("--port 0"));
    }

    #[test]
    fn flags_become_overrides_after_those_of_set() {
        let options = options("--lanes 4 --config x.toml --set server.lanes=2 --set wire.read_buffer=4KiB");
        assert_eq!(options.config_file, Some(PathBuf::from("x.toml")));
        let overrides: Vec<String> = options
            .overrides
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            overrides,
            ["server.lanes=2", "wire.read_buffer=4KiB", "server.lanes=4"]
        );
        let options = ServeOptions {
            config_file: None,
            ..options
        };
        assert_eq!(Config::load(None, &options.overrides).unwrap().server.lanes, 4);
    }

    #[test]
    fn values_may_contain_equals_signs() {
        let overrides = options("--set server.password=a=b").overrides;
        assert_eq!(overrides, [("server.password".to_owned(), "a=b".to_owned())]);
        assert!(parsed("--set server.password").is_err());
        assert!(parsed("--set =1").is_err());
    }

    #[test]
    fn other_commands() {
        assert_eq!(
            parsed("check-config a.toml").unwrap(),
            Action::CheckConfig(PathBuf::from("a.toml"))
        );
        assert_eq!(parsed("commands").unwrap(), Action::Commands);
        assert!(parsed("check-config").is_err());
        assert!(parsed("--port 1 commands").is_err());
        assert_eq!(parsed("--prot 1").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn transfers_name_format_and_file() {
        let Action::Import(options) =
            parsed("import --format v1 --port 7000 --key-prefix stock_ a.txt").unwrap()
        else {
            panic!("not an import");
        };
        assert_eq!((options.format, options.server.port), (ImportFormat::V1, 7000));
        assert_eq!(
            (&*options.key_prefix, options.file),
            ("stock_", PathBuf::from("a.txt"))
        );
        let Action::Export(options) = parsed("export --format csv").unwrap() else {
            panic!("not an export")
        };
        assert_eq!(
            (options.format, options.file),
            (ExportFormat::Csv, PathBuf::from("-"))
        );
        assert!(parsed("import a.txt").is_err() && parsed("import --format v3 a.txt").is_err());
    }

    #[test]
    fn help_lists_commands_flags_and_exit_codes() {
        let help = parsed("--help").unwrap_err();
        assert_eq!(help.exit_code(), 0);
        let help = help.to_string();
        for part in [
            "check-config",
            "--set",
            "--cores",
            "10  io_uring is missing",
            "SIGUSR1",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
        assert!(
            parsed("--version")
                .unwrap_err()
                .to_string()
                .starts_with("ticklane ")
        );
    }
}
