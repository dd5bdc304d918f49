# SPDX-License-Identifier: Apache-2.0
"""What runs jobs on the nodes: it starts a job's shell, looks at it now and then, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pwd
import secrets
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pbs_jobs import Job, Usage, variables_of
from pbs_output import output_files
from pbs_resources import kilobytes, seconds
from pbs_settings import PbsSettings

_PATH = "/usr/local/bin:/usr/bin:/bin"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass
class Task:
    """A job that has been started."""

    job: Job
    output: Path
    error: Path
    scratch: Path
    process: subprocess.Popen[bytes] | None = None
    """The job's shell, which leads the session that all its processes are in."""
    began: float = field(default_factory=time.monotonic)
    status: int | None = None
    """How the shell has ended: its exit code or 256 and its signal."""
    killed_for: int | None = None
    """The number that says which limit the job has exceeded."""
    deleted: bool = False
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class Mom:
    """The execution side of all nodes; `ended` is told of a job's end and its exit status."""

    def __init__(self, settings: PbsSettings, ended: Callable[[Job, int], None]) -> None:
        self._settings = settings
        self._times = settings.times
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self.tasks: dict[str, Task] = {}
        for name in ("spool", "mom_priv", "aux", "undelivered", "tmp"):
            (settings.directory / name).mkdir()

    def start(self, job: Job) -> None:
        """Start a job's shell. Raises OSError."""
        directory, name = self._settings.directory, job.identity
        task = Task(job, *output_files(job, directory), directory / f"tmp/pbs.{name}")
        self.tasks[name] = task
        previous = os.umask(int(job.submission.umask or "77", 8))
        try:
            task.scratch.mkdir(mode=0o700, exist_ok=True)
            with task.output.open("ab") as output, task.error.open("ab") as error:
                self._start_shell(task, output, error)
        finally:
            os.umask(previous)
        if task.process is None:
            self._shell_ended(task, 254)
            return
        job.session = task.process.pid
        self._send_script(task)
        task.timers.append(self._loop.call_later(self._times.poll, self._poll, task))

    def _start_shell(self, task: Task, output: IO[bytes], error: IO[bytes]) -> None:
        job, directory = task.job, self._settings.directory
        shell = job.submission.shell or "/bin/sh"
        if not os.access(shell, os.X_OK):
            reason = f"exec of {shell} failed with error: No such file or directory"
            error.write(f"pbs_mom, {reason}\n".encode())
            return
        nodes = directory / "aux" / job.identity
        nodes.write_text(_node_lines(job))
        own = {"PBS_NODEFILE": str(nodes), "SHELL": shell, "TMPDIR": str(task.scratch)}
        prefix = job.placement[0][0].node.command
        task.process = subprocess.Popen(
            # A login shell's name begins with a dash, where nothing stands before it.
            [*prefix, shell, "-l"] if prefix else [f"-{Path(shell).name}"],
            executable=None if prefix else shell,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=error,
            cwd=job.home,
            env={**_environment(job), **own},
            start_new_session=True,
        )

    def _send_script(self, task: Task) -> None:
        """Tell the shell on its standard input what to run, as a real one is told."""
        given = task.job.submission
        script = self._settings.directory / "mom_priv" / f"{task.job.identity}.SC"
        line = shlex.join(given.executable) if given.executable else shlex.quote(str(script))
        if given.script:
            script.write_text(given.script, errors="surrogateescape")
            script.chmod(0o700)
        assert task.process is not None
        assert task.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), task.process.stdin as stdin:
            stdin.write(f"{line}\n".encode(errors="surrogateescape"))

    def _reap(self) -> None:
        """Take note of shells that have ended, and of what they have left to this process."""
        shells = {task.process.pid: task for task in self.tasks.values() if task.process}
        with contextlib.suppress(ChildProcessError):
            while True:
                number, status = os.waitpid(-1, os.WNOHANG)
                if number == 0:
                    return
                task = shells.get(number)
                if task is not None and task.process is not None:
                    code = os.waitstatus_to_exitcode(status)
                    task.process.returncode = code
                    self._shell_ended(task, code if code >= 0 else 256 - code)

    def _shell_ended(self, task: Task, status: int) -> None:
        task.status = status
        # The end of a job that was deleted is only seen when it is looked at.
        if not task.deleted or task.process is None:
            delay = self._times.end_report
            task.timers.append(self._loop.call_later(delay, self._report, task))

    def _poll(self, task: Task) -> None:
        """Look at a job: note what it uses, and end it if that is too much."""
        processes = list(_session(task))
        self._note_usage(task, processes)
        if task.deleted and task.status is not None and not processes:
            self._report(task)
            return
        task.timers.append(self._loop.call_later(self._times.poll, self._poll, task))
        if task.killed_for is None and not task.deleted and task.status is None:
            self._enforce(task)

    def _note_usage(self, task: Task, processes: list[_Process]) -> None:
        usage = task.job.usage or Usage()
        elapsed = (time.monotonic() - task.began) / self._times.walltime_second
        task.job.usage = Usage(
            cpu_seconds=max(usage.cpu_seconds, sum(one.cpu_seconds for one in processes)),
            memory=max(usage.memory, sum(one.memory for one in processes)),
            virtual=max(usage.virtual, sum(one.virtual for one in processes)),
            seconds=int(elapsed),
        )

    def _enforce(self, task: Task) -> None:
        job, usage = task.job, task.job.usage
        assert usage is not None
        if "mem" in job.resources and usage.memory > kilobytes(job.resources["mem"]):
            limit = kilobytes(job.resources["mem"])
            task.killed_for = -27
            text = f"mem {usage.memory}kb exceeded limit {limit}kb"
        elif "walltime" in job.resources and usage.seconds > seconds(job.resources["walltime"]):
            limit = seconds(job.resources["walltime"])
            task.killed_for = -29
            text = f"walltime {usage.seconds} exceeded limit {limit}"
        else:
            return
        with task.error.open("a") as error:
            error.write(f"=>> PBS: job killed: {text}\n")
        self._terminate(task)

    def _terminate(self, task: Task) -> None:
        _signal(task, signal.SIGTERM)
        kill = functools.partial(_signal, task, signal.SIGKILL)
        task.timers.append(self._loop.call_later(self._times.kill_delay, kill))

    def delete(self, job: Job, *, force: bool) -> bool:
        """End a job that is to be deleted, which is reported later; False, if it has just ended."""
        task = self.tasks.get(job.identity)
        if task is None or task.status is not None:
            return False
        task.deleted = True
        if force:
            _signal(task, signal.SIGKILL)
        else:
            self._terminate(task)
        return True

    def lose(self, job: Job) -> None:
        """Kill a job's processes without a word to the server."""
        task = self.tasks.pop(job.identity, None)
        if task is not None:
            _signal(task, signal.SIGKILL)
            self._clean(task)

    def _report(self, task: Task) -> None:
        if self.tasks.pop(task.job.identity, None) is None:
            return
        # Whatever is left of its session ends with the job.
        _signal(task, signal.SIGKILL)
        self._clean(task)
        status = 256 + signal.SIGTERM if task.deleted else task.status or 0
        self._ended(task.job, status if task.killed_for is None else task.killed_for)

    def _clean(self, task: Task) -> None:
        for timer in task.timers:
            timer.cancel()
        shutil.rmtree(task.scratch, ignore_errors=True)
        for name in (f"mom_priv/{task.job.identity}.SC", f"aux/{task.job.identity}"):
            (self._settings.directory / name).unlink(missing_ok=True)


