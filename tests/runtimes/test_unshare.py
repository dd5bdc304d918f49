# SPDX-License-Identifier: Apache-2.0
"""What is particular to sandboxes in namespaces that unshare makes, ch-run's among them."""

from __future__ import annotations

import os
import pickle
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from foreign.sid import Sid
from machines import without_namespaces
from mortal import remaining
from steps import Step
from test_steps import descendants, wait_until

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.ch_run.ch_run import ChRun
from cwl_udss.runtimes.ch_run.probe import find_ch_run
from cwl_udss.runtimes.unshare.probe import find_unshare
from cwl_udss.runtimes.unshare.unshare import Unshare
from cwl_udss.sandbox import Bind, Ending, Result, RootFilesystem, Streams

TO_THE_LOG = Streams(stdout=1, stderr=2)
SHELLS = ("PWD", "SHLVL", "OLDPWD", "_")  # variables that a shell may add


@pytest.fixture(params=["unshare", "ch_run"])
def unshare_step(small_step: Step, request: pytest.FixtureRequest) -> Step:
    return replace(small_step, runtime=request.getfixturevalue(request.param))


def test_the_first_process_is_out_of_the_steps_reach(unshare_step: Step) -> None:
    """It says how the command has ended, and has the same user."""
    outcome = unshare_step.run(
        "cat /proc/1/environ; cat /proc/1/mem; cat /proc/1/fd/0; ls /proc/1/cwd/; echo ran"
    )
    assert outcome.stdout == "ran\n"
    assert outcome.stderr.count("Permission denied") == 4


def test_no_program_that_was_made_for_it_is_left_open(unshare_step: Step) -> None:
    outcome = unshare_step.run("exec 9</proc/self/fd; ls -l /proc/self/fd | busybox grep -c memfd")
    assert outcome.stdout == "0\n"


def test_what_cannot_be_mounted_is_named(unshare_step: Step, tmp_path: Path) -> None:
    missing = Bind(source=str(tmp_path / "missing"), destination="/var/lib/cwl/2/missing")
    with pytest.raises(SandboxError, match="missing cannot be shown at /var/lib/cwl/2/missing"):
        unshare_step.run("true", binds=(*unshare_step.sandbox.binds, missing))


@pytest.mark.parametrize("generation", [0, 1])
def test_a_runtime_that_is_killed_is_no_exit_code_of_the_tool(
    unshare_step: Step, tmp_path: Path, generation: int
) -> None:
    command = ("sh", "-c", "touch /out/ready; sleep 60; true", str(tmp_path))
    started = unshare_step.runtime.start(replace(unshare_step.sandbox, command=command), TO_THE_LOG)
    wait_until((unshare_step.outdir / "ready").exists)
    victim = list(descendants(started.process.pid))[generation]
    os.kill(victim.number, signal.SIGKILL)
    assert started.wait() == Result(exit_code=128 + signal.SIGKILL, ending=Ending.KILLED)
    assert remaining(str(tmp_path)) == []


def test_a_terminal_has_its_name(unshare_step: Step) -> None:
    ours, theirs = pty.openpty()
    script = "[ -t 1 ] && [ -c /dev/console ] && touch terminal; busybox stty size >/dev/null"
    streams = Streams(stdin=theirs, stdout=theirs, stderr=theirs, hands_on_terminals=True)
    sandbox = replace(unshare_step.sandbox, command=("sh", "-c", script))
    assert unshare_step.runtime.start(sandbox, streams).wait().exit_code == 0
    assert (unshare_step.outdir / "terminal").exists()
    os.close(ours)
    os.close(theirs)


def test_the_files_of_a_directory_of_the_package_can_be_inputs(unshare_step: Step) -> None:
    """One of which gives way to the sandbox."""
    package = Path(sys.modules[Unshare.__module__].__file__ or "").parents[2]
    bind = Bind(source=str(package), destination="/var/lib/cwl/2/package")
    outcome = unshare_step.run(
        "cd /var/lib/cwl/2/package; cat sandbox.py; ls runtimes/unshare | busybox wc -l",
        binds=(*unshare_step.sandbox.binds, bind),
    )
    assert outcome.stdout.startswith((package / "sandbox.py").read_text()), outcome.stderr


