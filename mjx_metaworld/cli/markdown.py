"""Tables in Markdown files that commands write, so that no number is ever typed by hand."""

from __future__ import annotations

import re
from pathlib import Path


def rewrite_section(path: Path, name: str, markdown: str) -> None:
    """Replace what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->` in a Markdown file.

    Args:
        path: the file.
        name: of the section.
        markdown: its new content, without the markers.

    Raises:
        ValueError: if the file does not have the two markers, once each and in this order.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = _markers(path, name, text)
    pattern = re.compile(f"({re.escape(begin)}).*({re.escape(end)})", re.DOTALL)
    path.write_text(pattern.sub(lambda m: f"{m[1]}\n{markdown.strip()}\n{m[2]}", text), encoding="utf-8")


def read_table(markdown: str) -> tuple[list[str], list[list[str]], str]:
    """Headings of a table in Markdown, cells of its rows, and the text that follows it."""
    lines = markdown.split("\n")
    cells = [[cell.strip(" *") for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    return cells[0], cells[2:], "\n".join(lines[len(cells) :]).strip()


def check_section(path: Path, name: str) -> None:
    """Check that `rewrite_section` will find its place, before anything is computed for it.

    Raises:
        ValueError: if there is no such file, or it does not have the two markers, once each and in this order.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    _markers(path, name, path.read_text(encoding="utf-8"))


def _markers(path: Path, name: str, text: str) -> tuple[str, str]:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{path} needs one {begin} followed by one {end}")
    return begin, end
