# SPDX-License-Identifier: Apache-2.0
"""`udocker run`: a command in an image, as Docker has it, with the machine's network."""

from __future__ import annotations

import contextlib
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cwl_udss.doors.apptainer.command_line.parser import Given
from cwl_udss.doors.apptainer.session import Session
from cwl_udss.doors.container import PRIVATE_DIRECTORIES, Container, sandbox_of, start
from cwl_udss.errors import UdssError
from cwl_udss.files.scratch import temporary_directory
from cwl_udss.images.manifests.command import image_environment
from cwl_udss.images.manifests.manifest import ImageConfig
from cwl_udss.images.request import ImageRequest
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.sandbox import Bind, Ending, RootFilesystem, Streams
from cwl_udss.steps.shared import Steps
from cwl_udss.surroundings.programs import has_directory, why_not_executed

_EXIT_NOT_FOUND = 2  # of udocker's engines
_SHELL = ("/bin/sh",)
_TAKEN = ("//", "/dev/", "/proc/", "/sys/")
_ROOT_NAMES = ("root", "0")
_HOME = "/root"  # of whom udocker has commands be


def run_in(
    request: ImageRequest, words: Sequence[str], given: Given, session: Session, steps: Steps
) -> int:
    """Run a command in an image to its end. Returns its exit code. Raises UdssError."""
    _check_user(given.value("user"))
    image = steps.image(request)
    root = steps.root(image)
    container = _container(image.config, words, given, session)
    return steps.with_runtime(lambda runtime: _run(container, root, runtime, session))


def _run(
    container: Container, root: RootFilesystem, runtime: PipedRuntime, session: Session
) -> int:
    with temporary_directory(session.settings.scratch, session.environment) as directory:
        sandbox = sandbox_of(container, root, directory, runtime)
        if not has_directory(sandbox, sandbox.working_directory):
            raise UdssError(f"invalid working directory: {sandbox.working_directory}", "mount one")
        streams = Streams(stdin=0, stdout=1, stderr=2, hands_on_terminals=True)
        result = start(sandbox, runtime, streams).wait()
        if result.ending is not Ending.NOT_STARTED:
            return result.exit_code
        reason = why_not_executed(sandbox, result)
    raise CommandNotFound(
        f"command not found or has no execute bit set: {sandbox.command[0]}", reason
    )


class CommandNotFound(UdssError):
    """The image has no such program."""

    exit_code = _EXIT_NOT_FOUND


def _container(
    config: ImageConfig, words: Sequence[str], given: Given, session: Session
) -> Container:
    environment = environment_of(config, given, session.environment)
    home = environment["HOME"]
    binds = tuple(_volume(text) for text in given.list("volume"))
    if given.flag("bindhome"):
        own = str(session.home)
        binds = (Bind(source=own, destination=own, writable=True), *binds)
    is_usual = not f"{home}/".startswith(_TAKEN)
    return Container(
        command=command_of(config, words, given),
        environment=environment,
        working_directory=given.value("workdir") or config.working_directory or "/",
        home=home,
        binds=binds,
        private_directories=(*PRIVATE_DIRECTORIES, *([home] if is_usual else [])),
        user=None if given.value("user") else (0, 0),
        network="network" not in session.settings.door_hide,
    )


def environment_of(config: ImageConfig, given: Given, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: the image's, and what the caller gives it. Raises
    UdssError."""
    found = dict(caller) if given.flag("hostenv") else {}
    if not given.flag("nometa"):
        found |= image_environment(config)
    found["HOME"] = _HOME
    for name in given.list("env-file"):
        try:
            lines = Path(name).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise UdssError(f"{name} cannot be read: {error.strerror}") from error
        found |= dict(_assignments(lines, caller))
    return {**found, **dict(_assignments(given.list("env"), caller))}


def _assignments(lines: Sequence[str], caller: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is set; a name alone is the caller's variable."""
    for line in lines:
        name, separator, value = line.partition("=")
        if not name or name.startswith("#"):
            continue
        if separator or name in caller:
            yield name, value if separator else caller[name]


def command_of(config: ImageConfig, words: Sequence[str], given: Given) -> tuple[str, ...]:
    """Return what is executed, as Docker has it."""
    if given.flag("nometa"):
        return tuple(words) or _SHELL
    entrypoint, default = config.entrypoint, config.command
    if given.options.get("entrypoint") is not None:  # "" is none
        entrypoint, default = tuple(given.value("entrypoint").split()), ()
    return (*entrypoint, *(words or default)) or _SHELL


def _volume(text: str) -> Bind:
    source, _, rest = text.partition(":")
    destination, _, mode = rest.partition(":")
    found = os.path.abspath(source)
    if not source or not os.path.exists(found):
        raise UdssError(f"invalid host volume path: {source or repr(text)}", "make it before")
    destination = destination or found
    if not destination.startswith("/"):
        raise UdssError(f"invalid container volume path: {destination}", "begin it with /")
    is_writable = "ro" not in mode.split(",")
    return Bind(source=found, destination=posixpath.normpath(destination), writable=is_writable)


def _check_user(user: str) -> None:
    """Raise UdssError for who the command cannot be: it is its caller, whatever it is called."""
    name, _, _ = user.partition(":")
    if name in ("", *_ROOT_NAMES, str(os.getuid())):
        return
    with contextlib.suppress(KeyError):
        import pwd

        if pwd.getpwnam(name).pw_uid == os.getuid():
            return
    raise UdssError(f"cwl-udss cannot be the user {name}", "leave --user out")
