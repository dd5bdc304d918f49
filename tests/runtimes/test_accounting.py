# SPDX-License-Identifier: Apache-2.0
"""What a step is said to have used, against programs of known appetite and what they say."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from needs import need
from steps import Outcome, Step

from cwl_udss.runtimes.accounting import watch
from cwl_udss.runtimes.bubblewrap.trees import MANY
from cwl_udss.sandbox import MemorySource, RootFilesystem, Usage

MEBIBYTE = 1 << 20
# Of the shells around what a test is about, and of the program that makes trees of many inputs.
OTHERS = 14 * MEBIBYTE
WORK = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"


def fill(mebibytes: int) -> str:
    """Have so much memory until somebody reads what is written."""
    return f"busybox dd if=/dev/zero bs={mebibytes}M count=1 2>/dev/null"


def used(step: Step, script: str, time_limit: float | None = None) -> Usage:
    usage = step.run(script, time_limit).result.usage
    assert usage is not None
    return usage


def making(step: Step) -> float:
    """Seconds that it may take to bind many inputs, of which bwrap's own part is not told apart."""
    return 0.1 if len(step.sandbox.binds) > MANY else 0.0


def on_this_machine(step: Step, *command: str) -> Outcome:
    """Run what the image has not."""
    if step.name in ("apptainer", "podman"):
        pytest.skip("this machine's whole root is no image for an engine")
    return step.execute(command, root=RootFilesystem(path=Path("/")))


@pytest.mark.parametrize("mebibytes", [20, 500])
def test_memory_of_one_process(step: Step, mebibytes: int) -> None:
    """Also of one that is over before anybody can look at it."""
    usage = used(step, f"{fill(mebibytes)} >/dev/null")
    assert usage.largest_bytes == pytest.approx(mebibytes * MEBIBYTE, rel=0.01, abs=2 * MEBIBYTE)
    assert usage.memory_bytes == pytest.approx(mebibytes * MEBIBYTE, abs=OTHERS)


def test_memory_of_all_processes_together(step: Step) -> None:
    usage = used(
        step,
        f"({fill(150)} | (sleep 3; cat >/dev/null)) &\n"
        f"busybox setsid sh -c '{fill(200)} | (sleep 3; cat >/dev/null)' &\n"
        f"(({fill(150)} | (sleep 3; cat >/dev/null)) &)\n"
        "sleep 3.5",
    )
    assert usage.memory_bytes == pytest.approx(500 * MEBIBYTE, abs=2 * OTHERS)
    assert usage.largest_bytes == pytest.approx(200 * MEBIBYTE, abs=2 * MEBIBYTE)
    assert usage.memory_source is MemorySource.LOOKED_AT


def test_a_step_that_nobody_could_look_at(step: Step) -> None:
    """What only looking tells is absent then, and the kernel's own figures are there."""
    usage = used(step, "true")
    assert usage.processes in (None, 1)
    assert usage.memory_bytes == usage.largest_bytes
    assert usage.memory_source is MemorySource.LARGEST
    assert usage.largest_bytes is not None
    assert usage.largest_bytes > 100_000


def test_processes_are_counted_that_are_there_at_one_time(step: Step) -> None:
    usage = used(step, "for i in 1 2 3; do sleep 1.2 & done; sleep 0.1; sleep 0.8; wait")
    assert usage.processes == 5  # the shell, its three, and one after the other


def test_bytes_of_storage(step: Step) -> None:
    """Also those of a process that has left its parent."""
    script = (
        "busybox setsid sh -c 'busybox dd if=/dev/zero of=other bs=1M count=20 2>/dev/null; "
        "touch done' & "
        "busybox dd if=/dev/zero of=file bs=1M count=30 2>/dev/null; "
        "while [ ! -e done ]; do sleep 0.05; done"
    )
    usage = used(step, script)
    assert usage.written_bytes == pytest.approx(50 * MEBIBYTE, abs=MEBIBYTE)


def test_bytes_that_are_read_from_storage_and_not_from_memory(step: Step) -> None:
    (step.outdir / "file").write_bytes(os.urandom(30 * MEBIBYTE))
    with (step.outdir / "file").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    first, second = (used(step, "cat file >/dev/null").read_bytes for _ in range(2))
    assert first == pytest.approx(30 * MEBIBYTE, abs=4 * MEBIBYTE)
    assert second is not None
    assert second < 4 * MEBIBYTE


def test_faults_for_which_storage_is_read(small_step: Step) -> None:
    """As many as the program itself says."""
    (small_step.outdir / "file").write_bytes(os.urandom(8 * MEBIBYTE))
    with (small_step.outdir / "file").open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    outcome = on_this_machine(small_step, sys.executable, "-c", FAULTS)
    assert outcome.result.usage is not None
    said = int(outcome.stdout)
    assert said > 10
    assert outcome.result.usage.major_faults == pytest.approx(said, abs=20)


