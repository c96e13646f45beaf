"""What an order costs in a drop that has many buyers already.

The earlier buyers' records are written straight into Redis, as a sale would have left them; so nothing is compared with the
archive meanwhile.
"""

import os

from ..context import USUAL_CONNECTIONS
from ..resp import encode
from ..rows import Row, at_most

TITLE = "cost per order at 10 thousand and at many earlier buyers"
FEW = 10_000
STRIPES = 4
# A part of the run's time; what it shows is large if it is there at all.
STRIPED_ROUNDS = 2
# Users in one command.
HEAP = 1_000
# The last bytes of a record: one unit, confirmed, first of its group.
RECORD_TAIL = bytes([0, 1, 0, 0])
NEVER_MS = 86_400_000


def run(bench):
    few, many = take_turns(bench, bench.sale(fresh=True, reconcile_period_ms=NEVER_MS), bench.options.rounds)
    yield row("buyers/total", "cost per order, all processes", bench, few, many, total, 1.2)
    yield row("buyers/redis", "cost per order, Redis alone", bench, few, many, lambda run: run["cpu_us"]["redis"], 1.6)
    sale = bench.sale(fresh=True, shards=max(STRIPES, bench.options.shards), reconcile_period_ms=NEVER_MS)
    few, many = take_turns(bench, sale, STRIPED_ROUNDS, STRIPES)
    yield row("buyers/striped", f"cost per order over {STRIPES} stripes, all processes", bench, few, many, total, 1.2)


def total(run):
    return sum(run["cpu_us"].values())


def take_turns(bench, sale, rounds, stripes=1):
    few, many = [], []
    for _ in range(rounds):
        few.append(with_buyers(bench, sale, FEW, stripes))
        many.append(with_buyers(bench, sale, bench.options.buyers, stripes))
    bench.end_sale()
    return few, many


def row(key, measure, bench, few, many, cost, bound):
    # Disturbed runs cost more, so the least of each is the truest.
    few, many = (min(runs, key=cost) for runs in (few, many))
    return Row(key, measure, f"{bench.options.buyers:,} earlier buyers, {USUAL_CONNECTIONS} connections", cost(many) / cost(few),
               f"of that at {FEW:,}", at_most(bound), rates=[many["rate"], few["rate"]],
               p99_ms=[many["p99_us"] / 1e3, few["p99_us"] / 1e3], cpu_us=many["cpu_us"],
               against_cpu_us=sum(few["cpu_us"].values()), tool_us=[many["tool_us"], few["tool_us"]])


def with_buyers(bench, sale, buyers, stripes):
    drop = sale.open_drop(stripes=stripes)
    for users in sale.keys_of(drop, ":users"):
        sale.redis.all(records(users, buyers // stripes))
        sale.redis.all(lookups(users, buyers // stripes))
    return bench.granted(sale, USUAL_CONNECTIONS, drop)


def records(users, buyers):
    """Commands that write so many users with one grant each."""
    for start in range(0, buyers, HEAP):
        count = min(HEAP, buyers - start)
        noise = os.urandom(count * 40)
        fields = []
        for at in range(0, len(noise), 40):
            fields.append(noise[at:at + 16])
            fields.append(noise[at + 16:at + 40] + RECORD_TAIL)
        yield encode("HSET", users, *fields)


def lookups(users, buyers):
    """As many lookups: each moves Redis's growth of the table on, so that none of it is left for the orders to come."""
    command = encode("HMGET", users, *["-"] * HEAP)
    return (command for _ in range(0, buyers, HEAP))
