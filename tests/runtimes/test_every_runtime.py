# SPDX-License-Identifier: Apache-2.0
"""What is promised of every runtime's sandboxes, or is named as one of its limits: a step that is
up to no good, what a step is given, and what is left when runner or runtime are killed."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from mortal import remaining
from steps import Step
from test_steps import wait_until

from cwl_udss.errors import SandboxError
from cwl_udss.runtimes.limits import FEW_INPUTS, LOOPBACK, METADATA, SHARED_MEMORY
from cwl_udss.runtimes.streams import Pipes
from cwl_udss.sandbox import Bind, Ending, Limit, Result, RootFilesystem, Streams

KILLS = 20
# bwrap asks the kernel to end it with its parent only when a sandbox is set up (docs/sandbox.md).
# The tests' Apptainer is in one.
LIVES_ON_WHILE_IT_STARTS = ("bwrap", "apptainer")


def lacks(step: Step, limit: Limit) -> bool:
    return limit in step.runtime.limits


def contents(directory: Path) -> dict[str, tuple[int, int, float]]:
    """All that is in a directory, with what changes if anything is done to it."""
    found = {}
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime)
    return found


IMAGE_ATTACKS = (
    "echo x >/new; busybox mkdir /bin/new; busybox rm -f /bin/ls; busybox mv /bin/ls /bin/other",
    "echo x >>/bin/busybox; busybox truncate -s 0 /bin/busybox; busybox ln /bin/busybox /bin/new",
    "busybox mount -o remount,rw /; echo x >/new",
    "busybox unshare -r -m busybox mount -o remount,rw,bind /; echo x >/new",
    "busybox unshare -r -m sh -c 'busybox mount -o remount,rw,bind / /; echo x >/new'",
    "busybox umount -l /; busybox umount /etc; echo x >/etc/new",
    "busybox chroot /proc/1/root sh -c 'echo x >/new'; echo x >/proc/1/root/new",
)


@pytest.mark.parametrize("attack", IMAGE_ATTACKS)
def test_an_image_stays_as_it_is(step: Step, busybox_root: Path, attack: str) -> None:
    before = contents(busybox_root)
    outcome = step.run(f"({attack}); echo ran")
    assert outcome.stdout.endswith("ran\n"), outcome.stderr
    assert contents(busybox_root) == before


@pytest.mark.parametrize(
    "attack", ["chmod 000 /bin/busybox", "touch /bin/busybox", "chmod 777 /bin", "chown 0 /bin"]
)
def test_and_so_do_modes_and_times(step: Step, busybox_root: Path, attack: str) -> None:
    if lacks(step, METADATA):
        pytest.skip(METADATA.text)
    before = contents(busybox_root)
    assert step.run(f"busybox {attack}; echo ran").stdout == "ran\n"
    assert contents(busybox_root) == before


@pytest.mark.parametrize(
    "attack",
    [
        "busybox mount -o remount,rw /var/lib/cwl/1/input; echo x >/var/lib/cwl/1/input",
        "busybox unshare -r -m sh -c 'busybox mount -o remount,rw,bind /var/lib/cwl/1/input;"
        " echo x >/var/lib/cwl/1/input'",
        "busybox unshare -r -m sh -c 'busybox umount -l /var/lib/cwl/1/input;"
        " echo x >/var/lib/cwl/1/input'",
        "busybox mv /var/lib/cwl/1/input /out; busybox ln /var/lib/cwl/1/input /out/new;"
        " echo x >/out/new",
        "busybox truncate -s 0 /var/lib/cwl/1/input; : >/var/lib/cwl/1/input",
    ],
)
def test_an_input_stays_as_it_is(step: Step, tmp_path: Path, attack: str) -> None:
    assert step.run(f"({attack}); echo ran").stdout.endswith("ran\n")
    assert (tmp_path / "input").read_text() == "input\n"


def test_the_machines_devices_stay_as_they_are(step: Step) -> None:
    """Also those of root, whose they are."""
    if os.geteuid() == 0 and (step.name in ("bwrap", "many inputs") or lacks(step, METADATA)):
        pytest.skip("root can change them there: findings/bubblewrap-remount-ro-device.sh")
    mode = stat.S_IMODE(os.stat("/dev/null").st_mode)
    outcome = step.run(
        f"echo x >/dev/null && echo wrote; busybox chmod {mode:o} /dev/null; echo $?"
    )
    assert outcome.stdout == "wrote\n1\n"


def test_dev_shm_is_the_steps_own(step: Step) -> None:
    name = f"cwl-udss-{os.getpid()}"
    assert step.run(f"echo x >/dev/shm/{name}; cat /dev/shm/*").stdout == "x\n"
    assert not Path("/dev/shm", name).exists()
    assert step.run("ls /dev/shm").stdout == ""


def test_dev_shm_is_as_large_as_was_asked_for(step: Step) -> None:
    if lacks(step, SHARED_MEMORY):
        pytest.skip(SHARED_MEMORY.text)
    script = "busybox dd if=/dev/zero of=/dev/shm/x bs=64K count={} 2>/dev/null; echo $?"
    for count, code in ((16, 0), (17, 1)):
        outcome = step.run(script.format(count), shared_memory_bytes=1 << 20)
        assert outcome.stdout == f"{code}\n"


def test_devices_that_programs_count_on(step: Step) -> None:
    outcome = step.run(
        "set -e; echo x >/dev/null; busybox head -c 4 /dev/zero | busybox wc -c;"
        "busybox head -c 4 /dev/urandom | busybox wc -c;"
        "echo y >/dev/stdout; echo z | cat /dev/fd/0;"
        "(echo x >/dev/full) 2>/dev/null || echo full"
    )
    assert outcome.stdout == "4\n4\ny\nz\nfull\n", outcome.stderr


@pytest.mark.parametrize("name", ["KILL", "TERM", "ABRT", "PIPE", "SEGV", "INT"])
def test_a_command_that_kills_itself(step: Step, name: str) -> None:
    """As the first process of a PID namespace it would not even notice: pid_namespaces(7)."""
    expected = Result(exit_code=128 + signal.Signals[f"SIG{name}"], ending=Ending.EXITED)
    assert step.run(f"kill -{name} $$; exit 0").result == expected


def test_a_command_that_kills_all_that_it_can(step: Step) -> None:
    result = step.run("kill -9 -1; busybox sleep 1; exit 3").result
    assert result.exit_code in (3, 128 + signal.SIGKILL)
    assert step.run("exit 4").result.exit_code == 4


def test_a_command_that_kills_what_waits_for_it(step: Step) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        result = step.run(f"kill -{number:d} $PPID; exit 3").result
        assert result.exit_code in (3, 128 + signal.SIGKILL)


def test_no_process_of_the_host_is_killed(step: Step) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    step.run(f"kill -9 {bystander.pid} {os.getpid()}; kill -9 -1; true")
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


@contextlib.contextmanager
def service() -> Iterator[int]:
    """A service of the host at its loopback, by its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"hello\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("network", [True, False])
