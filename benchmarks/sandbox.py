# SPDX-License-Identifier: Apache-2.0
"""What a sandbox costs: its start, by image and by number of inputs, and the work inside."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import image
import oci
from measure import Finding, Setting, in_turn, print_findings, print_rows, setting
from peers import podman
from stand_ins import push

from cwl_udss.errors import SandboxError
from cwl_udss.files.scratch import program_directory
from cwl_udss.images.formats.names import ImageFormat
from cwl_udss.images.pull import Images
from cwl_udss.images.store.store import Store
from cwl_udss.runtimes.bubblewrap.bwrap import Bubblewrap
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.runtimes.choosing.table import CH_RUN, RUNTIMES, UNSHARE, Machine
from cwl_udss.runtimes.proot.probe import find_proot
from cwl_udss.sandbox import (
    INPUT_DIRECTORY,
    OUTPUT_DIRECTORY,
    TEMPORARY_DIRECTORY,
    Bind,
    RootFilesystem,
    Runtime,
    Sandbox,
    Streams,
)
from cwl_udss.surroundings.identity import identity_files

YARDSTICK = "bwrap alone"
OURS = "sandbox"
LARGE = "sandbox, large image"
PROOT = "sandbox by PRoot"
# By how many inputs there are, and how many milliseconds they may take.
LOADS = {(1000, 150): "sandbox, 1,000 inputs", (3000, 500): "sandbox, 3,000 inputs"}
SMALL = "docker.io/library/busybox:1.36"
NOWHERE = Path(os.devnull)
STARTS = 20
LARGE_STARTS = INSIDE = 7
# For busybox ($0), which is one static program: it runs on this machine as it does in the sandbox.
WORK = {
    "processor": "i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done",
    "memory": "$0 dd if=/dev/zero of=/dev/null bs=64M count=600",
    "large files": "for i in 1 2 3 4; do $0 dd if=/dev/zero of=x bs=1M count=1K; $0 cat x; done",
    "small files": "for i in $($0 seq 30000); do echo $i >$i; done; $0 cat *; $0 rm *",
    "system calls": "$0 dd if=/dev/zero of=/dev/null bs=1 count=4000000",
}
# What writes to its standard output: as fast as it can, and as fast as a tool with work to do.
WRITTEN = {
    "1 GB": "$0 head -c 1G /dev/zero",
    "1 GB, unpacked": "$0 zcat packed.gz",
}
MEMBERS, MEMBER_BYTES = 16, 64 << 20
Times = Mapping[str, list[float]]


def main() -> list[Finding]:
    """Print the tables."""
    runtime = find_bubblewrap(None)
    with setting() as here, podman(here.scratch / "podman") as podman_command:
        push(image.layout(), f"{here.registry}/{image.NAME}")
        roots = {name: root(here, name) for name in (SMALL, image.NAME)}
        peers = other_starts(here, podman_command, roots[SMALL])
        others = unshare_starts(here, roots[SMALL]) | oci_starts(here, roots[SMALL])
        ours = {**starts(here, runtime, roots), **proot_starts(here, roots[SMALL]), **others}
        started = measured({**ours, **peers}, STARTS, peers)
        loaded = measured(large_starts(here, runtime, roots[SMALL]), LARGE_STARTS)
        worked = measured(work(here, runtime, roots[SMALL]), INSIDE)
        written = measured(writing(here, runtime, roots[SMALL]), INSIDE)
    print_differences(started)
    print_differences(loaded)
    print_ratios("the same work inside and outside", WORK, worked)
    print_ratios("to standard output, captured in a file, inside and outside", WRITTEN, written)
    more = f"ms more than {YARDSTICK}"
    return [
        Finding(f"start of a sandbox: {more}", difference(started, OURS), 5),
        Finding("the same, large image", difference(started, LARGE), 5),
        *(
            Finding("start by PRoot, Landlock and seccomp: ms", 1000 * statistics.median(times), 8)
            for name, times in started.items()
            if name == PROOT
        ),
        *(
            Finding(
                f"start by {name}: ms more than {name} alone",
                difference(started, f"sandbox by {name}", f"{name} alone"),
                5,
            )
            for name in (UNSHARE, CH_RUN, *oci.oci_runtimes())
            if f"{name} alone" in started
        ),
        *(
            Finding(f"{inputs:,} input files: {more}", difference(loaded, name), bar)
            for (inputs, bar), name in LOADS.items()
        ),
        *(
            Finding(f"inside: {name}, × outside", ratio(worked, name), 1.02)
            for name in ("processor", "memory", "large files", "small files")
        ),
        *(
            Finding(f"standard output: {name}, × outside", ratio(written, name), 1.03)
            for name in WRITTEN
        ),
    ]


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
        OURS: partial(enter, runtime, true),
        LARGE: partial(enter, runtime, true_in_large),
    }


def proot_starts(here: Setting, small: Path) -> dict[str, Callable[[], None]]:
    """The same by PRoot, alone and within Landlock and seccomp; nothing if there is none."""
    try:
        proot = find_proot(partial(program_directory, None, here.environment))
    except SandboxError:
        return {}
    alone = [proot.path, "-r", str(small), "-b", "/dev", "-b", "/proc", "-w", "/", "true"]
    true = replace(sandbox(here, small), command=("true",))
    return {"proot alone": partial(run, alone), PROOT: partial(enter, proot, true)}


def unshare_starts(here: Setting, small: Path) -> dict[str, Callable[[], None]]:
    """The same by unshare, and by ch-run in its namespaces: alone and as runtimes."""
    true = replace(sandbox(here, small), command=("true",))
    namespaces = ("unshare", "-r", "-m", "-p", "-i", "-u", "-n", "-f", "--mount-proc")
    alone = {
        UNSHARE: [*namespaces, "-R", str(small), "true"],
        CH_RUN: [*namespaces, "ch-run", "--no-passwd", str(small), "--", "true"],
    }
    contestants: dict[str, Callable[[], None]] = {}
    for name, command in alone.items():
        try:
            runtime = RUNTIMES[name].find(Machine(None, None, here.environment))
        except SandboxError:
            continue
        environment = {"PATH": os.defpath, "USER": "user"}
        contestants[f"{name} alone"] = partial(run, command, environment=environment)
        contestants[f"sandbox by {name}"] = partial(enter, runtime, true)
    return contestants


def oci_starts(here: Setting, small: Path) -> dict[str, Callable[[], None]]:
    """The same by crun and runc, alone and as runtimes; nothing of those that are not there."""
    true = replace(sandbox(here, small), command=("true",))
    binds = {bind.destination: bind.source for bind in true.binds}
    contestants: dict[str, Callable[[], None]] = {}
    for name, runtime in oci.oci_runtimes().items():
        alone = oci.alone(runtime, small, binds, here.scratch)
        contestants[f"{name} alone"] = partial(run, alone)
        contestants[f"sandbox by {name}"] = partial(enter, runtime, true)
    return contestants


def other_starts(
    here: Setting, podman_command: list[str], small: Path
) -> dict[str, Callable[[], None]]:
    """The same by other runtimes."""
    commands = {
        "podman run": [
            *(*podman_command, "run", "--rm", "--network=none", "--read-only"),
            *("--rootfs", str(small), "true"),
        ],
    }
    return {
        name: partial(run, command, environment=here.environment)
        for name, command in commands.items()
        if shutil.which(command[0])
    }


def large_starts(here: Setting, runtime: Bubblewrap, small: Path) -> dict[str, Callable[[], None]]:
    """The same with many inputs."""
    true = replace(sandbox(here, small), command=("true",))
    loaded = {name: with_inputs(here, true, inputs) for (inputs, _), name in LOADS.items()}
    fewest = next(iter(loaded.values()))
    return {
        YARDSTICK: partial(run, [*plain(runtime, small), "true"]),
        **{name: partial(enter, runtime, given) for name, given in loaded.items()},
        f"{YARDSTICK}, 1,000 inputs": partial(
            run, [*plain(runtime, small), *binds(fewest), "true"]
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


def writing(here: Setting, runtime: Bubblewrap, small: Path) -> dict[str, Callable[[], None]]:
    """The same output through the pipe that a step has, and into the file itself."""
    given = sandbox(here, small)
    member = gzip.compress(random.Random(1).randbytes(MEMBER_BYTES // 2).hex().encode(), 1)
    with open(f"{given.binds[0].source}/packed.gz", "wb") as packed:
        packed.writelines(MEMBERS * [member])
    captured = here.scratch / "captured"
    busybox = str(small / "bin/busybox")
    contestants: dict[str, Callable[[], None]] = {}
    for name, script in WRITTEN.items():
        contestants[f"{name}, native"] = partial(
            run, [busybox, "sh", "-c", script, busybox], given.binds[0].source, stdout=captured
        )
        command = ("/bin/busybox", "sh", "-c", script, "/bin/busybox")
        contestants[name] = partial(enter, runtime, replace(given, command=command), captured)
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


def run(
    command: list[str],
    directory: str | None = None,
    environment: Mapping[str, str] | None = None,
    stdout: Path = NOWHERE,
) -> None:
    """Run a command. Raises RuntimeError if it fails."""
    with stdout.open("wb") as stream:
        done = subprocess.run(
            command,
            cwd=directory,
            env=dict(environment or {}),
            stdout=stream,
            stderr=subprocess.PIPE,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-1000:].decode()}")


def enter(runtime: Runtime, given: Sandbox, stdout: Path = NOWHERE) -> None:
    """Run a sandbox's command."""
    with stdout.open("wb") as stream, NOWHERE.open("wb") as nowhere:
        streams = Streams(stdout=stream.fileno(), stderr=nowhere.fileno())
        result = runtime.start(given, streams).wait()
    if result.exit_code != 0:
        raise RuntimeError(f"{given.command} ended with {result}")


