# SPDX-License-Identifier: Apache-2.0
"""Stages of a stream, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from cwl_udss.images.layers.read_ahead import read_ahead


class Source:
    """Pieces that say how many of them have been asked for, and by whom."""

    def __init__(self) -> None:
        self.asked = 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.asked += 1
            self.threads.add(threading.get_ident())
            yield b"%d" % self.asked


def test_the_same_pieces_read_in_another_thread() -> None:
    source = Source()
    with read_ahead(islice(source, 100)) as pieces:
        assert list(pieces) == [b"%d" % number for number in range(1, 101)]
    assert threading.get_ident() not in source.threads


def test_stages_one_after_the_other() -> None:
    with read_ahead([b"a", b"", b"b"]) as first, read_ahead(first) as second:
        assert list(second) == [b"a", b"", b"b"]


def test_only_a_few_are_read_before_they_are_wanted() -> None:
    source = Source()
    with read_ahead(source) as pieces:
        for number in range(1, 50):
            next(pieces)
            assert source.asked < number + 10


def test_what_was_not_read_is_left_for_others() -> None:
    before = threading.active_count()
    source = Source()
    pieces = iter(source)
    with read_ahead(pieces) as ahead:
        next(ahead)
    assert threading.active_count() == before
    assert next(pieces) == b"%d" % source.asked


def test_an_error_comes_after_the_pieces_before_it() -> None:
    def broken() -> Iterator[bytes]:
        yield b"good"
        raise ValueError("bad")

    read = []
    with pytest.raises(ValueError, match="bad"), read_ahead(broken()) as pieces:
        for piece in pieces:
            read.append(piece)
        read.append(b"the end")
    assert read == [b"good"]


def test_an_error_is_not_lost_when_the_reader_has_one_too() -> None:
    failed = threading.Event()

    def broken() -> Iterator[bytes]:
        yield b"good"
        failed.set()
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"), read_ahead(broken()):
        failed.wait()
        raise KeyError


def test_an_error_of_the_reader_ends_the_thread() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), read_ahead(Source()):
        raise KeyError
    assert threading.active_count() == before
