"""What the measures share: the null handler, the tokens, the sale that runs, and how fast orders were granted at most."""

import shutil
import tempfile
from pathlib import Path

from . import load
from .pairs import alternate, with_cpu
from .servers import Null, Sale

# At this many connections rates are looked for to which others relate.
USUAL_CONNECTIONS = 100


class Bench:
    """One run of the benchmark. Only one sale runs at a time."""

    def __init__(self, options, say):
        self.options, self.say = options, say
        self.folder = Path(tempfile.mkdtemp(prefix="stampede-bench-tokens-"))
        self.null = Null()
        self.running, self.running_as = None, None
        self.kept_tokens, self.kept_saturation = None, None

    def sale(self, fsync="everysec", fresh=False, archive_url=None, shards=None, **settings):
        """A sale with this file and these settings: the one that runs, if it is like that and needs not be `fresh`."""
        shards = shards or self.options.shards
        wanted = (fsync, archive_url, shards, settings)
        if fresh or self.running_as != wanted:
            self.end_sale()
            self.running = Sale(fsync, shards, archive_url, settings)
            self.running_as = None if fresh else wanted
        return self.running

    def end_sale(self):
        if self.running:
            self.running.stop()
        self.running = self.running_as = None

    @property
    def tokens(self):
        if not self.kept_tokens:
            sale = self.running or self.sale()
            self.kept_tokens = load.Tokens(sale, self.folder, self.options.seconds)
        return self.kept_tokens

    def null_orders(self, connections):
        tokens = self.tokens
        run = lambda: load.orders(self.null.port, tokens, "bench", connections, self.options.seconds)
        return with_cpu(self.null, run)

    def granted(self, sale, connections, drop=None):
        """Orders that are all granted, as fast as they are; done when the archive has them."""
        drop, tokens = drop or sale.open_drop(), self.tokens
        run = lambda: load.orders(sale.port, tokens, drop, connections, self.options.seconds)
        return load.all_were(with_cpu(sale, run, sale.settle), "created")

    def granted_pair(self, sale, connections):
        """Granted orders beside the null handler's."""
        pair = alternate(self.options.rounds, lambda: self.null_orders(connections),
                         lambda: self.granted(sale, connections))
        if connections == USUAL_CONNECTIONS and self.running_as and self.running_as[0] == "everysec":
            self.kept_saturation = pair
        return pair

    @property
    def saturation(self):
        """The pair at which other measures look, measured now if it was not before."""
        if not self.kept_saturation:
            self.say("measuring how fast orders are granted at most")
            self.granted_pair(self.sale(), USUAL_CONNECTIONS)
        return self.kept_saturation

    def knows_setting(self, name):
        """Whether this build has a setting of this name."""
        listed = self.sale().stampede("config")
        return any(line.split(maxsplit=1)[:1] == [name] for line in listed.splitlines())

    def stop(self):
        self.end_sale()
        self.null.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