def measured(
    contestants: Mapping[str, Callable[[], None]], repetitions: int, peers: Collection[str] = ()
) -> Times:
    """Run contestants in turn; return seconds."""

    def seconds(contestant: Callable[[], None]) -> float:
        start = time.perf_counter()
        contestant()
        return time.perf_counter() - start

    timed = {name: partial(seconds, contestant) for name, contestant in contestants.items()}
    return in_turn(timed, repetitions, peers=peers)


def difference(times: Times, name: str, yardstick: str = YARDSTICK) -> float:
    """Return how many milliseconds more than bwrap alone, or another, it takes, pair by pair."""
    pairs = zip(times[name], times[yardstick], strict=True)
    return 1000 * statistics.median(one - other for one, other in pairs)


def ratio(times: Times, name: str) -> float:
    """Return how much longer than outside it takes inside, pair by pair."""
    pairs = zip(times[name], times[f"{name}, native"], strict=True)
    return statistics.median(inside / native for inside, native in pairs)


def print_differences(times: Times) -> None:
    """Print milliseconds, and how many more than bwrap alone takes."""
    rows = []
    for name, seconds in times.items():
        spread = (statistics.median(seconds), min(seconds), max(seconds))
        figures = (*(1000 * figure for figure in spread), difference(times, name))
        rows.append((name, *(f"{figure:.1f}" for figure in figures)))
    print_rows("a sandbox is started and ends", ("", "median ms", "min", "max", "more"), rows)


def print_ratios(title: str, names: Iterable[str], times: Times) -> None:
    """Print seconds inside and outside, and their ratio."""
    rows = []
    for name in names:
        medians = (statistics.median(times[x]) for x in (name, f"{name}, native"))
        rows.append((name, *(f"{figure:.3f}" for figure in (*medians, ratio(times, name)))))
    print_rows(title, ("", "median s inside", "outside", "×"), rows)


if __name__ == "__main__":
    print_findings(main())
