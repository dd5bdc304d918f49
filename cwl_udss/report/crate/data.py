# SPDX-License-Identifier: Apache-2.0
"""Values of parameters as entities: files, directories, and what is none of both."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
from collections.abc import Mapping
from typing import Any

from cwl_udss.report.crate.document import listed
from cwl_udss.report.crate.files import MOST_OF_ONE, CrateFiles, Place, files_in, safe
from cwl_udss.report.crate.graph import ROOT, Graph, Reference, fragment, path_id, reference, text

_ABSENT = "It is not in this crate: only what is known of it."


class Data:
    """Gives values entities; a file that is used again is the same."""

    def __init__(self, graph: Graph, files: CrateFiles, moved: Mapping[str, str]) -> None:
        """`moved` is where outputs were put in the end, by where their steps had them."""
        self._graph = graph
        self._files = files
        self._moved = moved
        self._known: dict[str, Reference] = {}
        self._values: dict[tuple[str, str], Reference] = {}
        self.parts: list[Reference] = []
        """Files and directories that are in the crate, or on the web."""

    def entities(
        self, value: Any, name: str, parameter: Reference | None, room: str = ""
    ) -> list[Reference]:
        """Return a parameter's value: what is in it, if that is files. `room` is of the crate, to
        which they are copied; none is "": they are not."""
        if value is None:
            return []
        items = value if isinstance(value, list) else [value]
        if items and all(_is_object(item) for item in items):
            found = [self._object(item, room) for item in items]
            for entity in found:
                if parameter is not None:
                    self._graph.link(entity, "exampleOfWork", parameter)
            return list({entity["@id"]: entity for entity in found}.values())
        return [self._property(value, name, parameter, room)]

    def _property(self, value: Any, name: str, parameter: Reference | None, room: str) -> Reference:
        key = (parameter["@id"] if parameter else name, json.dumps(value, sort_keys=True))
        if key not in self._values:
            shown = self._shown(value, name, room)
            entity = self._graph.add(
                f"#value-{len(self._values) + 1}", "PropertyValue", name=text(name)
            )
            self._graph.entities[entity["@id"]]["value"] = shown
            if parameter is not None:
                self._graph.link(entity, "exampleOfWork", parameter)
            self._values[key] = entity
        return self._values[key]

    def _shown(self, value: Any, name: str, room: str) -> Any:
        """What a PropertyValue has as its value: text, others, or a list of such."""
        if _is_object(value):
            return self._object(value, room)
        if isinstance(value, Mapping):
            return [
                self._property(part, f"{name}/{field}", None, room)
                for field, part in value.items()
                if part is not None
            ]
        if isinstance(value, list):
            if any(isinstance(part, Mapping | list) and not _is_object(part) for part in value):
                return [
                    self._property(part, f"{name}/{number}", None, room)
                    for number, part in enumerate(value)
                ]
            return [self._shown(part, name, room) for part in value]
        return "null" if value is None else text(value)

    def _object(self, value: Mapping[str, Any], room: str) -> Reference:
        beside = [x for x in listed(value.get("secondaryFiles")) if _is_object(x)]
        main = self.one(value, room)
        if not beside:
            return main
        parts = {main["@id"]: main}
        parts |= {part["@id"]: part for part in (self._object(x, room) for x in beside)}
        key = "\n".join(("files", *sorted(parts)))
        if key not in self._known:
            self._known[key] = self._graph.add(
                fragment(f"files-{len(self._known) + 1}"),
                "Collection",
                name=text(value.get("basename") or ""),
                mainEntity=main,
                hasPart=list(parts.values()),
            )
            self._graph.link(ROOT, "mentions", self._known[key])
        return self._known[key]

    def one(self, value: Mapping[str, Any], room: str) -> Reference:
        """Return a file or directory alone."""
        value = self._where_it_is(value)
        key = str(value.get("location") or value.get("path") or "")
        if not key or key.startswith("_:"):
            # It lies nowhere, and has another name of this kind each time.
            key = f"_:{json.dumps(_without_random_names(value), sort_keys=True)}"
        if key not in self._known:
            self._known[key] = self._add(value, self._files.place(value, room), room)
        known = self._known[key]
        checksum = _sha1(value)
        if checksum:  # of the default of a parameter it becomes known later
            self._graph.entities[known["@id"]].setdefault("sha1", checksum)
        return known

    def _where_it_is(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        location = str(value.get("location") or "")
        if location in self._moved:
            return {**value, "location": self._moved[location]}
        around, slash, rest = location, "", ""
        while "/" in around:
            around, slash, name = around.rpartition("/")
            rest = f"{slash}{name}{rest}"
            if around in self._moved:
                return {**value, "location": f"{self._moved[around]}{rest}"}
        return value

    def _add(self, value: Mapping[str, Any], place: Place, room: str) -> Reference:
        name = text(value.get("basename") or os.path.basename(str(value.get("location") or "")))
        is_file = value["class"] == "File"
        identifier = place.identifier
        if identifier in self._graph.entities:
            return reference(identifier)  # another link to the same
        if not identifier:
            identifier = fragment(
                f"{'file' if is_file else 'directory'}-{len(self._known) + 1}/{name}"
            )
        stored = identifier.rstrip("/").rpartition("/")[2]
        size = value.get("size")
        if size is None and is_file and place.path is not None:
            size = place.path.stat().st_size
        entity = self._graph.add(
            identifier,
            "File" if is_file else "Dataset",
            name=name or stored,
            alternateName=name if name and path_id(name) != stored and place.identifier else None,
            description=None if place.identifier or "listing" in value else _ABSENT,
            contentSize=None if size is None or not is_file else str(size),
            encodingFormat=_formats(value, name) if is_file else None,
            sha1=_sha1(value) or (_sum(place) if is_file else ""),
        )
        if place.identifier:
            self.parts.append(entity)
        if not is_file:
            self._add_listing(entity, value, place, room)
        return entity

    def _add_listing(
        self, directory: Reference, value: Mapping[str, Any], place: Place, room: str
    ) -> None:
        """Add what is in a directory, as far as it is in the crate; all of a literal."""
        if place.identifier and place.path is not None:
            for file in files_in(place.path) or ():
                inside = path_id("/".join(map(safe, file.relative_to(place.path).parts)))
                known = {"class": "File", "basename": file.name, "size": file.stat().st_size}
                found = Place(identifier=f"{directory['@id']}{inside}", path=file)
                self._graph.link(directory, "hasPart", self._add(known, found, room))
        elif not place.identifier:
            for part in listed(value.get("listing")):
                if _is_object(part):
                    self._graph.link(directory, "hasPart", self._object(part, room))


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("class") in ("File", "Directory")


def _formats(value: Mapping[str, Any], name: str) -> list[str]:
    guessed = mimetypes.guess_type(name)[0]
    return [text(x) for x in (guessed, value.get("format")) if isinstance(x, str)]


def _sum(place: Place) -> str:
    """The checksum of a file in the crate, if that is soon had."""
    if place.path is None or not place.identifier or place.path.stat().st_size > MOST_OF_ONE:
        return ""
    return hashlib.sha1(place.path.read_bytes(), usedforsecurity=False).hexdigest()


def _sha1(value: Mapping[str, Any]) -> str:
    kind, _, checksum = str(value.get("checksum") or "").partition("$")
    return checksum if kind == "sha1" else ""


def _without_random_names(value: Any) -> Any:
    """What is the same of two literals that have the same in them."""
    if isinstance(value, list):
        return [_without_random_names(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    lies = not str(value.get("location", "_:")).startswith("_:")
    kept = ("class", "basename", "location") if lies else ("class", "basename", "contents")
    return {
        name: _without_random_names(part)
        for name, part in value.items()
        if name in kept or name in ("listing", "secondaryFiles")
    }
