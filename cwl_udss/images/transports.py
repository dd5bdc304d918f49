# SPDX-License-Identifier: Apache-2.0
"""What people write before an image's name or place, as Apptainer, skopeo and podman take it:
containers-transports(5), and Apptainer's user guide.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple


class Kind(enum.Enum):
    """What follows a prefix."""

    REFERENCE = "reference"
    PATH = "path"
    """Of a file or a directory, and perhaps which of several images in it."""
    URL = "url"
    NOTHING_OF_OURS = "nothing of ours"


class Transport(NamedTuple):
    """A prefix, and what it means."""

    name: str
    kind: Kind
    problem: str = ""
    advice: str = ""


_AT_A_REGISTRY = "name it as docker pull does"
_TO_A_FILE = "get it as a file (apptainer pull FILE.sif {}), and name that: ./FILE.sif"
_TRANSPORTS = {
    transport.name: transport
    for transport in (
        Transport("docker", Kind.REFERENCE),
        Transport("oras", Kind.REFERENCE),
        Transport("docker-archive", Kind.PATH),
        Transport("oci-archive", Kind.PATH),
        Transport("oci", Kind.PATH),
        Transport("dir", Kind.PATH),
        Transport("sif", Kind.PATH),
        Transport("http", Kind.URL),
        Transport("https", Kind.URL),
        Transport(
            "library",
            Kind.NOTHING_OF_OURS,
            "names an image of Singularity's own library",
            _TO_A_FILE,
        ),
        Transport(
            "shub",
            Kind.NOTHING_OF_OURS,
            "names an image of Singularity Hub, which has ended",
            "find it in another registry",
        ),
        Transport(
            "docker-daemon",
            Kind.NOTHING_OF_OURS,
            "names an image of a Docker on some machine",
            _AT_A_REGISTRY,
        ),
        Transport(
            "containers-storage",
            Kind.NOTHING_OF_OURS,
            "names an image that podman has",
            _AT_A_REGISTRY,
        ),
    )
}
# Those that are names of no image, with whatever follows; the others are with two slashes.
_NO_NAMES = ("docker-archive", "oci-archive", "docker-daemon", "containers-storage")
# Those that are names of images, too: `oci:latest`. What follows then is no tag, and no port.
_NAMES_TOO = ("oci", "dir", "sif")
_URL = r"([A-Za-z][A-Za-z0-9+.-]*)://"
_PORT = r"[0-9]+/"


def split_transport(text: str) -> tuple[Transport | None, str]:
    """Return the prefix of a text, if it has one, and what follows; `file:` is none."""
    url = re.match(_URL, text)
    name, colon, rest = text.partition(":")
    if url:
        name = name.lower()  # as that of any URL (RFC 3986, 3.1)
        if name == "file":
            return None, text
        if name in _TRANSPORTS:
            transport = _TRANSPORTS[name]
            advice = transport.advice.format(text)
            return transport._replace(advice=advice), rest.removeprefix("//")
        problem = f"begins with {name}://, which nothing here understands"
        advice = "get it as a file, and name that, or write https:// or oras://"
        return Transport(name, Kind.NOTHING_OF_OURS, problem, advice), rest
    if name in _NO_NAMES and colon:
        return _TRANSPORTS[name], rest
    if name in _NAMES_TOO and _can_only_be_path(rest):
        return _TRANSPORTS[name], rest
    return None, text


def path_after_transport(text: str) -> str | None:
    """Return the path that follows a prefix, with what may name an image in it; None if there is no
    such prefix."""
    transport, rest = split_transport(text)
    return rest if transport is not None and transport.kind is Kind.PATH else None


def _can_only_be_path(text: str) -> bool:
    return text.startswith((".", "~")) or ("/" in text and not re.match(_PORT, text))
