# SPDX-License-Identifier: Apache-2.0
"""A run's inputs and outputs: which files they are, and those outputs that a page can show."""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_MOST_TEXT, _MOST_PICTURE, _MOST_TOGETHER = 64 << 10, 512 << 10, 2 << 20
_MOST_ROWS, _MOST_FILES = 200, 1000
_PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
_TABLES = {".tsv": "\t", ".csv": ","}
_TEXTS = (".txt", ".log", ".json", ".yml", ".yaml", ".md", ".out", ".err", ".fa", ".vcf", ".bed")


@dataclass(frozen=True, kw_only=True)
class Item:
    """A value of a parameter, a file mostly."""

    parameter: str
    value: str
    """A file's name, or a value as JSON."""
    path: str = ""
    """Or URL; empty of what is no file."""
    size: int | None = None
    checksum: str = ""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a page can show of a file."""

    item: Item
    picture: str = ""
    """A data: URL."""
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    is_cut: bool = False
    is_page: bool = False
    """It is HTML, to be opened by itself."""


def items(parameters: Mapping[str, Any]) -> list[Item]:
    """Return all values, with the files in lists, directories and records, and beside others."""
    return [item for name, value in parameters.items() for item in _items(name, value)]


def _items(parameter: str, value: Any) -> Iterator[Item]:
    kind = value.get("class") if isinstance(value, dict) else None
    if kind in ("File", "Directory"):
        location = str(value.get("location") or value.get("path") or "")
        name = str(value.get("basename") or location.rpartition("/")[2] or kind)
        yield Item(
            parameter=parameter,
            value=name if kind == "File" else f"{name}/",
            path=_path(location),
            size=value.get("size") if isinstance(value.get("size"), int) else None,
            checksum=str(value.get("checksum") or ""),
        )
        for more in (*(value.get("secondaryFiles") or ()), *(value.get("listing") or ())):
            yield from _items(parameter, more)
    elif isinstance(value, dict):
        for name, field in value.items():
            yield from _items(f"{parameter}.{name}", field)
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for part in value:
            yield from _items(parameter, part)
    else:
        yield Item(parameter=parameter, value=json.dumps(value, ensure_ascii=False, default=str))


def _path(location: str) -> str:
    parts = urlsplit(location)
    return unquote(parts.path) if parts.scheme == "file" else location


def shown(outputs: list[Item]) -> list[Shown]:
    """Return what can be shown, as far as there is room for it."""
    found, together = [], 0
    for item in outputs[:_MOST_FILES]:
        if together < _MOST_TOGETHER and os.path.isabs(item.path):
            try:
                made = _shown(item)
            except (OSError, ValueError, csv.Error):  # it has gone, or is not what its name says
                continue
            if made is not None:
                together += len(made.picture) + len(made.text)
                found.append(made)
    return found


def _shown(item: Item) -> Shown | None:
    path = Path(item.path)
    suffix = Path(item.value).suffix.lower()
    if not path.is_file():
        return None
    if suffix in (".html", ".htm"):
        return Shown(item=item, is_page=True)
    if suffix in _PICTURES:
        if path.stat().st_size > _MOST_PICTURE:
            return None
        content = base64.b64encode(path.read_bytes()).decode()
        return Shown(item=item, picture=f"data:{_PICTURES[suffix]};base64,{content}")
    if suffix in _TABLES or suffix in _TEXTS or not suffix:
        return _text(item, path, _TABLES.get(suffix))
    return None


def _text(item: Item, path: Path, separator: str | None) -> Shown | None:
    with path.open("rb") as stream:
        content = stream.read(_MOST_TEXT + 1)
    is_cut = len(content) > _MOST_TEXT
    if b"\0" in content:
        return None
    text = content[:_MOST_TEXT].decode(errors="replace" if is_cut else "strict")
    if separator is None:
        return Shown(item=item, text=text, is_cut=is_cut)
    rows = list(csv.reader(text.splitlines(), delimiter=separator))
    return Shown(
        item=item,
        rows=tuple(map(tuple, rows[:_MOST_ROWS])),
        text=text,
        is_cut=is_cut or len(rows) > _MOST_ROWS,
    )
