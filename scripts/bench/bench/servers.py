"""The servers that are measured: a whole sale, the null handler, and a MongoDB."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request

from .processes import RELEASE, ROOT, BenchError, Processes, free_port, wait_until
from .resp import Resp

SECRET = "a secret of the benchmark, long enough for HS256"
STAMPEDE = RELEASE / "stampede"
# The first start of the MongoDB protocol's server fetches it.
MONGO_START_LIMIT_S = 180


class Null(Processes):
    """The null handler: the same routes, the same check of the token, the same JSON, a constant answer."""

    def __init__(self):
        super().__init__("null", {"STAMPEDE_TOKEN_SECRET": SECRET})
        self.port = free_port()
        self.start("null", RELEASE / "examples/null_handler", f"127.0.0.1:{self.port}")
        self.wait_for_port("null", self.port)

    def cpu(self):
        return {"api": self.cpu_us("null")}


class Sale(Processes):
    """A Redis, an API and a worker of their own. `settings` are Stampede's, by their names."""

    def __init__(self, fsync, shards, archive_url=None, settings=None):
        super().__init__("bench")
        self.shards, self.drops = shards, 0
        self.redis_port, self.port, self.admin_port = free_port(), free_port(), free_port()
        self.env |= {
            "STAMPEDE_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            "STAMPEDE_ARCHIVE_URL": archive_url or f"sqlite:{self.dir}/archive.db",
            "STAMPEDE_TOKEN_SECRET": SECRET,
            "STAMPEDE_SHARDS": str(shards),
            "STAMPEDE_LOG": "warn",
        } | {f"STAMPEDE_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        try:
            self.open(fsync)
        except BaseException:
            self.stop()
            raise

    def open(self, fsync):
        # A rewrite of the file would fall into some runs and not into others.
        self.start("redis", "redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", "--save", "",
                   "--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0", "--dir", self.dir)
        self.wait_for_port("redis", self.redis_port)
        self.redis = Resp(self.redis_port)
        self.stampede("migrate")
        self.start("api", STAMPEDE, "api", "--listen", f"127.0.0.1:{self.port}",
                   "--admin-listen", f"127.0.0.1:{self.admin_port}")
        self.start_worker()
        wait_until(self.is_ready, 30, "the api does not become ready")
        self.operator = self.stampede("token", "--operator").strip().splitlines()[-1]

    def start_worker(self):
        self.start("worker", STAMPEDE, "worker", "--admin-listen", f"127.0.0.1:{free_port()}")

    def stampede(self, *arguments):
        done = subprocess.run([str(STAMPEDE), *arguments], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            raise BenchError(f"stampede {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz") as answer:
                return json.load(answer)["status"] == "ready"
        except OSError:
            return False

    def call(self, method, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v1{path}", method=method,
                                         data=json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {self.operator}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise BenchError(f"{method} {path}: {error.status} {error.read().decode(errors='replace')}") from error

    def open_drop(self, units=1_000_000_000, stripes=1):
        """A new drop, so that every shopper is new to it. Its sku has the same name."""
        self.drops += 1
        name = f"bench-{self.drops}"
        product = {"sku": name, "name": name, "price": {"amount_minor": 12_900, "currency": "EUR"}}
        drop = {"id": name, "product": product, "mode": "instant", "stock_units": units, "stripes": stripes}
        self.call("POST", "/drops", drop)
        return name

    def keys_of(self, drop, kind=""):
        """The keys of a drop in Redis, one for each stripe."""
        keys = [f"{{s{shard:02}}}:drop:{drop}{kind}" for shard in range(self.shards)]
        found = [key for key in keys if self.redis("EXISTS", key)]
        if not found:
            raise BenchError(f"Redis has no key of drop {drop}")
        return found

    def counted(self, *fields):
        """Fields of the shards' `meta`, added up: `appended_orders`, `acknowledged_orders`, `appended_bytes`."""
        sums = [0] * len(fields)
        for shard in range(self.shards):
            values = self.redis("HMGET", f"{{s{shard:02}}}:meta", *fields)
            sums = [total + int(value or 0) for total, value in zip(sums, values)]
        return sums

    def is_archived(self):
        appended, acknowledged = self.counted("appended_orders", "acknowledged_orders")
        return appended == acknowledged

    def settle(self):
        """Waits until the archive has all orders. Returns how long that took, in seconds."""
        started = time.monotonic()
        wait_until(self.is_archived, 120, "granted orders are missing in the archive", pause_s=0.01)
        return time.monotonic() - started

    def metric(self, name):
        """The sum of a metric of the api, over all its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        of_it = [line for line in lines if line.split(" ")[0].split("{")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in of_it)

    def cpu(self):
        return {name: self.cpu_us(name) for name in ("api", "redis", "worker") if name in self.running}

    def stop(self):
        if hasattr(self, "redis"):
            self.redis.close()
        super().stop()


class Mongo(Processes):
    """A server of the MongoDB protocol, found as the tests find theirs, but for Docker's images."""

    def __init__(self):
        super().__init__("mongo")
        self.kind, self.url = "MONGODB_URL", os.environ.get("MONGODB_URL")
        if self.url:
            return
        port = free_port()
        if shutil.which("mongod"):
            self.kind = "mongod"
            (self.dir / "data").mkdir()
            self.start("mongo", "mongod", "--quiet", "--bind_ip", "127.0.0.1", "--port", port,
                       "--dbpath", self.dir / "data")
        elif shutil.which("java"):
            self.kind = "mongo-java-server, in memory"
            # It lives until its standard input ends.
            self.start("mongo", ROOT / "scripts/mongo-server/start.sh", port, stdin=subprocess.PIPE)
        else:
            raise BenchError("there is no MongoDB: set MONGODB_URL, or install mongod, or a JDK and Maven")
        self.url = f"mongodb://127.0.0.1:{port}"
        self.wait_for_port("mongo", port, MONGO_START_LIMIT_S)

    def database(self):
        """The URL of a database of this run's own."""
        address, _, options = self.url.partition("?")
        head = "/".join(address.split("/")[:3])
        return f"{head}/stampede_bench_{os.getpid()}" + (f"?{options}" if options else "")

    def end(self, name):
        if self.running[name].stdin:
            self.running[name].stdin.close()
        super().end(name)
