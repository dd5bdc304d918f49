# SPDX-License-Identifier: Apache-2.0
"""What Apptainer says, and how."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from cwl_udss.errors import AccessRefused, NotFound, SandboxError, UdssError

_MARK_WIDTH = 9


class Formatter(logging.Formatter):
    """Marks lines as Apptainer does: "INFO:    Build complete"."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a line."""
        return marked(record.levelname, super().format(record))


def marked(level: str, text: str) -> str:
    """Return a line with its mark."""
    return f"{level + ':':<{_MARK_WIDTH}}{text}"


def said_by_registries(error: UdssError) -> str:
    """Return what Apptainer passes on of what a registry says, "" if that is of no interest: others
    look for these words, to try another one (nf-core's pipelines/download/singularity.py)."""
    if isinstance(error, NotFound):
        return "manifest unknown"
    if isinstance(error, AccessRefused):
        return "requested access to the resource is denied"
    import socket  # which takes time, and is of use here only

    has_no_host = any(isinstance(cause, socket.gaierror) for cause in _causes(error))
    return "no such host" if has_no_host else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def not_found(name: str, reason: str) -> SandboxError:
    """Return what is raised for a program that could not be executed: others look for Apptainer's
    own words (cwltool's singularity_utils.py)."""
    if "/" in name:
        return SandboxError(f"{name}: no such file or directory, or not to be executed", reason)
    return SandboxError(f'"{name}": executable file not found in $PATH', reason)
