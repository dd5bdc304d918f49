# SPDX-License-Identifier: Apache-2.0
"""`podman exec`: another command in a container that runs."""

from __future__ import annotations

import argparse
import os
import sys

from cwl_udss.doors.container import Running
from cwl_udss.doors.docker.containers.ending import find
from cwl_udss.doors.docker.errors import NOT_FOUND, ContainerError
from cwl_udss.doors.docker.options import EXEC
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.requests.environment import given_variables
from cwl_udss.doors.docker.requests.users import inner_user
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import Entry, State, short
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.entering import enter
from cwl_udss.runtimes.namespace import command_process
from cwl_udss.sandbox import Ending, Streams


def execute(session: Session, arguments: list[str]) -> int:
    """Run a command in a container. Returns its exit code."""
    usage = f"{session.program.value} exec [OPTIONS] CONTAINER COMMAND [ARGUMENT...]"
    parser = DoorParser(EXEC, usage)
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse(arguments)
    entry = find(session, options.name)
    state = session.table.state(entry)
    if not state.is_running or state.first is None:
        raise ContainerError(f"container {entry.id} is not running")
    if not options.command:
        raise ContainerError("must provide a non-empty command to start an exec session")
    if not isinstance(session.runtime(), Bubblewrap):
        raise ContainerError("exec needs user namespaces and bubblewrap", "run it in the container")
    process = command_process(state.first, state.generations)
    if process is None:
        raise ContainerError(f"container {entry.id} is not running")
    _check_user(options, entry, state)
    if options.detach and os.fork():
        return 0
    given = given_variables(options.env or (), options.env_file or (), session.environment)
    started = enter(
        process,
        tuple(options.command),
        {**entry.environment, **given},
        options.workdir or entry.working_directory,
        _streams(options),
    )
    result = Running(started).wait()
    if result.ending is Ending.NOT_STARTED:
        print(f"Error: exec in {short(entry.id)}: not found (cwl-udss)", file=sys.stderr)
        return NOT_FOUND
    return result.exit_code


def _check_user(options: argparse.Namespace, entry: Entry, state: State) -> None:
    """Nobody else can be in a container than who is."""
    if not options.user or state.first is None or entry.user is None:
        return
    from pathlib import Path

    wanted = inner_user(options.user, "", Path(f"/proc/{state.first}/root"))
    if wanted[0] != entry.user[0]:
        raise ContainerError(
            f"the container runs as {entry.user[0]}, and nobody else can be in it",
            "leave out --user, or run the container with it",
        )


def _streams(options: argparse.Namespace) -> Streams:
    if options.detach:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        return Streams(stdin=None, stdout=nowhere, stderr=nowhere)
    return Streams(
        stdin=0 if options.interactive else None,
        stdout=1,
        stderr=2,
        hands_on_terminals=bool(options.tty),
    )
