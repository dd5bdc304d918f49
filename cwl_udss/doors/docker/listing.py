# SPDX-License-Identifier: Apache-2.0
"""The lists of options in docs/doors.md, made from the tables that the parsers are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cwl_udss.doors.docker import options as tables
from cwl_udss.doors.docker.option import Fate, Option
from cwl_udss.doors.docker.run_options import GLOBAL, RUN

COMMANDS: Sequence[tuple[str, Sequence[Option]]] = (
    ("before the command", GLOBAL),
    ("run, create", RUN),
    ("start", tables.START),
    ("exec", tables.EXEC),
    ("cp", tables.COPY),
    ("stop, restart", tables.STOP),
    ("kill", tables.KILL),
    ("rm", tables.REMOVE),
    ("container prune", tables.PRUNE),
    ("wait", tables.WAIT),
    ("ps", tables.PS),
    ("logs", tables.LOGS),
    ("stats", tables.STATS),
    ("inspect", tables.INSPECT),
    ("pull", tables.PULL),
    ("build", tables.BUILD),
    ("load", tables.LOAD),
    ("import", tables.IMPORT),
    ("save", tables.SAVE),
    ("images", tables.IMAGES),
    ("rmi", tables.RMI),
    ("image prune", tables.IMAGE_PRUNE),
    ("login", tables.LOGIN),
    ("logout", tables.LOGOUT),
    ("info, version", tables.INFO),
)


def docker_lists() -> str:
    """Return what podman and docker take, in Markdown: a table for each command."""
    return "\n".join(_command(name, options) for name, options in COMMANDS)


def _command(name: str, options: Iterable[Option]) -> str:
    lines = [f"#### {name}", "", "| option | | |", "| --- | --- | --- |"]
    for fate in Fate:
        found = [option for option in options if option.fate is fate]
        noted = [option for option in found if option.note]
        plain = [option for option in found if not option.note]
        if plain:
            lines.append(f"| {', '.join(map(_names, plain))} | {fate.value} | |")
        lines += [f"| {_names(option)} | {fate.value} | {option.note} |" for option in noted]
    return "\n".join([*lines, ""])


def _names(option: Option) -> str:
    return " ".join(f"`{name}`" for name in option.names)
