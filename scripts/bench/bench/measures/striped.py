"""What a striped drop costs each master of a cluster, against what the same orders cost one Redis that has the whole drop.

An order costs Redis less in a larger group, so groups are compared that have one size: more orders wait at once than fill the
groups of all stripes.
"""

from .. import load
from ..processes import RELEASE
from ..rows import Row, at_most

TITLE = "CPU of each master of a striped drop"
STRIPES = 3
GROUP = 128
# Waiting at once: in each shard some groups more than the one that is decided and the one that gathers.
AT_ONCE = 6 * STRIPES * GROUP
EVEN_GOAL = 0.10
SHARE_GOAL = 0.40


def run(bench):
    orders = bench.options.striped_orders
    one, striped = [], []
    for _ in range(bench.options.rounds):
        one.append(sell(1, orders))
        striped.append(sell(STRIPES, orders))
    # Disturbed runs cost more, so the least of each is the truest.
    one, striped = (min(runs, key=lambda run: sum(run["redis_us"])) for runs in (one, striped))
    whole, masters = one["redis_us"][0], striped["redis_us"]
    even = sum(masters) / len(masters)
    at = f"{STRIPES} stripes on {len(masters)} masters, {orders:,} orders, {AT_ONCE:,} at once"
    yield Row("striped/even", "CPU of the master that is furthest from even", at,
              max(abs(master / even - 1) for master in masters), "of the mean", at_most(EVEN_GOAL),
              remark=" / ".join(f"{master / orders:.2f}" for master in masters) + " µs for each order of the sale")
    yield Row("striped/share", "CPU of the busiest master", at, max(masters) / whole, "of one unstriped Redis", at_most(SHARE_GOAL),
              rates=[striped["rate"], one["rate"]], cpu_us={"redis": max(masters) / orders}, against_cpu_us=whole / orders,
              remark=f"{striped['orders_per_entry']:.0f} orders in a log entry ({one['orders_per_entry']:.0f})")


def sell(stripes, orders):
    """Sells so many units, without HTTP: how fast orders come is not what is looked at."""
    return load.run([RELEASE / "examples/striped_cpu", stripes, orders, AT_ONCE, GROUP], 120)