def test_as_time_says(step: Step) -> None:
    """GNU time, which runs in the sandbox, knows what it has waited for."""
    if not Path("/usr/bin/time").exists():
        need("needs the Debian package time")
    time_program = ("/usr/bin/time", "-f", "%U %S %M %F %O")
    outcome = on_this_machine(step, *time_program, sys.executable, "-c", WORKING)
    usage = outcome.result.usage
    assert usage is not None
    user, system, kibibytes, faults, blocks = map(float, outcome.stderr.split())
    assert usage.user_seconds == pytest.approx(user, rel=0.05, abs=0.1 + making(step))
    assert usage.system_seconds == pytest.approx(system, rel=0.05, abs=0.1 + making(step))
    assert usage.largest_bytes == kibibytes * 1024
    assert usage.major_faults == pytest.approx(faults, abs=20)
    assert usage.written_bytes == pytest.approx(blocks * 512, abs=MEBIBYTE)


def test_what_was_not_there_at_one_time_is_not_added(small_step: Step) -> None:
    usage = used(small_step, "; ".join(3 * [f"{fill(100)} >/dev/null"]))
    assert usage.memory_bytes == pytest.approx(100 * MEBIBYTE, abs=OTHERS)


READERS = """
import os, time
shared = bytearray(200 << 20)
for start in range(0, len(shared), 4096):
    shared[start] = 1
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        time.sleep(1.5)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


def test_what_processes_share_counts_once(step: Step) -> None:
    """Forked readers of one table have it once."""
    outcome = on_this_machine(step, sys.executable, "-c", READERS)
    assert outcome.result.usage is not None, outcome.stderr
    memory = outcome.result.usage.memory_bytes
    assert memory == pytest.approx(200 * MEBIBYTE, rel=0.15, abs=2 * OTHERS)


TOUCH = """
import mmap, os, subprocess, sys, threading, time
def touch(memory):
    for start in range(0, len(memory), 4096):
        memory[start] = 1
    return memory
"""
CHILD = f"{TOUCH}kept = touch(bytearray(100 << 20)); time.sleep(2)"
# Each program has 200 MiB, in another way.
FAULTS = """
import mmap, resource
with open("/out/file", "rb") as file:
    memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    memory.madvise(mmap.MADV_RANDOM)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    for start in range(0, len(memory), 64 << 10):
        memory[start]
print(resource.getrusage(resource.RUSAGE_SELF).ru_majflt)
"""
WORKING = """
import os
memory = bytearray(100 << 20)
for start in range(0, len(memory), 4096):
    memory[start] = 1
with open("/out/written", "wb") as file:
    file.write(memory[:20 << 20])
if os.fork() == 0:
    sum(range(8_000_000))
    os._exit(0)
os.wait()
sum(range(8_000_000))
for _ in range(100_000):
    os.stat("/")
"""
APPETITES = {
    "threads": """
def have():
    kept = touch(bytearray(50 << 20))
    time.sleep(2)
for _ in range(4):
    threading.Thread(target=have).start()
""",
    "children of threads": """
for _ in range(2):
    threading.Thread(target=subprocess.run, args=([sys.executable, "-c", CHILD],)).start()
""",
    "memory shared with children": """
memory = touch(mmap.mmap(-1, 200 << 20))
for _ in range(3):
    if os.fork() == 0:
        touch(memory)
        time.sleep(2)
        os._exit(0)
time.sleep(2)
""",
    "a file in /dev/shm": """
with open("/dev/shm/file", "wb") as stream:
    stream.write(bytes(200 << 20))
time.sleep(2)
""",
    "a file in /dev/shm that processes map": """
with open("/dev/shm/file", "w+b") as stream:
    stream.truncate(200 << 20)
    memory = touch(mmap.mmap(stream.fileno(), 200 << 20))
if os.fork() == 0:
    touch(memory)
    time.sleep(2)
    os._exit(0)
time.sleep(2)
""",
    "a file that processes map": """
with open("/out/file", "w+b") as stream:
    stream.truncate(200 << 20)
    memory = touch(mmap.mmap(stream.fileno(), 200 << 20))
if os.fork() == 0:
    touch(memory)
    time.sleep(2)
    os._exit(0)
time.sleep(2)
""",
    "a program that hides what it has": """
import ctypes
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE
if os.fork() == 0:
    ctypes.CDLL(None).prctl(4, 0)
    kept = touch(bytearray(200 << 20))
    time.sleep(2)
    os._exit(0)
