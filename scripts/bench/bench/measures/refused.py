"""Orders on a drop that is sold out, of shoppers who hold nothing of it.

Who decides them is seen, not assumed: the api counts the orders that it gave to Redis. Where the build has filters of
buyers, they are measured with them and without.
"""

from .. import load
from ..pairs import alternate, with_cpu
from ..rows import at_least, row_of_pair

TITLE = "refused orders/s, decided in the api and by Redis"
FILTER_SETTING = "filter_max_age_ms"
BUYERS = 10_000
# Orders that went to Redis, by the api's own count.
TO_REDIS = "stampede_group_orders_sum"
GOALS = {"api": 0.95, "Redis": 0.75}


def run(bench):
    yield from rows(bench, bench.sale())
    if bench.knows_setting(FILTER_SETTING):
        yield from rows(bench, bench.sale(**{FILTER_SETTING: 0}))


def rows(bench, sale):
    drop = sell_out(bench, sale)
    for connections in bench.options.connections:
        pair = alternate(bench.options.rounds, lambda: bench.null_orders(connections),
                         lambda: refused(bench, sale, drop, connections))
        # Those whose answers came when wrk had stopped counting are in it, too.
        share = min(pair.measured["to_redis"] / max(pair.measured["requests"], 1), 1)
        who = "api" if share < 0.5 else "Redis"
        yield row_of_pair(f"refused/{who.lower()}/{connections}", f"refused orders, decided by {'the api' if who == 'api' else who}",
                          f"{connections} connections", pair, at_least(GOALS[who]),
                          remark=f"Redis decided {share:.1%}")


def sell_out(bench, sale):
    """A drop whose units are sold to shoppers whom the runs do not come to."""
    buyers = min(BUYERS, bench.tokens.count // 10)
    drop = sale.open_drop(buyers)
    load.paced_orders(sale.port, bench.tokens.last(buyers), drop, 20, 5_000, buyers / 5_000)
    sale.settle()
    # Orders on a drop that is sold out are what makes the api look closer at it.
    load.orders(sale.port, bench.tokens, drop, 20, 1)
    return drop


def refused(bench, sale, drop, connections):
    before = sale.metric(TO_REDIS)
    run = lambda: load.orders(sale.port, bench.tokens, drop, connections, bench.options.seconds)
    result = load.all_were(with_cpu(sale, run), "refused")
    result["to_redis"] = sale.metric(TO_REDIS) - before
    return result
