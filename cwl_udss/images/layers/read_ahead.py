# SPDX-License-Identifier: Apache-2.0
"""Lets the stages of a stream work side by side: each is read by a thread of its own.

Worth it because receiving, hashing and (de)compression do not hold Python's lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

# More make nothing faster; memory is this many pieces for each stage, and two in its hands.
_PIECES = 2


@contextlib.contextmanager
def read_ahead(pieces: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """Read an iterable in a thread, a few pieces before they are asked for.

    What it raises is raised where it is read here, or else when the context is left, instead of
    an error of the reader: the stage before knows more. The thread has ended then, and what it has
    not read can be read by others.
    """
    ready: SimpleQueue[bytes | None] = SimpleQueue()
    room = threading.Semaphore(_PIECES)
    leaving = threading.Event()

    def read() -> None:
        try:
            for piece in pieces:
                ready.put(piece)
                room.acquire()
                if leaving.is_set():
                    break
        finally:
            ready.put(None)

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        reading = pool.submit(read)
        try:
            yield _received(ready, room, reading)
        finally:
            leaving.set()
            room.release()
            reading.result()


def _received(
    ready: SimpleQueue[bytes | None], room: threading.Semaphore, reading: Future[None]
) -> Iterator[bytes]:
    while (piece := ready.get()) is not None:
        room.release()
        yield piece
    reading.result()
