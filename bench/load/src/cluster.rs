//! Reads CLUSTER SLOTS, so that every connection sends only keys of the node it is connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::connect::Target;
use crate::keys::{KEY_DIGITS, slot};

/// Deepest nesting of arrays that is read.
const DEPTH_MAX: u32 = 8;

/// One node and the slots it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it listens.
    pub address: SocketAddr,
    /// First and last slot of each range.
    pub slots: Vec<(u16, u16)>,
}

impl Node {
    /// True if the key `prefix` + digits of `number` lives here.
    fn owns(&self, prefix: &str, number: u64) -> bool {
        let slot = slot(format!("{prefix}{number:0KEY_DIGITS$}").as_bytes());
        self.slots
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&slot))
    }

    /// The numbers below `total` whose keys live here.
    pub fn keys(&self, prefix: &str, total: u64) -> Arc<Vec<u32>> {
        let numbers = (0..total).filter(|number| self.owns(prefix, *number));
        Arc::new(numbers.map(|number| number as u32).collect())
    }
}

/// Asks `target` who owns which slots.
pub fn nodes(target: &Target) -> Result<Vec<Node>, String> {
    let mut stream = target.connect(0)?;
    let bytes = target.ask(&mut stream, &["CLUSTER", "SLOTS"])?;
    parse_slots(&bytes, target.address)
}

/// What CLUSTER SLOTS is made of.
enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
}

/// The nodes in a reply to CLUSTER SLOTS; an empty host means the one that was asked.
fn parse_slots(bytes: &[u8], asked: SocketAddr) -> Result<Vec<Node>, String> {
    if bytes.starts_with(b"-") {
        return Err(format!(
            "CLUSTER SLOTS: {}",
            String::from_utf8_lossy(&bytes[1..]).trim()
        ));
    }
    let text = String::from_utf8_lossy(bytes);
    let unexpected = || format!("unexpected reply to CLUSTER SLOTS: {}", text.escape_debug());
    let Some(Value::List(ranges)) = value(&mut text.split("\r\n"), 0) else {
        return Err(unexpected());
    };
    let mut nodes: Vec<Node> = Vec::new();
    for range in &ranges {
        let Value::List(range) = range else {
            return Err(unexpected());
        };
        let [Value::Number(first), Value::Number(last), Value::List(master), ..] = range.as_slice() else {
            return Err(unexpected());
        };
        let [Value::Text(host), Value::Number(port), ..] = master.as_slice() else {
            return Err(unexpected());
        };
        let ip = if host.is_empty() {
            Ok(asked.ip())
        } else {
            host.parse()
        };
        let (Ok(ip), Ok(port)) = (ip, u16::try_from(*port)) else {
            return Err(unexpected());
        };
        let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else {
            return Err(unexpected());
        };
        let address = SocketAddr::new(ip, port);
        match nodes.iter_mut().find(|node| node.address == address) {
            Some(node) => node.slots.push((first, last)),
            None => nodes.push(Node {
                address,
                slots: vec![(first, last)],
            }),
        }
    }
    if nodes.is_empty() {
        Err("CLUSTER SLOTS names no node".into())
    } else {
        Ok(nodes)
    }
}

/// The next value; strings in it must not contain line ends, as names of hosts do not.
fn value<'a>(lines: &mut impl Iterator<Item = &'a str>, depth: u32) -> Option<Value> {
    let line = lines.next()?;
    let (kind, rest) = line.split_at_checked(1)?;
    match kind {
        ":" => rest.parse().ok().map(Value::Number),
        "$" if rest == "-1" => Some(Value::Text(String::new())),
        "$" => lines.next().map(|text| Value::Text(text.into())),
        "+" => Some(Value::Text(rest.into())),
        "*" if depth < DEPTH_MAX => {
            let count: usize = rest.parse().ok()?;
            (0..count)
                .map(|_| value(lines, depth + 1))
                .collect::<Option<_>>()
                .map(Value::List)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "127.0.0.1:7000";

    #[test]
    fn ranges_of_one_node_are_joined() {
        let reply = "*3\r\n*3\r\n:0\r\n:8191\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n\
            *3\r\n:8192\r\n:10000\r\n*3\r\n$0\r\n\r\n:7001\r\n$2\r\nid\r\n\
            *3\r\n:10001\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n";
        let nodes = parse_slots(reply.as_bytes(), ASKED.parse().unwrap()).unwrap();
        let expected = [
            Node {
                address: ASKED.parse().unwrap(),
                slots: vec![(0, 8191)],
            },
            Node {
                address: "127.0.0.1:7001".parse().unwrap(),
                slots: vec![(8192, 10000), (10001, 16383)],
            },
        ];
        assert_eq!(nodes, expected);
        let (first, second) = (nodes[0].keys("key:", 1000), nodes[1].keys("key:", 1000));
        assert_eq!(first.len() + second.len(), 1000);
        assert!(first.iter().all(|number| !second.contains(number)));
    }

    #[test]
    fn errors_are_passed_on() {
        let refused = parse_slots(
            b"-ERR This instance has cluster support disabled\r\n",
            ASKED.parse().unwrap(),
        );
        assert!(refused.unwrap_err().contains("cluster support disabled"));
        assert!(parse_slots(b"*0\r\n", ASKED.parse().unwrap()).is_err());
        assert!(parse_slots(b"*1\r\n:5\r\n", ASKED.parse().unwrap()).is_err());
    }
}
