# SPDX-License-Identifier: Apache-2.0
"""`podman cp`: files into containers, and out of them.

In a container that runs, paths are followed by a process in its namespaces, whatever its own do
meanwhile: links that they make lead nowhere else (CVE-2018-15664).
"""

from __future__ import annotations

import os
import posixpath
import sys
import tarfile
from collections.abc import Callable
from contextlib import contextmanager
from typing import IO, Any

from cwl_udss.doors.docker.containers.ending import find
from cwl_udss.doors.docker.containers.trees import THIS, receive, send
from cwl_udss.doors.docker.errors import ContainerError, Program, UsageError
from cwl_udss.doors.docker.images.lookup import find_by_id, node_images
from cwl_udss.doors.docker.options import COPY
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.mounts import is_within
from cwl_udss.doors.table import CREATED, Entry, State
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.images.dockerfiles.changes import inside
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.enter_sandbox import enter_namespaces
from cwl_udss.runtimes.namespace import command_process

_STREAM = "-"
_SHORT = 500


def copy(session: Session, arguments: list[str]) -> int:
    """Copy from a container to here, or from here into a container."""
    parser = DoorParser(COPY, f"{session.program.value} cp [OPTIONS] SOURCE DESTINATION")
    parser.add_argument("source")
    parser.add_argument("destination")
    options = parser.parse(arguments)
    follows = bool(options.follow_link) or session.program is Program.PODMAN
    source, destination = map(_place, (options.source, options.destination))
    if source[0] and destination[0]:
        raise UsageError("copying between containers is not supported", "copy to here first")
    if not (source[0] or destination[0]):
        raise UsageError("one of the two must be in a container", "write CONTAINER:PATH")
    if source[0]:
        _copy_out(session, find(session, source[0]), source[1], destination[1], follows=follows)
    else:
        _copy_in(session, find(session, destination[0]), source[1], destination[1], follows=follows)
    return 0


def _place(text: str) -> tuple[str, str]:
    """A container and a path in it; the former is empty for a path of this machine."""
    name, sign, path = text.partition(":")
    if not sign or "/" in name or name.startswith("."):
        return "", text
    return name, path if path.startswith("/") else f"/{path}"


def _copy_out(
    session: Session, entry: Entry, path: str, destination: str, *, follows: bool
) -> None:
    def take(stream: IO[bytes]) -> None:
        if destination == _STREAM:
            while block := stream.read(1 << 16):
                sys.stdout.buffer.write(block)
            sys.stdout.flush()
        else:
            receive(stream, os.path.abspath(destination) + "/" * destination.endswith("/"))

    state = session.table.state(entry)
    if state.is_running:
        enter = _entering(session, entry, state)
        _flow(lambda stream: send(path, stream, follows=follows), take, enter, sends=True)
        return
    with _still(session, entry, state, path) as place:
        _flow(lambda stream: send(place, stream, follows=False), take, None, sends=True)


def _copy_in(session: Session, entry: Entry, source: str, path: str, *, follows: bool) -> None:
    def give(stream: IO[bytes]) -> None:
        if source == _STREAM:
            while block := sys.stdin.buffer.read(1 << 16):
                stream.write(block)
        else:
            send(source, stream, follows=follows)

    state = session.table.state(entry)
    if not state.is_running:
        raise ContainerError(
            f"container {entry.id} is not running, so that nothing can be written in it",
            "start it before, or mount what it is to have",
        )
    enter = _entering(session, entry, state)
    _flow(lambda stream: receive(stream, path, is_listing=source == _STREAM), give, enter)


def _entering(session: Session, entry: Entry, state: State) -> Callable[[], None]:
    process = None
    if state.first is not None:
        process = command_process(state.first, state.generations)
    if process is None:
        raise ContainerError(f"container {entry.id} is not running")
    if not isinstance(session.runtime(), Bubblewrap):
        raise ContainerError("cp needs user namespaces and bubblewrap", "mount a directory instead")
    return lambda: enter_namespaces(process)


@contextmanager
def _still(session: Session, entry: Entry, state: State, path: str) -> Any:
    """Where this machine has a path of a container that does not run."""
    ending = f"/{THIS}" if path.endswith(f"/{THIS}") else ""
    for mount in sorted(entry.mounts, key=lambda one: -len(one["Destination"])):
        if is_within(path, [mount["Destination"]]):
            below = posixpath.normpath(path)[len(mount["Destination"].rstrip("/")) :]
            yield inside(mount["Source"], below).rstrip("/") + ending
            return
    image = find_by_id(session.store.images(), entry.digest)
    if state.status != CREATED or image is None:
        raise ContainerError(
            f"container {entry.id} has ended, and what it had written has gone with it",
            "copy while it runs, or have it write in a directory that is mounted",
        )
    with node_images(session) as node:
        yield inside(str(node.root(image).here), path).rstrip("/") + ending


def _flow(
    there: Callable[[IO[bytes]], None],
    here: Callable[[IO[bytes]], None],
    enter: Callable[[], None] | None,
    *,
    sends: bool = False,
) -> None:
    """Have a process in a container do its side of it, and this one the other. Raises
    ContainerError."""
    reading, writing = os.pipe()
    wrong, told = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading if sends else writing)
        _be_there(there, enter, writing if sends else reading, told, "wb" if sends else "rb")
    os.close(writing if sends else reading)
    os.close(told)
    problem: Exception | None = None
    try:
        with open(reading if sends else writing, "rb" if sends else "wb") as stream:
            here(stream)
    except (OSError, ContainerError, tarfile.TarError) as error:
        problem = error
    with open(wrong, "rb") as stream:
        said = os.fsdecode(stream.read(_SHORT))
    os.waitpid(child, 0)
    if isinstance(problem, OSError) and not isinstance(problem, BrokenPipeError):
        raise ContainerError(system_words(problem)) from problem
    if said:  # whatever this side makes of that
        raise ContainerError(said)
    if problem is not None:
        raise problem


def _be_there(
    there: Callable[[IO[bytes]], None],
    enter: Callable[[], None] | None,
    descriptor: int,
    told: int,
    mode: str,
) -> None:
    """Be the side in the container. Nothing may be imported there, and nobody wait for it."""
    try:
        if enter is not None:
            enter()
        with open(descriptor, mode) as stream:
            there(stream)
    except BaseException as error:  # noqa: BLE001 - nothing of this program goes on in there
        words = error.problem if isinstance(error, ContainerError) else _words_of(error)
        os.write(told, os.fsencode(words)[:_SHORT])
    finally:
        os._exit(0)


def _words_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename or '')}: {error.strerror}".removeprefix(": ")
    return str(error) or type(error).__name__
