# SPDX-License-Identifier: Apache-2.0
"""What the scripts of images have made of the environment: a file for each."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from cwl_udss.images.store.image import StoredImage, read_facts
from cwl_udss.images.store.place import Place
from cwl_udss.staging import publish_file


class Environments:
    """The files of a store's directory `environments`. What cannot be told from a later one, as a
    directory is, has none."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def find(self, image: StoredImage) -> tuple[str, ...] | None:
        """Return entries `NAME=value`; None if the scripts have not been run."""
        facts = read_facts(self._path(image)) if image.identity else None
        return None if facts is None else tuple(facts["environment"])

    def keep(self, image: StoredImage, environment: Collection[str], work: Path) -> None:
        """Keep what the scripts have set; `work` is a work directory of the store."""
        if image.identity:
            self._place.own("environments")
            content = json.dumps({"environment": list(environment)}).encode()
            mode = 0o664 if self._place.is_group else None
            publish_file(self._path(image), content, work, mode)

    def _path(self, image: StoredImage) -> Path:
        return self._place.path / "environments" / f"{image.name}.json"
