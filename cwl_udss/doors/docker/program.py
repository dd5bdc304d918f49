# SPDX-License-Identifier: Apache-2.0
"""The programs `podman` and `docker`: which command is called, and how what fails is said."""

from __future__ import annotations

import argparse
import logging
import sys

from cwl_udss.doors.docker.errors import Program, UsageError, error_line, failure_code
from cwl_udss.doors.docker.parser import DoorParser
from cwl_udss.doors.docker.run_options import GLOBAL
from cwl_udss.errors import UdssError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.machine.late_modules import function_at

# Modules and functions, as each is only imported when it is called.
COMMANDS = {
    "run": "containers.starting.run",
    "create": "containers.starting.create",
    "start": "containers.starting.start",
    "restart": "containers.starting.restart",
    "stop": "containers.control.stop",
    "kill": "containers.control.kill",
    "rm": "containers.control.remove",
    "wait": "containers.control.wait",
    "exec": "containers.executing.execute",
    "cp": "containers.copying.copy",
    "ps": "containers.listing.list_containers",
    "container list": "containers.listing.list_containers",
    "container ls": "containers.listing.list_containers",
    "container prune": "containers.control.prune",
    "container exists": "containers.listing.exists",
    "container inspect": "inspecting.inspect_containers",
    "logs": "containers.listing.logs",
    "stats": "containers.usage.stats",
    "top": "containers.usage.top",
    "inspect": "inspecting.inspect",
    "pull": "images.getting.pull",
    "build": "images.building.build",
    "load": "images.getting.load",
    "import": "images.getting.import_image",
    "save": "images.saving.save",
    "images": "images.listing.list_images",
    "image list": "images.listing.list_images",
    "image ls": "images.listing.list_images",
    "image exists": "images.listing.exists",
    "image inspect": "inspecting.inspect_images",
    "image prune": "images.listing.prune",
    "image rm": "images.listing.remove",
    "history": "images.listing.history",
    "rmi": "images.listing.remove",
    "tag": "images.listing.tag",
    "untag": "images.listing.untag",
    "login": "site.login",
    "logout": "site.logout",
    "info": "site.info",
    "version": "site.version",
    "--version": "site.version_line",
}
_USAGE = "{name} [OPTIONS] COMMAND [ARGUMENTS]"
_GROUPS = ("container", "image", "system", "buildx", "builder")
"""Words before a command that make no difference: `docker image pull` is `docker pull`."""


def run(name: str, arguments: list[str]) -> int:
    """Be podman or docker with these arguments. Returns the exit code."""
    program = Program(name)
    command = ""
    try:
        options = _parser(name).parse(arguments)
        command, rest = _command(name, options)
        logging.basicConfig(format=f"{name}: %(message)s", stream=sys.stderr)
        logging.getLogger("cwl_udss").setLevel(_level(options))
        from cwl_udss.doors.docker.session import open_session

        call = function_at(f"cwl_udss.doors.docker.{COMMANDS[command]}")
        return call(open_session(program, command), rest)
    except UdssError as error:
        print(error_line(program, command, error), file=sys.stderr)
        return failure_code(command)
    except BrokenPipeError:  # whoever read our output has had enough
        return 1
    except OSError as error:
        print(error_line(program, command, UdssError(system_words(error))), file=sys.stderr)
        return failure_code(command)
    except KeyboardInterrupt:
        return 130


def _parser(name: str) -> DoorParser:
    parser = DoorParser(GLOBAL, _USAGE.format(name=name))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _command(name: str, options: argparse.Namespace) -> tuple[str, list[str]]:
    words = list(options.command)
    if options.version:
        words = ["--version"]
    if words[:1] == ["help"]:  # of a command, or of all
        words = [*words[1:], "--help"]
    if not words:
        raise UsageError("no command is named", _there_are())
    if words[0] == "--help":
        print(f"Usage: {_USAGE.format(name=name)}\n\n{_there_are().capitalize()}")
        raise SystemExit(0)
    if words[0] in _GROUPS and len(words) > 1:
        full = " ".join(words[:2])
        words = [full if full in COMMANDS else words[1], *words[2:]]
    command, *rest = words
    if command not in COMMANDS:
        raise UsageError(f"unknown command {command!r}", _there_are())
    return command, rest


def _there_are() -> str:
    """What there is, without what is the same by another name."""
    return f"there are {', '.join(sorted(name for name in COMMANDS if name.isalpha()))}"


def _level(options: argparse.Namespace) -> int:
    """How much is said: callers take what is on standard error for an id, or an answer."""
    if options.debug or options.log_level in ("debug", "trace"):
        return logging.DEBUG
    return logging.INFO if sys.stderr.isatty() else logging.WARNING
