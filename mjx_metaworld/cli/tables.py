"""Tables of figures for a terminal of any width: no figure is cut off, names that are too long go on below."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

_FRAME, _COLUMN = 1, 3  # characters of a table's border, and of each column's border and padding
_HEADING = 12  # characters of a heading that may stand side by side, where the cells below are shorter

# Below a mean of several tasks.
OVER_TASKS = "Each task counts alike in a mean; that of returns mixes the tasks' scales of reward."


def figure_table(
    names: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None = None,
    sections: Collection[int] = (),
    caption: str | None = None,
) -> Table:
    """A column of names, which may be broken anywhere, and columns of figures, which are not broken.

    Args:
        names: heading of the names.
        headings: of the figures, with line breaks where they are to be broken.
        rows: a name and its figures each.
        title: above the table.
        sections: the rows that a rule stands above.
        caption: below the table.
    """
    is_tall = any("\n" in cell for row in rows for cell in row)
    table = Table(
        title=None if title is None else escape(title), caption=caption, caption_justify="left", show_lines=is_tall
    )
    table.add_column(names, overflow="fold")
    for heading in headings:
        table.add_column(Text(heading), justify="right", no_wrap=True)  # as a text a label's brackets mean nothing
    for number, row in enumerate(rows):
        if number in sections:
            table.add_section()
        table.add_row(*map(Text, row))
    return table


def divided_tables(
    width: int, names: str, headings: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None
) -> Iterator[Table]:
    """Tables of as many columns as there is room for, one below the other; the first has the title.

    Args:
        width: characters that there is room for.
        names: heading of the names, which each table begins with.
        headings: of the figures, broken where they are much longer than these.
        rows: a name and its figures each.
        title: above the first table.
    """
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    cells = [max(map(_width, column)) for column in columns]
    broken = [_broken(heading, max(cell, _HEADING)) for heading, cell in zip(headings, cells, strict=True)]
    widths = [max(cell, _width(heading)) + _COLUMN for heading, cell in zip(broken, cells, strict=True)]
    named = min(max(_width(row[0]) for row in rows), 2 * width // 5) + _COLUMN + _FRAME
    first = 0
    while first < len(headings):
        last = first + 1
        while last < len(headings) and named + sum(widths[first : last + 1]) <= width:
            last += 1
        shown = [(row[0], *row[1 + first : 1 + last]) for row in rows]
        yield figure_table(names, broken[first:last], shown, title if first == 0 else None)
        first = last


def mean_of(count: int, where: str = "") -> str:
    """Name of the row that holds the mean over tasks."""
    return f"mean of {count} tasks{where}"


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def _broken(heading: str, width: int) -> str:
    """A heading with line breaks, so that it is no wider."""
    lines = (textwrap.wrap(line, width, break_on_hyphens=False) for line in heading.split("\n"))
    return "\n".join("\n".join(parts) for parts in lines)
