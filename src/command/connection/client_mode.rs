//! CLIENT REPLY, PAUSE, TRACKING and UNBLOCK: how commands of clients are answered.

use crate::command::plan::{Order, OrderAnswer, Plan};
use crate::command::session::{ReplyMode, SessionContext, SessionStop};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

/// The refusal of CLIENT CACHING.
pub const NOT_TRACKING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode \
    with OPTIN or OPTOUT mode enabled";
const NO_TRACKING: &str =
    "ERR CLIENT TRACKING ON is not supported: this server sends no invalidation messages";

/// `ON` or `OFF`.
///
/// # Errors
/// Any other word.
pub fn parse_switch(text: &[u8]) -> Result<bool, Refusal> {
    match () {
        () if text.eq_ignore_ascii_case(b"ON") => Ok(true),
        () if text.eq_ignore_ascii_case(b"OFF") => Ok(false),
        () => Err(Refusal::Syntax),
    }
}

/// CLIENT REPLY.
pub fn reply_mode(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    let mode = args.get(2);
    let session = &mut *context.session;
    match () {
        () if mode.eq_ignore_ascii_case(b"ON") => {
            session.reply_mode = ReplyMode::On;
            reply.ok();
        }
        () if mode.eq_ignore_ascii_case(b"OFF") => session.reply_mode = ReplyMode::Off,
        () if mode.eq_ignore_ascii_case(b"SKIP") => {
            if session.reply_mode != ReplyMode::Off {
                session.reply_mode = ReplyMode::SkipNext;
            }
        }
        () => return Err(Refusal::Syntax.into()),
    }
    Ok(())
}

/// The order to all lanes that pauses or, with 0, resumes.
pub fn pause_order(until_ms: i64, writes_only: bool) -> Plan {
    let order = Order::Pause {
        until_ms,
        writes_only,
    };
    Plan::order(order, OrderAnswer::Ok)
}

/// CLIENT PAUSE.
pub fn pause(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let writes_only = match args.try_get(3) {
        Some(mode) if args.len() == 4 && mode.eq_ignore_ascii_case(b"WRITE") => true,
        Some(mode) if args.len() == 4 && mode.eq_ignore_ascii_case(b"ALL") => false,
        Some(_) => return Err(Refusal::text("ERR CLIENT PAUSE mode must be WRITE or ALL").into()),
        None => false,
    };
    let not_a_number = Refusal::text("ERR timeout is not an integer or out of range");
    let timeout_ms = parse_i64(args.get(2)).ok_or(not_a_number)?;
    if timeout_ms < 0 {
        return Err(Refusal::text("ERR timeout is negative").into());
    }
    let until_ms = context.clock.now_ms().saturating_add(timeout_ms);
    Err(pause_order(until_ms, writes_only).into())
}

/// CLIENT TRACKING: off is what it is.
pub fn tracking(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let is_on = parse_switch(args.get(2))?;
    let mut options = args.cursor(3);
    while let Some(option) = options.next() {
        let is_flag = [&b"BCAST"[..], b"OPTIN", b"OPTOUT", b"NOLOOP"]
            .iter()
            .any(|flag| option.eq_ignore_ascii_case(flag));
        let has_value = [&b"REDIRECT"[..], b"PREFIX"]
            .iter()
            .any(|name| option.eq_ignore_ascii_case(name));
        if !(is_flag || has_value && options.next().is_some()) {
            return Err(Refusal::Syntax.into());
        }
    }
    if is_on {
        return Err(Refusal::text(NO_TRACKING).into());
    }
    reply.ok();
    Ok(())
}

/// CLIENT TRACKINGINFO.
pub fn tracking_info(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}

/// CLIENT UNBLOCK.
pub fn unblock(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let reason = args.try_get(3).unwrap_or(b"TIMEOUT");
    if args.len() > 4
        || ![&b"TIMEOUT"[..], b"ERROR"]
            .iter()
            .any(|known| reason.eq_ignore_ascii_case(known))
    {
        return Err(Refusal::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR").into());
    }
    let id = parse_i64(args.get(2)).ok_or(Refusal::NotInteger)?;
    let order = Order::Unblock {
        // No client has the id 0.
        id: u64::try_from(id).unwrap_or(0),
        with_error: reason.eq_ignore_ascii_case(b"ERROR"),
    };
    Err(Plan::order(order, OrderAnswer::Sum).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::TestClient;

    #[test]
    fn replies_are_switched() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["CLIENT", "REPLY", "SKIP"]), "");
        assert_eq!(client.session.reply_mode, ReplyMode::SkipNext);
        assert_eq!(client.run(&["CLIENT", "REPLY", "OFF"]), "");
        assert_eq!(client.run(&["CLIENT", "REPLY", "SKIP"]), "");
        assert_eq!(client.session.reply_mode, ReplyMode::Off);
        assert_eq!(client.run(&["CLIENT", "REPLY", "ON"]), "+OK\r\n");
        assert_eq!(client.run(&["CLIENT", "REPLY", "MAYBE"]), "-ERR syntax error\r\n");
    }

    #[test]
    fn pausing_is_an_order_to_every_lane() {
        let mut client = TestClient::new();
        let Plan::Order {
            order: Order::Pause {
                until_ms,
                writes_only,
            },
            answer,
        } = client.plan(&["CLIENT", "PAUSE", "50", "WRITE"])
        else {
            panic!("an order")
        };
        assert_eq!(
            (until_ms, writes_only, answer),
            (1_700_000_000_173, true, OrderAnswer::Ok)
        );
        for (line, text) in [
            (
                &["CLIENT", "PAUSE", "abc"][..],
                "timeout is not an integer or out of range",
            ),
            (&["CLIENT", "PAUSE", "-1"], "timeout is negative"),
            (
                &["CLIENT", "PAUSE", "1", "BOGUS"],
                "CLIENT PAUSE mode must be WRITE or ALL",
            ),
        ] {
            assert_eq!(client.run(line), format!("-ERR {text}\r\n"));
        }
    }

    #[test]
    fn tracking_is_off_and_stays_off() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["CLIENT", "TRACKING", "OFF"]), "+OK\r\n");
        assert_eq!(
            client.run(&["CLIENT", "TRACKING", "OFF", "BOGUS"]),
            "-ERR syntax error\r\n"
        );
        assert_eq!(
            client.run(&["CLIENT", "TRACKING", "MAYBE"]),
            "-ERR syntax error\r\n"
        );
        assert_eq!(
            client.run(&["CLIENT", "TRACKING", "ON", "BCAST"]),
            format!("-{NO_TRACKING}\r\n")
        );
        assert_eq!(
            client.run(&["CLIENT", "CACHING", "YES"]),
            format!("-{NOT_TRACKING}\r\n")
        );
        let info =
            "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n";
        assert_eq!(client.run(&["CLIENT", "TRACKINGINFO"]), info);
        assert!(matches!(
            client.plan(&["CLIENT", "UNBLOCK", "5", "error"]),
            Plan::Order {
                order: Order::Unblock {
                    id: 5,
                    with_error: true
                },
                answer: OrderAnswer::Sum
            }
        ));
        assert_eq!(
            client.run(&["CLIENT", "UNBLOCK", "x"]),
            "-ERR value is not an integer or out of range\r\n"
        );
    }
}