def test_services_of_the_host_are_reached_with_a_network_only(step: Step, network: bool) -> None:
    with service() as port:
        outcome = step.run(f"busybox nc 127.0.0.1 {port} </dev/null", network=network)
    assert outcome.stdout == ("hello\n" if network else "")


def test_a_loopback_of_the_steps_own(step: Step) -> None:
    if lacks(step, LOOPBACK):
        pytest.skip(LOOPBACK.text)
    outcome = step.run(
        "busybox nc -l -p 7777 & for again in 1 2 3 4 5 6 7 8 9; do "
        "busybox sleep 0.2; echo x | busybox nc 127.0.0.1 7777 && break; done; wait"
    )
    assert outcome.stdout == "x\n", outcome.stderr


@pytest.mark.parametrize(
    "name",
    [
        "a::b:",
        ":",
        "a,b",
        "a=b",
        "a b",
        " ",
        "a\nb",
        "a\\b",
        "a\\040b",
        "'\"`$x*",
        "-o",
        "\udcff\udcfe",
    ],
)
def test_inputs_whatever_their_names_are(step: Step, tmp_path: Path, name: str) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / name).mkdir()
    (tmp_path / "named" / name / name).write_text("there\n")
    binds = (
        Bind(source=str(tmp_path / "named" / name), destination=f"/var/lib/cwl/2/{name}"),
        Bind(source=str(tmp_path / "named" / name / name), destination=f"/var/lib/cwl/3/{name}"),
    )
    outcome = step.execute(
        ("cat", f"/var/lib/cwl/2/{name}/{name}", f"/var/lib/cwl/3/{name}"),
        binds=(*step.sandbox.binds, *binds),
    )
    assert outcome.stdout == "there\nthere\n", outcome.stderr


