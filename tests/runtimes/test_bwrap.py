# SPDX-License-Identifier: Apache-2.0
"""What a command in a sandbox can see, write and leave behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cwl_udss.errors import SandboxError
from cwl_udss.identity import identity_files
from cwl_udss.runtimes.bwrap import Bubblewrap, bubblewrap_arguments
from cwl_udss.runtimes.mounts import plan_mounts
from cwl_udss.runtimes.probe import find_bubblewrap
from cwl_udss.runtimes.trees import MANY
from cwl_udss.sandbox import Bind, Ending, Result, RootFilesystem, Sandbox


@dataclass(frozen=True)
class Outcome:
    result: Result
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Step:
    """A sandbox as a step has it, and the host's directories behind it."""

    runtime: Bubblewrap
    sandbox: Sandbox
    outdir: Path
    tmpdir: Path

    def run(self, script: str, time_limit: float | None = None, **changes: Any) -> Outcome:
        return self.execute(("sh", "-c", script), time_limit, **changes)

    def execute(
        self, command: tuple[str, ...], time_limit: float | None = None, **changes: Any
    ) -> Outcome:
        sandbox = replace(self.sandbox, command=command, **changes)
        with (
            (self.tmpdir.parent / "stdout").open("w+b") as stdout,
            (self.tmpdir.parent / "stderr").open("w+b") as stderr,
        ):
            result = self.runtime.start(
                sandbox, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            ).wait(time_limit)
            stdout.seek(0)
            stderr.seek(0)
            return Outcome(result, stdout.read().decode(), stderr.read().decode())


@pytest.fixture(scope="session")
def runtime() -> Bubblewrap:
    return find_bubblewrap(None)


@pytest.fixture(params=[0, MANY], ids=["few inputs", "many inputs"])
def step(
    busybox_root: Path, tmp_path: Path, runtime: Bubblewrap, request: pytest.FixtureRequest
) -> Step:
    """With few inputs bwrap makes all the binds, many are bound before it starts."""
    outdir, tmpdir = tmp_path / "outdir", tmp_path / "tmpdir"
    outdir.mkdir()
    tmpdir.mkdir()
    (tmp_path / "input").write_text("input\n")
    further = (
        Bind(source=str(tmp_path / "input"), destination=f"/var/lib/cwl/further/{number}")
        for number in range(request.param)
    )
    sandbox = Sandbox(
        root=RootFilesystem(path=busybox_root),
        command=(),
        environment={"PATH": "/bin", "HOME": "/out", "TMPDIR": "/tmp"},
        working_directory="/out",
        directories=("/var/lib/cwl",),
        binds=(
            Bind(source=str(outdir), destination="/out", writable=True),
            Bind(source=str(tmpdir), destination="/tmp", writable=True),
            Bind(source=str(tmp_path / "input"), destination="/var/lib/cwl/1/input"),
            *further,
        ),
        files=identity_files(busybox_root, home="/out", network=False),
    )
    return Step(runtime, sandbox, outdir, tmpdir)


@pytest.mark.parametrize("place", ["/out", "/tmp", "/dev/shm"])
def test_a_step_writes_where_cwl_says(step: Step, place: str) -> None:
    outcome = step.run(f"echo x > {place}/file && cat {place}/file")
    assert outcome.stdout == "x\n", outcome.stderr


@pytest.mark.parametrize(
    "place",
    ["/", "/etc", "/bin", "/var", "/var/lib/cwl", "/var/lib/cwl/1", "/dev", "/proc", "/sys"],
)
def test_a_step_writes_nowhere_else(step: Step, place: str) -> None:
    outcome = step.run(f"echo x > {place}/file")
    assert outcome.result.exit_code != 0
    assert "file" in outcome.stderr


def test_inputs_cannot_be_changed(step: Step) -> None:
    outcome = step.run(
        "cd /var/lib/cwl/1; echo y > input; chmod 600 input && echo y > input; rm -f input;"
        "cat input"
    )
    assert outcome.stdout == "input\n"


def test_what_is_written_belongs_to_the_caller(step: Step) -> None:
    step.run("echo x > file; mkdir directory; echo y > /tmp/other")
    assert (step.outdir / "file").stat().st_uid == os.getuid()
    assert (step.outdir / "directory").stat().st_gid == os.getgid()
    assert (step.tmpdir / "other").read_text() == "y\n"