def _node_lines(job: Job) -> str:
    return "".join(
        f"{state.node.name}\n" * chunk.number("mpiprocs", 1) for state, chunk in job.placement
    )


def _environment(job: Job) -> dict[str, str]:
    """A job's environment: what came with it, and PBS's own."""
    user = pwd.getpwuid(os.getuid()).pw_name
    chunk = job.placement[0][1]
    processors = chunk.number("ncpus")
    environment = {
        "PATH": _PATH,
        **variables_of(job),
        "ENVIRONMENT": "BATCH",
        "HOME": job.home,
        "LOGNAME": user,
        "NCPUS": str(processors),
        "OMP_NUM_THREADS": str(chunk.number("ompthreads", processors)),
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBCOOKIE": secrets.token_hex(16).upper(),
        "PBS_JOBDIR": job.home,
        "PBS_JOBID": job.identity,
        "PBS_JOBNAME": job.submission.name,
        "PBS_MOMPORT": "15003",
        "PBS_NODENUM": "0",
        "PBS_QUEUE": job.queue,
        "PBS_TASKNUM": "1",
        "USER": user,
    }
    if job.array is not None:
        environment["PBS_ARRAY_ID"] = job.array.identity
        environment["PBS_ARRAY_INDEX"] = str(job.index)
    return environment


@dataclass(frozen=True)
class _Process:
    number: int
    cpu_seconds: float
    memory: int
    virtual: int


def _session(task: Task) -> Iterator[_Process]:
    """The processes of a job's session (see proc_pid_stat(5))."""
    if task.process is None:
        return
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
            values = file.read().rpartition(b")")[2].split()
            if int(values[3]) == task.process.pid and values[0] != b"Z":
                ticks = sum(map(int, values[11:15]))
                memory, virtual = int(values[21]) * _PAGE, int(values[20]) // 1024
                yield _Process(int(entry), ticks / _TICKS, memory, virtual)


def _signal(task: Task, number: int) -> None:
    for process in _session(task):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.number, number)
