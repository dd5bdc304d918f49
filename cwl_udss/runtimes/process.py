# SPDX-License-Identifier: Apache-2.0
"""The process of a sandbox: its streams, its end, and ending it with all that it has started."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from resource import struct_rusage

from cwl_udss.errors import SandboxError
from cwl_udss.machine.waiting import told
from cwl_udss.runtimes.accounting import Watch
from cwl_udss.runtimes.status import Words
from cwl_udss.runtimes.streams import Relay
from cwl_udss.sandbox import SIGNAL_OFFSET, Ending, Result, Usage

_WHY_NOT_ENDED = "a filesystem that it uses may hang"
_WORDS_SECONDS = 2.0  # for what bwrap says of itself; it takes one or two milliseconds
# Below bwrap's own first process, which only waits: mount_trees.py, a bwrap, and its first process.
_OWN_GENERATIONS, _GENERATIONS_AROUND = 1, 4


@dataclass
class Launched:
    """A child of this process that another has started in its place."""

    pid: int
    returncode: int | None = None


class RuntimeProcess:
    """A command running in its sandbox (see sandbox.SandboxProcess).

    All is done by the thread that waits, so that nothing has to be shared with others; they wake
    it.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes] | Launched,
        relay: Relay | None,
        status: int,
        around: int | None = None,
        *,
        has_namespaces: bool = True,
        afterwards: contextlib.ExitStack | None = None,
    ) -> None:
        """`status` is the descriptor from which to read what bwrap says, or another that says the
        same; `around` that of the one in which it runs, if trees are made for it.
        Without namespaces it is asked to end (SIGTERM), which ends all others first.
        `afterwards` is closed when all have ended."""
        self.process = process
        self._relay = relay
        self._words = Words(status)
        self._around = None if around is None else Words(around)
        # Of the one that we have started, which is the outermost.
        self._outermost = self._around or self._words
        self._generations = _OWN_GENERATIONS if around is None else _GENERATIONS_AROUND
        self._has_namespaces = has_namespaces
        self._afterwards = contextlib.ExitStack() if afterwards is None else afterwards
        self._watch: Watch | None = None
        self._killed: Ending | None = None
        self._lock = threading.RLock()  # a signal's handler may kill what this thread waits for
        self._is_unwanted = False
        self._wakener: int | None = None

    def wait(self, time_limit: float | None = None) -> Result:
        """Wait for the end of the command and of all it started (see sandbox.SandboxProcess)."""
        give_up = math.inf if time_limit is None else time.monotonic() + time_limit
        with self._lock:
            self._wakener = os.eventfd(0)
        try:
            try:
                self._attend(give_up)
            except BaseException:  # a signal's handler raised: the step must not outlive us
                self._end(Ending.KILLED)
                raise
            finally:
                usage = self._wait_for_the_rest()
            self._copy_the_rest()
        finally:
            with self._lock:
                wakener, self._wakener = self._wakener, None
                os.close(wakener)
            if self._relay is not None:
                self._relay.close()
            self._afterwards.close()
        result = replace(self._result(), usage=usage)
        if self._relay is not None and self._killed is None:
            self._relay.check()
        return result

    def kill(self) -> None:
        """Have the thread that waits, or is going to, kill all processes of the sandbox."""
        with self._lock:
            self._is_unwanted = True
            if self._wakener is not None:
                os.eventfd_write(self._wakener, 1)

    def _watch_from(self, first: int) -> Watch:
        return Watch(first, self._generations, self._outermost.facts.get("tracer-pid"))

    def _attend(self, give_up: float) -> None:
        """Copy the streams, and look at the processes, until bwrap has ended or must."""
        while not self._outermost.have_ended:
            if self._is_unwanted:
                return self._end(Ending.KILLED)
            now = time.monotonic()
            if now >= give_up:
                return self._end(Ending.TIME_LIMIT)
            if self._watch is None and "child-pid" in self._outermost.facts:
                self._watch = self._watch_from(self._outermost.facts["child-pid"])
            if self._watch is not None and now >= self._watch.next:
                self._watch.look()
            until = give_up if self._watch is None else min(give_up, self._watch.next)
            self._wait_for_news(until)
        return None

    def _wait_for_news(self, until: float) -> None:
        """Wait until there is something to be read, copied or done, and do the former two."""
        words = [words for words in (self._words, self._around) if words and not words.have_ended]
        channels = [] if self._relay is None else self._relay.open_channels()
        assert self._wakener is not None
        poll = select.poll()
        poll.register(self._wakener, select.POLLIN)
        for reader in words:
            poll.register(reader.descriptor, select.POLLIN)
        for channel in channels:
            poll.register(*channel.awaited)
        seconds = max(0.0, until - time.monotonic())
        ready = {number for number, _ in poll.poll(None if until == math.inf else seconds * 1000)}
        for reader in words:
            if reader.descriptor in ready:
                reader.read()
        for channel in channels:
            if channel.awaited[0] in ready:
                channel.advance()

    def _copy_the_rest(self) -> None:
        """Copy what the processes have left in their pipes. Whoever still has an end of one, by
        whatever way, is not waited for; who reads what we write is, unless nobody wants it."""
        if self._relay is None:
            return
        self._relay.close_input()
        while self._relay.has_output() and not self._is_unwanted:
            self._wait_for_news(math.inf)

    def _end(self, ending: Ending) -> None:
        self._killed = self._killed or ending
        # Before it has said which process the sandbox's first is, nobody could end that one.
        self._outermost.read_until("child-pid", _WORDS_SECONDS)
        # --die-with-parent takes the rest
        os.kill(self.process.pid, signal.SIGKILL if self._has_namespaces else signal.SIGTERM)

    def _wait_for_the_rest(self) -> Usage | None:
        """Wait until there is none of the sandbox's processes any more; return what they used."""
        with told(f"for process {self.process.pid}, a sandbox's, to end: {_WHY_NOT_ENDED}"):
            # Popen.wait() does not tell what was used.
            _, status, runtime = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        for words in filter(None, (self._around, self._words)):
            words.read_until(None, _WORDS_SECONDS)
            os.close(words.descriptor)
            if os.WIFSIGNALED(status):
                _kill_namespace(words.facts.get("child-pid"))
        # bwrap ends with its command; processes that the command left behind are being
        # killed at that moment, and could still write to the output directory.
        first = self._outermost.facts.get("child-pid")
        if first is None:
            return None
        _wait_for_end(first)
        watch = self._watch or self._watch_from(first)
        largest = self._outermost.facts.get("largest-kib", 0)
        return watch.usage(_adopted(first), runtime, largest)

    def _result(self) -> Result:
        return_code, status = self.process.returncode or 0, self._words.facts
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
                "the sandbox could not be made",
                "its message is above, or in the step's standard error; try `cwl-udss doctor`",
            )
        return Result(exit_code=127, ending=Ending.NOT_STARTED)


def has_terminal() -> bool:
    """Say whether this process has a controlling terminal: tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


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
    with told(f"for process {process_id}, a sandbox's, and its children to end: {_WHY_NOT_ENDED}"):
        try:
            _wait_by_descriptor(process_id)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # Linux before 5.3, or a Python built for one
            _wait_by_looking(process_id)


def _adopted(process_id: int) -> struct_rusage | None:
    """What a process has used that has become our child and has ended; None if it has not: its
    bwrap has waited for it."""
    try:
        number, _, usage = os.wait4(process_id, os.WNOHANG)
    except ChildProcessError:
        return None
    return usage if number else None


def _wait_by_descriptor(process_id: int) -> None:
    descriptor = os.pidfd_open(process_id)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    finally:
        os.close(descriptor)


def _wait_by_looking(process_id: int) -> None:
    while True:
        try:
            with open(f"/proc/{process_id}/stat", encoding="ascii", errors="replace") as stream:
                state = stream.read().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":  # dead; whose child it now is has not asked yet
            return
        time.sleep(0.001)
