//! Starting and stopping the whole process: what signals ask for, and the order in which lanes end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

static STOP: AtomicBool = AtomicBool::new(false);
static DUMP: AtomicBool = AtomicBool::new(false);
/// Lanes whose clients are all gone.
static DRAINED: AtomicUsize = AtomicUsize::new(0);

/// Asks every lane to stop: noticed at its next heartbeat.
pub fn request_stop() {
    STOP.store(true, Ordering::Release);
}

/// Ends the process if its lanes have not ended within `time`: a disk that hangs must not keep it for ever.
fn end_after(time: Duration) {
    let watchdog = std::thread::Builder::new()
        .name("stop-watchdog".into())
        .spawn(move || {
            std::thread::sleep(time);
            log::error!(
                "the lanes did not stop in {} s: ending; everything acknowledged is in the log",
                time.as_secs()
            );
            std::process::exit(1);
        });
    if let Err(error) = watchdog {
        log::warn!("no watchdog for stopping: {error}");
    }
}

/// True once the process has been asked to stop.
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Acquire)
}

/// True once after SIGUSR1.
pub fn take_dump_request() -> bool {
    DUMP.swap(false, Ordering::AcqRel)
}

/// This lane serves nobody any more, but still answers other lanes.
pub fn lane_drained() {
    DRAINED.fetch_add(1, Ordering::AcqRel);
}

/// True when no lane serves anybody: no more hops will come.
pub fn all_drained(lanes: usize) -> bool {
    DRAINED.load(Ordering::Acquire) >= lanes
}

/// Handles signals on a thread of their own. A second SIGTERM or SIGINT ends the process at once; so does `time_max`
/// without having stopped.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn watch_signals(time_max: Duration) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGUSR1 => DUMP.store(true, Ordering::Release),
                    _ if stop_requested() => {
                        log::warn!(
                            "second stop signal: ending at once; everything acknowledged is in the log"
                        );
                        std::process::exit(1);
                    }
                    _ => {
                        log::info!("stop signal: finishing what was received");
                        request_stop();
                        end_after(time_max);
                    }
                }
            }
        })?;
    Ok(())
}
