# SPDX-License-Identifier: Apache-2.0
"""Pilots that can never start, or lose what they need: an end with reason, and nothing left."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from clusters import Cluster, serve, wait_until
from test_batch_runs import Runs

PILOT = ("--udss-pilot", "--udss-batch-cores", "1", "--udss-batch-walltime", "10m")
ODD_NAMES = ["a b", "it's", 'q"q', "$HOME;x", "100%d", "ü{x}", "two\nlines", "\\t*?", "[ab]"]


@pytest.fixture
def local(environment: dict[str, str], tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(Cluster.none("local"), environment, tmp_path)
    yield runs
    wait_until(lambda: not processes_of(runs.directory))


@pytest.fixture(scope="module")
def slurm(environment: dict[str, str]) -> Iterator[Cluster]:
    with serve("slurm", environment) as running:
        yield running


def processes_of(directory: Path) -> list[list[str]]:
    """The processes that have to do with a run, by their command lines. Parsl's interchange has
    none that tells."""
    found = [process.info for process in psutil.process_iter(["cmdline", "cwd"])]
    known = [(info["cmdline"] or [], info["cwd"] or "") for info in found]
    return [
        words for words, place in known if any(str(directory) in word for word in (*words, place))
    ]


def interchange_of(driver: subprocess.Popen[str]) -> psutil.Process:
    children = psutil.Process(driver.pid).children()
    return next(child for child in children if "interchange" in " ".join(child.cmdline()))


def terminated(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[float, str]:
    """Send a signal; return how many seconds the process has taken to end, and what it has said."""
    began = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    return time.monotonic() - began, error


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_path_will_do(local: Runs, name: str) -> None:
    local.directory /= name
    local.directory.mkdir()
    tool = local.write("tool.cwl", local.tool("echo $0"))
    done = local.run(*PILOT, "--udss-scratch", local.directory, tool)
    assert done.returncode == 0, done.stderr


def test_any_path_will_do_with_a_batch_system(
    slurm: Cluster, environment: dict[str, str], tmp_path: Path
) -> None:
    runs = Runs(slurm, environment, tmp_path / "a 'b' $c %d")
    runs.directory.mkdir()
    done = runs.run(*PILOT, runs.write("tool.cwl", runs.tool("echo $0")))
    assert done.returncode == 0, done.stderr


def test_more_cores_for_a_step_than_a_node_has(local: Runs) -> None:
    """As the settings have it, and as the machine has it, which the worker sees."""
    tool = local.write("tool.cwl", local.tool("true"))
    done = local.run(*PILOT, "--udss-pilot-cores", "64", tool)
    assert done.returncode == 1
    assert "a step gets 64 cores (--udss-pilot-cores), a node has 1" in done.stderr
    assert not list(local.directory.glob("cwl-udss-runs/*"))
    cores = ("--udss-batch-cores", "4096", "--udss-pilot-cores", "4096")
    done = local.run("--udss-pilot", *cores, tool)
    assert done.returncode == 1
    assert "its workers have never called: a step gets 4096 cores" in done.stderr


def test_workers_that_do_not_start_end_the_run_with_their_words(local: Runs) -> None:
    local.environment["PARSL_MEMORY_GB"] = "much"
    done = local.run(*PILOT, *local.scatter("true", 3))
    assert done.returncode == 1
    assert "could not convert string to float: 'much'" in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_of_another_parsl_end_the_run(local: Runs) -> None:
    (local.directory / "sitecustomize.py").write_text(
        "import sys\nif any('process_worker_pool' in word for word in sys.orig_argv):\n"
        "    from parsl import version; version.VERSION = '1.2.3'\n"
    )
    local.environment["PYTHONPATH"] = str(local.directory)
    done = local.run(*PILOT, local.write("tool.cwl", local.tool("true")))
    assert done.returncode == 1
    assert "parsl.v=1.2.3" in done.stderr
    assert "nodes need the same Python and Parsl" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--udss-batch-queue", "nosuch"), "invalid partition"),
        (("--udss-batch-cores", "1000"), "Slurm refuses the job"),
        (("--udss-batch-queue", "closed"), "refuses"),
    ],
)
def test_an_allocation_that_is_refused_ends_the_run(
    slurm: Cluster, environment: dict[str, str], tmp_path: Path, options: list[str], words: str
) -> None:
    runs = Runs(slurm, environment, tmp_path)
    done = runs.run(*PILOT, *options, runs.write("tool.cwl", runs.tool("true")))
    assert done.returncode == 1
    assert words in done.stderr


def test_an_allocation_that_waits_ends_with_a_signal(
    slurm: Cluster, environment: dict[str, str], tmp_path: Path
) -> None:
    runs = Runs(slurm, environment, tmp_path)
    tool = runs.write("tool.cwl", runs.tool("true"))
    process = runs.start(*PILOT, "--udss-batch-options=--hold", tool)
    wait_until(slurm.jobs)
    time.sleep(1)
    seconds, error = terminated(process)
    assert (process.returncode, seconds < 5) == (signal.SIGTERM, True), error
    wait_until(lambda: not slurm.jobs())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_at_once(local: Runs, number: int) -> None:
    process = local.start(*PILOT, *local.scatter("sleep 78", 3))
    wait_until(lambda: any(step.joinpath("started.json").exists() for step in local.steps))
    seconds, error = terminated(process, number)
    codes = {signal.SIGTERM: 15, signal.SIGINT: 130, signal.SIGHUP: 129}
    assert process.returncode == codes[signal.Signals(number)]
    assert seconds < 5, error
    assert "Traceback" not in error
    wait_until(lambda: not processes_of(local.directory), 3)


def test_nothing_outlives_a_driver_that_was_killed(local: Runs) -> None:
    process = local.start(*PILOT, *local.scatter("sleep 79", 2))
    wait_until(lambda: any(step.joinpath("started.json").exists() for step in local.steps))
    process.kill()
    process.communicate()
    wait_until(lambda: not processes_of(local.directory))


def test_nobody_else_can_send_anything(local: Runs) -> None:
    """To whoever answers at the port for workers: what unpickles it would make a file."""
    process = local.start(*PILOT, *local.scatter("sleep 82", 1))
    wait_until(lambda: any(step.joinpath("started.json").exists() for step in local.steps))
    ports = {
        connection.laddr.port
        for connection in interchange_of(process).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert ports
    with zmq.Context() as context:
        for port in ports:
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.connect(f"tcp://127.0.0.1:{port}")
            socket.send(pickle.dumps(Harm(str(local.directory / "harm"))))
        time.sleep(2)
        context.destroy(linger=0)
    _, error = terminated(process)
    assert not (local.directory / "harm").exists()
    keys = list(local.directory.glob("cwl-udss-runs/*/pilot/*/certificates"))
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o700], error


@dataclass
class Harm:
    """What makes a file when it is unpickled."""

    path: str

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (self.path,))


def test_an_interchange_that_dies_ends_the_run(local: Runs) -> None:
    process = local.start(*PILOT, *local.scatter("sleep 80", 2))
    wait_until(lambda: any(step.joinpath("started.json").exists() for step in local.steps))
    interchange_of(process).kill()
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Parsl's interchange has ended" in error


def test_an_interchange_that_does_not_start_ends_the_run(local: Runs) -> None:
    broken = local.directory / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'cwl_udss.batch.pilots.interchange' in sys.orig_argv: sys.exit('no interchange')\n"
    )
    local.environment["PYTHONPATH"] = str(broken)
    began = time.monotonic()
    done = local.run(*PILOT, local.write("tool.cwl", local.tool("true")))
    assert done.returncode == 1
    assert "Parsl's interchange has ended" in done.stderr
    assert time.monotonic() - began < 30


def test_a_step_is_lost_with_its_worker(local: Runs) -> None:
    """As when the kernel ends it for its memory; the others are run by the one that follows."""
    process = local.start(*PILOT, *local.scatter("test $0 != w0 || sleep 81", 2))
    wait_until(lambda: sleeping("81"))
    parents = sleeping("81")[0].parents()
    next(parent for parent in parents if "--multiprocessing-fork" in parent.cmdline()).kill()
    _, error = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "WorkerLost" in error
    assert error.count("completed success") == 1


def sleeping(seconds: str) -> list[psutil.Process]:
    processes = psutil.process_iter(["cmdline"])
    command = ["sleep", seconds]
    return [process for process in processes if (process.info["cmdline"] or [])[-2:] == command]
