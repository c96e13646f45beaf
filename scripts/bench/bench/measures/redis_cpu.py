"""What an order costs Redis: group commit beside one script call an order."""

from .. import load
from ..context import USUAL_CONNECTIONS
from ..pairs import with_cpu
from ..processes import RELEASE
from ..rows import Row, at_most

TITLE = "Redis CPU per granted order against one EVALSHA an order"
KEYS = [f"{{bench}}:{name}" for name in ("meta", "log", "unsettled", "drop:bench", "drop:bench:users")]


def run(bench):
    sale = bench.sale()
    groups, singles = [], []
    for _ in range(bench.options.rounds):
        singles.append(one_by_one(bench, sale))
        groups.append(bench.granted(sale, USUAL_CONNECTIONS))
    # Disturbed runs cost more, so the least of each is the truest.
    group, single = (min(runs, key=lambda result: result["cpu_us"]["redis"]) for runs in (groups, singles))
    group_us, single_us = group["cpu_us"]["redis"], single["cpu_us"]["redis"]
    yield Row("redis/evalsha", "Redis CPU per granted order", f"everysec, {USUAL_CONNECTIONS} callers", group_us / single_us,
              "of one EVALSHA an order", at_most(0.2), rates=[group["rate"], single["rate"]], cpu_us={"redis": group_us},
              against_cpu_us=single_us, tool_us=[group["tool_us"], single["tool_us"]],
              remark="with the persister's reads; without them on the other side")


def one_by_one(bench, sale):
    """A service that calls an equivalent script for each order, without a persister."""
    redis = sale.redis
    sha = redis("SCRIPT", "LOAD", (load.SCRIPTS / "one_order.lua").read_bytes()).decode()
    prepare(redis)
    command = [RELEASE / "examples/evalsha_per_order", sale.redis_port, sha, USUAL_CONNECTIONS, bench.options.seconds, *KEYS]
    try:
        return with_cpu(sale, lambda: load.run(command, bench.options.seconds + 60))
    finally:
        redis("UNLINK", *KEYS)


def prepare(redis):
    """A shard with one drop that is on sale and has units for all, as an opening leaves it."""
    meta, log, unsettled, drop, users = KEYS
    redis("UNLINK", *KEYS)
    redis("HSET", meta, "token", redis.info("replication", "master_replid"), "epoch", 1, "last_ms", 0, "last_sequence", 0,
          "number", 0, "floor", 0, "appended_orders", 0, "acknowledged_orders", 0, "appended_bytes", 0, "acknowledged_bytes", 0)
    redis("XGROUP", "CREATE", log, "persister", 0, "MKSTREAM")
    redis("ZADD", unsettled, 0, "-")
    redis("HSET", drop, "sku", "bench", "state", "open", "starts_ms", 0, "ends_ms", "", "limit_per_user", 1,
          "available", 1_000_000_000, "sold", 0, "version", 0)
    redis("HSET", users, "-", 1)
