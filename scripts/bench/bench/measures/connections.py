"""Many connections: that they are served, and what an idle one costs."""

import resource
import socket

from .. import load
from ..pairs import with_cpu
from ..processes import BenchError
from ..rows import Row, at_most

TITLE = "5,000 connections: errors, p99, memory of an idle one"
# Where 99 of 100 are answered within this, the time is bounded; requests may take ten times as long.
P99_GOAL_MS = 1_000
WARM = 50


def run(bench):
    count = bench.options.many_connections
    raise_open_files(2 * count + 1_000)
    sale = bench.sale(fresh=True)
    idle = idle_bytes(sale, count) / 1024
    drop, tokens = sale.open_drop(), bench.tokens
    seconds = max(bench.options.seconds, 3)
    result = with_cpu(sale, lambda: load.orders(sale.port, tokens, drop, count, seconds), sale.settle)
    load.all_were(result, "created")
    failed = result["errors"] + result["other"]
    at = f"{count:,} connections"
    figures = {"rates": [result["rate"]], "p99_ms": [result["p99_us"] / 1e3], "cpu_us": result["cpu_us"],
               "tool_us": [result["tool_us"]]}
    yield Row("connections/errors", "orders that fail, and connections", at, failed, "in all", at_most(0),
              remark="" if result["created"] == result["requests"] else f"{result['created']:,} granted of {result['requests']:,}",
              **figures)
    yield Row("connections/p99", "p99 of granted orders, saturated", at, result["p99_us"] / 1e3, "ms", at_most(P99_GOAL_MS))
    yield Row("connections/memory", "api memory per idle connection", at, idle, "KiB")


def raise_open_files(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchError(f"{wanted} open files are needed, {hard} are allowed: raise the hard limit (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def idle_bytes(sale, count):
    """The api's memory for each of so many connections that were used once and are kept."""
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{sale.port}\r\n\r\n".encode()
    kept = []

    def use(number):
        for _ in range(number):
            connection = socket.create_connection(("127.0.0.1", sale.port))
            connection.sendall(request)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise BenchError("a connection was not answered")
            kept.append(connection)
    try:
        # What a process takes once, for its first connections, is not theirs.
        use(WARM)
        before = sale.resident_bytes("api")
        use(count)
        return (sale.resident_bytes("api") - before) / count
    finally:
        for connection in kept:
            connection.close()
