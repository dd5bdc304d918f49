# SPDX-License-Identifier: Apache-2.0
"""Nextflow runs its tasks by our commands, and knows nothing of it."""

from __future__ import annotations

import csv
import re
import signal
from pathlib import Path

import pytest
from clusters import wait_until
from mortal import remaining
from nextflow import Nextflow
from processes import WHERE, sleeping

PIPELINE = Path(__file__).parent / "pipeline"
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "nextflow"
SAMPLES = {
    "plain": "one fish two fish red fish blue fish",
    "two words": "to be or not to be, that is the question",
    "it's": "A rose is a rose is a rose; it's so.",
}
IMAGE = "quay.io/nextflow/bash"


def run_pipeline(
    nextflow: Nextflow, directory: Path, configuration: str, *options: str
) -> dict[str, str]:
    """Run the pipeline of the tests. Returns what it has published, by name."""
    samples = directory / "data" / "all samples"
    write_samples(samples)
    (directory / "nextflow.config").write_text(configuration)
    where = f"{WHERE}; echo $(ls -d /extra 2> /dev/null)"
    parameters = (f"--samples={samples}", f"--where={where}")
    done = nextflow.account.run(
        *nextflow.command(PIPELINE / "main.nf", *parameters, *options),
        cwd=directory,
        variables=nextflow.variables,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return published(directory / "results")


def write_samples(directory: Path) -> None:
    (directory / "short words").mkdir(parents=True, exist_ok=True)
    (directory / "short words" / "list").write_text("or\nso\n")
    for name, text in SAMPLES.items():
        (directory / f"{name}.txt").write_text(f"{text}\n")


def published(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): path.read_text() for path in files}


