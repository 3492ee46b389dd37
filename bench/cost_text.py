"""The text of bench/COST.md from what `bench/cost` has counted, and the model that it contains."""

import collections
import dataclasses
import pathlib
import re

import callgrind

LANES_SHOWN = (1, 2, 4, 8, 16, 32, 64)
HOP_MAX = 1.0
# Work by the clock; what has no caller is a thread that slept in it when counting began.
TIMERS = r"^server/(timers|rates|waking|checkpoints|rewrites)\b|sync_partitions|sync_loop|^unknown"


@dataclasses.dataclass
class Case:
    """What was counted of one workload at one length of pipelines."""

    commands: int
    # Instructions per command.
    stages: dict
    # Calls of allocators in all commands, by who wanted the memory.
    allocations: collections.Counter
    # The server's own counters in all commands.
    counted: dict

    def total(self):
        """Instructions per command."""
        return sum(self.stages.values())


def hop_model(results, workload):
    """Instructions of a hop beside a local command: (per message, per command).

    From the shortest and the longest pipeline; a connection's pipeline for one lane is one message.
    """
    pipelines = sorted({pipeline for _, pipeline, _ in results})
    short, long = pipelines[0], pipelines[-1]
    extra = {
        pipeline: results[workload, pipeline, True].total() - results[workload, pipeline, False].total()
        for pipeline in (short, long)
    }
    per_message = (extra[short] - extra[long]) / (1 / short - 1 / long)
    return per_message, extra[long] - per_message / long


def plain_cost(local, model, lanes, pipeline):
    """Instructions of a command of a plain client on so many lanes."""
    per_message, per_command = model
    messages = min(1, lanes / pipeline)
    return local + (lanes - 1) / lanes * (per_command + per_message * messages)


