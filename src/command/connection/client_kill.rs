//! CLIENT KILL: which connections are to be closed.

use crate::command::plan::{ClientFilter, Order, OrderAnswer, Plan};
use crate::command::session::{SessionContext, SessionStop};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

use super::DEFAULT_USER;

/// Types of clients that Redis knows; all clients of this server are normal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// Sends commands.
    Normal,
    /// Masters, replicas, subscribers: there are none.
    Other,
}

impl ClientType {
    /// Reads the name of a type.
    ///
    /// # Errors
    /// A type that Redis does not know either.
    pub fn parse(name: &[u8]) -> Result<ClientType, Refusal> {
        if name.eq_ignore_ascii_case(b"normal") {
            return Ok(ClientType::Normal);
        }
        let others = [&b"master"[..], b"slave", b"replica", b"pubsub"];
        if others.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            return Ok(ClientType::Other);
        }
        let name = String::from_utf8_lossy(name);
        Err(Refusal::text(format!("ERR Unknown client type '{name}'")))
    }
}

/// Both forms: an address alone, which may be the caller's own, or filters that all must hold.
pub fn kill(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    if args.len() == 3 {
        let address = Some(String::from_utf8_lossy(args.get(2)).into_owned());
        let filter = ClientFilter {
            address,
            ..ClientFilter::default()
        };
        return Err(Plan::order(Order::KillClients(filter), OrderAnswer::OkIfAny).into());
    }
    let filter = parse_filters(args, context.session.id)?;
    Err(Plan::order(Order::KillClients(filter), OrderAnswer::Sum).into())
}

fn parse_filters(args: Args<'_>, caller: u64) -> Result<ClientFilter, Refusal> {
    let mut filter = ClientFilter {
        except: Some(caller),
        ..ClientFilter::default()
    };
    let mut options = args.cursor(2);
    while let Some(option) = options.next() {
        let value = options.next().ok_or(Refusal::Syntax)?;
        let text = || String::from_utf8_lossy(value).into_owned();
        match option.to_ascii_uppercase().as_slice() {
            b"ID" => {
                let id = positive(value).ok_or(Refusal::text("ERR client-id should be greater than 0"))?;
                filter.id = Some(id.unsigned_abs());
            }
            b"TYPE" => filter.none |= ClientType::parse(value)? == ClientType::Other,
            b"ADDR" => filter.address = Some(text()),
            b"LADDR" => filter.local_address = Some(text()),
            b"USER" if value == DEFAULT_USER.as_bytes() => {}
            b"USER" => return Err(Refusal::text(format!("ERR No such user '{}'", text()))),
            b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => filter.except = Some(caller),
            b"SKIPME" if value.eq_ignore_ascii_case(b"no") => filter.except = None,
            b"MAXAGE" => {
                let age_s = parse_i64(value);
                let age_s = age_s.ok_or(Refusal::text("ERR maxage is not an integer or out of range"))?;
                if age_s <= 0 {
                    return Err(Refusal::text("ERR maxage should be greater than 0"));
                }
                filter.age_min_s = Some(age_s);
            }
            _ => return Err(Refusal::Syntax),
        }
    }
    Ok(filter)
}

fn positive(text: &[u8]) -> Option<i64> {
    parse_i64(text).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use crate::command::plan::{ClientFilter, Order, OrderAnswer, Plan};
    use crate::command::test_support::TestClient;

    fn filter(line: &[&str]) -> (ClientFilter, OrderAnswer) {
        match TestClient::new().plan(line) {
            Plan::Order {
                order: Order::KillClients(filter),
                answer,
            } => (filter, answer),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_alone_may_be_ones_own() {
        let (filter, answer) = filter(&["CLIENT", "KILL", "127.0.0.1:1"]);
        assert_eq!(
            (filter.address.as_deref(), filter.except),
            (Some("127.0.0.1:1"), None)
        );
        assert_eq!(answer, OrderAnswer::OkIfAny);
    }

    #[test]
    fn filters_add_up_and_spare_the_caller() {
        let (by_id, answer) = filter(&[
            "CLIENT", "KILL", "id", "12", "LADDR", "a:1", "MAXAGE", "5", "USER", "default",
        ]);
        assert_eq!(
            (by_id.id, by_id.local_address.as_deref(), by_id.age_min_s),
            (Some(12), Some("a:1"), Some(5))
        );
        assert_eq!(
            (by_id.except, by_id.none, answer),
            (Some(7), false, OrderAnswer::Sum)
        );
        let (all, _) = filter(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]);
        assert_eq!((all.except, all.none), (None, false));
        assert!(filter(&["CLIENT", "KILL", "TYPE", "replica"]).0.none);
    }

    #[test]
    fn refusals_are_those_of_redis() {
        let mut client = TestClient::new();
        for (line, text) in [
            (&["ID", "abc"][..], "client-id should be greater than 0"),
            (&["ID", "0"], "client-id should be greater than 0"),
            (&["TYPE", "bogus"], "Unknown client type 'bogus'"),
            (&["ID", "1", "SKIPME", "maybe"], "syntax error"),
            (&["BOGUS", "1"], "syntax error"),
            (&["USER", "nobody"], "No such user 'nobody'"),
            (&["ID", "1", "ADDR"], "syntax error"),
        ] {
            let line: Vec<&str> = ["CLIENT", "KILL"].iter().chain(line).copied().collect();
            assert_eq!(client.run(&line), format!("-ERR {text}\r\n"));
        }
    }
}
