# SPDX-License-Identifier: Apache-2.0
"""Slurm. States and reasons are those of squeue(1), seen on Slurm 22.05."""

from __future__ import annotations

import re
from collections.abc import Collection

from cwl_udss.batch.systems.system import Answer, Cause, JobRequest, JobState, JobStatus, clock

_WAITING_STATES = frozenset(
    ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
)
_CAUSES = {
    "COMPLETED": Cause.EXITED,
    "FAILED": Cause.EXITED,
    "TIMEOUT": Cause.WALLTIME,
    "DEADLINE": Cause.WALLTIME,
    "OUT_OF_MEMORY": Cause.MEMORY,
    "CANCELLED": Cause.DELETED,
    "REVOKED": Cause.DELETED,
    "NODE_FAIL": Cause.NODE_LOST,
    "BOOT_FAIL": Cause.NODE_LOST,
    "PREEMPTED": Cause.NODE_LOST,
}
# Of a job that waits: what no waiting will change.
_HOPELESS = frozenset(
    (
        *("AccountNotAllowed", "BadConstraints", "InvalidAccount", "InvalidQOS"),
        *("PartitionNodeLimit", "PartitionTimeLimit", "QOSNotAllowed"),
    )
)
_TRANSIENT = re.compile(
    r"socket timed out|unable to contact slurm controller|connection refused|connect failure"
    r"|slurm temporarily unable|resource temporarily unavailable|zero bytes were transmitted"
    r"|too many (jobs|requests)|job submit limit|communication connection failure|try again",
    re.IGNORECASE,
)
_UNKNOWN_JOB = "Invalid job id specified"
_OVER_MEMORY = re.compile(r"exceeded .*memory limit|oom[-_ ]kill|out of memory", re.IGNORECASE)


class Slurm:
    """Slurm by its commands."""

    name = "Slurm"

    def submit_command(self, request: JobRequest) -> list[str]:
        """Return the sbatch command."""
        resources, placement = request.resources, request.placement
        words = [
            *("sbatch", "--parsable", f"--job-name={request.name}"),
            # What runs a step again is ours to decide, and what its job sees the script says.
            # NONE would have Slurm ask a login shell for an environment: a minute at some sites.
            *("--no-requeue", "--export=PATH", "--open-mode=append"),
            *(f"--output={escaped(str(request.log))}", "--chdir=/"),
            *(f"--nodes={resources.nodes}", f"--ntasks={resources.nodes}"),
            f"--cpus-per-task={resources.cores}",
        ]
        if resources.memory is not None:
            words.append(f"--mem={resources.memory}M")
        if resources.walltime is not None:
            words.append(f"--time={clock(resources.walltime)}")
        if resources.gpus:
            words.append(f"--gres=gpu:{resources.gpus}")
        if placement.queue:
            words.append(f"--partition={placement.queue}")
        if placement.account:
            words.append(f"--account={placement.account}")
        return [*words, *placement.options, str(request.script)]

    def submitted(self, output: str) -> str:
        """Return the id that sbatch has printed; after it may come `;` and a cluster."""
        found = re.search(r"^(\d+)(;\S*)?$", output, re.MULTILINE)
        return found[1] if found else ""

    def query_command(self, jobs: Collection[str]) -> list[str]:
        """Return the squeue command."""
        return [
            *("squeue", "--noheader", "--states=all", f"--jobs={','.join(jobs)}"),
            "--format=%i|%T|%N|%r",
        ]

    def statuses(self, answer: Answer, jobs: Collection[str]) -> dict[str, JobStatus] | None:
        """Return what squeue says. Of one job that is unknown it says so, among others nothing."""
        if answer.exit_code and _UNKNOWN_JOB not in answer.error:
            return None
        lines = answer.output.decode(errors="replace").splitlines()
        fields = [line.strip().split("|", 3) for line in lines if line.count("|") >= 3]
        return {job: job_status(state, node, reason) for job, state, node, reason in fields}

    def delete_command(self, jobs: Collection[str]) -> list[str]:
        """Return the scancel command."""
        return ["scancel", *jobs]

    def find_command(self, name: str) -> list[str]:
        """Return the squeue command."""
        return ["squeue", "--noheader", "--states=all", "--me", f"--name={name}", "--format=%i"]

    def found(self, answer: Answer) -> list[str] | None:
        """Return the ids that squeue has printed."""
        return None if answer.exit_code else answer.output.decode(errors="replace").split()

    def is_transient(self, answer: Answer) -> bool:
        """Say whether the controller may have time later."""
        return answer.exit_code != 0 and bool(_TRANSIENT.search(answer.error))

    def cause_in_log(self, log: str) -> Cause | None:
        """Where no cgroup enforces memory, the state of such a job is just FAILED."""
        return Cause.MEMORY if _OVER_MEMORY.search(log) else None


def escaped(path: str) -> str:
    """A path in which sbatch replaces nothing: see "filename pattern" in sbatch(1)."""
    return path.replace("\\", "\\\\").replace("%", "%%")


def job_status(state: str, node: str, reason: str) -> JobStatus:
    """Return what a line of squeue says."""
    node = "" if node == "(null)" else node
    words = state if reason in ("None", "") else f"{state}, {reason}"
    if state in _WAITING_STATES:
        return JobStatus(state=JobState.WAITING, words=words, is_hopeless=reason in _HOPELESS)
    if state not in _CAUSES:
        return JobStatus(state=JobState.RUNNING, words=words, node=node)
    cause = _CAUSES[state]
    if cause is Cause.EXITED and not node:
        cause = Cause.NEVER_RAN
    return JobStatus(state=JobState.ENDED, cause=cause, words=words, node=node)
