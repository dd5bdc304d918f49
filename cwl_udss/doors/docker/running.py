# SPDX-License-Identifier: Apache-2.0
"""`podman run`: a container from its beginning to its end."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cwl_udss.doors.container import sandbox_of, start
from cwl_udss.doors.docker.errors import (
    NOT_FOUND,
    ContainerError,
    UsageError,
)
from cwl_udss.doors.docker.options import RUN
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.request import requested_container
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import Entry, new_id, running
from cwl_udss.files.scratch import temporary_directory
from cwl_udss.images.pull import When
from cwl_udss.images.request import ImageRequest
from cwl_udss.sandbox import Ending, Result, Sandbox, Streams
from cwl_udss.steps.shared import Steps
from cwl_udss.surroundings.programs import why_not_executed

_PULLS = {
    "": When.MISSING,
    "missing": When.MISSING,
    "always": When.ALWAYS,
    "newer": When.ALWAYS,
    "never": When.NEVER,
    "true": When.ALWAYS,
    "false": When.MISSING,
}


def run(session: Session, arguments: list[str]) -> int:
    """Run a container. Returns the exit code."""
    options = parse(session, arguments)
    return run_here(session, options, new_entry(session, options, arguments))


def parse(session: Session, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of `run` or `create`. Raises UsageError."""
    usage = f"{session.program.value} {session.command} [OPTIONS] IMAGE [COMMAND [ARGUMENT...]]"
    parser = DoorParser(RUN, usage)
    parser.add_argument("image")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse(arguments)


def new_entry(session: Session, options: argparse.Namespace, arguments: list[str]) -> Entry:
    """Return what the table is to know of a container before it runs."""
    id = new_id()
    return Entry(
        id=id,
        name=options.name or f"udss-{id[:12]}",
        image=options.image,
        digest="",
        command=tuple(options.arguments),
        created=time.time(),
        labels=dict(label.partition("=")[::2] for label in options.label or ()),
        remove=bool(options.rm),
        detached=bool(options.detach),
        arguments=tuple(arguments),
        stop_signal=options.stop_signal or "TERM",
        stop_seconds=float(options.stop_timeout or 10),
    )


def run_here(session: Session, options: argparse.Namespace, entry: Entry) -> int:
    """Run a container to its end, in this process. Returns the exit code."""
    when = _PULLS.get(options.pull or "")
    if when is None:
        raise UsageError(f"unsupported pull policy {options.pull!r}")
    with (
        Steps(session.settings, session.environment, session.home, when, session.runtime) as steps,
        temporary_directory(session.settings.scratch, session.environment) as temporary,
    ):
        image = steps.image(ImageRequest(pull=options.image))
        root = steps.root(image)
        container = requested_container(
            options,
            image.config,
            root,
            id=entry.id,
            program=session.program,
            environment=session.environment,
        )
        sandbox = sandbox_of(container, root, temporary, steps.runtime())
        entry = replace(entry, digest=image.digest, command=container.command)
        with _in_table(session, options, entry):
            running_one = start(sandbox, steps.runtime(), _streams(options))
            session.table.set_state(entry.id, running(running_one.first()))
            result = running_one.wait()
            return _exit_code(sandbox, result, entry)


@contextlib.contextmanager
def _in_table(session: Session, options: argparse.Namespace, entry: Entry) -> Iterator[None]:
    if options.cidfile and os.path.lexists(options.cidfile):
        raise ContainerError(f"container ID file {options.cidfile} exists", "remove it")
    session.table.add(entry)
    try:
        if options.cidfile:
            Path(options.cidfile).write_text(entry.id)
        yield
    finally:
        session.table.remove(entry)


def _streams(options: argparse.Namespace) -> Streams:
    attached = {name.lower() for name in options.attach or ()}
    takes_input = options.interactive and (not attached or "stdin" in attached)
    return Streams(
        stdin=0 if takes_input else None,
        stdout=1,
        stderr=2,
        hands_on_terminals=bool(options.tty),
    )


def _exit_code(sandbox: Sandbox, result: Result, entry: Entry) -> int:
    if result.ending is not Ending.NOT_STARTED:
        return result.exit_code
    reason = why_not_executed(sandbox, result)
    print(f"Error: {sandbox.command[0]!r}: {reason} (cwl-udss)", file=sys.stderr)
    return NOT_FOUND
