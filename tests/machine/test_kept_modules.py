# SPDX-License-Identifier: Apache-2.0
"""Modules that are kept are those that would be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SETUP = "from cwl_udss.machine import kept_modules; import sys; sys.path.insert(0, {place!r}); "
KEEP = "import some.module; kept_modules.keep({kept!r})"
USE = (
    "kept_modules.use({kept!r}); import some.module as found; "
    "loader = type(found.__spec__.loader).__name__; "
    "print(found.VALUE, loader, found.__file__, sys.modules['some'].__path__)"
)


class Kept:
    """A package with a module, and the file in which both are kept."""

    def __init__(self, place: Path) -> None:
        self.package = place / "some"
        self.module = self.package / "module.py"
        self.file = place / "kept"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        self.module.write_text("VALUE = 1\n")
        self.python(KEEP)

    def python(self, code: str) -> str:
        names = {"place": str(self.package.parent), "kept": str(self.file)}
        done = subprocess.run(
            [sys.executable, "-c", (SETUP + code).format(**names)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_a_module_is_the_same(kept: Kept) -> None:
    assert kept.python(USE) == f"1 _Importer {kept.module} ['{kept.package}']"


def test_a_source_that_has_changed_is_read(kept: Kept) -> None:
    kept.module.write_text("VALUE = 'another'\n")
    assert kept.python(USE).startswith("another SourceFileLoader")


def test_a_source_that_is_gone_cannot_be_imported(kept: Kept) -> None:
    kept.module.unlink()
    with pytest.raises(subprocess.CalledProcessError):
        kept.python(USE)


@pytest.mark.parametrize("content", [None, b"", b"of another Python"])
def test_without_such_a_file_all_is_as_always(kept: Kept, content: bytes | None) -> None:
    kept.file.unlink()
    if content is not None:
        kept.file.write_bytes(content)
    assert kept.python(USE).startswith("1 SourceFileLoader")
