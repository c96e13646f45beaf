#!/usr/bin/env python3
"""Measures a sale beside a null handler, in one run, on this machine.

Starts private servers (redis-server, stampede api, stampede worker, SQLite), drives them with wrk, and prints one table with
its conditions. A figure is only worth what it is compared with: each is measured alternately with the null handler, the
better of --rounds is taken, and wrk's own CPU per request tells whether the machine was busy with something else.
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
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
SECRET = "a secret of the benchmark, long enough for HS256"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def cpu_us(pid):
    """User and system time of a process and its threads, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000 // TICKS


class Servers:
    """A Redis, an API and a worker of their own, and the null handler."""

    def __init__(self, fsync, shards):
        self.shards = shards
        self.dir = Path(tempfile.mkdtemp(prefix="stampede-bench-"))
        self.processes = {}
        self.redis_port, self.api_port, self.null_port = free_port(), free_port(), free_port()
        self.env = {
            **os.environ,
            "STAMPEDE_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            "STAMPEDE_ARCHIVE_URL": f"sqlite:{self.dir}/archive.db",
            "STAMPEDE_TOKEN_SECRET": SECRET,
            "STAMPEDE_SHARDS": str(shards),
            "STAMPEDE_LOG": "warn",
        }
        self.start("redis", "redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "yes", "--appendfsync", fsync, "--dir", str(self.dir))
        self.wait_for_port(self.redis_port)
        self.stampede("migrate")
        self.start("api", self.binary, "api", "--listen", f"127.0.0.1:{self.api_port}",
                   "--admin-listen", f"127.0.0.1:{free_port()}")
        self.start("worker", self.binary, "worker", "--admin-listen", f"127.0.0.1:{free_port()}")
        self.start("null", ROOT / "target/release/examples/null_handler", f"127.0.0.1:{self.null_port}")
        self.wait_for_port(self.null_port)
        self.wait_until_ready()
        self.operator = self.stampede("token", "--operator").strip().splitlines()[-1]

    @property
    def binary(self):
        return ROOT / "target/release/stampede"

    def start(self, name, *command):
        log = open(self.dir / f"{name}.log", "wb")
        self.processes[name] = subprocess.Popen([str(word) for word in command], env=self.env, stdout=log, stderr=log)

    def stampede(self, *arguments):
        done = subprocess.run([str(self.binary), *arguments], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"stampede {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def wait_for_port(self, port):
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        sys.exit(f"nothing listens on port {port}: see {self.dir}")

    def wait_until_ready(self):
        for _ in range(500):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}/readyz") as answer:
                    if json.load(answer)["status"] == "ready":
                        return
            except OSError:
                pass
            time.sleep(0.02)
        sys.exit(f"the api does not become ready: see {self.dir}")

    def call(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}/api/v1{path}", method=method,
                                         data=json.dumps(body).encode() if body is not None else None)
        request.add_header("Authorization", f"Bearer {self.operator}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def redis(self, *command):
        return subprocess.run(["redis-cli", "-p", str(self.redis_port), *command], capture_output=True,
                              text=True).stdout.strip()

    def archived(self):
        """Orders that the archive has acknowledged, as the shards count them."""
        counts = (self.redis("HGET", f"{{s{shard:02}}}:meta", "acknowledged_orders") for shard in range(self.shards))
        return sum(int(count or 0) for count in counts)

    def stop(self):
        for name in ["api", "worker", "null", "redis"]:
            process = self.processes.get(name)
            if process and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def wrk(url, script, connections, seconds, arguments=()):
    """One run of wrk: its own figures, and its CPU per request."""
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script), url, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        sys.exit(f"wrk failed: {done.stdout}{done.stderr}")
    result = json.loads(lines[0][len("RESULT "):])
    result["wrk_us"] = result["cpu_us"] / max(result["requests"], 1)
    result["rate"] = result["requests"] * 1e6 / result["duration_us"]
    return result


def measured(servers, names, run):
    """Runs something and adds the CPU per request that each named process spent meanwhile."""
    before = {name: cpu_us(servers.processes[name].pid) for name in names}
    result = run()
    for name in names:
        spent = cpu_us(servers.processes[name].pid) - before[name]
        result[f"{name}_us"] = spent / max(result["requests"], 1)
    return result


