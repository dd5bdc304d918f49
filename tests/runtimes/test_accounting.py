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
from steps import Step

from cwl_udss.runtimes import accounting
from cwl_udss.sandbox import RootFilesystem, Usage

MEBIBYTE = 1 << 20
# Of the shells around what a test is about, and of the program that makes trees of many inputs.
OTHERS = 14 * MEBIBYTE
WORK = "i=0; while [ $i -lt 1500000 ]; do i=$((i+1)); done"


def fill(mebibytes: int) -> str:
    """Have so much memory until somebody reads what is written."""
    return f"busybox dd if=/dev/zero bs={mebibytes}M count=1 2>/dev/null"


def used(step: Step, script: str, time_limit: float | None = None) -> Usage:
    usage = step.run(script, time_limit).result.usage
    assert usage is not None
    return usage


@pytest.mark.parametrize("mebibytes", [20, 500])
def test_memory_of_one_process(step: Step, mebibytes: int) -> None:
    """Also of one that is over before anybody can look at it."""
    usage = used(step, f"{fill(mebibytes)} >/dev/null")
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


def test_what_was_not_there_at_one_time_is_not_added(step: Step) -> None:
    usage = used(step, "; ".join(3 * [f"{fill(100)} >/dev/null"]))
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
        time.sleep(3)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


def test_what_processes_share_counts_once(step: Step) -> None:
    """Forked readers of one table have it once."""
    if step.name in ("apptainer", "podman"):
        pytest.skip("this machine's whole root is no image for an engine")
    outcome = step.execute((sys.executable, "-c", READERS), root=RootFilesystem(path=Path("/")))
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
    root = RootFilesystem(path=Path("/"))
    outcome = small_step.execute((sys.executable, "-c", program), root=root)
    assert outcome.result.usage is not None, outcome.stderr
    others = 3 * OTHERS  # a Python each
    assert outcome.result.usage.memory_bytes == pytest.approx(200 * MEBIBYTE, abs=others)


def test_memory_of_a_step_that_is_killed(step: Step) -> None:
    usage = used(step, f"{fill(200)} | sleep 60", time_limit=2)
    assert usage.memory_bytes == pytest.approx(200 * MEBIBYTE, abs=OTHERS)
    assert usage.processor_seconds > 0


def test_looking_at_many_processes_leaves_time_for_other_things(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounting, "_LONGEST_SECONDS", 0.0)
    many = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; echo begun; wait"
    shell = subprocess.Popen(["sh", "-c", many], stdout=subprocess.PIPE, start_new_session=True)
    assert shell.stdout is not None
    with shell.stdout:
        shell.stdout.readline()
    watch = accounting.Watch(shell.pid, 0)
    began = time.thread_time()
    watch.look()
    took = time.thread_time() - began
    pause = watch.next - time.monotonic()
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
    assert outcome.result.usage.processor_seconds == pytest.approx(said, rel=0.05, abs=0.1)


def test_processor_time_of_what_was_left_running_counts(step: Step) -> None:
    """The kernel kills it uncounted; what it had used shortly before is known."""
    usage = used(
        step,
        f"({WORK}; {WORK}; touch worked; sleep 60) &\n"
        "while [ ! -e worked ]; do sleep 0.1; done; sleep 0.5",
    )
    twice = used(step, f"{WORK}; {WORK}").processor_seconds
    assert usage.processor_seconds == pytest.approx(twice, rel=0.3, abs=0.2)


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
