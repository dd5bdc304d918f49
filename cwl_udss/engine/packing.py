# SPDX-License-Identifier: Apache-2.0
"""A workflow as one document, with all that it uses in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cwltool.context import LoadingContext
from cwltool.pack import pack
from cwltool.process import Process

# What is written where it is used has such a name, another one each time it is read.
_OWN_TYPES = "SchemaDefRequirement"
_RANDOM = re.compile(r"/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=/|$)")


def packed_document(process: Process) -> dict[str, Any]:
    """Return the document of a process, as it was written. cwltool reads it again for that: what
    it has in memory is in words of the newest version of CWL."""
    context = LoadingContext({"loader": process.doc_loader, "enable_dev": True})
    names: dict[str, str] = {}
    packed = pack(context, str(process.tool["id"]), names)
    made: dict[str, Any] = _plain(packed, _types(process, names))
    graph = made["$graph"]
    return made if len(graph) > 1 else graph[0]


def _types(process: Process, names: Mapping[str, str]) -> dict[str, Any]:
    """The types that documents define, as they are named when packed. cwltool packs a type once, or
    not at all, and has it imported by all who use it: `cwltool --pack` of such is not valid."""
    found: dict[str, Any] = {}

    def note(tool: Mapping[str, Any]) -> None:
        for wish in (*tool.get("requirements", ()), *tool.get("hints", ())):
            for kind in wish.get("types", ()) if wish["class"] == _OWN_TYPES else ():
                name = names.get(str(kind.get("name")))
                if name is not None:
                    found[name] = _renamed(kind, names)

    process.visit(note)
    return found


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _renamed(part, names) for name, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def _plain(value: Any, types: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"$import"} and str(value["$import"]) in types:
            return _plain(types[str(value["$import"])], types)
        return {str(name): _plain(part, types) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, types) for part in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):  # of those that a YAML reader makes
        if isinstance(value, kind):
            return kind(value)
    text = str(value)
    return _RANDOM.sub("/run", text) if text.startswith("#") else text
