# SPDX-License-Identifier: Apache-2.0
"""`podman run`, `create` and `start`: what is asked for, and who waits for it."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace

from cwl_udss.doors.docker.containers.detaching import run_detached
from cwl_udss.doors.docker.containers.ending import end, find
from cwl_udss.doors.docker.containers.naming import all_names, parse_names
from cwl_udss.doors.docker.containers.running import in_table, run_here
from cwl_udss.doors.docker.errors import UsageError
from cwl_udss.doors.docker.images.lookup import wanted_image
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.run_options import RUN
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import CREATED, Entry, State, new_id
from cwl_udss.sandbox import Streams


def run(session: Session, arguments: list[str]) -> int:
    """Run a container. Returns the exit code."""
    options = _parse(session, arguments)
    entry = _new_entry(options, arguments)
    if options.detach:
        return run_detached(session, options, entry)
    return run_here(session, options, entry, _streams(options))


def create(session: Session, arguments: list[str]) -> int:
    """Have a container in the table that `start` runs."""
    options = _parse(session, arguments)
    entry = _new_entry(options, arguments)
    digest = wanted_image(session, options).digest
    with in_table(session, options, replace(entry, digest=digest, remove=False)):
        session.table.set_state(entry.id, State(status=CREATED))
    print(entry.id)
    return 0


def start(session: Session, arguments: list[str]) -> int:
    """Run containers that were created, or have ended: each anew, from its image."""
    from cwl_udss.doors.docker.options import START

    options = parse_names(session, START, arguments)
    code = 0
    for name in all_names(session, options):
        entry = find(session, name)
        if session.table.state(entry).is_running:
            print(name)
            continue
        asked = _parse(session, list(entry.arguments))
        asked.replace, asked.cidfile = None, None
        if asked.interactive and not options.attach and not options.interactive:
            asked.detach = True
        session.table.remove(entry)
        if options.attach or options.interactive:
            asked.interactive = options.interactive
            code = run_here(session, asked, entry, _streams(asked))
        else:
            code = run_detached(session, asked, entry, shown=name) or code
    return code


def restart(session: Session, arguments: list[str]) -> int:
    """Have containers end, and run anew."""
    from cwl_udss.doors.docker.options import STOP

    options = parse_names(session, STOP, arguments)
    for name in all_names(session, options):
        entry = find(session, name)
        end(session, entry, entry.stop_seconds)
    return start(session, list(options.names))


def _parse(session: Session, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments of `run` or `create`. Raises UsageError."""
    usage = f"{session.program.value} {session.command} [OPTIONS] IMAGE [COMMAND [ARGUMENT...]]"
    parser = DoorParser(RUN, usage)
    parser.add_argument("image")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse(arguments)


def _new_entry(options: argparse.Namespace, arguments: list[str]) -> Entry:
    """Return what the table is to know of a container before it runs."""
    id = new_id()
    try:
        stop_seconds = float(options.stop_timeout or 10)
    except ValueError as error:
        raise UsageError(f"--stop-timeout {options.stop_timeout!r} is no number") from error
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
        stop_seconds=stop_seconds,
    )


def _streams(options: argparse.Namespace) -> Streams:
    """Return the streams of a container that its caller waits for."""
    attached = {name.lower() for name in options.attach or ()}
    takes_input = options.interactive and (not attached or "stdin" in attached)
    outputs = [
        number if not attached or name in attached else os.open(os.devnull, os.O_WRONLY)
        for number, name in ((1, "stdout"), (2, "stderr"))
    ]
    return Streams(
        stdin=0 if takes_input else None,
        stdout=outputs[0],
        stderr=outputs[1],
        hands_on_terminals=bool(options.tty),
    )
