# SPDX-License-Identifier: Apache-2.0
"""What becomes of options, for those who type them and for docs/apptainer.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cwl_udss.doors.apptainer.command_line.option import Kind, Option, Treatment

_TITLES = {
    Treatment.HONOURED: "done",
    Treatment.IGNORED: "accepted, and changes nothing",
    Treatment.WARNED: "accepted, and a warning says that it is not kept",
    Treatment.REFUSED: "refused",
}


def help_lines(options: Iterable[Option]) -> Iterator[str]:
    """Yield a line for each option."""
    for option in options:
        names = f"{f'-{option.short}, ' if option.short else '    '}--{option.name}"
        value = "" if option.kind is Kind.FLAG else " VALUE"
        note = f"{_TITLES[option.treatment]}: {option.reason}" if option.reason else ""
        yield f"  {names + value:<36} {note}".rstrip()


def table_rows(options: Iterable[Option]) -> Iterator[str]:
    """Yield the rows of a table in Markdown: what becomes of options, and why."""
    groups: dict[Treatment, dict[str, list[str]]] = {treatment: {} for treatment in _TITLES}
    for option in options:
        short = f" `-{option.short}`" if option.short else ""
        groups[option.treatment].setdefault(option.reason, []).append(f"`--{option.name}`{short}")
    for treatment, reasons in groups.items():
        parts = (
            f"{', '.join(names)}{f' ({reason})' if reason else ''}"
            for reason, names in reasons.items()
        )
        if reasons:
            yield f"| {_TITLES[treatment]} | {'; '.join(parts)} |"