def test_an_input_by_a_path_from_the_current_directory(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bind = Bind(source="input", destination="/var/lib/cwl/2/input")
    outcome = step.run("cat /var/lib/cwl/2/input", binds=(*step.sandbox.binds, bind))
    assert outcome.stdout == "input\n", outcome.stderr


def test_thousands_of_inputs(step: Step, tmp_path: Path) -> None:
    binds = []
    for number in range(3000):
        (tmp_path / f"file{number}").write_text(f"{number}\n")
        destination = f"/var/lib/cwl/stg{number}/file{number}"
        binds.append(Bind(source=str(tmp_path / f"file{number}"), destination=destination))
    if lacks(step, FEW_INPUTS):
        with pytest.raises(SandboxError, match=r"has 30\d\d inputs"):
            step.run("true", binds=(*step.sandbox.binds, *binds))
        binds = binds[:300]
    last = len(binds) - 1
    outcome = step.run(
        f"cd /var/lib/cwl; cat stg0/file0 stg{last}/file{last};"
        "echo x >stg7/file7; echo x >stg7/new",
        binds=(*step.sandbox.binds, *binds),
    )
    assert outcome.stdout == f"0\n{last}\n", outcome.stderr
    assert (tmp_path / "file7").read_text() == "7\n"


def test_an_image_without_a_shell(step: Step, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    busybox = step.sandbox.root.path / "bin/busybox"
    (root / "bin/cat").write_bytes(busybox.read_bytes())
    (root / "bin/cat").chmod(0o755)
    outcome = step.execute(
        ("cat", "/var/lib/cwl/1/input"), root=RootFilesystem(path=root), files={}
    )
    assert outcome.stdout == "input\n", outcome.stderr
    assert sorted(path.name for path in root.iterdir()) == ["bin"]


def test_an_image_that_may_not_be_written_to_by_anybody(
    step: Step, tmp_path: Path, busybox_root: Path
) -> None:
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", busybox_root, root], check=True)
    subprocess.run(["chmod", "-R", "a-w", root], check=True)
    before = contents(root)
    outcome = step.run("cat /var/lib/cwl/1/input", root=RootFilesystem(path=root))
    assert outcome.stdout == "input\n", outcome.stderr
    assert contents(root) == before
    subprocess.run(["chmod", "-R", "u+w", root], check=True)


def test_an_image_by_a_link(step: Step, tmp_path: Path, busybox_root: Path) -> None:
    (tmp_path / "link").symlink_to(busybox_root)
    outcome = step.run("cat /var/lib/cwl/1/input", root=RootFilesystem(path=tmp_path / "link"))
    assert outcome.stdout == "input\n", outcome.stderr


def test_variables_whose_names_no_shell_takes(step: Step) -> None:
    outcome = step.execute(("env",), environment={"PATH": "/bin", "a.b": "c", "x%%": "=\n"})
    assert without_directory(outcome.stdout) == "PATH=/bin\na.b=c\nx%%==\n\n"


def test_no_variables_at_all(step: Step) -> None:
    assert without_directory(step.execute(("/bin/env",), environment={}).stdout) == ""


def without_directory(variables: str) -> str:
    """What bwrap adds, as shells do, is left out."""
    return variables.replace("PWD=/out\n", "")


def test_a_script_without_a_first_line_is_a_shells(step: Step) -> None:
    (step.outdir / "script").write_text('echo "$0 $1"')
    (step.outdir / "script").chmod(0o755)
    outcome = step.execute(("script", "word"), environment={"PATH": "/nowhere:/out:/bin"})
    assert outcome.stdout == "/out/script word\n"


def test_a_working_directory_that_is_not_there(step: Step) -> None:
    outcome = step.run("echo ran", working_directory="/nowhere")
    assert outcome.result == Result(exit_code=127, ending=Ending.NOT_STARTED)
    assert outcome.stdout == ""
    assert "nowhere" in outcome.stderr or "working directory" in outcome.stderr


@pytest.mark.parametrize("script", ["exit 0", "exit 3", "kill -9 $$"])
def test_who_only_has_the_process_sees_whether_the_command_has_failed(
    step: Step, script: str
) -> None:
    """As the engine for JavaScript does, which is handed on as a subprocess.Popen."""
    started = step.runtime.start_with(
        replace(step.sandbox, command=("sh", "-c", f"echo x; {script}")),
        Pipes(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE),
    )
    assert isinstance(started.process, subprocess.Popen)
    output, _ = started.process.communicate(timeout=60)
    assert output == b"x\n"
    assert (started.process.returncode == 0) == (script == "exit 0")


def test_a_long_command_line(step: Step) -> None:
    words = [f"{n:0100}" for n in range(5000)]
    outcome = step.execute(("sh", "-c", 'echo $#; echo "$1" "${5000}"', "sh", *words))
    assert outcome.stdout == f"5000\n{words[0]} {words[-1]}\n", outcome.stderr


@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_new_files_are_made_as_the_callers_are(step: Step, mask: int) -> None:
    if step.name == "proot":
        pytest.skip("what starts PRoot's steps has the mask that it was started with")
    before = os.umask(mask)
    try:
        assert step.run("echo x >/out/file; cat /etc/passwd /var/lib/cwl/1/input").stdout
    finally:
        os.umask(before)
    assert (step.outdir / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_no_descriptor_of_the_caller(step: Step, tmp_path: Path) -> None:
    with (tmp_path / "input").open() as stream:
        os.set_inheritable(stream.fileno(), True)
        outcome = step.run(
            "for n in $(busybox seq 3 40); do (: <&$n) 2>/dev/null && echo $n; done; echo ran"
        )
    assert outcome.stdout == "ran\n"


def test_what_is_read_and_written_through_pipes(step: Step) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"typed\n")
    os.close(writing)
    output, target = os.pipe()
    streams = Streams(stdin=reading, stdout=target, stderr=target)
    script = "cat; echo one; echo two >&2; echo three"
    result = step.runtime.start(replace(step.sandbox, command=("sh", "-c", script)), streams).wait()
    os.close(target)
    os.close(reading)
    with open(output) as stream:
        assert stream.read() == "typed\none\ntwo\nthree\n"
    assert result.exit_code == 0


def test_the_figures_are_the_commands(step: Step) -> None:
    usage = step.run("busybox dd if=/dev/zero of=/dev/null bs=100M count=3").result.usage
    assert usage is not None
    assert 100 << 20 < usage.memory_bytes < 125 << 20
    assert 0.005 < usage.processor_seconds < 10


def test_there_are_figures_of_the_shortest_command(step: Step) -> None:
    usage = step.execute(("true",)).result.usage
    assert usage is not None
    assert 0 < usage.memory_bytes < 32 << 20


def test_the_kernel_says_no_more_than_it_must(step: Step) -> None:
    """What the filter of system calls refuses: namespaces of one's own, and keyrings."""
    outcome = step.run(
        "busybox unshare -U true && echo namespaces; busybox unshare -r -m true && echo mounts;"
        "cat /proc/keys 2>/dev/null | busybox grep -c _ses; echo ran"
    )
    assert "namespaces" not in outcome.stdout
    assert "mounts" not in outcome.stdout
    assert outcome.stdout.endswith("ran\n")


RUNS = """
import os, pickle, sys
from cwl_udss.runtimes.choosing.choice import RuntimeFinder
from cwl_udss.runtimes.limits import WEAKNESSES
from cwl_udss.sandbox import Streams
sandbox = pickle.load(sys.stdin.buffer)
while sys.stdin.buffer.readline():
    run = os.fork()
    if run == 0:
        accepted = tuple(weakness.name for weakness in WEAKNESSES)
        finder = RuntimeFinder(sys.argv[1], accepted, None, None, os.environ)
        runtime = finder.find()
        os.write(1, f"{os.getpid()}\\n".encode())
        runtime.start(sandbox, Streams(stdout=2, stderr=2)).wait()
        os._exit(0)
    os.waitpid(run, 0)
    os.write(1, b"ended\\n")
"""


class Runs:
    """Runs of a step that lives on until it is killed; each is a process of its own."""

    def __init__(self, step: Step, word: str) -> None:
        self._heart = step.outdir / "heart"
        script = "setsid sh -c 'while true; do echo x >>/out/heart; sleep 0.01; done' & sleep 60"
        sandbox = replace(step.sandbox, command=("sh", "-c", script, word))
        self._program = subprocess.Popen(
            [sys.executable, "-c", RUNS, step.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._program.stdin is not None
        pickle.dump(sandbox, self._program.stdin)

    def start(self) -> psutil.Process:
        """Start a run, which is about to start its step."""
        assert self._program.stdin is not None
        self._heart.unlink(missing_ok=True)
        self._program.stdin.write(b"\n")
        self._program.stdin.flush()
        return psutil.Process(int(self._answer()))

    def wait_for_step(self) -> None:
        wait_until(self._heart.exists)

    def wait(self) -> None:
        """Wait until the run has ended."""
        assert self._answer() == b"ended\n"

    def end(self) -> None:
        self._program.communicate()

    def _answer(self) -> bytes:
        assert self._program.stdout is not None
        return self._program.stdout.readline()


@pytest.fixture
def runs(step: Step, tmp_path: Path) -> Iterator[Runs]:
    found = Runs(step, str(tmp_path))
    yield found
    found.end()


def mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def test_nothing_is_left_of_a_run_that_is_killed(
    step: Step, runs: Runs, tmp_path: Path, busybox_root: Path
) -> None:
    before, image = mounts(), contents(busybox_root)
    for _ in range(KILLS):
        run = runs.start()
        if step.name in LIVES_ON_WHILE_IT_STARTS:
            runs.wait_for_step()
        time.sleep(random.uniform(0, 0.03))
        run.kill()
        runs.wait()
        assert remaining(str(tmp_path)) == []
    assert mounts() == before
    assert contents(busybox_root) == image


def test_nothing_is_left_of_a_step_whose_runtime_is_killed(
    step: Step, runs: Runs, tmp_path: Path, busybox_root: Path
) -> None:
    before, image = mounts(), contents(busybox_root)
    for _ in range(KILLS):
        run = runs.start()
        if step.name in LIVES_ON_WHILE_IT_STARTS:
            runs.wait_for_step()
        time.sleep(random.uniform(0, 0.03))
        while not (victims := run.children(recursive=True)):
            time.sleep(0.001)
        with contextlib.suppress(psutil.NoSuchProcess):  # it has become another
            random.choice(victims[:3]).kill()
        with contextlib.suppress(psutil.TimeoutExpired):  # some do without it
            run.wait(0.3)
        with contextlib.suppress(psutil.NoSuchProcess):
            run.kill()
        runs.wait()
        assert remaining(str(tmp_path)) == []
    assert mounts() == before
    assert contents(busybox_root) == image
