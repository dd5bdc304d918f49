# SPDX-License-Identifier: Apache-2.0
"""What is particular to sandboxes that PRoot makes, within Landlock and seccomp."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from steps import Step

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.limits import METADATA, MOVES, PROOT_LIMITS, SIGNALS, SLOW
from cwl_udss.runtimes.proot.landlock import limits_of
from cwl_udss.runtimes.proot.launching import Launchers
from cwl_udss.runtimes.proot.probe import embedded_loaders, find_proot
from cwl_udss.runtimes.proot.proot import Cpus, Proot
from cwl_udss.sandbox import Bind, Ending, Streams

TO_THE_LOG = Streams(stdout=1, stderr=2)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(argument: str) -> bool:
    """Say whether a process has a word in its command line."""
    lines = map(_read, Path("/proc").glob("[0-9]*/cmdline"))
    return any(os.fsencode(argument) in line.split(b"\0") for line in lines)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


def test_without_network_there_are_no_sockets_but_local_ones(proot_step: Step) -> None:
    outcome = proot_step.run("busybox nc 127.0.0.1 1")
    assert os.strerror(errno.EAFNOSUPPORT) in outcome.stderr


def test_with_network_there_are(proot_step: Step) -> None:
    outcome = proot_step.run("busybox nc 127.0.0.1 1", network=True)
    assert os.strerror(errno.ECONNREFUSED) in outcome.stderr


def test_no_process_of_the_host_can_be_signalled(proot_step: Step) -> None:
    outcome = proot_step.run(f"kill -TERM {os.getpid()} || echo refused; kill -0 $$ && echo own")
    assert outcome.stdout == "refused\nown\n"


def test_proc_tells_of_the_machine_and_of_no_process(proot_step: Step) -> None:
    outcome = proot_step.run(
        f"cat /proc/{os.getpid()}/cmdline /proc/1/comm; ls /proc; cat /proc/meminfo"
    )
    assert outcome.stdout.startswith("MemTotal")


def test_what_may_be_written_to_around_what_may_not_is_refused(proot_step: Step) -> None:
    inside = proot_step.outdir / "inside"
    inside.write_text("x")
    bind = Bind(source=str(inside), destination="/var/lib/cwl/2/inside")
    with pytest.raises(SandboxError, match="read only"):
        proot_step.run("true", binds=(*proot_step.sandbox.binds, bind))


def test_modes_and_times_that_a_step_changes_are_told(
    proot_step: Step, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = (tmp_path / "input").stat().st_mode
    with caplog.at_level(logging.WARNING):
        proot_step.run("cat /var/lib/cwl/1/input")
        assert caplog.text == ""
        proot_step.run("busybox chmod 640 /var/lib/cwl/1/input")
    assert (tmp_path / "input").stat().st_mode != before
    assert "modes or times of inputs have changed" in caplog.text
    assert str(tmp_path / "input") in caplog.text


def test_a_proot_that_is_killed_is_no_exit_code_of_the_tool(
    proot_step: Step, tmp_path: Path
) -> None:
    started = proot_step.runtime.start(
        replace(proot_step.sandbox, command=("sh", "-c", "touch ready; sleep 60", str(tmp_path))),
        TO_THE_LOG,
    )
    wait_until((proot_step.outdir / "ready").exists)
    children = Path(f"/proc/{started.process.pid}/task/{started.process.pid}/children")
    os.kill(int(children.read_text()), signal.SIGKILL)
    assert started.wait().ending is Ending.KILLED
    assert not is_running(str(tmp_path))


def test_nothing_outlives_a_launcher_that_is_killed(proot_step: Step, tmp_path: Path) -> None:
    script = "(setsid sleep 60 &) ; touch ready; sleep 60; true"
    started = proot_step.runtime.start(
        replace(proot_step.sandbox, command=("sh", "-c", script, str(tmp_path))), TO_THE_LOG
    )
    wait_until((proot_step.outdir / "ready").exists)
    os.kill(started.process.pid, signal.SIGKILL)
    assert started.wait().exit_code == 128 + signal.SIGKILL
    wait_until(lambda: not is_running(str(tmp_path)))


def test_what_starts_steps_may_be_killed_between_them(proot_step: Step, proot: Proot) -> None:
    launchers = Launchers()
    step = replace(proot_step, runtime=replace(proot, launchers=launchers))
    assert step.run("exit 3").result.exit_code == 3
    starter = launchers.process_id
    assert starter is not None
    os.kill(starter, signal.SIGKILL)
    assert step.run("exit 4").result.exit_code == 4
    launchers.close()


def test_an_input_that_is_gone_is_told(proot_step: Step, tmp_path: Path) -> None:
    (tmp_path / "input").unlink()
    with pytest.raises(SandboxError, match="is not there any more"):
        proot_step.run("true")


def test_a_step_has_no_capabilities_whoever_runs_it(proot_step: Step) -> None:
    outcome = proot_step.run("busybox mknod disk b 8 0; busybox chroot / true; echo ran")
    assert not (proot_step.outdir / "disk").exists()
    assert outcome.stdout == "ran\n"


def test_the_figures_of_what_nobody_waited_for(proot_step: Step) -> None:
    daemon = "(setsid busybox dd if=/dev/zero of=/dev/null bs=100M count=1000 &)"
    usage = proot_step.run(f"{daemon}; sleep 0.5").result.usage
    assert usage is not None
    assert usage.memory_bytes > 100 << 20


def test_a_step_that_asks_for_one_core_stays_on_one(proot_step: Step) -> None:
    """PRoot is two to four times as fast there."""
    cores = len(os.sched_getaffinity(0))
    assert proot_step.run("busybox nproc").stdout == f"{cores}\n"
    assert proot_step.run("busybox nproc", cores=1).stdout == "1\n"
    assert proot_step.run("busybox nproc", cores=2).stdout == f"{cores}\n"


def test_steps_take_turns_on_the_cores() -> None:
    cpus, there = Cpus(), sorted(os.sched_getaffinity(0))
    assert sorted(cpus.next() for _ in there) == there


def test_what_is_made_for_a_step_is_gone_after_it(proot_step: Step, proot: Proot) -> None:
    before = set(proot.place.iterdir())
    proot_step.run("echo x >/dev/shm/left")
    assert set(proot.place.iterdir()) == before


def test_limits_by_what_the_kernel_can() -> None:
    assert METADATA in limits_of(PROOT_LIMITS, 7)
    assert SIGNALS not in limits_of(PROOT_LIMITS, 6)
    assert {SIGNALS, METADATA} < set(limits_of(PROOT_LIMITS, 5))
    assert MOVES in limits_of(PROOT_LIMITS, 1)
    assert MOVES not in limits_of(PROOT_LIMITS, 2)
    assert limits_of(PROOT_LIMITS, 1) == PROOT_LIMITS


@pytest.mark.parametrize("abi", [1, 2, 3, 5])
def test_older_kernels_contain_files_too(proot_step: Step, proot: Proot, abi: int) -> None:
    step = replace(proot_step, runtime=replace(proot, abi=abi))
    outcome = step.run(
        "echo x >file; cat file; echo y >/var/lib/cwl/1/input; true >/var/lib/cwl/1/input;"
        "busybox truncate -s 0 /var/lib/cwl/1/input; cat /var/lib/cwl/1/input"
    )
    assert outcome.stdout == "x\ninput\n"


NO_PTRACE = """
import errno, os, struct, sys
from cwl_udss.runtimes.proot.landlock import forbid_new_privileges
from cwl_udss.runtimes.proot.request import restrict_calls
from cwl_udss.runtimes.seccomp import RETURN, filter_program, instruction
refused = 0x00050000 | errno.{error}
forbid_new_privileges()
answers = {{number: [instruction(RETURN, refused)] for number in {calls}}}
restrict_calls(filter_program(lambda table: answers, None))
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
try:
    RuntimeFinder("proot", ("metadata-writable",), None, None, os.environ).find()
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("calls", "error", "said"),
    [
        pytest.param((101, 26, 117), "EPERM", "ptrace", id="no ptrace"),
        pytest.param((444,), "ENOSYS", "Landlock", id="a kernel without Landlock"),
        pytest.param((444,), "EOPNOTSUPP", "Landlock", id="Landlock not enabled"),
    ],
)
def test_a_machine_on_which_it_cannot_work(
    proot: Proot, calls: tuple[int, ...], error: str, said: str
) -> None:
    script = NO_PTRACE.format(calls=calls, error=error)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said in done.stdout
    assert done.stdout.count("\n") == 1


