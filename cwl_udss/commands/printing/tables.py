# SPDX-License-Identifier: Apache-2.0
"""Tables for people at a terminal; what others have named has no say over it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from cwl_udss.errors import one_line

NARROW = 60
"""Below so many columns nobody can read a table."""


def printable(text: str) -> str:
    """Return a text of one or more lines without control codes."""
    return "\n".join(map(one_line, text.split("\n")))


def terminal_columns() -> int | None:
    """Return how wide the terminal is to which is printed; None if it is none. FORCE_COLOR, which
    makes terminals of files for others, has no say."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return None
    return shutil.get_terminal_size().columns


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()
) -> None:
    """Print a table with what is in its columns folded to the width of the terminal; the first
    column may have a style in each row. Without titles none are printed."""
    # Most commands print no table.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=any(titles), header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        first, *others = map(printable, row)
        table.add_row(Text(first, style=style), *map(Text, others))
    Console(highlight=False).print(table)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, with what is in a column below each other, however long."""
    plain = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in plain
    ]
