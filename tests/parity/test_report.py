"""The table of parity's figures."""

from __future__ import annotations

from mjx_metaworld.parity.report import Row, Sampling, markdown


def test_table_has_a_line_a_task_and_the_means():
    rows = [
        Row("reach-v3", 1e-9, 2e-7, 1e-7, 3e-5, 1e-6, 1e-7, 4e-5, 1.0, 0.9, 1800.0, 1700.0),
        Row("push-v3", 1e-9, 2e-7, 1e-7, 3e-5, 1e-6, 1e-7, 4e-5, 0.5, 0.7, 1000.0, 1100.0),
    ]
    table = markdown(Sampling("MT10"), rows).splitlines()
    assert len({line.count("|") for line in table[:5]}) == 1  # head, rule, two tasks, means: equally many cells
    assert "| reach-v3 | 1e-09 | 2e-07 | 1e-07 | 3e-05 | 1e-07 | 4e-05 | 100% | 90% | 1800 | 1700 |" in table
    assert "75.0% | 80.0% | 1400 | 1400" in table[4]
