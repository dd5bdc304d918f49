# SPDX-License-Identifier: Apache-2.0
"""The clusters on which the tests of batch runs are made, seen through what they have in common."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from needs import SCRATCH
from nodes import make_node
from pbs_settings import PbsNode
from pbs_stand_in import serve_pbs
from slurm import serve_slurm

_NODES = frozenset(("node1", "node2"))
_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A batch system, and how to interfere with it."""

    name: str
    """As in --udss-batch."""
    title: str
    """As people call it."""
    environment: Mapping[str, str]
    directory: Path
    """Short, and on the filesystem that all nodes share."""
    down: Callable[[], contextlib.AbstractContextManager[None]]
    lose_node: Callable[[str], None]
    revive_node: Callable[[str], None]
    unknown_queue: str
    """What it says when there is no such queue."""
    nodes: frozenset[str] = _NODES
    """Their names, if they are known."""
    memory_seconds: int = 4
    """For how long a job must hold its memory for that to be noticed."""

    @classmethod
    def none(cls, name: str) -> Cluster:
        """What there is without a batch system."""
        return cls(
            name=name,
            title=name,
            environment={},
            directory=Path(),
            down=contextlib.nullcontext,
            lose_node=lambda node: None,
            revive_node=lambda node: None,
            unknown_queue="",
        )

    def jobs(self) -> list[str]:
        """Return the jobs that wait or run."""
        command = {
            "pbs": ["qselect", "-s", "QHRWTS"],
            "slurm": ["squeue", "--noheader", "--format=%i", "--states=PENDING,RUNNING"],
        }[self.name]
        return self.run(*command).split()

    def delete(self, *jobs: str) -> None:
        """Delete jobs, as an operator does."""
        self.run({"pbs": "qdel", "slurm": "scancel"}[self.name], *jobs)

    def submitted(self) -> int:
        """Return how many jobs there ever were."""
        if self.name == "local":
            return 0
        if self.name == "pbs":
            return len(self.run("qselect", "-x").split())
        # It forgets jobs after a minute, but counts on.
        ids = self.run("squeue", "--noheader", "--states=all", "--format=%i").split()
        return max(map(int, ids), default=0)

    def run(self, *command: str) -> str:
        """Run one of the batch system's commands; return what it prints."""
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        ).stdout


def wait_until(condition: Callable[[], object], patience: float = _PATIENCE) -> None:
    """Wait for a condition that must come."""
    give_up = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < give_up, "it has not come"
        time.sleep(0.1)


@contextlib.contextmanager
def serve(name: str, environment: Mapping[str, str]) -> Iterator[Cluster]:
    """Run a cluster with two nodes, each with a name and a scratch directory of its own."""
    # Slurm's sockets need a short path.
    directory = Path(tempfile.mkdtemp(prefix="c", dir=SCRATCH))
    try:
        is_real = name == "pbs" and os.environ.get("CWL_UDSS_TESTS_PBS") == "real"
        servers = {"pbs": _real_pbs if is_real else _pbs, "slurm": _slurm}
        with servers[name](directory, environment) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def _pbs(directory: Path, environment: Mapping[str, str]) -> Iterator[Cluster]:
    nodes = []
    for number in (1, 2):
        node = make_node(number, directory, environment)
        command = tuple(map(str, node.command("env", f"TMPDIR={node.scratch}")))
        nodes.append(PbsNode(name=node.name, ncpus=4, mem="4gb", command=command))
    with serve_pbs(directory / "pbs", nodes=nodes, time_scale=0.1) as pbs:
        yield Cluster(
            name="pbs",
            title="PBS",
            environment={"PATH": f"{pbs.environment['PATH']}"},
            directory=directory,
            down=pbs.down,
            lose_node=pbs.lose_node,
            revive_node=pbs.revive_node,
            unknown_queue="Unknown queue",
        )


@contextlib.contextmanager
def _real_pbs(directory: Path, environment: Mapping[str, str]) -> Iterator[Cluster]:
    if shutil.which("qstat") is None:
        pytest.fail("there is no qstat on PATH")

    def impossible(node: str = "") -> NoReturn:
        pytest.skip("only an operator can do that")

    yield Cluster(
        name="pbs",
        title="PBS",
        environment={"PATH": os.environ["PATH"]},
        directory=directory,
        down=impossible,
        lose_node=impossible,
        revive_node=impossible,
        unknown_queue="Unknown queue",
        nodes=frozenset(),
        memory_seconds=25,  # a MoM looks every ten
    )


@contextlib.contextmanager
def _slurm(directory: Path, environment: Mapping[str, str]) -> Iterator[Cluster]:
    place = directory / "slurm"
    place.mkdir()
    with serve_slurm(place, cpus=4) as slurm:

        @contextlib.contextmanager
        def down() -> Iterator[None]:
            slurm.stop_controller()
            try:
                yield
            finally:
                slurm.start_controller()

        def revive(name: str) -> None:
            slurm.start_node(name)
            slurm.wait_for_nodes()

        yield Cluster(
            name="slurm",
            title="Slurm",
            environment=slurm.environment,
            directory=directory,
            down=down,
            lose_node=slurm.kill_node,
            revive_node=revive,
            unknown_queue="invalid partition",
        )
