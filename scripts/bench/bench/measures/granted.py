"""Granted orders per second, beside the null handler, with both ways in which Redis's file is written."""

from ..rows import at_least, row_of_pair

TITLE = "granted orders/s, everysec and always"
GOALS = {"everysec": 0.65, "always": 0.60}


def run(bench):
    # The usual one last: other measures go on with its sale.
    for fsync in ("always", "everysec"):
        sale = bench.sale(fsync)
        for connections in bench.options.connections:
            pair = bench.granted_pair(sale, connections)
            yield row_of_pair(f"granted/{fsync}/{connections}", "granted orders", f"{fsync}, {connections} connections",
                              pair, at_least(GOALS[fsync]))
