"""Rows, their goals, and the table they make."""

import unittest

from bench import table
from bench.pairs import Pair
from bench.rows import Row, at_least, at_most, row_of_pair


def pair(noisy=False, **more):
    measured = {"rate": 650.0, "p99_us": 4_200, "tool_us": 4.4, "cpu_us": {"api": 6.0, "redis": 2.0, "worker": 0.5}, **more}
    return Pair({"rate": 1_000.0, "p99_us": 3_100, "tool_us": 4.1, "cpu_us": {"api": 4.5}}, measured, noisy)


class TableTest(unittest.TestCase):
    def test_a_bound_itself_keeps_the_goal(self):
        for goal, kept, broken in ((at_least(0.65), 0.65, 0.649), (at_most(5), 5, 5.01)):
            self.assertTrue(Row("k", "m", "a", kept, "", goal).is_met)
            self.assertFalse(Row("k", "m", "a", broken, "", goal).is_met)
        self.assertIsNone(Row("k", "m", "a", 1, "").is_met)

    def test_a_row_shows_both_sides(self):
        row = row_of_pair("granted/everysec/100", "granted orders", "100 connections", pair(), at_least(0.65))
        self.assertEqual(table.row(row), "| granted orders | 100 connections | 0.65 of null | ≥ 0.65 | yes | 650 (1,000) | "
                                         "4.20 (3.10) | 8.5: api 6.0, redis 2.0, worker 0.5 (4.5) | 4.4 (4.1) |  |")

    def test_what_went_wrong_is_said(self):
        row = row_of_pair("k", "m", "a", pair(noisy=True, errors=3, other=0, exhausted=1_200), at_least(0.7))
        self.assertEqual(row.remark, "disturbed; 3 connections that failed; 1,200 shoppers that came twice")
        self.assertIn("| **no** |", table.row(row))

    def test_every_line_has_the_columns_of_the_head(self):
        rows = [row_of_pair("k", "m", "a", pair(), at_least(1)), Row("k", "m", "a", 107.3, "bytes")]
        for changes in (None, "0.5 (+4 %)"):
            heads = table.head(changes is not None)
            for line in [*heads, *(table.row(row, changes) for row in rows)]:
                self.assertEqual(line.count("|"), heads[0].count("|"), line)

    def test_numbers_have_the_digits_that_tell_something(self):
        shown = {0: "0", 3: "3", 0.654: "0.65", 12.34: "12.3", 107.6: "108", 35_424.2: "35,424"}
        self.assertEqual({value: table.number(value) for value in shown}, shown)

    def test_the_summary_counts_judged_rows_and_names_the_missed(self):
        rows = [Row("a", "one", "x", 1, "", at_least(1)), Row("b", "two", "y", 2, "", at_most(1)), Row("c", "three", "z", 3, "")]
        self.assertEqual(table.summary(rows), "1 of 2 goals are met. Not: two, y.")
        self.assertEqual(table.summary(rows[:1]), "1 of 1 goals are met.")


if __name__ == "__main__":
    unittest.main()