def render(results, idle, version):
    """The text of COST.md."""
    workloads = list(dict.fromkeys(workload for workload, _, _ in results))
    pipelines = list(dict.fromkeys(pipeline for _, pipeline, _ in results))
    models = {workload: hop_model(results, workload) for workload in workloads}
    lines = [
        "# The cost model",
        "",
        f"Written by `make cost` ({version}); do not edit.",
        "User-space instructions per command, all threads of the server with those of RocksDB, counted by callgrind: "
        "they are the same on a busy machine, but system calls and cache misses are not in them.",
        "*Local*: the connection's lane owns the keys. *Hop*: another lane does. 16 connections, whose pipelines "
        "arrive together; the median of 3 runs.",
        f"What two lanes do at rest ({idle:,.0f} instructions a second) is subtracted. Differences below 2 % mean "
        "nothing.",
        "",
        "## By stage",
        "",
    ]
    for workload in workloads:
        lines += stage_table(results, workload, pipelines) + [""]
    lines += [
        "An instruction counts for the source file that it was compiled from, inlined or not; what the C library and "
        "others do (copying, comparing, allocating, hashing) counts for the stage that called them.",
        "*Route* is what is between parsing and executing: finding the command, checking it and its state, finding "
        "the key's business and lane. *Commit* is the journal record, RocksDB's log and memtable, and waking whoever "
        "waits for it. What is done once per pipeline (reading, answering, the message) is divided by its length, "
        "what is done once for all that arrived together (waking, the commit) by all their commands.",
        "",
        *allocation_lines(results, workloads, pipelines),
        "## A hop against a local command",
        "",
        "| command | local, P=64 | hop: per message | hop: per command | with 16 commands a message, of local "
        "| of a local SET | wanted |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    set_16 = results[workloads[0], pipelines[1], False].total()
    for workload, (per_message, per_command) in models.items():
        local = results[workload, pipelines[-1], False].total()
        local_16 = results[workload, pipelines[1], False].total()
        extra = per_message / 16 + per_command
        word = "met" if extra <= HOP_MAX * set_16 else "MISSED"
        lines.append(f"| {workload} | {local:,.0f} | {per_message:,.0f} | {per_command:,.0f} "
                     f"| {extra / local_16:.2f} | {extra / set_16:.2f} | at most {HOP_MAX} {word} |")
    lines += [
        "",
        "## Expected scaling",
        "",
        "Times the rate of one lane, if only these instructions counted. A plain client's command hops with "
        "probability `(n - 1) / n`, and `n` messages share a pipeline of `P`: a command costs "
        "`local + (n - 1) / n * (per command + per message * min(1, n / P))`. Cluster-aware clients cost `local`.",
        "",
    ]
    for pipeline in pipelines:
        lines += scaling_table(results, models, pipeline) + [""]
    return "\n".join(lines)


def stage_table(results, workload, pipelines):
    """Instructions per command of one workload."""
    cases = [results[workload, pipeline, is_hop] for pipeline in pipelines for is_hop in (False, True)]
    heads = [f"{side} P={pipeline}" for pipeline in pipelines for side in ("local", "hop")]
    lines = [f"| {workload} | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for stage in callgrind.ORDER:
        lines.append(f"| {stage} | " + " | ".join(f"{case.stages.get(stage, 0):,.0f}" for case in cases) + " |")
    lines.append("| **all** | " + " | ".join(f"**{case.total():,.0f}**" for case in cases) + " |")
    for name, counter in (("commands a message", "hops_sent"), ("commands a commit", "commits")):
        shown = [case.commands / case.counted[counter] if case.counted[counter] else None for case in cases]
        lines.append(f"| {name} | " + " | ".join("" if each is None else f"{each:,.0f}" for each in shown) + " |")
    return lines


def allocation_lines(results, workloads, pipelines):
    """Who allocated how often."""
    lines = [
        "## Allocations",
        "",
        "Calls of malloc, calloc and realloc while so many commands ran, all of them, by who wanted the memory. "
        "RocksDB's are per commit; glommio's (timers, the wait for the next event) per wake-up; timers run by the "
        "clock, whether or not there are commands. Wanted: none for GET and TSDB_SET on their own lane; "
        "`series/columns: push` is the columns of heads that double as they fill.",
        "",
        "| command | P | commands | commands' own | RocksDB | glommio | timers | commands' own, by function |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for workload in workloads:
        for is_hop in (False, True):
            for pipeline in pipelines:
                case = results[workload, pipeline, is_hop]
                wanted = collections.Counter()
                for name, count in case.allocations.items():
                    wanted["timers" if re.search(TIMERS, name) else name] += count
                others = " | ".join(f"{wanted.pop(name, 0):,.0f}" for name in ("RocksDB", "glommio", "timers"))
                shown = ", ".join(
                    f"{short_name(name)} {count:,.0f}" for name, count in wanted.most_common(4) if count >= 0.5
                )
                lines.append(f"| {workload}{', hop' if is_hop else ''} | {pipeline} | {case.commands:,} "
                             f"| {sum(wanted.values()):,.0f} | {others} | {shown} |")
    return lines + [""]


def short_name(name):
    """`file function` without paths and type arguments, as code."""
    file, _, function = name.partition(" ")
    while (plain := re.sub(r"<[^<>]*>", "", function)) != function:
        function = plain
    return f"`{file}: {function.replace('::{{closure}}', '').rsplit('::', 1)[-1] or function}`"


def scaling_table(results, models, pipeline):
    """Times the rate of one lane."""
    heads = [str(lanes) for lanes in LANES_SHOWN]
    lines = [f"| P={pipeline}, lanes | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    lines.append("| cluster-aware | " + " | ".join(f"{lanes:.2f}" for lanes in LANES_SHOWN) + " |")
    for workload, model in models.items():
        local = results[workload, pipeline, False].total()
        row = [f"{lanes * local / plain_cost(local, model, lanes, pipeline):.2f}" for lanes in LANES_SHOWN]
        lines.append(f"| {workload}, plain | " + " | ".join(row) + " |")
    return lines


def expected_share(cost_file, workload, pipeline, lanes):
    """What COST.md says of plain clients, of the rate of cluster-aware ones; None if it does not."""
    if not pathlib.Path(cost_file).exists():
        return None
    text = pathlib.Path(cost_file).read_text()
    table = re.search(rf"^\| P={pipeline}, lanes \|(.*)\n.*\n((?:\|.*\n?)+)", text, re.MULTILINE)
    if not table:
        return None
    rows = {row.split("|")[1].strip(): row.split("|")[2:-1] for row in table[2].splitlines()}
    heads = [head.strip() for head in table[1].strip().strip("|").split("|")]
    if f"{workload}, plain" not in rows or str(lanes) not in heads:
        return None
    return float(rows[f"{workload}, plain"][heads.index(str(lanes))]) / lanes
