# SPDX-License-Identifier: Apache-2.0
"""`apptainer exec`, `run`, `shell` and `test`: a command in an image."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cwl_udss.doors.apptainer.command_line.parser import Given, split_assignments, split_values
from cwl_udss.doors.apptainer.running.environment import (
    Variables,
    file_variables,
    variables_of,
    whole_environment,
)
from cwl_udss.doors.apptainer.running.images import FoundImage, find_image
from cwl_udss.doors.apptainer.running.scripts import (
    SCRIPTS,
    Action,
    wrapped_command,
    wrapped_environment,
)
from cwl_udss.doors.apptainer.running.view import Caller, View, view_of
from cwl_udss.doors.apptainer.session import Session
from cwl_udss.doors.apptainer.words import not_found
from cwl_udss.doors.container import can_write_root, start
from cwl_udss.doors.mounts import along_links, is_within
from cwl_udss.errors import UdssError
from cwl_udss.files.scratch import temporary_directory
from cwl_udss.images.manifests.command import DEFAULT_PATH
from cwl_udss.records import record
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.operations import SHARED_MEMORY
from cwl_udss.runtimes.starting import PipedRuntime
from cwl_udss.sandbox import Bind, Ending, Result, RootFilesystem, Sandbox, Streams
from cwl_udss.surroundings.identity import identity_files

_logger = logging.getLogger(__name__)

# What only a shell does.
_OF_SHELLS = (Action.SHELL, Action.TEST, Action.START)


@record(frozen=True, kw_only=True)
class Request:
    """What a command line asks for."""

    action: Action
    image: str
    words: tuple[str, ...]
    view: View
    variables: Variables
    host_name: str
    is_root: bool
    """Whether the command is to believe so."""
    writes_root: bool
    """Whether it is to write over the image, into memory."""


def request_of(
    action: Action, given: Given, session: Session, named: tuple[str, ...] = ()
) -> Request:
    """Return what a command line asks for; `named` are an image and words, if they are others than
    those typed. Raises UdssError."""
    image, *words = named or given.words
    if action is Action.SHELL and words:
        _logger.warning("Parameters to shell command are ignored")
        words = []
    view = view_of(given, caller(session))
    clean = any(given.flag(name) for name in ("cleanenv", "containall", "compat"))
    return Request(
        action=action,
        image=image,
        words=tuple(words),
        view=view,
        host_name=given.value("hostname") or os.uname().nodename,
        is_root=given.flag("fakeroot"),
        writes_root=given.flag("writable-tmpfs") or given.flag("compat"),
        variables=variables_of(
            session.environment,
            _given_variables(given, session),
            _own_variables(action, image, view, given, session, clean=clean),
            clean=clean,
        ),
    )


def run(request: Request, session: Session) -> int:
    """Run a command to its end. Returns its exit code. Raises UdssError."""
    with session.steps() as steps:
        found = find_image(request.image, steps, session)
        return steps.with_runtime(lambda runtime: _run(request, found, runtime, session))


def _run(request: Request, found: FoundImage, runtime: PipedRuntime, session: Session) -> int:
    with prepared(request, found, runtime, session) as sandboxes:
        for sandbox in sandboxes:
            result = _start(sandbox, runtime)
            if result.ending is not Ending.NOT_STARTED:
                return result.exit_code
        # Most commands are there.
        from cwl_udss.surroundings.programs import why_not_executed

        reason = why_not_executed(sandbox, result)
    raise not_found(sandbox.command[0], reason)


def _start(sandbox: Sandbox, runtime: PipedRuntime) -> Result:
    for bind in sandbox.binds:
        mode = "rw" if bind.writable else "ro"
        _logger.debug("given: %s:%s:%s", bind.source, bind.destination, mode)
    _logger.debug("given: %s", "the network" if sandbox.network else "no network")
    streams = Streams(stdin=0, stdout=1, stderr=2, hands_on_terminals=True)
    return start(sandbox, runtime, streams).wait()


@contextlib.contextmanager
def prepared(
    request: Request, found: FoundImage, runtime: PipedRuntime, session: Session
) -> Iterator[list[Sandbox]]:
    """Give the sandboxes to try for a command, until one has been started: an image may lack the
    shell that would run its scripts. Raises UdssError."""
    with contextlib.ExitStack() as stack:
        shown, empty = _shown(request.view, found.root, runtime)
        binds = (*shown, *along_links(request.view.binds, shown))
        if empty:
            temporary = stack.enter_context(
                temporary_directory(session.settings.scratch, session.environment)
            )
            binds += tuple(_empty(temporary, empty))
        places = {bind.destination for bind in binds}
        files = _files(request, found.root)
        is_writable = request.writes_root and can_write_root(runtime, found.root)
        if request.writes_root and not is_writable:
            _logger.warning("cwl-udss cannot have the root filesystem written to on this machine")
        sandbox = Sandbox(
            root=found.root,
            command=(),
            environment={},
            working_directory="/",
            binds=binds,
            files={path: content for path, content in files.items() if path not in places},
            network=request.view.network,
            host_name=request.host_name,
            user=_user(request) if isinstance(runtime, Bubblewrap) else None,
            writable_root=is_writable,
        )
        directory = _working_directory(sandbox, request.view)
        yield list(_commands(request, found, replace(sandbox, working_directory=directory)))


def _shown(
    view: View, root: RootFilesystem, runtime: PipedRuntime
) -> tuple[tuple[Bind, ...], tuple[str, ...]]:
    """What is shown without having been asked for, and what is empty. PRoot shows no directory to
    be written to that the image is in, which it then could be itself, or its own files."""
    if isinstance(runtime, Bubblewrap):
        return view.shown, view.empty
    from cwl_udss.runtimes.proot.proot import Proot

    own = {SHARED_MEMORY} if isinstance(runtime, Proot) else set()
    wanted = tuple(bind for bind in view.shown if bind.destination not in own)
    shown = tuple(bind for bind in wanted if not is_within(str(root.path), [bind.source]))
    left_out = tuple(bind.destination for bind in wanted if bind not in shown)
    for path in left_out:
        _logger.warning("%s is not shown but empty: the image is in it", path)
    return shown, (*view.empty, *left_out)


def _files(request: Request, root: RootFilesystem) -> dict[str, bytes]:
    view = request.view
    files = identity_files(root.here, home=view.home, network=view.network, user=_user(request))
    files["/etc/hosts"] += f"127.0.1.1 {request.host_name}\n".encode()
    return files


def _user(request: Request) -> tuple[int, int] | None:
    return (0, 0) if request.is_root else None


def _commands(request: Request, found: FoundImage, sandbox: Sandbox) -> Iterator[Sandbox]:
    """With the environment that scripts make, if there are any, else as the image's configuration
    says."""
    has_mounted = any(bind.destination.startswith(f"{SCRIPTS}/") for bind in sandbox.binds)
    action, words = request.action, request.words
    if action is Action.RUN and not found.has_scripts:
        action, words = Action.EXEC, found.command(words)
    if found.has_scripts or has_mounted or action in _OF_SHELLS:
        image = {} if found.has_scripts else found.environment
        yield replace(
            sandbox,
            command=wrapped_command(action, words),
            environment=wrapped_environment(action, image, request.variables),
        )
    if action in (Action.EXEC, Action.RUN):
        yield replace(
            sandbox,
            command=words if action is Action.EXEC else found.command(words),
            environment=whole_environment(found.environment, request.variables),
        )


def command_in_instance(
    request: Request, image: Mapping[str, str], *, has_scripts: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the command and the environment of what is run in an instance, whose image sets these
    variables, or has scripts that do. There is a shell in it, which keeps it."""
    known = {} if has_scripts else image
    command = wrapped_command(request.action, request.words)
    return command, wrapped_environment(request.action, known, request.variables)


