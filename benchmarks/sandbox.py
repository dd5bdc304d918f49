# SPDX-License-Identifier: Apache-2.0
"""What a sandbox costs: its start, by image and by number of inputs, and the work inside."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import image
from measure import Setting, machine, setting
from rich.console import Console
from rich.table import Table
from stand_ins import push

from cwl_udss.identity import identity_files
from cwl_udss.images.pull import Images
from cwl_udss.images.store import ImageFormat, Store
from cwl_udss.runtimes.bwrap import Bubblewrap
from cwl_udss.runtimes.probe import find_bubblewrap
from cwl_udss.sandbox import (
    INPUT_DIRECTORY,
    OUTPUT_DIRECTORY,
    TEMPORARY_DIRECTORY,
    Bind,
    RootFilesystem,
    Sandbox,
)

YARDSTICK = "bwrap alone"
SMALL = "docker.io/library/busybox:1.36"
STARTS = 20
LARGE_STARTS = INSIDE = 5
# For busybox ($0), which is one static program: it runs on this machine as it does in the sandbox.
WORK = {
    "processor": "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done",
    "memory": "$0 dd if=/dev/zero of=/dev/null bs=64M count=600",
    "large files": "for i in 1 2 3 4; do $0 dd if=/dev/zero of=x bs=1M count=1K; $0 cat x; done",
    "small files": "for i in $($0 seq 30000); do echo $i >$i; done; $0 cat *; $0 rm *",
    "system calls": "$0 dd if=/dev/zero of=/dev/null bs=1 count=4000000",
}
Times = Mapping[str, list[float]]


def main() -> None:
    """Print the tables."""
    runtime = find_bubblewrap(None)
    with setting() as here:
        push(image.layout(), f"{here.registry}/{image.NAME}")
        roots = {name: root(here, name) for name in (SMALL, image.NAME)}
        print_differences(in_turn(starts(here, runtime, roots), STARTS))
        print_differences(in_turn(large_starts(here, runtime, roots[SMALL]), LARGE_STARTS))
        print_ratios(in_turn(work(here, runtime, roots[SMALL]), INSIDE))


def root(here: Setting, name: str) -> Path:
    """Return an image's root filesystem, as a directory in memory."""
    store = Store(here.scratch / "images", format=ImageFormat.DIRECTORY)
    return Images(store, here.environment, here.scratch).get(name).path


def starts(
    here: Setting, runtime: Bubblewrap, roots: Mapping[str, Path]
) -> dict[str, Callable[[], None]]:
    """The start, and the end, of a command that does nothing."""
    small, large = roots.values()
    true = replace(sandbox(here, small), command=("true",))
    true_in_large = replace(true, root=RootFilesystem(path=large))
    return {
        YARDSTICK: partial(run, [*plain(runtime, small), "true"]),
        f"{YARDSTICK}, large image": partial(run, [*plain(runtime, large), "true"]),
        "sandbox": partial(enter, runtime, true),
        "sandbox, large image": partial(enter, runtime, true_in_large),
    }


def large_starts(here: Setting, runtime: Bubblewrap, small: Path) -> dict[str, Callable[[], None]]:
    """The same with many inputs."""
    true = replace(sandbox(here, small), command=("true",))
    thousand, more = with_inputs(here, true, 1000), with_inputs(here, true, 3000)
    return {
        YARDSTICK: partial(run, [*plain(runtime, small), "true"]),
        "sandbox, 1,000 inputs": partial(enter, runtime, thousand),
        "sandbox, 3,000 inputs": partial(enter, runtime, more),
        f"{YARDSTICK}, 1,000 inputs": partial(
            run, [*plain(runtime, small), *binds(thousand), "true"]
        ),
    }


def work(here: Setting, runtime: Bubblewrap, small: Path) -> dict[str, Callable[[], None]]:
    """The same work inside and outside, by what it is."""
    given = sandbox(here, small)
    busybox = str(small / "bin/busybox")
    contestants: dict[str, Callable[[], None]] = {}
    for name, script in WORK.items():
        contestants[f"{name}, native"] = partial(
            run, [busybox, "sh", "-c", script, busybox], given.binds[0].source
        )
        command = ("/bin/busybox", "sh", "-c", script, "/bin/busybox")
        contestants[name] = partial(enter, runtime, replace(given, command=command))
    return contestants


