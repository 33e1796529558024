"""The table of checkouts that were measured by turns."""

from benchmarks.beside import Figure, table


def test_ratios_are_over_the_slowest_checkout_under_the_same_actions():
    rates = {("this", "random"): 300.0, ("old", "random"): 200.0, ("this", "experts"): 50.0, ("old", "experts"): 100.0}
    measured = [Figure(name, "MT50", 1024, 2, kind, rate) for (name, kind), rate in rates.items()]
    _, _, *rows = table(measured)
    assert [row.split(" | ")[-1].removesuffix(" |") for row in rows] == ["1.50", "1.00", "1.00", "2.00"]
    assert rows[0].startswith("| this | MT50 | 1,024 | random | 300 |")
