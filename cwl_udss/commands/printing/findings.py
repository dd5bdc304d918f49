# SPDX-License-Identifier: Apache-2.0
"""What `cwl-udss doctor` has found, with what there is to be done first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import cwl_udss
from cwl_udss.commands.findings import Finding
from cwl_udss.commands.printing.tables import NARROW, print_table, printable, terminal_columns
from cwl_udss.errors import one_line
from cwl_udss.settings.setting import DEFAULT
from cwl_udss.settings.settings import Settings
from cwl_udss.settings.table import SETTINGS

_STATES = ("FAIL", "note", "ok")
_STYLES = {"FAIL": "bold red", "note": "yellow", "ok": "green"}


def print_findings(findings: Sequence[Finding], settings: Settings, *, as_json: bool) -> None:
    """Print all of them: to programs, to a person at a terminal, or to whoever reads a file."""
    if as_json:
        print(json.dumps(_facts(findings, settings), indent=2))
    elif (terminal_columns() or 0) < NARROW:
        print("\n".join(describe(findings)))
    else:
        ordered = in_order(findings)
        rows = [(found.state, found.subject, _text(found)) for found in ordered]
        print_table(("", "", ""), rows, [_STYLES[found.state] for found in ordered])


def describe(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines that are printed where there is no terminal: in columns."""
    width = max(len(finding.subject) for finding in findings) + 1
    for finding in in_order(findings):
        first, *others = printable(_text(finding)).split("\n")
        yield f"{finding.state:4}  {finding.subject + ':':{width}} {first}"
        yield from (f"{'':{width + 6}} {line}" for line in others)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Return first what there is to be done."""
    return sorted(findings, key=lambda finding: _STATES.index(finding.state))


def settings_given(settings: Settings) -> list[tuple[str, str, str]]:
    """Return those that are not at their defaults: name, value, and where that comes from."""
    return [
        (setting.name, setting.show(getattr(settings, setting.name)), origin)
        for setting in SETTINGS
        if (origin := settings.origins[setting.name]) != DEFAULT
    ]


def describe_settings(settings: Settings) -> str:
    """Return a line for each of them."""
    lines = [f"{name} = {value} ({origin})" for name, value, origin in settings_given(settings)]
    if not lines:
        return "all are at their defaults"
    return "\n".join(("all are at their defaults but", *map(one_line, lines)))


def _text(finding: Finding) -> str:
    return f"{finding.text}: {finding.advice}" if finding.advice else finding.text


def _facts(findings: Sequence[Finding], settings: Settings) -> dict[str, object]:
    return {
        "version": cwl_udss.__version__,
        "well": all(finding.well for finding in findings),
        "findings": [
            {
                "subject": finding.subject,
                "state": finding.state,
                "text": finding.text,
                "advice": finding.advice,
            }
            for finding in in_order(findings)
        ],
        "settings": {
            name: {"value": value, "origin": origin}
            for name, value, origin in settings_given(settings)
        },
    }
