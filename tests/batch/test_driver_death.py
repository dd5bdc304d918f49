# SPDX-License-Identifier: Apache-2.0
"""A driver that dies at any moment: the next one goes on, and no step is submitted twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import Cluster, serve, wait_until
from mortal import Mortals, mortals
from test_batch_runs import Runs

DEATHS = 10
STEPS = 3


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
        found = list((runs.directory / str(trial)).glob("runs/*"))
        resumed = ["--udss-resume", found[0]] if found and died.code != 0 else []
        again = drivers.run("cwltool", *options(trial), *resumed, *workflow)
        assert again.code == 0, again.said
        out = runs.directory / str(trial) / "out"
        assert sorted(path.read_text() for path in out.iterdir() if "out" in path.name)[:STEPS] == [
            f"w{number}\n" for number in range(STEPS)
        ]
        if died.code != 0:
            assert runs.cluster.submitted() == before + STEPS, died.said + again.said
        wait_until(lambda: not runs.cluster.jobs())