def sandbox(here: Setting, small: Path) -> Sandbox:
    """Return what a step without inputs gets."""
    outdir, tmpdir = here.scratch / "outdir", here.scratch / "tmpdir"
    outdir.mkdir(exist_ok=True)
    tmpdir.mkdir(exist_ok=True)
    return Sandbox(
        root=RootFilesystem(path=small),
        command=(),
        environment={"PATH": "/bin:/usr/bin"},
        working_directory=OUTPUT_DIRECTORY,
        directories=(INPUT_DIRECTORY,),
        binds=(
            Bind(source=str(outdir), destination=OUTPUT_DIRECTORY, writable=True),
            Bind(source=str(tmpdir), destination=TEMPORARY_DIRECTORY, writable=True),
        ),
        files=identity_files(small, home=OUTPUT_DIRECTORY, network=False),
    )


def with_inputs(here: Setting, given: Sandbox, number: int) -> Sandbox:
    """Return a sandbox with inputs, each in a directory of its own."""
    directory = here.scratch / "inputs"
    directory.mkdir(exist_ok=True)
    inputs = []
    for n in range(number):
        (directory / f"{n}").touch()
        bind = Bind(source=f"{directory}/{n}", destination=f"{INPUT_DIRECTORY}/stg{n}/{n}")
        inputs.append(bind)
    return replace(given, binds=(*given.binds, *inputs))


def plain(runtime: Bubblewrap, root: Path) -> list[str]:
    """Return the least that makes the same namespaces."""
    return [
        *(runtime.path, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-net", "--die-with-parent", "--ro-bind", str(root), "/"),
        *("--dev", "/dev", "--proc", "/proc", "--tmpfs", INPUT_DIRECTORY),
    ]


def binds(given: Sandbox) -> list[str]:
    """Return bwrap's options for a sandbox's inputs."""
    inputs = (bind for bind in given.binds if not bind.writable)
    return [word for bind in inputs for word in ("--ro-bind", bind.source, bind.destination)]


def run(command: list[str], directory: str | None = None) -> None:
    """Run a command."""
    subprocess.run(
        command,
        cwd=directory,
        env={},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def enter(runtime: Bubblewrap, given: Sandbox) -> None:
    """Run a sandbox's command."""
    process = runtime.start(
        given, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    result = process.wait()
    if result.exit_code != 0:
        raise RuntimeError(f"{given.command} ended with {result}")


def in_turn(contestants: Mapping[str, Callable[[], None]], repetitions: int) -> Times:
    """Run each contestant once for nothing, then all of them in turn; return seconds."""
    for contestant in contestants.values():
        contestant()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            times[name].append(time.perf_counter() - start)
    return times


def print_differences(times: Times) -> None:
    """Print milliseconds, and how many more than bwrap alone takes, pair by pair."""
    yardstick = times[YARDSTICK]
    rows = []
    for name, seconds in times.items():
        more = statistics.median(a - b for a, b in zip(seconds, yardstick, strict=True))
        figures = (statistics.median(seconds), min(seconds), max(seconds), more)
        rows.append((name, *(f"{figure * 1000:.1f}" for figure in figures)))
    bar = "bars: 5 ms more, 150 with 1,000 inputs, 500 with 3,000"
    print_rows("a sandbox is started and ends", ("median ms", "min", "max", "more"), rows, bar)


def print_ratios(times: Times) -> None:
    """Print seconds inside and outside, and their ratio, pair by pair."""
    rows = []
    for name in WORK:
        inside, native = times[name], times[f"{name}, native"]
        ratio = statistics.median(a / b for a, b in zip(inside, native, strict=True))
        figures = (statistics.median(inside), statistics.median(native), ratio)
        rows.append((name, *(f"{figure:.3f}" for figure in figures)))
    headings = ("median s inside", "native", "×")
    print_rows("the same work inside and outside", headings, rows, "bar: at most 1.02 ×")


def print_rows(
    title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]], bar: str
) -> None:
    """Print a table."""
    table = Table(title=title, caption=f"{bar}; {machine()}", title_justify="left")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