def program(tmp_path: Path, name: str, script: str) -> str:
    (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / name).chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


FINDERS = pytest.mark.parametrize(
    ("find", "name"), [(find_unshare, "unshare"), (find_ch_run, "ch-run")]
)
Find = Callable[[str], Unshare | ChRun]


@FINDERS
def test_none_at_all(tmp_path: Path, find: Find, name: str) -> None:
    with pytest.raises(SandboxError, match=f"there is no {name} on this machine.*install"):
        find(str(tmp_path))


@FINDERS
def test_another_program_of_that_name(tmp_path: Path, find: Find, name: str) -> None:
    with pytest.raises(SandboxError, match="fails: is it"):
        find(program(tmp_path, name, "exit 1"))
    with pytest.raises(SandboxError, match=r"is not util-linux's|is too old"):
        find(program(tmp_path, name, "echo something else 1.0"))


@FINDERS
def test_a_directory_of_that_name(tmp_path: Path, find: Find, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(SandboxError, match=f"there is no {name} on this machine"):
        find(str(tmp_path))


@FINDERS
def test_a_program_for_another_machine(tmp_path: Path, find: Find, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x7fELF\x02\x01\x01 and nothing that makes sense")
    (tmp_path / name).chmod(0o755)
    with pytest.raises(SandboxError, match="cannot be executed"):
        find(f"{tmp_path}:{os.environ['PATH']}")


@FINDERS
def test_one_that_lies_about_what_it_can_do(tmp_path: Path, find: Find, name: str) -> None:
    lies = "util-linux 99 --uid --gid --no-passwd"
    path = program(tmp_path, name, f'case "$1" in --version|--help) echo {lies};; *) exit 3; esac')
    with pytest.raises(SandboxError, match=r"no sandbox can be made with .*: see whether it is"):
        find(path)


def test_a_ch_run_that_fails_is_no_exit_code_of_the_tool(small_step: Step, ch_run: ChRun) -> None:
    step = replace(small_step, runtime=replace(ch_run, path="/bin/false"))
    with pytest.raises(SandboxError, match="could not be made"):
        step.run("exit 0")


def test_a_ch_run_that_is_not_there_is_told(small_step: Step, ch_run: ChRun) -> None:
    step = replace(small_step, runtime=replace(ch_run, path="/nowhere/ch-run"))
    with pytest.raises(SandboxError, match="could not be made"):
        step.run("exit 0")
    assert "/nowhere/ch-run cannot be executed" in (step.tmpdir.parent / "stderr").read_text()


def test_nothing_of_the_hosts_etc_is_shown_by_ch_run(
    small_step: Step, ch_run: ChRun, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", small_step.sandbox.root.path, root], check=True)
    (root / "etc/machine-id").write_text("the image's\n")
    (root / "etc/hosts").write_text("the image's hosts\n")
    files = {name: text for name, text in small_step.sandbox.files.items() if "hosts" not in name}
    step = replace(small_step, runtime=ch_run)
    outcome = step.run(
        "cat /etc/machine-id /etc/hosts; id -un",
        root=RootFilesystem(path=root),
        files=files,
    )
    assert outcome.stdout.splitlines()[:2] == ["the image's", "the image's hosts"]
    assert "CH_RUNNING" not in step.run("env").stdout


@pytest.fixture(scope="session")
def ch_run_of_sid(sid: Sid) -> ChRun:
    """A newer one, with the libraries that it needs. It is not in /tmp, which is the step's."""
    place = sid.root.parent / "ch-run-of-sid"
    place.mkdir(exist_ok=True)
    loader, libraries = next(sid.root.glob("lib*/ld-linux*")), next(sid.root.glob("usr/lib/*-gnu"))
    command = f"{loader} --library-path {libraries} {sid.root}/usr/bin/ch-run"
    return find_ch_run(program(place, "ch-run", f'exec {command} "$@"'))


def test_a_newer_ch_run(
    small_step: Step, ch_run: ChRun, ch_run_of_sid: ChRun, tmp_path: Path
) -> None:
    assert ch_run.version < "0.45" <= ch_run_of_sid.version
    step = replace(small_step, runtime=ch_run_of_sid)
    outcome = step.run(
        "id -u; cat /var/lib/cwl/1/input; for name in /new /bin/new /var/lib/cwl/1/input /etc/new;"
        "do echo x >$name && echo wrote; done; echo x >/tmp/file; echo x >/dev/shm/file; ls /;"
        "ls -d /proc/[0-9]* | busybox wc -l; env; kill -TERM $$"
    )
    assert outcome.result == Result(exit_code=128 + signal.SIGTERM, ending=Ending.EXITED)
    lines = outcome.stdout.splitlines()
    assert lines[:2] == [str(os.getuid()), "input"]
    assert "wrote" not in lines
    assert (step.tmpdir / "file").exists()
    assert lines[2:10] == ["bin", "dev", "etc", "out", "proc", "sys", "tmp", "var"]
    assert int(lines[10]) <= 5
    assert {line.partition("=")[0] for line in lines[11:]} <= {"PATH", "HOME", "TMPDIR", *SHELLS}
    assert step.execute(("no-such-program",)).result.ending is Ending.NOT_STARTED


NOT_HERE = """
import sys
from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.unshare.probe import find_unshare
try:
    find_unshare()
except SandboxError as error:
    print(error)
"""


def test_a_machine_without_user_namespaces() -> None:
    command = [*without_namespaces(), sys.executable, "-c", NOT_HERE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "No space left on device" in done.stdout
    assert "user.max_user_namespaces" in done.stdout
    assert done.stdout.count("\n") == 1


OLD_KERNEL = """
import pickle, sys
from cwl_udss.runtimes.proot.landlock import forbid_new_privileges
from cwl_udss.runtimes.proot.request import restrict_calls
from cwl_udss.runtimes.seccomp import *
from cwl_udss.runtimes.seccomp import when
from cwl_udss.sandbox import Streams
runtime, sandbox = pickle.load(sys.stdin.buffer)
forbid_new_privileges()
answer = when(JUMP_EQUAL, 442, [instruction(RETURN, NOT_IMPLEMENTED)])
restrict_calls(b"".join([instruction(LOAD_WORD, 0), *answer, instruction(RETURN, ALLOW)]))
sys.exit(runtime.start(sandbox, Streams(stdout=1, stderr=2)).wait().exit_code)
"""


def test_a_kernel_without_mount_setattr(
    unshare_step: Step, tmp_path: Path, busybox_root: Path
) -> None:
    """Linux before 5.12."""
    (tmp_path / "directory/a").mkdir(parents=True)
    binds = (
        *unshare_step.sandbox.binds,
        Bind(source=str(tmp_path / "directory"), destination="/var/lib/cwl/2/directory"),
        Bind(source=str(tmp_path / "outdir"), destination="/again", writable=True),
        Bind(source=str(tmp_path / "directory/a"), destination="/again/inner"),
        Bind(source="/dev", destination="/var/lib/cwl/3/devices"),  # with mounts below it
    )
    script = (
        "for name in /new /etc/new /dev/new /proc/new /var/lib/cwl/new /var/lib/cwl/1/input"
        " /var/lib/cwl/2/directory/a/new /again/inner/new /var/lib/cwl/3/devices/shm/new"
        "; do echo x >$name && echo wrote $name; done;"
        "echo x >/out/file; echo x >/tmp/file; echo x >/dev/shm/file; echo x >/again/file2;"
        "echo x >/dev/null; busybox head -c 1 /var/lib/cwl/3/devices/zero; cat /proc/mounts"
    )
    sandbox = replace(unshare_step.sandbox, command=("sh", "-c", script), binds=binds)
    done = subprocess.run(
        [sys.executable, "-c", OLD_KERNEL],
        input=pickle.dumps((unshare_step.runtime, sandbox)),
        capture_output=True,
        check=False,
    )
    output, errors = os.fsdecode(done.stdout), os.fsdecode(done.stderr)
    assert done.returncode == 0, errors
    assert "wrote" not in output
    assert errors.count("can't create") == 9, errors
    assert "Permission denied" in errors  # nodev
    fields = [line.split() for line in output.splitlines() if line.count(" ") == 5]
    mounts = {path: options.split(",") for _, path, _, options, *_ in fields}  # those on top
    assert len(mounts) > 15
    assert [path for path, options in mounts.items() if "nosuid" not in options] == []
