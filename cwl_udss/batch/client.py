# SPDX-License-Identifier: Apache-2.0
"""Types a batch system's commands, and is patient with it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping

from cwl_udss.batch.system import (
    Answer,
    BatchError,
    BatchSystem,
    JobRequest,
    JobStatus,
    words_of,
)

_logger = logging.getLogger(__name__)

COMMAND_SECONDS = 120.0
"""A command that says nothing for so long is given up; a busy server takes a minute."""
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
SUBMISSION_SECONDS = 900.0
"""For how long a submission is tried again while the server is away."""


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
            time.sleep(pause)
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
        answer = self._type(self.system.delete_command(jobs))
        if answer.exit_code:
            _logger.debug("deleting jobs: %s", words_of(answer))

    def find(self, name: str) -> list[str]:
        """Return the ids of jobs with a name."""
        answer = self._type(self.system.find_command(name))
        return self.system.found(answer.output.decode(errors="replace"))

    def _wait_for_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        time.sleep(turn - now)

    def _type(self, command: list[str]) -> Answer:
        """Run a command. Nothing but the standard streams is passed on: qsub leaves a process that
        holds what it inherits for a minute."""
        try:
            done = subprocess.run(
                command,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(exit_code=1, output=b"", error=f"{command[0]}: timed out")
        except OSError as error:
            raise BatchError(f"{command[0]} cannot be run", str(error)) from error
        return Answer(
            exit_code=done.returncode,
            output=done.stdout,
            error=done.stderr.decode(errors="replace"),
        )
