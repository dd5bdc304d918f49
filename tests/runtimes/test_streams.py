# SPDX-License-Identifier: Apache-2.0
"""The standard streams of a sandboxed process: what passes through them, and what does not."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from mortal import remaining
from steps import Step

from cwl_udss.errors import StreamError
from cwl_udss.runtimes.limits import TERMINAL
from cwl_udss.runtimes.process import RuntimeProcess
from cwl_udss.sandbox import Ending, Result, Streams

OLD = "a line of last week\n"


@contextmanager
def log(path: Path, flags: int) -> Iterator[int]:
    """A file of the caller's, which has a line already and is written to from its end on."""
    path.write_text(OLD)
    descriptor = os.open(path, os.O_RDWR | flags)
    os.lseek(descriptor, 0, os.SEEK_END)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def start(step: Step, script: str, streams: Streams) -> RuntimeProcess:
    command = ("sh", "-c", script)
    return step.runtime.start(replace(step.sandbox, command=command), streams)


@pytest.mark.parametrize("flags", [0, os.O_APPEND], ids=["file", "appended to"])
@pytest.mark.parametrize(
    "script",
    [
        "echo new > /dev/stderr",
        "echo new > /proc/self/fd/2",
        "echo new > /dev/fd/2",
        "echo new | busybox tee /dev/stderr > /dev/null",
        "exec 5>/dev/stderr 2>/dev/null; echo new >&5",
        "sh -c 'echo new > /proc/1/fd/2'",
    ],
)
def test_a_file_of_the_callers_is_only_added_to(
    step: Step, tmp_path: Path, script: str, flags: int
) -> None:
    with log(tmp_path / "log", flags) as descriptor:
        start(step, script, Streams(stdout=descriptor, stderr=descriptor)).wait()
    text = (tmp_path / "log").read_text()
    assert text in (f"{OLD}new\n", OLD) or (  # pid 1 may not be reached
        text.startswith(OLD) and text.endswith(": Permission denied\n")
    )


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/2", "/proc/1/fd/1"])
def test_nor_can_it_be_read(step: Step, tmp_path: Path, path: str) -> None:
    with log(tmp_path / "log", 0) as descriptor:
        streams = Streams(stdout=descriptor, stderr=descriptor)
        start(step, f"cat {path} > found", streams).wait(time_limit=10)
    assert "last week" not in (step.outdir / "found").read_text()


def test_standard_input_cannot_be_changed(step: Step, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given\n")
    with (tmp_path / "given").open("rb") as stdin:
        outcome = run_with_input(step, "cat; echo new > /dev/stdin; echo ran", stdin.fileno())
    assert outcome == "given\nran\n"
    assert (tmp_path / "given").read_text() == "given\n"


def run_with_input(step: Step, script: str, stdin: int | None) -> str:
    said = step.tmpdir.parent / "said"
    with said.open("wb") as stdout:
        streams = Streams(stdin=stdin, stdout=stdout.fileno(), stderr=2)
        start(step, script, streams).wait(time_limit=30)
    return said.read_text()


def test_all_three_are_pipes(step: Step) -> None:
    script = "for n in 0 1 2; do [ -p /proc/self/fd/$n ] && echo pipe; done"
    assert step.run(script).stdout == 3 * "pipe\n"


def test_without_standard_input_it_is_at_its_end(step: Step) -> None:
    assert run_with_input(step, "cat; echo end", None) == "end\n"


def test_one_file_for_both_keeps_their_order(step: Step, tmp_path: Path) -> None:
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done"
    expected = "".join(f"out {i}\nerr {i}\n" for i in (1, 2, 3))
    with (tmp_path / "same").open("wb") as same:
        start(step, script, Streams(stdout=same.fileno(), stderr=same.fileno())).wait()
    assert (tmp_path / "same").read_text() == expected
    with (tmp_path / "twice").open("wb") as one, (tmp_path / "twice").open("wb") as other:
        start(step, script, Streams(stdout=one.fileno(), stderr=other.fileno())).wait()
    assert (tmp_path / "twice").read_text() == expected


MANY = 60 << 20
WITHOUT_A_NEWLINE = f"busybox head -c {MANY} /dev/zero"


def test_much_without_a_newline(step: Step) -> None:
    outcome = step.run(f"{WITHOUT_A_NEWLINE}; echo end >&2")
    assert (len(outcome.stdout), outcome.stderr) == (MANY, "end\n")


def test_much_goes_in_and_comes_out(step: Step, tmp_path: Path) -> None:
    with (tmp_path / "much").open("w+b") as much:
        much.write(os.urandom(1 << 20) * 20)
        much.seek(0)
        with (tmp_path / "out").open("wb") as stdout:
            streams = Streams(stdin=much.fileno(), stdout=stdout.fileno(), stderr=2)
            start(step, "cat", streams).wait(time_limit=60)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "much").read_bytes()


