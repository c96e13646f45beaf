"""Which of several pairs counts."""

import unittest

from bench.pairs import Pair, choose, with_cpu


def run(rate, tool_us):
    return {"rate": rate, "tool_us": tool_us, "requests": 1_000}


class PairsTest(unittest.TestCase):
    def test_the_best_of_the_quiet_pairs_counts(self):
        disturbed = Pair(run(100, 4.0), run(95, 5.0))
        quiet = [Pair(run(100, 4.0), run(rate, 4.3)) for rate in (60, 70, 65)]
        chosen = choose([disturbed, *quiet])
        self.assertEqual((chosen.measured["rate"], chosen.noisy), (70, False))
        self.assertAlmostEqual(chosen.ratio, 0.7)

    def test_a_load_that_differs_by_just_a_tenth_is_quiet(self):
        for tool_us, quiet in ((11.0, True), (9.0, True), (11.1, False), (8.9, False)):
            self.assertEqual(Pair(run(1, 10.0), run(1, tool_us)).is_quiet([]), quiet, tool_us)

    def test_sides_that_always_differ_are_compared_with_their_own_kind(self):
        usual = [Pair(run(100, 10.0), run(50, 14.0)), Pair(run(100, 10.5), run(55, 13.5))]
        disturbed = Pair(run(90, 10.2), run(60, 18.0))
        chosen = choose([disturbed, *usual])
        self.assertEqual((chosen.measured["rate"], chosen.noisy), (55, False))

    def test_what_makes_a_run_better_is_for_the_measure_to_say(self):
        pairs = [Pair({**run(100, 4.0), "p99_us": 500}, {**run(100, 4.0), "p99_us": p99_us}) for p99_us in (900, 700, 800)]
        self.assertEqual(choose(pairs, lambda run: 1 / run["p99_us"]).measured["p99_us"], 700)

    def test_a_pair_whose_null_handler_was_held_up_does_not_flatter(self):
        held_up, fair = Pair(run(60, 4.0), run(62, 4.0)), Pair(run(100, 4.0), run(61, 4.0))
        self.assertIs(choose([held_up, fair]), fair)

    def test_without_a_quiet_pair_the_least_disturbed_one_is_taken_and_marked(self):
        worse, better = Pair(run(100, 8.0), run(99, 12.0)), Pair(run(80, 5.0), run(50, 6.0))
        chosen = choose([worse, better])
        self.assertEqual((chosen.measured["rate"], chosen.noisy), (50, True))

    def test_cpu_is_taken_when_all_has_settled(self):
        class Server:
            spent = 0

            def cpu(self):
                return {"api": self.spent, "worker": 2 * self.spent}

        server = Server()

        def load():
            server.spent += 5_000
            return run(1, 1)

        def settle():
            server.spent += 1_000
            return 0.5
        result = with_cpu(server, load, settle)
        self.assertEqual((result["cpu_us"], result["settled_s"]), ({"api": 6.0, "worker": 12.0}, 0.5))


if __name__ == "__main__":
    unittest.main()
