#!/usr/bin/env python3
"""Measures a sale beside a null handler, in one run, on this machine, and prints one table.

Starts private servers (redis-server, stampede api, stampede worker, SQLite, a MongoDB) and drives them on the same cores. A
figure is only worth what it is compared with: what is measured and what it is compared with take turns, pairs in which the
load itself cost another amount of CPU are dropped, and of the others the better is taken.
"""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import compare, table
from bench.context import Bench
from bench.measures import MEASURES
from bench.processes import RELEASE, ROOT, BenchError

EXAMPLES = ("null_handler", "paced_load", "evalsha_per_order", "insert_many", "striped_cpu")
PROGRAMS = [RELEASE / "stampede", *(RELEASE / "examples" / name for name in EXAMPLES)]


def parse(arguments):
    names = "\n".join(f"  {name:12} {module.TITLE}" for name, module in MEASURES.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"measures:\n{names}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME[,NAME]", help="only these measures")
    parser.add_argument("--out", metavar="FILE", help="save the run, as JSON")
    parser.add_argument("--compare", metavar="FILE", help="show the change against a saved run")
    parser.add_argument("--smoke", action="store_true", help="runs of a second, small amounts: shows that it works, not how fast")
    parser.add_argument("--seconds", type=whole, default=3, help="length of one run (3)")
    parser.add_argument("--rounds", type=whole, default=3, help="pairs of runs of which the better is taken (3)")
    parser.add_argument("--connections", type=wholes, default=[100, 500], help="connections, comma separated (100,500)")
    parser.add_argument("--shards", type=whole, default=1, help="shards of the deployment (1: one hot drop)")
    parser.add_argument("--buyers", type=whole, default=1_200_000,
                        help="earlier buyers; near a power of two Redis's table would grow within a run (1200000)")
    options = parser.parse_args(arguments)
    unknown = [name for name in (options.only or "").split(",") if name and name not in MEASURES]
    if unknown:
        parser.error(f"--only: there is no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    options.mongo_orders, options.many_connections, options.striped_orders = 15_000, 5_000, 200_000
    if options.smoke:
        options.seconds, options.rounds, options.buyers = 1, 1, 50_000
        options.mongo_orders, options.many_connections, options.striped_orders = 2_000, 500, 6_000
    return options


def whole(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def wholes(text):
    return [whole(number) for number in text.split(",")]


def conditions(options):
    """What the figures depend on, by name."""
    text = lambda *command: subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]
    return {
        "commit": text("git", "describe", "--always", "--dirty") or "unknown",
        "measured at": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": f"{platform.platform()}, {os.cpu_count()} × {models[0] if models else platform.machine()}",
        "redis": text("redis-server", "--version").split("v=")[-1].split()[0],
        "load before": f"{os.getloadavg()[0]:.1f}",
        "runs": f"{options.seconds} s, better of {options.rounds}, {options.shards} shard(s), wrk with 2 threads on the same cores",
    }


def measure(options, saved, say):
    """Runs the measures and prints their rows. Returns them, the names of those that ran, and what kept others from it."""
    rows, names, failed = [], [], []
    bench = Bench(options, say)
    try:
        for name in [name for name in MEASURES if not options.only or name in options.only.split(",")]:
            say(f"{name}: {MEASURES[name].TITLE}")
            try:
                for row in MEASURES[name].run(bench):
                    rows.append(row)
                    print(table.row(row, saved and saved.change(row)), flush=True)
                names.append(name)
            except BenchError as error:
                # What else can be measured is not lost by it.
                failed.append(f"{name}: {error}")
                bench.end_sale()
    finally:
        bench.stop()
    return rows, names, failed


def check_machine():
    """Fails early, and says what to do, where nothing could be measured."""
    if not Path("/proc/self/stat").exists():
        raise BenchError("the CPU of processes is read from /proc, so this runs on Linux only")
    missing = [program for program in PROGRAMS if not program.exists()]
    if missing or not shutil.which("wrk"):
        raise BenchError("not everything is built or installed: start it by scripts/bench/run.sh, which does that")


def main():
    options = parse(sys.argv[1:])
    # Whoever ends it wants the servers to end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    say = lambda text: print(f"[{time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)
    try:
        check_machine()
        saved = compare.Saved(options.compare) if options.compare else None
        now = conditions(options)
        print("; ".join(f"{name} {value}" for name, value in now.items()))
        for difference in saved.differences(now) if saved else []:
            print(f"Compared with a run under other conditions: {difference}")
        print("", *table.head(bool(saved)), sep="\n", flush=True)
        rows, names, failed = measure(options, saved, say)
    except BenchError as error:
        sys.exit(f"error: {error}")
    print(table.LEGEND)
    for missing in saved.missing(rows, names) if saved else []:
        print(f"Measured before, not now: {missing}")
    print(f"\n{table.summary(rows)} It took {time.monotonic() - started:.0f} s.")
    if options.out:
        compare.save(options.out, now, rows)
    if failed:
        sys.exit("\n".join(f"error: not measured: {failure}" for failure in failed))


if __name__ == "__main__":
    main()