def test_the_host_is_out_of_sight(step: Step, tmp_path: Path) -> None:
    outcome = step.run(f"ls -d /home /root /work /mnt {tmp_path} {Path.home()}; ls /")
    assert set(outcome.stdout.split()) == {"bin", "dev", "etc", "out", "proc", "sys", "tmp", "var"}


def test_processes_of_the_host_are_out_of_sight(step: Step) -> None:
    outcome = step.run("ls -d /proc/[0-9]*")
    assert len(outcome.stdout.split()) <= 3


def test_the_environment_is_the_steps_own(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "leaked")
    outcome = step.run("env", environment={"PATH": "/bin", "LINES": "one\ntwo", "EMPTY": ""})
    assert "CANARY" not in outcome.stdout
    assert "LINES=one\ntwo\n" in outcome.stdout
    assert "EMPTY=\n" in outcome.stdout


def test_a_steps_environment_does_not_reach_the_runtime(step: Step, tmp_path: Path) -> None:
    outcome = step.run(
        "echo fine", environment={"PATH": "/bin", "LD_PRELOAD": f"{tmp_path}/none.so"}
    )
    # The loader would complain of bwrap if it saw the variable; busybox is static.
    assert (outcome.stdout, outcome.stderr) == ("fine\n", "")


def test_the_caller_has_a_name(step: Step) -> None:
    outcome = step.run("id -u; id -g; id -un")
    numbers = outcome.stdout.split()
    assert numbers[:2] == [str(os.getuid()), str(os.getgid())]
    assert numbers[2]


def test_no_network_but_loopback(step: Step) -> None:
    assert step.run("ls /proc/sys/net/ipv4/conf").stdout.split() == ["all", "default", "lo"]


def test_with_network_the_hosts(step: Step) -> None:
    outcome = step.run("cat /proc/net/dev", network=True)
    interfaces = Path("/proc/net/dev").read_text().splitlines()
    assert len(outcome.stdout.splitlines()) == len(interfaces)


def test_no_privileges(step: Step) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in step.run("cat /proc/self/status").stdout.splitlines()
        if ":\t" in line
    )
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_no_descriptor_of_the_caller(step: Step, tmp_path: Path) -> None:
    with (tmp_path / "input").open() as stream:
        os.set_inheritable(stream.fileno(), True)
        outcome = step.run("exec 9</proc/self/fd; ls /proc/self/fd")
    # 0 to 2, the shell's own 9, and the one with which ls reads the directory.
    assert outcome.stdout.split() == ["0", "1", "2", "3", "9"]


@pytest.mark.parametrize("code", [0, 1, 126, 127, 255])
def test_exit_codes_are_the_commands(step: Step, code: int) -> None:
    assert step.run(f"exit {code}").result == Result(exit_code=code, ending=Ending.EXITED)


def test_a_signal_shows_as_in_a_shell(step: Step) -> None:
    assert step.run("kill -TERM $$").result.exit_code == 128 + signal.SIGTERM


@pytest.mark.parametrize("command", ["no-such-program", "/etc/passwd", "/"])
def test_what_cannot_be_executed_is_told_apart(step: Step, command: str) -> None:
    assert step.execute((command,)).result == Result(exit_code=127, ending=Ending.NOT_STARTED)


def test_arguments_arrive_as_they_are(step: Step) -> None:
    arguments = ("", "a b", "--", "--bind", "line\nbreak", "\udcff", "ü")
    outcome = step.execute(("sh", "-c", 'for a; do echo "$#:${#a}"; done', "sh", *arguments))
    assert len(outcome.stdout.split()) == len(arguments)
    assert outcome.stdout.startswith(f"{len(arguments)}:0\n")


def test_the_kernels_settings_cannot_be_changed(step: Step) -> None:
    """Not even by the machine's root, to whom the kernel allows it without any capability."""
    outcome = step.run(
        "for name in hostname core_pattern; do "
        "cat /proc/sys/kernel/$name > value && cat value > /proc/sys/kernel/$name && echo wrote; "
        "done; echo ran"
    )
    assert outcome.stdout == "ran\n"


LEFT_BEHIND = "while true; do echo x >> /out/heart; sleep 0.01; done"


