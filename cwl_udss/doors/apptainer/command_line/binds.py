# SPDX-License-Identifier: Apache-2.0
"""Mounts as Apptainer's options write them: `--bind SOURCE[:DESTINATION[:OPTIONS]],…` and
`--mount type=bind,…` (apptainer's pkg/runtime/engine/apptainer/config, bind.go and mount.go).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence

from cwl_udss.errors import UdssError
from cwl_udss.sandbox import Bind

_OPTIONS = ("ro", "rw")
_OF_IMAGES = ("image-src=", "id=")
# A comma or colon behind a backslash is one of the path.
_COMMA = re.compile(r"(?<!\\),")
_COLON = re.compile(r"(?<!\\):")
_SOURCES = ("source", "src")
_DESTINATIONS = ("destination", "dst", "target")
_READ_ONLY = ("ro", "readonly")


def parse_binds(texts: Sequence[str]) -> tuple[Bind, ...]:
    """Return what `--bind` asks for. Raises UdssError."""
    return tuple(_bind(part) for text in texts for part in _parts(text))


def _parts(text: str) -> Iterator[str]:
    """The binds of a list, of which one may have several options with commas between them."""
    part = ""
    for word in _COMMA.split(text):
        is_option = word.strip() in _OPTIONS or word.strip().startswith(_OF_IMAGES)
        if is_option and len(_COLON.findall(part)) == 2:
            part = f"{part},{word.strip()}"
            continue
        if part:
            yield part
        part = word.strip()
    if part:
        yield part


def _bind(text: str) -> Bind:
    # Colons at the beginning are what an empty variable leaves; Apptainer does not see them.
    fields = _COLON.split(re.sub(r"^:+", "", text))
    if len(fields) > 3:
        raise UdssError(
            f"While parsing bind path: bad bind syntax {text!r}", "write SOURCE:DESTINATION:OPTIONS"
        )
    source = _unescaped(fields[0])
    if not source:
        raise UdssError(f"While parsing bind path: empty bind source for bind path {text!r}")
    destination = _unescaped(fields[1]) if len(fields) > 1 else source
    options = fields[2].split(",") if len(fields) > 2 else []
    for option in options:
        if option.startswith(_OF_IMAGES):
            raise _of_image(text)
        if option not in _OPTIONS:
            raise UdssError(f"While parsing bind path: {option} is not a valid bind option")
    return made_bind(source, destination, is_writable="ro" not in options)


def parse_mounts(texts: Sequence[str]) -> tuple[Bind, ...]:
    """Return what `--mount` asks for: comma-separated fields, quoted as in CSV; a line for each.
    Raises UdssError."""
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return tuple(_mount(line) for line in lines)


def _mount(text: str) -> Bind:
    import csv  # of few command lines

    source, destination, is_writable = "", "", True
    for field in next(csv.reader([text])):
        key, _, value = field.partition("=")
        if key == "type" and value == "bind":
            continue
        if key in _SOURCES:
            source = value
        elif key in _DESTINATIONS:
            destination = value
        elif key in _READ_ONLY:  # whatever is said to it
            is_writable = False
        elif key == "type":
            raise UdssError(
                f"While parsing mount {text!r}: unsupported mount type {value!r}, only 'bind' is "
                "supported"
            )
        elif f"{key}=" in _OF_IMAGES:
            raise _of_image(text)
        else:
            raise UdssError(
                f"While parsing mount {text!r}: invalid key {key!r} in mount specification"
            )
    if not source or not destination:
        raise UdssError(
            f"While parsing mount {text!r}: mounts must specify a source and a destination"
        )
    return made_bind(source, destination, is_writable=is_writable)


def _of_image(text: str) -> UdssError:
    return UdssError(f"cwl-udss does not mount what is in images ({text})", "mount a directory")


def made_bind(source: str, destination: str, *, is_writable: bool) -> Bind:
    """Return a bind mount of what is there. Raises UdssError."""
    found = os.path.abspath(source)
    if not destination.startswith("/"):
        raise UdssError(
            f"container creation failed: unable to add {found} to mount list: destination must be "
            "an absolute path",
        )
    if not os.path.exists(found):
        raise UdssError(
            f"container creation failed: mount {source}->{destination} error: while mounting "
            f"{found}: mount source {found} doesn't exist",
            "make it before",
        )
    return Bind(source=found, destination=posixpath.normpath(destination), writable=is_writable)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([:,])", r"\1", text)
