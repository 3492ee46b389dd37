//! Keeping slow calls for SLOWLOG, on the lane of the client that called.

use crate::command::Session;
use crate::command::monitor::shown_args;
use crate::command::report::SlowCall;
use crate::resp::{Args, RequestParser};

use super::client::ClientHandle;
use super::lane_shell::LaneShell;
use super::message::Hop;

/// Arguments that are shown of a slow call, and bytes of each, as in Redis.
const SLOW_CALL_ARGS_MAX: usize = 32;
const SLOW_CALL_ARG_MAX_BYTES: usize = 128;

/// Runs of equal commands are timed as one, unless calls that are faster than this are asked for.
const TIMED_TOGETHER_FROM_US: i64 = 1_000;

/// Which calls are slow.
#[derive(Clone, Copy)]
pub struct SlowerThan {
    /// So many microseconds or more; negative = none is.
    us: i64,
}

impl SlowerThan {
    /// What CONFIG SET slowlog-log-slower-than says.
    pub fn of(shell: &LaneShell) -> SlowerThan {
        SlowerThan {
            us: shell.shared.settings().slowlog_slower_than_us,
        }
    }

    /// The microseconds of a call that took so long, if it is slow.
    #[inline]
    pub fn if_slow(self, took_ns: u64) -> Option<u64> {
        let took_us = took_ns / 1_000;
        (self.us >= 0 && took_us >= self.us.unsigned_abs()).then_some(took_us)
    }

    /// True if every call has to be timed by itself.
    #[inline]
    pub fn times_each(self) -> bool {
        (0..TIMED_TOGETHER_FROM_US).contains(&self.us)
    }
}

impl LaneShell {
    /// Keeps a slow call, the oldest going first.
    pub fn keep_slow_call(&self, session: &Session, args: Args<'_>, duration_us: u64, now_ms: i64) {
        let is_named = |name: &&str| args.name().eq_ignore_ascii_case(name.as_bytes());
        if SKIPPED.iter().any(is_named) {
            return;
        }
        let max = self.shared.settings().slowlog_entries_max;
        let mut calls = self.slow_calls.borrow_mut();
        while calls.len() >= max.max(1) {
            calls.pop_front();
        }
        if max == 0 {
            return;
        }
        calls.push_back(SlowCall {
            id: self.shared.connections.next_slow_call(),
            at_s: now_ms / 1_000,
            duration_us,
            args: shortened(args),
            address: session.address.clone(),
            name: session.name.clone(),
        });
    }

    /// Keeps a slow call whose request is at the beginning of what was received.
    pub fn keep_slow_request(&self, session: &Session, received: &[u8], duration_us: u64, now_ms: i64) {
        let (mut parser, mut spans) = (RequestParser::new(), Vec::new());
        if let Ok(Some(request)) = parser.parse(received, &self.request_limits(), &mut spans) {
            let bytes = match request.inline {
                true => parser.inline_bytes(),
                false => received,
            };
            self.keep_slow_call(session, Args::new(bytes, &spans), duration_us, now_ms);
        }
    }

    /// Keeps the slow calls of a hop that has come back.
    pub fn keep_slow_calls_of(&self, session: &Session, hop: &Hop) {
        if hop.slow.is_empty() {
            return;
        }
        let now_ms = self.lane.borrow().clock.now_ms();
        for (index, duration_us) in &hop.slow {
            if let Some((_, args)) = hop.get(*index) {
                self.keep_slow_call(session, args, *duration_us, now_ms);
            }
        }
    }

    /// Keeps a call of a client's EXEC if it was slow.
    pub fn keep_if_slow(&self, client: &ClientHandle, args: Args<'_>, took_ns: u64) {
        let Some(took_us) = SlowerThan::of(self).if_slow(took_ns) else {
            return;
        };
        let now_ms = self.lane.borrow().clock.now_ms();
        self.keep_slow_call(&client.session.borrow(), args, took_us, now_ms);
    }
}

/// Commands that SLOWLOG does not show: what an EXEC runs is shown instead of it, and TS.READ waits.
const SKIPPED: [&str; 2] = ["EXEC", "TS.READ"];

/// The arguments as they are shown, in the words of Redis.
fn shortened(args: Args<'_>) -> Vec<Box<[u8]>> {
    let kept = match args.len() {
        len if len > SLOW_CALL_ARGS_MAX => SLOW_CALL_ARGS_MAX - 1,
        len => len,
    };
    let mut shown: Vec<Box<[u8]>> = shown_args(args).take(kept).map(shortened_arg).collect();
    if kept < args.len() {
        let text = format!("... ({} more arguments)", args.len() - kept);
        shown.push(text.into_bytes().into());
    }
    shown
}

fn shortened_arg(arg: &[u8]) -> Box<[u8]> {
    match arg.split_at_checked(SLOW_CALL_ARG_MAX_BYTES) {
        Some((shown, rest)) if !rest.is_empty() => {
            let more = format!("... ({} more bytes)", rest.len());
            [shown, more.as_bytes()].concat().into()
        }
        _ => arg.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::args_of;

    fn shown(words: &[&str]) -> Vec<String> {
        let (buffer, spans) = args_of(words);
        let shown = shortened(Args::new(&buffer, &spans));
        let text = |arg: Box<[u8]>| String::from_utf8(arg.into()).unwrap();
        shown.into_iter().map(text).collect()
    }

    #[test]
    fn many_arguments_are_counted() {
        let mut words = vec!["k"; 32];
        assert_eq!(shown(&words), words);
        words.push("k");
        let more = shown(&words);
        assert_eq!(more.len(), 32);
        assert_eq!(more[31], "... (2 more arguments)");
    }

    #[test]
    fn long_arguments_are_cut() {
        let exact = "x".repeat(128);
        assert_eq!(shown(&[&exact]), [&*exact]);
        let longer = "x".repeat(131);
        assert_eq!(shown(&[&longer]), [format!("{exact}... (3 more bytes)")]);
        assert_eq!(shown(&["AUTH", "secret"]), ["AUTH", "(redacted)"]);
    }

    #[test]
    fn calls_are_slow_from_the_threshold_on() {
        let slow = SlowerThan { us: 10 };
        assert_eq!((slow.if_slow(9_999), slow.if_slow(10_000)), (None, Some(10)));
        assert_eq!(SlowerThan { us: -1 }.if_slow(u64::MAX), None);
        assert_eq!(SlowerThan { us: 0 }.if_slow(1), Some(0));
        let times_each = |us| SlowerThan { us }.times_each();
        assert!(times_each(0) && !times_each(1_000) && !times_each(-1));
    }
}
