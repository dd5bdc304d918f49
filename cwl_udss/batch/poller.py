# SPDX-License-Identifier: Apache-2.0
"""Knows when jobs have ended: from what their steps have left first, from the batch system second.

One for all jobs of a run. It looks into one directory, and asks the batch system about all jobs at
once, the more seldom the more there are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from cwl_udss.batch.run_directory import Entry, RunDirectory
from cwl_udss.batch.systems.client import Client
from cwl_udss.batch.systems.system import BatchError, Cause, JobState, JobStatus
from cwl_udss.filesystems.filesystem import look_at
from cwl_udss.machine.waiting import Telling
from cwl_udss.settings.quantities import counted
from cwl_udss.steps.spec import StepEnding, StepResult, UnreadableStep, read_result

_logger = logging.getLogger(__name__)

SHORTEST_LOOK_SECONDS = 0.5
LONGEST_LOOK_SECONDS = 5.0
SHORTEST_QUERY_SECONDS = 3.0
LONGEST_QUERY_SECONDS = 60.0
_JOBS_A_SECOND = 20.0
"""About how many jobs a batch system is asked about, on the long run."""
# News from another node comes late (acdirmax of nfs(5) is a minute); on a local filesystem at once.
SHARED_NEWS_SECONDS = 75.0
LOCAL_NEWS_SECONDS = 3.0
# PBS says so at its node's next poll: 6 to 17 s after it has begun to end a job.
_REASON_SECONDS = 90.0
_SILENCE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """What is known of the end of a step's job."""

    result: StepResult | None
    """None if the step has left none."""
    status: JobStatus | None
    """None if the batch system does not know the job (any more), or was not asked."""


@dataclass(kw_only=True)
class Watch:
    """A step whose job is watched."""

    entry: Entry
    job: str
    ended: threading.Event = field(default_factory=threading.Event)
    end: JobEnd | None = None
    status: JobStatus | None = None
    result: StepResult | None = None
    times_unknown: int = 0
    deadline: float | None = None
    """Until when the other of the two is waited for, by time.monotonic(), if one has spoken."""

    def wait(self) -> JobEnd:
        """Wait for the end."""
        self.ended.wait()
        assert self.end is not None
        return self.end


