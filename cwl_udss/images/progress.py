# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a pull: a line per layer on a terminal, log lines otherwise."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from rich.filesize import decimal

from cwl_udss.images.manifest import Descriptor

if TYPE_CHECKING:
    from rich.progress import Progress

_logger = logging.getLogger(__name__)


class PullProgress(Protocol):
    """Told by the threads that download layers."""

    def advance(self, layer: Descriptor, size: int) -> None:
        """`size` more bytes of a layer have come."""


class _Bars:
    def __init__(self, progress: Progress, layers: Sequence[Descriptor]) -> None:
        self._progress = progress
        self._tasks = {
            layer.digest: progress.add_task(layer.digest[7:19], total=layer.size)
            for layer in layers
        }

    def advance(self, layer: Descriptor, size: int) -> None:
        self._progress.advance(self._tasks[layer.digest], size)


class _Lines:
    def __init__(self) -> None:
        self._missing: dict[str, int] = {}

    def advance(self, layer: Descriptor, size: int) -> None:
        missing = self._missing.get(layer.digest, layer.size) - size
        self._missing[layer.digest] = missing
        if missing == 0:
            _logger.info("layer %s is here (%s)", layer.digest[7:19], decimal(layer.size))


@contextlib.contextmanager
def pull_progress(
    name: str, layers: Sequence[Descriptor], verb: str = "pull"
) -> Iterator[PullProgress]:
    """Show the download and conversion of an image's layers, and the total at the end."""
    size = decimal(sum(layer.size for layer in layers))
    _logger.info("%sing %s: %d layers, %s", verb, name, len(layers), size)
    started = time.monotonic()
    # Not in a quiet run, and not where standard error is a file.
    if sys.stderr.isatty() and _logger.isEnabledFor(logging.INFO):
        with _shown_bars(layers) as bars:
            yield bars
    else:
        yield _Lines()
    _logger.info("%sed %s: %s in %.1f s", verb, name, size, time.monotonic() - started)


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