def _empty(temporary: Path, destinations: tuple[str, ...]) -> Iterator[Bind]:
    for number, destination in enumerate(destinations):
        path = temporary / str(number)
        path.mkdir()
        path.chmod(0o1777)
        yield Bind(source=str(path), destination=destination, writable=True)


def _working_directory(sandbox: Sandbox, view: View) -> str:
    for path in view.directories:
        if path == "/" or _has_directory(sandbox, path):
            return path
        if len(view.directories) > 1:
            _logger.debug("the command cannot begin in %s, which is not there", path)
    missing = view.directories[0]
    raise UdssError(f"failed to set working directory: chdir {missing}: no such file or directory")


def _has_directory(sandbox: Sandbox, path: str) -> bool:
    if any(bind.destination == path and os.path.isdir(bind.source) for bind in sandbox.binds):
        return True
    from cwl_udss.surroundings.programs import has_directory

    return has_directory(sandbox, path)


def caller(session: Session) -> Caller:
    """Return where a caller is. Its home directory is that of the user, whatever HOME says, as
    Apptainer has it. Raises UdssError."""
    try:
        directory = os.getcwd()
    except FileNotFoundError:  # it has been removed
        directory = "/"
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # no entry, as with some sites' directory services on compute nodes
        home = str(session.home)
    return Caller(directory=directory, home=home, hidden=session.settings.door_hide)


def _given_variables(given: Given, session: Session) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in split_values(given.list("env-file")):
        try:
            lines = Path(name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            found |= file_variables(lines, session.environment)
        except OSError as error:
            problem = f"could not read environment file {name!r}: {error.strerror}"
            raise UdssError(problem) from error
        except ValueError as error:
            problem = f"while processing {name}: {error.args[0]!r} is no NAME=value"
            raise UdssError(problem, "cwl-udss reads assignments only") from error
    return {**found, **split_assignments(given.list("env"))}


def _own_variables(
    action: Action, image: str, view: View, given: Given, session: Session, *, clean: bool
) -> dict[str, str]:
    """What Apptainer tells a command of itself."""
    path = os.path.abspath(image) if os.path.exists(image) else image
    binds = ",".join(given.list("bind"))
    facts = {
        "CONTAINER": path,
        "NAME": os.path.basename(path),
        "BIND": binds,
        "ENVIRONMENT": f"{SCRIPTS}/91-environment.sh",
    }
    own = {
        f"{prefix}_{name}": value
        for prefix in ("APPTAINER", "SINGULARITY")
        for name, value in facts.items()
    }
    own |= {
        "HOME": view.home,
        "APPTAINER_COMMAND": action.value,
        "APPTAINER_APPNAME": "",
        "PROMPT_COMMAND": 'PS1="Apptainer> "; unset PROMPT_COMMAND',
    }
    if not clean:
        own["USER_PATH"] = f"{session.environment.get('PATH', '')}:{DEFAULT_PATH}"
    if given.value("shell"):
        own["SINGULARITY_SHELL"] = given.value("shell")
    return own
