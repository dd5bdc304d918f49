# SPDX-License-Identifier: Apache-2.0
"""What PBS is asked, and what its answers mean: by what a real OpenPBS has said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cwl_udss.batch.systems.pbs import Pbs, job_status, parse_jobs, parse_memory
from cwl_udss.batch.systems.system import (
    Answer,
    Cause,
    JobRequest,
    JobState,
    Placement,
    Resources,
    words_of,
)


def request(placement: Placement | None = None, **resources: Any) -> JobRequest:
    return JobRequest(
        name="align.1f",
        script=Path("/run/the script"),
        log=Path("/run/log"),
        resources=Resources(**{"cores": 4, "memory": 2000, "walltime": 5400, **resources}),
        placement=placement or Placement(),
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (request(), ["-l", "select=1:ncpus=4:mem=2000mb", "-l", "walltime=01:30:00"]),
        (request(memory=None, walltime=None), ["-l", "select=1:ncpus=4"]),
        (request(gpus=2, memory=None), ["select=1:ncpus=4:ngpus=2"]),
        (request(Placement(chunk="scratch=10gb:cpu=rome")), ["scratch=10gb:cpu=rome"]),
        (request(Placement(uses_select=False)), ["-l", "ncpus=4,mem=2000mb,walltime=01:30:00"]),
        (request(Placement(queue="long", account="a", project="p")), ["-q", "-A", "-P"]),
        (request(Placement(options=("-l", "place=excl"))), ["-l", "place=excl", "/run/the script"]),
    ],
)
def test_what_qsub_is_told(asked: JobRequest, words: list[str]) -> None:
    command = Pbs().submit_command(asked)
    text = " ".join(command)
    assert all(word in text for word in words)
    assert command[0] == "qsub"
    assert command[-1] == "/run/the script"
    assert ("select" in text) == asked.placement.uses_select


def test_what_qsub_says() -> None:
    assert Pbs().submitted("1.pbshead\n") == "1.pbshead"
    assert Pbs().submitted("warning of a hook\n12.head.site.org\n") == "12.head.site.org"
    assert Pbs().submitted("") == ""


@pytest.mark.parametrize(
    ("facts", "state", "cause"),
    [
        ({"job_state": "Q"}, JobState.WAITING, None),
        ({"job_state": "H"}, JobState.WAITING, None),
        ({"job_state": "R", "substate": 42}, JobState.RUNNING, None),
        ({"job_state": "E", "substate": 51, "Exit_status": 0}, JobState.RUNNING, None),
        ({"job_state": "F", "substate": 92, "Exit_status": 0}, JobState.ENDED, Cause.EXITED),
        ({"job_state": "F", "substate": 93, "Exit_status": 3}, JobState.ENDED, Cause.EXITED),
        ({"job_state": "F", "substate": 93, "Exit_status": 137}, JobState.ENDED, Cause.EXITED),
        ({"job_state": "F", "substate": 93, "Exit_status": -29}, JobState.ENDED, Cause.WALLTIME),
        ({"job_state": "F", "substate": 93, "Exit_status": -27}, JobState.ENDED, Cause.MEMORY),
        ({"job_state": "F", "substate": 91, "Exit_status": 271}, JobState.ENDED, Cause.DELETED),
        ({"job_state": "F", "substate": 93, "Exit_status": 265}, JobState.ENDED, Cause.DELETED),
        ({"job_state": "F", "substate": 91}, JobState.ENDED, Cause.DELETED),
        ({"job_state": "F", "substate": 92}, JobState.ENDED, Cause.NEVER_RAN),
        ({"job_state": "F", "substate": 93, "Exit_status": -4}, JobState.ENDED, Cause.NODE_LOST),
        ({"job_state": "F", "substate": 93, "Exit_status": -2}, JobState.ENDED, Cause.NEVER_RAN),
    ],
)
def test_what_a_jobs_state_means(
    facts: dict[str, Any], state: JobState, cause: Cause | None
) -> None:
    status = job_status(facts)
    assert (status.state, status.cause) == (state, cause)


def test_a_job_that_can_never_run() -> None:
    words = "Can Never Run: Insufficient amount of resource: mem (R: 999gb A: 32gb T: 32gb)"
    assert job_status({"job_state": "Q", "comment": words}).is_hopeless
    assert not job_status({"job_state": "Q", "comment": "Not Running: busy"}).is_hopeless


def answer(jobs: dict[str, Any], error: str = "", code: int = 0) -> Answer:
    facts = {"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "pbshead"}
    content = json.dumps({**facts, **({"Jobs": jobs} if jobs else {})})
    return Answer(exit_code=code, output=content.encode(), error=error)


def test_unknown_jobs_among_known_ones() -> None:
    pbs = Pbs()
    jobs = ["1.pbshead", "2.pbshead"]
    known = answer({"1.pbshead": {"job_state": "R"}}, "qstat: Unknown Job Id 2.pbshead", 153)
    assert list(pbs.statuses(known, jobs) or ()) == ["1.pbshead"]
    none = answer({}, "qstat: Unknown Job Id 1.pbshead\nqstat: Unknown Job Id 2.pbshead", 153)
    assert pbs.statuses(none, jobs) == {}


def test_a_server_that_calls_itself_otherwise() -> None:
    found = Pbs().statuses(answer({"7.head": {"job_state": "R"}}), ["7.head.site.org"])
    assert list(found or ()) == ["7.head.site.org"]


@pytest.mark.parametrize(
    "error",
    [
        "Connection refused\nqstat: cannot connect to server pbshead (errno=15010)",
        "qstat: Pbs Server is currently too busy to service this request. Please retry.",
        "pbs_iff: all reserved ports in use",
    ],
)
def test_a_server_that_is_away_says_nothing_of_jobs(error: str) -> None:
    away = answer({}, error, 255)
    assert Pbs().statuses(away, ["1.pbshead"]) is None
    assert Pbs().is_transient(away)
    assert Pbs().statuses(Answer(exit_code=255, output=b"", error=""), ["1.pbshead"]) is None


def test_a_server_without_a_memory() -> None:
    pbs = Pbs()
    assert "-x" in pbs.query_command(["1"])
    refused = Answer(
        exit_code=1, output=b"", error="qstat: PBS is not configured to maintain job history"
    )
    assert pbs.statuses(refused, ["1"]) is None
    assert "-x" not in pbs.query_command(["1"])


def test_json_that_is_none() -> None:
    text = """{
	"timestamp":1,
	"pbs_server":"pbshead",
	"Jobs":{
		"20.pbshead":{
			"Job_Name":.5,
			"resources_used":{
				"mem":"4372kb",
				"walltime":"00:00:11"
			},
			"job_state":"F",
			"exec_host":"node1/0",
			"Resource_List":{
				"mem":"100mb"
			},
			"substate":93,
			"Variable_List":{
				"X":inf,
				"Y":",PBS_O_QUEUE=workq"
			},
			"comment":"Job run and exceeded resource walltime",
			"Exit_status":-29
		},
		"21.pbshead":{
			"job_state":"R"
		}
	}
}"""  # fmt: skip
    jobs = parse_jobs(text)
    status = job_status(jobs["20.pbshead"])
    assert (status.cause, status.node, status.memory_bytes) == (Cause.WALLTIME, "node1", 4372 << 10)
    assert job_status(jobs["21.pbshead"]).state is JobState.RUNNING


def test_amounts_of_memory() -> None:
    assert [parse_memory(text) for text in ("0kb", "625560kb", "2gb", "17", "")] == [
        *(0, 625560 << 10, 2 << 30, 17),
        None,
    ]


def test_a_refusal_in_a_line() -> None:
    usage = (
        "qsub: illegal -N value\nusage: qsub [-a date_time]\n\t[-C prefix]\n       qsub --version"
    )
    assert words_of(Answer(exit_code=2, output=b"", error=usage)) == "qsub: illegal -N value"
    assert words_of(Answer(exit_code=3, output=b"", error="")) == "exit code 3"


@pytest.mark.parametrize(
    ("code", "output", "error", "found"),
    [
        (0, b"", "", []),
        (0, b"7.head\n12.head\n", "", ["7.head", "12.head"]),
        (
            226,
            b"",
            "Connection refused\nqselect: cannot connect to server head (errno=15010)",
            None,
        ),
        (1, b"", "qselect: timed out", None),
        (1, b"7.head\n", "Communication failure.", None),
    ],
)
def test_which_jobs_there_are(
    code: int, output: bytes, error: str, found: list[str] | None
) -> None:
    assert Pbs().found(Answer(exit_code=code, output=output, error=error)) == found


@pytest.mark.parametrize("code", [0, 1])
def test_a_server_without_a_memory_is_asked_for_what_it_knows(code: int) -> None:
    pbs = Pbs()
    assert "-x" in pbs.find_command("align.1f")
    error = "qselect: PBS is not configured to maintain job history"
    assert pbs.found(Answer(exit_code=code, output=b"", error=error)) is None
    assert "-x" not in pbs.find_command("align.1f")
