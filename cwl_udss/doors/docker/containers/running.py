# SPDX-License-Identifier: Apache-2.0
"""`podman run`: a container from its beginning to its end."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cwl_udss.doors.container import Container, sandbox_of, start
from cwl_udss.doors.docker.containers.ending import end
from cwl_udss.doors.docker.errors import NOT_EXECUTABLE, NOT_FOUND, ContainerError
from cwl_udss.doors.docker.images.lookup import node_images, wanted_image
from cwl_udss.doors.docker.requests.request import requested_container
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import EXITED, Entry, State, running
from cwl_udss.errors import SandboxError
from cwl_udss.files.scratch import temporary_directory
from cwl_udss.sandbox import Ending, Result, Sandbox, Streams

Started = Callable[[], None]


def run_here(
    session: Session,
    options: argparse.Namespace,
    entry: Entry,
    streams: Streams,
    started: Started = lambda: None,
) -> int:
    """Run a container to its end, in this process. `started` is called when it runs. Returns the
    exit code."""
    try:
        return _run(session, options, entry, streams, started)
    except SandboxError:
        # What made sandboxes when it was tried may not do so any more.
        if not session.finder.forget():
            raise
    return _run(session, options, entry, streams, started)


def _run(
    session: Session,
    options: argparse.Namespace,
    entry: Entry,
    streams: Streams,
    started: Started,
) -> int:
    image = wanted_image(session, options)
    with (
        node_images(session) as node,
        temporary_directory(session.settings.scratch, session.environment) as temporary,
    ):
        root = node.root(image)
        container = requested_container(
            options,
            image.config,
            root,
            id=entry.id,
            program=session.program,
            environment=session.environment,
        )
        runtime = session.runtime()
        sandbox = sandbox_of(container, root, temporary, runtime)
        entry = _with_container(replace(entry, digest=image.digest), container)
        with in_table(session, options, entry):
            state = State(status=EXITED, exit_code=NOT_FOUND, finished=time.time())
            try:
                process = start(sandbox, runtime, streams)
                state = running(process.first())
                session.table.set_state(entry.id, state)
                started()
                result = process.wait()
                code = _exit_code(sandbox, result, streams)
                is_over = result.ending is Ending.MEMORY_LIMIT
                state = replace(state, status=EXITED, exit_code=code, is_over_memory=is_over)
                state = replace(state, finished=time.time())
                return code
            finally:
                if not entry.remove:
                    done = state if state.status == EXITED else replace(state, status=EXITED)
                    with contextlib.suppress(OSError):  # it was removed meanwhile
                        session.table.set_state(entry.id, done)


def _with_container(entry: Entry, container: Container) -> Entry:
    mounts: list[dict[str, Any]] = [
        {
            "Type": "bind",
            "Source": bind.source,
            "Destination": bind.destination,
            "Mode": "" if bind.writable else "ro",
            "RW": bind.writable,
            "Propagation": "rprivate",
        }
        for bind in container.binds
    ]
    return replace(
        entry,
        command=container.command,
        mounts=tuple(mounts),
        network=container.network,
        environment=dict(container.environment),
        working_directory=container.working_directory,
        user=container.user,
    )


@contextlib.contextmanager
def in_table(session: Session, options: argparse.Namespace, entry: Entry) -> Iterator[None]:
    """Have a container in the table, and there until it is removed if it is not to go by itself."""
    if options.cidfile and os.path.lexists(options.cidfile):
        raise ContainerError(f"container ID file {options.cidfile} exists", "remove it")
    if options.replace:
        old = session.table.find(entry.name)
        if old is not None and old.name == entry.name:
            end(session, old, 0)
            session.table.remove(old)
    session.table.add(entry)
    try:
        if options.cidfile:
            Path(options.cidfile).write_text(entry.id)
        yield
    except SandboxError:
        session.table.remove(entry)
        if options.cidfile:
            Path(options.cidfile).unlink(missing_ok=True)
        raise
    finally:
        if entry.remove:
            session.table.remove(entry)


def _exit_code(sandbox: Sandbox, result: Result, streams: Streams) -> int:
    """The command's, or why it could not be executed (podman-run(1), "Exit Status")."""
    if result.ending is Ending.MEMORY_LIMIT:
        _say(streams, "Error: the container has had more memory than --memory, and was killed")
    if result.ending is not Ending.NOT_STARTED:
        return result.exit_code
    from cwl_udss.surroundings.programs import is_executable_missing, why_not_executed

    name, reason = sandbox.command[0], why_not_executed(sandbox, result)
    is_missing = is_executable_missing(sandbox)
    words = "executable file not found in $PATH" if is_missing else "permission denied"
    _say(streams, f'Error: exec: "{name}": {words}: {reason}')
    return NOT_FOUND if is_missing else NOT_EXECUTABLE


def _say(streams: Streams, line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(streams.stderr, f"{line} (cwl-udss)\n".encode(errors="surrogateescape"))
