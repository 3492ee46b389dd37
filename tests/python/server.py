"""Starts a server of its own for a test: ticklane, or Debian's redis-server to check the tests themselves."""

import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
BUSINESSES_WITH_PORT = (
    "stock_quotes",
    "iot_data",
    "financial_quotes",
    "order_data",
    "payment_data",
    "inventory_data",
    "sms_delivery",
)
TESTS_REDIS = os.environ.get("TICKLANE_TEST_ORACLE") == "redis"


def ticklane_binary():
    """Path of the server under test."""
    target = os.environ.get("CARGO_TARGET_DIR", str(pathlib.Path.home() / ".cache/ticklane-target"))
    return os.environ.get("TICKLANE_BIN", f"{target}/release/ticklane")


def free_ports(count):
    """The first of `count` neighbouring ports that are free, below those that the system hands out itself."""
    for _ in range(1000):
        base = random.randrange(12000, 20000)
        sockets = []
        try:
            for port in range(base, base + count):
                held = socket.socket()
                sockets.append(held)
                held.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for held in sockets:
                held.close()
    raise RuntimeError(f"no {count} free neighbouring ports")


class Server:
    """One running process; `port` serves all commands, `lane_port` the first lane as a cluster node."""

    def __init__(self, lanes=1, lane_ports=False, settings=()):
        self.lanes = lanes
        self.data_dir = tempfile.mkdtemp(prefix="ticklane-test-")
        self.log_path = pathlib.Path(self.data_dir + ".log")
        self.lane_port = free_ports(lanes) if lane_ports else 0
        self.port = 0
        self.settings = settings
        self._start(settings)

    def _start(self, settings):
        if TESTS_REDIS:
            self.port = self.lane_port or free_ports(1)
            command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
            command += ["--dir", self.data_dir, "--appendonly", "yes"]
            command += ["--cluster-enabled", "yes"] if self.lane_port else []
            ready = "Ready to accept connections"
        else:
            command = [ticklane_binary(), "serve", "--bind", "127.0.0.1", "--port", "0"]
            command += ["--lanes", str(self.lanes), "--data-dir", self.data_dir]
            ports = [f"business.{name}.port=0" for name in BUSINESSES_WITH_PORT]
            for setting in [f"server.lane_port_base={self.lane_port}", *ports, *settings]:
                command += ["--set", setting]
            ready = r"ticklane ready on 127\.0\.0\.1:(\d+)"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not (found := re.search(ready, self.log())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready; it printed:\n{self.log()}")
            time.sleep(0.01)
        if not TESTS_REDIS:
            self.port = int(found.group(1))

    def log(self):
        """All that the process has printed."""
        return self.log_path.read_text(errors="replace")

    def restart(self, sig=signal.SIGTERM):
        """Ends the process by a signal and starts it again with its data."""
        self.process.send_signal(sig)
        self.process.wait(STOP_SECONDS_MAX)
        self._start(self.settings)

    def stop(self):
        """Stops the process gracefully and removes its data; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        finally:
            self.process.kill()
            self.process.wait()
            shutil.rmtree(self.data_dir, ignore_errors=True)
            self.log_path.unlink(missing_ok=True)
