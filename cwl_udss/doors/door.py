# SPDX-License-Identifier: Apache-2.0
"""What a door's script starts: the door of that name."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from cwl_udss.machine.late_modules import function_at, put_off
from cwl_udss.machine.standard_streams import open_standard_streams

# Only the one that is called is imported: each module takes time.
_PROGRAMS = {
    "podman": "docker.program",
    "docker": "docker.program",
    "apptainer": "apptainer.program",
    "singularity": "apptainer.program",
    "udocker": "udocker.program",
    "pyxis-importer": "pyxis",
}
# What the standard library, and our own modules, import for what a short command does not do: to
# format a traceback, to compare signatures, to show usage. Together they take a third of the time.
_LATE = (
    *("inspect", "traceback", "textwrap", "tempfile", "random", "secrets", "hashlib"),
    *("platform", "socket", "ipaddress", "ntpath", "tomllib", "datetime", "filecmp", "shlex"),
    *("bz2", "lzma"),  # of shutil, for archives
)


def main(name: str) -> NoReturn:
    """Be a program of another name, with what it was called with."""
    # Whoever has started us may not have given us these (see cli.main()).
    open_standard_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    put_off(_LATE)
    code = function_at(f"cwl_udss.doors.{_PROGRAMS[name]}.run")(name, sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # who read it has left
        code = code or 1
    # What is imported has nothing to do at the end, and taking it apart takes a tenth of the time.
    sys.stderr.flush()
    os._exit(code)