def rows(trace: Path) -> list[dict[str, str]]:
    with trace.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def on_host(nextflow: Nextflow, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the pipeline gives without any container."""
    secret = (nextflow.account.home / "nextflow", "secrets", "set", "WORD", "fish")
    nextflow.account.succeed(*secret, cwd=nextflow.account.home, variables=nextflow.variables)
    directory = tmp_path_factory.mktemp("on_host")
    results = run_pipeline(nextflow, directory, "")
    assert set(published(directory / "results-where").values()) == {"outside\n\n"}
    assert results["reports/plain.report"] == "1 of plain\nfish 5\n"
    return results


ENGINES = {
    "podman": "",
    "docker": "process.scratch = true",
    "apptainer": "",
    "singularity": "process.stageInMode = 'copy'; singularity.cacheDir = 'all images'",
}


@pytest.mark.parametrize("engine", ENGINES)
def test_results_are_those_of_a_run_without_containers(
    nextflow: Nextflow, on_host: dict[str, str], tmp_path: Path, engine: str
) -> None:
    mount = "-v" if engine in ("podman", "docker") else "-B"
    configuration = (
        f"process.container = '{IMAGE}'\n{engine}.enabled = true\n{ENGINES[engine]}\n"
        f"process.containerOptions = '{mount} {PIPELINE}:/extra:ro'\n"
    )
    trace = tmp_path / "trace.txt"
    (tmp_path / "data").mkdir()
    (tmp_path / "linked").symlink_to("data")
    options = ("-with-trace", str(trace), "-work-dir", "linked/work")
    results = run_pipeline(nextflow, tmp_path, configuration, *options)
    assert results == on_host
    assert set(published(tmp_path / "results-where").values()) == {"contained\n/extra\n"}
    assert containers(nextflow, tmp_path) == []
    tasks = rows(trace)
    ended = sorted((task["name"].split()[0], task["exit"]) for task in tasks)
    assert ended == [
        *([("COUNT", "0")] * 3),
        ("FAILS", "3"),
        *([("REPORT", "0")] * 3),
        *([("SPLIT", "0")] * 3),
    ]
    # What a task has used is looked up inside of its container.
    used = [task["rchar"] for task in tasks if task["status"] == "COMPLETED"]
    assert all(re.fullmatch(r"[\d.]+ [KM]B", read) for read in used), used


SMALL = """\
workflow { SMALL(Channel.of('one', 'two')) | view }
process SMALL {
    input: val word
    output: stdout
    script: "%s"
}
"""


def test_a_run_is_resumed(nextflow: Nextflow, tmp_path: Path) -> None:
    (tmp_path / "main.nf").write_text(SMALL % "echo this is ${word} in \\$PWD")
    options = ("-with-podman", IMAGE, "-resume", "-with-trace", "trace.txt")
    printed = []
    statuses = []
    for _ in range(2):
        done = nextflow.account.succeed(
            *nextflow.command("main.nf", *options), cwd=tmp_path, variables=nextflow.variables
        )
        printed.append(sorted(line for line in done.stdout.splitlines() if "this is" in line))
        statuses.append({task["status"] for task in rows(tmp_path / "trace.txt")})
        (tmp_path / "trace.txt").unlink()
    assert statuses == [{"COMPLETED"}, {"CACHED"}]
    assert len(printed[0]) == 2
    assert printed[0] == printed[1]


def containers(nextflow: Nextflow, directory: Path) -> list[str]:
    """The containers that are there of tasks below a directory, ended or not."""
    listing = ("podman", "ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.Command}}")
    listed = nextflow.account.succeed(*listing, cwd=directory).stdout
    return [line for line in listed.splitlines() if str(directory) in line]


CANCELLED = {
    "podman": (signal.SIGTERM, "7013.25"),
    "docker": (signal.SIGINT, "7013.5"),
    "apptainer": (signal.SIGTERM, "7013.75"),
    "singularity": (signal.SIGINT, "7014.25"),
}


@pytest.mark.parametrize("engine", CANCELLED)
def test_a_cancelled_run_leaves_nothing(nextflow: Nextflow, tmp_path: Path, engine: str) -> None:
    number, seconds = CANCELLED[engine]
    # The second one is nobody's child when its task is ended.
    (tmp_path / "main.nf").write_text(SMALL % f"(sleep {seconds} &); sleep {seconds}")
    command = nextflow.command("main.nf", f"-with-{engine}", IMAGE)
    with nextflow.account.started(*command, cwd=tmp_path, variables=nextflow.variables) as run:
        # Each task has two of them.
        wait_until(lambda: len(sleeping(seconds)) == 4)
        run.send_signal(number)
        run.wait(30)
        assert remaining(seconds) == []
    assert remaining(str(tmp_path)) == []
    assert containers(nextflow, tmp_path) == []
    assert nextflow.account.left() == []


def test_an_image_that_is_not_there_is_told(nextflow: Nextflow, tmp_path: Path) -> None:
    (tmp_path / "main.nf").write_text(SMALL % "true")
    for engine, said in {"podman": "manifest unknown", "apptainer": "manifest unknown"}.items():
        command = nextflow.command("main.nf", f"-with-{engine}", f"{IMAGE}:none")
        done = nextflow.account.run(*command, cwd=tmp_path, variables=nextflow.variables)
        assert done.returncode == 1
        assert said in done.stdout, done.stdout
    assert list((tmp_path / "work" / "singularity").iterdir()) == []


def test_the_example(nextflow: Nextflow, tmp_path: Path) -> None:
    """Its configuration is one line."""
    nextflow.account.succeed(
        *nextflow.command(EXAMPLE / "main.nf"), cwd=tmp_path, variables=nextflow.variables
    )
    counted = {path.name: path.read_text() for path in (tmp_path / "aligned").glob("*.txt")}
    mapped = [re.search(r"(\d+) \+ 0 primary mapped", text) for text in counted.values()]
    assert sorted(counted) == ["child.flagstat.txt", "mother.flagstat.txt"]
    assert sorted(found[1] for found in mapped if found) == ["1950", "1980"]
    assert (tmp_path / "aligned" / "mother.bam.bai").exists()
