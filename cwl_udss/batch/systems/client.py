# SPDX-License-Identifier: Apache-2.0
"""Types a batch system's commands, and is patient with it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import IO

from cwl_udss.batch.systems.system import (
    Answer,
    BatchError,
    BatchSystem,
    JobRequest,
    JobStatus,
    words_of,
)
from cwl_udss.machine.waiting import told

_logger = logging.getLogger(__name__)

COMMAND_SECONDS = 120.0
"""A command that says nothing for so long is given up; a busy server takes a minute."""
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
SUBMISSION_SECONDS = 900.0
"""For how long a submission is tried again while the server is away."""
LAST_SECONDS = 1.0
"""For how long an answer is waited for when the run ends."""
_LOOK_SECONDS = 0.1


class Client:
    """A batch system, for any number of threads."""

    def __init__(
        self, system: BatchSystem, environment: Mapping[str, str], submissions_a_second: float
    ) -> None:
        self.system = system
        self._environment = environment
        self._interval = 1 / submissions_a_second
        self._lock = threading.Lock()
        self._next = 0.0
        self._is_ending = threading.Event()

    def check(self) -> None:
        """Raise BatchError if the commands are not on this machine."""
        program = self.system.query_command(["0"])[0]
        if shutil.which(program, path=self._environment.get("PATH")) is None:
            raise BatchError(
                f"there is no {program} on PATH",
                f"run this where {self.system.name} jobs are submitted, or load its module",
            )

    def submit(self, request: JobRequest, is_stopped: Callable[[], bool]) -> str:
        """Submit a job; return its id. Raises BatchError if it is refused, with what was asked."""
        command = self.system.submit_command(request)
        give_up = time.monotonic() + SUBMISSION_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._wait_for_turn()
            answer = self._type(command)
            job = self.system.submitted(answer.output.decode(errors="replace"))
            if answer.exit_code == 0 and job:
                return job
            if not self.system.is_transient(answer) or time.monotonic() > give_up or is_stopped():
                raise BatchError(
                    f"{self.system.name} refuses the job: {words_of(answer)}",
                    f"it was asked by: {' '.join(command)}",
                )
            _logger.warning("%s is busy (%s): trying again", command[0], words_of(answer))
            self._is_ending.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            # It may have been accepted all the same, with only the answer lost.
            found = self.find(request.name)
            if found:
                return found[0]

    def statuses(self, jobs: Collection[str]) -> dict[str, JobStatus] | None:
        """Return what is known of jobs; None if the batch system does not say."""
        answer = self._type(self.system.query_command(jobs))
        found = self.system.statuses(answer, jobs)
        if found is None:
            _logger.debug("%s does not tell of jobs: %s", self.system.name, words_of(answer))
        return found

    def delete(self, jobs: Collection[str]) -> None:
        """Delete jobs, as far as the batch system still has them."""
        answer = self._type(self.system.delete_command(jobs), is_left=True)
        if answer.exit_code:
            _logger.debug("deleting jobs: %s", words_of(answer))

    def hurry(self) -> None:
        """From now on wait for an answer as long only as a run may take to end."""
        self._is_ending.set()

    def find(self, name: str) -> list[str]:
        """Return the ids of jobs with a name: who takes no answer for none submits a job twice.
        Raises BatchError if there is no answer."""
        give_up = time.monotonic() + SUBMISSION_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            command = self.system.find_command(name)
            answer = self._type(command)
            found = self.system.found(answer)
            if found is not None:
                return found
            if time.monotonic() > give_up or self._is_ending.is_set():
                raise BatchError(
                    f"{self.system.name} does not say whether it has the job {name}: "
                    f"{words_of(answer)}",
                    f"it was asked by: {' '.join(command)}",
                )
            if command != self.system.find_command(name):  # now we know how to ask
                continue
            _logger.warning("%s does not answer (%s): trying again", command[0], words_of(answer))
            self._is_ending.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _wait_for_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        with told(f"for its turn: a submission each {self._interval:g} s (--udss-batch-rate)"):
            self._is_ending.wait(turn - now)

    def _type(self, command: list[str], *, is_left: bool = False) -> Answer:
        """Run a command. One that `is_left` goes on by itself when its answer is given up."""
        # Files, and not pipes: qsub leaves a process that holds what it inherits for a minute. A
        # session, as a signal from the terminal is meant for us.
        with _file_in_memory() as output, _file_in_memory() as error:
            try:
                process = subprocess.Popen(
                    command,
                    env=dict(self._environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=error,
                    start_new_session=True,
                )
            except OSError as failure:
                raise BatchError(f"{command[0]} cannot be run", str(failure)) from failure
            with told(f"for an answer of {command[0]}"):
                exit_code = self._wait_for(process)
            if exit_code is None:
                if not is_left:
                    process.kill()
                    process.wait()
                return Answer(exit_code=1, output=b"", error=f"{command[0]}: timed out")
            output.seek(0)
            error.seek(0)
            return Answer(
                exit_code=exit_code,
                output=output.read(),
                error=error.read().decode(errors="replace"),
            )

    def _wait_for(self, process: subprocess.Popen[bytes]) -> int | None:
        """Return a command's exit code; None if that has not come in time."""
        give_up = time.monotonic() + COMMAND_SECONDS
        is_ending = False
        while True:
            if self._is_ending.is_set() and not is_ending:
                is_ending, give_up = True, time.monotonic() + LAST_SECONDS
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(_LOOK_SECONDS)
            if time.monotonic() > give_up:
                return None


def _file_in_memory() -> IO[bytes]:
    return open(os.memfd_create("answer"), "w+b")
