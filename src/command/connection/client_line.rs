//! The line that CLIENT LIST and CLIENT INFO show of one client.

use crate::command::session::Session;
use crate::resp::Proto;

use super::DEFAULT_USER;

/// All fields of Redis 7.4's CLIENT LIST in its order, without the line end.
///
/// `now_ms` is unix time; `last_command` is the name with its subcommand (`client|list`), empty or `NULL`
/// before the first; `idle_s` seconds without a request; the bytes are those waiting to be parsed and to be
/// sent. Figures that this server has no counterpart of (memory of argument vectors, reply blocks) are 0.
pub fn client_line(
    session: &Session,
    file_descriptor: i32,
    now_ms: i64,
    last_command: &str,
    idle_s: i64,
    query_buffer_bytes: usize,
    output_bytes: usize,
) -> String {
    let queued = session
        .transaction
        .as_ref()
        .map(|transaction| transaction.commands.len());
    let multi = queued
        .or(session.executing)
        .map_or(-1, |commands| commands as i64);
    format!(
        "id={id} addr={address} laddr={local_address} fd={file_descriptor} name={name} age={age_s} \
         idle={idle_s} \
         flags={flags} db=0 sub={channels} psub={patterns} ssub={sharded} multi={multi} watch={watch} qbuf={query_buffer_bytes} \
         qbuf-free=0 \
         argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={output_bytes} tot-mem={total_bytes} \
         events={events} \
         cmd={command} user={DEFAULT_USER} redir=-1 resp={resp} lib-name={library_name} \
         lib-ver={library_version}",
        id = session.id,
        address = session.address,
        local_address = session.local_address,
        name = session.name,
        age_s = (now_ms - session.connected_ms).max(0) / 1_000,
        flags = flags(session),
        channels = session
            .subscriptions
            .as_ref()
            .map_or(0, |listens| listens.channels.len()),
        patterns = session
            .subscriptions
            .as_ref()
            .map_or(0, |listens| listens.patterns.len()),
        sharded = session
            .subscriptions
            .as_ref()
            .map_or(0, |listens| listens.sharded.len()),
        watch = i32::from(session.watching),
        total_bytes = query_buffer_bytes + output_bytes + size_of::<Session>(),
        events = if output_bytes > 0 { "rw" } else { "r" },
        command = match last_command {
            "" | "NULL" => "NULL".to_owned(),
            name => name.to_ascii_lowercase(),
        },
        resp = if session.proto == Proto::Resp3 { 3 } else { 2 },
        library_name = session.library_name,
        library_version = session.library_version,
    )
}

fn flags(session: &Session) -> String {
    let in_transaction = session.transaction.is_some() || session.executing.is_some();
    let states = [
        ('O', session.monitor.is_some()),
        ('P', session.subscriptions.is_some()),
        ('x', in_transaction),
        ('b', session.blocked),
        ('c', session.closing),
        ('r', session.readonly),
        ('e', session.no_evict),
        ('T', session.no_touch),
    ];
    let set: String = states
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(letter, _)| *letter)
        .collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::session::{PortKind, Transaction};

    fn session() -> Session {
        Session::new(
            7,
            PortKind::Main,
            "127.0.0.1:50001".into(),
            "127.0.0.1:6379".into(),
            1_000,
        )
    }

    #[test]
    fn fields_come_in_the_order_of_redis() {
        let line = client_line(&session(), 9, 4_500, "client|list", 2, 26, 0);
        let names: Vec<&str> = line
            .split(' ')
            .filter_map(|field| Some(field.split_once('=')?.0))
            .collect();
        let redis = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free \
            argv-mem \
                     multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
        assert_eq!(names.join(" "), redis);
        assert!(
            line.starts_with(
                "id=7 addr=127.0.0.1:50001 laddr=127.0.0.1:6379 fd=9 name= age=3 idle=2 flags=N "
            )
        );
        assert!(line.contains(" multi=-1 watch=0 qbuf=26 "), "{line}");
        assert!(client_line(&session(), 9, 4_500, "PING", 2, 26, 0).contains(" cmd=ping "));
        assert!(
            line.ends_with(" cmd=client|list user=default redir=-1 resp=2 lib-name= lib-ver="),
            "{line}"
        );
    }

    #[test]
    fn states_are_flags() {
        let mut session = session();
        session.transaction = Some(Transaction::default());
        session.no_evict = true;
        session.watching = true;
        let line = client_line(&session, 9, 0, "", 0, 0, 5);
        assert!(
            line.contains(" age=0 ") && line.contains(" flags=xe ") && line.contains(" multi=0 watch=1 ")
        );
        assert!(
            line.contains(" omem=5 ") && line.contains(" events=rw cmd=NULL "),
            "{line}"
        );
        session.transaction = None;
        session.executing = Some(3);
        assert!(client_line(&session, 9, 0, "", 0, 0, 5).contains(" multi=3 "));
    }
}
