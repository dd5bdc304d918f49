# SPDX-License-Identifier: Apache-2.0
"""Apptainer's command line: what comes before a command, and which command it is."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cwl_udss.doors.apptainer.command_line.action_options import ACTION, GLOBAL, SHELL
from cwl_udss.doors.apptainer.command_line.file_options import (
    BUILD,
    CACHE_CLEAN,
    CACHE_LIST,
    INSPECT,
    INSTANCE_LIST,
    INSTANCE_START,
    INSTANCE_STOP,
    PULL,
)
from cwl_udss.doors.apptainer.command_line.listing import help_lines
from cwl_udss.doors.apptainer.command_line.option import Option
from cwl_udss.doors.apptainer.command_line.parser import Given, UsageError, parse
from cwl_udss.doors.apptainer.session import Session
from cwl_udss.doors.apptainer.words import Formatter, marked, said_by_registries
from cwl_udss.errors import UdssError
from cwl_udss.machine.late_modules import function_at
from cwl_udss.settings.config import load_settings

VERSION = "1.4.5"
"""Of the Apptainer whose ways these are. Callers choose their command line by it."""
_EXIT_USAGE = 1
_EXIT_FATAL = 255
_LOGGER = "cwl_udss"

_Run = Callable[[Given, Session], int]


class Command(NamedTuple):
    """A command: how it is called, and what does it."""

    options: Sequence[Option]
    run: _Run
    usage: str
    least: int
    most: int | None = None
    stops: bool = False
    """Whether nothing that follows the first word is an option."""


def run(name: str, arguments: Sequence[str], environment: Mapping[str, str], home: Path) -> int:
    """Be `apptainer`, or whatever it is called, with these arguments. Returns the exit code."""
    try:
        given = parse(GLOBAL, arguments, environment, least=0, stops=True)
    except UsageError as error:
        return _said(f"Error: {error}", name, "<command>")
    _log(given)
    words = given.words
    if given.flag("version"):
        print(f"apptainer version {VERSION}")
        return 0
    if not words or given.flag("help"):
        print(_usage(name, "<command>"))
        print(f"\nCommands: {', '.join(COMMANDS)}. See docs/doors.md of cwl-udss.")
        return 0 if words or given.flag("help") else _EXIT_USAGE
    command = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    if command not in COMMANDS:
        return _said(f'Error: cwl-udss has no command "{command}" for "{name}"', name, "<command>")
    rest = words[len(command.split()) :]
    return _run(name, command, rest, environment, home)


def _run(
    name: str, command: str, arguments: Sequence[str], environment: Mapping[str, str], home: Path
) -> int:
    options, run, usage, least, most, stops = COMMANDS[command]
    if arguments[:1] in (("--help",), ("-h",)):
        print(_usage(name, f"{command} {usage}"), *help_lines(options), sep="\n")
        return 0
    try:
        given = parse(options, arguments, environment, least=least, most=most, stops=stops)
        settings = load_settings({}, environment, home)
        return run(given, Session(settings=settings, environment=environment, home=home))
    except UsageError as error:
        return _said(f'Error for command "{command}": {error}', name, f"{command} {usage}")
    except UdssError as error:
        said = said_by_registries(error)
        text = f"While making image from oci registry: {said}: {error}" if said else str(error)
        from cwl_udss.doors.advice import as_variables

        print(marked("FATAL", as_variables(text)), file=sys.stderr)
        return _EXIT_FATAL


def _said(problem: str, name: str, usage: str) -> int:
    print(problem, file=sys.stderr)
    print(_usage(name, usage))
    return _EXIT_USAGE


def _usage(name: str, usage: str) -> str:
    return f"Usage:\n  {name} [global options...] {usage}\n\nThis {name} is cwl-udss."


def _log(given: Given) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter())
    level = logging.INFO
    if given.flag("debug"):
        level = logging.DEBUG
    elif given.flag("silent"):
        level = logging.ERROR
    elif given.flag("quiet"):
        level = logging.WARNING
    logger = logging.getLogger(_LOGGER)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
    if level > logging.DEBUG and not given.flag("verbose"):
        logging.getLogger("cwl_udss.steps.shared").setLevel(logging.WARNING)


def _act(name: str, given: Given, session: Session) -> int:
    from cwl_udss.doors.apptainer.running.actions import request_of, run
    from cwl_udss.doors.apptainer.running.scripts import Action

    request = request_of(Action(name), given, session)
    if request.image.startswith("instance://"):
        from cwl_udss.doors.apptainer.running.instances import run_in

        return run_in(request, session)
    return run(request, session)


def _inspect(given: Given, session: Session) -> int:
    from cwl_udss.doors.apptainer.files.inspection import inspect

    return inspect(given)


def _at(place: str) -> _Run:
    """What is at a place, whose module is imported when it is called."""

    def run(given: Given, session: Session) -> int:
        return function_at(f"cwl_udss.doors.apptainer.{place}")(given, session)

    return run


def _version(given: Given, session: Session) -> int:
    print(VERSION)
    return 0


def _build_configuration(given: Given, session: Session) -> int:
    """No file says what is mounted: StreamFlow reads the one that is named here."""
    facts = {
        "PACKAGE_NAME": "apptainer",
        "PACKAGE_VERSION": VERSION,
        "APPTAINER_CONF_FILE": "/dev/null",
        "APPTAINER_SUID_INSTALL": "0",
    }
    wanted = given.words[0] if given.words else ""
    if wanted and wanted not in facts:
        raise UdssError(f"no variable named {wanted!r}")
    lines = [facts[wanted]] if wanted else [f"{name}={value}" for name, value in facts.items()]
    print("\n".join(lines))
    return 0


COMMANDS: Mapping[str, Command] = {
    "exec": Command(
        ACTION, partial(_act, "exec"), "[options...] <container> <command>", 2, stops=True
    ),
    "run": Command(
        ACTION, partial(_act, "run"), "[options...] <container> [args...]", 1, stops=True
    ),
    "shell": Command(SHELL, partial(_act, "shell"), "[options...] <container>", 1, stops=True),
    "test": Command(
        ACTION, partial(_act, "test"), "[options...] <container> [args...]", 1, stops=True
    ),
    "pull": Command(PULL, _at("files.image_files.pull"), "[options...] [output file] <URI>", 1, 2),
    "build": Command(
        BUILD, _at("files.image_files.build"), "[options...] <image path> <source>", 2, 2
    ),
    "inspect": Command(INSPECT, _inspect, "[options...] <image path>", 1, 1),
    "instance start": Command(
        *(
            INSTANCE_START,
            _at("running.instances.start"),
            "[options...] <container> <name> [args...]",
            2,
        ),
        stops=True,
    ),
    "instance list": Command(
        INSTANCE_LIST, _at("running.instances.list_instances"), "[options...] [name]", 0, 1
    ),
    "instance stop": Command(
        INSTANCE_STOP, _at("running.instances.stop"), "[options...] [name]", 0, 1
    ),
    "cache list": Command(CACHE_LIST, _at("files.cache.list_cache"), "[options...]", 0, 0),
    "cache clean": Command(CACHE_CLEAN, _at("files.cache.clean_cache"), "[options...]", 0, 0),
    "buildcfg": Command((), _build_configuration, "[parameter]", 0, 1),
    "version": Command((), _version, "", 0, 0),
}
