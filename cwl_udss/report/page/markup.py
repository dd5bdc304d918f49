# SPDX-License-Identifier: Apache-2.0
"""HTML of which every word is escaped that is not written here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """What is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return a value as HTML; what is HTML already stays. Names of files may be no valid text."""
    if isinstance(value, Markup):
        return value
    plain = str(value).encode(errors="backslashreplace").decode()
    return Markup(html.escape("".join(map(_visible, plain))))


def _visible(character: str) -> str:
    """HTML has no control codes, and some of Unicode turn what follows them around."""
    is_shown = character.isprintable() or character in "\n\t"
    return character if is_shown else "\N{REPLACEMENT CHARACTER}"


def element(name: str, *content: object, **attributes: str) -> Markup:
    """Return an element; `class_` is its class."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{given}>{''.join(map(text, content))}</{name}>")


def joined(parts: Iterable[object], between: str = "\n") -> Markup:
    """Return parts after each other."""
    return Markup(between.join(map(text, parts)))


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()
) -> Markup:
    """Return a table; `numbers` are the columns that are to be to the right."""
    right = set(numbers)

    def cell(name: str, place: int, value: object) -> Markup:
        scope = {"scope": "col"} if name == "th" else {}
        return element(name, value, **scope, **({"class_": "number"} if place in right else {}))

    made = [
        element("tr", *(cell("td", place, value) for place, value in enumerate(row)))
        for row in rows
    ]
    if not made:
        return element("p", "None.", class_="dim")
    titles = element("tr", *(cell("th", place, value) for place, value in enumerate(head)))
    whole = element(
        "table", element("thead", titles), element("tbody", joined(made)), class_="plain"
    )
    return element("div", whole, class_="wide")


def facts(rows: Iterable[tuple[str, object]]) -> Markup:
    """Return a table of names and values; those without a value are left out."""
    made = [
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in rows
        if value not in ("", None)
    ]
    return element("table", element("tbody", joined(made)), class_="plain")
