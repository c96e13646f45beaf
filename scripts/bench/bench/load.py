"""What drives the servers: wrk as fast as they go, and orders at a fixed rate. Each run says what it cost the load itself."""

import json
import resource
import subprocess

from .processes import RELEASE, ROOT, BenchError

SCRIPTS = ROOT / "scripts/bench"
WRK_THREADS = 2
# A second of orders on the fastest machine that was seen.
TOKENS_PER_S = 250_000


class Tokens:
    """Signed tokens of as many shoppers as a run may need, in a file, and a piece of it for each thread of wrk."""

    def __init__(self, sale, folder, seconds):
        self.file = folder / "tokens"
        self.count = max(int(TOKENS_PER_S * seconds), 100_000)
        sale.stampede("token", "--shoppers", str(self.count), "--out", str(self.file))
        lines = self.file.read_text().splitlines(keepends=True)
        for thread in range(WRK_THREADS):
            (folder / f"tokens.{thread}").write_text("".join(lines[thread::WRK_THREADS]))

    def last(self, count):
        """A file of the last of them: shoppers whom the runs do not come to."""
        path = self.file.with_name("tokens-last")
        path.write_text("".join(self.file.read_text().splitlines(keepends=True)[-count:]))
        return path


def run(command, limit_s):
    """Runs a load. Its result has `rate` and, as `tool_us`, the CPU that the load itself spent on each request."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired as expired:
        raise BenchError(f"{command[0]} did not end within {limit_s} s") from expired
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise BenchError(f"{command[0]} failed: {done.stdout}{done.stderr}")
    result = json.loads(lines[0][len("RESULT "):])
    spent_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    result["tool_us"] = spent_s * 1e6 / max(result["requests"], 1)
    result["rate"] = result["requests"] * 1e6 / result["duration_us"]
    return result


def wrk(url, script, connections, seconds, arguments=()):
    command = ["wrk", f"-t{WRK_THREADS}", f"-c{connections}", f"-d{seconds}s", "-s", SCRIPTS / script, url, "--"]
    return run([*command, *arguments], seconds + 60)


def orders(port, tokens, drop, connections, seconds):
    """Orders as fast as they are answered, each of another shopper."""
    arguments = [tokens.file, drop, f"key-{drop}"]
    return wrk(f"http://127.0.0.1:{port}/api/v1/orders", "orders.lua", connections, seconds, arguments)


def paced_orders(port, tokens_file, drop, connections, rate, seconds):
    """Orders at a fixed rate; their times count from when each was due."""
    command = [RELEASE / "examples/paced_load", f"127.0.0.1:{port}", tokens_file, drop, f"key-{drop}", connections,
               f"{rate:.3f}", seconds]
    return run(command, seconds + 60)


def statuses(port, sku, connections, seconds):
    url = f"http://127.0.0.1:{port}/api/v1/products/{sku}/sale-status"
    return wrk(url, "status.lua", connections, seconds)


def all_were(result, expected):
    """Counts answers that are not what a run is about, `created` or `refused`, among the other ones."""
    result["other"] += result["refused" if expected == "created" else "created"]
    return result
