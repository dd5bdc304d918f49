# SPDX-License-Identifier: Apache-2.0
"""What images say in files of their own of how to be run: a file for each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cwl_udss.images.store.image import StoredImage, read_facts
from cwl_udss.images.store.place import Place
from cwl_udss.staging import publish_file


class OwnWords:
    """The files of a store's directory `own-words`. What cannot be told from a later one, as a
    directory is, has none."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def find(self, image: StoredImage) -> Mapping[str, Any] | None:
        """Return what an image says, as OCI has it ("Env" and so on); None if nobody has looked."""
        return read_facts(self._path(image)) if image.identity else None

    def keep(self, image: StoredImage, words: Mapping[str, Any], work: Path) -> None:
        """Keep what an image says; `work` is a work directory of the store."""
        if image.identity:
            self._place.own("own-words")
            mode = 0o664 if self._place.is_group else None
            publish_file(self._path(image), json.dumps(words).encode("ascii"), work, mode)

    def _path(self, image: StoredImage) -> Path:
        return self._place.path / "own-words" / f"{image.name}.json"
