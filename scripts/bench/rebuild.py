#!/usr/bin/env python3
"""Measures how fast an empty Redis is rebuilt from an archive that is full of orders.

Starts a private redis-server, fills a private archive with orders (as a persister inserts them, 100 an entry), runs
`stampede rebuild --all` on the empty Redis, has `stampede reconcile` compare everything, and prints one table with its
conditions. SQLite always; MongoDB where MONGODB_URL names one, or there is a mongod program.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAMPEDE = ROOT / "target/release/stampede"
FILL = ROOT / "target/release/examples/fill_archive"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port):
    for _ in range(1000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"nothing listens on port {port}")


class Servers:
    """A Redis of its own, and a mongod if one is to be measured."""

    def __init__(self, fsync):
        self.dir = Path(tempfile.mkdtemp(prefix="stampede-rebuild-"))
        self.processes = []
        self.redis_port = free_port()
        self.start("redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "yes", "--appendfsync", fsync, "--dir", str(self.dir))
        wait_for_port(self.redis_port)

    def start(self, *command):
        log = open(self.dir / f"{Path(command[0]).name}.log", "wb")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def redis(self, *command):
        return subprocess.run(["redis-cli", "-p", str(self.redis_port), *command], capture_output=True, text=True,
                              check=True).stdout.strip()

    def archives(self):
        """What to measure: a name and an address each."""
        yield "SQLite", f"sqlite:{self.dir}/archive.db"
        url = os.environ.get("MONGODB_URL")
        if not url and shutil.which("mongod"):
            port, data = free_port(), self.dir / "mongo"
            data.mkdir()
            self.start("mongod", "--quiet", "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(data))
            wait_for_port(port)
            url = f"mongodb://127.0.0.1:{port}"
        if url:
            address, _, options = url.partition("?")
            head = "/".join(address.split("/")[:3])
            yield "MongoDB protocol", f"{head}/stampede_rebuild_{os.getpid()}" + (f"?{options}" if options else "")

    def stampede(self, archive, *arguments):
        env = {**os.environ, "STAMPEDE_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
               "STAMPEDE_ARCHIVE_URL": archive, "STAMPEDE_LOG": "warn"}
        started = time.monotonic()
        done = subprocess.run([str(STAMPEDE), *arguments], env=env, capture_output=True, text=True)
        seconds = time.monotonic() - started
        if done.returncode != 0:
            sys.exit(f"stampede {' '.join(arguments)}: {done.stderr or done.stdout}")
        return seconds, done.stdout

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=1_000_000, help="orders in the archive (1,000,000)")
    parser.add_argument("--drops", type=int, default=1, help="drops that they are in (1, so one shard)")
    parser.add_argument("--shards", type=int, default=8, help="shards of the deployment (8)")
    parser.add_argument("--fsync", default="everysec", help="Redis's appendfsync (everysec)")
    arguments = parser.parse_args()
    servers = Servers(arguments.fsync)
    try:
        version = servers.redis("INFO", "server").split("redis_version:")[1].split()[0]
        print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Redis {version} "
              f"(appendfsync {arguments.fsync}), {arguments.orders:,} orders in {arguments.drops} drop(s), "
              f"{arguments.shards} shard(s), release build\n")
        print("| archive | filled in s | rebuilt in s | orders/s | compared in s |")
        print("| --- | --- | --- | --- | --- |")
        for name, archive in servers.archives():
            fill = [str(FILL), archive, str(arguments.orders), str(arguments.drops), str(arguments.shards)]
            filled = subprocess.run(fill, capture_output=True, text=True)
            if filled.returncode != 0:
                sys.exit(f"the archive could not be filled: {filled.stderr}")
            servers.redis("FLUSHALL")
            seconds, report = servers.stampede(archive, "rebuild", "--all", "--json")
            shards = json.loads(report)["shards"]
            facts = sum(shard["facts"] for shard in shards)
            if facts != arguments.orders + arguments.drops:
                sys.exit(f"{facts} facts were applied: {report}")
            compared, _ = servers.stampede(archive, "reconcile")
            print(f"| {name} | {float(filled.stdout):.1f} | {seconds:.1f} | {arguments.orders / seconds:,.0f} "
                  f"| {compared:.1f} |", flush=True)
    finally:
        servers.stop()


if __name__ == "__main__":
    main()
