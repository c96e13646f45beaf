"""Orders at a fixed rate: what one costs while there is room, and how long it takes at half of the saturation rate."""

from .. import load
from ..context import USUAL_CONNECTIONS
from ..pairs import alternate, with_cpu
from ..rows import Row, at_most, row_of_pair

TITLE = "CPU per granted order at ¼, ½, ¾ and all of the saturation rate; p99 at half of it"
SHARES = {"¼": 0.25, "½": 0.5, "¾": 0.75}
P99_GOAL_MS = 5
# A server that takes less than this share of what was asked for was beyond its saturation.
TAKEN = 0.97


def run(bench):
    saturation = bench.saturation
    sale = bench.sale()
    costs = []
    for name, share in SHARES.items():
        rate = saturation.measured["rate"] * share
        pair = at_rate(bench, sale, rate)
        costs.append(sum(pair.measured["cpu_us"].values()))
        late = "" if pair.measured["rate"] >= TAKEN * rate else "asked for more than it takes"
        yield cost_row(f"paced/cpu/{share}", f"{name} of saturation", pair, late)
        if share == 0.5:
            yield from p99_rows(pair)
    yield cost_row("paced/cpu/1", "saturation", saturation)
    costs.append(sum(saturation.measured["cpu_us"].values()))
    steps = [after / before for before, after in zip(costs, costs[1:])]
    yield Row("paced/falling", "CPU per granted order from load to load", "¼, ½, ¾, saturation", max(steps),
              "at the worst step", at_most(1.0), remark=" → ".join(f"{cost:.1f}" for cost in costs) + " µs")


def at_rate(bench, sale, rate):
    """Orders at a rate, beside the null handler at the same rate."""
    seconds = bench.options.seconds

    def paced(server, drop):
        return load.paced_orders(server.port, bench.tokens.file, drop, USUAL_CONNECTIONS, rate, seconds)
    return alternate(bench.options.rounds, lambda: with_cpu(bench.null, lambda: paced(bench.null, "bench")),
                     lambda: granted(sale, paced))


def granted(sale, paced):
    drop = sale.open_drop()
    return load.all_were(with_cpu(sale, lambda: paced(sale, drop), sale.settle), "created")


def cost_row(key, at, pair, remark=""):
    value = sum(pair.measured["cpu_us"].values()) / sum(pair.against["cpu_us"].values())
    return row_of_pair(key, "CPU per granted order, all processes", at, pair, at_most(2.0), value, remark=remark)


def p99_rows(pair):
    at = f"half of saturation, {USUAL_CONNECTIONS} connections"
    measured_ms, null_ms = (run["p99_us"] / 1e3 for run in (pair.measured, pair.against))
    yield row_of_pair("paced/p99", "p99 of granted orders", at, pair, at_most(P99_GOAL_MS), measured_ms, "ms")
    yield row_of_pair("paced/p99-of-null", "p99 of granted orders", at, pair, at_most(2.0), measured_ms / null_ms)