time.sleep(2.5)
""",
}


@pytest.mark.parametrize("appetite", APPETITES)
def test_memory_of_a_known_appetite(small_step: Step, appetite: str) -> None:
    program = f"{TOUCH}CHILD = {CHILD!r}\n{APPETITES[appetite]}"
    outcome = on_this_machine(small_step, sys.executable, "-c", program)
    assert outcome.result.usage is not None, outcome.stderr
    others = 3 * OTHERS  # a Python each
    assert outcome.result.usage.memory_bytes == pytest.approx(200 * MEBIBYTE, abs=others)


def test_memory_of_a_step_that_is_killed(namespaced_step: Step) -> None:
    """So it is in every runtime: see test_resource_limits.py."""
    usage = used(namespaced_step, f"{fill(200)} | sleep 60", time_limit=4)
    assert usage.memory_bytes == pytest.approx(200 * MEBIBYTE, abs=OTHERS)
    assert usage.processor_seconds > 0


def test_looking_at_many_processes_leaves_time_for_other_things(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "_LONGEST_SECONDS", 0.0)
    many = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; echo begun; wait"
    shell = subprocess.Popen(["sh", "-c", many], stdout=subprocess.PIPE, start_new_session=True)
    assert shell.stdout is not None
    with shell.stdout:
        shell.stdout.readline()
    seen = watch.Watch(shell.pid, 0)
    began = time.thread_time()
    seen.look()
    took = time.thread_time() - began
    pause = seen.next - time.monotonic()
    os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()
    assert pause > 5 * took


def test_processor_time_is_what_the_shell_says(step: Step) -> None:
    """`times` has that of the shell, and that of the children it has waited for."""
    outcome = step.run(f"({WORK}) & wait; {WORK}; times")
    said = sum(
        60 * int(minutes) + float(seconds)
        for minutes, seconds in re.findall(r"(\d+)m([\d.]+)s", outcome.stdout)
    )
    assert said > 0.2
    assert outcome.result.usage is not None
    seconds = outcome.result.usage.processor_seconds
    assert seconds == pytest.approx(said, rel=0.05, abs=0.1 + making(step))


DETACHED = (
    "(busybox setsid sh -c '{work}; times >said; touch done' &)\n"
    "while [ ! -e done ]; do sleep 0.05; done; cat said"
)


def test_processor_time_of_what_has_left_its_parent(step: Step) -> None:
    """Nobody in the step has waited for it."""
    outcome = step.run(DETACHED.format(work=WORK))
    said = sum(map(float, re.findall(r"0m([\d.]+)s", outcome.stdout)))
    assert said > 0.05
    assert outcome.result.usage is not None
    seconds = outcome.result.usage.processor_seconds
    assert seconds == pytest.approx(said, rel=0.05, abs=0.05 + making(step))


def test_making_a_sandbox_is_none_of_the_steps_time(small_step: Step) -> None:
    """To bind a hundred inputs takes bwrap ten times as long as the command."""
    binds = small_step.sandbox.binds
    inputs = (replace(binds[-1], destination=f"/var/lib/cwl/more/{n}") for n in range(MANY - 1))
    step = replace(small_step, sandbox=replace(small_step.sandbox, binds=(*binds, *inputs)))
    assert used(step, "sleep 0.1").processor_seconds < 0.04


def test_a_step_of_some_milliseconds(small_step: Step) -> None:
    """The largest process and the time are exact, though nobody could look."""
    outcome = small_step.run(f"{fill(20)} >/dev/null; {fill(30)} >/dev/null; times")
    usage = outcome.result.usage
    assert usage is not None
    said = sum(map(float, re.findall(r"0m([\d.]+)s", outcome.stdout)))
    assert usage.processor_seconds == pytest.approx(said, abs=0.03)  # which are hundredths each
    assert usage.largest_bytes == pytest.approx(30 * MEBIBYTE, abs=2 * MEBIBYTE)


def test_processor_time_of_what_was_left_running_counts(step: Step) -> None:
    """The kernel kills it uncounted; what it had used shortly before is known."""
    outcome = step.run(
        f"({WORK}; {WORK}; times >said; touch worked; sleep 60) &\n"
        "while [ ! -e worked ]; do sleep 0.1; done; sleep 0.5; cat said"
    )
    said = sum(map(float, re.findall(r"0m([\d.]+)s", outcome.stdout)))
    assert said > 0.1
    assert outcome.result.usage is not None
    seconds = outcome.result.usage.processor_seconds
    assert seconds == pytest.approx(said, rel=0.05, abs=0.1 + making(step))


DRIVER = """
import pickle, sys
from cwl_udss.runtimes.bubblewrap.probe import find_bubblewrap
from cwl_udss.sandbox import Streams
ballast = bytearray(400 << 20)
for start in range(0, len(ballast), 4096):
    ballast[start] = 1
result = find_bubblewrap(None).start(
    pickle.load(sys.stdin.buffer), Streams(stdout=2, stderr=2)
).wait()
print(result.usage.memory_bytes)
"""


def test_a_large_driver_makes_no_step_larger(step: Step) -> None:
    """The kernel keeps a process's largest size when it becomes another program."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=pickle.dumps(replace(step.sandbox, command=("true",))),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(done.stdout) < OTHERS


def test_no_process_is_left_unwaited_for(step: Step) -> None:
    """Orphans become our children, and would be our zombies."""
    step.run("true")
    before = children()
    for _ in range(3):
        step.run("(sleep 0.1 &); true")
    assert children() == before


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
