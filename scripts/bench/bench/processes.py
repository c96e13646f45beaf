"""Processes of the benchmark's own: on free ports, in a folder of their own, gone with it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something without which nothing can be measured; its text says what to do."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(is_so, limit_s, what, pause_s=0.02):
    """Waits until something is so, and fails after a limit."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchError(f"{what} (waited {limit_s} s)")
        time.sleep(pause_s)


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Processes:
    """What was started, each by a name, and the folder of their files and logs."""

    def __init__(self, prefix, env=None):
        self.dir = Path(tempfile.mkdtemp(prefix=f"stampede-{prefix}-"))
        self.env = {**os.environ, **(env or {})}
        self.running = {}

    def start(self, name, *command, stdin=subprocess.DEVNULL):
        with open(self.dir / f"{name}.log", "ab") as log:
            words = [str(word) for word in command]
            self.running[name] = subprocess.Popen(words, env=self.env, stdin=stdin, stdout=log, stderr=log)

    def wait_for_port(self, name, port, limit_s=30):
        def is_up():
            if self.running[name].poll() is not None:
                raise BenchError(f"{name} ended at its start:\n{self.log(name)}")
            return is_listening(port)
        wait_until(is_up, limit_s, f"{name} does not listen on port {port}")

    def log(self, name):
        return (self.dir / f"{name}.log").read_text(errors="replace")[-2_000:]

    def end(self, name):
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        """Ends all, the last one first, and takes their files away."""
        for name in reversed(list(self.running)):
            self.end(name)
        shutil.rmtree(self.dir, ignore_errors=True)

    def cpu_us(self, name):
        """User and system time of a process and its threads, in microseconds."""
        fields = Path(f"/proc/{self.running[name].pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // TICKS

    def resident_bytes(self, name):
        """Memory of a process that is in RAM."""
        return int(Path(f"/proc/{self.running[name].pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
