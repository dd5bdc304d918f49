# SPDX-License-Identifier: Apache-2.0
"""`cwl-udss doctor --batch`: has one tiny job say what a node sees, before a run depends on it."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cwl_udss.batch.poller import SHARED_NEWS_SECONDS
from cwl_udss.batch.run_directory import exports, new_run_name
from cwl_udss.batch.systems.client import Client
from cwl_udss.batch.systems.system import BatchError, JobRequest, JobState, JobStatus
from cwl_udss.batch.wishes import Said, make_wish
from cwl_udss.errors import StoreError
from cwl_udss.machine.waiting import told
from cwl_udss.settings.settings import Settings
from cwl_udss.staging import remove_tree

_QUERY_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class NodeAnswer:
    """What `cwl-udss doctor` has said on a node."""

    job: str
    seconds: float
    """From the submission to the answer."""
    text: str
    is_well: bool


def examine_node(client: Client, settings: Settings, environment: Mapping[str, str]) -> NodeAnswer:
    """Submit a job and wait for its answer. Raises BatchError if none comes, with what may be the
    reason, or StoreError."""
    with _directory(settings.runs) as directory:
        script = directory / "script"
        script.write_text(_script(directory, settings, environment), encoding="utf-8")
        wish = make_wish(Said(cores=None, memory=None, time_limit=None), {}, settings)
        began = time.monotonic()
        job = client.submit(
            JobRequest(
                name=f"{wish.name_prefix}cwl-udss-doctor",
                script=script,
                log=directory / "log",
                resources=wish.resources,
                placement=wish.placement,
            ),
            lambda: False,
        )
        try:
            print(
                f"job {job} was submitted; waiting for its answer (ctrl-C deletes it)", flush=True
            )
            text = _wait(client, job, directory)
        except BaseException:
            client.hurry()
            client.delete([job])
            raise
        code, _, answer = text.partition("\n")
        seconds = time.monotonic() - began
        return NodeAnswer(job=job, seconds=seconds, text=answer, is_well=code == "0")


@contextlib.contextmanager
def _directory(runs: Path) -> Iterator[Path]:
    path = runs / f"doctor.{new_run_name()}"
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise StoreError(
            f"{runs} cannot be written to: {error.strerror}", "name another with --udss-runs"
        ) from error
    try:
        yield path
    finally:
        remove_tree(path)
        with contextlib.suppress(OSError):  # runs are in it
            runs.rmdir()


def _script(directory: Path, settings: Settings, environment: Mapping[str, str]) -> str:
    """What the job does: the answer appears by rename, when it is whole, after its exit code."""
    options = [f"--udss-store={settings.store}"]
    options += [] if settings.scratch is None else [f"--udss-scratch={settings.scratch}"]
    options += [f"--udss-runtime={settings.runtime}"]
    options += [f"--udss-accept={name}" for name in settings.accept]
    options += [] if settings.bwrap is None else [f"--udss-bwrap={settings.bwrap}"]
    doctor = shlex.join([sys.executable, "-m", "cwl_udss", "doctor", *options])
    return "\n".join(
        (
            "#!/bin/sh",
            f"cd {shlex.quote(str(directory))} || exit",
            "exec >log 2>&1",
            *exports(environment),
            f"{doctor} >text",
            "{ echo $?; hostname; cat text; } >made && mv made answer",
            "",
        )
    )


@dataclass
class _Seen:
    """What the batch system has said of the job."""

    status: JobStatus | None = None

    def describe(self, job: str) -> str:
        if self.status is None:
            return f"for job {job}, of which nothing is known yet"
        return f"for job {job}: {self.status.words or self.status.state.value}"


def _wait(client: Client, job: str, directory: Path) -> str:
    seen = _Seen()
    with told(lambda: seen.describe(job)):
        return _wait_for_answer(client, job, directory, seen)


def _wait_for_answer(client: Client, job: str, directory: Path, seen: _Seen) -> str:
    deadline: float | None = None
    while True:
        with contextlib.suppress(FileNotFoundError):
            return (directory / "answer").read_text(encoding="utf-8", errors="replace")
        statuses = client.statuses([job])
        if statuses is not None:
            seen.status = statuses.get(job, seen.status)
            is_over = job not in statuses or statuses[job].state is JobState.ENDED
            if seen.status is not None and seen.status.is_hopeless:
                raise BatchError(f"job {job} will never run", seen.status.words)
            if is_over:
                deadline = deadline or time.monotonic() + SHARED_NEWS_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            node = f" on {seen.status.node}" if seen.status and seen.status.node else ""
            raise BatchError(
                f"job {job} has ended{node}, but nothing of it is to be seen in {directory}",
                f"does that node see this directory, and {sys.executable}? Name one on a shared "
                "filesystem with --udss-runs, and install cwl-udss on one",
            )
        time.sleep(_QUERY_SECONDS)
