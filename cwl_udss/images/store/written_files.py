# SPDX-License-Identifier: Apache-2.0
"""Which files were made of which images of a store: who has written an image as a file need not
read the file again, wherever that is by now."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cwl_udss.images.store.image import read_facts
from cwl_udss.images.store.place import Place
from cwl_udss.staging import publish_file

# Of an image file everything that says what is in it is at the beginning (the table of a SIF file,
# the superblock) or at the end (the tables of SquashFS, which say where each file is and its size).
_PART_BYTES = 64 << 10


class WrittenFiles:
    """The files of a store's directory `written`, which are called as the content of what was
    written. What an image is that has gone since is not said."""

    def __init__(self, store: Path) -> None:
        self._place = Place(store)

    def find(self, file: str | Path) -> str | None:
        """Return the digest of the image that a file was made of, None if that is not known."""
        try:
            path = self._path(Path(file))
        except OSError:  # what cannot be read is another's to tell
            return None
        facts = read_facts(path)
        return None if facts is None else str(facts["digest"])

    def keep(self, file: Path, digest: str, work: Path) -> None:
        """Keep of which image a file was made; `work` is a work directory of the store."""
        with self._place.explained():
            self._place.own("written")
            mode = 0o664 if self._place.is_group else None
            content = json.dumps({"digest": digest}).encode()
            publish_file(self._path(file), content, work, mode)

    def _path(self, file: Path) -> Path:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            checksum = hashlib.sha256(f"{size} ".encode() + stream.read(_PART_BYTES))
            stream.seek(max(0, size - _PART_BYTES))
            checksum.update(stream.read(_PART_BYTES))
        return self._place.path / "written" / f"{checksum.hexdigest()}.json"
