//! CLUSTER, READONLY, READWRITE: the cores as cluster nodes.
//!
//! On a lane's own port every lane is a node that serves a contiguous range of slots; elsewhere there is no
//! cluster.

use crate::business::slot_of;
use crate::limits::SLOTS;
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

use super::entry::entry;
use super::plan::Plan;
use super::session::{PortKind, SessionContext, SessionStop};
use super::shared::Shared;
use super::subcommand::{Subcommand, dispatch, subcommand};
use super::{Command, Flags};

const DISABLED: &str = "ERR This instance has cluster support disabled";
const RESET_REFUSED: &str = "ERR CLUSTER RESET is not supported: the nodes are the cores of one server, and \
    their slots follow from its configuration";

/// What Redis adds to a port for the cluster bus; shown in CLUSTER NODES, nothing listens there.
const BUS_PORT_OFFSET: u32 = 10_000;

/// The family's table.
pub const COMMANDS: &[Command] = &[
    entry("ASKING", 1, Flags::FAST, |context, _, reply| {
        on_lane_port(context, reply, None)
    })
    .of_group("cluster")
    .says(
        "3.0.0",
        "",
        "Signals that a cluster client is following an -ASK redirect.",
    ),
    entry("CLUSTER", -2, Flags::NONE, |context, args, reply| {
        dispatch(CLUSTER, context, args, reply)
    })
    .of_group("cluster")
    .says("3.0.0", "", "A container for Redis Cluster commands."),
    entry("READONLY", 1, Flags::FAST, |context, _, reply| {
        on_lane_port(context, reply, Some(true))
    })
    .of_group("cluster")
    .says(
        "3.0.0",
        "",
        "Enables read-only queries for a connection to a Redis Cluster replica node.",
    ),
    entry("READWRITE", 1, Flags::FAST, |context, _, reply| {
        on_lane_port(context, reply, Some(false))
    })
    .of_group("cluster")
    .says(
        "3.0.0",
        "",
        "Enables read-write queries for a connection to a Redis Cluster replica node.",
    ),
];

/// Subcommands of CLUSTER.
pub const CLUSTER: &[Subcommand] = &[
    subcommand("cluster|countkeysinslot", 3, Flags::NONE, count_keys_in_slot).says(
        "3.0.0",
        "slot",
        "Returns the number of keys in a hash slot.",
    ),
    subcommand("cluster|getkeysinslot", 4, Flags::NONE, get_keys_in_slot).says(
        "3.0.0",
        "slot count",
        "Returns the key names in a hash slot.",
    ),
    subcommand("cluster|info", 2, Flags::NONE, info).says(
        "3.0.0",
        "",
        "Returns information about the state of a node.",
    ),
    subcommand("cluster|keyslot", 3, Flags::NONE, |_, args, reply| {
        reply.integer(slot_of(args.get(2)).into());
        Ok(())
    })
    .says("3.0.0", "key", "Returns the hash slot for a key."),
    subcommand("cluster|myid", 2, Flags::NONE, |context, _, reply| {
        let lane = require_lane(context)?;
        reply.bulk(Node::new(context.shared, lane).id.as_bytes());
        Ok(())
    })
    .says("3.0.0", "", "Returns the ID of a node."),
    subcommand("cluster|nodes", 2, Flags::NONE, nodes).says(
        "3.0.0",
        "",
        "Returns the cluster configuration for a node.",
    ),
    subcommand("cluster|reset", -2, Flags::ADMIN, |context, _, _| {
        require_lane(context)?;
        Err(Refusal::text(RESET_REFUSED).into())
    })
    .says("3.0.0", "[HARD | SOFT]", "Refused: nodes are cores."),
    subcommand("cluster|shards", 2, Flags::NONE, shards).says(
        "7.0.0",
        "",
        "Returns the mapping of cluster slots to shards.",
    ),
    subcommand("cluster|slots", 2, Flags::NONE, slots).says(
        "3.0.0",
        "",
        "Returns the mapping of cluster slots to nodes.",
    ),
];

/// READONLY, READWRITE and ASKING change nothing: every node serves everything.
fn on_lane_port(
    context: &mut SessionContext<'_>,
    reply: &mut Reply,
    readonly: Option<bool>,
) -> Result<(), SessionStop> {
    require_lane(context)?;
    if let Some(readonly) = readonly {
        context.session.readonly = readonly;
    }
    reply.ok();
    Ok(())
}

/// The lane whose port the client came in by.
fn require_lane(context: &SessionContext<'_>) -> Result<usize, Refusal> {
    match context.session.port {
        PortKind::Lane(lane) => Ok(lane),
        PortKind::Main | PortKind::Business(_) => Err(Refusal::text(DISABLED)),
    }
}

