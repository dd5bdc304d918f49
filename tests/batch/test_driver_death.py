# SPDX-License-Identifier: Apache-2.0
"""A driver that dies at any moment: the next one goes on, and no step is submitted twice."""

from __future__ import annotations

import json
import random
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, serve, wait_until
from mortal import Mortals, mortals
from test_batch_runs import Runs

DEATHS = 10
STEPS = 3
# The driver dies when it has moved so many of its results to where the person wants them.
DIES_WHILE_IT_MOVES = """
import os, signal, sys
from cwl_udss.engine import driver
from cwl_udss.engine.outputs import relocation
moved, move = 0, relocation._move
def move_and_die(source, target):
    global moved
    move(source, target)
    moved += 1
    if moved == {}:
        os.kill(os.getpid(), signal.SIGKILL)
relocation._move = move_and_die
sys.exit(driver.run(sys.argv[1:]))
"""


@pytest.fixture(scope="module", params=["pbs", "slurm"])
def cluster(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Cluster]:
    with serve(request.param, environment) as running:
        yield running


@pytest.fixture
def runs(cluster: Cluster, environment: dict[str, str], tmp_path: Path) -> Runs:
    return Runs(cluster, environment, tmp_path)


@pytest.fixture
def drivers(runs: Runs) -> Iterator[Mortals]:
    with mortals(runs.directory, runs.environment) as started:
        yield started


@pytest.mark.parametrize("cached", [False, True], ids=["resumed", "cached"])
def test_any_moment(runs: Runs, drivers: Mortals, cached: bool) -> None:
    workflow = runs.scatter("sleep 0.3; echo $0", STEPS)
    batch = ("--udss", "--udss-batch", runs.cluster.name)

    def options(trial: int) -> list[str | Path]:
        place = runs.directory / str(trial)
        where = ["--cachedir", place / "cache"] if cached else ["--udss-runs", place / "runs"]
        return [*batch, "--outdir", place / "out", *where]

    undisturbed = drivers.run("cwltool", *options(DEATHS), *workflow)
    assert undisturbed.code == 0, undisturbed.said
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # of a test that fails
    moments = random.Random(seed)
    for trial in range(DEATHS):
        before = runs.cluster.submitted()
        moment = moments.uniform(0, undisturbed.seconds)
        died = drivers.run("cwltool", *options(trial), *workflow, moment=moment)
        assert "Traceback" not in died.said
        found = [path.parent for path in (runs.directory / str(trial)).glob("runs/*/steps")]
        resumed = ["--udss-resume", found[0]] if found and died.code != 0 else []
        again = drivers.run("cwltool", *options(trial), *resumed, *workflow)
        assert again.code == 0, again.said
        out = runs.directory / str(trial) / "out"
        assert sorted(path.read_text() for path in out.iterdir() if "out" in path.name)[:STEPS] == [
            f"w{number}\n" for number in range(STEPS)
        ]
        # When it has said so the run is over, though it has still something to remove.
        if died.code != 0 and "Final process status is success" not in died.said:
            assert runs.cluster.submitted() == before + STEPS, died.said + again.said
        wait_until(lambda: not runs.cluster.jobs())


@pytest.mark.parametrize("moved", [1, STEPS])
def test_while_it_moves_its_results(runs: Runs, moved: int) -> None:
    workflow = runs.scatter("echo $0", STEPS)
    before = runs.cluster.submitted()
    batch = ("--udss", "--udss-batch", runs.cluster.name, "--outdir", "out")
    died = subprocess.run(
        [sys.executable, "-c", DIES_WHILE_IT_MOVES.format(moved), *batch, *workflow],
        cwd=runs.directory,
        env=runs.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    (run,) = runs.directory.glob("cwl-udss-runs/*")
    again = runs.run("--udss-resume", run.name, *workflow)
    assert runs.outputs(again) == [f"w{number}\n" for number in range(STEPS)]
    assert runs.cluster.submitted() == before + STEPS
    assert len(list((runs.directory / "out").iterdir())) == STEPS
    assert not list(run.glob("steps/*/outputs"))


def killed(runs: Runs, process: subprocess.Popen[str]) -> str:
    """Kill a driver; return what its run is called."""
    process.kill()
    process.communicate()
    (run,) = runs.directory.glob("cwl-udss-runs/*")
    return run.name


def test_a_batch_system_that_does_not_say_which_jobs_it_has(runs: Runs) -> None:
    workflow = runs.scatter("sleep 12; echo $0", STEPS)
    before = runs.cluster.submitted()
    process = runs.start(*workflow)
    runs.wait_for_jobs(process, STEPS)
    run = killed(runs, process)
    for step in runs.steps:  # as of a driver that has died earlier
        submitted = json.loads((step / "job.json").read_text())
        (step / "job.json").write_text(json.dumps({**submitted, "job": ""}))
        wait_until((step / "started.json").exists)
        (step / "started.json").unlink()
    with runs.cluster.down():
        process = runs.start("--udss-resume", run, *workflow)
        assert process.stderr is not None
        while "trying again" not in (line := process.stderr.readline()):
            assert line, "it has ended"
    _, error = process.communicate()
    assert error.count(" is still ") == STEPS, error
    assert runs.cluster.submitted() == before + STEPS


def test_a_job_that_is_submitted_after_its_driver_has_died(runs: Runs) -> None:
    programs = runs.directory / "programs"
    programs.mkdir()
    name = {"pbs": "qsub", "slurm": "sbatch"}[runs.cluster.name]
    real = shutil.which(name, path=runs.environment["PATH"])
    late = programs / name
    late.write_text(f'#!/bin/sh\ntouch begun\nsleep 8\nexec {shlex.quote(str(real))} "$@"\n')
    late.chmod(0o755)
    path = runs.environment["PATH"]
    runs.environment["PATH"] = f"{programs}:{path}"
    before = runs.cluster.submitted()
    workflow = runs.scatter("echo $0", 1)
    process = runs.start(*workflow)
    wait_until((runs.directory / "begun").exists)
    run = killed(runs, process)
    runs.environment["PATH"] = path
    again = runs.run("--udss-resume", run, *workflow)
    assert runs.outputs(again) == ["w0\n"]
    wait_until(lambda: runs.cluster.submitted() == before + 2)
    (first,) = (step for step in runs.steps if not (step / "result.json").exists())
    log = first / "log"
    wait_until(lambda: log.exists() and "another job has run" in log.read_text())
    wait_until(lambda: not runs.cluster.jobs())
    assert not (first / "result.json").exists()
