"""One row of the table: what was measured, its goal, and the figures behind it."""

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Goal:
    """A bound that a value must keep, itself included."""

    bound: float
    at_most: bool = False

    def is_met(self, value):
        return value <= self.bound if self.at_most else value >= self.bound

    def is_better(self, value, before):
        return value < before if self.at_most else value > before

    def __str__(self):
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


def at_least(bound):
    return Goal(bound)


def at_most(bound):
    return Goal(bound, at_most=True)


@dataclass
class Row:
    """A measure's result. Figures that are not there stay out of the table.

    `key` names it across runs, `unit` follows the value (`of null`, `ms`, `bytes`). `rates` are requests/s, `p99_ms` and
    `tool_us` (CPU that the load itself spent on a request) each of what is measured and what it is compared with; `cpu_us` is
    each process's CPU per request, `against_cpu_us` that of the other side, all together.
    """

    key: str
    measure: str
    at: str
    value: float
    unit: str
    goal: Goal | None = None
    rates: list = field(default_factory=list)
    p99_ms: list = field(default_factory=list)
    cpu_us: dict = field(default_factory=dict)
    against_cpu_us: float | None = None
    tool_us: list = field(default_factory=list)
    remark: str = ""

    @property
    def is_met(self):
        """Whether the goal is met; None without one."""
        return None if self.goal is None else self.goal.is_met(self.value)

    def saved(self):
        """As a saved run holds it."""
        return {**asdict(self), "met": self.is_met}


def row_of_pair(key, measure, at, pair, goal, value=None, unit="of null", remark=""):
    """The row of two runs: by default their rates' ratio."""
    measured, against = pair.measured, pair.against
    remarks = [remark] if remark else []
    if pair.noisy:
        remarks.append("disturbed")
    return Row(
        key, measure, at, pair.ratio if value is None else value, unit, goal,
        rates=[measured["rate"], against["rate"]],
        p99_ms=[run["p99_us"] / 1e3 for run in (measured, against) if "p99_us" in run],
        cpu_us=measured.get("cpu_us", {}),
        against_cpu_us=sum(against["cpu_us"].values()) if "cpu_us" in against else None,
        tool_us=[measured["tool_us"], against["tool_us"]],
        remark="; ".join(remarks + failures(measured)),
    )


def failures(result):
    """What a run saw that it should not have seen."""
    names = {"errors": "connections that failed", "other": "other answers", "exhausted": "shoppers that came twice"}
    return [f"{result[name]:,} {what}" for name, what in names.items() if result.get(name)]
