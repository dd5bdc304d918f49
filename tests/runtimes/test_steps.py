# SPDX-License-Identifier: Apache-2.0
"""What a command in a sandbox can see, write and leave behind."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from steps import Step

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.limits import CONTAINER_FILES, DEVICES, SESSION
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.sandbox import Ending, Result, RootFilesystem, Streams

TO_THE_LOG = Streams(stdout=1, stderr=2)


@pytest.mark.parametrize("place", ["/out", "/tmp", "/dev/shm"])
def test_a_step_writes_where_cwl_says(step: Step, place: str) -> None:
    outcome = step.run(f"echo x > {place}/file && cat {place}/file")
    assert outcome.stdout == "x\n", outcome.stderr


@pytest.mark.parametrize(
    "place",
    ["/", "/etc", "/bin", "/var", "/var/lib/cwl", "/var/lib/cwl/1", "/dev", "/proc", "/sys"],
)
def test_a_step_writes_nowhere_else(step: Step, place: str) -> None:
    if place == "/dev" and DEVICES in step.runtime.limits:
        pytest.skip(DEVICES.text)
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
    seen = {"bin", "dev", "etc", "out", "proc", "sys", "tmp", "var"}
    seen |= {"run"} if CONTAINER_FILES in step.runtime.limits else set()
    assert set(outcome.stdout.split()) == seen


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


def test_no_network_but_loopback(namespaced_step: Step) -> None:
    assert namespaced_step.run("ls /proc/sys/net/ipv4/conf").stdout.split() == [
        "all",
        "default",
        "lo",
    ]


def test_with_network_the_hosts(namespaced_step: Step) -> None:
    outcome = namespaced_step.run("cat /proc/net/dev", network=True)
    interfaces = Path("/proc/net/dev").read_text().splitlines()
    assert len(outcome.stdout.splitlines()) == len(interfaces)


def test_signals_and_new_files_are_as_for_other_programs(namespaced_step: Step) -> None:
    command = ("cat", "/proc/self/status")
    expected = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    outcome = namespaced_step.execute(command)
    assert [
        line for line in outcome.stdout.splitlines() if line.startswith(("Umask", "SigB", "SigI"))
    ] == [line for line in expected.splitlines() if line.startswith(("Umask", "SigB", "SigI"))]


def test_no_privileges(namespaced_step: Step) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in namespaced_step.run("cat /proc/self/status").stdout.splitlines()
        if ":\t" in line
    )
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_no_descriptor_of_the_caller(namespaced_step: Step, tmp_path: Path) -> None:
    with (tmp_path / "input").open() as stream:
        os.set_inheritable(stream.fileno(), True)
        outcome = namespaced_step.run("exec 9</proc/self/fd; ls /proc/self/fd")
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
    outcome = step.run(f"{start}\n{end}", time_limit=30 if "exit" in end else 1)
    expected = Ending.EXITED if "exit" in end else Ending.TIME_LIMIT
    assert outcome.result.ending is expected
    size = (step.outdir / "heart").stat().st_size
    time.sleep(0.1)
    assert (step.outdir / "heart").stat().st_size == size


def test_nor_on_a_kernel_without_pidfd_open(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process_id: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    assert step.run(f"({LEFT_BEHIND}) & sleep 0.1").result.ending is Ending.EXITED
    size = (step.outdir / "heart").stat().st_size
    time.sleep(0.1)
    assert (step.outdir / "heart").stat().st_size == size


def test_a_step_of_a_python_built_for_an_old_c_library(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("memfd_create", "pidfd_open"):
        monkeypatch.delattr(os, name, raising=False)
    assert step.run("exit 7").result.exit_code == 7


def test_a_step_can_be_killed_from_another_thread(step: Step) -> None:
    process = step.runtime.start(
        replace(step.sandbox, command=("sleep", "60")),
        TO_THE_LOG,
    )
    threading.Timer(0.2, process.kill).start()
    assert process.wait().ending is Ending.KILLED


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 3, 5, 8, 13, 21, 34])
def test_a_step_that_is_killed_while_it_starts_leaves_nothing(
    step: Step, milliseconds: int, tmp_path: Path
) -> None:
    process = step.runtime.start(
        replace(step.sandbox, command=("sh", "-c", "sleep 60; true", str(tmp_path))),
        TO_THE_LOG,
    )
    time.sleep(milliseconds / 1000)
    process.kill()
    assert process.wait().ending is Ending.KILLED
    assert processes_with(str(tmp_path)) == []


def processes_with(argument: str) -> list[Path]:
    """The processes that have a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if os.fsencode(argument) in path.read_bytes().split(b"\0"):
                found.append(path)
    return found


DRIVER = """
import os, pickle, sys
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.sandbox import Streams
finder = RuntimeFinder(sys.argv[1], ("metadata-writable",), None, None, os.environ)
finder.find().start(pickle.load(sys.stdin.buffer), Streams(stdout=1, stderr=2)).wait()
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_step_dies_with_a_driver_that_is_killed(step: Step) -> None:
    script = f"setsid sh -c '{LEFT_BEHIND}' & sleep 60"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, step.name], stdin=subprocess.PIPE)
    assert driver.stdin is not None
    with driver.stdin:
        pickle.dump(replace(step.sandbox, command=("sh", "-c", script)), driver.stdin)
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
    """PBS accounts for and kills processes by session, so that a sandbox must not leave it unless
    that is said."""
    started = start_sleep(step)
    found = list(descendants(started.process.pid))
    started.kill()
    started.wait()
    if step.name == "podman":  # what it starts has another parent, too
        assert SESSION in step.runtime.limits
        return
    assert len(found) > 2
    sessions = {process.session for process in found}
    assert (sessions != {os.getsid(0)}) == (SESSION in step.runtime.limits)


def test_a_runtime_that_is_killed_is_no_exit_code_of_the_tool(namespaced_step: Step) -> None:
    started = start_sleep(namespaced_step)
    *_, runtime, _first_in_sandbox = (
        process for process in descendants(started.process.pid) if process.name == "bwrap"
    )
    os.kill(runtime.number, signal.SIGKILL)
    assert started.wait() == Result(exit_code=128 + signal.SIGKILL, ending=Ending.KILLED)


@dataclass(frozen=True)
class Process:
    number: int
    name: str
    session: int


def descendants(number: int) -> Iterator[Process]:
    """A process and all that come from it, by proc_pid_stat(5)."""
    before, _, after = Path(f"/proc/{number}/stat").read_text().rpartition(")")
    yield Process(number, before.partition("(")[2], int(after.split()[3]))
    for child in Path(f"/proc/{number}/task/{number}/children").read_text().split():
        yield from descendants(int(child))


def start_sleep(step: Step) -> RuntimeProcess:
    started = step.runtime.start(
        replace(step.sandbox, command=("sh", "-c", "touch /out/ready; sleep 60")),
        TO_THE_LOG,
    )
    wait_until((step.outdir / "ready").exists)
    return started


def test_an_image_whose_root_is_gone_is_no_traceback(step: Step, tmp_path: Path) -> None:
    with pytest.raises(SandboxError):
        step.run("true", root=RootFilesystem(path=tmp_path / "nothing"))


@pytest.mark.parametrize("value", ["x\0--bind\0/\0/host", "\0"])
def test_a_nul_character_does_not_reach_the_runtimes_options(step: Step, value: str) -> None:
    with pytest.raises(SandboxError, match="NUL"):
        step.run("ls /", environment={"PATH": "/bin", "VALUE": value})
    with pytest.raises(SandboxError, match="NUL"):
        step.execute(("ls", value))