/// One lane as a cluster node.
struct Node {
    /// 40 hexadecimal digits.
    id: String,
    address: String,
    port: u16,
    /// Ranges of slots, both ends included. A lane without slots has none.
    ranges: Vec<(usize, usize)>,
}

impl Node {
    fn new(shared: &Shared, lane: usize) -> Node {
        Node {
            id: node_id(&shared.run_id, lane),
            address: shared.announced_address.to_string(),
            port: shared.lane_port_base.saturating_add(lane as u16),
            ranges: ranges(shared, lane),
        }
    }

    fn all(shared: &Shared) -> Vec<Node> {
        (0..shared.directory.lanes())
            .map(|lane| Node::new(shared, lane))
            .collect()
    }
}

/// The id of the run with the lane in its last digits: new at every start, different for every lane.
fn node_id(run_id: &str, lane: usize) -> String {
    let head: String = run_id.chars().filter(char::is_ascii_hexdigit).take(36).collect();
    format!("{head:0<36}{lane:04x}")
}

fn ranges(shared: &Shared, lane: usize) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for slot in (0..SLOTS).filter(|slot| shared.directory.lane_of_slot(*slot) == lane) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == slot => *last = slot,
            _ => ranges.push((slot, slot)),
        }
    }
    ranges
}

fn info(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    require_lane(context)?;
    let lanes = context.shared.directory.lanes();
    let text = format!(
        "cluster_state:ok\r\n\
         cluster_slots_assigned:{SLOTS}\r\n\
         cluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\n\
         cluster_slots_fail:0\r\n\
         cluster_known_nodes:{lanes}\r\n\
         cluster_size:{lanes}\r\n\
         cluster_current_epoch:{lanes}\r\n\
         cluster_my_epoch:1\r\n\
         cluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n"
    );
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn nodes(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let own = require_lane(context)?;
    let mut text = String::new();
    for (lane, node) in Node::all(context.shared).iter().enumerate() {
        let Node {
            id,
            address,
            port,
            ranges,
        } = node;
        let flags = if lane == own { "myself,master" } else { "master" };
        let bus_port = u32::from(*port) + BUS_PORT_OFFSET;
        text.push_str(&format!(
            "{id} {address}:{port}@{bus_port} {flags} - 0 0 {} connected",
            lane + 1
        ));
        for (first, last) in ranges {
            match first == last {
                true => text.push_str(&format!(" {first}")),
                false => text.push_str(&format!(" {first}-{last}")),
            }
        }
        text.push('\n');
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn slots(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    require_lane(context)?;
    let nodes = Node::all(context.shared);
    reply.array(nodes.iter().map(|node| node.ranges.len()).sum());
    for node in &nodes {
        for (first, last) in &node.ranges {
            reply.array(3);
            reply.integer(*first as i64);
            reply.integer(*last as i64);
            reply.array(4);
            reply.bulk(node.address.as_bytes());
            reply.integer(node.port.into());
            reply.bulk(node.id.as_bytes());
            reply.map(0);
        }
    }
    Ok(())
}

fn shards(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    require_lane(context)?;
    let nodes = Node::all(context.shared);
    reply.array(nodes.len());
    for node in &nodes {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(node.ranges.len() * 2);
        for (first, last) in &node.ranges {
            reply.integer(*first as i64);
            reply.integer(*last as i64);
        }
        reply.bulk(b"nodes");
        reply.array(1);
        write_shard_node(node, reply);
    }
    Ok(())
}

fn write_shard_node(node: &Node, reply: &mut Reply) {
    let address = node.address.as_str();
    reply.map(7);
    reply.bulk(b"id");
    reply.bulk(node.id.as_bytes());
    reply.bulk(b"port");
    reply.integer(node.port.into());
    for (name, value) in [("ip", address), ("endpoint", address), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"replication-offset");
    reply.integer(0);
    reply.bulk(b"health");
    reply.bulk(b"online");
}

fn parse_slot(text: &[u8]) -> Result<Option<u16>, Refusal> {
    let slot = parse_i64(text).ok_or(Refusal::NotInteger)?;
    Ok(u16::try_from(slot).ok().filter(|slot| usize::from(*slot) < SLOTS))
}

fn count_keys_in_slot(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    _: &mut Reply,
) -> Result<(), SessionStop> {
    require_lane(context)?;
    let slot = parse_slot(args.get(2))?.ok_or(Refusal::text("ERR Invalid slot"))?;
    Err(Plan::KeysInSlot {
        slot,
        count_max: None,
    }
    .into())
}

fn get_keys_in_slot(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    _: &mut Reply,
) -> Result<(), SessionStop> {
    require_lane(context)?;
    let slot = parse_slot(args.get(2))?;
    let count_max = parse_i64(args.get(3)).ok_or(Refusal::NotInteger)?;
    let (Some(slot), Ok(count_max)) = (slot, usize::try_from(count_max)) else {
        return Err(Refusal::text("ERR Invalid slot or number of keys").into());
    };
    Err(Plan::KeysInSlot {
        slot,
        count_max: Some(count_max),
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::TestClient;

    const FIRST: &str = "0123456789abcdef0123456789abcdef01230000";
    const SECOND: &str = "0123456789abcdef0123456789abcdef01230001";

    fn on_lane(lane: usize) -> TestClient {
        let mut client = TestClient::new();
        client.session.port = PortKind::Lane(lane);
        client
    }

    #[test]
    fn other_ports_are_no_cluster() {
        let mut client = TestClient::new();
        for line in [
            &["CLUSTER", "INFO"][..],
            &["CLUSTER", "SLOTS"],
            &["CLUSTER", "NODES"],
            &["CLUSTER", "SHARDS"],
            &["CLUSTER", "MYID"],
            &["CLUSTER", "RESET"],
            &["CLUSTER", "COUNTKEYSINSLOT", "1"],
            &["READONLY"],
            &["READWRITE"],
            &["ASKING"],
        ] {
            assert_eq!(client.run(line), format!("-{DISABLED}\r\n"));
        }
        assert_eq!(client.run(&["CLUSTER", "KEYSLOT", "foo"]), ":12182\r\n");
    }

    #[test]
    fn every_lane_is_a_node() {
        let mut client = on_lane(1);
        assert_eq!(client.run(&["CLUSTER", "MYID"]), format!("$40\r\n{SECOND}\r\n"));
        let nodes = client.run(&["CLUSTER", "NODES"]);
        let lines = format!(
            "{FIRST} 127.0.0.1:7000@17000 master - 0 0 1 connected 0-8191\n\
             {SECOND} 127.0.0.1:7001@17001 myself,master - 0 0 2 connected 8192-16383\n"
        );
        assert!(nodes.ends_with(&format!("\r\n{lines}\r\n")), "{nodes}");
        assert!(
            client
                .run(&["CLUSTER", "INFO"])
                .contains("cluster_known_nodes:2\r\n")
        );
        assert_eq!(client.run(&["READONLY"]), "+OK\r\n");
        assert!(client.session.readonly);
        assert_eq!(client.run(&["READWRITE"]), "+OK\r\n");
        assert!(!client.session.readonly);
        assert_eq!(client.run(&["CLUSTER", "RESET"]), format!("-{RESET_REFUSED}\r\n"));
    }

    #[test]
    fn slots_are_mapped_completely() {
        let node = |port: u16, id: &str| format!("*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n");
        let slots = format!(
            "*2\r\n*3\r\n:0\r\n:8191\r\n{}*3\r\n:8192\r\n:16383\r\n{}",
            node(7000, FIRST),
            node(7001, SECOND)
        );
        assert_eq!(on_lane(0).run(&["CLUSTER", "SLOTS"]), slots);
        let shards = on_lane(0).resp3().run(&["CLUSTER", "SHARDS"]);
        assert!(
            shards.starts_with("*2\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:8191\r\n$5\r\nnodes\r\n*1\r\n%7\r\n")
        );
        assert!(shards.ends_with("$6\r\nhealth\r\n$6\r\nonline\r\n"), "{shards}");
    }

    #[test]
    fn keys_in_slots_are_the_servers_to_find() {
        let mut client = on_lane(0);
        assert!(matches!(
            client.plan(&["CLUSTER", "COUNTKEYSINSLOT", "16383"]),
            Plan::KeysInSlot {
                slot: 16383,
                count_max: None
            }
        ));
        assert!(matches!(
            client.plan(&["CLUSTER", "GETKEYSINSLOT", "1", "10"]),
            Plan::KeysInSlot {
                slot: 1,
                count_max: Some(10)
            }
        ));
        assert_eq!(
            client.run(&["CLUSTER", "COUNTKEYSINSLOT", "16384"]),
            "-ERR Invalid slot\r\n"
        );
        let not_integer = "-ERR value is not an integer or out of range\r\n";
        assert_eq!(client.run(&["CLUSTER", "COUNTKEYSINSLOT", "x"]), not_integer);
        assert_eq!(
            client.run(&["CLUSTER", "GETKEYSINSLOT", "1", "-1"]),
            "-ERR Invalid slot or number of keys\r\n"
        );
    }
}
