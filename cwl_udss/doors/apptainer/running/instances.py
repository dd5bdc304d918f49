# SPDX-License-Identifier: Apache-2.0
"""`apptainer instance`: sandboxes that stay, in which commands are run one after the other."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cwl_udss.doors.apptainer.command_line.parser import Given, UsageError
from cwl_udss.doors.apptainer.running.actions import (
    Request,
    command_in_instance,
    prepared,
    request_of,
)
from cwl_udss.doors.apptainer.running.images import find_image
from cwl_udss.doors.apptainer.running.scripts import Action
from cwl_udss.doors.apptainer.session import Session
from cwl_udss.doors.apptainer.words import not_found
from cwl_udss.doors.cleaning import INSTANCES
from cwl_udss.doors.container import Running, send_signal
from cwl_udss.doors.container import start as start_container
from cwl_udss.doors.detached import Beginning, leave_caller, start_detached
from cwl_udss.doors.table import Entry, NameInUse, State, Table, new_id, running
from cwl_udss.errors import UdssError
from cwl_udss.files.scratch import node_directory
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.entering import enter
from cwl_udss.runtimes.namespace import command_process, kill_namespace
from cwl_udss.sandbox import Ending, Streams

_logger = logging.getLogger(__name__)

SCHEME = "instance://"
_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_SCRIPTS = "scripts"
_PATIENCE_SECONDS = 10.0
_KILL_SECONDS = 10.0
_PAUSE_SECONDS = 0.02


class Instance(NamedTuple):
    """An instance that runs."""

    entry: Entry
    state: State


def start(given: Given, session: Session) -> int:
    """Be `apptainer instance start IMAGE NAME`. Raises UdssError."""
    image, name, *words = given.words
    if not _NAME.fullmatch(name):
        raise UdssError(f"{name} is not a valid instance name")
    request = request_of(Action.START, given, session, (image, *words))
    problem = start_detached(lambda beginning: _keep(request, name, session, beginning))
    if problem is not None:
        raise UdssError(problem or "while executing starter: it has ended")
    if given.value("pid-file"):
        Path(given.value("pid-file")).write_text(f"{_find(name, session).state.first}\n")
    _logger.info("instance started successfully")
    return 0


def _keep(request: Request, name: str, session: Session, beginning: Beginning) -> int:
    """Be the process that an instance ends with. What fails is told to who has started it."""
    leave_caller()
    for number, path in enumerate(_logs(name, session), start=1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    # Its shell waits for a line that never comes.
    stdin, _kept_open = os.pipe()
    try:
        with session.steps() as steps:
            if not isinstance(steps.runtime(), Bubblewrap):
                raise UdssError("cwl-udss keeps no instances where there are no user namespaces")
            found = find_image(request.image, steps, session)
            with prepared(request, found, steps.runtime(), session) as sandboxes:
                entry = Entry(
                    id=new_id(),
                    name=name,
                    image=request.image,
                    digest="",
                    command=(),
                    created=time.time(),
                    remove=True,
                    labels={_SCRIPTS: "yes"} if found.has_scripts else {},
                    environment=found.environment,
                    working_directory=request.view.home,
                )
                table = _table(session)
                table.add(entry)
                try:
                    streams = Streams(stdin=stdin, stdout=1, stderr=2)
                    kept = start_container(sandboxes[0], steps.runtime(), streams)
                    table.set_state(entry.id, running(kept.first()))
                    beginning.has_come()
                    return kept.wait().exit_code
                finally:
                    table.remove(entry)
    except NameInUse:
        problem = f"instance {name} already exists"
    except UdssError as error:
        problem = str(error)
    except OSError as error:
        problem = system_words(error)
    beginning.has_failed(problem)
    return 1


def run_in(request: Request, session: Session) -> int:
    """Run a command in an instance to its end. Returns its exit code. Raises UdssError."""
    entry, state = _find(request.image.removeprefix(SCHEME), session)
    process = None
    if state.first is not None:
        process = command_process(state.first, state.generations)
    if process is None:
        raise UdssError(f"no instance found with name {entry.name}")
    command, environment = command_in_instance(
        request, entry.environment, has_scripts=_SCRIPTS in entry.labels
    )
    here = next(path for path in (*request.view.directories, "/") if _is_there(process, path))
    streams = Streams(stdin=0, stdout=1, stderr=2, hands_on_terminals=True)
    result = Running(enter(process, command, environment, here, streams)).wait()
    if result.ending is Ending.NOT_STARTED:
        raise not_found(command[0], "")
    return result.exit_code


def _is_there(process: int, path: str) -> bool:
    return path == "/" or os.path.isdir(f"/proc/{process}/root{path}")


def list_instances(given: Given, session: Session) -> int:
    """Be `apptainer instance list [NAME]`."""
    wanted = given.words[0] if given.words else "*"
    found = list(_matching(wanted, session))
    if given.flag("json"):
        print(json.dumps({"instances": [_facts(one, session) for one in found]}, indent="\t"))
        return 0
    titles = ("INSTANCE NAME", "PID", "LOGS" if given.flag("logs") else "IP", "IMAGE")
    rows = [titles]
    for entry, state in found:
        middle = str(_logs(entry.name, session)[1]) if given.flag("logs") else ""
        rows.append((entry.name, str(state.first), middle, entry.image))
    widths = [max(map(len, column)) + 4 for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("".join(f"{text:<{width}}" for text, width in cells).rstrip())
    return 0


def _facts(instance: Instance, session: Session) -> dict[str, object]:
    output, messages = _logs(instance.entry.name, session)
    return {
        "instance": instance.entry.name,
        "pid": instance.state.first,
        "img": instance.entry.image,
        "ip": "",
        "logErrPath": str(messages),
        "logOutPath": str(output),
    }


def stop(given: Given, session: Session) -> int:
    """Be `apptainer instance stop [NAME]`. Raises UdssError and UsageError."""
    if not given.words and not given.flag("all"):
        raise UsageError("invalid command")
    found = list(_matching(given.words[0] if given.words else "*", session))
    if not found:
        raise UsageError("no instance found")
    number = _signal(given.value("signal") or "INT")
    patience = given.value("timeout") or str(_PATIENCE_SECONDS)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", patience):
        raise UsageError(f"invalid argument {patience!r} for --timeout")
    for instance in found:
        name, image, first = instance.entry.name, instance.entry.image, instance.state.first
        _logger.info("Stopping %s instance of %s (PID=%s)", name, image, first)
        if first is None:
            continue
        if not given.flag("force"):
            send_signal(first, instance.state.generations, number)
        if given.flag("force") or not _has_ended(instance, session, float(patience)):
            kill_namespace(first)
            _has_ended(instance, session, _KILL_SECONDS)
    return 0


def _has_ended(instance: Instance, session: Session, seconds: float) -> bool:
    table = _table(session)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not table.state(instance.entry).is_running:
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def _signal(name: str) -> int:
    text = name.upper()
    number = int(text) if text.isdecimal() else 0
    known = signal.Signals.__members__.get(f"SIG{text.removeprefix('SIG')}", number)
    if not 0 < known < signal.NSIG:
        raise UdssError(f"Could not convert stop signal: {name}")
    return int(known)


def _find(name: str, session: Session) -> Instance:
    for instance in _matching(name, session):
        if instance.entry.name == name:
            return instance
    raise UdssError(f"While setting image/instance: no instance found with name {name}")


def _matching(pattern: str, session: Session) -> Iterator[Instance]:
    table = _table(session)
    for entry in sorted(table.all(), key=lambda entry: entry.name):
        state = table.state(entry)
        if state.is_running and fnmatch.fnmatchcase(entry.name, pattern):
            yield Instance(entry, state)


def _table(session: Session) -> Table:
    return Table(_directory(session))


def _directory(session: Session) -> Path:
    """Where the instances of this node are kept, whatever variables a caller has."""
    path = node_directory(session.settings.scratch, {}) / INSTANCES
    path.mkdir(exist_ok=True)
    return path


def _logs(name: str, session: Session) -> tuple[Path, Path]:
    directory = _directory(session) / "said"
    directory.mkdir(exist_ok=True)
    return directory / f"{name}.out", directory / f"{name}.err"
