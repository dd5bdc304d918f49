# SPDX-License-Identifier: Apache-2.0
"""What references stood for when they were last resolved: a file for each."""

from __future__ import annotations

from pathlib import Path

from cwl_udss.files.checksums import name_of
from cwl_udss.images.manifests.manifest import Platform
from cwl_udss.images.store.image import names_in, read_facts
from cwl_udss.records import record


@record(frozen=True, kw_only=True)
class Record:
    """The content of a file in references/."""

    reference: str
    platform: str
    digest: str
    resolved: str
    """When, UTC, ISO 8601."""
    stamp: str = ""
    """Of a file: size and time of change, which say whether it is still the same."""


class References:
    """The files of a store's directory `references`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, name: str, platform: Platform) -> Path:
        """Return where it is kept what a name stands for on a platform."""
        return self.directory / f"{name_of(f'{name} {platform}')}.json"

    def find(self, name: str, platform: Platform) -> Record | None:
        """Return what a name stood for, None if that is not known."""
        return _read(self.path(name, platform))

    def all(self) -> dict[Path, Record]:
        """Return all records, by their files."""
        paths = [self.directory / name for name in names_in(self.directory)]
        return {path: record for path in paths if (record := _read(path))}


def _read(path: Path) -> Record | None:
    facts = read_facts(path)
    return Record(**facts) if facts else None
