# SPDX-License-Identifier: Apache-2.0
"""Containers that nobody waits for (`-d`): each has a process of its own, and ends with that."""

from __future__ import annotations

import argparse
import os
import sys

from cwl_udss.doors.detached import Beginning, leave_caller, start_detached
from cwl_udss.doors.docker.containers.running import run_here
from cwl_udss.doors.docker.errors import error_line, failure_code
from cwl_udss.doors.docker.session import Session
from cwl_udss.doors.table import Entry
from cwl_udss.errors import UdssError
from cwl_udss.filesystems.system_words import system_words
from cwl_udss.sandbox import Streams

OUTPUT, MESSAGES = "stdout.log", "stderr.log"


def run_detached(
    session: Session, options: argparse.Namespace, entry: Entry, shown: str = ""
) -> int:
    """Start a container and leave it running; print its id, or what else is to be shown. Returns
    the exit code."""
    problem = start_detached(lambda beginning: _be_monitor(session, options, entry, beginning))
    if problem is None:
        print(shown or entry.id)
        return 0
    sys.stderr.write(problem)
    return failure_code(session.command)


def _be_monitor(
    session: Session, options: argparse.Namespace, entry: Entry, beginning: Beginning
) -> int:
    """Run the container, with nothing left of who has started this but a pipe until it runs."""
    leave_caller()
    place = session.table.log_directory(entry.id)
    logs = [os.open(place / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND) for name in _LOGS]
    # Who asked for an input to be kept open has a shell wait for commands that never come.
    reading, _writing = os.pipe() if options.interactive else (None, None)
    streams = Streams(stdin=reading, stdout=logs[0], stderr=logs[1])
    try:
        return run_here(session, options, entry, streams, beginning.has_come)
    except UdssError as error:
        problem = error
    except OSError as error:
        problem = UdssError(system_words(error))
    beginning.has_failed(f"{error_line(session.program, session.command, problem)}\n")
    return failure_code(session.command)


_LOGS = (OUTPUT, MESSAGES)
