"""One run of the load generator, from its own core, and its report."""

import json
import pathlib
import subprocess
import sys
import tempfile

CONNECTIONS = 50


def run_load(arguments, server, workload, depth, *options, rate=None, each_second=None):
    """Runs `workload` with `depth` commands in flight; later options win. Calls `each_second` meanwhile."""
    with tempfile.NamedTemporaryFile(prefix="ticklane-load-", suffix=".json") as out:
        command = ["taskset", "-c", str(arguments.client_core), arguments.load, workload, "--quiet"]
        command += ["-p", str(server.port), "-c", str(CONNECTIONS), "-P", str(depth), "--json", out.name]
        command += ["-d", str(arguments.seconds), "-w", str(arguments.warmup), "-k", str(arguments.keyspace)]
        command += ["--server-pid", str(server.pid), *map(str, options)]
        if rate:
            command += ["--rate", str(int(rate))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while True:
            try:
                printed, _ = process.communicate(timeout=1)
                break
            except subprocess.TimeoutExpired:
                if each_second:
                    each_second()
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}\nfailed:\n{printed}")
        report = json.loads(pathlib.Path(out.name).read_text().splitlines()[-1])
    if report["misses"]:
        sys.exit(f"{' '.join(command)}\n{report['misses']} reads found less than they asked for")
    return report
