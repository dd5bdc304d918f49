# SPDX-License-Identifier: Apache-2.0
"""The entities of a crate, as JSON-LD has them: each once, each known by a valid identifier."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

Reference = dict[str, str]

ROOT: Reference = {"@id": "./"}
"""The crate itself."""
_IN_FRAGMENTS = "/!$'()*+,;:@"


def text(value: object) -> str:
    """Return it as valid text: names of files may be none."""
    return str(value).encode("utf-8", "replace").decode()


def path_id(path: str) -> str:
    """Return the identifier of a file, by its path in the crate."""
    return quote(text(path))


def fragment(name: str) -> str:
    """Return an identifier of something that is no file of its own."""
    return f"#{quote(text(name), safe=_IN_FRAGMENTS)}"


def reference(identifier: str) -> Reference:
    """Return what refers to an entity."""
    return {"@id": identifier}


def url_id(url: str) -> str:
    """Return the identifier of what is on the web, which people may have written with blanks."""
    return quote(text(url), safe="/:?#[]@!$&'()*+,;=%")


class Graph:
    """Entities, by their identifiers, in the order in which they came."""

    def __init__(self) -> None:
        self.entities: dict[str, dict[str, Any]] = {}
        self._linked: set[tuple[str, str, str]] = set()

    def add(self, identifier: str, kind: str | tuple[str, ...], /, **properties: Any) -> Reference:
        """Add an entity, without the properties that are empty. There must be none of its name."""
        if identifier in self.entities:
            raise ValueError(f"{identifier} is there already")
        self.entities[identifier] = {
            "@type": kind if isinstance(kind, str) else list(kind),
            **{name: value for name, value in properties.items() if value not in (None, "", [])},
        }
        return reference(identifier)

    def add_once(
        self, identifier: str, kind: str | tuple[str, ...], /, **properties: Any
    ) -> Reference:
        """Add an entity that may be there already, and is the same then."""
        if identifier in self.entities:
            return reference(identifier)
        return self.add(identifier, kind, **properties)

    def link(self, subject: Reference, name: str, other: Reference) -> None:
        """Have one refer to another, once."""
        key = (subject["@id"], name, other["@id"])
        if key not in self._linked:
            self._linked.add(key)
            self.entities[subject["@id"]].setdefault(name, []).append(other)
