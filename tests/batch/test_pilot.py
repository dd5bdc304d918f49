# SPDX-License-Identifier: Apache-2.0
"""Steps inside allocations, by a real Parsl."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from clusters import Cluster, serve, wait_until
from test_batch_runs import Runs

from cwl_udss.batch.pilots.allocations import lsf_options, make_allocations
from cwl_udss.batch.systems.system import BatchError
from cwl_udss.settings.config import load_settings


@pytest.fixture(scope="module", params=["local", "slurm", "pbs"])
def cluster(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Cluster]:
    if request.param == "local":
        yield Cluster.none("local")
        return
    with serve(request.param, environment) as running:
        yield running


@pytest.fixture
def runs(cluster: Cluster, environment: dict[str, str], tmp_path: Path) -> Runs:
    return Runs(cluster, environment, tmp_path)


PILOT = ("--udss-pilot", "--udss-batch-cores", "2", "--udss-batch-walltime", "10m")


def test_steps_run_in_an_allocation(runs: Runs) -> None:
    before = runs.cluster.submitted()
    done = runs.run(*PILOT, *runs.scatter("test $0 != w3 || exit 4; echo $0", 8))
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("completed success") == 7
    assert "exit code 4" in done.stderr
    results = [json.loads((step / "result.json").read_text()) for step in runs.steps]
    assert len(results) == 8
    if runs.cluster.name != "local":
        assert {result["node"] for result in results} <= runs.cluster.nodes
        assert runs.cluster.submitted() == before + 1
        wait_until(lambda: not runs.cluster.jobs())


def test_a_temporary_directory_whose_name_is_too_long_for_sockets(
    cluster: Cluster, environment: dict[str, str], tmp_path: Path
) -> None:
    temporary = tmp_path / ("t" * 100)
    temporary.mkdir()
    runs = Runs(cluster, {**environment, "TMPDIR": str(temporary)}, tmp_path)
    done = runs.run(*PILOT, *runs.scatter("echo $0", 2))
    assert done.returncode == 0, done.stderr


def test_an_allocation_of_several_nodes(runs: Runs) -> None:
    """On PBS that needs an mpiexec."""
    if runs.cluster.name != "slurm":
        return
    cores = ("--udss-batch-cores", "1", "--udss-pilot-nodes", "2")
    done = runs.run("--udss-pilot", *cores, *runs.scatter("sleep 3; echo $0", 4))
    assert done.returncode == 0, done.stderr
    results = [json.loads((step / "result.json").read_text()) for step in runs.steps]
    assert {result["node"] for result in results} == runs.cluster.nodes


def test_what_has_ended_is_not_run_again(runs: Runs) -> None:
    workflow = runs.scatter("test $0 != w3 || exit 4; echo $0", 4)
    runs.run(*PILOT, *workflow)
    (run,) = runs.directory.glob("cwl-udss-runs/*")
    again = runs.run(*PILOT, "--udss-resume", run, *workflow)
    assert again.stderr.count("result of an earlier run") == 3


def test_an_interrupt_ends_the_allocation(runs: Runs) -> None:
    process = runs.start(*PILOT, *runs.scatter("sleep 77", 3))
    wait_until(lambda: any(step.joinpath("started.json").exists() for step in runs.steps))
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in error
    wait_until(lambda: not sleeping("77"))
    if runs.cluster.name != "local":
        wait_until(lambda: not runs.cluster.jobs())


def test_a_step_that_asks_for_more_than_a_worker_has(runs: Runs) -> None:
    cores = {"ResourceRequirement": {"coresMin": 2}}
    done = runs.run(*PILOT, runs.write("tool.cwl", runs.tool("true", requirements=cores)))
    assert done.returncode == 1
    assert "raise --udss-pilot-cores" in done.stderr


def sleeping(seconds: str) -> list[psutil.Process]:
    processes = psutil.process_iter(["cmdline"])
    return [
        process
        for process in processes
        if (process.info["cmdline"] or [])[-2:] == ["sleep", seconds]
    ]


def test_what_lsf_is_asked_for(tmp_path: Path) -> None:
    """There is none here: that Parsl's provider takes it is all that is seen."""
    options = {
        "udss_batch": "lsf",
        "udss_batch_queue": "long",
        "udss_batch_options": "-R 'rusage[mem=4G]'",
        "udss_pilot_nodes": "4",
    }
    settings = load_settings(options, {}, tmp_path, site_file=tmp_path / "none")
    asked = lsf_options(settings, 16, 7200)
    assert (asked["queue"], asked["nodes_per_block"], asked["walltime"]) == ("long", 4, "02:00:00")
    allocations = make_allocations(settings, 16, None, {})
    with pytest.raises(BatchError) as raised:
        allocations.begin("pilot", tmp_path / "a b/script", tmp_path / "a b/log")
    assert "characters in it that cannot be given to LSF" in str(raised.value)
