# SPDX-License-Identifier: Apache-2.0
"""Failures in plain words."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cwltool.errors import WorkflowException

from cwl_udss.engine.failures import plain_words, tell_plainly
from cwl_udss.errors import UdssError


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Iterator[pytest.LogCaptureFixture]:
    """cwltool's log, in plain words, of a run that reads a document `empty`."""
    (tmp_path / "empty").touch()
    loggers = [logging.getLogger(name) for name in ("cwltool", "salad", "cwl_utils")]
    before = [list(logger.filters) for logger in loggers]
    tell_plainly([str(tmp_path / "empty")])
    yield caplog
    for logger, filters in zip(loggers, before, strict=True):
        logger.filters = filters


def test_what_cwltool_says_of_an_exception_it_does_not_handle(
    log: pytest.LogCaptureFixture,
) -> None:
    try:
        {}[0]
    except KeyError:
        logging.getLogger("cwltool").exception("Unhandled exception")
    (record,) = log.records
    assert record.exc_info is None
    assert "please report" in record.getMessage()
    assert "KeyError: 0" in record.getMessage()


def test_the_text_of_what_a_failure_comes_from_is_replaced(log: pytest.LogCaptureFixture) -> None:
    try:
        try:
            os.stat("/nonexistent/file")
        except OSError as error:
            raise WorkflowException(str(error)) from error
    except WorkflowException as error:
        logging.getLogger("cwltool").error("Workflow error:\n%s", error)
    assert log.messages == ["Workflow error:\n/nonexistent/file: No such file or directory"]


def test_nothing_is_added_to_what_one_of_ours_says(log: pytest.LogCaptureFixture) -> None:
    try:
        try:
            raise UdssError("no answer", "look at the network") from OSError("Max retries exceeded")
        except UdssError as error:
            raise WorkflowException(str(error)) from error
    except WorkflowException as error:
        logging.getLogger("cwltool").error("Workflow error:\n%s", error)
    assert log.messages == ["Workflow error:\nno answer: look at the network"]


def test_what_is_told_again_is_told_once(log: pytest.LogCaptureFixture) -> None:
    for name, message in (("salad", "failed"), ("cwltool", "Got workflow error")):
        try:
            raise ValueError
        except ValueError:
            logging.getLogger(name).exception(message)
    assert log.messages == []


def test_other_records_stay(log: pytest.LogCaptureFixture) -> None:
    logging.getLogger("cwltool").error("[job %s] as it is", "x")
    try:
        raise WorkflowException("told by %s")
    except WorkflowException as error:
        logging.getLogger("cwltool").error("Workflow error: %s", error)
    assert log.messages == ["[job x] as it is", "Workflow error: told by %s"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UdssError("what", "do"), "what: do"),
        (WorkflowException("what"), "what"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "x: No such file"),
        (
            UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates"),
            r"b'a\xff' is no name in UTF-8",
        ),
        (RecursionError(), "document: a document refers to itself"),
        (TypeError("None"), "please report it, with what --debug shows: TypeError: None"),
    ],
)
def test_words(error: Exception, words: str) -> None:
    assert words in plain_words(error, ["document"])


def test_a_document_is_named_that_is_to_blame(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("binary", "empty", "good")]
    for path, content in zip(paths, (b"\xff", b"\n", b"x"), strict=True):
        path.write_bytes(content)
    names = [*map(os.fspath, paths), "/nonexistent"]
    wrong = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    assert plain_words(wrong, names) == f"{names[0]}: is no text in UTF-8 (invalid start byte)"
    assert plain_words(StopIteration(), names) == f"{names[1]}: is empty"
