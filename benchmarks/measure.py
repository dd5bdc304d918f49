# SPDX-License-Identifier: Apache-2.0
"""Times of commands side by side: in turn, so that a machine that drifts drifts for all; and bars,
with what was found."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from stand_ins import mirrors, serve_registry, stand_in_registry

COMMANDS = Path(sys.executable).parent
REPETITIONS = 5
Name = TypeVar("Name")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Run:
    """One run: wall seconds; seconds of processor time, without its children's; the peak memory of
    its largest process in megabytes."""

    seconds: float
    own_seconds: float
    megabytes: float


@dataclass(frozen=True)
class Finding:
    """What was measured for a bar, which is the most (or with `at_least` the least) it may be."""

    what: str
    value: float
    bar: float
    unit: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bar is held."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


@dataclass(frozen=True)
class Setting:
    """Where contestants run: a directory in memory, a registry, and the environment for both."""

    scratch: Path
    registry: str
    environment: Mapping[str, str]


@contextlib.contextmanager
def setting() -> Iterator[Setting]:
    """Serve the stand-in images, with a store in memory."""
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as name,
        serve_registry(stand_in_registry()) as registry,
    ):
        scratch = Path(name)
        configuration = scratch / "registries.conf"
        configuration.write_text(mirrors(registry))
        environment = {
            **os.environ,
            "TMPDIR": name,
            "CWL_UDSS_STORE": f"{name}/store",
            "CONTAINERS_REGISTRIES_CONF": str(configuration),
        }
        yield Setting(scratch, registry, environment)


def run(command: Sequence[str | Path], environment: Mapping[str, str]) -> Run:
    """Run a command to its end. Raises RuntimeError with what it wrote if it fails."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.perf_counter() - start
        own_seconds = processor_seconds(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{command} failed: {output.read()[-1000:].decode()}")
    return Run(seconds, own_seconds, usage.ru_maxrss / 1024)


def processor_seconds(process_id: int) -> float:
    """Return what a process itself has used, which wait4(2) adds to what its children have: the
    fields utime and stime of proc_pid_stat(5)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_turn(
    contestants: Mapping[Name, Callable[[], Result]],
    repetitions: int = REPETITIONS,
    *,
    peers: Collection[Name] = (),
    rehearse: bool = True,
) -> dict[Name, list[Result]]:
    """Run each contestant once for nothing (if `rehearse`), then all of them in turn, every second
    time backwards. Peers that do not run here are left out, and it is said why."""
    contestants = dict(contestants)
    for name in list(contestants) if rehearse else ():
        try:
            contestants[name]()
        except RuntimeError as error:
            if name not in peers:
                raise
            print(f"left out: {name}: {error}", file=sys.stderr)
            del contestants[name]
    runs: dict[Name, list[Result]] = {name: [] for name in contestants}
    for number in range(repetitions):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            runs[name].append(contestants[name]())
    return runs


def run_in_turn(
    commands: Mapping[Name, Sequence[str | Path]],
    environment: Mapping[str, str],
    repetitions: int = REPETITIONS,
    **options: Any,
) -> dict[Name, list[Run]]:
    """Run commands in turn; see in_turn()."""
    runs = {name: partial(run, command, environment) for name, command in commands.items()}
    return in_turn(runs, repetitions, **options)


def input_object(here: Setting, steps: int, seconds: float = 0) -> Path:
    """Return an input object for the workflows of many steps."""
    (here.scratch / "input.txt").write_text("content\n")
    path = here.scratch / f"{steps}.json"
    file = {"class": "File", "location": "input.txt"}
    inputs = {"numbers": list(range(steps)), "file": file, "seconds": str(seconds)}
    path.write_text(json.dumps(inputs))
    return path


def print_table(
    title: str, results: Mapping[str, Sequence[Run]], yardstick: str, *, others: Sequence[str] = ()
) -> None:
    """Print medians, their spread, and ratios to a yardstick's (and to others), pair by pair."""
    yardsticks = (yardstick, *others)
    rows = []
    for name, runs in results.items():
        times = [run.seconds for run in runs]
        figures = [statistics.median(times), min(times), max(times)]
        figures += [ratio(runs, results[other]) for other in yardsticks]
        megabytes = max(run.megabytes for run in runs)
        rows.append((name, *(f"{figure:.2f}" for figure in figures), f"{megabytes:.0f}"))
    headings = ("median s", "min", "max", *(f"× {name}" for name in yardsticks), "peak MB")
    print_rows(title, ("", *headings), rows)


def print_rows(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column is of words, and all others of figures."""
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def print_findings(findings: Iterable[Finding]) -> None:
    """Print bars, and what holds."""
    rows = [
        (
            finding.what,
            f"{finding.value:.3g}{finding.unit}",
            f"{'≥' if finding.at_least else '≤'} {finding.bar:g}{finding.unit}",
            "holds" if finding.holds else "missed",
        )
        for finding in findings
    ]
    print_rows(f"bars, on {machine()}", ("", "found", "bar", ""), rows)


def ratio(runs: Sequence[Run], yardstick: Sequence[Run]) -> float:
    """Return the median of what pairs of runs have taken, one in terms of the other."""
    return statistics.median(
        one.seconds / other.seconds for one, other in zip(runs, yardstick, strict=True)
    )


def bubblewrap() -> str:
    """Return the bwrap that sandboxes are made with here."""
    return find_bubblewrap(None).path


def machine() -> str:
    """Return what the figures depend on."""
    return (
        f"{len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )
