# SPDX-License-Identifier: Apache-2.0
"""The package is built as CONTRIBUTING.md says: rooms, and imports that lead one way."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cwl_udss"
SUITE = PACKAGE / "containment_suite"  # a link to what is in conformance/
MOST_LINES = 300
MOST_FILES = 12


def python_files(room: Path) -> list[Path]:
    return [path for path in sorted(room.rglob("*.py")) if SUITE not in path.parents]


MODULES = python_files(PACKAGE)
ROOMS = sorted({path.parent for path in MODULES})


def imports(path: Path) -> Iterator[str]:
    """The names of all that a module imports, wherever in it: "cwl_udss.images.pull.Images"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(room: Path, name: str) -> str | None:
    """The module or room in a room that a name is in, None if it is elsewhere."""
    prefix = ".".join(room.relative_to(ROOT).parts)
    if not name.startswith(f"{prefix}."):
        return None
    part = name.removeprefix(f"{prefix}.").partition(".")[0]
    return part if (room / part).is_dir() or (room / f"{part}.py").is_file() else None


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_imports_in_a_room_lead_one_way(room: Path) -> None:
    """Of two modules or rooms beside each other one may use the other, and never both."""
    uses: dict[str, set[str]] = {}
    for path in python_files(room):
        user = path.relative_to(room).parts[0].removesuffix(".py")
        used = {part_of(room, name) for name in imports(path)} - {None, user}
        uses.setdefault(user, set()).update(part for part in used if part is not None)
    graphlib.TopologicalSorter(uses).prepare()  # raises CycleError, which names a circle


def test_only_the_engine_knows_cwltool() -> None:
    knowing = {
        path.relative_to(PACKAGE).parts[0]
        for path in MODULES
        if any(name.partition(".")[0] in ("cwltool", "schema_salad") for name in imports(path))
    }
    assert knowing == {"engine", "executor.py"}


def test_no_module_is_long() -> None:
    lengths = {path.relative_to(PACKAGE): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_no_room_is_full() -> None:
    files = {room: [*room.glob("*.py")] for room in ROOMS}
    crowded = {
        room.relative_to(PACKAGE): len(found) - 1  # without __init__.py
        for room, found in files.items()
        if len(found) - 1 > MOST_FILES
    }
    assert crowded == {}


def test_every_room_is_in_the_guide() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = [room.relative_to(PACKAGE) for room in ROOMS if room != PACKAGE]
    assert [f"{room}/" for room in rooms if f"`{room}/`" not in guide] == []