class Bench:
    """Measurements. Each run that grants has a drop of its own, so that every shopper of the one file is new to it."""

    def __init__(self, servers, arguments):
        self.servers, self.arguments, self.drops = servers, arguments, 0
        self.tokens = servers.dir / "tokens"
        servers.stampede("token", "--shoppers", str(250_000 * arguments.seconds), "--out", str(self.tokens))
        lines = self.tokens.read_text().splitlines(keepends=True)
        for thread in range(2):
            Path(f"{self.tokens}.{thread}").write_text("".join(lines[thread::2]))

    def open_drop(self, units):
        self.drops += 1
        name = f"bench-{self.drops}"
        product = {"sku": name, "name": name, "price": {"amount_minor": 12_900, "currency": "EUR"}}
        self.servers.call("POST", "/drops", {"id": name, "product": product, "mode": "instant", "stock_units": units})
        return name

    def url(self, port, path):
        return f"http://127.0.0.1:{port}/api/v1{path}"

    def orders(self, port, names, connections, drop):
        run = lambda: wrk(self.url(port, "/orders"), "orders.lua", connections, self.arguments.seconds,
                          [str(self.tokens), drop, f"key-{self.drops}"])
        return measured(self.servers, names, run)

    def granted(self, connections):
        servers, drop = self.servers, self.open_drop(1_000_000_000)
        archived = servers.archived()
        result = self.orders(servers.api_port, ["api", "redis", "worker"], connections, drop)
        if result["exhausted"] or result["refused"] or result["other"] or result["errors"]:
            print(f"  not all requests were granted: {result}", file=sys.stderr)
        stopped = time.monotonic()
        while servers.archived() - archived < result["created"]:
            if time.monotonic() - stopped > 120:
                sys.exit("granted orders are missing in the archive")
            time.sleep(0.01)
        lag = time.monotonic() - stopped
        result["archived_rate"] = result["created"] / (result["duration_us"] / 1e6 + lag)
        return result

    def null_orders(self, connections):
        return self.orders(self.servers.null_port, ["null"], connections, "bench")

    def sell_out(self):
        """A drop whose only unit is sold: everybody else is refused by Redis."""
        self.sold_out = self.open_drop(1)
        self.servers.call("POST", "/orders", {"drop_id": self.sold_out})

    def refused(self, connections):
        return self.orders(self.servers.api_port, ["api", "redis", "worker"], connections, self.sold_out)

    def status(self, port, names, connections):
        run = lambda: wrk(self.url(port, "/products/bench-1/sale-status"), "status.lua", connections,
                          self.arguments.seconds)
        return measured(self.servers, names, run)


def best(pairs):
    """Of several pairs (null, measured), the one whose measured rate is the best among the quiet ones."""
    quiet = [pair for pair in pairs if abs(pair[0]["wrk_us"] - pair[1]["wrk_us"]) <= 0.25 * pair[0]["wrk_us"]]
    return max(quiet or pairs, key=lambda pair: pair[1]["rate"])


def row(name, connections, result, null=None):
    cells = [name, str(connections), f"{result['rate']:,.0f}", f"{result['p50_us'] / 1e3:.2f}",
             f"{result['p99_us'] / 1e3:.2f}"]
    for part in ["api", "redis", "worker"]:
        value = result.get(f"{part}_us", result.get("null_us") if part == "api" else None)
        cells.append("" if value is None else f"{value:.2f}")
    cells.append(f"{result['wrk_us']:.1f}")
    cells.append("1" if null is None else f"{result['rate'] / null['rate']:.2f}")
    print("| " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="length of one run (5)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs of which the better is taken (3)")
    parser.add_argument("--connections", default="100,500", help="connections, comma separated (100,500)")
    parser.add_argument("--fsync", default="everysec", choices=["no", "everysec", "always"], help="Redis's appendfsync")
    parser.add_argument("--shards", type=int, default=1, help="shards of the deployment (1: one hot drop)")
    parser.add_argument("--out", help="also write the results to this file, as JSON")
    arguments = parser.parse_args()
    connections = [int(number) for number in arguments.connections.split(",")]
    servers = Servers(arguments.fsync, arguments.shards)
    try:
        run(servers, arguments, connections)
    finally:
        servers.stop()


def run(servers, arguments, connections):
    bench = Bench(servers, arguments)
    versions = servers.redis("INFO", "server").splitlines()
    redis_version = next(line.split(":")[1] for line in versions if line.startswith("redis_version"))
    print(f"{platform.platform()}, {os.cpu_count()} cores, Redis {redis_version.strip()} (appendfsync {arguments.fsync}), "
          f"SQLite, {arguments.shards} shard(s), wrk with 2 threads on the same cores, {arguments.seconds} s a run, "
          f"better of {arguments.rounds}\n")
    print("| measure | connections | requests/s | p50 ms | p99 ms | api µs | redis µs | worker µs | wrk µs | of null |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    results = {}
    memory_before, orders_before = int(info(servers, "used_memory")), servers.archived()
    for number in connections:
        pairs = [(bench.null_orders(number), bench.granted(number)) for _ in range(arguments.rounds)]
        null, granted = best(pairs)
        row("null handler, order", number, null)
        row("granted", number, granted, null)
        results[f"granted_{number}"] = {"null": null, "measured": granted}
    memory = int(info(servers, "used_memory")) - memory_before
    orders = servers.archived() - orders_before
    for number in connections:
        pairs = [(bench.status(servers.null_port, ["null"], number), bench.status(servers.api_port, ["api"], number))
                 for _ in range(arguments.rounds)]
        null, status = best(pairs)
        row("null handler, status", number, null)
        row("sale-status", number, status, null)
        results[f"status_{number}"] = {"null": null, "measured": status}
    bench.sell_out()
    for number in connections:
        pairs = [(bench.null_orders(number), bench.refused(number)) for _ in range(arguments.rounds)]
        null, refused = best(pairs)
        row("refused (sold out)", number, refused, null)
        results[f"refused_{number}"] = {"null": null, "measured": refused}
    archived = max(results[f"granted_{number}"]["measured"]["archived_rate"] for number in connections)
    print(f"\norders archived/s, from the first request until the last one is in the archive: {archived:,.0f}")
    print(f"Redis memory per granted order, log drained: {memory / max(orders, 1):.0f} bytes ({orders:,} buyers)")
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(results, indent=2))


def info(servers, name):
    lines = servers.redis("INFO", "memory").splitlines()
    return next(line.split(":")[1] for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
