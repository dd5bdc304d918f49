# SPDX-License-Identifier: Apache-2.0
"""The containers that a command is told to do something with."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence

from cwl_udss.doors.docker.containers.ending import find
from cwl_udss.doors.docker.errors import UsageError, error_line
from cwl_udss.doors.docker.option import Option
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import Entry
from cwl_udss.errors import UdssError


def parse_names(
    session: Session, table: Sequence[Option], arguments: list[str]
) -> argparse.Namespace:
    """Parse options and the names of containers. Raises UsageError."""
    usage = f"{session.program.value} {session.command} [OPTIONS] CONTAINER [CONTAINER...]"
    parser = DoorParser(table, usage)
    parser.add_argument("names", nargs="*")
    return parser.parse(arguments)


def all_names(session: Session, options: argparse.Namespace) -> list[str]:
    """Return all names that are meant. Raises UsageError if there is none."""
    names = list(options.names)
    for path in getattr(options, "cidfile", None) or ():
        with contextlib.suppress(OSError), open(path, encoding="ascii") as stream:
            names.append(stream.read().strip())
    if getattr(options, "all", None):
        names += [entry.id for entry in session.table.all()]
    if not names:
        raise UsageError(f"{session.command!r} requires at least 1 argument")
    return names


def do_each(session: Session, names: Sequence[str], do: Callable[[Entry], None]) -> int:
    """Do something with each container, and print its name as it was given; what fails is said, and
    the others are done all the same."""
    code = 0
    for name in names:
        try:
            do(find(session, name))
            print(name)
        except UdssError as error:
            print(error_line(session.program, session.command, error), file=sys.stderr)
            code = 1
    return code
