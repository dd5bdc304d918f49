# SPDX-License-Identifier: Apache-2.0
"""Turns and presences on a filesystem that several processes share."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cwl_udss.filesystems.leases import living, presence, remove_dead, this_owner, turn

HOLD = """
import sys
from pathlib import Path
from cwl_udss.filesystems.leases import presence, turn
kind, path = sys.argv[1:]
held = presence(Path(path)) if kind == "presence" else turn(Path(path), lambda: False, "work")
with held:
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(kind: str, path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], *, killed: bool) -> None:
    if killed:
        process.kill()
    process.communicate()


def test_one_after_the_other(tmp_path: Path) -> None:
    other = hold("turn", tmp_path / "lease")
    threading.Timer(0.5, end, (other,), {"killed": False}).start()
    start = time.monotonic()
    with turn(tmp_path / "lease", lambda: False, "work") as ours:
        assert ours
        assert time.monotonic() - start > 0.4


def test_the_turn_of_a_killed_process_is_over_at_once(tmp_path: Path) -> None:
    end(hold("turn", tmp_path / "lease"), killed=True)
    start = time.monotonic()
    with turn(tmp_path / "lease", lambda: False, "work") as ours:
        assert ours
    assert time.monotonic() - start < 5


def test_who_finds_it_done_waits_no_longer(tmp_path: Path) -> None:
    other = hold("turn", tmp_path / "lease")
    done = threading.Event()
    threading.Timer(0.3, done.set).start()
    with turn(tmp_path / "lease", done.is_set, "work") as ours:
        assert not ours
    end(other, killed=False)


def test_a_process_that_died_before_it_had_said_who_it_is_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cwl_udss.filesystems.leases.REFRESH_SECONDS", 1.0)
    (tmp_path / "lease").touch()
    start = time.monotonic()
    with turn(tmp_path / "lease", lambda: time.monotonic() - start > 20, "work") as is_mine:
        assert is_mine
    assert time.monotonic() - start >= 1.0


def test_where_nothing_can_be_written_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with turn(tmp_path / "file/lease", lambda: False, "work") as ours:
        assert ours


@pytest.mark.parametrize(("killed", "lives"), [(None, True), (True, False), (False, False)])
def test_a_presence_lasts_as_long_as_its_process(
    tmp_path: Path, killed: bool | None, lives: bool
) -> None:
    other = hold("presence", tmp_path / "other")
    if killed is not None:
        end(other, killed=killed)
    assert living([tmp_path / "other"], patience=0) == ({tmp_path / "other"} if lives else set())
    if killed is None:
        end(other, killed=False)
        assert not (tmp_path / "other").exists()


def test_another_process_of_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    with presence(tmp_path / "mine"):
        facts = json.loads((tmp_path / "mine").read_text())
        (tmp_path / "earlier").write_text(json.dumps({**facts, "started": "1"}))
        assert living([tmp_path / "mine", tmp_path / "earlier"]) == {tmp_path / "mine"}


@pytest.mark.parametrize("difference", ["boot", "processes"])
def test_of_another_machine_only_watching_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: str
) -> None:
    """However wrong its clock is: times are compared with each other only."""
    monkeypatch.setattr("cwl_udss.filesystems.leases.REFRESH_SECONDS", 0.1)
    with presence(tmp_path / "living"):
        facts = {**json.loads((tmp_path / "living").read_text()), difference: "another"}
        for name in ("living", "dead"):
            (tmp_path / name).write_text(json.dumps(facts))
            os.utime(tmp_path / name, (time.time() - 3600, time.time() - 3600))
        both = {tmp_path / "living", tmp_path / "dead"}
        assert living(both, patience=0) == both
        assert living(both, patience=1) == {tmp_path / "living"}


def test_what_the_dead_of_this_machine_have_left_is_removed(tmp_path: Path) -> None:
    end(hold("presence", tmp_path / f"{socket.gethostname()}.1"), killed=True)
    with presence(tmp_path / f"{socket.gethostname()}.2"):
        (tmp_path / "another.3").touch()
        remove_dead(tmp_path)
        assert sorted(os.listdir(tmp_path)) == ["another.3", f"{socket.gethostname()}.2"]


def test_a_presence_that_is_no_more_or_unreadable(tmp_path: Path) -> None:
    (tmp_path / "half").write_text('{"host": ')
    assert living([tmp_path / "gone", tmp_path / "half"], patience=0) == {tmp_path / "half"}


def test_the_owner_is_this_process() -> None:
    assert this_owner().is_gone() is False
    assert this_owner().process == os.getpid()
