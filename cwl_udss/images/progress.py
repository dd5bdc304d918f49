# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a pull: a line per layer on a terminal, log lines otherwise."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from rich.filesize import decimal

from cwl_udss.images.manifests.manifest import Descriptor
from cwl_udss.machine.quantities import counted
from cwl_udss.machine.waiting import told

if TYPE_CHECKING:
    from rich.progress import Progress

_logger = logging.getLogger(__name__)


class PullProgress(Protocol):
    """Told by the threads that download layers."""

    def advance(self, layer: Descriptor, size: int) -> None:
        """`size` more bytes of a layer have come."""

    def finish(self, layer: Descriptor) -> None:
        """All of a layer has come."""


_in_hand: dict[object, Callable[[], str]] = {}
"""What is being made now: what to say of each."""


def pulls_in_hand() -> list[str]:
    """Return a line for each image that is being made now, by any thread, for people."""
    return [describe() for describe in list(_in_hand.values())]


class _Bars:
    def __init__(self, progress: Progress, layers: Sequence[Descriptor]) -> None:
        self._progress = progress
        # A bar without a total moves to and fro, and is full when it is told one.
        self._tasks = {
            layer.digest: progress.add_task(layer.digest[7:19], total=layer.size)
            for layer in layers
        }

    def advance(self, layer: Descriptor, size: int) -> None:
        self._progress.advance(self._tasks[layer.digest], size)

    def finish(self, layer: Descriptor, size: int) -> None:
        self._progress.update(self._tasks[layer.digest], total=size, completed=size)


class _Count:
    """What has come of each layer; the size of some nothing says beforehand."""

    def __init__(self, bars: _Bars | None = None) -> None:
        self._bars = bars
        self._received: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._received.total()

    def advance(self, layer: Descriptor, size: int) -> None:
        self._received[layer.digest] += size
        if self._bars:
            self._bars.advance(layer, size)

    def finish(self, layer: Descriptor) -> None:
        size = self._received[layer.digest]
        if self._bars:
            self._bars.finish(layer, size)
        else:
            _logger.info("layer %s is here (%s)", layer.digest[7:19], decimal(size))


@contextlib.contextmanager
def pull_progress(
    name: str, layers: Sequence[Descriptor], verb: str = "pull"
) -> Iterator[PullProgress]:
    """Show the download and conversion of an image's layers, and the total at the end."""
    sizes = [layer.size for layer in layers if layer.size is not None]
    known = f", {decimal(sum(sizes))}" if len(sizes) == len(layers) else ""
    _logger.info("%sing %s: %s%s", verb, name, counted(len(layers), "layer"), known)
    started = time.monotonic()
    count = _Count()
    key = object()
    of_all = f" of {decimal(sum(sizes))}" if known else ""
    _in_hand[key] = lambda: f"{verb}ing {name}: {decimal(count.total)}{of_all}"
    try:
        # Not in a quiet run, and not where standard error is a file.
        if sys.stderr.isatty() and _logger.isEnabledFor(logging.INFO):
            with _shown_bars(layers) as bars:
                count = _Count(bars)
                yield count
        else:
            with told(
                lambda: f"until {name} is made: {decimal(count.total)} of its layers were read"
            ):
                yield count
    finally:
        del _in_hand[key]
    seconds = time.monotonic() - started
    _logger.info("%sed %s: %s in %.1f s", verb, name, decimal(count.total), seconds)


@contextlib.contextmanager
def _shown_bars(layers: Sequence[Descriptor]) -> Iterator[_Bars]:
    # Takes a tenth of a pull's time to import, and is rarely needed.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as progress:
        yield _Bars(progress, layers)
