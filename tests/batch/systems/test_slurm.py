# SPDX-License-Identifier: Apache-2.0
"""What Slurm is asked, and what its answers mean: by what a real Slurm 22.05 has said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cwl_udss.batch.systems.slurm import Slurm, escaped, job_status
from cwl_udss.batch.systems.system import (
    Answer,
    Cause,
    JobRequest,
    JobState,
    Placement,
    Resources,
    words_of,
)

REQUEST = JobRequest(
    name="align.1f",
    script=Path("/run/the script"),
    log=Path("/run/50%/log"),
    resources=Resources(cores=4, memory=2000, walltime=90_000, gpus=2),
    placement=Placement(queue="long", account="a", options=("--qos=high",)),
)


def test_what_sbatch_is_told() -> None:
    command = Slurm().submit_command(REQUEST)
    assert command[0] == "sbatch"
    assert command[-2:] == ["--qos=high", "/run/the script"]
    asked = {"--cpus-per-task=4", "--mem=2000M", "--time=25:00:00", "--gres=gpu:2"}
    assert {*asked, "--partition=long", "--account=a", "--no-requeue"} <= set(command)
    assert "--output=/run/50%%/log" in command
    silent = replace(REQUEST, resources=Resources(cores=1, memory=None, walltime=None))
    assert not any(
        word.startswith(("--mem", "--time", "--gres")) for word in Slurm().submit_command(silent)
    )


def test_a_path_in_which_slurm_would_replace_something() -> None:
    assert escaped("/a%j\\b") == "/a%%j\\\\b"


def test_what_sbatch_says() -> None:
    assert Slurm().submitted("12\n") == "12"
    assert Slurm().submitted("a word of the site\n12;cluster\n") == "12"
    assert Slurm().submitted("") == ""


@pytest.mark.parametrize(
    ("line", "state", "cause"),
    [
        ("PENDING|(null)|Resources", JobState.WAITING, None),
        ("RUNNING|node1|None", JobState.RUNNING, None),
        ("COMPLETING|node1|None", JobState.RUNNING, None),
        ("SUSPENDED|node1|None", JobState.RUNNING, None),
        ("COMPLETED|node1|None", JobState.ENDED, Cause.EXITED),
        ("FAILED|node1|NonZeroExitCode", JobState.ENDED, Cause.EXITED),
        ("FAILED|node1|JobLaunchFailure", JobState.ENDED, Cause.EXITED),
        ("FAILED||BadConstraints", JobState.ENDED, Cause.NEVER_RAN),
        ("TIMEOUT|node1|TimeLimit", JobState.ENDED, Cause.WALLTIME),
        ("OUT_OF_MEMORY|node1|OutOfMemory", JobState.ENDED, Cause.MEMORY),
        ("CANCELLED||Resources", JobState.ENDED, Cause.DELETED),
        ("CANCELLED|node1|None", JobState.ENDED, Cause.DELETED),
        ("NODE_FAIL|node1|NodeDown", JobState.ENDED, Cause.NODE_LOST),
    ],
)
def test_what_a_jobs_state_means(line: str, state: JobState, cause: Cause | None) -> None:
    status = job_status(*line.split("|"))
    assert (status.state, status.cause) == (state, cause)


def test_a_job_that_can_never_run() -> None:
    assert job_status("PENDING", "", "PartitionTimeLimit").is_hopeless
    assert not job_status("PENDING", "", "ReqNodeNotAvail, UnavailableNodes:node2").is_hopeless


def test_one_answer_for_many_jobs() -> None:
    output = b"1|COMPLETED|node1|None\n2|PENDING||ReqNodeNotAvail, UnavailableNodes:node2\n"
    found = Slurm().statuses(Answer(exit_code=0, output=output, error=""), ["1", "2", "3"])
    assert found is not None
    assert set(found) == {"1", "2"}


@pytest.mark.parametrize(
    ("error", "says_nothing"),
    [
        ("slurm_load_jobs error: Invalid job id specified", False),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True),
        ("slurm_load_jobs error: Socket timed out on send/recv operation", True),
    ],
)
def test_a_failing_query(error: str, says_nothing: bool) -> None:
    found = Slurm().statuses(Answer(exit_code=1, output=b"", error=error), ["1"])
    assert (found is None) == says_nothing


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        ("Unable to contact slurm controller (connect failure)", True),
        ("Socket timed out on send/recv operation", True),
        ("Resource temporarily unavailable", True),
        ("Invalid partition name specified", False),
        ("Requested node configuration is not available", False),
    ],
)
def test_which_refusals_may_be_over_soon(error: str, is_transient: bool) -> None:
    text = f"sbatch: error: Batch job submission failed: {error}"
    answer = Answer(exit_code=1, output=b"", error=text)
    assert Slurm().is_transient(answer) is is_transient
    assert words_of(answer) == text


def test_what_only_a_jobs_log_says() -> None:
    killed = (
        "slurmstepd-node2: error: StepId=7.batch exceeded memory limit (110018560 > 52428800), "
        "being killed\n"
    )
    assert Slurm().cause_in_log(killed) is Cause.MEMORY
    assert Slurm().cause_in_log("a tool's own words\n") is None


def test_which_jobs_there_are() -> None:
    def found(code: int, output: bytes) -> list[str] | None:
        return Slurm().found(Answer(exit_code=code, output=output, error="squeue: error"))

    assert found(0, b"") == []
    assert found(0, b"7\n12\n") == ["7", "12"]
    assert found(1, b"") is None
