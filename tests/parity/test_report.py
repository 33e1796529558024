"""The table of parity's figures."""

from __future__ import annotations

from mjx_metaworld.parity.report import Largest, Row, Sampling, Spread, largest_markdown, markdown

LARGEST = Largest(Spread(5e-5, 2e-4), Spread(3e-8, 6e-8), Spread(4e-5, 3e-4), Spread(2e-7, 1e-6))
OF_RANDOM = Largest(Spread(6e-5, 7e-4), Spread(1e-8, 9e-8), Spread(2e-5, 8e-4), Spread(3e-7, 4e-6))
STEPS = (1e-9, 2e-7, 1e-7, 3e-5, 1e-6, 1e-7, 4e-5, LARGEST, OF_RANDOM)
ROWS = [Row("reach-v3", *STEPS, 1.0, 0.9, 1800.0, 1700.0), Row("push-v3", *STEPS, 0.5, 0.7, 1000.0, 1100.0)]


def test_table_has_a_line_a_task_and_the_means():
    table = markdown(Sampling("MT10"), ROWS).splitlines()
    assert len({line.count("|") for line in table[:5]}) == 1  # head, rule, two tasks, means: equally many cells
    expert, random = "1e-07 | 3e-05 | 5e-05 | 2e-04", "1e-07 | 4e-05 | 6e-05 | 7e-04"
    assert f"| reach-v3 | 1e-09 | 2e-07 | {expert} | {random} | 100% | 90% | 1800 | 1700 |" in table
    assert "75.0% | 80.0% | 1400 | 1400" in table[4]


def test_worst_entries_stand_beside_the_references_own_scatter():
    table = largest_markdown(Sampling("MT10"), ROWS).splitlines()
    assert len({line.count("|") for line in table[:4]}) == 1
    expert = "5e-05, 2e-04 | 3e-08, 6e-08 | 4e-05, 3e-04 | 2e-07, 1e-06"
    random = "6e-05, 7e-04 | 1e-08, 9e-08 | 2e-05, 8e-04 | 3e-07, 4e-06"
    assert f"| push-v3 | {expert} | {random} |" in table
    assert "1e-10 m in place of 1e-6 m" in table[5]
