"""What a buyer leaves in Redis, and what an order takes in the log until it is archived."""

from .. import load
from ..context import USUAL_CONNECTIONS
from ..processes import BenchError
from ..rows import Row, at_most
from .archive import drain

TITLE = "Redis memory per buyer, log bytes per order"


def run(bench):
    sale, tokens = bench.sale(fresh=True), bench.tokens
    drop = sale.open_drop()
    sale.settle()
    # Without a worker the log holds all orders, so that it can be looked at.
    sale.end("worker")
    before, log_before = memory(sale), log_memory(sale)
    load.orders(sale.port, tokens, drop, USUAL_CONNECTIONS, bench.options.seconds)
    orders, payload = sale.counted("appended_orders", "appended_bytes")
    if not orders:
        raise BenchError("no orders were granted")
    log = (log_memory(sale) - log_before) / orders
    rate = drain(sale)
    users = sale.redis("MEMORY", "USAGE", sale.keys_of(drop, ":users")[0], "SAMPLES", 0)
    at = f"{orders:,} buyers, {USUAL_CONNECTIONS} connections"
    yield Row("memory/buyer", "Redis memory per buyer", f"{at}, log drained", (memory(sale) - before) / orders, "bytes",
              at_most(110), remark=f"of that {users / orders:.0f} for the users' records")
    yield Row("memory/log", "log bytes per order", at, payload / orders, "bytes", at_most(64),
              remark=f"payload; in Redis's memory {log:.0f}; SQLite drained it at {rate:,.0f} orders/s")


def memory(sale):
    """What Redis's data takes: all but the buffers of clients and of its file, which come and go."""
    used, clients, file = (int(sale.redis.info("memory", name)) for name in ("used_memory", "mem_clients_normal", "mem_aof_buffer"))
    return used - clients - file


def log_memory(sale):
    return sum(sale.redis("MEMORY", "USAGE", f"{{s{shard:02}}}:log", "SAMPLES", 0) or 0 for shard in range(sale.shards))
