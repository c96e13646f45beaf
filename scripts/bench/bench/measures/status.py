"""The sale's status, as shoppers ask for it all the time."""

from .. import load
from ..pairs import alternate, with_cpu
from ..rows import at_least, row_of_pair

TITLE = "sale-status/s"


def run(bench):
    sale = bench.sale()
    sku = sale.open_drop()
    for connections in bench.options.connections:
        def statuses(server):
            return with_cpu(server, lambda: load.statuses(server.port, sku, connections, bench.options.seconds))
        pair = alternate(bench.options.rounds, lambda: statuses(bench.null), lambda: statuses(sale))
        # Only the api has to do with it.
        pair.measured["cpu_us"] = {"api": pair.measured["cpu_us"]["api"]}
        yield row_of_pair(f"status/{connections}", "sale-status", f"{connections} connections", pair, at_least(0.95))
