"""Runs beside each other: what is measured and what it is compared with take turns, and a disturbed pair is dropped."""

from dataclasses import dataclass

# By how much the CPU that the load itself spends on a request may differ between runs that are compared.
QUIET = 0.1


@dataclass
class Pair:
    """Two runs, one right after the other. `noisy`: no pair was quiet; this is the least disturbed one."""

    against: dict
    measured: dict
    noisy: bool = False

    @property
    def ratio(self):
        return self.measured["rate"] / self.against["rate"]

    def is_quiet(self, others):
        """Whether the load cost the same in both runs, or in each the same as the cheapest other run of that side.

        The load is cheaper where more answers lie ready at a time, so the two sides may differ on a quiet machine, too.
        """
        sides = [(self.against, [other.against for other in others]), (self.measured, [other.measured for other in others])]
        return is_like(self.measured, self.against) or bool(others) and all(
            is_like(run, min(side, key=lambda other: other["tool_us"])) for run, side in sides)


def is_like(run, other):
    return abs(run["tool_us"] - other["tool_us"]) <= QUIET * other["tool_us"]


def with_cpu(server, run, settle=None):
    """Runs something, and adds the CPU per request that each process of `server` spent, until `settle` returns."""
    before = server.cpu()
    result = run()
    if settle:
        result["settled_s"] = settle()
    after = server.cpu()
    result["cpu_us"] = {name: (after[name] - before[name]) / max(result["requests"], 1) for name in before}
    return result


def choose(pairs, worth=lambda run: run["rate"]):
    """Of the quiet pairs the one whose two runs come closest to the best of their kind; if none was quiet, the one in which
    the load was cheapest. Both sides count: a null handler that was held up would flatter what is measured beside it."""
    quiet = [pair for pair in pairs if pair.is_quiet([other for other in pairs if other is not pair])]
    if quiet:
        best_against, best_measured = (max(worth(run) for run in runs)
                                       for runs in zip(*((pair.against, pair.measured) for pair in pairs)))
        return max(quiet, key=lambda pair: worth(pair.against) / best_against + worth(pair.measured) / best_measured)
    best = min(pairs, key=lambda pair: pair.against["tool_us"] + pair.measured["tool_us"])
    return Pair(best.against, best.measured, noisy=True)


def take_turns(rounds, against, measured):
    """Pairs of two runs that take turns."""
    return [Pair(against(), measured()) for _ in range(rounds)]


def alternate(rounds, against, measured):
    """Lets two runs take turns, and chooses the pair with the best rates."""
    return choose(take_turns(rounds, against, measured))
