# SPDX-License-Identifier: Apache-2.0
"""The process of a sandbox: waiting for its end, and ending it with all that it has started."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import threading
import time

from cwl_udss.errors import SandboxError
from cwl_udss.sandbox import SIGNAL_OFFSET, Ending, Result

# What the kernel needs to end a killed sandbox's processes; far more than it ever took.
END_OF_PROCESSES_SECONDS = 30.0
_WORDS_SECONDS = 2.0  # for what bwrap says of itself; it takes one or two milliseconds
_STATUS = re.compile(rb'"(child-pid|exit-code)": (\d+)')


class BubblewrapProcess:
    """A command running in its sandbox (see sandbox.SandboxProcess)."""

    def __init__(
        self, process: subprocess.Popen[bytes], status: int, around: int | None = None
    ) -> None:
        """`status` is the descriptor from which to read what bwrap says, `around` that of the one
        in which it runs, if trees are made for it."""
        self.process = process
        self._status = status
        self._around = around
        self._killed: Ending | None = None

    def wait(self, time_limit: float | None = None) -> Result:
        """Wait for the end of the command and of all it started (see sandbox.SandboxProcess)."""
        timer = None
        if time_limit is not None:
            timer = threading.Timer(time_limit, self._kill, (Ending.TIME_LIMIT,))
            timer.daemon = True
            timer.start()
        try:
            return_code = self.process.wait()
        except BaseException:  # a signal's handler raised: the step must not outlive us
            self.kill()
            self.process.wait()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            status = self._wait_for_the_rest()
        return self._result(return_code, status)

    def kill(self) -> None:
        """Kill all processes of the sandbox."""
        self._kill(Ending.KILLED)

    def _kill(self, ending: Ending) -> None:
        if self.process.poll() is None:
            self._killed = self._killed or ending
            # Before it has said which process the sandbox's first is, nobody could end that one.
            first_words = self._status if self._around is None else self._around
            _is_readable(first_words, _WORDS_SECONDS)
            self.process.kill()  # --die-with-parent takes the rest

    def _wait_for_the_rest(self) -> dict[str, int]:
        """Wait until there is none of the sandbox's processes any more; return what bwrap said."""
        was_killed = self.process.returncode < 0
        around = {} if self._around is None else _read_status(self._around)
        if was_killed:
            _kill_namespace(around.get("child-pid"))
        status = _read_status(self._status)
        first = (around or status).get("child-pid")
        if was_killed:
            _kill_namespace(first)
        # bwrap ends with its command; processes that the command left behind are being
        # killed at that moment, and could still write to the output directory.
        _wait_for_end(first)
        return status

    def _result(self, return_code: int, status: dict[str, int]) -> Result:
        if self._killed:
            return Result(exit_code=SIGNAL_OFFSET + signal.SIGKILL, ending=self._killed)
        if return_code < 0:  # bwrap itself was killed, and the sandbox with it
            return Result(exit_code=SIGNAL_OFFSET - return_code, ending=Ending.KILLED)
        if "exit-code" in status:
            return Result(exit_code=status["exit-code"], ending=Ending.EXITED)
        if return_code > SIGNAL_OFFSET:  # the same, told by the bwrap around it
            return Result(exit_code=return_code, ending=Ending.KILLED)
        if "child-pid" not in status:
            raise SandboxError(
                "bubblewrap could not make the sandbox",
                "its message is above, or in the step's standard error; try `cwl-udss doctor`",
            )
        return Result(exit_code=127, ending=Ending.NOT_STARTED)


def _read_status(descriptor: int) -> dict[str, int]:
    """What bwrap said of itself: JSON objects, one a line (bwrap(1), --json-status-fd). The last
    may be incomplete if it was killed."""
    said = b""
    with open(descriptor, "rb", buffering=0) as stream:
        # Not for ever: a bwrap that was killed before it had told its child to go on has left one
        # that waits for that, and may have the other end.
        while _is_readable(descriptor, _WORDS_SECONDS):
            part = stream.read(io.DEFAULT_BUFFER_SIZE)
            if not part:
                break
            said += part
    return {name.decode(): int(value) for name, value in _STATUS.findall(said)}


def _is_readable(descriptor: int, seconds: float) -> bool:
    """Wait until there is something to be read, or its end; say whether that came in time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _kill_namespace(process_id: int | None) -> None:
    """Kill the first process of a PID namespace, and so all of them.

    bwrap asks the kernel to do so when it dies, but only once the sandbox is set up.
    """
    if process_id is None:
        return
    with contextlib.suppress(OSError):  # it has ended
        with open(f"/proc/{process_id}/status", encoding="ascii", errors="replace") as stream:
            numbers = next(line.split()[1:] for line in stream if line.startswith("NSpid:"))
        if numbers[1:] and numbers[-1] == "1":  # else it is another of that number by now
            os.kill(process_id, signal.SIGKILL)


def _wait_for_end(process_id: int | None) -> None:
    """Wait until the first process of a PID namespace has ended, and with it all the others: the
    kernel ends the others first (zap_pid_ns_processes)."""
    if process_id is None:
        return
    try:
        ended = _wait_by_descriptor(process_id)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # Linux before 5.3, or a Python built for one
        ended = _wait_by_looking(process_id)
    if not ended:
        raise SandboxError(
            f"processes of the step still run, {END_OF_PROCESSES_SECONDS:.0f} s after it ended",
            f"look at process {process_id} and its children: a file system may hang",
        )


def _wait_by_descriptor(process_id: int) -> bool:
    descriptor = os.pidfd_open(process_id)
    try:
        return _is_readable(descriptor, END_OF_PROCESSES_SECONDS)
    finally:
        os.close(descriptor)


def _wait_by_looking(process_id: int) -> bool:
    give_up = time.monotonic() + END_OF_PROCESSES_SECONDS
    while time.monotonic() < give_up:
        try:
            with open(f"/proc/{process_id}/stat", encoding="ascii", errors="replace") as stream:
                state = stream.read().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":  # dead; whose child it now is has not asked yet
            return True
        time.sleep(0.001)
    return False
