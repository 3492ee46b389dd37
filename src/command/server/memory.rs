//! MEMORY: what the process and its keys take.

use crate::command::Flags;
use crate::command::key::inspect::{MEMORY_PART, ask_owner, check_usage_options};
use crate::command::plan::{Plan, Render};
use crate::command::report::{ReportKinds, Reports};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::subcommand::{Subcommand, subcommand};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};

use super::info::{MemoryUse, memory_use};

/// All but HELP.
pub const MEMORY: &[Subcommand] = &[
    subcommand("memory|doctor", 2, Flags::NONE, |_, _, _| {
        Err(report(write_diagnosis))
    })
    .says("4.0.0", "", "Says in words what the process takes."),
    subcommand("memory|malloc-stats", 2, Flags::NONE, |_, _, reply| {
        reply.bulk(b"Stats not supported for the current allocator");
        Ok(())
    })
    .says(
        "4.0.0",
        "",
        "Refers to MEMORY STATS: the allocator shows no statistics of its own.",
    ),
    subcommand("memory|purge", 2, Flags::NONE, |_, _, reply| {
        reply.ok();
        Ok(())
    })
    .says(
        "4.0.0",
        "",
        "Does nothing: memory goes back to the system by itself.",
    ),
    subcommand("memory|stats", 2, Flags::NONE, |_, _, _| Err(report(write_stats))).says(
        "4.0.0",
        "",
        "Returns what the process takes, by kind.",
    ),
    subcommand("memory|usage", -3, Flags::READONLY, |context, args, _| {
        check_usage_options(args)?;
        Err(ask_owner(context, MEMORY_PART, args))
    })
    .says(
        "4.0.0",
        "key [SAMPLES count]",
        "Returns the bytes of memory that a key takes.",
    ),
];

fn report(render: Render) -> SessionStop {
    Plan::report(ReportKinds::BASIC, render).into()
}

fn write_diagnosis(
    _: &mut SessionContext<'_>,
    _: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let MemoryUse {
        used, resident, peak, ..
    } = memory_use(reports);
    let text = format!(
        "{used} bytes are accounted for and {resident} are resident, at most {peak} so far. Keys and series stay \
         within the budgets of their businesses: see BUSINESS INFO.\n"
    );
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The fields of Redis in its order; what there is nothing of is 0.
fn write_stats(
    _: &mut SessionContext<'_>,
    _: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let memory = memory_use(reports);
    let keys: u64 = reports.partitions().map(|(_, part)| part.keys).sum();
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let (used, resident) = (memory.used, memory.resident);
    let beyond = resident as i64 - used as i64;
    let numbers = [
        ("peak.allocated", memory.peak),
        ("total.allocated", used),
        ("startup.allocated", 0),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", 0),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.total", memory.overhead),
        ("keys.count", keys),
        ("keys.bytes-per-key", memory.dataset / keys.max(1)),
        ("dataset.bytes", memory.dataset),
    ];
    let ratios = [
        ("dataset.percentage", 100.0 * share(memory.dataset, used)),
        ("peak.percentage", 100.0 * share(used, memory.peak)),
    ];
    let allocator = [
        ("allocator.allocated", used as i64),
        ("allocator.active", used as i64),
        ("allocator.resident", resident as i64),
        ("allocator-fragmentation.bytes", 0),
        ("allocator-rss.bytes", beyond),
        ("rss-overhead.bytes", 0),
        ("fragmentation.bytes", beyond),
    ];
    let allocator_ratios = [
        ("allocator-fragmentation.ratio", 1.0),
        ("allocator-rss.ratio", share(resident, used)),
        ("rss-overhead.ratio", 1.0),
        ("fragmentation", share(resident, used)),
    ];
    reply.map(numbers.len() + ratios.len() + allocator.len() + allocator_ratios.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
    write_ratios(&ratios, reply);
    for (name, number) in allocator {
        reply.bulk(name.as_bytes());
        reply.integer(number);
    }
    write_ratios(&allocator_ratios, reply);
    Ok(())
}

fn write_ratios(ratios: &[(&str, f64)], reply: &mut Reply) {
    for (name, ratio) in ratios {
        reply.bulk(name.as_bytes());
        reply.double(*ratio);
    }
}

#[cfg(test)]
mod tests {
    use crate::command::test_support::TestClient;

    #[test]
    fn subcommands_are_refused_as_by_redis() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["MEMORY", "PURGE"]), "+OK\r\n");
        assert_eq!(
            client.run(&["MEMORY", "DOCTOR", "x"]),
            "-ERR wrong number of arguments for 'memory|doctor' command\r\n"
        );
        assert_eq!(
            client.run(&["memory", "usage"]),
            "-ERR wrong number of arguments for 'memory|usage' command\r\n"
        );
        assert_eq!(
            client.run(&["MEMORY", "foo", "k"]),
            "-ERR unknown subcommand 'foo'. Try MEMORY HELP.\r\n"
        );
        assert_eq!(
            client.run(&["MEMORY", "USAGE", "k", "SAMPLES", "-1"]),
            "-ERR syntax error\r\n"
        );
    }
}
