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
from collections.abc import Callable
from dataclasses import replace

from cwl_udss.errors import SandboxError
from cwl_udss.machine.deferral import Deferral
from cwl_udss.machine.waiting import told
from cwl_udss.runtimes.accounting.counted import NOTHING, Counted
from cwl_udss.runtimes.accounting.memory import Memory
from cwl_udss.runtimes.accounting.watch import Watch, own_seconds
from cwl_udss.runtimes.namespace import (
    WHY_NOT_ENDED,
    adopted,
    descriptor_of,
    first_of_namespace,
    kill_namespace,
    signal_sessions,
    wait_for_end,
)
from cwl_udss.runtimes.status import OWN_GENERATIONS, Launched, Made, Words, is_readable
from cwl_udss.runtimes.streams import Relay, left_to_the_command
from cwl_udss.sandbox import SIGNAL_OFFSET, Ending, Result, Usage

_KILLED = SIGNAL_OFFSET + signal.SIGKILL
_LAST_WORDS_SECONDS = 0.2
_WORDS_SECONDS = 2.0  # for what bwrap says of itself; it takes one or two milliseconds
# Below bwrap's own first process, which only waits: mount_trees.py, a bwrap, and its first process.
_GENERATIONS_AROUND = OWN_GENERATIONS + 3
_GENERATIONS_WITHOUT = 3  # of namespaces: the launcher, PRoot, and the first program


