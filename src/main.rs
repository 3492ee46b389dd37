//! Parse arguments, load configuration, run one subcommand; no logic.

use std::process::ExitCode;

use ticklane::cli::{self, Action};

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "answers to the person at the terminal"
)]
fn main() -> ExitCode {
    abort_on_panic();
    match cli::parse(std::env::args_os()) {
        Action::Serve(options) => match ticklane::server::serve(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ticklane: {error}");
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
            }
        },
        Action::CheckConfig(file) => match cli::check_config(&file) {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("ticklane: {error}");
                ExitCode::from(2)
            }
        },
        Action::Commands => {
            print!("{}", ticklane::command::render_table());
            ExitCode::SUCCESS
        }
        Action::Import(options) => match ticklane::transfer::import(&options, &mut std::io::stderr()) {
            Ok(counts) => {
                eprintln!(
                    "{} samples imported, {} bad lines",
                    counts.samples, counts.bad_lines
                );
                ExitCode::from(u8::from(counts.bad_lines > 0))
            }
            Err(error) => {
                eprintln!("ticklane: {error}");
                ExitCode::from(1)
            }
        },
        Action::Export(options) => match ticklane::transfer::export(&options, &mut std::io::stderr()) {
            Ok(counts) => {
                eprintln!(
                    "{} samples of {} series exported, {} bad keys",
                    counts.samples, counts.series, counts.bad_keys
                );
                ExitCode::from(u8::from(counts.bad_keys > 0))
            }
            Err(error) => {
                eprintln!("ticklane: {error}");
                ExitCode::from(1)
            }
        },
    }
}

/// A panic is a broken invariant: the process ends at once and is started again, instead of serving with a dead part.
fn abort_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        std::process::abort();
    }));
}
