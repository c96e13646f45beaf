"""Orders archived per second: SQLite while orders come, MongoDB beside a plain loop of `insert_many`."""

import threading
import time

from .. import load
from ..context import USUAL_CONNECTIONS
from ..processes import RELEASE, BenchError, wait_until
from ..resp import Resp
from ..rows import Row, at_least
from ..servers import Mongo

TITLE = "orders archived/s: SQLite, MongoDB"
# What is on its way when a moment is looked at: the persister's longest pause.
UNDER_WAY_S = 0.1
# As many documents as a large batch of the persister.
INSERT_MANY_DOCUMENTS = 1_000


def run(bench):
    yield sqlite_row(bench)
    yield mongo_row(bench)


def sqlite_row(bench):
    """Whether what is archived keeps up with what is granted: how much of it there is when the load ends."""
    sale = bench.sale()
    rows = []
    for _ in range(bench.options.rounds):
        progress = Progress(sale)
        result = bench.granted(sale, USUAL_CONNECTIONS)
        seconds, granted, archived = progress.end(bench.options.seconds)
        under_way = min(granted - archived, granted / seconds * UNDER_WAY_S)
        rows.append(Row("archive/sqlite", "orders archived, SQLite", f"everysec, {USUAL_CONNECTIONS} connections",
                        (archived + under_way) / granted, "of the granted", at_least(1.0),
                        rates=[archived / seconds, granted / seconds], tool_us=[result["tool_us"]],
                        remark=f"backlog at the end {granted - archived:,}, archived {result['settled_s'] * 1e3:.0f} ms later; "
                               f"what is under way, at most {UNDER_WAY_S} s, counts as archived"))
    return max(rows, key=lambda row: row.value)


class Progress:
    """Notes, twenty times a second, how many orders are granted and archived from now on."""

    def __init__(self, sale):
        self.samples, self.ended = [], threading.Event()
        self.redis = Resp(sale.redis_port)
        self.keys = [f"{{s{shard:02}}}:meta" for shard in range(sale.shards)]
        self.before = self.count()
        self.thread = threading.Thread(target=self.note, daemon=True)
        self.thread.start()

    def count(self):
        sums = [0, 0]
        for key in self.keys:
            counts = self.redis("HMGET", key, "appended_orders", "acknowledged_orders")
            sums = [total + int(count or 0) for total, count in zip(sums, counts)]
        return sums

    def note(self):
        while not self.ended.wait(0.05):
            self.samples.append((time.monotonic(), *(now - before for now, before in zip(self.count(), self.before))))

    def end(self, seconds):
        """How long the load was seen, of the seconds that it took, and what was granted and archived by then."""
        self.ended.set()
        self.thread.join()
        self.redis.close()
        loaded = [sample for sample in self.samples if sample[1]]
        if not loaded:
            raise BenchError("no orders were granted")
        start = loaded[0][0] - 0.05
        moment, granted, archived = [sample for sample in loaded if sample[0] < start + seconds][-1]
        return moment - start, granted, archived


def mongo_row(bench):
    """The persister on a full log beside a plain loop on the same documents, indexes and write concern."""
    mongo = Mongo()
    try:
        sale = bench.sale(fresh=True, archive_url=mongo.database())
        drained, looped = [], []
        # The first round warms the server up.
        for _ in range(max(bench.options.rounds, 2)):
            sell_without_worker(bench, sale, bench.options.mongo_orders)
            drained.append(drain(sale))
            looped.append(insert_many(mongo.database(), bench.options.mongo_orders))
        best, plain = max(drained), max(looped, key=lambda result: result["rate"])
        return Row("archive/mongodb", "orders archived, MongoDB", f"{bench.options.mongo_orders:,} orders in the log",
                   best / plain["rate"], "of insert_many", at_least(0.9), rates=[best, plain["rate"]], remark=mongo.kind)
    finally:
        bench.end_sale()
        mongo.stop()


def insert_many(url, orders):
    return load.run([RELEASE / "examples/insert_many", url, orders, INSERT_MANY_DOCUMENTS], 120)


def sell_without_worker(bench, sale, units):
    """Sells so many units, in groups as they come when all want them at once, while nobody archives them."""
    tokens, drop = bench.tokens, sale.open_drop(units)
    sale.settle()
    sale.end("worker")
    sold = 0
    while sold < units:
        result = load.orders(sale.port, tokens, drop, USUAL_CONNECTIONS, 1)
        if not result["created"]:
            raise BenchError(f"only {sold} of {units} units were sold: {result}")
        sold += result["created"]


def drain(sale):
    """Starts a worker on a log that is full. Returns the orders that it archives in a second, from its first read on."""
    before = sale.counted("acknowledged_orders")[0]
    sale.start_worker()
    wait_until(lambda: has_read(sale) or sale.is_archived(), 30, "the worker does not read the log", pause_s=0.001)
    started = time.monotonic()
    wait_until(sale.is_archived, 300, "orders are missing in the archive", pause_s=0.001)
    return (sale.counted("acknowledged_orders")[0] - before) / max(time.monotonic() - started, 1e-3)


def has_read(sale):
    """Whether a persister has entries that it has not acknowledged."""
    return any(sale.redis("XPENDING", f"{{s{shard:02}}}:log", "persister")[0] for shard in range(sale.shards))