def test_another_program_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "proot").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "proot").chmod(0o755)
    with pytest.raises(SandboxError, match="is it PRoot"):
        find_proot(lambda: pytest.fail("nothing is to be made"), str(tmp_path))


def test_a_script_that_starts_proot(tmp_path: Path) -> None:
    (tmp_path / "proot").write_text("#!/bin/sh\necho 5.1.0\n")
    (tmp_path / "proot").chmod(0o755)
    with pytest.raises(SandboxError, match="proot is a script: put the program that it starts"):
        find_proot(lambda: contextlib.nullcontext(tmp_path), str(tmp_path))


def test_no_proot_at_all(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="there is no proot"):
        find_proot(lambda: pytest.fail("nothing is to be made"), str(tmp_path))


def test_loaders_are_found_in_whatever_is_around_them() -> None:
    program = bytearray(64)
    program[:5] = b"\x7fELF\x02"
    program[40:48] = (64).to_bytes(8, "little")
    program[58:62] = (16).to_bytes(2, "little") + (2).to_bytes(2, "little")
    whole = bytes(program) + b"s" * 32
    found = dict(embedded_loaders(b"\x7fELF\x02 the program itself" + whole + b"\x7fELF and more"))
    assert found == {"PROOT_LOADER": whole}


def test_that_a_newer_one_is_faster_is_told(proot: Proot) -> None:
    assert (SLOW in proot.limits) is not proot.is_accelerated
    assert SLOW in replace(proot, is_accelerated=False).limits
    assert SLOW not in replace(proot, is_accelerated=True).limits
