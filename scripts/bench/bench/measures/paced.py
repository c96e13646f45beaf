"""Orders at a fixed rate: what one costs while there is room, and how long it takes at half of the saturation rate."""

from .. import load
from ..context import USUAL_CONNECTIONS
from ..pairs import choose, take_turns, with_cpu
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
        pairs = at_rate(bench, sale, rate)
        # The rate is the same in all; what disturbs a run makes its orders dearer and slower.
        cheapest = choose(pairs, lambda run: 1 / cost(run))
        costs.append(cost(cheapest.measured))
        late = "" if cheapest.measured["rate"] >= TAKEN * rate else "asked for more than it takes"
        yield cost_row(f"paced/cpu/{share}", f"{name} of saturation", cheapest, late)
        if share == 0.5:
            yield from p99_rows(choose(pairs, lambda run: 1 / run["p99_us"]))
    yield cost_row("paced/cpu/1", "saturation", saturation)
    costs.append(cost(saturation.measured))
    steps = [after / before for before, after in zip(costs, costs[1:])]
    yield Row("paced/falling", "CPU per granted order from load to load", "¼, ½, ¾, saturation", max(steps),
              "at the worst step", at_most(1.0), remark=" → ".join(f"{each:.1f}" for each in costs) + " µs")


def cost(run):
    """CPU of all processes together, per request."""
    return sum(run["cpu_us"].values())


def at_rate(bench, sale, rate):
    """Orders at a rate, beside the null handler at the same rate."""
    def paced(server, drop):
        return load.paced_orders(server.port, bench.tokens.file, drop, USUAL_CONNECTIONS, rate, bench.options.seconds)
    return take_turns(bench.options.rounds, lambda: with_cpu(bench.null, lambda: paced(bench.null, "bench")),
                      lambda: granted(sale, paced))


def granted(sale, paced):
    drop = sale.open_drop()
    return load.all_were(with_cpu(sale, lambda: paced(sale, drop), sale.settle), "created")


def cost_row(key, at, pair, remark=""):
    value = cost(pair.measured) / cost(pair.against)
    return row_of_pair(key, "CPU per granted order, all processes", at, pair, at_most(2.0), value, remark=remark)


def p99_rows(pair):
    at = f"half of saturation, {USUAL_CONNECTIONS} connections"
    measured_ms, null_ms = (run["p99_us"] / 1e3 for run in (pair.measured, pair.against))
    yield row_of_pair("paced/p99", "p99 of granted orders", at, pair, at_most(P99_GOAL_MS), measured_ms, "ms")
    yield row_of_pair("paced/p99-of-null", "p99 of granted orders", at, pair, at_most(2.0), measured_ms / null_ms)
