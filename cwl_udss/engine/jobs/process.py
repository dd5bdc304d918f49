# SPDX-License-Identifier: Apache-2.0
"""Where cwltool starts the process of a job: in a sandbox, if the job has one."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from cwl_udss.report.record import Ran, Times
from cwl_udss.sandbox import Ending
from cwl_udss.steps.streams import StreamPaths

Environment: TypeAlias = "MutableMapping[str, str]"


class RunningJob(Protocol):
    """A job that cwltool is about to start."""

    def noting_problem(self) -> AbstractContextManager[None]:
        """Keep what is raised."""

    def complete(self, command: list[str], environment: Environment, script: str | None) -> None:
        """Add what cwltool decides last: the command line, after what create_runtime() has
        returned, its environment, and a script that is to start it, if there is one."""

    def show_again(self) -> int | None:
        """Have outputs collected that such a step has made; return its exit code, or None."""

    def execute(self, streams: StreamPaths) -> int:
        """Run the tool's command line; return its exit code."""


class _ThisThread(threading.local):
    """What cwltool does not pass on: to where it starts a process, and from there."""

    job: RunningJob | None = None
    ran_on_host: Ran | None = None
    """How the last process has ended that had no sandbox."""


this_thread = _ThisThread()


def start_tool(
    original: Callable[..., int],
    commands: list[str],
    *,
    stdin_path: str | None,
    stdout_path: str | None,
    stderr_path: str | None,
    env: MutableMapping[str, str],
    default_stdout: Any = None,
    default_stderr: Any = None,
    job_script_contents: str | None = None,
    **others: Any,
) -> int:
    """Start a process as cwltool's _job_popen does, in a sandbox if the job has one."""
    job = this_thread.job
    if job is None:
        started = time.time()
        exit_code = original(
            commands,
            stdin_path=stdin_path,
            stdout_path=stdout_path,
            stderr_path=stderr_path,
            env=env,
            default_stdout=default_stdout,
            default_stderr=default_stderr,
            job_script_contents=job_script_contents,
            **others,
        )
        this_thread.ran_on_host = Ran(
            exit_code=exit_code,
            ending=Ending.EXITED.value,
            node=socket.gethostname(),
            times=Times(started=started, ended=time.time()),
        )
        return exit_code
    with job.noting_problem():
        job.complete(commands, env, job_script_contents)
        shown = job.show_again()
        if shown is not None:
            return shown
        return job.execute(
            StreamPaths(
                stdin=stdin_path,
                stdout=stdout_path,
                stderr=stderr_path,
                # To the log, as with cwltool.
                default_stdout=default_stdout or sys.stderr,
                default_stderr=default_stderr or sys.stderr,
            )
        )