class RuntimeProcess:
    """A command running in its sandbox (see sandbox.SandboxProcess).

    All is done by the thread that waits, so that nothing has to be shared with others; they wake
    it.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes] | Launched,
        relay: Relay | None,
        deferral: Deferral,
        status: int | Words,
        around: int | None = None,
        *,
        has_namespaces: bool = True,
        afterwards: contextlib.ExitStack | None = None,
        explain: Callable[[int, int], SandboxError] | None = None,
        made: Made | None = None,
    ) -> None:
        """`deferral` is of the signals at which it would be left to nobody. `status` is the
        descriptor from which to read what bwrap says, or another that says the same; `around` that
        of the one in which it runs, if trees are made for it. Without namespaces it is asked to end
        (SIGTERM), which ends all others first. `afterwards` is closed when all have ended.
        `explain` is for a call that has failed (see Words.failed_call)."""
        self.process = process
        self._relay = relay
        self._deferral = deferral
        self._words = Words(status) if isinstance(status, int) else status
        self._around = None if around is None else Words(around)
        # Of the one that we have started, which is the outermost.
        self._outermost = self._around or self._words
        self._made = made or Made()
        self._generations = self._made.generations if around is None else _GENERATIONS_AROUND
        self._has_namespaces = has_namespaces
        self._runtime = descriptor_of(process.pid) if self._made.tidies_up else None
        self._afterwards = contextlib.ExitStack() if afterwards is None else afterwards
        self._explain = explain
        self.memory = Memory()
        """What the step may have."""
        self._watch: Watch | None = None
        self._killed: Ending | None = None
        self._lock = threading.RLock()  # a signal's handler may kill what this thread waits for
        self._is_unwanted = False
        self._wakener: int | None = None
        # At its terminal a person means the command, and may end bwrap, which says so of nothing.
        self._is_typed_at = relay is not None and relay.is_typed_at
        self._orphan: int | None = None
        """A descriptor of the sandbox's first process, if bwrap has ended before it."""
        self._orphan_code: int | None = None

    def wait(self, time_limit: float | None = None) -> Result:
        """Wait for the end of the command and of all it started (see sandbox.SandboxProcess)."""
        give_up = math.inf if time_limit is None else time.monotonic() + time_limit
        with self._lock:
            self._wakener = os.eventfd(0)
        try:
            try:
                self.heed_signals()
                with (
                    left_to_the_command(self._hand_on)
                    if self._is_typed_at
                    else contextlib.nullcontext()
                ):
                    self._attend(give_up)
            except BaseException:  # a signal's handler raised: the step must not outlive us
                self._end(Ending.KILLED)
                raise
            finally:
                usage, was_over = self.memory.conclude(self._wait_for_the_rest())
            self._copy_the_rest()
        finally:
            with self._lock:
                wakener, self._wakener = self._wakener, None
                os.close(wakener)
            for descriptor in self._descriptors():
                os.close(descriptor)
            if self._relay is not None:
                self._relay.close()
            self._afterwards.close()
        said = b"" if self._relay is None else self._relay.said
        if was_over:  # what the runtime says of itself may come of that, too
            self._killed = self._killed or Ending.MEMORY_LIMIT
        result = replace(self._result(), usage=usage, said=said)
        if self._relay is not None and self._killed is None:
            self._relay.check()
        return result

    def close_afterwards(self, stack: contextlib.ExitStack) -> None:
        """Close this, too, when all have ended."""
        self._afterwards.push(stack)

    def heed_signals(self) -> None:
        """Have the handlers of signals called again, and what they raise; wait() does it, too. Who
        does so before is to see to it that this is waited for."""
        self._deferral.end()

    def first(self) -> tuple[int, int] | None:
        """Return the sandbox's first process, and how many generations from it on are the runtime's
        own (see namespace.command_process); None if it could not be made."""
        self._outermost.read_until("child-pid", _WORDS_SECONDS)
        first = self._outermost.facts.get("child-pid")
        above = self._generations if self._has_namespaces else _GENERATIONS_WITHOUT
        return None if first is None else (first, above)

    def kill(self) -> None:
        """Have the thread that waits, or is going to, kill all processes of the sandbox."""
        with self._lock:
            self._is_unwanted = True
            if self._wakener is not None:
                os.eventfd_write(self._wakener, 1)

    def _hand_on(self, number: int) -> None:
        first = self._outermost.facts.get("child-pid")
        if self._made.has_session and first is not None:
            signal_sessions(first, number)

    def _watch_from(self, first: int) -> Watch:
        tracer = self._outermost.facts.get("tracer-pid")
        return Watch(first, self._generations, tracer, self.memory.watched_limit)

    def _attend(self, give_up: float) -> None:
        """Copy the streams, and look at the processes, until bwrap has ended or must."""
        while not self._has_ended():
            if self._is_unwanted or self._has_lost_its_runtime():
                return self._end(Ending.KILLED)
            now = time.monotonic()
            if now >= give_up:
                return self._end(Ending.TIME_LIMIT)
            if self._watch is None and self._made.fact in self._outermost.facts:
                self.memory.take(self._outermost.facts["child-pid"])
                self._watch = self._watch_from(self._outermost.facts["child-pid"])
            if self._watch is not None and now >= self._watch.next:
                self._watch.look()
                if self._watch.has_seen_too_much or self.memory.is_over():
                    return self._end(Ending.MEMORY_LIMIT)
            until = give_up if self._watch is None else min(give_up, self._watch.next)
            self._wait_for_news(until)
        return None

    def _has_ended(self) -> bool:
        if not self._outermost.have_ended:
            return False
        facts = self._outermost.facts
        if self._is_typed_at and self._orphan is None and "exit-code" not in facts:
            self._orphan = first_of_namespace(facts.get("child-pid"))
        return self._orphan is None or is_readable(self._orphan, 0)

    def _descriptors(self) -> list[int]:
        return [number for number in (self._orphan, self._runtime) if number is not None]

    def _has_lost_its_runtime(self) -> bool:
        """Say whether the runtime was killed, and has left a command that goes on, or never begins.
        One that ends by itself has heard that the command has."""
        if self._runtime is None or not is_readable(self._runtime, 0):
            return False
        os.close(self._runtime)
        self._runtime = None
        self._words.read_until("largest-kib", _LAST_WORDS_SECONDS)
        return not self._words.have_ended and "largest-kib" not in self._words.facts

    def _wait_for_news(self, until: float) -> None:
        """Wait until there is something to be read, copied or done, and do the former two."""
        words = [words for words in (self._words, self._around) if words and not words.have_ended]
        channels = [] if self._relay is None else self._relay.open_channels()
        assert self._wakener is not None
        poll = select.poll()
        poll.register(self._wakener, select.POLLIN)
        for descriptor in self._descriptors():
            poll.register(descriptor, select.POLLIN)
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
        if self._made.tidies_up and "child-pid" in self._outermost.facts:
            return kill_namespace(self._outermost.facts["child-pid"])
        # --die-with-parent takes the rest
        os.kill(self.process.pid, signal.SIGKILL if self._has_namespaces else signal.SIGTERM)
        return None

    def _wait_for_the_rest(self) -> Usage | None:
        """Wait until there is none of the sandbox's processes any more; return what they used."""
        with told(f"for process {self.process.pid}, a sandbox's, to end: {WHY_NOT_ENDED}"):
            # Popen.wait() does not tell what was used.
            _, status, runtime = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        for words in filter(None, (self._around, self._words)):
            words.read_until(None, _WORDS_SECONDS)
            os.close(words.descriptor)
            if os.WIFSIGNALED(status):
                kill_namespace(words.facts.get("child-pid"))
        # bwrap ends with its command; processes that the command left behind are being
        # killed at that moment, and could still write to the output directory.
        first = self._outermost.facts.get("child-pid")
        if first is None:
            return None
        wait_for_end(first)
        said = Counted.said(self._outermost.facts)
        watch = self._watch or self._watch_from(first)
        if said is None:
            watch.leave_out(self._words.own_seconds, own_seconds(first))
        ended = adopted(first)
        if self._orphan is not None and ended is not None:
            self._orphan_code = os.waitstatus_to_exitcode(ended[0])
        if said is not None:  # by who waits for all of them itself, and is no part of the step
            return watch.usage(said, is_whole=True)
        if self._made.tidies_up:  # what it does itself takes more than many a command
            return watch.usage(NOTHING, is_whole=False)
        if ended is not None:
            return watch.usage(Counted.of(ended[1]), is_whole=True)
        # What it had resident is not below what this process had when it started it: getrusage(2).
        return watch.usage(replace(Counted.of(runtime), largest_kibibytes=0), is_whole=False)

    def _result(self) -> Result:
        return_code, status = self.process.returncode or 0, self._words.facts
        if self._killed:
            return Result(exit_code=_KILLED, ending=self._killed)
        if self._orphan_code is not None and self._orphan_code >= 0:
            return Result(exit_code=self._orphan_code, ending=Ending.EXITED)
        if "exit-code" in status and self._made.fact in status:
            return Result(exit_code=status["exit-code"], ending=Ending.EXITED)
        if return_code < 0:  # bwrap itself was killed, and the sandbox with it
            return Result(exit_code=SIGNAL_OFFSET - return_code, ending=Ending.KILLED)
        if self._explain is not None and self._words.failed_call is not None:
            raise self._explain(*self._words.failed_call)
        if return_code > SIGNAL_OFFSET:  # the same, told by the bwrap around it
            return Result(exit_code=return_code, ending=Ending.KILLED)
        if self._made.fact not in status:
            raise SandboxError(
                "the sandbox could not be made",
                "its message is above, or in the step's standard error; try `cwl-udss doctor`",
            )
        if self._made.tells_all and not self._words.was_not_executed:  # who tells was killed
            return Result(exit_code=_KILLED, ending=Ending.KILLED)
        return Result(exit_code=127, ending=Ending.NOT_STARTED)
