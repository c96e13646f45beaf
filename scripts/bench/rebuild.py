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
import subprocess
import sys
import time

from bench.processes import RELEASE, BenchError, Processes, free_port
from bench.resp import Resp
from bench.servers import STAMPEDE, Mongo

FILL = RELEASE / "examples/fill_archive"


class Servers(Processes):
    """A Redis of its own, and a mongod if one is to be measured."""

    def __init__(self, fsync):
        super().__init__("rebuild")
        self.mongo = None
        port = free_port()
        self.redis_url = f"redis://127.0.0.1:{port}"
        self.start("redis", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                   "--appendfsync", fsync, "--dir", self.dir)
        self.wait_for_port("redis", port)
        self.redis = Resp(port)

    def archives(self):
        """What to measure: a name and an address each."""
        yield "SQLite", f"sqlite:{self.dir}/archive.db"
        # The tests' server of the protocol keeps all in memory, and has too little for so many orders.
        if os.environ.get("MONGODB_URL") or shutil.which("mongod"):
            self.mongo = Mongo()
            yield "MongoDB protocol", self.mongo.database()

    def stampede(self, archive, *arguments):
        env = {**os.environ, "STAMPEDE_REDIS_URL": self.redis_url, "STAMPEDE_ARCHIVE_URL": archive, "STAMPEDE_LOG": "warn"}
        started = time.monotonic()
        done = subprocess.run([str(STAMPEDE), *arguments], env=env, capture_output=True, text=True)
        seconds = time.monotonic() - started
        if done.returncode != 0:
            raise BenchError(f"stampede {' '.join(arguments)}: {done.stderr or done.stdout}")
        return seconds, done.stdout

    def stop(self):
        if self.mongo:
            self.mongo.stop()
        super().stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=1_000_000, help="orders in the archive (1,000,000)")
    parser.add_argument("--drops", type=int, default=1, help="drops that they are in (1, so one shard)")
    parser.add_argument("--shards", type=int, default=8, help="shards of the deployment (8)")
    parser.add_argument("--fsync", default="everysec", help="Redis's appendfsync (everysec)")
    arguments = parser.parse_args()
    try:
        run(arguments)
    except BenchError as error:
        sys.exit(f"error: {error}")


def run(arguments):
    servers = Servers(arguments.fsync)
    try:
        version = servers.redis.info("server", "redis_version")
        print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Redis {version} "
              f"(appendfsync {arguments.fsync}), {arguments.orders:,} orders in {arguments.drops} drop(s), "
              f"{arguments.shards} shard(s), release build\n")
        print("| archive | filled in s | rebuilt in s | orders/s | compared in s |")
        print("| --- | --- | --- | --- | --- |")
        for name, archive in servers.archives():
            fill = [str(FILL), archive, str(arguments.orders), str(arguments.drops), str(arguments.shards)]
            filled = subprocess.run(fill, capture_output=True, text=True)
            if filled.returncode != 0:
                raise BenchError(f"the archive could not be filled: {filled.stderr}")
            servers.redis("FLUSHALL")
            seconds, report = servers.stampede(archive, "rebuild", "--all", "--json")
            shards = json.loads(report)["shards"]
            facts = sum(shard["facts"] for shard in shards)
            if facts != arguments.orders + arguments.drops:
                raise BenchError(f"{facts} facts were applied: {report}")
            compared, _ = servers.stampede(archive, "reconcile")
            print(f"| {name} | {float(filled.stdout):.1f} | {seconds:.1f} | {arguments.orders / seconds:,.0f} "
                  f"| {compared:.1f} |", flush=True)
    finally:
        servers.stop()


if __name__ == "__main__":
    main()
