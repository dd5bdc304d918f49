# SPDX-License-Identifier: Apache-2.0
"""How podman and docker say what fails, and the exit codes by which callers tell why.

Callers judge by these: 125 is the program's own failure, 126 and 127 are the command's that could
not be executed (podman-run(1), "Exit Status"); nf-core looks for the words of docker's.
"""

from __future__ import annotations

import enum

from cwl_udss.errors import AccessRefused, InvalidReference, NotFound, UdssError

FAILURE = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
OTHER_FAILURE = 1


class Program(enum.Enum):
    """Which of the two is spoken for."""

    PODMAN = "podman"
    DOCKER = "docker"


class UsageError(UdssError):
    """The command line is none that we understand."""


class NoSuchObject(UdssError):
    """There is no container, or image, of that name."""


class ContainerError(UdssError):
    """A container cannot be made, or not be used in that way."""


def failure_code(command: str) -> int:
    """Return the exit code of a command that has failed by itself."""
    return FAILURE if command in ("run", "create", "exec", "") else OTHER_FAILURE


def _reason(error: UdssError) -> str:
    """What registries and daemons say, and nf-core looks for."""
    if isinstance(error, NotFound):
        return "manifest unknown: "
    if isinstance(error, AccessRefused):
        return "requested access to the resource is denied: "
    if isinstance(error, InvalidReference):
        return "invalid reference format: "
    return "no such host: " if "service not known" in error.problem else ""


def error_line(program: Program, command: str, error: UdssError) -> str:
    """Return what is said of an error: as the program itself would begin it, and whose words those
    are."""
    from cwl_udss.doors.advice import as_variables  # of what fails

    words = f"{_reason(error)}{as_variables(str(error))} (cwl-udss)"
    if program is Program.PODMAN:
        return f"Error: {words}"
    prefix = "docker: " if command in ("run", "create") else ""
    if isinstance(error, UsageError):
        return f"{prefix}{words}\nSee 'docker {command} --help'."
    return f"{prefix}Error response from daemon: {words}"