class Poller:
    """Watches jobs, on a thread of its own, for any number of threads."""

    def __init__(self, client: Client, run: RunDirectory) -> None:
        self._client = client
        self._run = run
        shared = look_at(run.path).is_shared
        self._news_seconds = SHARED_NEWS_SECONDS if shared else LOCAL_NEWS_SECONDS
        self._lock = threading.Lock()
        self._watches: dict[str, Watch] = {}
        self._wake = threading.Event()
        self._stop = False
        self._hurry = False
        self._is_empty = threading.Condition(self._lock)
        self._telling = Telling(self.describe)
        self._thread = threading.Thread(target=self._poll_to_the_end, name="poller", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; whoever waits goes on waiting."""
        self._stop = True
        self._client.hurry()
        self._wake.set()
        self._thread.join()
        self._telling.close()

    def watch(self, entry: Entry, job: str) -> Watch:
        """Watch the job that runs a step."""
        watch = Watch(entry=entry, job=job)
        with self._lock:
            self._watches[entry.name] = watch
        self._wake.set()
        return watch

    def jobs(self) -> list[str]:
        """Return the jobs that are not known to have ended."""
        with self._lock:
            return sorted({watch.job for watch in self._watches.values()})

    def wait_for_all(self, seconds: float) -> list[str]:
        """Wait for the end of all jobs, but not for longer. Return those whose end has not come,
        for which nobody waits any more; with the batch system asked as often as is decent."""
        self._hurry = True
        self._wake.set()
        with self._is_empty:
            self._is_empty.wait_for(lambda: not self._watches, seconds)
            left = list(self._watches.values())
        for watch in left:
            watch.status = JobStatus(state=JobState.ENDED, cause=Cause.DELETED)
            self._finish(watch)
        return sorted({watch.job for watch in left})

    def describe(self) -> str:
        """Say what is known of the jobs, for people."""
        with self._lock:
            watches = {watch.job: watch for watch in self._watches.values()}
        known = Counter(map(_standing, watches.values()))
        standings = "; ".join(f"{number} {words}" for words, number in known.most_common())
        return f"for {counted(len(watches), 'job')} of {self._client.system.name}: {standings}"

    def _poll_to_the_end(self) -> None:
        try:
            self._poll()
        except BaseException:
            # Nobody may wait for what nobody watches.
            _logger.exception("the jobs cannot be watched any more")
            for watch in list(self._watches.values()):
                self._finish(watch)
            raise

    def _poll(self) -> None:
        look, asked, answered = SHORTEST_LOOK_SECONDS, time.monotonic(), time.monotonic()
        cost = 0.0
        while not self._stop:
            if self._wake.wait(look):
                self._wake.clear()
                look = SHORTEST_LOOK_SECONDS
            began = time.monotonic()
            has_news = self._look()
            looked = time.monotonic() - began
            look = look_interval(look, has_news=has_news, cost=looked)
            jobs = self.jobs()
            self._telling.note(is_waiting=bool(jobs), has_news=has_news)
            if not jobs:
                asked = answered = time.monotonic()
                continue
            wait = SHORTEST_QUERY_SECONDS if self._is_urgent() else query_interval(len(jobs), cost)
            if time.monotonic() - asked < wait:
                continue
            asked = time.monotonic()
            if self._ask(jobs):
                answered = asked
            cost = time.monotonic() - asked
            if asked - answered > _SILENCE_SECONDS:
                _logger.warning(
                    "%s has not answered for %.0f minutes; waiting for it",
                    self._client.system.name,
                    (asked - answered) / 60,
                )
                answered = asked

    def _is_urgent(self) -> bool:
        with self._lock:
            return self._hurry or any(watch.result for watch in self._watches.values())

    def _look(self) -> bool:
        """See which steps have left a result; say whether there is any news."""
        try:
            news = [name for name in self._run.ended_names() if name in self._watches]
        except OSError as error:  # a server that is away comes back
            _logger.debug("%s cannot be looked into: %s", self._run.ended, error.strerror)
            return False
        for name in news:
            self._note_result(self._watches[name])
        now = time.monotonic()
        with self._lock:
            overdue = [
                watch
                for watch in self._watches.values()
                if watch.deadline is not None and now > watch.deadline
            ]
        for watch in overdue:
            # By opening: of that an NFS client asks the server, whatever it believes.
            self._note_result(watch)
            self._finish(watch)
        return bool(news or overdue)

    def _note_result(self, watch: Watch) -> None:
        try:
            watch.result = read_result(watch.entry.path)
        except UnreadableStep as error:  # its marker came before it
            _logger.debug("%s", error)
            return
        self._run.mark_seen(watch.entry.name)
        if watch.result.ending is not StepEnding.TERMINATED:
            self._finish(watch)
        # Else the batch system is to say why; it may need some seconds to know.
        elif watch.deadline is None:
            watch.deadline = time.monotonic() + _REASON_SECONDS

    def _ask(self, jobs: Collection[str]) -> bool:
        """Ask the batch system; say whether it has answered."""
        try:
            statuses = self._client.statuses(jobs)
            if statuses is None:
                return False
            asked = set(jobs)
            with self._lock:
                watches = [watch for watch in self._watches.values() if watch.job in asked]
            for watch in watches:
                self._note_status(watch, statuses.get(watch.job))
        except BatchError as error:
            _logger.debug("%s", error)
            return False
        return True

    def _note_status(self, watch: Watch, status: JobStatus | None) -> None:
        watch.status = status or watch.status
        watch.times_unknown = 0 if status else watch.times_unknown + 1
        if status is not None and status.is_hopeless:
            self._client.delete([watch.job])
            self._finish(watch)
        elif (status and status.state is JobState.ENDED) or watch.times_unknown > 1:
            if watch.result is not None:
                self._finish(watch)
            elif watch.deadline is None:
                watch.deadline = time.monotonic() + self._news_seconds

    def _finish(self, watch: Watch) -> None:
        with self._lock:
            if self._watches.pop(watch.entry.name, None) is None:
                return
            self._is_empty.notify_all()
        watch.end = JobEnd(result=watch.result, status=watch.status)
        watch.ended.set()


def _standing(watch: Watch) -> str:
    """How it stands with a job, such that jobs of which it is the same can be counted."""
    status = watch.status
    if watch.deadline is not None or (status and status.state is JobState.ENDED):
        return "ended, and what they have left is not here yet"
    if status is None:
        return "of which nothing is known yet"
    if status.state is JobState.RUNNING:
        return "running"
    return f"waiting ({status.words})" if status.words else "waiting"


def look_interval(last: float, *, has_news: bool, cost: float) -> float:
    """Return how long to wait for the next look, in seconds: the longer nothing happens the longer,
    and long against what a look costs."""
    base = SHORTEST_LOOK_SECONDS if has_news else min(1.1 * last, LONGEST_LOOK_SECONDS)
    return max(base, 10 * cost)


def query_interval(jobs: int, cost: float) -> float:
    """Return how long to wait between two queries about so many jobs, the last of which has taken
    `cost` seconds."""
    wanted = max(SHORTEST_QUERY_SECONDS, jobs / _JOBS_A_SECOND, 20 * cost)
    return min(wanted, LONGEST_QUERY_SECONDS)
