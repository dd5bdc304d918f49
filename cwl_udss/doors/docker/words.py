# SPDX-License-Identifier: Apache-2.0
"""Times, sizes and names as podman and docker print them."""

from __future__ import annotations

import time
from dataclasses import replace

from cwl_udss.doors.docker.errors import Program
from cwl_udss.errors import InvalidReference
from cwl_udss.images.reference import DOCKER_HUB, ImageReference, parse_reference
from cwl_udss.images.store.image import StoredImage

_SPANS = (
    *((365 * 86400, "year"), (30 * 86400, "month"), (7 * 86400, "week"), (86400, "day")),
    *((3600, "hour"), (60, "minute"), (1, "second")),
)
NONE = "<none>"
LOCALHOST = "localhost"
ALIAS = "id:"
"""Begins a name of the store that is another id of an image: that of its configuration as it was
saved to an archive."""


def ago(moment: float) -> str:
    """Return how long ago something was."""
    seconds = max(0.0, time.time() - moment)
    for span, name in _SPANS:
        if seconds >= span:
            number = int(seconds // span)
            return f"{number} {name}{'s' if number != 1 else ''} ago"
    return "Less than a second ago"


def size_words(size: float) -> str:
    """Return a number of bytes in decimal units: 4.04MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.3g}{unit}"
        size /= 1000
    raise AssertionError


def binary_words(size: float) -> str:
    """Return a number of bytes in binary units: 1.5MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.4g}{unit}"
        size /= 1024
    raise AssertionError


def timestamp(moment: float | None) -> str:
    """Return a moment as in RFC 3339, Go's zero time for none."""
    if moment is None:
        return "0001-01-01T00:00:00Z"
    fraction = f"{moment % 1:.9f}"[1:]
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(moment))}{fraction}Z"


def shown_reference(text: str, program: Program) -> ImageReference | None:
    """Return a name of the store as a program shows it, docker's without what is its default; None
    for one that is not of an image."""
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return None
    if not reference.registry:
        reference = reference.on(DOCKER_HUB)
    if program is Program.PODMAN or reference.registry != DOCKER_HUB:
        return reference
    repository = reference.repository.removeprefix("library/")
    return ImageReference(
        registry="", repository=repository, tag=reference.tag, digest=reference.digest
    )


def shown_names(image: StoredImage, program: Program) -> list[ImageReference]:
    """Return the names of an image as a program shows them. One that was given here is on no
    registry: podman's of localhost, docker's of none."""
    given = [shown_reference(name, program) for name in image.references if ALIAS not in name]
    names = dict.fromkeys(name for name in given if name is not None)
    for name in [name for name in names if name.registry == LOCALHOST]:
        on_hub = shown_reference(str(replace(name, registry="")), program)
        gone = on_hub if program is Program.PODMAN else name
        if on_hub in names and gone is not None:
            del names[gone]
    return list(names)
