# SPDX-License-Identifier: Apache-2.0
"""What `cwl-udss doctor` says of libraries: which there are, and which cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cwl_udss.commands.findings import Finding
from cwl_udss.images.libraries.known import known_places
from cwl_udss.images.libraries.library import NOT_THERE, Library
from cwl_udss.images.libraries.place import STORE, LibraryPlace
from cwl_udss.images.libraries.trust import Trust
from cwl_udss.images.store.store import Store
from cwl_udss.settings.settings import Settings

_ADVICE = "is its path right (--udss-library)?"


def examine_libraries(
    settings: Settings, environment: Mapping[str, str], home: Path
) -> Iterator[Finding]:
    """Look at each: those that the settings name, and those that other programs are known to have
    and that are there."""
    origin = settings.origins["library"]
    usable = []
    for place in settings.library:
        problem = _problem(place)
        if problem:
            text = f"{place} {problem}, and is passed over"
            yield Finding(subject="library", text=text, advice=_ADVICE)
        else:
            usable.append(f"{_described(place)} ({origin})")
    known = known_places(environment, home) if settings.known_libraries else ()
    for found in known:
        if found.place in settings.library:
            continue
        problem = _problem(found.place)
        if problem and problem != NOT_THERE:
            text = f"{found.place} ({found.origin}) {problem}, and is passed over"
            advice = "--udss-known-libraries no looks for none of these"
            yield Finding(subject="library", text=text, advice=advice)
        elif not problem:
            usable.append(f"{_described(found.place)} ({found.origin})")
    if usable:
        trust = (
            "of images in them, only those are used that something proves"
            if settings.library_trust is Trust.DIGEST
            else "images in them are used by their names"
        )
        yield Finding(subject="libraries", text="\n".join((trust, *usable)))


def _problem(place: LibraryPlace) -> str:
    if place.naming == STORE:
        return "" if Store(place.path).images() else "has no images"
    return Library(place).problem()


def _described(place: LibraryPlace) -> str:
    if place.naming == STORE:
        return f"{place}, a store of cwl-udss"
    return f"{place}, named by {place.convention.program}"
