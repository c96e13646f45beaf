"""What is said about a saved run."""

import tempfile
import unittest
from pathlib import Path

from bench import compare
from bench.processes import BenchError
from bench.rows import Row, at_least, at_most

CONDITIONS = {"commit": "abc", "machine": "two cores", "runs": "3 s", "load before": "0.1", "measured at": "now"}


class CompareTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name) / "run.json"

    def saved(self, *rows):
        compare.save(self.file, CONDITIONS, rows)
        return compare.Saved(self.file)

    def test_a_change_is_judged_by_the_direction_of_the_goal(self):
        saved = self.saved(Row("rate", "m", "a", 0.5, "", at_least(0.65)), Row("p99", "m", "a", 4.0, "ms", at_most(5)))
        self.assertEqual(saved.change(Row("rate", "m", "a", 0.6, "", at_least(0.65))), "0.50 (+20 %, better)")
        self.assertEqual(saved.change(Row("rate", "m", "a", 0.4, "", at_least(0.65))), "0.50 (-20 %, worse)")
        self.assertEqual(saved.change(Row("p99", "m", "a", 5.0, "ms", at_most(5))), "4 (+25 %, worse)")
        self.assertEqual(saved.change(Row("p99", "m", "a", 3.0, "ms", at_most(5))), "4 (-25 %, better)")

    def test_a_small_change_and_one_without_a_goal_are_not_judged(self):
        saved = self.saved(Row("rate", "m", "a", 1.0, "", at_least(0.65)), Row("idle", "m", "a", 10.0, "KiB"))
        self.assertEqual(saved.change(Row("rate", "m", "a", 1.04, "", at_least(0.65))), "1 (+4 %)")
        self.assertEqual(saved.change(Row("idle", "m", "a", 20.0, "KiB")), "10 (+100 %)")

    def test_nothing_is_divided_by_nothing(self):
        saved = self.saved(Row("errors", "m", "a", 0, "", at_most(0)))
        self.assertEqual(saved.change(Row("errors", "m", "a", 0, "", at_most(0))), "0 (same)")
        self.assertEqual(saved.change(Row("errors", "m", "a", 7, "", at_most(0))), "0 (worse)")

    def test_rows_that_only_one_run_has_are_named(self):
        saved = self.saved(Row("granted/a", "granted", "100", 1, "", at_least(1)), Row("status/a", "status", "100", 1, ""))
        self.assertEqual(saved.change(Row("granted/b", "m", "a", 1, "")), "new")
        self.assertEqual(saved.missing([], ["granted"]), ["granted, 100"])
        self.assertEqual(saved.missing([Row("granted/a", "m", "a", 1, "")], ["granted"]), [])

    def test_other_conditions_are_said_but_not_what_always_differs(self):
        saved = self.saved()
        now = {**CONDITIONS, "commit": "def", "measured at": "later", "load before": "3.0", "machine": "eight cores"}
        self.assertEqual(saved.differences(now), ["machine: two cores before, eight cores now"])

    def test_a_file_that_is_no_saved_run_is_refused_with_a_word_on_what_to_give(self):
        with self.assertRaisesRegex(BenchError, "give it a file that --out has written"):
            compare.Saved(self.file)
        for text, message in (("nonsense", "--out"), ("[]", "not a run"), ('{"format": 99}', "measure that one again")):
            self.file.write_text(text)
            with self.assertRaisesRegex(BenchError, message):
                compare.Saved(self.file)


if __name__ == "__main__":
    unittest.main()
