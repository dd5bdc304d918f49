# SPDX-License-Identifier: Apache-2.0
"""Chooses one of several images in an archive or layout, by what follows its path after a colon.

As containers-transports(5) has it: `docker-archive:FILE:NAME:TAG`, `oci:DIRECTORY:NAME`, and `@2`
for the third.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cwl_udss.errors import ImageError, InvalidReference
from cwl_udss.images.manifests.documents import array, as_object, parse_object, texts
from cwl_udss.images.reference import DOCKER_HUB, parse_reference

# image-spec annotations.md; and containerd's, which has the whole name.
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def choose_listed(listing: Sequence[Any], chosen: str, name: str) -> list[Any]:
    """Return those entries of `docker save`'s listing that are meant. Raises ImageError if none
    is."""
    tags = [texts(entry, "RepoTags") if isinstance(entry, dict) else () for entry in listing]
    return [listing[number] for number in _chosen(tags, chosen, name)]


def choose_indexed(index: bytes, chosen: str, name: str) -> bytes:
    """Return a layout's index.json with those images only that are meant. Raises ImageError if none
    is."""
    content = parse_object(index, "index")
    entries = [as_object(entry, "index") for entry in array(content, "manifests")]
    names = [_annotated(entry) for entry in entries]
    found = [entries[number] for number in _chosen(names, chosen, name)]
    return json.dumps({**content, "manifests": found}).encode()


def _annotated(entry: Mapping[str, Any]) -> tuple[str, ...]:
    annotations = as_object(entry.get("annotations") or {}, "annotations")
    return tuple(str(annotations[name]) for name in _NAMES if name in annotations)


def _chosen(names: Sequence[Sequence[str]], chosen: str, name: str) -> list[int]:
    """Which have the name that was chosen; all if none was."""
    if not chosen:
        return list(range(len(names)))
    number = chosen.removeprefix("@")
    if chosen.startswith("@") and number.isdecimal():
        found = [int(number)] if int(number) < len(names) else []
    else:
        found = [place for place, each in enumerate(names) if _is_among(chosen, each)]
    if not found:
        known = ", ".join(each for several in names for each in several) or "none with a name"
        raise ImageError(f"{name} holds no image {chosen!r}, but {known}", "name one of these")
    return found


def _is_among(chosen: str, names: Iterable[str]) -> bool:
    return any(chosen == each or _full(chosen) == _full(each) for each in names)


def _full(name: str) -> str:
    """A name with all that it need not say."""
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return name
    return str(reference if reference.registry else reference.on(DOCKER_HUB))
