# SPDX-License-Identifier: Apache-2.0
"""Tools of this machine within Landlock and seccomp: what they may do, and their end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from steps import Step

from cwl_udss.errors import SandboxError
from cwl_udss.files.scratch import clean, program_directory
from cwl_udss.runtimes.landlock.landlock import Landlock
from cwl_udss.runtimes.landlock.probe import find_landlock
from cwl_udss.runtimes.proot.landlock import landlock_abi
from cwl_udss.sandbox import Bind, Ending, RootFilesystem, Sandbox, Streams

TO_THE_LOG = Streams(stdout=1, stderr=2)
SYSTEM = ("/bin", "/etc", "/lib", "/lib64", "/usr")


@pytest.fixture(scope="session")
def landlock(tmp_path_factory: pytest.TempPathFactory) -> Landlock:
    if not landlock_abi():
        pytest.skip("this kernel has no Landlock")
    return find_landlock(partial(program_directory, tmp_path_factory.mktemp("scratch"), {}))


@pytest.fixture
def host_step(tmp_path: Path, landlock: Landlock) -> Step:
    outdir, tmpdir, given = (tmp_path / name for name in ("outdir", "tmpdir", "input"))
    outdir.mkdir()
    tmpdir.mkdir()
    given.write_text("input\n")
    (tmp_path / "secret").write_text("secret\n")
    sandbox = Sandbox(
        root=RootFilesystem(path=Path("/")),
        command=(),
        environment={"PATH": os.environ["PATH"], "TMPDIR": str(tmpdir), "GIVEN": str(given)},
        working_directory=str(outdir),
        binds=(
            Bind(source=str(outdir), destination=str(outdir), writable=True),
            Bind(source=str(tmpdir), destination=str(tmpdir), writable=True),
            Bind(source=str(given), destination=str(given)),
            *(Bind(source=p, destination=p) for p in SYSTEM if os.path.exists(p)),
        ),
    )
    return Step(landlock, sandbox, outdir, tmpdir)


def is_running(argument: str) -> bool:
    def words(path: Path) -> list[bytes]:
        try:
            return path.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            return []

    return any(os.fsencode(argument) in words(p) for p in Path("/proc").glob("[0-9]*/cmdline"))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_reads_what_it_is_given_and_the_system(host_step: Step) -> None:
    outcome = host_step.run('cat "$GIVEN"; ls /usr >list && wc -l </etc/passwd >/dev/null && pwd')
    assert outcome.stdout == f"input\n{host_step.outdir}\n"
    assert (host_step.outdir / "list").read_text()


@pytest.mark.parametrize(
    "script",
    [
        'echo x >>"$GIVEN"',
        ': >"$GIVEN"',
        'rm -f "$GIVEN"',
        'mv "$GIVEN" gone',
        'ln "$GIVEN" link && echo x >link',
        'truncate -s 0 "$GIVEN"',
        'cat "${GIVEN%/*}/secret"',
        'ls "${GIVEN%/*}"',
        "echo x >/tmp/cwl-udss-bad",
        "echo x >/dev/shm/cwl-udss-bad",
        'mkdir "${GIVEN%/*}/made"',
        "cat /proc/1/cmdline",
        'cat "/proc/$PPID/environ"',
        "mount -t tmpfs none .",
        "unshare -Ur true",
        "kill -0 CALLER",
    ],
)
def test_it_can_do_nothing_else(host_step: Step, script: str) -> None:
    outcome = host_step.run(script.replace("CALLER", str(os.getpid())))
    assert outcome.result.exit_code, outcome
    assert outcome.stdout == ""
    assert (host_step.outdir.parent / "input").read_text() == "input\n"
    assert not (host_step.outdir.parent / "made").exists()


def test_it_writes_its_own_directories_and_executes_what_is_there(host_step: Step) -> None:
    script = 'cp /bin/true "$TMPDIR/own" && "$TMPDIR/own" && mkdir d && mv "$TMPDIR/own" d && ls d'
    assert host_step.run(script).stdout == "own\n"


def test_nothing_of_the_callers_environment(
    host_step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLERS_OWN", "secret")
    names = {line.partition("=")[0] for line in host_step.run("env").stdout.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "TMPDIR", "GIVEN"}


@pytest.mark.parametrize("network", [True, False])
def test_network_only_if_asked_for(host_step: Step, network: bool) -> None:
    script = "import socket; socket.socket(); print('socket')"
    python = Path(sys.executable).resolve()
    if not python.is_relative_to("/usr"):
        pytest.skip("this Python is not the system's")
    outcome = host_step.execute((str(python), "-c", script), network=network)
    assert (outcome.stdout == "socket\n") is network


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("kill -ABRT $$", 134)],
)
def test_exit_codes(host_step: Step, script: str, code: int) -> None:
    result = host_step.run(script).result
    assert (result.exit_code, result.ending) == (code, Ending.EXITED)


def test_a_program_that_is_not_there(host_step: Step) -> None:
    assert host_step.execute(("/no/such/program",)).result.ending is Ending.NOT_STARTED


def test_no_capabilities_whoever_runs_it(host_step: Step) -> None:
    outcome = host_step.run("mknod disk b 8 0; chroot / true; echo ran")
    assert outcome.stdout == "ran\n"
    assert not (host_step.outdir / "disk").exists()


def test_what_a_command_leaves_is_killed(host_step: Step, tmp_path: Path) -> None:
    daemon = "trap '' TERM HUP; touch ready; while :; do sleep 0.1; done"
    script = f'(setsid sh -c "{daemon}" "{tmp_path}" &); until [ -e ready ]; do :; done; exit 3'
    assert host_step.run(script).result.exit_code == 3
    assert not is_running(str(tmp_path))


def test_the_time_limit(host_step: Step, tmp_path: Path) -> None:
    outcome = host_step.run(f"sh -c 'sleep 977' {tmp_path}", time_limit=0.3)
    assert outcome.result.ending is Ending.TIME_LIMIT
    assert not is_running(str(tmp_path))


@pytest.mark.parametrize("whose", ["the guard", "what it guards"])
def test_who_ends_it_may_be_killed(host_step: Step, tmp_path: Path, whose: str) -> None:
    """Then the other of the two ends all."""
    script = '(setsid sh -c "sleep 978; :" "$0" &); touch ready; sleep 979; :'
    sandbox = replace(host_step.sandbox, command=("sh", "-c", script, str(tmp_path)))
    started = host_step.runtime.start(sandbox, TO_THE_LOG)
    wait_until((host_step.outdir / "ready").exists)
    guard = started.process.pid  # type: ignore[attr-defined]
    (guarded,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    os.kill(guard if whose == "the guard" else int(guarded), signal.SIGKILL)
    assert started.wait().exit_code == 128 + signal.SIGKILL
    wait_until(lambda: not is_running(str(tmp_path)))


def test_the_figures_are_the_commands(host_step: Step) -> None:
    usage = host_step.run("dd if=/dev/zero of=/dev/null bs=100M count=1").result.usage
    assert usage is not None
    assert 100 << 20 < usage.memory_bytes < 125 << 20


def test_what_is_made_for_a_step_is_gone_after_it(host_step: Step, landlock: Landlock) -> None:
    before = set(landlock.place.iterdir())
    host_step.run("true")
    assert set(landlock.place.iterdir()) == before


def test_what_would_have_to_be_shown_elsewhere_is_refused(
    host_step: Step, busybox_root: Path
) -> None:
    with pytest.raises(SandboxError, match="shows no image"):
        host_step.run("true", root=RootFilesystem(path=busybox_root))
    elsewhere = Bind(source=str(host_step.outdir), destination="/out", writable=True)
    with pytest.raises(SandboxError, match="nothing at another path, as "):
        host_step.run("true", binds=(elsewhere,))
    with pytest.raises(SandboxError, match="replaces no files"):
        host_step.run("true", files={"/etc/hosts": b""})


def test_an_input_below_what_may_be_written_to_is_refused(host_step: Step) -> None:
    inner = host_step.outdir / "inner"
    inner.touch()
    binds = (*host_step.sandbox.binds, Bind(source=str(inner), destination=str(inner)))
    with pytest.raises(SandboxError, match="to be read only, in a directory that may be written"):
        host_step.run("true", binds=binds)


RUN = """
import os, sys
from pathlib import Path
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.runtimes.limits import LANDLOCK_LIMITS
from cwl_udss.sandbox import Bind, RootFilesystem, Sandbox, Streams
outdir, scratch = sys.argv[1:]
accepted = tuple(limit.name for limit in LANDLOCK_LIMITS)
runtime = RuntimeFinder("landlock", accepted, None, Path(scratch), os.environ).find()
given = (outdir, *filter(os.path.exists, ("/bin", "/lib", "/lib64", "/usr")))
sandbox = Sandbox(
    root=RootFilesystem(path=Path("/")),
    command=("sh", "-c", "(setsid sleep 981 &); : >ready; sleep 982; :", outdir),
    environment={"PATH": "/bin:/usr/bin", "OUTDIR": outdir},
    working_directory=outdir,
    binds=tuple(Bind(source=p, destination=p, writable=p == outdir) for p in given),
)
print("begins", flush=True)
runtime.start(sandbox, Streams(stdout=2, stderr=2)).wait()
"""


def left_of(outdir: Path) -> list[str]:
    """The processes of a step, which has a directory in its environment."""
    variable, found = f"OUTDIR={outdir}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            if variable in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
    return found


def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path, landlock: Landlock) -> None:
    for number in range(20):
        outdir = tmp_path / str(number)
        outdir.mkdir()
        with subprocess.Popen(
            [sys.executable, "-c", RUN, str(outdir), str(tmp_path)], stdout=subprocess.PIPE
        ) as run:
            assert run.stdout is not None
            assert run.stdout.readline() == b"begins\n"
            if number % 2:
                wait_until((outdir / "ready").exists)
                assert left_of(outdir)
            time.sleep(random.uniform(0, 0.03))
            run.kill()
        wait_until(lambda outdir=outdir: left_of(outdir) == [])  # type: ignore[misc]
    clean(tmp_path, {})
    assert [*tmp_path.glob("cwl-udss-*/runs/*")] == []
