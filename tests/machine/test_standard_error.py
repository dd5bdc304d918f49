# SPDX-License-Identifier: Apache-2.0
"""Standard error in a file for a while, for all that a process starts."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

BEGIN = """
import os, subprocess, sys
from cwl_udss.machine.standard_error import diverted, give_back
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def tell(error):
    print("told:", error.strerror, file=shown, flush=True)
"""


def run(code: str, log: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, log], capture_output=True, text=True, check=True
    )
    return done.stderr


def test_all_that_is_said_goes_there(tmp_path: Path) -> None:
    seen = run(
        """
print("before", file=sys.stderr)
with diverted(log, tell) as shown:
    print("ours", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo theirs >&2"])
    print("seen", file=shown, flush=True)
print("after", file=sys.stderr)
""",
        tmp_path / "log",
    )
    assert seen == "before\nseen\nafter\n"
    assert (tmp_path / "log").read_text() == "ours\ntheirs\n"


def test_a_full_disk_is_no_failure_of_who_says_something() -> None:
    code = """
with diverted(log, tell) as shown:
    for number in range(3):
        subprocess.run(["sh", "-c", "echo theirs >&2"], check=True)
"""
    assert run(code, Path("/dev/full")) == "told: No space left on device\n"


def test_who_ends_this_process_at_once_is_heard(tmp_path: Path) -> None:
    code = """
with diverted(log, tell) as shown:
    print("a table", file=shown, end="", flush=True)
    give_back()
    print("ended", file=sys.stderr, flush=True)
    os._exit(0)
"""
    assert run(code, tmp_path / "log") == "a table\nended\n"


def test_nobody_waits_for_a_process_that_was_left(tmp_path: Path) -> None:
    began = time.monotonic()
    code = """
with diverted(log, tell) as shown:
    subprocess.Popen(["sleep", "6.5"], stdout=subprocess.DEVNULL)
"""
    assert run(code, tmp_path / "log") == ""
    assert time.monotonic() - began < 5