def reading(pipe: int, pause: float, found: list[bytes]) -> threading.Thread:
    """A reader that takes 64 KiB, and then its time."""

    def read() -> None:
        while part := os.read(pipe, 1 << 16):
            found.append(part)
            time.sleep(pause)
        os.close(pipe)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_a_slow_reader_gets_all(step: Step) -> None:
    read, write = os.pipe()
    found: list[bytes] = []
    reader = reading(read, 0.01, found)
    result = start(
        step, "busybox head -c 5000000 /dev/zero", Streams(stdout=write, stderr=2)
    ).wait()
    os.close(write)
    reader.join()
    assert result.exit_code == 0
    assert sum(map(len, found)) == 5000000


def test_a_slow_reader_of_one_stream_does_not_hold_up_the_other(step: Step, tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        with (tmp_path / "stderr").open("wb") as stderr:
            process = start(
                step,
                "busybox head -c 300000 /dev/zero & busybox head -c 9000000 /dev/zero >&2; "
                "touch done; wait",
                Streams(stdout=write, stderr=stderr.fileno()),
            )
            threading.Timer(3, process.kill).start()
            process.wait()
    finally:
        os.close(read)
        os.close(write)
    assert (step.outdir / "done").exists()
    assert (tmp_path / "stderr").stat().st_size == 9000000


@pytest.mark.parametrize("end", ["kill", "time limit"])
def test_a_reader_that_never_reads_does_not_keep_a_step_alive(step: Step, end: str) -> None:
    read, write = os.pipe()
    process = start(step, "busybox yes", Streams(stdout=write, stderr=2))
    began = time.monotonic()
    killer = threading.Timer(1, process.kill)
    killer.start()
    try:
        result = process.wait(0.5 if end == "time limit" else None)
    finally:
        os.close(read)
        os.close(write)
    assert result.ending is (Ending.KILLED if end == "kill" else Ending.TIME_LIMIT)
    assert time.monotonic() - began < 5


def test_who_keeps_the_pipe_open_is_not_waited_for(step: Step) -> None:
    began = time.monotonic()
    outcome = step.run("echo said; (sleep 60; echo never) & busybox setsid sleep 60 & echo more")
    assert outcome.stdout == "said\nmore\n"
    assert time.monotonic() - began < 5


def test_a_reader_that_leaves_ends_the_step_by_its_signal(step: Step) -> None:
    read, write = os.pipe()
    os.close(read)
    result = start(step, "exec busybox yes", Streams(stdout=write, stderr=2)).wait(time_limit=30)
    os.close(write)
    assert result == Result(exit_code=128 + signal.SIGPIPE, ending=Ending.EXITED)


def test_a_reader_elsewhere_that_leaves_does_so_too(step: Step) -> None:
    """A connection that is reset: at its other end something was not read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = socket.create_connection(server.getsockname())
        connection, _ = server.accept()
    with connection:
        script = "while echo more; do sleep 0.05; done 2>/dev/null"
        process = start(step, script, Streams(stdout=connection.fileno(), stderr=2))
        threading.Timer(0.5, reader.close).start()
        result = process.wait(time_limit=30)
    assert result == Result(exit_code=128 + signal.SIGPIPE, ending=Ending.EXITED)


def test_a_terminal_that_stands_still_does_not_keep_a_step_alive(step: Step) -> None:
    ours, theirs = os.openpty()
    process = start(step, "busybox yes", Streams(stdout=theirs, stderr=theirs))
    killer, end = threading.Timer(1, process.kill), threading.Timer(10, os.close, [ours])
    killer.start()
    end.start()
    began = time.monotonic()
    process.wait()
    assert time.monotonic() - began < 8
    end.cancel()
    os.close(ours)
    os.close(theirs)


def test_a_terminal_that_hangs_up_leaves_the_step_alone(step: Step) -> None:
    ours, theirs = os.openpty()
    script = "echo said; sleep 1; echo more; echo more >&2; sleep 0.2; echo yet more; exit 7"
    process = start(step, script, Streams(stdout=theirs, stderr=theirs))
    threading.Timer(0.5, os.close, [ours]).start()
    assert process.wait(time_limit=30) == Result(exit_code=7, ending=Ending.EXITED)
    os.close(theirs)


def test_a_full_disk_fails_the_step_and_names_the_file(step: Step) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(step, "echo lost", Streams(stdout=full.fileno(), stderr=2))
        with pytest.raises(StreamError, match="/dev/full: No space left on device: make room"):
            process.wait()


def test_input_that_cannot_be_read_fails_the_step(step: Step, tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    process = start(step, "cat", Streams(stdin=directory, stdout=1, stderr=2))
    with pytest.raises(StreamError, match="standard input"):
        process.wait()
    os.close(directory)


def test_input_that_is_not_to_be_read_is_at_its_end(step: Step) -> None:
    """nohup(1) gives a program such an input instead of its terminal."""
    with Path("/dev/null").open("wb") as stdin:
        assert run_with_input(step, "cat; echo end", stdin.fileno()) == "end\n"


def test_what_is_not_read_is_left_for_the_next(step: Step, tmp_path: Path) -> None:
    """As in a shell's `while read line; do …; done < list`."""
    (tmp_path / "list").write_text("first\nsecond\n" + 100000 * "x")
    with (tmp_path / "list").open("rb") as stdin:
        assert run_with_input(step, "true", stdin.fileno()) == ""
        assert run_with_input(step, "read line; echo $line", stdin.fileno()) == "first\n"
        assert os.read(stdin.fileno(), 6) == b"second"


def test_so_it_is_in_a_pipe(step: Step) -> None:
    read, write = os.pipe()
    os.write(write, b"first\nsecond\nthird\n")
    assert run_with_input(step, "sleep 0.2", read) == ""
    assert run_with_input(step, "read line; echo $line", read) == "first\n"
    assert os.read(read, 7) == b"second\n"
    os.close(write)
    assert run_with_input(step, "cat; echo end", read) == "third\nend\n"
    os.close(read)


def test_all_of_a_pipe_comes_through(step: Step) -> None:
    read, write = os.pipe()
    said = b"".join(b"%d\n" % number for number in range(200000))

    def write_all() -> None:
        with open(write, "wb") as stream:
            stream.write(said[:3])
            stream.flush()
            time.sleep(0.3)
            stream.write(said[3:])

    writer = threading.Thread(target=write_all)
    writer.start()
    assert run_with_input(step, "cat", read).encode() == said
    writer.join()
    os.close(read)


@pytest.mark.parametrize("descriptor", [0, 1, 2])
def test_a_terminal_is_handed_on_only_to_who_may_have_it(step: Step, descriptor: int) -> None:
    if TERMINAL in step.runtime.limits:
        pytest.skip(TERMINAL.text)
    ours, theirs = os.openpty()
    given = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    script = f"[ -t {descriptor} ] && touch terminal"
    start(step, script, Streams(**given)).wait()
    assert not (step.outdir / "terminal").exists()
    start(step, script, Streams(**given, hands_on_terminals=True)).wait()
    assert (step.outdir / "terminal").exists()
    os.close(ours)
    os.close(theirs)


AT_A_TERMINAL = """
import os, pickle, sys
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.sandbox import Streams
os.open(sys.argv[1], os.O_RDWR)  # of who leads a session it becomes the controlling one
os.open("/dev/tty", os.O_RDWR)
runtime, sandbox = find_bubblewrap(None), pickle.load(sys.stdin.buffer)
sys.exit(runtime.start(sandbox, Streams(stdout=1, stderr=2)).wait().exit_code)
"""


def test_the_callers_terminal_is_out_of_reach(step: Step) -> None:
    ours, theirs = os.openpty()
    command = ("sh", "-c", "if echo typed > /dev/tty; then exit 4; fi; exit 3")
    done = subprocess.run(
        [sys.executable, "-c", AT_A_TERMINAL, os.ttyname(theirs)],
        input=pickle.dumps(replace(step.sandbox, command=command)),
        start_new_session=True,
        check=False,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 3


def test_no_descriptor_is_left_open(step: Step) -> None:
    step.run("true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        step.run("echo x; cat")
    assert len(os.listdir("/proc/self/fd")) == before


INTERRUPTED = """
import os, pickle, signal, sys
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.sandbox import Streams
def end(number, frame):
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
read, write = os.pipe()
print("started", flush=True)
find_bubblewrap(None).start(pickle.load(sys.stdin.buffer), Streams(stdout=write, stderr=2)).wait()
"""

# A signal that comes when bubblewrap has just been started, while the process has still to wait.
INTERRUPTED_AT_THE_START = """
import os, pickle, signal, subprocess, sys
from cwl_udss.runtimes.bubblewrap import bwrap
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.sandbox import Streams
class Popen(subprocess.Popen):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        os.kill(os.getpid(), int(sys.argv[1]))
def end(number, frame):
    raise KeyboardInterrupt
signal.signal(int(sys.argv[1]), end)
runtime = find_bubblewrap(None)
bwrap.subprocess.Popen = Popen
try:
    runtime.start(pickle.load(sys.stdin.buffer), Streams(stdout=1, stderr=2)).wait()
except KeyboardInterrupt:
    try:
        os.waitpid(-1, 0)
        print("a process is left")
    except ChildProcessError:
        print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_start_leaves_nothing(step: Step, number: int) -> None:
    marker = f"7{os.getpid()}"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_THE_START, str(int(number))],
        input=pickle.dumps(replace(step.sandbox, command=("busybox", "sleep", marker))),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == b"interrupted\n", done.stderr
    assert remaining(marker) == []


def test_a_signal_ends_it_while_nobody_reads(step: Step) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    with driver.stdin:
        pickle.dump(replace(step.sandbox, command=("busybox", "yes")), driver.stdin)
    driver.stdout.readline()
    time.sleep(0.5)
    driver.terminate()
    assert driver.wait(timeout=5) == 0
    driver.stdout.close()
