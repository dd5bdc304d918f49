# SPDX-License-Identifier: Apache-2.0
"""What a door's script starts: the door of that name."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from cwl_udss.doors.late import function_at
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


def main(name: str) -> NoReturn:
    """Be a program of another name, with what it was called with."""
    # Whoever has started us may not have given us these (see cli.main()).
    open_standard_streams()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = function_at(f"cwl_udss.doors.{_PROGRAMS[name]}.run")(name, sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # who read it has left
        code = code or 1
    # What is imported has nothing to do at the end, and taking it apart takes a tenth of the time.
    sys.stderr.flush()
    os._exit(code)
