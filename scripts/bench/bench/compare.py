"""Runs that are saved, and what has changed since one."""

import json
from pathlib import Path

from .processes import BenchError
from .table import number

FORMAT = 1
# A smaller change is within what two runs on one machine differ by.
NOTABLE = 0.05


def save(path, conditions, rows):
    document = {"format": FORMAT, "conditions": conditions, "rows": [row.saved() for row in rows]}
    Path(path).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


class Saved:
    """A saved run."""

    def __init__(self, path):
        try:
            document = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise BenchError(f"--compare {path}: {error}; give it a file that --out has written") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise BenchError(f"--compare {path}: not a run that this version has saved; measure that one again with --out")
        self.conditions = document["conditions"]
        self.rows = {row["key"]: row for row in document["rows"]}

    def differences(self, conditions):
        """In which conditions the two runs differ, but for what differs always."""
        names = (self.conditions.keys() | conditions.keys()) - {"commit", "load before", "measured at"}
        pairs = ((name, self.conditions.get(name), conditions.get(name)) for name in sorted(names))
        return [f"{name}: {before} before, {now} now" for name, before, now in pairs if before != now]

    def change(self, row):
        """A row's value in the saved run, and by how much it has changed since."""
        before = self.rows.get(row.key)
        if before is None:
            return "new"
        return change(row.value, before["value"], row.goal)

    def missing(self, rows, measures):
        """Rows of these measures that the saved run has and this one has not."""
        keys = {row.key for row in rows}
        return [f"{row['measure']}, {row['at']}" for key, row in self.rows.items()
                if key not in keys and key.split("/")[0] in measures]


def change(value, before, goal):
    """A change as text, such as `0.52 (+12 %, better)`."""
    if before == 0:
        return f"{number(before)} ({'same' if value == 0 else 'worse' if goal and goal.at_most else 'changed'})"
    by = (value - before) / abs(before)
    word = ""
    if goal is not None and abs(by) >= NOTABLE:
        word = ", better" if goal.is_better(value, before) else ", worse"
    return f"{number(before)} ({by * 100:+.0f} %{word})"
