"""The table as text: a row a measure, in Markdown, with the change against a saved run if there is one."""

HEAD = ["measure", "at", "result", "goal", "met", "per s", "p99 ms", "CPU µs", "load µs", "remarks"]
CHANGE = "before"


def head(compares):
    """The table's first two lines."""
    names = HEAD[:3] + [CHANGE] + HEAD[3:] if compares else HEAD
    return [line(names), line(["---"] * len(names))]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def row(row, change=None):
    """A row's line. `change`: what it was before, as `compare` puts it; None if nothing is compared."""
    cells = [row.measure, row.at, value(row)]
    if change is not None:
        cells.append(change)
    cells += ["" if row.goal is None else str(row.goal), {None: "", True: "yes", False: "**no**"}[row.is_met]]
    cells += [beside(row.rates, "{:,.0f}"), beside(row.p99_ms, "{:.2f}"), cpu(row), beside(row.tool_us, "{:.1f}"), row.remark]
    return line(cells)


def value(row):
    return f"{number(row.value)} {row.unit}"


def number(value):
    """A figure with as many digits as tell something."""
    if value == int(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def beside(figures, form):
    """A figure, and in brackets the one that it is compared with."""
    shown = [form.format(figure) for figure in figures]
    return shown[0] + (f" ({shown[1]})" if len(shown) > 1 else "") if shown else ""


def cpu(row):
    """CPU per request: all together, its parts, and in brackets the other side's."""
    parts = [f"{name} {us:.1f}" for name, us in row.cpu_us.items()]
    shown = f"{sum(row.cpu_us.values()):.1f}" if row.cpu_us else ""
    if len(parts) > 1:
        shown += f": {', '.join(parts)}"
    return shown if row.against_cpu_us is None else f"{shown} ({row.against_cpu_us:.1f})"


LEGEND = """
- In brackets: what it is compared with, mostly the null handler in the run right before. Figures belong to the machine and the
  hour; the ratio is the result.
- `load µs` is the CPU that the load itself spent on a request. It rises when something else uses the machine: pairs in which
  it differs by more than a tenth, and from the other pairs' too, are dropped; where none is left the row is `disturbed`.
- `CPU µs` is per request, the persister's share until everything is archived included."""


def summary(rows):
    """How many goals are met, and which are not."""
    judged = [row for row in rows if row.goal is not None]
    missed = [f"{row.measure}, {row.at}" for row in judged if not row.is_met]
    met = f"{len(judged) - len(missed)} of {len(judged)} goals are met."
    return met + (f" Not: {'; '.join(missed)}." if missed else "")