@pytest.mark.parametrize(
    "start",
    [
        f"({LEFT_BEHIND}) &",
        f"setsid sh -c '{LEFT_BEHIND}' &",
        f"trap '' TERM HUP; (trap '' TERM HUP; {LEFT_BEHIND}) &",
        f"((setsid sh -c '{LEFT_BEHIND}' &) &)",
    ],
    ids=["background", "own session", "ignores signals", "double fork"],
)
@pytest.mark.parametrize(
    "end", ["sleep 0.1; exit 3", "sleep 60"], ids=["ends", "passes its time limit"]
)
def test_nothing_lives_on_after_the_step(step: Step, start: str, end: str) -> None:
    outcome = step.run(f"{start}\n{end}", time_limit=0.5)
    expected = Ending.EXITED if "exit" in end else Ending.TIME_LIMIT
    assert outcome.result.ending is expected
    size = (step.outdir / "heart").stat().st_size
    time.sleep(0.1)
    assert (step.outdir / "heart").stat().st_size == size


def test_nor_on_a_kernel_without_pidfd_open(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process_id: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert step.run(f"({LEFT_BEHIND}) & sleep 0.1").result.ending is Ending.EXITED
    size = (step.outdir / "heart").stat().st_size
    time.sleep(0.1)
    assert (step.outdir / "heart").stat().st_size == size


def test_a_step_can_be_killed_from_another_thread(step: Step) -> None:
    process = step.runtime.start(
        replace(step.sandbox, command=("sleep", "60")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    threading.Timer(0.2, process.kill).start()
    assert process.wait().ending is Ending.KILLED


DRIVER = """
import subprocess, sys
from pathlib import Path
from cwl_udss.runtimes.probe import find_bubblewrap
from cwl_udss.sandbox import Bind, RootFilesystem, Sandbox
root, outdir, script = sys.argv[1:]
find_bubblewrap(None).start(
    Sandbox(root=RootFilesystem(path=Path(root)), command=("sh", "-c", script),
            environment={"PATH": "/bin"}, working_directory="/out",
            binds=(Bind(source=outdir, destination="/out", writable=True),)),
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
).wait()
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_step_dies_with_a_driver_that_is_killed(step: Step) -> None:
    driver = subprocess.Popen(
        [
            *(sys.executable, "-c", DRIVER, str(step.sandbox.root.path), str(step.outdir)),
            f"setsid sh -c '{LEFT_BEHIND}' & sleep 60",
        ]
    )
    heart = step.outdir / "heart"
    wait_until(heart.exists)
    driver.kill()
    driver.wait()
    time.sleep(0.1)
    size = heart.stat().st_size
    time.sleep(0.1)
    assert heart.stat().st_size == size


@pytest.mark.parametrize("name", ["etc/passwd", "etc/hosts", "var/lib/cwl", "out"])
@pytest.mark.parametrize("prefix", ["/oldroot", "../../../../oldroot", ""])
def test_a_hostile_image_writes_nothing_on_the_host(
    step: Step, busybox_root: Path, tmp_path: Path, name: str, prefix: str
) -> None:
    root = tmp_path / "hostile"
    subprocess.run(["cp", "-a", busybox_root, root], check=True)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious")
    target = root / name
    if target.is_dir():
        target.rmdir()
    target.unlink(missing_ok=True)
    directory = name in ("var/lib/cwl", "out")
    target.symlink_to(f"{prefix}{victim}{'' if directory else '/file'}")
    step.run(
        "echo hacked > /etc/passwd; echo hacked > /out/file; echo x > /out/x",
        root=RootFilesystem(path=root),
    )
    assert [path.name for path in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == "precious"


def test_secrets_are_in_no_command_line(step: Step) -> None:
    outcome = step.run("cat /proc/*/cmdline", environment={"PATH": "/bin", "PASSWORD": "geheim"})
    assert "geheim" not in outcome.stdout


def test_the_session_is_the_callers(step: Step) -> None:
    """PBS accounts for and kills processes by session, so that a sandbox must not leave it."""
    arguments = bubblewrap_arguments(step.sandbox, plan_mounts(step.sandbox), step.runtime.options)
    assert "--new-session" not in arguments


def test_an_image_whose_root_is_gone_is_no_traceback(step: Step, tmp_path: Path) -> None:
    with pytest.raises(SandboxError):
        step.run("true", root=RootFilesystem(path=tmp_path / "nothing"))


@pytest.mark.parametrize("value", ["x\0--bind\0/\0/host", "\0"])
def test_a_nul_character_does_not_reach_the_runtimes_options(step: Step, value: str) -> None:
    with pytest.raises(SandboxError, match="NUL"):
        step.run("ls /", environment={"PATH": "/bin", "VALUE": value})
    with pytest.raises(SandboxError, match="null"):
        step.execute(("ls", value))
