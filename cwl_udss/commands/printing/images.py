# SPDX-License-Identifier: Apache-2.0
"""What `cwl-udss images list` prints: of hundreds of images, those used last stay in sight."""

from __future__ import annotations

import fnmatch
import json
import sys
import time
from collections.abc import Sequence

from rich.filesize import decimal

from cwl_udss.commands.printing.tables import NARROW, columns, print_table, terminal_columns
from cwl_udss.images.store.image import StoredImage
from cwl_udss.machine.quantities import counted

_TITLES = ("IMAGE", "DIGEST", "FORMAT", "SIZE", "FILES", "LAST USED")
_SHORT = 12
"""Digits of a digest."""


def print_images(images: Sequence[StoredImage], patterns: Sequence[str], *, as_json: bool) -> None:
    """Print those of the images that match any of the patterns, if there are any, and how much room
    they take; what was used last comes last."""
    chosen = [image for image in images if not patterns or _matches(image, patterns)]
    chosen.sort(key=lambda image: (image.last_used or 0.0, image.references))
    if as_json:
        print(json.dumps([_facts(image) for image in chosen], indent=2))
        return
    width = terminal_columns()
    if not chosen:
        pass
    elif width is None:
        rows = [row for image in chosen for row in _rows(image)]
        print("\n".join(columns([_TITLES, *rows])))
    else:
        cells = [_cells(image, "\n".join(image.references) or "-") for image in chosen]
        shown = slice(None) if width >= NARROW else slice(0, 4, 3)
        print_table(_TITLES[shown], [row[shown] for row in cells])
    try:
        sys.stdout.flush()
    except OSError:  # told at the end of all commands
        return
    size = decimal(sum(image.size for image in chosen))
    of_all = f" of {len(images)}" if patterns else ""
    print(f"{counted(len(chosen), 'image')}{of_all}, {size}", file=sys.stderr)


def _matches(image: StoredImage, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern) or pattern in name
        for name in (*image.references, image.digest)
        for pattern in patterns
    )


def _rows(image: StoredImage) -> list[tuple[str, ...]]:
    """One for each name, so that each line says all."""
    return [_cells(image, name) for name in image.references or ("-",)]


def _cells(image: StoredImage, name: str) -> tuple[str, ...]:
    used = time.localtime(image.last_used) if image.last_used else None
    return (
        name,
        image.digest.partition(":")[2][:_SHORT],
        image.format.value,
        decimal(image.size),
        str(image.entries),
        time.strftime("%Y-%m-%d %H:%M", used) if used else "-",
    )


def _facts(image: StoredImage) -> dict[str, object]:
    return {
        "references": list(image.references),
        "digest": image.digest,
        "format": image.format.value,
        "size": image.size,
        "files": image.entries,
        "last_used": image.last_used,
        "path": str(image.path),
    }
