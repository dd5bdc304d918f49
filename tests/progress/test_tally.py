# SPDX-License-Identifier: Apache-2.0
"""What is counted of a run, and which part of it fits onto a screen."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from reports import node, step

from cwl_udss.errors import one_line
from cwl_udss.progress.frame import Sources, failure_lines, frame, summary
from cwl_udss.progress.lines import Lines
from cwl_udss.progress.mode import Mode, choose_mode, is_terminal
from cwl_udss.progress.tally import Tally
from cwl_udss.report.record import Status, StepRecord
from cwl_udss.report.table import Row


def note(tally: Tally, number: int, name: str, *statuses: Status) -> None:
    record = step(number, name, 0, 1)
    for status in statuses:
        tally.note(replace(record, status=status))


def sources_of(tally: Tally, *beside: str) -> Sources:
    return Sources(title="w.cwl", tally=tally, beside=lambda: beside)


def test_each_job_is_counted_once() -> None:
    tally = Tally()
    tally.plan([node("a"), node("b"), node("js", has_jobs=False)])
    tally.expect("b", 5)
    note(tally, 1, "a", Status.SUBMITTED, Status.RUNNING, Status.COMPLETED)
    note(tally, 2, "b", Status.SUBMITTED, Status.RUNNING)
    note(tally, 3, "b", Status.SUBMITTED)
    note(tally, 4, "b", Status.SUBMITTED, Status.CACHED)
    note(tally, 5, "b", Status.SUBMITTED, Status.RUNNING, Status.FAILED)
    picture = tally.picture(10)
    assert [(row.name, *row.counts) for row in picture.rows] == [
        ("a", 1, 0, 0, 0),
        ("b", 1, 1, 2, 1),
    ]
    assert picture.total.counts == (2, 1, 2, 1)
    tally.note_state(["b_3", "nobody"], Status.RUNNING)
    assert tally.picture(10).rows[1].counts == (1, 2, 1, 1)
    tally.note_state(["b_3", "b_5"], Status.SUBMITTED)  # one of them is tried again
    assert tally.picture(10).rows[1].counts == (1, 1, 2, 1)


def test_what_fits_is_what_matters() -> None:
    tally = Tally()
    tally.plan(node(f"s{number}") for number in range(100))
    for number in range(50):
        note(tally, number, f"s{number}", Status.SUBMITTED, Status.RUNNING, Status.COMPLETED)
    note(tally, 3, "s3", Status.SUBMITTED, Status.FAILED)
    note(tally, 90, "s90", Status.SUBMITTED, Status.RUNNING)
    note(tally, 80, "s80", Status.SUBMITTED)
    picture = tally.picture(4)
    assert [row.name for row in picture.rows] == ["s3", "s50", "s80", "s90"]
    assert picture.left_out == 96
    lines = frame(sources_of(tally, "pulling busybox: 1 MB"), 80, 12)
    assert len(lines) == 11
    assert lines[-3].startswith("and 94 more")
    assert lines[-1] == "pulling busybox: 1 MB"


@pytest.mark.parametrize("height", range(1, 12))
@pytest.mark.parametrize("width", [1, 20, 59, 60, 200])
def test_no_screen_is_too_small(width: int, height: int) -> None:
    tally = Tally()
    tally.plan([node("wide 名前 " * 30), *(node(f"s{number}") for number in range(20))])
    tally.expect("s1", 12)
    note(tally, 1, "a\x1b[31m\n" * 9, Status.SUBMITTED, Status.RUNNING)
    lines = frame(sources_of(tally, "pulling\x1b[2J"), width, height)
    assert 1 <= len(lines) <= max(1, height - 1)
    assert all(line == one_line(line) for line in lines)
    wide = [sum(2 if ord(letter) > 0x2FFF else 1 for letter in line) for line in lines]
    assert max(wide) <= max(0, width - 1)


def test_time_left_is_told_where_it_is_known() -> None:
    row = Row("s", done=4, running=2, found=1, begun=100.0, expected=10)
    assert row.seconds_left(130.0) == pytest.approx(60.0)  # three took 30 s, six are left
    assert Row("s", done=4, running=2, begun=100.0).seconds_left(130.0) is None
    assert replace(row, done=2).seconds_left(130.0) is None  # one says nothing of others
    assert replace(row, running=0).seconds_left(130.0) is None  # nothing goes on


def test_ten_thousand_steps_cost_no_more_than_those_seen() -> None:
    tally = Tally()
    tally.plan(node(f"s{number}") for number in range(10_000))
    for number in range(5000):
        note(tally, number, f"s{number}", Status.SUBMITTED, Status.RUNNING)
    sources = sources_of(tally)
    began = time.process_time()
    for _ in range(20):
        assert len(frame(sources, 80, 24)) == 23
    assert (time.process_time() - began) / 20 < 0.005


def failed(said: str) -> StepRecord:
    return step(1, "s", 0, 1, said=said, status=Status.FAILED, index=2)


def test_the_end_of_what_a_failed_step_has_said() -> None:
    lines = failure_lines(failed("".join(f"line {number}\n\n" for number in range(9)) + "\x1b[31m"))
    assert lines[0] == "s (2) has said:"
    assert lines[1:] == [*(f"  | line {number}" for number in range(5, 9)), "  |  [31m"]
    assert failure_lines(failed("")) == []
    assert failure_lines(replace(failed("words"), status=Status.ABORTED)) == []


def test_a_line_only_if_something_has_changed() -> None:
    tally = Tally()
    tally.plan([node("s")])
    said: list[str] = []
    sources = sources_of(tally, "pulling x: 1 MB")
    lines = Lines(said.append, lambda: summary(sources), lambda: tally.picture(0).total.counts)
    with lines.said():
        lines.say_change()
        note(tally, 1, "s", Status.SUBMITTED, Status.RUNNING)
        lines.say_change()
        lines.say_change()
    assert said == ["steps after 0s: 0 done, 1 running; pulling x: 1 MB"]


def test_which_mode() -> None:
    def mode(wanted: str, *, terminal: bool, log: bool = False) -> Mode:
        return choose_mode(wanted, is_terminal=terminal, wants_log=log)

    assert mode("auto", terminal=True) is Mode.TABLE
    assert mode("auto", terminal=True, log=True) is Mode.LOG
    assert mode("auto", terminal=False) is Mode.LOG_AND_LINES
    assert mode("yes", terminal=True, log=True) is Mode.TABLE
    assert mode("yes", terminal=False) is Mode.LINES
    assert mode("no", terminal=True) is Mode.LOG


def test_a_file_is_no_terminal() -> None:
    with open("/dev/null", "wb") as null:
        assert not is_terminal(null.fileno(), {"TERM": "xterm", "FORCE_COLOR": "1"})
