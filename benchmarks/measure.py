# SPDX-License-Identifier: Apache-2.0
"""Times of commands side by side: in turn, so that a machine that drifts drifts for all."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))
from stand_ins import mirrors, serve_registry, stand_in_registry

COMMANDS = Path(sys.executable).parent
REPETITIONS = 5


@dataclass(frozen=True)
class Run:
    """One run: wall seconds; seconds of processor time, without its children's; the peak memory of
    its largest process in megabytes."""

    seconds: float
    own_seconds: float
    megabytes: float


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
    contestants: Mapping[str, Callable[[], Run]], repetitions: int = REPETITIONS
) -> dict[str, list[Run]]:
    """Run each contestant once for nothing, then all of them in turn."""
    for contestant in contestants.values():
        contestant()
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, contestant in contestants.items():
            runs[name].append(contestant())
    return runs


def print_table(
    title: str,
    results: Mapping[str, Sequence[Run]],
    yardstick: str,
    bar: str,
    *,
    others: Sequence[str] = (),
) -> None:
    """Print medians, their spread, and ratios to a yardstick's (and to others), pair by pair."""
    yardsticks = (yardstick, *others)
    table = Table(title=title, caption=f"{bar}; {machine()}", title_justify="left")
    for heading in ("", "median s", "min", "max", *(f"× {name}" for name in yardsticks), "peak MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, runs in results.items():
        ratios = (_ratio(runs, results[other]) for other in yardsticks)
        times = [run.seconds for run in runs]
        table.add_row(
            name,
            *(f"{x:.2f}" for x in (statistics.median(times), min(times), max(times), *ratios)),
            f"{max(run.megabytes for run in runs):.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _ratio(runs: Sequence[Run], yardstick: Sequence[Run]) -> float:
    return statistics.median(
        one.seconds / other.seconds for one, other in zip(runs, yardstick, strict=True)
    )


def machine() -> str:
    """Return what the figures depend on."""
    return (
        f"{len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )
