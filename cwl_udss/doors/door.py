# SPDX-License-Identifier: Apache-2.0
"""What a door's script starts: the door of that name."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

from cwl_udss.machine import kept_modules
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
# format a traceback, to compare signatures, to show usage. Together they take a sixth of the time.
_LATE = (
    *("inspect", "traceback", "textwrap", "tempfile", "random", "secrets", "hashlib"),
    *("platform", "socket", "ipaddress", "ntpath", "tomllib", "datetime", "filecmp", "shlex"),
    *("bz2", "lzma", "locale"),  # of shutil, for archives; of subprocess, for text
)
# Of all doors, what a container needs whose image is there.
_COMMON = (
    *("docker.session", "docker.containers.starting", "apptainer.running.actions"),
    "udocker.running",
)


def keep_modules(path: str) -> None:
    """Write the modules that doors need most into a file, for main()."""
    put_off(_LATE)
    for place in {*_PROGRAMS.values(), *_COMMON}:
        import_module(f"cwl_udss.doors.{place}")
    kept_modules.keep(path)


def main(name: str, kept: str) -> NoReturn:
    """Be a program of another name, with what it was called with. `kept` is what keep_modules() has
    written, if it is there."""
    # Whoever has started us may not have given us these (see cli.main()), and then the next file
    # that is opened is one of them.
    open_standard_streams()
    kept_modules.use(kept)
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
